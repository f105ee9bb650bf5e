//! Bookings over HTTP: what can be booked, what is free, and the bookings.

pub mod bookings;
pub mod observe;
pub mod problem;
pub mod routes;
