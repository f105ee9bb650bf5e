//! The facts about a booking that was refused for lack of room.

use ifmatch_types::Date;
use std::collections::BTreeMap;

/// The step of a booking that needed room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BookingPhase {
    /// The creation of the booking.
    Create,
    /// A change of its dates or quantity.
    Change,
    /// The confirmation of an expired hold.
    Confirm,
}

impl BookingPhase {
    /// The name in logs and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Change => "change",
            Self::Confirm => "confirm",
        }
    }
}

/// The facts about a booking that was refused for lack of room.
#[derive(Clone, Debug, PartialEq)]
pub struct NoRoom {
    /// The step that needed room.
    pub phase: BookingPhase,
    /// The bookable.
    pub bookable_id: String,
    /// The requested start date.
    pub start_date: Date,
    /// The requested end date.
    pub end_date: Date,
    /// The user that the booking is for.
    pub user_id: Option<String>,
    /// The requested quantity.
    pub requested: i64,
    /// The capacity of the bookable.
    pub capacity: i64,
    /// The quantity that other bookings take, on each requested day.
    pub usage: BTreeMap<Date, i64>,
    /// The first day without room.
    pub first_conflict_date: Date,
    /// The lifetime of the bookable's holds, in milliseconds.
    pub hold_ttl_ms: i64,
}
