//! Billing periods and what they cost: functions of the terms and the calendar.
//!
//! Nothing here depends on when a billing run came.

use super::{
    Rejection,
    proration::share,
    terms::{Prices, Segment},
};
use crate::core::{self, days_between};
use ifmatch_types::{PlanId, Timestamp};

/// A billing period, half-open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Period {
    /// The first instant.
    pub(super) start: Timestamp,
    /// The first instant after it.
    pub(super) end: Timestamp,
    /// Where it would end if no change of interval had cut it short.
    pub(super) whole_end: Timestamp,
    /// The instant that its boundaries are counted from.
    pub(super) anchor: Timestamp,
    /// The number of the segment in force at its start.
    pub(super) begun_by: i64,
    /// The terms that took effect within it, oldest first.
    pub(super) parts: Vec<Part>,
    /// From before there were terms: what it costs beside the terms.
    invoiced: i64,
    /// Whether it is only a record from before there were terms.
    pub(super) is_record: bool,
}

/// Terms that took effect within a period, until the next part or the end of the period.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// When they took effect.
    pub(super) at: Timestamp,
    /// The plan.
    pub(super) plan_id: PlanId,
    /// The number of units.
    pub(super) quantity: i64,
}

impl Part {
    fn of(segment: &Segment) -> Self {
        Self { at: segment.at, plan_id: segment.plan_id.clone(), quantity: segment.quantity }
    }

    /// The price of a whole period under these terms.
    fn price(&self, prices: &Prices) -> i128 {
        i128::from(prices.get(&self.plan_id).amount).saturating_mul(i128::from(self.quantity))
    }
}

impl Period {
    /// What each part costs, in the order of the parts.
    ///
    /// A part costs its day share of its own price. The day of a change belongs to the new terms.
    pub(super) fn costs(&self, prices: &Prices) -> Result<Vec<(&Part, i64)>, Rejection> {
        let days = days_between(self.start, self.whole_end).max(1);
        let last = if self.end < self.whole_end { self.day(self.end, days) } else { days };
        let mut costs = Vec::with_capacity(self.parts.len());
        for (index, part) in self.parts.iter().enumerate() {
            let next = index.checked_add(1).and_then(|next| self.parts.get(next));
            let until = next.map_or(last, |next| self.day(next.at, days).min(last));
            let from = self.day(part.at, days).min(until);
            let own = share(part.price(prices), from, until, days);
            // What was invoiced before there were terms belongs to the first part.
            let invoiced = if index == 0 { self.invoiced } else { 0 };
            let cost = own.and_then(|own| own.checked_add(invoiced)).ok_or_else(overflow)?;
            costs.push((part, cost));
        }
        Ok(costs)
    }

    /// Whether a change of interval ended it on the day on which it began.
    pub(super) fn is_empty(&self) -> bool {
        self.end < self.whole_end && days_between(self.start, self.end) == 0
    }

    fn day(&self, at: Timestamp, days: i64) -> i64 {
        days_between(self.start, at).clamp(0, days)
    }
}

/// Where the periods of a subscription begin and end, beside its terms.
#[derive(Clone, Copy, Debug)]
pub(super) struct Course {
    /// When the first period begins, if the subscription renews then.
    pub(super) first: Timestamp,
    /// When `cancel_at_period_end` ends it. No period begins there or later.
    pub(super) stops_at: Option<Timestamp>,
    /// A period to begin with; all before it are settled.
    pub(super) settled: Option<Settled>,
    /// The periods that begin later than this count for the limit.
    pub(super) billed_until: Option<Timestamp>,
    /// Stop before a period if this many were counted.
    pub(super) most: Option<usize>,
    /// Whether periods may be left out that are followed by one of the same length.
    ///
    /// The latest one is then found without going through many years day by day. The first one that
    /// was never billed is not left out.
    pub(super) skips: bool,
}

/// A period that begins where everything before is settled.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settled {
    /// The start of the period.
    pub(super) start: Timestamp,
    /// The instant that it is counted from.
    pub(super) anchor: Timestamp,
    /// The number of the segment in force at its start.
    pub(super) begun_by: i64,
}

/// The periods of a subscription, in order.
#[derive(Debug, Default)]
pub(super) struct Periods {
    /// Those that begin until the instant that was asked for.
    pub(super) all: Vec<Period>,
    /// When the next one begins, if the terms stay as they are.
    pub(super) next: Option<Timestamp>,
    /// Where the walk stopped because it had counted enough of them.
    pub(super) stopped_at: Option<Timestamp>,
}

impl Periods {
    /// The period that contains an instant.
    pub(super) fn at(&self, instant: Timestamp) -> Option<&Period> {
        self.all.iter().rev().find(|period| period.start <= instant && instant < period.end)
    }
}

/// Finds the periods that begin until an instant.
pub(super) fn periods(
    course: &Course,
    segments: &[Segment],
    prices: &Prices,
    until: Timestamp,
) -> Result<Periods, Rejection> {
    let mut walk = Walk {
        course,
        prices,
        found: Vec::new(),
        counted: 0,
        latest: None,
        is_running: false,
        boundary: Some(course.first),
        anchor: course.first,
        stopped_at: None,
    };
    let mut rest = segments;
    if let Some(settled) = &course.settled {
        let at = segments.iter().position(|segment| segment.seq == settled.begun_by);
        let (begun_by, later) = at
            .and_then(|at| segments.get(at..)?.split_first())
            .expect("the segment of the settled period is loaded");
        walk.latest = Some(begun_by);
        walk.begin(begun_by, settled.start, settled.anchor)?;
        rest = later;
    }
    for segment in rest.iter().take_while(|segment| segment.at <= until) {
        walk.pass(segment.at)?;
        walk.apply(segment)?;
    }
    walk.pass(until)?;
    let next = walk.boundary.filter(|_| walk.latest.is_some_and(Segment::renews));
    Ok(Periods { all: walk.found, next, stopped_at: walk.stopped_at })
}

