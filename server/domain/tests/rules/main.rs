//! The rules of Ifmatch, command by command, on a database made of a few maps.
//!
//! Scenario tables state each command's result. Properties state what holds for all commands.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that meets the unexpected should stop there and say so"
)]

mod batches;
mod billing;
mod billing_edges;
mod book;
mod bookings;
mod catch_up;
mod claims;
mod commands;
mod entitlements;
mod fuzz;
mod idempotency;
mod invariants;
mod invoices;
mod ledger;
mod life;
mod lock_model;
mod locks;
mod merging;
mod overwrites;
mod payments;
mod plans;
mod previews;
mod properties;
mod proration;
mod random;
mod random_billing;
mod random_usage;
mod reach;
mod recent;
mod redactions;
mod reference;
mod reference_billing;
mod references;
mod replacing;
mod servers;
mod subscriptions;
mod terms;
mod transactions;
mod versions;
mod world;

/// The holds ended per commit. So low that most tests leave some for a later commit.
const ENDED_AT_ONCE: usize = 1;
