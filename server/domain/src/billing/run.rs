//! The billing run: one step per subscription, one recurring invoice per subscription and period.
//!
//! Periods are billed in advance: an invoice is due when its period begins. A run may be repeated,
//! overlap with another run or be killed at any point. Its invoices stay, and the next run creates
//! the missing ones.

use super::{
    Need, Outcome, PlanChange, Rejection, SubscriptionRecord,
    invoice::{self, InvoiceRules, want_sequence},
    proration,
    subscription::{plan_terms, want_terms},
};
use crate::core::{
    self, Context, Guarded, Wants, change_internally, create_internally, days_between,
    keep_internally, living,
};
use ifmatch_types::{
    BillingRun, InvoiceLineFields, Kind, PlanId, SubscriptionStatus as Status, Timestamp,
};
use std::collections::BTreeSet;

/// Maximum number of periods billed in one step. A subscription further behind needs more steps.
const PERIODS_PER_STEP: i64 = 24;

/// Create a subscription's due invoices and advance its period.
#[derive(Clone, Debug)]
pub struct BillSubscription {
    /// The subscription.
    pub subscription_id: String,
    /// All periods that are due at this instant are billed.
    pub as_of: Timestamp,
}

/// Store the answer of a billing run, so that a repeat of the request gets the same answer.
#[derive(Clone, Debug)]
pub struct FinishBillingRun {
    /// The result of the run.
    pub run: BillingRun,
}

/// The starts of the periods for which a subscription has a recurring invoice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BilledPeriods(pub BTreeSet<Timestamp>);

impl Guarded for BilledPeriods {
    fn guard(&self) -> i64 {
        0
    }
}

impl BillSubscription {
    pub(crate) fn wants(&self, wants: &mut Wants<'_, '_, Need>) {
        let id = &self.subscription_id;
        wants.object(Kind::Subscription, id);
        want_terms(id, wants);
        if !wants.state.billing().billed.is_loaded(id) {
            wants.push(Need::BilledPeriods(id.clone()));
        }
        want_sequence(wants);
    }

    pub(crate) fn decide(&self, ctx: &mut Context<'_>) -> Result<Outcome, Rejection> {
        let before = living::<SubscriptionRecord>(&self.subscription_id, ctx)?.record;
        let mut record = before.clone();
        let mut made = 0i64;
        let mut more = false;
        while let Some(due) = self.next_due(&record, ctx) {
            if made >= PERIODS_PER_STEP {
                more = true;
                break;
            }
            match due {
                Due::Invoice => {
                    make_invoice(&mut record, ctx)?;
                    made = made.saturating_add(1);
                }
                Due::End => record.end(record.subscription.current_period_end),
                Due::Advance => {
                    record.subscription.status = match record.subscription.status {
                        Status::Trialing => Status::Active,
                        status => status,
                    };
                    let start = record.subscription.current_period_end;
                    record.start_period(start, ctx)?;
                }
            }
        }
        if record.subscription != before.subscription {
            change_internally(record, before, ctx);
        } else if record != before {
            keep_internally(record, ctx);
        }
        Ok(Outcome::Billed { made, skipped: made == 0, more })
    }

    /// The next thing due for this subscription; `None` if it is up to date.
    fn next_due(&self, record: &SubscriptionRecord, ctx: &Context<'_>) -> Option<Due> {
        let subscription = &record.subscription;
        let billable = matches!(subscription.status, Status::Active | Status::PastDue);
        if subscription.status == Status::Canceled {
            return None;
        }
        let billed = || {
            let periods = ctx.state.billing().billed.get(&self.subscription_id);
            periods.is_some_and(|billed| billed.0.contains(&subscription.current_period_start))
        };
        if billable && subscription.current_period_start <= self.as_of && !billed() {
            return Some(Due::Invoice);
        }
        if subscription.current_period_end > self.as_of {
            return None;
        }
        if subscription.cancel_at_period_end {
            return Some(Due::End);
        }
        // The period of a paused subscription does not advance.
        (subscription.status != Status::Paused).then_some(Due::Advance)
    }
}

impl FinishBillingRun {
    pub(crate) fn decide(&self) -> Outcome {
        Outcome::BillingRun(self.run.clone())
    }
}

