//! Pools of units: their limits, their windows, and the counters that are charged.

use super::{
    ScopeRef,
    assignment::grants_of,
    boost::BoostRecord,
    expiry::expire_holds,
    feature::{FeatureTerms, PoolTerms},
};
use crate::{Mutant, NewEvent, Rejection, Scope, State, calendar::Step, table::Guarded};
use ifmatch_types::{
    BoostKind, ChangeKind, FeatureType, GrantKind, HistoryEntry, Interval, Meter, Reset, Timestamp,
    Version,
};
use std::{collections::BTreeMap, sync::Arc};

/// What events about counters are about.
const USAGE: &str = "usage";

/// Each is told once per window.
const THRESHOLDS: [i64; 3] = [80, 90, 100];
const DAY_US: i64 = 86_400_000_000;

/// What was used of a pool in a window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counter {
    /// Its key: scope, pool and window.
    pub id: String,
    /// One more with each change.
    pub version: Version,
    /// Whose it is.
    pub scope: String,
    /// The code of the pool.
    pub pool: String,
    /// With `monthly`: the first instant of the window.
    pub window_start: Option<Timestamp>,
    /// So many units were used.
    pub used: i64,
    /// So many more are set aside.
    pub held: i64,
    /// So many units of each consumable boost were burnt for this window.
    pub burns: BTreeMap<String, i64>,
    /// With `rolling`: records up to here, included, count no more.
    pub rolled_until: Option<Timestamp>,
    /// The greatest threshold that was told.
    pub notified: i64,
    /// So many thresholds were told.
    pub events: i64,
}

impl Guarded for Counter {
    fn guard(&self) -> i64 {
        self.version
    }
}

/// What left a rolling window since its counter was last written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RolledOff {
    /// Records up to here, included, have left.
    pub until: Timestamp,
    /// So many units.
    pub quantity: i64,
    /// The oldest record that still counts; not one that was reversed completely.
    pub oldest: Option<Timestamp>,
}

/// The first instant of the window in which an instant is.
fn window_start(pool: &PoolTerms, anchor: Timestamp, now: Timestamp) -> Option<Timestamp> {
    let month = Step { interval: Interval::Month, count: 1 };
    (pool.reset == Reset::Monthly).then(|| month.last_boundary(anchor, now).unwrap_or(anchor))
}

/// The key of the counter of a scope's pool at an instant.
pub fn counter_key(of: &str, pool: &PoolTerms, anchor: Timestamp, now: Timestamp) -> String {
    match window_start(pool, anchor, now) {
        Some(start) => format!("{of}/{}/{}", pool.code, start.as_micros()),
        None => format!("{of}/{}", pool.code),
    }
}

/// Up to when records have left a rolling window, included.
pub fn rolling_start(pool: &PoolTerms, now: Timestamp) -> Option<Timestamp> {
    let days = pool.rolling_days.filter(|_| pool.reset == Reset::Rolling)?;
    Timestamp::from_micros(now.as_micros().saturating_sub(days.saturating_mul(DAY_US)))
}

/// What a scope is granted of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    /// Nothing, not even zero units.
    Absent,
    /// So many units, and what consumable boosts have left, in the order in which they burn.
    Units { base: i64, left: Vec<(String, i64)> },
    /// As many as are wanted.
    Unlimited,
}

impl Limit {
    pub(crate) fn is_granted(&self) -> bool {
        *self != Self::Absent
    }

    /// So many of the units taken only consumables can cover.
    fn uncovered(&self, used: i64, held: i64) -> i64 {
        let base = match self {
            Self::Units { base, .. } => *base,
            Self::Absent => 0,
            Self::Unlimited => i64::MAX,
        };
        used.saturating_add(held).saturating_sub(base).max(0)
    }
}

