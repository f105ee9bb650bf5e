//! The texts of the booking rejections.

use crate::http::core::problem::{HttpProblem, rejection};
use ifmatch_domain::booking::{BookingPhase, NoRoom, Rejection};
use ifmatch_types::Code;
use serde_json::{Map, Value, json};

/// The problem of a booking rejection.
pub fn problem(rejection: Rejection) -> HttpProblem {
    match rejection {
        Rejection::Core(rejection) => rejection::problem(rejection),
        Rejection::NoRoom(no_room) => without_room(&no_room),
        Rejection::BookableUnavailable { bookable_id, status } => HttpProblem::new(
            Code::BookableUnavailable,
            format!("bookable {bookable_id} is {status}; it takes no new bookings"),
        )
        .with("bookable_id", bookable_id)
        .with("bookable_status", status),
        Rejection::BookableInUse => {
            HttpProblem::new(Code::BookableInUse, "the bookable had a booking; archive it instead")
        }
        Rejection::CapacityBelowReserved { capacity, reserved, first_conflict_date } => {
            HttpProblem::new(
                Code::CapacityBelowReserved,
                format!(
                    "up to {reserved} are reserved on one day; the first day with more than \
                     {capacity} is {first_conflict_date}; an admin can force this"
                ),
            )
            .with("capacity", capacity)
            .with("reserved", reserved)
            .with("first_conflict_date", first_conflict_date.to_string())
        }
    }
}

/// The refusal of a booking without room. A later try may work, because holds expire.
fn without_room(no_room: &NoRoom) -> HttpProblem {
    let first = no_room.first_conflict_date;
    let (code, detail) = match no_room.phase {
        BookingPhase::Confirm => (
            Code::HoldExpired,
            format!("the hold expired, and there is no room for it any more on {first}"),
        ),
        BookingPhase::Create | BookingPhase::Change => (
            Code::AvailabilityConflict,
            format!("there is no room for {} on {first}", no_room.requested),
        ),
    };
    HttpProblem::new(code, detail)
        .with("bookable_id", no_room.bookable_id.as_str())
        .with("start_date", no_room.start_date.to_string())
        .with("end_date", no_room.end_date.to_string())
        .with("requested", no_room.requested)
        .with("capacity", no_room.capacity)
        .with("usage", json!(usage_by_day(no_room)))
        .with("first_conflict_date", first.to_string())
        .after_ms(u64::try_from(no_room.hold_ttl_ms).unwrap_or_default())
}

/// The quantity that all other bookings take of each requested day.
pub fn usage_by_day(no_room: &NoRoom) -> Map<String, Value> {
    no_room.usage.iter().map(|(day, reserved)| (day.to_string(), json!(reserved))).collect()
}
