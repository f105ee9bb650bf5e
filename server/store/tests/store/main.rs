//! The store on SQLite and on PostgreSQL: the same tables, the same rows, the same refusals.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that meets the unexpected should stop there and say so"
)]

#[path = "../../../domain/tests/rules/book.rs"]
#[expect(dead_code, reason = "not every word of the book is needed here")]
mod book;
#[path = "../../../../tests/it/harness/cluster.rs"]
#[expect(dead_code, reason = "no cluster crashes here")]
mod cluster;
#[path = "../../../domain/tests/rules/commands.rs"]
#[expect(dead_code, reason = "not every command is needed here")]
mod commands;
#[path = "../../../domain/tests/rules/random.rs"]
#[expect(dead_code, reason = "not every reader is needed here")]
mod random;
#[path = "../../../domain/tests/rules/random_usage.rs"]
mod random_usage;
#[path = "../../../domain/tests/rules/world.rs"]
#[expect(dead_code, reason = "a database is read instead of the world")]
mod world;

mod answers;
mod corrupt;
mod database;
mod entitlements;
mod errors;
mod guards;
mod lane;
mod list_plans;
mod lists;
mod loads;
mod locks;
mod log;
mod model;
mod named_locks;
mod plans;
mod pruning;
mod redactions;
mod roundtrip;
mod schema;
mod snapshots;
mod statements;
mod states;
mod unlocked;
mod upgraded_terms;
mod upgrades;
mod verify;

/// Maximum number of holds that one commit ends; the same number as in the store.
const ENDED_AT_ONCE: usize = 500;