/// Goes through the segments and the boundaries in the order of time.
struct Walk<'a> {
    course: &'a Course,
    prices: &'a Prices,
    found: Vec<Period>,
    counted: usize,
    /// The terms in force.
    latest: Option<&'a Segment>,
    /// Whether the last period that was found is running.
    is_running: bool,
    /// The end of the running period, or the start of the first one.
    boundary: Option<Timestamp>,
    anchor: Timestamp,
    stopped_at: Option<Timestamp>,
}

impl<'a> Walk<'a> {
    /// Passes the boundaries until an instant. At each, a period begins if the subscription renews.
    fn pass(&mut self, until: Timestamp) -> Result<(), Rejection> {
        while let Some(boundary) = self.boundary.filter(|boundary| *boundary <= until) {
            self.is_running = false;
            self.boundary = None;
            if let Some(segment) = self.latest.filter(|segment| segment.renews())
                && self.course.stops_at.is_none_or(|stops_at| boundary < stops_at)
            {
                let start =
                    if self.course.skips { self.skip(segment, boundary, until) } else { boundary };
                self.begin(segment, start, self.anchor)?;
            }
        }
        Ok(())
    }

    /// The last boundary until an instant, if periods begin at all boundaries from this one on.
    fn skip(&self, segment: &Segment, boundary: Timestamp, until: Timestamp) -> Timestamp {
        // A period that is to end it is the running one, so it is never skipped.
        let stops = self.course.stops_at.is_some_and(|stops_at| stops_at <= until);
        let is_first_unbilled = self.counts(boundary) && self.counted == 0;
        if stops || is_first_unbilled {
            return boundary;
        }
        let billed_until = self.course.billed_until.filter(|_| !self.counts(boundary));
        let until = billed_until.map_or(until, |billed| billed.min(until));
        let step = self.prices.get(&segment.plan_id).step();
        step.boundaries(self.anchor, boundary).last(until).unwrap_or(boundary)
    }

    /// Lets new terms begin.
    fn apply(&mut self, segment: &'a Segment) -> Result<(), Rejection> {
        if let Some(until) = segment.invoiced_until {
            self.record(segment, until);
            return Ok(());
        }
        self.latest = Some(segment);
        if !segment.renews() || self.stopped_at.is_some() {
            // A change that is made while it does not renew takes effect when it does again.
            return Ok(());
        }
        let Some(running) = self.found.last_mut().filter(|_| self.is_running) else {
            if self.boundary.is_none() {
                let anchor = segment.anchor_at.unwrap_or(segment.at);
                self.begin(segment, segment.at, anchor)?;
            }
            return Ok(());
        };
        let part = Part::of(segment);
        let before = running.parts.last().map(|part| self.prices.get(&part.plan_id).step());
        if before == Some(self.prices.get(&part.plan_id).step()) {
            running.parts.push(part);
            return Ok(());
        }
        running.end = segment.at;
        let (start, is_empty) = (running.start, running.is_empty());
        if is_empty && self.counts(start) {
            // It has no invoice, so it must not use up the limit.
            self.counted = self.counted.saturating_sub(1);
        }
        if start == segment.at {
            // It began at this very instant, so the new period takes its place.
            self.found.pop();
        }
        self.begin(segment, segment.at, segment.at)
    }

    /// Whether a period that begins here counts for the limit.
    fn counts(&self, start: Timestamp) -> bool {
        self.course.billed_until.is_none_or(|billed| start > billed)
    }

    fn begin(
        &mut self,
        segment: &Segment,
        start: Timestamp,
        anchor: Timestamp,
    ) -> Result<(), Rejection> {
        if self.counts(start) {
            if self.course.most == Some(self.counted) {
                self.stopped_at = self.stopped_at.or(Some(start));
                self.is_running = false;
                self.boundary = None;
                return Ok(());
            }
            self.counted = self.counted.saturating_add(1);
        }
        let boundaries = self.prices.get(&segment.plan_id).step().boundaries(anchor, start);
        let end = boundaries
            .nth(1)
            .ok_or_else(|| super::subscription::past_calendar("/current_period_end"))?;
        self.anchor = boundaries.anchor;
        self.boundary = Some(end);
        self.is_running = true;
        let is_first = segment.at == start;
        self.found.push(Period {
            start,
            end,
            whole_end: end,
            anchor: boundaries.anchor,
            begun_by: segment.seq,
            parts: vec![Part { at: start, ..Part::of(segment) }],
            invoiced: segment.invoiced_amount.filter(|_| is_first).unwrap_or(0),
            is_record: false,
        });
        Ok(())
    }

    /// Adds a period from before there were terms. It costs what was invoiced for it.
    fn record(&mut self, segment: &Segment, until: Timestamp) {
        self.found.push(Period {
            start: segment.at,
            end: until,
            whole_end: until,
            anchor: segment.at,
            begun_by: segment.seq,
            parts: vec![Part { quantity: 0, ..Part::of(segment) }],
            invoiced: segment.invoiced_amount.unwrap_or(0),
            is_record: true,
        });
    }
}

pub(super) fn overflow() -> Rejection {
    core::Rejection::AmountOverflow { path: "/lines".to_owned() }.into()
}
