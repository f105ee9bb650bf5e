//! What is counted and logged of bookings.

use super::problem::usage_by_day;
use crate::metrics;
use ifmatch_domain::NoRoom;
use serde_json::Value;

/// A booking found no room: one line in the log and one in the metrics.
pub fn no_room(no_room: &NoRoom) {
    let phase = no_room.phase.name();
    // The field is there without a user too: queries over the log count on it.
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
