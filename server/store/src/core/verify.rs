//! Checks the invariants of everything that is stored.

use super::{
    db::Db,
    error::StoreError,
    events::state_from,
    object::{RowOf, StoredObject},
    record::{Record, records},
    sql::Sql,
    states,
};
use crate::{
    on_backend,
    schema::{EventRow, StoredRow},
    systems::{CHECKS, RECHECKS, stored_kind},
};
use diesel::{RunQueryDsl, sql_types::Text};
use ifmatch_domain::core::Row;
use ifmatch_types::{Kind, merge};

/// Number of rows that are compared at a time.
const PAGE: i64 = 1_000;

/// A broken invariant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// The invariant, as a sentence.
    pub invariant: &'static str,
    /// The row that breaks it.
    pub id: String,
}

/// An invariant as a sentence, and a query for the rows that break it.
pub(crate) type Check = (&'static str, &'static str);
/// Adds the rows that break an invariant which the rules themselves must compute.
pub(crate) type Recheck = fn(&mut Db, &mut Vec<Broken>) -> Result<(), StoreError>;

const HISTORIES: Check = (
    "an object's history has one entry per version, without a gap",
    "SELECT resource_id FROM events GROUP BY resource_id \
     HAVING count(*) <> max(version) - min(version) + 1 OR (min(version) <> 1 AND min(at) >= \
     coalesce((SELECT last FROM sequences WHERE series = 'history_pruned'), 0))",
);
const BEGINNINGS: Check = (
    "the oldest version of an object's history holds its state",
    "SELECT resource_id FROM events AS e WHERE state = '' AND NOT EXISTS (SELECT 1 FROM events AS b \
     WHERE b.resource_id = e.resource_id AND b.version < e.version)",
);

impl Db {
    /// Every broken invariant, with the row that breaks it.
    ///
    /// It reads one snapshot, so writes can go on meanwhile. While it runs, the database keeps what
    /// that snapshot sees: PostgreSQL vacuums nothing newer, and SQLite's log grows.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub fn verify(&mut self) -> Result<Vec<Broken>, StoreError> {
        self.in_one_snapshot(Self::broken)
    }

    /// What [`verify`](Self::verify) finds, read within the transaction that runs.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub fn broken(&mut self) -> Result<Vec<Broken>, StoreError> {
        let mut broken = Vec::new();
        for (invariant, sql) in [HISTORIES, BEGINNINGS].iter().chain(CHECKS.into_iter().flatten()) {
            let query = Sql::new(*sql).returning::<Text>();
            let ids: Vec<String> = on_backend!(self, c => query.load(c))?;
            broken.extend(ids.into_iter().map(|id| Broken { invariant, id }));
        }
        for recheck in RECHECKS {
            recheck(self, &mut broken)?;
        }
        for kind in Kind::ALL {
            stored_kind!(kind, R => verify_states::<R>(self, &mut broken)?);
        }
        Ok(broken)
    }
}

/// Compares every object with the last entry of its history.
fn verify_states<R: StoredObject>(db: &mut Db, broken: &mut Vec<Broken>) -> Result<(), StoreError>
where
    Row<R>: Record,
{
    let mut after = String::new();
    loop {
        let sql = RowOf::<R>::select().text(" WHERE id > ").bind(after.as_str());
        let sql = sql.text(" ORDER BY id LIMIT ").bind(PAGE);
        let rows = records::<Row<R>>(RowOf::<R>::query(db, sql)?)?;
        for row in &rows {
            row.record.id().clone_into(&mut after);
            if !is_last_entry(row, db)? {
                let invariant = "an object is what the last entry of its history says";
                broken.push(Broken { invariant, id: after.clone() });
            }
        }
        if rows.is_empty() {
            return Ok(());
        }
    }
}

fn is_last_entry<R: StoredObject>(row: &Row<R>, db: &mut Db) -> Result<bool, StoreError> {
    let sql = EventRow::select()
        .text(" WHERE resource_id = ")
        .bind(row.record.id())
        .text(" ORDER BY version DESC LIMIT 1");
    let mut last = EventRow::query(db, sql)?;
    match states::fill(db, &mut last) {
        Err(StoreError::Corrupt { .. }) => return Ok(false),
        filled => filled?,
    }
    // A state that follows from missing rows stays empty.
    let Some(last) = last.first().filter(|last| !last.state.is_empty()) else { return Ok(false) };
    let stored = serde_json::to_value(row.record.entity())
        .expect("entities are JSON objects with texts for keys");
    let is_same = row.deleted.is_some() || merge::diff(&stored, &state_from(last)?).is_empty();
    Ok(last.version == row.record.version() && is_same)
}
