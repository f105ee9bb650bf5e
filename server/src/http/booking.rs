//! Bookings over HTTP: bookables, their availability, and bookings.

pub mod bookings;
pub mod observe;
pub mod problem;
pub mod render;
pub mod routes;
