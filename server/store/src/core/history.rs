//! What objects were, for writes that name an old version.

use super::{
    db::Db,
    error::StoreError,
    events::{entry_from, state_from},
    select::{Each, run},
    sql::Cell,
};
use crate::schema::{EventRow, StoredRow, quoted};
use ifmatch_domain::{History, State};
use ifmatch_types::Version;
use std::collections::{BTreeMap, BTreeSet};

/// A write that is further behind than this is told that its base is unknown: the lane does not
/// read through years of history under its locks.
const EXPLAINABLE_VERSIONS: i64 = 1_000;
/// A batch reads at most this many changes, whatever it names: a fair share for each object.
const CHANGES_PER_BATCH: i64 = 8_000;
/// Each object's share is at least this much.
const CHANGES_MIN: i64 = 100;

/// Loads snapshots of named old versions, and all changes since the oldest of each object's.
pub(crate) fn load(
    db: &mut Db,
    wanted: BTreeMap<String, BTreeSet<Version>>,
    state: &mut State,
) -> Result<(), StoreError> {
    if wanted.is_empty() {
        return Ok(());
    }
    let rows = changes_of(db, &wanted)?;
    let mut found: BTreeMap<String, Vec<EventRow>> = BTreeMap::new();
    for row in rows {
        found.entry(row.resource_id.clone()).or_default().push(row);
    }
    for (id, asked) in wanted {
        let mut history = history_of(found.remove(&id).unwrap_or_default(), asked)?;
        if let Some(before) = state.histories.remove(&id) {
            history.merge(before);
        }
        state.histories.insert(id, history);
    }
    Ok(())
}

/// A history from its rows, which have a state only where a version was asked for.
fn history_of(mut rows: Vec<EventRow>, asked: BTreeSet<Version>) -> Result<History, StoreError> {
    rows.sort_unstable_by_key(|row| row.version);
    let since = rows.first().map_or(Version::MAX, |row| row.version);
    let mut history = History { since, asked, ..History::default() };
    for row in &rows {
        history.entries.push(entry_from(row)?);
        if !row.state.is_empty() {
            history.bases.insert(row.version, state_from(row)?);
        }
    }
    Ok(history)
}

/// How many changes of one object are read.
fn share_of_one(objects: usize) -> i64 {
    let objects = i64::try_from(objects).unwrap_or(i64::MAX).max(1);
    (CHANGES_PER_BATCH / objects).clamp(CHANGES_MIN, EXPLAINABLE_VERSIONS)
}

/// The newest changes of each object, in one statement. States are large: a row has one only if its
/// version was named.
fn changes_of(
    db: &mut Db,
    wanted: &BTreeMap<String, BTreeSet<Version>>,
) -> Result<Vec<EventRow>, StoreError> {
    let columns: Vec<&str> =
        EventRow::COLUMNS.iter().copied().filter(|column| *column != "state").collect();
    let head = format!("SELECT {}, CASE WHEN ',' || ", quoted(&columns));
    let texts = [
        &head,
        " || ',' LIKE '%,' || version || ',%' THEN state ELSE '' END AS state \
         FROM events WHERE resource_id = ",
        " AND version >= ",
        " ORDER BY version DESC LIMIT ",
    ];
    let limit = share_of_one(wanted.len());
    let keys = wanted.iter().map(|(id, versions)| {
        let named: Vec<String> = versions.iter().map(ToString::to_string).collect();
        let oldest = versions.first().copied().unwrap_or_default();
        vec![
            Cell::Text(named.join(",")),
            Cell::Text(id.clone()),
            Cell::Int(oldest),
            Cell::Int(limit),
        ]
    });
    run(db, Each { texts: &texts, tail: "" }.of(db.is_sqlite(), keys))
}
