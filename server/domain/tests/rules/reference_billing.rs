//! What a subscription costs by its terms: slow, day by day, and without a thought for invoices.

use crate::reference::{Day, until};
use ifmatch_types::Timestamp;
use std::collections::BTreeMap;

/// A plan of a scenario.
#[derive(Debug)]
pub struct PlanOf {
    pub code: &'static str,
    pub amount: i64,
    pub interval: &'static str,
    pub count: i64,
    pub trial_days: i64,
}

/// What a change asks for. Fields that it leaves alone are `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Edit {
    pub plan: Option<usize>,
    pub quantity: Option<i64>,
    pub status: Option<&'static str>,
    pub flag: Option<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Accepted,
    Ended,
    NoTransition,
}

/// A period that began, with what was in force from which instant on.
#[derive(Clone, Debug)]
struct Period {
    start: Timestamp,
    whole_end: Timestamp,
    /// Where a change of interval ended it.
    cut_at: Option<Timestamp>,
    terms: Vec<(Timestamp, usize, i64)>,
}

/// A subscription, brought forward event by event.
#[derive(Clone, Debug)]
pub struct Reference {
    plans: &'static [PlanOf],
    start_at: Timestamp,
    pub plan: usize,
    pub quantity: i64,
    pub status: &'static str,
    pub flag: bool,
    pub ended_at: Option<Timestamp>,
    /// Where the first period would begin, as long as that is ahead.
    first: Option<Timestamp>,
    /// The end of the running period.
    pub end: Option<Timestamp>,
    /// What the boundaries are counted from, and the number of steps from there to `end`.
    anchor: (Timestamp, i64),
    periods: Vec<Period>,
}

fn renews(status: &str) -> bool {
    matches!(status, "active" | "past_due")
}

fn plus(instant: Timestamp, interval: &str, count: i64) -> Timestamp {
    let (day, time) = Day::of_instant(instant);
    day.plus(interval, count).at(&time)
}

fn day_of(instant: Timestamp) -> Day {
    Day::of_instant(instant).0
}

impl Reference {
    pub fn new(
        plans: &'static [PlanOf],
        plan: usize,
        (created_at, start_at): (Timestamp, Timestamp),
        flag: bool,
    ) -> Self {
        let trial_days = plans[plan].trial_days;
        let mut new = Self {
            plans,
            start_at,
            plan,
            quantity: 1,
            status: if trial_days > 0 { "trialing" } else { "active" },
            flag: false,
            ended_at: None,
            first: Some(plus(start_at, "day", trial_days)),
            end: None,
            anchor: (start_at, 0),
            periods: Vec::new(),
        };
        if trial_days == 0 && start_at <= created_at {
            // It has begun, so a flag waits for the end of the first period.
            new.advance(start_at);
        }
        new.flag = flag;
        new
    }

    /// Lets all boundaries until an instant pass.
    pub fn advance(&mut self, to: Timestamp) {
        while let Some(boundary) = self.first.or(self.end).filter(|boundary| *boundary <= to) {
            let was_first = self.first.take().is_some();
            self.end = None;
            if self.flag {
                self.status = "canceled";
                self.ended_at = Some(boundary);
                return;
            }
            if was_first && self.status == "trialing" {
                self.status = "active";
            }
            if renews(self.status) {
                if was_first {
                    self.anchor = (boundary, 0);
                }
                self.begin(boundary);
            }
        }
    }

    /// Begins a period at a boundary that is counted from the anchor.
    fn begin(&mut self, start: Timestamp) {
        let PlanOf { interval, count, .. } = self.plans[self.plan];
        self.anchor.1 += 1;
        let whole_end = plus(self.anchor.0, interval, count * self.anchor.1);
        assert!(start < whole_end);
        self.end = Some(whole_end);
        let terms = vec![(start, self.plan, self.quantity)];
        self.periods.push(Period { start, whole_end, cut_at: None, terms });
    }

    /// Lets the terms of now take effect.
    fn take_effect(&mut self, now: Timestamp) {
        if self.first.is_some() || !renews(self.status) {
            return;
        }
        if self.end.is_some() {
            let running = self.periods.last_mut().unwrap();
            let before = &self.plans[running.terms.last().unwrap().1];
            let after = &self.plans[self.plan];
            if (before.interval, before.count) == (after.interval, after.count) {
                running.terms.push((now, self.plan, self.quantity));
                return;
            }
            running.cut_at = Some(now);
        }
        self.anchor = (now, 0);
        self.begin(now);
    }

    pub fn next_boundary(&self) -> Option<Timestamp> {
        self.first.or(self.end)
    }

    /// Carries out a change, whose fields all differ from those that are stored.
    pub fn apply(&mut self, now: Timestamp, edit: Edit) -> Verdict {
        let before = self.clone();
        self.advance(now);
        if self.status == "canceled" {
            let only_ends = Edit { status: Some("canceled"), ..Edit::default() };
            if edit == only_ends {
                return Verdict::Accepted;
            }
            *self = before;
            return Verdict::Ended;
        }
        if let Some(status) = edit.status.filter(|status| *status != self.status)
            && !self.may_become(status)
        {
            *self = before;
            return Verdict::NoTransition;
        }
        self.plan = edit.plan.unwrap_or(self.plan);
        self.quantity = edit.quantity.unwrap_or(self.quantity);
        self.take_effect(now);
        if let Some(status) = edit.status.filter(|status| *status != self.status) {
            self.become_status(status, now);
        }
        self.flag = edit.flag.unwrap_or(self.flag);
        let nothing_runs = self.first.is_none() && self.end.is_none();
        if self.flag && nothing_runs && self.status != "canceled" {
            self.status = "canceled";
            self.ended_at = Some(now);
        }
        Verdict::Accepted
    }

    fn may_become(&self, to: &str) -> bool {
        match self.status {
            "paused" => matches!(to, "active" | "canceled"),
            "trialing" => to != "trialing",
            _ => matches!(to, "active" | "past_due" | "paused" | "canceled"),
        }
    }

    fn become_status(&mut self, status: &'static str, now: Timestamp) {
        let from = self.status;
        self.status = status;
        match status {
            "canceled" => {
                self.ended_at = Some(now);
                (self.first, self.end) = (None, None);
            }
            "paused" => {}
            _ if from == "trialing" => {
                self.first = Some(now.max(self.start_at));
                let flag = std::mem::take(&mut self.flag);
                self.advance(now);
                self.flag = flag;
            }
            _ => self.take_effect(now),
        }
    }

    /// What each period costs that has begun, by its start.
    pub fn costs(&self) -> BTreeMap<Timestamp, i64> {
        let mut costs = BTreeMap::new();
        for period in &self.periods {
            *costs.entry(period.start).or_default() += self.cost(period);
        }
        costs.retain(|_, cost| *cost != 0);
        costs
    }

    /// The sum of its civil days. The day of a change belongs to the new terms.
    fn cost(&self, period: &Period) -> i64 {
        let days = day_of(period.start).days_until(day_of(period.whole_end));
        let cut_on = period.cut_at.map(day_of);
        let mut day = day_of(period.start);
        let mut cost = 0;
        for number in 0..days {
            if cut_on.is_some_and(|cut_on| cut_on <= day) {
                break;
            }
            let in_force = period.terms.iter().rev().find(|(at, ..)| day_of(*at) <= day);
            let (_, plan, quantity) = in_force.unwrap();
            let price = self.plans[*plan].amount * quantity;
            cost += until(price, number + 1, days) - until(price, number, days);
            day = day.next();
        }
        cost
    }

    pub fn total(&self) -> i64 {
        self.costs().values().sum()
    }
}
