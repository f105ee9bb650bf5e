//! The routes of bookables, of their availability, and of bookings.

use super::bookings;
use crate::http::core::{
    collection::{READS, collection, collection_with, paths},
    endpoint::{Endpoint, get, group, post, schema},
};
use ifmatch_types::{
    Availability, Bookable, BookableFields, Booking, BookingFields, Code, NewBooking,
};

/// Every route of bookings.
pub fn routes() -> Vec<Endpoint> {
    let bookables = collection::<Bookable, BookableFields>(
        "Bookables",
        &paths!("bookables"),
        &[Code::CapacityBelowReserved, Code::BookableInUse],
    );
    let availability = group(
        "Bookables",
        [get("/v1/bookables/{id}/availability", bookings::availability)
            .viewer()
            .scoped()
            .operation_id("get_availability")
            .summary("Read the availability, day by day")
            .required_query("from", "The first day", schema::date())
            .required_query("to", "The last day; 366 days at most", schema::date())
            .answers::<Availability>(200)
            .problems(READS)],
    );
    let bookings = collection_with::<Booking, BookingFields>(
        "Bookings",
        &paths!("bookings"),
        // A create also takes `confirm`.
        post("/v1/bookings", bookings::create).body::<NewBooking>(),
        &[
            Code::InvalidStateTransition,
            Code::AvailabilityConflict,
            Code::HoldExpired,
            Code::BookableUnavailable,
        ],
    );
    [bookables, availability, bookings].into_iter().flatten().collect()
}
