//! Charging: finds the pool that a request draws from, takes units and gives them back.

use super::{
    Burns, Counter, FeatureTerms, PoolTerms, Rejection, ScopeRef,
    assignment::is_suspended,
    burn::consume,
    counter::{DAY_US, counter_key, keep, rolling_start, window_start},
    limit::{Limit, limit_for, limit_of},
    overdue::expire_holds,
    threshold::{THRESHOLDS, tell},
};
use crate::core::{self, Context, Mutant, State, Step};
use ifmatch_types::{INTEGER_MAX, Interval, Meter, Reset, Timestamp, integer::is_exact};

/// The pool that a request is charged to, with its limit and its counter.
///
/// Expired holds do not count: their units are taken from the counter first.
#[derive(Clone, Debug)]
pub(crate) struct Charged {
    pub(crate) limit: Limit,
    pub(crate) counter: Counter,
    /// The time at which units become available again.
    resets_at: Option<Timestamp>,
    is_rolling: bool,
}

impl Charged {
    /// The pool that a scope is charged for a feature, after ending its expired holds.
    ///
    /// A namespace is charged on its own pool if it has a grant for it, otherwise on its
    /// workspace's. A suspended package still claims the pool: the namespace is denied, so that
    /// suspending it never gives access to more.
    pub(crate) fn now(chain: &[ScopeRef], terms: &FeatureTerms, ctx: &mut Context<'_>) -> Self {
        let charged = Self::of_chain(chain, terms, ctx.now, ctx.state);
        if expire_holds(&charged.counter.id, ctx) {
            return Self::of_chain(chain, terms, ctx.now, ctx.state);
        }
        charged
    }

    /// The pool of the first scope in the chain that has a grant, otherwise of the last scope.
    pub(crate) fn of_chain(
        chain: &[ScopeRef],
        terms: &FeatureTerms,
        now: Timestamp,
        state: &State,
    ) -> Self {
        let pool = &terms.pool;
        // Terms are frozen by the first grant. If they were not frozen when read, nothing grants
        // the feature.
        let is_frozen = terms.granted || terms.has_parent;
        let mut found = None;
        for of in chain {
            let limit = match is_frozen {
                true => limit_for(&of.to_string(), terms, now, state),
                false => Limit::Absent,
            };
            let of = of.to_string();
            let has_grant = limit.is_granted() || is_suspended(&of, &pool.code, now, state);
            found = Some((of, limit));
            if has_grant {
                break;
            }
        }
        let (of, limit) = found.expect("a chain has at least one scope");
        let anchor = state
            .entitlement()
            .holdings
            .find(&of)
            .and_then(|holdings| holdings.anchor)
            .unwrap_or(now);
        let id = counter_key(&of, pool, anchor, now);
        let start = window_start(pool, anchor, now);
        // For a feature that is new in this batch or new to its pool, every counter that may exist
        // was loaded.
        let is_stale = Mutant::StaleCounter.is_planted();
        let known = if is_stale {
            state.entitlement().counters.original(&id)
        } else {
            state.entitlement().counters.find(&id)
        };
        let counter = known.cloned().unwrap_or_else(|| Counter {
            id,
            version: 0,
            scope: of,
            pool: pool.code.clone(),
            window_start: start,
            used: 0,
            held: 0,
            burns: Burns::default(),
            rolling_burnt: 0,
            rolled_until: None,
            expired_until: None,
            notified: 0,
            events: 0,
        });
        let month = Step { interval: Interval::Month, count: 1 };
        let resets_at = start.and_then(|_| month.next_boundary(anchor, now));
        Self::of_counter(limit, counter, pool, resets_at, now, state)
    }

