//! Saves entitlements, parents before children.

use crate::core::{
    bulk::Writes,
    evidence::Evidence,
    record::Record,
    save::{Save, append_rows, in_order, save_objects, write_records},
};
use ifmatch_domain::{
    State,
    entitlement::{AssignmentRecord, BoostRecord, FeatureRecord, PackageRecord},
};

pub(crate) const SAVES: &[Save] = &[
    save_objects::<FeatureRecord>,
    save_objects::<PackageRecord>,
    save_objects::<AssignmentRecord>,
    save_objects::<BoostRecord>,
    counters,
    records,
    holds,
    log,
];

fn counters(state: &State, writes: &mut Writes) {
    write_records(in_order(&state.entitlement().counters, |a, b| a.id.cmp(&b.id)), writes);
}

fn records(state: &State, writes: &mut Writes) {
    append_rows(state.entitlement().records.changes(), writes);
}

fn holds(state: &State, writes: &mut Writes) {
    write_records(state.entitlement().holds.changes(), writes);
}

fn log(state: &State, writes: &mut Writes) {
    writes.append(state.entitlement().log.iter().map(Record::to_row).collect());
}

/// The last new line of an entitlement log. Only its own batch writes it.
pub(crate) fn evidence(state: &State) -> Option<Evidence> {
    let line = state.entitlement().log.last()?;
    Some(Evidence::Row { table: "entitlement_log", id: line.entry.id.clone(), at: line.entry.at })
}
