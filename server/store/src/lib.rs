//! Loads and saves the state of Ifmatch with Diesel, on SQLite and PostgreSQL.
//!
//! The lane's statements are few and hot; they are generated from [`schema`] in one place and
//! cached by their text. Everything that differs between the two databases is in `db.rs`, `bulk.rs`
//! and `migrate.rs`.
#![deny(missing_docs)]

mod bookings;
mod bulk;
mod db;
mod entitlements;
mod error;
mod list;
mod load;
mod log;
mod lookup;
mod migrate;
mod mistimed;
mod prune;
mod read;
mod row;
mod save;
pub mod schema;
mod sql;
mod verify;

pub use db::{DatabaseUrl, Db, UrlError, Use};
pub use error::StoreError;
pub use list::{Field, FieldType, ListQuery, SortKey, filters, sorts};
pub use log::{AuditQuery, EventsQuery};
pub use migrate::sqlite_version;
pub use prune::PRUNED_AT_ONCE;
pub use read::{ApiKeyTally, Found};
pub use save::Evidence;
pub use verify::Broken;
