//! Counters: the usage of a pool in a window, and the bounds of windows.

use super::{Burns, FeatureTerms, Need, PoolTerms};
use crate::core::{Context, Guarded, Step, Wants};
use ifmatch_types::{Interval, Reset, Timestamp, Version};

/// A day in microseconds.
pub(crate) const DAY_US: i64 = 86_400_000_000;

/// The usage of a scope's pool in a window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counter {
    /// The key, made of scope, pool and window.
    pub id: String,
    /// A number that increases with each change.
    pub version: Version,
    /// The scope that owns the counter.
    pub scope: String,
    /// The code of the pool.
    pub pool: String,
    /// The first instant of the window; only for `monthly`.
    pub window_start: Option<Timestamp>,
    /// The number of used units.
    pub used: i64,
    /// The number of units in holds, in addition to `used`.
    pub held: i64,
    /// What was burnt for this window; empty for `rolling`, where records and holds keep it.
    pub burns: Burns,
    /// The number of units that the records and holds in a rolling window burnt.
    pub rolling_burnt: i64,
    /// Records up to and including this instant no longer count; only for `rolling`.
    pub rolled_until: Option<Timestamp>,
    /// Holds that expired up to and including this instant no longer count.
    ///
    /// Their rows may still be active, because one commit ends a limited number of them.
    pub expired_until: Option<Timestamp>,
    /// The highest threshold that was reported, in percent.
    pub notified: i64,
    /// The number of thresholds that were reported; used as the version of the events.
    pub events: i64,
}

impl Guarded for Counter {
    fn guard(&self) -> i64 {
        self.version
    }
}

impl Counter {
    /// The number of units that were burnt for this window.
    pub(crate) fn burnt(&self) -> i64 {
        self.burns.units().saturating_add(self.rolling_burnt)
    }
}

/// The usage that left a rolling window since its counter was last saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RolledOff {
    /// Records up to and including this instant have left the window.
    pub until: Timestamp,
    /// The number of units that left.
    pub quantity: i64,
    /// The number of units that were burnt for them.
    pub burnt: i64,
    /// The time of the oldest record that still counts and was not completely reversed.
    pub oldest: Option<Timestamp>,
}

/// The start of the monthly window that contains `now`; `None` for other resets.
pub(crate) fn window_start(
    pool: &PoolTerms,
    anchor: Timestamp,
    now: Timestamp,
) -> Option<Timestamp> {
    let month = Step { interval: Interval::Month, count: 1 };
    (pool.reset == Reset::Monthly).then(|| month.last_boundary(anchor, now).unwrap_or(anchor))
}

/// The key of the counter of a scope's pool at `now`.
pub fn counter_key(of: &str, pool: &PoolTerms, anchor: Timestamp, now: Timestamp) -> String {
    match window_start(pool, anchor, now) {
        Some(start) => format!("{of}/{}/{}", pool.code, start.as_micros()),
        None => format!("{of}/{}", pool.code),
    }
}

/// The instant up to and including which records have left a rolling window at `now`.
pub fn rolling_start(pool: &PoolTerms, now: Timestamp) -> Option<Timestamp> {
    let days = pool.rolling_days.filter(|_| pool.reset == Reset::Rolling)?;
    Timestamp::from_micros(now.as_micros().saturating_sub(days.saturating_mul(DAY_US)))
}

/// Requests a counter, its expired holds, and the usage that left its rolling window.
pub(crate) fn want_counter(
    key: &str,
    terms: &FeatureTerms,
    now: Timestamp,
    wants: &mut Wants<'_, '_, Need>,
) {
    let entitlement = wants.state.entitlement();
    if !entitlement.counters.is_loaded(key) {
        return wants.push(Need::Counter(key.to_owned()));
    }
    let Some(counter) = entitlement.counters.original(key) else { return };
    if counter.held > 0 {
        want_due_holds(counter, now, wants);
        want_burnt(&counter.scope, &counter.burns, wants);
    }
    if let Some(start) = rolling_start(&terms.pool, now)
        && !entitlement.rolled.contains_key(key)
    {
        wants.push(Need::RolledOff(key.to_owned(), counter.rolled_until, start));
    }
}

/// Requests the expired holds of a counter.
pub(crate) fn want_due_holds(counter: &Counter, now: Timestamp, wants: &mut Wants<'_, '_, Need>) {
    if !wants.state.entitlement().due_holds.contains_key(&counter.id) {
        wants.push(Need::DueHolds(counter.id.clone(), counter.expired_until, now));
    }
}

/// Requests boosts of a scope that were burnt and may be made whole again.
///
/// A boost that was burnt out long ago is not among the scope's holdings.
pub(crate) fn want_burnt(of: &str, burns: &Burns, wants: &mut Wants<'_, '_, Need>) {
    if !wants.state.entitlement().holdings.is_loaded(of) {
        return;
    }
    for (boost_id, _) in burns.iter() {
        if !wants.state.entitlement().boosts.is_loaded(boost_id) {
            wants.push(Need::BurntBoost(boost_id.to_owned()));
        }
    }
}

/// Stores a counter with the next version.
pub(crate) fn keep(mut counter: Counter, ctx: &mut Context<'_>) {
    counter.version = counter.version.saturating_add(1);
    ctx.state.entitlement_mut().counters.put(counter.id.clone(), counter);
}
