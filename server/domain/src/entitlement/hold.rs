//! Holds as they are stored: units reserved for work of unknown cost. Each ends exactly once.

use super::log::log_as;
use crate::core::{Context, Guarded};
use ifmatch_types::{By, Hold, HoldStatus as Status};
use serde_json::json;
use std::collections::BTreeSet;

/// A hold as it is stored, with fields that the API does not show.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredHold {
    /// The hold as the API shows it.
    pub hold: Hold,
    /// The key of the counter that holds the units.
    pub counter_id: String,
    /// The scope that owns the counter.
    pub charged_scope: String,
}

impl Guarded for StoredHold {
    fn guard(&self) -> i64 {
        if self.hold.status == Status::Active { 1 } else { 2 }
    }
}

/// The expired holds of a counter: some to be ended now, and a sum of the others.
///
/// One commit ends a limited number of them. Decisions count none of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DueHolds {
    /// The ids of the holds to be ended now; these holds are loaded.
    pub ids: BTreeSet<String>,
    /// The number of units in the holds that later commits end.
    pub rest: i64,
}

/// Stores the end of a hold, with its line in the log.
pub(crate) fn end(stored: StoredHold, by: By, ctx: &mut Context<'_>) {
    let hold = &stored.hold;
    let details = json!({
        "hold_id": hold.id,
        "feature": hold.feature,
        "quantity": hold.quantity,
        "settled_quantity": hold.settled_quantity,
    });
    let of = hold.scope.clone();
    log_as(by, &of, &format!("hold.{}", hold.status.name()), details, ctx);
    ctx.state.entitlement_mut().holds.put(stored.hold.id.to_string(), stored);
}
