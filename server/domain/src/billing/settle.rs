//! Settling: what is due for a subscription now, without waiting for the next invoice.

use super::{Need, Outcome, Rejection, SubscriptionRecord, bill, run::store, terms::want_bills};
use crate::core::{self, Context, Precondition, Wants, living, stale_claim};
use ifmatch_types::{Kind, SubscriptionStatus as Status};

/// Make every invoice that is due for a subscription, and one of all differences.
#[derive(Clone, Debug)]
pub struct SettleSubscription {
    /// The subscription.
    pub subscription_id: String,
    /// The version that the caller saw.
    pub precondition: Precondition,
}

impl SettleSubscription {
    pub(crate) fn wants(&self, wants: &mut Wants<'_, '_, Need>) {
        want_bills(&self.subscription_id, wants);
        if let Some(named) = self.precondition.latest() {
            wants.history(Kind::Subscription, &self.subscription_id, named);
        }
    }

    pub(crate) fn decide(&self, ctx: &mut Context<'_>) -> Result<Outcome, Rejection> {
        let found = living::<SubscriptionRecord>(&self.subscription_id, ctx)?;
        if self.precondition == Precondition::Missing {
            return Err(core::Rejection::PreconditionRequired.into());
        }
        if !self.precondition.matches(found.version()) {
            return Err(stale_claim(found, self.precondition.latest(), ctx).into());
        }
        let before = found.record;
        let mut record = before.clone();
        let now = ctx.now.max(record.reached_at);
        record.end_trial(now, ctx);
        let until = record.subscription.ended_at.unwrap_or(now);
        let made = bill::make_all_due(&mut record, until, ctx)?;
        record.due_at = None;
        if record.subscription.status != Status::Canceled {
            record.bring_to(now, ctx)?;
        }
        let difference = bill::make_difference(&mut record, ctx)?;
        store(record, before, ctx);
        let newest = difference.or_else(|| made.into_iter().next_back());
        Ok(Outcome::Settled(newest))
    }
}
