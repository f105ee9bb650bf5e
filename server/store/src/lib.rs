//! Loads and saves the state of Ifmatch with Diesel, on SQLite and PostgreSQL.
//!
//! `core` is shared by all systems. Each system has a folder with its rows, loads, saves, reads and
//! checks; `systems.rs` lists them. The lane's statements are few and hot. They are generated from
//! [`schema`] in one place and cached by their text. Most differences between the two databases are
//! in `core`: `db.rs`, `bulk.rs`, `select.rs`, `lookup.rs` and `migrate.rs`.
#![deny(missing_docs)]

mod access;
mod billing;
mod booking;
mod core;
mod entitlement;
mod ledger;
mod lock;
mod provisioning;
pub mod schema;
mod systems;

pub use crate::access::ApiKeyTally;
pub use crate::billing::DueSubscription;
pub use crate::core::{
    db::{Db, Use},
    engine::{PoolError, TextOrder},
    error::{Cause, StoreError},
    event_log::EventLog,
    evidence::Evidence,
    file::{SqliteDb, SqliteFile},
    journal::{AuditQuery, EventPage, EventsQuery},
    list::{Field, FieldType, ListQuery, SortKey, filters, sorts},
    migrate::sqlite_version,
    postgres::{PostgresDb, PostgresTarget},
    prune::PRUNED_AT_ONCE,
    prune_history::PrunedHistory,
    read::Found,
    unlocked::Stamps,
    url::{DatabaseUrl, UrlError},
    verify::Broken,
};
pub use crate::ledger::{BalanceQuery, OpenReservations, ReservationQuery, TransferQuery};
pub use crate::lock::{LockQuery, Swept};
pub use crate::provisioning::{ServersByStatus, UnsettledServer};
