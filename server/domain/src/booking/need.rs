//! Needs of the booking rules other than objects. The bookable's row lock protects its days.

use crate::core::{SystemNeed, Turn};
use ifmatch_types::Date;

/// Something that must be loaded for a booking command.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Need {
    /// The days of a bookable between two dates, both included.
    Days(String, Date, Date),
    /// The days of a bookable with more than this quantity reserved, from a date on.
    DaysAbove(String, i64, Date),
    /// The expired holds of a bookable: some as rows, the rest as a sum per day.
    DueBookings(String),
}

impl SystemNeed for Need {
    fn turn(&self) -> Turn {
        match self {
            Self::Days(..) | Self::DaysAbove(..) => Turn::Facts,
            Self::DueBookings(_) => Turn::Clock,
        }
    }
}
