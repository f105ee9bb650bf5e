//! Saves API keys.

use crate::core::{
    bulk::Writes,
    save::{Save, in_order, write_records},
};
use ifmatch_domain::State;

pub(crate) const SAVES: &[Save] = &[api_keys];

fn api_keys(state: &State, writes: &mut Writes) {
    write_records(in_order(&state.access().api_keys, |a, b| a.key.id.cmp(&b.key.id)), writes);
}
