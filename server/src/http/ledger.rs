//! The ledger over HTTP: the credits of workspaces, their transfers and reservations.

mod credits;
pub mod observe;
pub mod problem;
pub mod render;
mod reservations;
pub mod routes;
