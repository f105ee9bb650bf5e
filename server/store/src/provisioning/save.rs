//! Saves provisioning, parents before children.

use crate::core::{
    bulk::Writes,
    evidence::Evidence,
    record::Record,
    save::{Save, in_order, save_objects, write_records},
};
use ifmatch_domain::{State, provisioning::ServerRecord};
use ifmatch_types::Product;

pub(crate) const SAVES: &[Save] =
    &[save_objects::<Product>, save_objects::<ServerRecord>, slots, entries];

fn slots(state: &State, writes: &mut Writes) {
    let changes = in_order(&state.provisioning().slots, |a, b| {
        (&a.workspace_id, &a.product_id).cmp(&(&b.workspace_id, &b.product_id))
    });
    write_records(changes, writes);
}

fn entries(state: &State, writes: &mut Writes) {
    let entries = state.provisioning().entries.new_rows();
    writes.append(entries.map(|(_, row)| row.to_row()).collect());
}

/// A new entry of a timeline. Only its own batch writes it.
pub(crate) fn evidence(state: &State) -> Option<Evidence> {
    let (id, new) = state.provisioning().entries.new_rows().next()?;
    Some(Evidence::Row { table: "server_entries", id: id.clone(), at: new.entry.at })
}