    /// The pool that an earlier request was charged to. Its window may have ended.
    pub(crate) fn then(
        counter_id: &str,
        terms: &FeatureTerms,
        ctx: &mut Context<'_>,
    ) -> Option<Self> {
        expire_holds(counter_id, ctx);
        let counter = ctx.state.entitlement().counters.get(counter_id)?.clone();
        let limit = limit_for(&counter.scope, terms, ctx.now, ctx.state);
        let month = Step { interval: Interval::Month, count: 1 };
        let resets_at = counter.window_start.and_then(|start| {
            let holdings = ctx.state.entitlement().holdings.find(&counter.scope)?;
            month.next_boundary(holdings.anchor?, start)
        });
        // A window that has ended gives no more units.
        let resets_at = resets_at.filter(|at| *at > ctx.now);
        Some(Self::of_counter(limit, counter, &terms.pool, resets_at, ctx.now, ctx.state))
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
            let rolled = state.entitlement().rolled.get(&counter.id);
            if let Some(rolled) = rolled
                && counter.rolled_until.is_none_or(|until| until < rolled.until)
            {
                counter.used = counter.used.saturating_sub(rolled.quantity).max(0);
                counter.rolled_until = Some(rolled.until);
                let burnt = counter.rolling_burnt.saturating_sub(rolled.burnt);
                counter.rolling_burnt = burnt.max(0);
            }
            counter.rolled_until = counter.rolled_until.max(Some(start));
            // Records of this batch are newer than all loaded ones.
            let oldest = rolled.and_then(|rolled| rolled.oldest).unwrap_or(now);
            let back = oldest.as_micros().saturating_add(days.saturating_mul(DAY_US));
            resets_at = Timestamp::from_micros(back);
        }
        Self { limit, counter, resets_at, is_rolling }
    }

    /// Whether its window is rolling.
    pub(crate) fn is_rolling(&self) -> bool {
        self.is_rolling
    }

    /// The limit of this window in units; `None` if there is no limit.
    ///
    /// A sum of grants beyond the largest integer of the API is that integer. No counter goes beyond
    /// it, so it admits the same.
    fn units(&self) -> Option<i64> {
        match &self.limit {
            Limit::Absent => Some(0),
            Limit::Unlimited => None,
            Limit::Units { base, left } => {
                let left = left.iter().fold(0i64, |sum, (_, left)| sum.saturating_add(*left));
                let limit = base.saturating_add(self.counter.burnt()).saturating_add(left);
                Some(limit.min(INTEGER_MAX))
            }
        }
    }

    /// The pool as the API shows it.
    pub(crate) fn meter(&self) -> Meter {
        let Counter { used, held, scope, .. } = &self.counter;
        let limit = self.units();
        let remaining = limit.map(|limit| limit.saturating_sub(*used).saturating_sub(*held).max(0));
        Meter {
            used: *used,
            held: *held,
            limit,
            remaining,
            unlimited: limit.is_none(),
            // A rolling window with no usage has no units to get back.
            resets_at: self.resets_at.filter(|_| !self.is_rolling || *used > 0),
            charged_scope: scope.clone(),
        }
    }

    /// Whether `quantity` more units fit within the limit.
    pub(crate) fn has_room(&self, quantity: i64) -> bool {
        match self.units() {
            None => true,
            Some(limit) => {
                let sum = self.counter.used.checked_add(self.counter.held);
                let sum = sum.and_then(|sum| sum.checked_add(quantity));
                self.limit.is_granted() && sum.is_some_and(|sum| sum <= limit)
            }
        }
    }

    /// Takes used or held units, and burns consumable boosts for those that nothing else covers.
    ///
    /// Returns what was burnt, if the record or hold keeps it: in a rolling window.
    ///
    /// # Errors
    ///
    /// If the counter is beyond the largest integer, which is only possible for a pool without a limit.
    pub(crate) fn take(
        &mut self,
        used: i64,
        held: i64,
        ctx: &mut Context<'_>,
    ) -> Result<Burns, Rejection> {
        let overflow = || core::Rejection::AmountOverflow { path: "/quantity".to_owned() };
        let add = |count: i64, more| count.checked_add(more).filter(|sum| is_exact(*sum));
        self.counter.used = add(self.counter.used, used).ok_or_else(overflow)?;
        self.counter.held = add(self.counter.held, held).ok_or_else(overflow)?;
        let burns = self.burn(used.saturating_add(held), ctx);
        if self.is_rolling {
            self.counter.rolling_burnt = self.counter.rolling_burnt.saturating_add(burns.units());
            return Ok(burns);
        }
        self.counter.burns.append(&burns);
        Ok(Burns::default())
    }

    /// Burns units for `taken` units that the counter has just got, and at most as many.
    ///
    /// A lower limit may leave more of the earlier units uncovered. Those were admitted without
    /// burning, and are not paid for now.
    fn burn(&mut self, taken: i64, ctx: &mut Context<'_>) -> Burns {
        let mut burns = Burns::default();
        let counted = self.counter.used.saturating_add(self.counter.held);
        let burnt = self.counter.burnt();
        let Limit::Units { base, left } = &mut self.limit else { return burns };
        let covered = base.saturating_add(burnt);
        let mut uncovered = counted.saturating_sub(covered).min(taken);
        for (boost_id, left) in left.iter_mut() {
            let burning = uncovered.min(*left);
            if burning <= 0 {
                continue;
            }
            *left = left.saturating_sub(burning);
            uncovered = uncovered.saturating_sub(burning);
            burns.push(boost_id, burning);
            consume(boost_id, burning, ctx);
        }
        burns
    }

    /// Gives units back, and makes as many burnt units whole again, last burnt first.
    ///
    /// In a rolling window these are units of `own`: what the record or hold burnt, of which `stays`
    /// units stay recorded.
    pub(crate) fn give_back(
        &mut self,
        used: i64,
        held: i64,
        (own, stays): (&mut Burns, i64),
        ctx: &mut Context<'_>,
    ) {
        self.counter.used = self.counter.used.saturating_sub(used).max(0);
        self.counter.held = self.counter.held.saturating_sub(held).max(0);
        let units = used.saturating_add(held);
        if self.is_rolling {
            let before = own.units();
            own.make_whole(units, ctx);
            own.shorten(stays);
            let gone = before.saturating_sub(own.units());
            self.counter.rolling_burnt = self.counter.rolling_burnt.saturating_sub(gone).max(0);
        } else {
            self.counter.burns.make_whole(units, ctx);
        }
        if let Limit::Units { .. } = self.limit {
            // Restored units count as left again, so the limit is computed anew.
            let Counter { scope: of, pool, .. } = &self.counter;
            self.limit = limit_of(of, pool, ctx.now, ctx.state);
        }
    }

    /// Stores the counter after units were taken, and reports the thresholds that were reached.
    pub(crate) fn keep(self, ctx: &mut Context<'_>) -> Meter {
        self.keep_telling(true, ctx)
    }

    /// Stores the counter after units were given back, without reporting thresholds.
    ///
    /// If a lower limit put usage above a threshold, the next use of units reports it.
    pub(crate) fn keep_given_back(self, ctx: &mut Context<'_>) -> Meter {
        self.keep_telling(false, ctx)
    }

    fn keep_telling(mut self, is_more_used: bool, ctx: &mut Context<'_>) -> Meter {
        let meter = self.meter();
        if let Some(limit) = meter.limit.filter(|limit| *limit > 0) {
            let percent = i128::from(meter.used) * 100 / i128::from(limit);
            let reached = THRESHOLDS.into_iter().filter(|level| i128::from(*level) <= percent);
            let reached: Vec<i64> = reached.collect();
            // A rolling window never starts anew. A threshold is reported again after usage has
            // dropped below it.
            if self.is_rolling {
                self.counter.notified =
                    self.counter.notified.min(reached.last().copied().unwrap_or_default());
            }
            for threshold in reached {
                if is_more_used && threshold > self.counter.notified {
                    self.counter.notified = threshold;
                    self.counter.events = self.counter.events.saturating_add(1);
                    tell(&self.counter, threshold, limit, ctx);
                }
            }
        }
        keep(self.counter, ctx);
        meter
    }
}
