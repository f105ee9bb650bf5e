//! Advice: what a scope may use, by the same rules that admit it.

use super::{ScopeRef, feature, pool::Charged};
use crate::State;
use ifmatch_types::{Entitlement, FeatureType, Kind, Timestamp};

/// What a scope may use of a feature, from what was loaded for such a request; `None` if there is no
/// such feature.
///
/// Holds whose time is over are taken off, whether or not anybody has ended them.
pub fn entitlement(
    of: &ScopeRef,
    code: &str,
    now: Timestamp,
    state: &State,
) -> Option<Entitlement> {
    let terms = feature::terms(code, state)?;
    let mut chain = vec![of.clone()];
    if of.kind == Kind::Namespace {
        let row = state.namespaces.get(&of.id)?;
        chain.push(ScopeRef::workspace(row.record.workspace_id.as_str()));
    }
    let mut charged = Charged::of_chain(&chain, &terms, now, state);
    let due = state.due_holds.get(&charged.counter.id).into_iter().flat_map(|due| &due.ids);
    let due = due.filter_map(|id| state.holds.find(id));
    let over = due.filter(|stored| !stored.hold.is_active(now));
    let held = over.fold(0i64, |sum, stored| sum.saturating_add(stored.hold.quantity));
    charged.counter.held = charged.counter.held.saturating_sub(held).max(0);
    let mut meter = charged.meter();
    let is_granted = charged.limit.is_granted();
    let allowed = match terms.feature_type {
        FeatureType::Boolean => {
            meter.limit = None;
            meter.remaining = None;
            meter.unlimited = false;
            is_granted
        }
        FeatureType::Limit | FeatureType::Unlimited => is_granted && charged.has_room(1),
        FeatureType::Unknown(_) => false,
    };
    Some(Entitlement { feature: terms.code, allowed, meter, as_of: now })
}
