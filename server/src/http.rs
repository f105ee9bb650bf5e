//! The HTTP side: what comes in becomes a command or a read, what comes out becomes an answer.

pub mod api_keys;
pub mod audit;
pub mod auth;
pub mod billing_runs;
pub mod bookings;
pub mod endpoint;
pub mod entitlements;
pub mod events;
pub mod frame;
pub mod history;
pub mod limit;
pub mod objects;
pub mod openapi;
pub mod ops;
pub mod pages;
pub mod payments;
pub mod precondition;
pub mod problem;
pub mod query;
pub mod refused;
pub mod render;
pub mod request;
pub mod scope;
pub mod transactions;
pub mod usage;