/// What a scope is granted of the pool of a feature.
fn limit_for(of: &str, terms: &FeatureTerms, now: Timestamp, state: &State) -> Limit {
    match limit_of(of, &terms.pool.code, now, state) {
        Limit::Units { .. } if terms.feature_type == FeatureType::Unlimited => Limit::Unlimited,
        limit => limit,
    }
}

/// Adds up what the packages and boosts of a scope grant of a pool.
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

/// By priority, then earliest expiry, then age.
fn burn_order(record: &BoostRecord) -> (i64, i64, Timestamp, &str) {
    let boost = &record.boost;
    let expires_at = boost.expires_at.map_or(i64::MAX, Timestamp::as_micros);
    (boost.priority, expires_at, boost.created_at, boost.id.as_str())
}

fn boosts_of<'a>(
    of: &str,
    pool: &'a str,
    state: &'a State,
) -> impl Iterator<Item = &'a BoostRecord> {
    let members = state.holdings.get(of).map(|holdings| holdings.boosts.as_slice());
    let rows = members.unwrap_or_default().iter().filter_map(|id| state.boosts.find(id));
    rows.map(|row| &row.record).filter(move |record| record.pool == pool)
}

/// The pool that a request is charged to: whose, with what limit, and its counter.
///
/// A hold whose time is over holds nothing any more. Those that were loaded are ended first; what
/// the rest of them holds is taken off whatever is computed here, and stays in the stored counter
/// until they are ended, too.
#[derive(Clone, Debug)]
pub(crate) struct Charged {
    pub(crate) limit: Limit,
    pub(crate) counter: Counter,
    /// So many units the counter holds for holds that are over and were not loaded.
    overdue: i64,
    /// When units come back.
    resets_at: Option<Timestamp>,
    is_rolling: bool,
}

impl Charged {
    /// The pool of a feature that a scope is charged on: a namespace's own if it is granted one,
    /// else its workspace's. Holds whose time is over are off it.
    pub(crate) fn now(chain: &[ScopeRef], terms: &FeatureTerms, scope: &mut Scope<'_>) -> Self {
        let charged = Self::of_chain(chain, terms, scope.now, scope.state);
        if expire_holds(&charged.counter.id, scope) {
            return Self::of_chain(chain, terms, scope.now, scope.state);
        }
        charged
    }

    /// The first of some scopes that is granted the pool, else the last.
    pub(crate) fn of_chain(
        chain: &[ScopeRef],
        terms: &FeatureTerms,
        now: Timestamp,
        state: &State,
    ) -> Self {
        let pool = &terms.pool;
        // Terms that were not frozen when they were read are from before the first grant.
        let is_frozen = terms.granted || terms.has_parent;
        let mut found = None;
        for of in chain {
            let limit = match is_frozen {
                true => limit_for(&of.to_string(), terms, now, state),
                false => Limit::Absent,
            };
            let is_granted = limit.is_granted();
            found = Some((of.to_string(), limit));
            if is_granted {
                break;
            }
        }
        let (of, limit) = found.expect("a chain has at least one scope");
        let anchor = state.holdings.get(&of).and_then(|holdings| holdings.anchor).unwrap_or(now);
        let id = counter_key(&of, pool, anchor, now);
        let start = window_start(pool, anchor, now);
        // Of a feature that is new in this batch, or new to its pool, what might exist was loaded.
        let is_stale = Mutant::StaleCounter.is_planted();
        let known = if is_stale { state.counters.original(&id) } else { state.counters.find(&id) };
        let counter = known.cloned().unwrap_or_else(|| Counter {
            id,
            version: 0,
            scope: of,
            pool: pool.code.clone(),
            window_start: start,
            used: 0,
            held: 0,
            burns: BTreeMap::new(),
            rolled_until: None,
            notified: 0,
            events: 0,
        });
        let month = Step { interval: Interval::Month, count: 1 };
        let resets_at = start.and_then(|_| month.next_boundary(anchor, now));
        Self::of_counter(limit, counter, pool, resets_at, now, state)
    }