/// The next thing due for a subscription.
enum Due {
    /// The invoice of the running period.
    Invoice,
    /// The end of the subscription, at the end of the running period.
    End,
    /// The start of the next period.
    Advance,
}

/// Creates and finalizes the invoice of the running period.
fn make_invoice(record: &mut SubscriptionRecord, ctx: &mut Context<'_>) -> Result<(), Rejection> {
    let subscription = record.subscription.clone();
    let start = subscription.current_period_start;
    let quantity = subscription.quantity;
    let within = record.plan_changes.iter_mut().filter(|change| change.period_start == start);
    within.for_each(|change| change.cost(quantity));
    let terms = plan_terms(record.plan_at(start), ctx);
    let mut lines = vec![InvoiceLineFields {
        description: format!("{} × {quantity}", terms.code),
        quantity,
        unit_amount: terms.amount,
        amount: None,
    }];
    // While the period runs, this is the first invoice after the plan changes within it, so it
    // settles them too.
    let is_running = subscription.current_period_end > ctx.now;
    let is_due = |change: &PlanChange| {
        let is_its_turn =
            change.period_start < start || (is_running && change.period_start == start);
        is_its_turn && change.settled_in.is_none()
    };
    for change in record.plan_changes.iter().filter(|change| is_due(change)) {
        lines.extend(settle_change(change, &record.plan_changes, ctx)?);
    }
    for change in record.plan_changes.iter_mut().filter(|change| is_due(change)) {
        change.settled_in = Some(start);
    }
    let id = ctx.ids.fresh(ifmatch_types::InvoiceId::PREFIX);
    let mut invoice =
        invoice::draft(id, subscription.workspace_id.clone(), terms.currency.clone(), ctx);
    invoice.subscription_id = Some(subscription.id.clone());
    invoice.period_start = Some(start);
    invoice.period_end = Some(subscription.current_period_end);
    invoice.set_lines(lines, 0)?;
    invoice.finalize(ctx)?;
    let _ = create_internally(invoice, ctx);
    let key = subscription.id.as_str();
    let mut billed = ctx.state.billing().billed.get(key).cloned().unwrap_or_default();
    billed.0.insert(start);
    record.billed_quantity = Some(quantity);
    ctx.state.billing_mut().billed.put(key.to_owned(), BilledPeriods(billed.0));
    Ok(())
}

/// The invoice lines of a plan change: a credit for the old plan and a charge for the new one.
///
/// Both cover the remaining days of the period. The price of one day depends on the plan. If the
/// plan has the same period length as the plan that the period began with, it is a share of this
/// period. Otherwise, it is a share of the period that the plan would have begun on the same start
/// date.
fn settle_change(
    change: &PlanChange,
    all: &[PlanChange],
    ctx: &Context<'_>,
) -> Result<Vec<InvoiceLineFields>, Rejection> {
    let days = days_between(change.period_start, change.period_end);
    let used_days = days_between(change.period_start, change.at).clamp(0, days);
    let first = all.iter().find(|other| other.period_start == change.period_start);
    let step = plan_terms(&first.unwrap_or(change).from, ctx).step();
    let line = |plan_id: &PlanId, text: &str, sign: i64, quantity: i64| {
        let terms = plan_terms(plan_id, ctx);
        let own_step = terms.step();
        let own_days = match own_step.boundary(change.period_start, 1) {
            Some(end) if own_step != step => days_between(change.period_start, end),
            _ => days,
        };
        let whole = terms.amount.checked_mul(quantity)?;
        let amount = proration::share(whole, used_days, days, own_days.max(1))?;
        Some(InvoiceLineFields {
            description: format!("{text} {}", terms.code),
            quantity: 1,
            unit_amount: amount.checked_mul(sign)?,
            amount: None,
        })
    };
    let given_back = change.billed_quantity.unwrap_or(change.quantity);
    let credit = line(&change.from, "Unused time on", -1, given_back);
    let charge = line(&change.to, "Remaining time on", 1, change.quantity);
    match (credit, charge) {
        (Some(credit), Some(charge)) => Ok(vec![credit, charge]),
        _ => Err(core::Rejection::AmountOverflow { path: "/lines".to_owned() }.into()),
    }
}
