//! The billing run: one step per subscription, one recurring invoice per subscription and period.
//!
//! Periods are billed in advance: the invoice of a period is due when the period begins. A run may
//! be repeated, raced or killed at any point; what it made stays, and the next one makes the rest.

use crate::{
    Outcome, PlanChange, Rejection, Scope, SubscriptionRecord,
    calendar::{Step, days_between},
    invoice::{self, InvoiceRules},
    proration,
    state::BilledPeriods,
    subscription::plan_terms,
    versioned::{self, living},
};
use ifmatch_types::{
    BillingRun, InvoiceLineFields, PlanId, SubscriptionStatus as Status, Timestamp,
};

/// So many periods are billed in one step; a subscription further behind needs another step.
const PERIODS_PER_STEP: i64 = 24;

/// Make a subscription's due invoices and advance its period.
#[derive(Clone, Debug)]
pub struct BillSubscription {
    /// The subscription.
    pub subscription_id: String,
    /// Everything due at this instant is billed.
    pub as_of: Timestamp,
}

/// Keep the answer of a billing run, for a repeat of its request.
#[derive(Clone, Debug)]
pub struct FinishBillingRun {
    /// What the run did.
    pub run: BillingRun,
}

impl BillSubscription {
    pub(crate) fn decide(&self, scope: &mut Scope<'_>) -> Result<Outcome, Rejection> {
        let before = living::<SubscriptionRecord>(&self.subscription_id, scope)?.record;
        let mut record = before.clone();
        let mut made = 0i64;
        let mut more = false;
        while let Some(due) = self.next_due(&record, scope) {
            if made >= PERIODS_PER_STEP {
                more = true;
                break;
            }
            match due {
                Due::Invoice => {
                    make_invoice(&mut record, scope)?;
                    made = made.saturating_add(1);
                }
                Due::End => record.end(record.subscription.current_period_end),
                Due::Advance => {
                    record.subscription.status = match record.subscription.status {
                        Status::Trialing => Status::Active,
                        status => status,
                    };
                    let start = record.subscription.current_period_end;
                    record.start_period(start, scope)?;
                }
            }
        }
        if record.subscription != before.subscription {
            versioned::change_internally(record, before, scope);
        } else if record != before {
            versioned::keep_internally(record, scope);
        }
        Ok(Outcome::Billed { made, skipped: made == 0, more })
    }

    /// What is due next for this subscription; `None` when it is up to date.
    fn next_due(&self, record: &SubscriptionRecord, scope: &Scope<'_>) -> Option<Due> {
        let subscription = &record.subscription;
        let billable = matches!(subscription.status, Status::Active | Status::PastDue);
        if subscription.status == Status::Canceled {
            return None;
        }
        let billed = || {
            let periods = scope.state.billed.get(&self.subscription_id);
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
        // While it is paused, time stands still for it.
        (subscription.status != Status::Paused).then_some(Due::Advance)
    }
}

impl FinishBillingRun {
    pub(crate) fn decide(&self) -> Outcome {
        Outcome::BillingRun(self.run.clone())
    }
}

/// What is due for a subscription.
enum Due {
    /// The invoice of its running period.
    Invoice,
    /// Its end, at the boundary of the running period.
    End,
    /// Its next period.
    Advance,
}

/// Makes and finalizes the invoice of the running period.
fn make_invoice(record: &mut SubscriptionRecord, scope: &mut Scope<'_>) -> Result<(), Rejection> {
    let subscription = record.subscription.clone();
    let start = subscription.current_period_start;
    let quantity = subscription.quantity;
    let within = record.plan_changes.iter_mut().filter(|change| change.period_start == start);
    within.for_each(|change| change.cost(quantity));
    let terms = plan_terms(record.plan_at(start), scope);
    let mut lines = vec![InvoiceLineFields {
        description: format!("{} × {quantity}", terms.code),
        quantity,
        unit_amount: terms.amount,
        amount: None,
    }];
    // While the period runs, this is the next invoice after the changes in it.
    let is_running = subscription.current_period_end > scope.now;
    let is_due = |change: &PlanChange| {
        let is_its_turn =
            change.period_start < start || (is_running && change.period_start == start);
        is_its_turn && change.settled_in.is_none()
    };
    for change in record.plan_changes.iter().filter(|change| is_due(change)) {
        lines.extend(settle_change(change, &record.plan_changes, scope)?);
    }
    for change in record.plan_changes.iter_mut().filter(|change| is_due(change)) {
        change.settled_in = Some(start);
    }
    let id = scope.ids.fresh(ifmatch_types::InvoiceId::PREFIX);
    let mut invoice =
        invoice::draft(id, subscription.workspace_id.clone(), terms.currency.clone(), scope);
    invoice.subscription_id = Some(subscription.id.clone());
    invoice.period_start = Some(start);
    invoice.period_end = Some(subscription.current_period_end);
    invoice.set_lines(lines, 0)?;
    invoice.finalize(scope)?;
    let _ = versioned::create_internally(invoice, scope);
    let key = subscription.id.as_str();
    let mut billed = scope.state.billed.get(key).cloned().unwrap_or_default();
    billed.0.insert(start);
    record.billed_quantity = Some(quantity);
    scope.state.billed.put(key.to_owned(), BilledPeriods(billed.0));
    Ok(())
}

/// What a change of plan within a period costs: the old plan's unused days back, the new plan's on.
///
/// A day of the plan that the period began with is a part of that period; a day of a plan by
/// another interval is a part of the period which that plan would have begun then.
fn settle_change(
    change: &PlanChange,
    all: &[PlanChange],
    scope: &Scope<'_>,
) -> Result<Vec<InvoiceLineFields>, Rejection> {
    let days = days_between(change.period_start, change.period_end);
    let used_days = days_between(change.period_start, change.at).clamp(0, days);
    let first = all.iter().find(|other| other.period_start == change.period_start);
    let step = Step::of(&plan_terms(&first.unwrap_or(change).from, scope));
    let line = |plan_id: &PlanId, text: &str, sign: i64, quantity: i64| {
        let terms = plan_terms(plan_id, scope);
        let own_step = Step::of(&terms);
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
        _ => Err(Rejection::AmountOverflow { path: "/lines".to_owned() }),
    }
}
