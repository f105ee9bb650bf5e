//! Ifmatch as clients see it: the server's binary, real HTTP, both databases.
//!
//! A test's name states a sentence of the contract. `name::sqlite` and `name::postgres` are the
//! same scenario. Run one with `cargo test --test it name::sqlite`.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that meets the unexpected should stop there and say so"
)]

mod harness;

mod api_keys;
mod billing;
mod billing_busy;
mod bodies;
mod bookings;
mod collections;
mod commands;
mod concurrency;
mod conditions;
mod conflicts;
mod console;
mod crashes;
mod documents;
mod entitlements;
mod events;
mod examples;
mod followers;
mod force;
mod history;
mod idempotency;
mod invoices;
mod merging;
mod overwrites;
mod payments;
mod plans;
mod preconditions;
mod process;
mod rate_limit;
mod recorded;
mod requests;
mod sdk;
mod sdk_faults;
mod subscriptions;
mod surface;
mod transactions;
mod vocabulary;
