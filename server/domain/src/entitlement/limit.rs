//! Limits: the units of a pool that a scope's packages and boosts grant.

use super::{BoostRecord, FeatureTerms, assignment::grants_of};
use crate::core::State;
use ifmatch_types::{BoostKind, FeatureType, GrantKind, Timestamp};

/// The units of a pool that a scope is granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    /// The pool is not granted at all. This differs from a grant of zero units.
    Absent,
    /// A number of units, and the units left in each consumable boost, in burn order.
    Units { base: i64, left: Vec<(String, i64)> },
    /// No limit.
    Unlimited,
}

impl Limit {
    pub(crate) fn is_granted(&self) -> bool {
        *self != Self::Absent
    }
}

/// The limit of a scope for a feature.
pub(crate) fn limit_for(of: &str, terms: &FeatureTerms, now: Timestamp, state: &State) -> Limit {
    match limit_of(of, &terms.pool.code, now, state) {
        Limit::Units { .. } if terms.feature_type == FeatureType::Unlimited => Limit::Unlimited,
        limit => limit,
    }
}

/// Sums up what the packages and boosts of a scope grant of a pool.
pub(crate) fn limit_of(of: &str, pool: &str, now: Timestamp, state: &State) -> Limit {
    let mut granted = false;
    let mut base = 0i64;
    for grant in grants_of(of, pool, now, state) {
        if grant.grant == GrantKind::Unlimited || grant.is_unlimited {
            return Limit::Unlimited;
        }
        granted = true;
        base = base.saturating_add(grant.limit.unwrap_or_default());
    }
    let mut consumables: Vec<&BoostRecord> = Vec::new();
    for record in boosts_of(of, pool, state).filter(|record| record.counts(now)) {
        match record.boost.kind {
            BoostKind::Unlimited => return Limit::Unlimited,
            BoostKind::Enable => granted = true,
            BoostKind::Unknown(_) => {}
            BoostKind::AddLimit if record.is_consumable() => consumables.push(record),
            BoostKind::AddLimit => {
                base = base.saturating_add(record.boost.amount.unwrap_or_default());
            }
        }
    }
    if !granted {
        return Limit::Absent;
    }
    consumables.sort_by(|a, b| burn_order(a).cmp(&burn_order(b)));
    let left = consumables.iter().map(|record| (record.boost.id.to_string(), record.left()));
    Limit::Units { base, left: left.collect() }
}

/// The burn order: by priority, then earliest expiry, then age.
pub(crate) fn burn_order(record: &BoostRecord) -> (i64, i64, Timestamp, &str) {
    let boost = &record.boost;
    let expires_at = boost.expires_at.map_or(i64::MAX, Timestamp::as_micros);
    (boost.priority, expires_at, boost.created_at, boost.id.as_str())
}

fn boosts_of<'a>(
    of: &str,
    pool: &'a str,
    state: &'a State,
) -> impl Iterator<Item = &'a BoostRecord> {
    let members = state.entitlement().holdings.find(of).map(|holdings| holdings.boosts.as_slice());
    let rows =
        members.unwrap_or_default().iter().filter_map(|id| state.entitlement().boosts.find(id));
    rows.map(|row| &row.record).filter(move |record| record.pool == pool)
}
