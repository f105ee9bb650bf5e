//! Loads and saves the state of Ifmatch with Diesel, on SQLite and PostgreSQL.
//!
//! `core` is what every system uses, each system has a folder with its rows, loads, saves, reads and
//! checks, and `systems.rs` lists them. The lane's statements are few and hot; they are generated
//! from [`schema`] in one place and cached by their text. Everything that differs between the two
//! databases is in `core`: `db.rs`, `bulk.rs`, `select.rs`, `lookup.rs` and `migrate.rs`.
#![deny(missing_docs)]

mod access;
mod billing;
mod booking;
mod core;
mod entitlement;
pub mod schema;
mod systems;

pub use crate::core::{
    db::{Db, Use},
    error::{Cause, StoreError},
    evidence::Evidence,
    journal::{AuditQuery, EventsQuery},
    list::{Field, FieldType, ListQuery, SortKey, filters, sorts},
    migrate::sqlite_version,
    prune::PRUNED_AT_ONCE,
    read::Found,
    url::{DatabaseUrl, UrlError},
    verify::Broken,
};
