//! Saves billing, parents before children.

use super::rows::sequence_row;
use crate::core::{
    bulk::Writes,
    save::{Save, in_order, save_objects, write_records, write_rows},
};
use ifmatch_domain::{State, billing::SubscriptionRecord};
use ifmatch_types::{Invoice, Namespace, Plan, Workspace};

pub(crate) const SAVES: &[Save] = &[
    save_objects::<Workspace>,
    save_objects::<Namespace>,
    save_objects::<Plan>,
    save_objects::<SubscriptionRecord>,
    save_objects::<Invoice>,
    payments,
];

pub(crate) const LAST_SAVES: &[Save] = &[sequences];

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
