//! The billing run: one step per subscription, one recurring invoice per subscription and period.
//!
//! Periods are billed in advance: an invoice is due when its period begins. A run may be repeated,
//! overlap with another run or be killed at any point. Its invoices stay, and the next run creates
//! the missing ones.

use super::{Need, Outcome, Rejection, SubscriptionRecord, bill, terms::want_bills};
use crate::core::{Context, Wants, change_internally, keep_internally, living};
use ifmatch_types::{BillingRun, Invoice, SubscriptionStatus as Status, Timestamp};

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

/// The invoices that one step of a run made.
pub(super) struct Step {
    /// The invoices, oldest first.
    pub(super) invoices: Vec<Invoice>,
    /// Whether more periods are due than one step bills.
    pub(super) more: bool,
}

impl BillSubscription {
    pub(crate) fn wants(&self, wants: &mut Wants<'_, '_, Need>) {
        want_bills(&self.subscription_id, wants);
    }

    pub(crate) fn decide(&self, ctx: &mut Context<'_>) -> Result<Outcome, Rejection> {
        let Step { invoices, more } = step(&self.subscription_id, self.as_of, ctx)?;
        let made = i64::try_from(invoices.len()).unwrap_or(i64::MAX);
        Ok(Outcome::Billed { made, skipped: made == 0, more })
    }
}

/// Bills what is due for a subscription at an instant, and brings the subscription there.
pub(super) fn step(id: &str, as_of: Timestamp, ctx: &mut Context<'_>) -> Result<Step, Rejection> {
    let before = living::<SubscriptionRecord>(id, ctx)?.record;
    let mut record = before.clone();
    if record.subscription.status == Status::Canceled {
        return Ok(Step { invoices: Vec::new(), more: false });
    }
    record.end_trial(as_of, ctx);
    let made = bill::make_due(&mut record, as_of, ctx)?;
    let mut invoices = made.invoices;
    let more = made.left_at.is_some();
    // What was due until here is made.
    record.due_at = record.due_at.filter(|due| *due > as_of);
    if more {
        record.reached_at = record.reached_at.max(record.billed_until.unwrap_or(as_of));
        record.refresh(ctx)?;
    } else {
        record.bring_to(as_of.max(record.reached_at), ctx)?;
        if record.subscription.status == Status::Canceled {
            invoices.extend(bill::make_difference(&mut record, ctx)?);
        }
    }
    store(record, before, ctx);
    Ok(Step { invoices, more })
}

/// Stores a subscription that was billed. The version goes up if the API shows a change.
pub(super) fn store(record: SubscriptionRecord, before: SubscriptionRecord, ctx: &mut Context<'_>) {
    if record.subscription != before.subscription {
        change_internally(record, before, ctx);
    } else if record != before {
        keep_internally(record, ctx);
    }
}

impl FinishBillingRun {
    pub(crate) fn decide(&self) -> Outcome {
        Outcome::BillingRun(self.run.clone())
    }
}
