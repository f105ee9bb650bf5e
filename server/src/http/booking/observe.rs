//! Metrics and log lines of bookings.

use super::problem::usage_by_day;
use crate::metrics;
use ifmatch_domain::{
    State,
    booking::{NoRoom, Rejection},
};
use serde_json::Value;

/// Observes a rejected command.
pub fn rejection(rejection: &Rejection) {
    if let Rejection::NoRoom(no_room_left) = rejection {
        no_room(no_room_left);
    }
}

/// Observes a committed batch: how full the days are that were booked in it.
pub fn committed(state: &State) {
    for (reserved, capacity) in state.booking().fullest_days() {
        metrics::booking_occupancy(reserved, capacity);
    }
}

/// Observes a booking without room: one line in the log and one count in the metrics.
fn no_room(no_room: &NoRoom) {
    let phase = no_room.phase.name();
    // The field exists without a user, too, because queries over the log rely on it.
    let user_id = Value::from(no_room.user_id.as_deref());
    let usage = Value::Object(usage_by_day(no_room));
    metrics::booking_conflict(phase);
    tracing::warn!(
        event = "booking.capacity_exceeded",
        bookable_id = no_room.bookable_id,
        start_date = %no_room.start_date,
        end_date = %no_room.end_date,
        user_id.json = %user_id,
        requested = no_room.requested,
        capacity = no_room.capacity,
        usage.json = %usage,
        phase,
        "booking.capacity_exceeded"
    );
}