    /// The pool that an earlier request was charged to, whose window may be over.
    pub(crate) fn then(
        counter_id: &str,
        terms: &FeatureTerms,
        scope: &mut Scope<'_>,
    ) -> Option<Self> {
        expire_holds(counter_id, scope);
        let counter = scope.state.counters.get(counter_id)?.clone();
        let limit = limit_for(&counter.scope, terms, scope.now, scope.state);
        let month = Step { interval: Interval::Month, count: 1 };
        let resets_at = counter.window_start.and_then(|start| {
            let holdings = scope.state.holdings.get(&counter.scope)?;
            month.next_boundary(holdings.anchor?, start)
        });
        Some(Self::of_counter(limit, counter, &terms.pool, resets_at, scope.now, scope.state))
    }

    fn of_counter(
        limit: Limit,
        mut counter: Counter,
        pool: &PoolTerms,
        mut resets_at: Option<Timestamp>,
        now: Timestamp,
        state: &State,
    ) -> Self {
        let is_rolling = pool.reset == Reset::Rolling;
        if let (Some(start), Some(days)) = (rolling_start(pool, now), pool.rolling_days) {
            let rolled = state.rolled.get(&counter.id);
            if let Some(rolled) = rolled
                && counter.rolled_until.is_none_or(|until| until < rolled.until)
            {
                counter.used = counter.used.saturating_sub(rolled.quantity).max(0);
                counter.rolled_until = Some(rolled.until);
                forget_burns(&mut counter, rolled.quantity, &limit, state);
            }
            counter.rolled_until = counter.rolled_until.max(Some(start));
            // What this batch recorded is younger than all that was loaded.
            let oldest = rolled.and_then(|rolled| rolled.oldest).unwrap_or(now);
            let back = oldest.as_micros().saturating_add(days.saturating_mul(DAY_US));
            resets_at = Timestamp::from_micros(back);
        }
        let overdue = overdue(&counter.id, state);
        Self { limit, counter, overdue, resets_at, is_rolling }
    }

    /// Whether its window moves on all the time.
    pub(crate) fn is_rolling(&self) -> bool {
        self.is_rolling
    }

    /// The units that are set aside by holds that are not over.
    fn held(&self) -> i64 {
        self.counter.held.saturating_sub(self.overdue).max(0)
    }

    /// The units that were burnt for this window.
    fn burnt(&self) -> i64 {
        self.counter.burns.values().fold(0i64, |sum, burnt| sum.saturating_add(*burnt))
    }

    /// All units of this window; `None`: no limit.
    fn units(&self) -> Option<i64> {
        match &self.limit {
            Limit::Absent => Some(0),
            Limit::Unlimited => None,
            Limit::Units { base, left } => {
                let left = left.iter().fold(0i64, |sum, (_, left)| sum.saturating_add(*left));
                Some(base.saturating_add(self.burnt()).saturating_add(left))
            }
        }
    }

    /// The pool as the API shows it.
    pub(crate) fn meter(&self) -> Meter {
        let Counter { used, scope, .. } = &self.counter;
        let held = self.held();
        let limit = self.units();
        let remaining = limit.map(|limit| limit.saturating_sub(*used).saturating_sub(held).max(0));
        Meter {
            used: *used,
            held,
            limit,
            remaining,
            unlimited: limit.is_none(),
            // What a rolling window has to give back is what was used in it.
            resets_at: self.resets_at.filter(|_| !self.is_rolling || *used > 0),
            charged_scope: scope.clone(),
        }
    }

    /// Whether so many more units fit.
    pub(crate) fn has_room(&self, quantity: i64) -> bool {
        match self.units() {
            None => true,
            Some(limit) => {
                let sum = self.counter.used.checked_add(self.held());
                let sum = sum.and_then(|sum| sum.checked_add(quantity));
                self.limit.is_granted() && sum.is_some_and(|sum| sum <= limit)
            }
        }
    }

