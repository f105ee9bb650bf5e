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

/// A changed lock. Only the command that made this version stores its stamp.
pub(crate) fn evidence(state: &State) -> Option<Evidence> {
    let changed = state.lock().locks.changes().next()?.row;
    let (id, changed_by) = (changed.id.clone(), changed.changed_by.clone());
    Some(Evidence::Change { table: "locks", id, changed_by })
}
