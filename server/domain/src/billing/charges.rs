//! What was charged for the periods of a subscription: the lines of its living invoices.

use super::{Need, Rejection, period::Period, terms::Prices};
use crate::core::{Context, Guarded, Wants};
use ifmatch_types::{Invoice, InvoiceLine, InvoiceStatus, PlanId, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

/// What the living invoices of a subscription charge. Void and deleted invoices charge nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Charges {
    /// The sum of the lines, by the start of the period and of the terms.
    sums: BTreeMap<(Timestamp, Timestamp), i64>,
    /// The starts of the periods with a recurring invoice.
    recurring: BTreeSet<Timestamp>,
    /// Whether these are all charges. Otherwise, those of settled periods may be missing.
    pub is_whole: bool,
}

impl Guarded for Charges {
    fn guard(&self) -> i64 {
        0
    }
}

impl Charges {
    /// Adds what an invoice charges, if it is a living one.
    pub fn add(&mut self, invoice: &Invoice) {
        self.count(invoice, 1);
    }

    /// Takes back what a living invoice charges, because it is being voided.
    pub(super) fn remove(&mut self, invoice: &Invoice) {
        self.count(invoice, -1);
    }

    fn count(&mut self, invoice: &Invoice, sign: i64) {
        let Invoice { status, period_start, ref lines, .. } = *invoice;
        if matches!(status, InvoiceStatus::Void | InvoiceStatus::Draft) {
            return;
        }
        if let Some(start) = period_start {
            if sign > 0 {
                self.recurring.insert(start);
            } else {
                self.recurring.remove(&start);
            }
        }
        for (line, key) in lines.iter().filter_map(|line| Some((line, key(line, period_start)?))) {
            let sum = self.sums.entry(key).or_default();
            *sum = sum.saturating_add(line.amount.saturating_mul(sign));
        }
    }

    /// Whether a period has a recurring invoice.
    pub fn has_recurring(&self, start: Timestamp) -> bool {
        self.recurring.contains(&start)
    }

    /// What was charged for the period that begins here.
    pub(super) fn charged_for(&self, start: Timestamp) -> i64 {
        let of_period = (start, Timestamp::MIN)..=(start, Timestamp::MAX);
        self.sums.range(of_period).fold(0, |sum, (_, charged)| sum.saturating_add(*charged))
    }

    /// Whether each charge is for one of these periods.
    pub(super) fn belong_to(&self, periods: &[Period]) -> bool {
        let starts: BTreeSet<Timestamp> = periods.iter().map(|period| period.start).collect();
        self.sums.iter().all(|((start, _), sum)| *sum == 0 || starts.contains(start))
    }

    /// The differences between what some periods cost and what was charged for them, in order.
    pub(super) fn differences<'p>(
        &self,
        periods: &'p [Period],
        prices: &Prices,
    ) -> Result<Vec<Difference<'p>>, Rejection> {
        let mut differences = Vec::new();
        for period in periods {
            let mut left: BTreeMap<Timestamp, i64> = BTreeMap::new();
            let of_period = (period.start, Timestamp::MIN)..=(period.start, Timestamp::MAX);
            for ((_, segment_start), charged) in self.sums.range(of_period) {
                left.insert(*segment_start, charged.saturating_neg());
            }
            for (part, cost) in period.costs(prices)? {
                let owed = left.entry(part.at).or_default();
                *owed = owed.saturating_add(cost);
            }
            // Changes that make no difference to the price of the period make no lines.
            let owed: i128 = left.values().copied().map(i128::from).sum();
            let differing = left.into_iter().filter(|(_, amount)| owed != 0 && *amount != 0);
            for (segment_start, amount) in differing {
                let parts = period.parts.iter().rev();
                let part = parts.clone().find(|part| part.at <= segment_start);
                let Some(part) = part.or_else(|| period.parts.first()) else { continue };
                let plan_id = &part.plan_id;
                let period_start = period.start;
                differences.push(Difference { period_start, segment_start, plan_id, amount });
            }
        }
        Ok(differences)
    }
}

/// What a line of billing charges: a period, and the terms within it.
///
/// A line from before there were terms belongs to the first terms of its invoice's period.
fn key(line: &InvoiceLine, period_start: Option<Timestamp>) -> Option<(Timestamp, Timestamp)> {
    let start = line.period_start.or(period_start)?;
    Some((start, line.segment_start.unwrap_or(start)))
}

/// The start of the latest period that an invoice charges; `None` if billing did not make it.
pub fn charged_until(invoice: &Invoice) -> Option<Timestamp> {
    let keys = invoice.lines.iter().filter_map(|line| key(line, invoice.period_start));
    keys.map(|(start, _)| start).max().or(invoice.period_start)
}

/// What is owed for some terms of a period beside what was charged. Below 0: what was charged too
/// much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Difference<'p> {
    pub(super) period_start: Timestamp,
    pub(super) segment_start: Timestamp,
    pub(super) plan_id: &'p PlanId,
    pub(super) amount: i64,
}

/// Requests what was charged for a subscription.
///
/// `whole` requests everything. Otherwise, the charges of settled periods may be missing.
pub(super) fn want_charges(id: &str, whole: bool, wants: &mut Wants<'_, '_, Need>) {
    let charges = wants.state.billing().charges.original(id);
    if charges.is_none_or(|charges| whole && !charges.is_whole) {
        wants.push(Need::Charges { subscription_id: id.to_owned(), whole });
    }
}

/// Changes the loaded charges of a subscription, if they are loaded.
pub(super) fn change_charges(id: &str, ctx: &mut Context<'_>, change: impl FnOnce(&mut Charges)) {
    let Some(charges) = ctx.state.billing().charges.find(id) else { return };
    let mut charges = charges.clone();
    change(&mut charges);
    ctx.state.billing_mut().charges.put(id.to_owned(), charges);
}