    /// Takes units, for good or held: burns consumables for what the rest does not cover.
    ///
    /// # Errors
    ///
    /// If the counter leaves the range of 64 bits, which only a pool without a limit can.
    pub(crate) fn take(
        &mut self,
        used: i64,
        held: i64,
        scope: &mut Scope<'_>,
    ) -> Result<(), Rejection> {
        let overflow = || Rejection::AmountOverflow { path: "/quantity".to_owned() };
        self.counter.used = self.counter.used.checked_add(used).ok_or_else(overflow)?;
        self.counter.held = self.counter.held.checked_add(held).ok_or_else(overflow)?;
        let burnt = self.burnt();
        let taken = self.counter.used.saturating_add(self.held());
        let Limit::Units { base, left } = &mut self.limit else { return Ok(()) };
        let mut uncovered = taken.saturating_sub(base.saturating_add(burnt));
        for (boost_id, left) in left.iter_mut() {
            let burning = uncovered.min(*left);
            if burning <= 0 {
                continue;
            }
            *left = left.saturating_sub(burning);
            uncovered = uncovered.saturating_sub(burning);
            let burnt = self.counter.burns.entry(boost_id.clone()).or_default();
            *burnt = burnt.saturating_add(burning);
            consume(boost_id, burning, scope);
        }
        Ok(())
    }

    /// Gives units back; consumables that were burnt for them last are whole again first.
    pub(crate) fn give_back(&mut self, used: i64, held: i64, scope: &mut Scope<'_>) {
        give_back(&mut self.counter, used, held, &self.limit, scope);
        if let Limit::Units { .. } = self.limit {
            // What is whole again is not burnt any more, but left.
            let Counter { scope: of, pool, .. } = &self.counter;
            self.limit = limit_of(of, pool, scope.now, scope.state);
        }
    }

    /// Stores the counter after units were taken, and tells thresholds that were reached.
    pub(crate) fn keep(self, scope: &mut Scope<'_>) -> Meter {
        self.keep_telling(true, scope)
    }

    /// Stores the counter after units were given back. That reaches no threshold: one that a lower
    /// limit has put below what is used is told when more is used.
    pub(crate) fn keep_given_back(self, scope: &mut Scope<'_>) -> Meter {
        self.keep_telling(false, scope)
    }

    fn keep_telling(mut self, is_more_used: bool, scope: &mut Scope<'_>) -> Meter {
        let meter = self.meter();
        if let Some(limit) = meter.limit.filter(|limit| *limit > 0) {
            let percent = i128::from(meter.used) * 100 / i128::from(limit);
            let reached = THRESHOLDS.into_iter().filter(|level| i128::from(*level) <= percent);
            let reached: Vec<i64> = reached.collect();
            // A rolling window has no end at which to tell anew: it is armed again by going below.
            if self.is_rolling {
                self.counter.notified =
                    self.counter.notified.min(reached.last().copied().unwrap_or_default());
            }
            for threshold in reached {
                if is_more_used && threshold > self.counter.notified {
                    self.counter.notified = threshold;
                    self.counter.events = self.counter.events.saturating_add(1);
                    tell(&self.counter, threshold, limit, scope);
                }
            }
        }
        keep(self.counter, scope);
        meter
    }
}

/// So many units are held by holds that are over and that later commits end.
fn overdue(counter_id: &str, state: &State) -> i64 {
    state.due_holds.get(counter_id).map_or(0, |due| due.rest)
}

