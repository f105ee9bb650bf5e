//! Saves billing, parents before children.

use super::rows::sequence_row;
use crate::core::{
    bulk::Writes,
    record::Record,
    save::{Save, in_order, save_objects, write_records, write_rows},
};
use ifmatch_domain::{
    State,
    billing::{Segment, SubscriptionRecord},
};
use ifmatch_types::{Invoice, Namespace, Plan, Workspace};

pub(crate) const SAVES: &[Save] = &[
    save_objects::<Workspace>,
    save_objects::<Namespace>,
    save_objects::<Plan>,
    save_objects::<SubscriptionRecord>,
    terms,
    save_objects::<Invoice>,
    payments,
];

pub(crate) const LAST_SAVES: &[Save] = &[sequences];

/// Adds the segments that the batch appended. Those that were loaded never change.
fn terms(state: &State, writes: &mut Writes) {
    let mut appended: Vec<&Segment> = Vec::new();
    for change in state.billing().terms.changes() {
        let loaded = change.original.map_or(0, |original| original.segments.len());
        appended.extend(change.row.segments.iter().skip(loaded));
    }
    appended
        .sort_by(|a, b| (a.at, &a.subscription_id, a.seq).cmp(&(b.at, &b.subscription_id, b.seq)));
    writes.append(appended.into_iter().map(Record::to_row).collect());
}

fn payments(state: &State, writes: &mut Writes) {
    write_records(
        in_order(&state.billing().payments, |a, b| {
            a.payment.provider_ref.cmp(&b.payment.provider_ref)
        }),
        writes,
    );
}

fn sequences(state: &State, writes: &mut Writes) {
    let changes = in_order(&state.billing().sequences, |a, b| a.series.cmp(b.series));
    write_rows(changes, sequence_row, "last", writes);
}
