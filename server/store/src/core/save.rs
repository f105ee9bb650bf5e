//! Saves what a batch decided. Every changed row is guarded.

use super::{
    answers,
    bulk::{Update, Writes},
    db::Db,
    error::StoreError,
    events::event_row,
    mistimed,
    object::StoredObject,
    record::Record,
    redactions,
};
use crate::{
    schema::{AuditRow, EventRow, RedactionRow, StoredRow},
    systems::{LAST_SAVES, SAVES},
};
use ifmatch_domain::{
    Mutant, State,
    core::{Guarded, Row, RowChange, Table},
};
use ifmatch_types::Timestamp;
use std::{cmp::Ordering, fmt::Debug, hash::Hash};

/// Adds a batch's changes of one table to its writes.
pub(crate) type Save = fn(&State, &mut Writes);

impl Db {
    /// Saves all changes of a batch, inside its transaction.
    ///
    /// Updates go before inserts, so that a deleted object's unique key is free for a new one.
    /// Parents go before children. Sequences are saved last.
    ///
    /// # Errors
    ///
    /// [`StoreError::LostGuard`] if a row is not as it was loaded. [`StoreError::Raced`] if a new
    /// row's unique key was taken meanwhile. In both cases the batch can be run again.
    pub fn save(&mut self, state: &State, now: Timestamp) -> Result<(), StoreError> {
        let mut writes = Writes::to(self);
        add_effects(state, &mut writes);
        if Mutant::SplitAnswer.is_planted() {
            writes = mistimed::commit_early(writes, self)?;
        }
        add_last(state, now, &mut writes);
        writes.run(self)?;
        if Mutant::ReadUnsettledEvents.is_planted() {
            mistimed::dawdle(now);
        }
        Ok(())
    }
}

/// Adds all changes of a batch to its writes.
pub(crate) fn add_all(state: &State, now: Timestamp, writes: &mut Writes) {
    add_effects(state, writes);
    add_last(state, now, writes);
}

fn add_effects(state: &State, writes: &mut Writes) {
    for save in SAVES.into_iter().flatten() {
        save(state, writes);
    }
    writes.append::<EventRow>(state.events.iter().map(event_row).collect());
    writes.append::<AuditRow>(state.audits.iter().map(Record::to_row).collect());
    writes.append::<RedactionRow>(state.redactions.iter().map(redactions::new_row).collect());
}

fn add_last(state: &State, now: Timestamp, writes: &mut Writes) {
    writes.append(answers::new_rows(state, now));
    for save in LAST_SAVES.into_iter().flatten() {
        save(state, writes);
    }
}

/// Saves the changed objects of one kind, in the order of their ids.
pub(crate) fn save_objects<R: StoredObject>(state: &State, writes: &mut Writes)
where
    Row<R>: Record,
{
    write_rows(objects::<R>(state), Record::to_row, "version", writes);
}

/// Like [`save_objects`], for a kind that nothing refers to and whose only unique key is its id.
pub(crate) fn append_objects<R: StoredObject>(state: &State, writes: &mut Writes)
where
    Row<R>: Record,
{
    append_rows(objects::<R>(state), writes);
}

fn objects<R: StoredObject>(state: &State) -> Vec<RowChange<'_, Row<R>>> {
    let changes = in_order(R::rows(state), |a, b| a.record.id().cmp(b.record.id()));
    for change in &changes {
        let id = change.row.record.id();
        debug_assert!(
            !state.is_shared(R::KIND, id),
            "a changed object must be locked for update: {id}"
        );
    }
    changes
}

/// The changed rows of a table in the order that all writers use.
///
/// Writers that insert the same unique keys then wait for each other in one order.
pub(crate) fn in_order<K, V>(
    table: &Table<K, V>,
    compare: impl Fn(&V, &V) -> Ordering,
) -> Vec<RowChange<'_, V>>
where
    K: Clone + Eq + Hash + Debug,
    V: Guarded,
{
    let mut changes: Vec<_> = table.changes().collect();
    changes.sort_unstable_by(|a, b| compare(a.row, b.row));
    changes
}

/// Writes changed rows: loaded ones as guarded updates, the others as inserts.
pub(crate) fn write_rows<'a, V: 'a, R: StoredRow>(
    changes: impl IntoIterator<Item = RowChange<'a, V>>,
    to_row: impl Fn(&V) -> R,
    guard_column: &'static str,
    writes: &mut Writes,
) {
    let (updated, inserted) = changed_rows(changes, to_row);
    writes.update(guard_column, updated);
    writes.insert(inserted);
}

/// Writes changed records, guarded by their version.
pub(crate) fn write_records<'a, V: Record + 'a>(
    changes: impl IntoIterator<Item = RowChange<'a, V>>,
    writes: &mut Writes,
) {
    write_rows(changes, V::to_row, "version", writes);
}

/// Like [`write_records`], for a table that no row refers to and whose unique keys are never freed.
pub(crate) fn append_rows<'a, V: Record + 'a>(
    changes: impl IntoIterator<Item = RowChange<'a, V>>,
    writes: &mut Writes,
) {
    let (updated, appended) = changed_rows(changes, V::to_row);
    writes.update("version", updated);
    writes.append(appended);
}

fn changed_rows<'a, V: 'a, R: StoredRow>(
    changes: impl IntoIterator<Item = RowChange<'a, V>>,
    to_row: impl Fn(&V) -> R,
) -> (Vec<Update<R>>, Vec<R>) {
    let mut updated = Vec::new();
    let mut inserted = Vec::new();
    for RowChange { row, original, guard } in changes {
        match (original, guard) {
            (Some(original), Some(guard)) => {
                updated.push(Update { before: to_row(original), after: to_row(row), guard });
            }
            _ => inserted.push(to_row(row)),
        }
    }
    (updated, inserted)
}