/// Gives units of a counter back, and the consumables that were burnt for them.
pub(crate) fn give_back(
    counter: &mut Counter,
    used: i64,
    held: i64,
    limit: &Limit,
    scope: &mut Scope<'_>,
) {
    counter.used = counter.used.saturating_sub(used).max(0);
    counter.held = counter.held.saturating_sub(held).max(0);
    let given_back = used.saturating_add(held);
    // Holds that are over and are ended by later commits need nothing.
    let overdue = overdue(&counter.id, scope.state);
    let still_needed = limit.uncovered(counter.used, counter.held.saturating_sub(overdue).max(0));
    let burnt = counter.burns.values().fold(0i64, |sum, burnt| sum.saturating_add(*burnt));
    let mut whole_again = burnt.saturating_sub(still_needed).min(given_back);
    let mut burns: Vec<BoostRecord> = Vec::new();
    for id in counter.burns.keys() {
        // One that is over gets nothing back, whether or not anybody has stored its end; its units
        // stay in this window.
        let row = scope.state.boosts.find(id).filter(|row| row.record.counts(scope.now));
        burns.extend(row.map(|row| row.record.clone()));
    }
    burns.sort_by(|a, b| burn_order(b).cmp(&burn_order(a)));
    for record in burns {
        let id = record.boost.id.as_str();
        let Some(burnt) = counter.burns.get_mut(id) else { continue };
        let back = whole_again.min(*burnt);
        if back <= 0 {
            continue;
        }
        whole_again = whole_again.saturating_sub(back);
        *burnt = burnt.saturating_sub(back);
        if *burnt == 0 {
            counter.burns.remove(id);
        }
        consume(id, back.saturating_neg(), scope);
    }
}

/// Forgets what was burnt for units that have left a rolling window: they made room once.
fn forget_burns(counter: &mut Counter, left: i64, limit: &Limit, state: &State) {
    let still_needed = limit.uncovered(counter.used, counter.held);
    let burnt = counter.burns.values().fold(0i64, |sum, burnt| sum.saturating_add(*burnt));
    let mut forgotten = burnt.saturating_sub(still_needed).min(left);
    let mut ids: Vec<String> = counter.burns.keys().cloned().collect();
    // The first that burnt is the first to leave; those that are over burnt before all others.
    ids.sort_by_key(|id| {
        let record = state.boosts.find(id).map(|row| &row.record);
        record.map(burn_order).map(|(priority, expiry, age, _)| (priority, expiry, age))
    });
    for id in ids {
        let Some(burnt) = counter.burns.get_mut(&id) else { continue };
        let gone = forgotten.min(*burnt).max(0);
        forgotten = forgotten.saturating_sub(gone);
        *burnt = burnt.saturating_sub(gone);
        if *burnt == 0 {
            counter.burns.remove(&id);
        }
    }
}

/// Stores a counter.
pub(crate) fn keep(mut counter: Counter, scope: &mut Scope<'_>) {
    counter.version = counter.version.saturating_add(1);
    scope.state.counters.put(counter.id.clone(), counter);
}

/// Burns units of a boost, or makes them whole again.
fn consume(boost_id: &str, units: i64, scope: &mut Scope<'_>) {
    let row = scope.state.boosts.get(boost_id).expect("only boosts that were found are burnt");
    let before = row.record.clone();
    let mut record = before.clone();
    record.boost.consumed = record.boost.consumed.saturating_add(units);
    crate::versioned::change_internally(record, before, scope);
}

/// Puts a threshold into the stream of events.
fn tell(counter: &Counter, threshold: i64, limit: i64, scope: &mut Scope<'_>) {
    let state = serde_json::json!({
        "scope": counter.scope,
        "feature": counter.pool,
        "threshold": threshold,
        "used": counter.used,
        "limit": limit,
        "window_start": counter.window_start.or(counter.rolled_until),
    });
    let entry = HistoryEntry {
        version: counter.events,
        at: scope.now,
        by: scope.meta.by(false),
        kind: ChangeKind::ThresholdReached,
        changes: Vec::new(),
        reason: None,
        overwrote: None,
        request_id: scope.meta.request_id.clone(),
    };
    let id = counter.id.clone();
    let state = Arc::new(state.into());
    scope.state.events.push(NewEvent { resource_type: USAGE, id, entry, state });
}
