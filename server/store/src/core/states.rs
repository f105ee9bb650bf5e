//! Which events hold the object's full state, and how the others' states are derived.
//!
//! A change of 30 bytes of a large object must not store the object again. So an event of a large
//! object holds only its changes, except every [`FULL_EVERY`] versions. Any other state is the last
//! full one before it, with the changes since.

use super::{
    db::Db,
    error::StoreError,
    events::{entry_from, state_from},
    select::{Each, run},
    sql::Cell,
};
use crate::schema::{EventRow, StoredRow};
use ifmatch_domain::core::NewEvent;
use ifmatch_types::{ChangeKind, Kind, Version, merge};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// A state of this many bytes is stored with each change. Reading it costs less than deriving it.
const SMALL_BYTES: usize = 1_024;
/// Every so many versions, the full state is stored. No more changes are read to derive one.
const FULL_EVERY: Version = 32;

/// One version of one object.
pub(crate) type VersionKey = (String, Version);

/// A change of more than this part of the state stores the state. Deriving a state then never reads
/// more than a few times its size.
const SMALL_PART: usize = 8;

/// The state to store with an event whose changes have this many bytes. Empty if it follows from the
/// events before it.
pub(crate) fn stored_state(event: &NewEvent, changes_bytes: usize) -> String {
    let state = event.state.text();
    let follows = match event.entry.kind {
        ChangeKind::Updated | ChangeKind::Forced | ChangeKind::Merged => {
            Kind::from_name(event.resource_type).is_some()
        }
        _ => false,
    };
    let is_small_change = changes_bytes.saturating_mul(SMALL_PART) < state.len();
    let is_large = state.len() > SMALL_BYTES;
    let is_derived =
        follows && is_large && is_small_change && event.entry.version % FULL_EVERY != 0;
    if is_derived { String::new() } else { state.to_owned() }
}

/// Derives the states of rows that hold none. A version that was pruned meanwhile keeps none.
pub(crate) fn fill<'a>(
    db: &mut Db,
    rows: impl IntoIterator<Item = &'a mut EventRow>,
) -> Result<(), StoreError> {
    let rows: Vec<&mut EventRow> = rows.into_iter().filter(|row| row.state.is_empty()).collect();
    let wanted = rows.iter().map(|row| (row.resource_id.clone(), row.version)).collect();
    let mut states = derive(db, &wanted)?;
    for row in rows {
        if let Some(state) = states.remove(&(row.resource_id.clone(), row.version)) {
            row.state = state;
        }
    }
    Ok(())
}

/// The states of these versions, as text. A version without an event has none.
pub(crate) fn derive(
    db: &mut Db,
    wanted: &BTreeSet<VersionKey>,
) -> Result<BTreeMap<VersionKey, String>, StoreError> {
    // Versions between the same two full states are read together.
    let mut spans: BTreeMap<(&str, Version), (Version, Version)> = BTreeMap::new();
    for (id, version) in wanted {
        let part = version.div_euclid(FULL_EVERY);
        let span = spans.entry((id, part)).or_insert((*version, *version));
        span.1 = *version;
    }
    if spans.is_empty() {
        return Ok(BTreeMap::new());
    }
    let head = format!("SELECT {} FROM events WHERE resource_id = ", EventRow::column_list());
    let texts = [
        head.as_str(),
        " AND version <= ",
        " AND version >= (SELECT version FROM events WHERE state <> '' AND resource_id = ",
        " AND version <= ",
    ];
    let each = Each { texts: &texts, tail: " ORDER BY version DESC LIMIT 1)" };
    let keys = spans.into_iter().map(|((id, _), (first, last))| {
        let id = Cell::Text(id.to_owned());
        vec![id.clone(), Cell::Int(last), id, Cell::Int(first)]
    });
    let queries = each.of(db.is_sqlite(), keys);
    let mut rows: Vec<EventRow> = run(db, queries)?;
    rows.sort_unstable_by(|a, b| (&a.resource_id, a.version).cmp(&(&b.resource_id, b.version)));
    follow(&rows, wanted)
}

/// Follows the changes from each full state. The rows are in order.
fn follow(
    rows: &[EventRow],
    wanted: &BTreeSet<VersionKey>,
) -> Result<BTreeMap<VersionKey, String>, StoreError> {
    let mut states = BTreeMap::new();
    let mut before: Option<(VersionKey, Value)> = None;
    for row in rows {
        let key = (row.resource_id.clone(), row.version);
        let state = if row.state.is_empty() {
            let previous = (row.resource_id.clone(), row.version.saturating_sub(1));
            match before.take() {
                Some((at, mut state)) if at == previous => {
                    change(&mut state, row)?;
                    state
                }
                // The same row is read twice if two parts overlap.
                Some((at, state)) if at == key => state,
                _ => return Err(gap(row)),
            }
        } else {
            state_from(row)?
        };
        if wanted.contains(&key) && !states.contains_key(&key) {
            let text = if row.state.is_empty() { state.to_string() } else { row.state.clone() };
            states.insert(key.clone(), text);
        }
        before = Some((key, state));
    }
    Ok(states)
}

/// Makes the state after a change from the one before it.
fn change(state: &mut Value, row: &EventRow) -> Result<(), StoreError> {
    let entry = entry_from(row)?;
    merge::apply(state, &entry.changes);
    let Value::Object(members) = state else { return Err(gap(row)) };
    // New keys of an object within it are in order, as in the object that was stored.
    members.values_mut().filter_map(Value::as_object_mut).for_each(serde_json::Map::sort_keys);
    // These members change with every version, and no change lists them.
    for (name, value) in [
        ("version", Value::from(row.version)),
        ("updated_at", Value::from(entry.at.to_string())),
        ("updated_by", Value::from(row.actor.clone())),
    ] {
        members.insert(name.to_owned(), value);
    }
    Ok(())
}

fn gap(row: &EventRow) -> StoreError {
    StoreError::Corrupt {
        table: EventRow::TABLE,
        column: "state",
        id: row.resource_id.clone(),
        what: format!("the state at version {} does not follow from those before it", row.version),
    }
}
