//! Needs for charging pools, and the read that tells whether usage would be allowed.
//!
//! The read follows the same rules that admit usage.

use super::{
    Burns, FeatureTerms, Need, ScopeRef,
    charge::Charged,
    counter::{want_burnt, want_counter},
    counter_key,
    feature::{self, want_feature_code},
    scope::{want_chain, want_holdings},
};
use crate::core::{State, Wants};
use ifmatch_types::{Entitlement, FeatureType, Kind, Timestamp};

/// How much of a feature a scope may use, from the loaded state.
///
/// Returns `None` if the feature does not exist. Expired holds do not count, even if they are not
/// ended yet.
pub fn entitlement(
    of: &ScopeRef,
    code: &str,
    now: Timestamp,
    state: &State,
) -> Option<Entitlement> {
    let terms = feature::terms(code, state)?;
    let mut chain = vec![of.clone()];
    if of.kind == Kind::Namespace {
        let row = state.billing().namespaces.get(&of.id)?;
        chain.push(ScopeRef::workspace(row.record.workspace_id.as_str()));
    }
    let mut charged = Charged::of_chain(&chain, &terms, now, state);
    if let Some(due) = state.entitlement().due_holds.get(&charged.counter.id) {
        due.hide(&mut charged.counter, now, state);
    }
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

/// Requests the pools that features draw from, for a scope and the workspace it falls back to.
pub(crate) fn want_usage<'c>(
    scope: &'c ScopeRef,
    features: impl Iterator<Item = &'c str>,
    wants: &mut Wants<'_, 'c, Need>,
) {
    let mut is_repeat = false;
    let mut new = Vec::new();
    for code in features {
        match wants.is_first((scope.kind, scope.id.as_str(), code)) {
            true => new.push(code),
            false => is_repeat = true,
        }
    }
    // A request that names no feature is refused, but only after its scope is locked.
    if !new.is_empty() || !is_repeat {
        want_pools(scope, new.into_iter(), wants);
    }
}

/// Requests the pools that features draw from, even if this round already requested them.
pub fn want_pools<'f>(
    scope: &ScopeRef,
    features: impl Iterator<Item = &'f str>,
    wants: &mut Wants<'_, '_, Need>,
) {
    // Everything else is loaded together, after the row locks are taken.
    let Some(chain) = want_chain(scope, wants) else { return };
    let are_loaded = want_holdings(&chain, wants);
    wants.clock();
    for code in features {
        let terms = want_feature_code(code, wants);
        let (true, Some(now)) = (are_loaded, wants.state.clock) else { continue };
        for terms in pools_to_be(terms, wants.state) {
            for scope in &chain {
                let scope = scope.to_string();
                let holdings = wants.state.entitlement().holdings.original(&scope);
                let anchor = holdings.and_then(|holdings| holdings.anchor);
                let key = counter_key(&scope, &terms.pool, anchor.unwrap_or(now), now);
                want_counter(&key, &terms, now, wants);
            }
        }
    }
}

/// The pools that a feature may draw from when the command is decided.
///
/// Earlier commands of this batch may create the feature, or change its pool if it is not frozen
/// yet. Such a feature may then draw from any pool, so this returns all loaded ones.
fn pools_to_be(terms: Option<FeatureTerms>, state: &State) -> Vec<FeatureTerms> {
    if terms.as_ref().is_some_and(|terms| terms.granted) {
        return terms.into_iter().collect();
    }
    let known = state.entitlement().feature_terms.values();
    let parents = known.filter(|t| t.feature_type == FeatureType::Limit && !t.has_parent);
    terms.into_iter().chain(parents.cloned()).collect()
}

/// Requests the pool that an earlier request was charged to, and the boosts that were burnt.
pub(crate) fn want_charged_then(
    scope: &ScopeRef,
    feature: &str,
    counter_id: &str,
    burns: &Burns,
    wants: &mut Wants<'_, '_, Need>,
) {
    want_pools(scope, std::iter::once(feature), wants);
    if let Some(terms) = want_feature_code(feature, wants)
        && let Some(now) = wants.state.clock
    {
        want_counter(counter_id, &terms, now, wants);
        if let Some(counter) = wants.state.entitlement().counters.original(counter_id) {
            want_burnt(&counter.scope, &counter.burns, wants);
            want_burnt(&counter.scope, burns, wants);
        }
    }
}
