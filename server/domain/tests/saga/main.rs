//! The saga of a server: a table of its steps, properties of each history, and a model of all that
//! can go wrong around it.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that meets the unexpected should stop there and say so"
)]

mod histories;
mod model;
mod table;
