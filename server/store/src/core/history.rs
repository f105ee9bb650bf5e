//! Old versions of objects, for writes that name one.

use super::{
    db::Db,
    error::StoreError,
    events::{entry_from, state_from},
    select::{Each, run},
    sql::Cell,
    states,
};
use crate::schema::{EventRow, StoredRow};
use ifmatch_domain::{State, core::History};
use ifmatch_types::Version;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Maximum number of changes that are read of one object.
///
/// A write whose base is further behind is told that its base is unknown. The lane does not read
/// years of history while it holds its locks.
const EXPLAINABLE_VERSIONS: i64 = 1_000;
/// Maximum number of changes that a batch reads, shared equally among its objects.
const CHANGES_PER_BATCH: i64 = 8_000;
/// Minimum share of each object, even if the batch then reads more.
const CHANGES_MIN: i64 = 100;

/// Loads the named old versions of objects, and the changes since the oldest of each.
pub(crate) fn load(
    db: &mut Db,
    wanted: BTreeMap<String, BTreeSet<Version>>,
    state: &mut State,
) -> Result<(), StoreError> {
    if wanted.is_empty() {
        return Ok(());
    }
    let mut rows = changes_of(db, &wanted)?;
    let is_named = |row: &&mut EventRow| {
        wanted.get(&row.resource_id).is_some_and(|versions| versions.contains(&row.version))
    };
    states::fill(db, rows.iter_mut().filter(is_named))?;
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

/// A history from its rows. Only rows of versions that were asked for have a state.
fn history_of(mut rows: Vec<EventRow>, asked: BTreeSet<Version>) -> Result<History, StoreError> {
    rows.sort_unstable_by_key(|row| row.version);
    let since = rows.first().map_or(Version::MAX, |row| row.version);
    let mut history = History { since, asked, ..History::default() };
    for row in &rows {
        history.entries.push(Arc::new(entry_from(row)?));
        if !row.state.is_empty() {
            history.bases.insert(row.version, Arc::new(state_from(row)?.into()));
        }
    }
    Ok(history)
}

/// Maximum number of changes to read of each object.
fn share_of_one(objects: usize) -> i64 {
    let objects = i64::try_from(objects).unwrap_or(i64::MAX).max(1);
    (CHANGES_PER_BATCH / objects).clamp(CHANGES_MIN, EXPLAINABLE_VERSIONS)
}

/// The newest changes of each object, in one statement.
///
/// States are large, so only the rows of named versions have one.
fn changes_of(
    db: &mut Db,
    wanted: &BTreeMap<String, BTreeSet<Version>>,
) -> Result<Vec<EventRow>, StoreError> {
    let columns = EventRow::column_list();
    let (before, after) = columns.split_once("\"state\"").expect("an event has a state");
    let head = format!("SELECT {before}CASE WHEN ',' || ");
    let named = format!(
        " || ',' LIKE '%,' || version || ',%' THEN state ELSE '' END AS state{after} \
         FROM events WHERE resource_id = "
    );
    let texts =
        [head.as_str(), named.as_str(), " AND version >= ", " ORDER BY version DESC LIMIT "];
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
