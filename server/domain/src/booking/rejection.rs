//! Reasons why the booking rules refuse a command: facts only, no texts.

use super::NoRoom;
use crate::core;
use ifmatch_types::Date;

/// A rejection by the booking rules.
#[derive(Clone, Debug, PartialEq)]
pub enum Rejection {
    /// A rejection by a rule that all systems share.
    Core(core::Rejection),
    /// A requested day has no room for the booking.
    NoRoom(Box<NoRoom>),
    /// The bookable accepts no new bookings.
    BookableUnavailable {
        /// The bookable.
        bookable_id: String,
        /// Its status.
        status: &'static str,
    },
    /// The bookable has or had a booking.
    BookableInUse,
    /// The new capacity is below the reserved quantity of a day from today on.
    CapacityBelowReserved {
        /// The requested capacity.
        capacity: i64,
        /// The largest reserved quantity of those days.
        reserved: i64,
        /// The first of those days.
        first_conflict_date: Date,
    },
}

impl From<core::Rejection> for Rejection {
    fn from(rejection: core::Rejection) -> Self {
        Self::Core(rejection)
    }
}
