//! Holds as they are stored: units reserved for work of unknown cost. Each ends exactly once.

use super::{Burns, log::log_as};
use crate::core::{Context, Guarded};
use ifmatch_types::{By, Hold, HoldStatus as Status, Timestamp};
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
    /// What was burnt for it; only in a rolling window.
    pub burns: Burns,
}

impl Guarded for StoredHold {
    fn guard(&self) -> i64 {
        if self.hold.status == Status::Active { 1 } else { 2 }
    }
}

impl StoredHold {
    /// Whether it has neither ended nor expired, and its counter has not taken its units back.
    pub(crate) fn is_active(&self, ctx: &Context<'_>) -> bool {
        // A clock that was set back must not revive a hold that another commit found expired.
        let counter = ctx.state.entitlement().counters.get(&self.counter_id);
        let until = counter.and_then(|counter| counter.expired_until);
        self.hold.is_active(ctx.now) && until < Some(self.hold.expires_at)
    }
}

/// The expired holds of a counter, and what those give back that it still counts.
///
/// One commit ends the rows of a limited number of holds. It takes the units of all of them from the
/// counter, so that no decision counts them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueHolds {
    /// The instant at which these holds have expired.
    pub until: Timestamp,
    /// The ids of the holds to be ended now; these holds are loaded.
    pub ids: BTreeSet<String>,
    /// Whether there are more holds, for later commits to end.
    pub is_cut: bool,
    /// The number of units in the holds that the counter still counts.
    pub units: i64,
    /// What those holds burnt; only in a rolling window.
    pub burns: Burns,
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
