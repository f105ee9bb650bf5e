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
mod connections;
mod console;
mod crashes;
mod credits;
mod documents;
mod entitlements;
mod event_log;
mod events;
mod examples;
mod failovers;
mod followers;
mod footprint;
mod force;
mod history;
mod idempotency;
mod invoices;
mod limits;
mod lock_faults;
mod locks;
mod memory;
mod merging;
mod outages;
mod overwrites;
mod package;
mod payments;
mod plans;
mod pools;
mod postgres;
mod postgres_tls;
mod preconditions;
mod previews;
mod process;
mod proxies;
mod rate_limit;
mod recorded;
mod redactions;
mod requests;
mod scoped_keys;
mod sdk;
mod sdk_credits;
mod sdk_faults;
mod sdk_gateway;
mod sdk_locks;
mod sdk_servers;
mod server_faults;
mod servers;
mod subscriptions;
mod surface;
mod terms;
mod transactions;
mod turns;
mod unread_streams;
mod vocabulary;
