//! Saves locks.

use crate::core::{
    bulk::Writes,
    evidence::Evidence,
    save::{Save, in_order, write_records},
};
use ifmatch_domain::State;

pub(crate) const SAVES: &[Save] = &[locks];

fn locks(state: &State, writes: &mut Writes) {
    write_records(in_order(&state.lock().locks, |a, b| a.id.cmp(&b.id)), writes);
}

/// The changed locks. Only the command that made a version stores its stamp.
///
/// All of them, because another process may change a lock before the lane asks.
pub(crate) fn evidence(state: &State) -> Option<Evidence> {
    let changed = state.lock().locks.changes().map(|changed| changed.row);
    let stamps: Vec<_> = changed.map(|row| (row.id.clone(), row.changed_by.clone())).collect();
    (!stamps.is_empty()).then_some(Evidence::Changes { table: "locks", stamps })
}
