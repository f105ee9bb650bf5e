//! The texts of the booking rejections.

use crate::http::core::problem::HttpProblem;
use ifmatch_domain::{BookingPhase, NoRoom, Rejection};
use ifmatch_types::Code;
use serde_json::{Map, Value, json};

/// The problem of a booking rejection; another one is given back.
///
/// # Errors
///
/// The rejection, if it is none of the bookings'.
pub fn problem(rejection: Rejection) -> Result<HttpProblem, Rejection> {
    Ok(match rejection {
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
                    "up to {reserved} are reserved on a day, first more than {capacity} on \
                     {first_conflict_date}; an admin can force it"
                ),
            )
            .with("capacity", capacity)
            .with("reserved", reserved)
            .with("first_conflict_date", first_conflict_date.to_string())
        }
        of_another => return Err(of_another),
    })
}

/// The refusal of a booking without room. Holds expire, so that a later try may work.
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

/// What all other bookings take of each day asked for.
pub fn usage_by_day(no_room: &NoRoom) -> Map<String, Value> {
    no_room.usage.iter().map(|(day, reserved)| (day.to_string(), json!(reserved))).collect()
}
