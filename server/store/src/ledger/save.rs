//! Saves the ledger: each changed account once, however many transfers changed it.

use crate::core::{
    bulk::Writes,
    evidence::Evidence,
    record::Record,
    save::{Save, append_rows, in_order, write_records},
};
use ifmatch_domain::State;

pub(crate) const SAVES: &[Save] = &[accounts, transfers, reservations];

fn accounts(state: &State, writes: &mut Writes) {
    write_records(in_order(&state.ledger().accounts, |a, b| a.id.cmp(&b.id)), writes);
}

fn transfers(state: &State, writes: &mut Writes) {
    writes.append(state.ledger().transfers.new_rows().map(|(_, row)| row.to_row()).collect());
}

fn reservations(state: &State, writes: &mut Writes) {
    append_rows(state.ledger().reservations.changes(), writes);
}

/// A new transfer. Only its own batch writes it.
pub(crate) fn evidence(state: &State) -> Option<Evidence> {
    let (id, new) = state.ledger().transfers.new_rows().next()?;
    Some(Evidence::Row { table: "transfers", id: id.clone(), at: new.transfer.at })
}
