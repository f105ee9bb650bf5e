//! Subscriptions: a workspace's plan, with a status and billing periods.

use super::{Need, PlanTerms, Rejection};
use crate::core::{
    self, Boundaries, Context, DeleteObject, Errors, Resource, ScopedWrites, State, Step,
    UpdateObject, Wants, redactable, referenced, usual_parts,
};
use ifmatch_types::{
    Kind, Plan, PlanId, PlanStatus, Subscription, SubscriptionFields, SubscriptionId,
    SubscriptionStatus as Status, Timestamp, Workspace,
};
use serde::{Deserialize, Serialize};

/// The first and last start of a subscription, in microseconds: from 1970 to the end of 2199.
const START_MIN: i64 = 0;
const START_MAX: i64 = 7_258_118_399_999_999;

/// A subscription as it is stored, with fields that only billing uses.
#[derive(Clone, Debug, PartialEq)]
pub struct SubscriptionRecord {
    /// The subscription as the API shows it.
    pub subscription: Subscription,
    /// The instant that all its periods are counted from.
    pub anchor_at: Timestamp,
    /// Changes of plan, oldest first. Settled ones are kept, because their invoice may be voided.
    pub plan_changes: Vec<PlanChange>,
    /// The number of units billed for the running period; `None` if it was not billed yet.
    pub billed_quantity: Option<i64>,
}

/// A change of plan within a period, settled by the next invoice.
///
/// That is the invoice of the next period, or the invoice of the same period if it is created while
/// that period runs. The quantity is not prorated: a period is billed with the quantity at the time
/// of billing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlanChange {
    /// The time of the change.
    pub at: Timestamp,
    /// The old plan.
    pub from: PlanId,
    /// The new plan.
    pub to: PlanId,
    /// The billed number of units of the old plan; `None` if the period was not billed yet.
    pub billed_quantity: Option<i64>,
    /// The number of units of the new plan.
    pub quantity: i64,
    /// The start of the period in which the change was made.
    pub period_start: Timestamp,
    /// The end of that period.
    pub period_end: Timestamp,
    /// The start of the period whose invoice settled it; `None` if none did or it was voided.
    #[serde(default)]
    pub settled_in: Option<Timestamp>,
}

impl PlanChange {
    /// Bills the whole period with this quantity, before and after the change.
    pub(crate) fn cost(&mut self, quantity: i64) {
        self.billed_quantity = Some(quantity);
        self.quantity = quantity;
    }
}

impl Resource for SubscriptionRecord {
    type Entity = Subscription;
    type Fields = SubscriptionFields;

    const KIND: Kind = Kind::Subscription;
    const FIELDS: &'static [&'static str] = &[
        "workspace_id",
        "plan_id",
        "quantity",
        "status",
        "notes",
        "cancel_at_period_end",
        "start_at",
        "metadata",
    ];
    const SET_ONCE: &'static [&'static str] = &["workspace_id", "start_at"];
    const KEPT_IF_ABSENT: &'static [&'static str] = &["status", "start_at"];

    const REFERENCES: &'static [(&'static str, Kind)] =
        &[("workspace_id", Kind::Workspace), ("plan_id", Kind::Plan)];

    const SCOPED_WRITES: ScopedWrites = ScopedWrites::ALL;

    usual_parts!(subscriptions, |record| record.subscription);
    redactable!(|record| record.subscription, { notes: Text, metadata: Keys });

    fn workspace_id(&self, _: &State) -> Option<String> {
        Some(self.subscription.workspace_id.to_string())
    }

    fn check(fields: &mut SubscriptionFields, errors: &mut Errors) {
        errors.reference("/workspace_id", fields.workspace_id.as_str());
        errors.reference("/plan_id", fields.plan_id.as_str());
        errors.range("/quantity", fields.quantity, 1, 1_000_000);
        errors.text("/notes", &fields.notes, 0, 10_000);
        errors.metadata(&fields.metadata);
        let sane = |start_at: Timestamp| (START_MIN..=START_MAX).contains(&start_at.as_micros());
        if fields.start_at.is_some_and(|start_at| !sane(start_at)) {
            errors.push("/start_at", "must be in the years 1970 to 2199");
        }
    }

    fn create(
        fields: SubscriptionFields,
        id: String,
        ctx: &mut Context<'_>,
    ) -> Result<Self, Rejection> {
        referenced::<Workspace>("/workspace_id", fields.workspace_id.as_str(), ctx.state)?;
        let plan = active_plan(&fields.plan_id, ctx)?;
        let start_at = fields.start_at.unwrap_or(ctx.now);
        let trialing = plan.trial_days > 0 && fields.status != Some(Status::Active);
        let initial = if trialing { Status::Trialing } else { Status::Active };
        if fields.status.is_some_and(|status| status != initial) {
            return Err(core::Rejection::invalid(
                "/status",
                "must be trialing (on a plan with a trial) or active for a new subscription",
            )
            .into());
        }
        let step = Step { interval: plan.interval, count: plan.interval_count };
        let trial = Step { interval: ifmatch_types::Interval::Day, count: plan.trial_days };
        let end = |step: Step| step.boundary(start_at, 1).ok_or_else(|| past_calendar("/start_at"));
        let trial_end = if trialing { Some(end(trial)?) } else { None };
        let current_period_end = trial_end.map_or_else(|| end(step), Ok)?;
        let subscription = Subscription {
            id: SubscriptionId::from_unchecked(id),
            version: 1,
            workspace_id: fields.workspace_id,
            plan_id: fields.plan_id,
            quantity: fields.quantity,
            status: initial,
            notes: fields.notes,
            cancel_at_period_end: fields.cancel_at_period_end,
            start_at,
            current_period_start: start_at,
            current_period_end,
            trial_end,
            canceled_at: None,
            ended_at: None,
            metadata: fields.metadata,
            created_at: ctx.now,
            updated_at: ctx.now,
            updated_by: ctx.meta.actor.name.clone(),
        };
        Ok(Self {
            subscription,
            anchor_at: trial_end.unwrap_or(start_at),
            plan_changes: Vec::new(),
            billed_quantity: None,
        })
    }

    fn change(&self, fields: SubscriptionFields, ctx: &mut Context<'_>) -> Result<Self, Rejection> {
        let before = &self.subscription;
        let status = fields.status.unwrap_or(before.status);
        refuse_transition(before.status, status)?;
        let mut after = self.clone();
        if fields.plan_id != before.plan_id {
            refuse_other_currency(&before.plan_id, &fields.plan_id, ctx)?;
            after.change_plan(fields.plan_id, fields.quantity, ctx)?;
        }
        after.subscription.quantity = fields.quantity;
        after.subscription.notes = fields.notes;
        after.subscription.cancel_at_period_end = fields.cancel_at_period_end;
        after.subscription.metadata = fields.metadata;
        if status != before.status {
            after.change_status(status, ctx)?;
        }
        Ok(after)
    }

    fn delete(&self, ctx: &mut Context<'_>) -> Result<(), Rejection> {
        let id = self.subscription.id.as_str();
        let invoiced_in_batch = ctx.state.billing().invoices.iter().any(|row| {
            row.record.subscription_id.as_ref().is_some_and(|owner| owner.as_str() == id)
        });
        if invoiced_in_batch || ctx.state.is_used_elsewhere(id) {
            return Err(Rejection::SubscriptionInUse);
        }
        Ok(())
    }

    fn want_for_change<'c>(update: &'c UpdateObject, wants: &mut Wants<'_, 'c, Need>) {
        let body = update.change.body();
        // A plan change and a resume after a pause recompute periods from the plans' terms.
        if body.contains_key("plan_id") || body.contains_key("status") {
            want_terms(&update.id, wants);
        }
    }

    fn want_for_delete<'c>(delete: &'c DeleteObject, wants: &mut Wants<'_, 'c, Need>) {
        wants.users(Kind::Subscription, &delete.id);
    }
}

impl SubscriptionRecord {
    /// Changes the plan. The next invoice settles the change.
    ///
    /// A period that is over keeps the price of the plan in force when it began.
    fn change_plan(
        &mut self,
        to: PlanId,
        quantity: i64,
        ctx: &Context<'_>,
    ) -> Result<(), Rejection> {
        let subscription = &self.subscription;
        let (start, end) = (subscription.current_period_start, subscription.current_period_end);
        // A trial is free.
        let is_free = subscription.trial_end == Some(end) && ctx.now < end;
        let is_free = is_free || subscription.status == Status::Canceled;
        let begins = self.billed_quantity.is_none() && ctx.now <= start;
        if !is_free && !begins {
            self.remember_change(&to, quantity, ctx)?;
        }
        self.subscription.plan_id = to;
        if begins && !is_free {
            // A period that has not begun yet begins with the new plan.
            self.start_period(start, ctx)?;
        }
        Ok(())
    }

    fn remember_change(
        &mut self,
        to: &PlanId,
        quantity: i64,
        ctx: &Context<'_>,
    ) -> Result<(), Rejection> {
        let within = self.period_at(ctx.now, ctx)?;
        let subscription = &self.subscription;
        let is_within = |start: Timestamp| start == within.current_period_start;
        // A second change within a period credits the units that the first one charges.
        let earlier = self.plan_changes.last().filter(|change| is_within(change.period_start));
        let billed = match earlier {
            Some(change) => Some(change.quantity),
            None => self.billed_quantity.filter(|_| is_within(subscription.current_period_start)),
        };
        self.plan_changes.push(PlanChange {
            at: ctx.now,
            from: subscription.plan_id.clone(),
            to: to.clone(),
            billed_quantity: billed,
            quantity,
            period_start: within.current_period_start,
            period_end: within.current_period_end,
            settled_in: None,
        });
        Ok(())
    }

    /// The subscription in the period that contains `now`, even if billing runs are late.
    fn period_at(&self, now: Timestamp, ctx: &Context<'_>) -> Result<Subscription, Rejection> {
        let mut ahead = self.clone();
        // The period of a paused subscription does not advance.
        let is_paused = self.subscription.status == Status::Paused;
        let now = if is_paused { self.subscription.current_period_start } else { now };
        let last = self.plan_changes.last().map(|change| change.period_start);
        ahead.skip_to(last.map_or(now, |last| last.max(now)), ctx)?;
        Ok(ahead.subscription)
    }

    fn change_status(&mut self, to: Status, ctx: &Context<'_>) -> Result<(), Rejection> {
        let from = self.subscription.status;
        self.subscription.status = to;
        match (from, to) {
            (_, Status::Canceled) => self.end(ctx.now),
            // The trial is over, but no billing run has ended it yet.
            (Status::Trialing, Status::Active | Status::PastDue)
                if self.subscription.current_period_end <= ctx.now =>
            {
                self.start_period(self.subscription.current_period_end, ctx)?;
            }
            (Status::Trialing, Status::Active | Status::PastDue) => self.leave_trial(ctx)?,
            // A subscription paused during its trial does not resume the trial; it starts a paid
            // period.
            (Status::Paused, Status::Active) if self.subscription.trial_end > Some(ctx.now) => {
                self.leave_trial(ctx)?;
            }
            // The time of the pause is not billed.
            (Status::Paused, Status::Active) if self.subscription.current_period_end <= ctx.now => {
                self.skip_to(ctx.now, ctx)?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Ends the trial early and begins the first paid period.
    fn leave_trial(&mut self, ctx: &Context<'_>) -> Result<(), Rejection> {
        self.subscription.trial_end = Some(ctx.now);
        self.anchor_at = ctx.now;
        self.start_period(ctx.now, ctx)
    }

    /// Ends the subscription permanently.
    pub(crate) fn end(&mut self, at: Timestamp) {
        self.subscription.status = Status::Canceled;
        self.subscription.canceled_at = Some(at);
        self.subscription.ended_at = Some(at);
    }

    /// Begins the period that starts at the boundary `start`.
    pub(crate) fn start_period(
        &mut self,
        start: Timestamp,
        ctx: &Context<'_>,
    ) -> Result<(), Rejection> {
        let ended = self.subscription.current_period_start;
        let was_billed = self.billed_quantity.take().is_some();
        // Plan changes within a period that was never billed are dropped without charge.
        self.plan_changes.retain(|change| match change.period_start {
            within if within == ended && within < start => was_billed,
            within => within < ended || within >= start,
        });
        let boundaries = self.boundaries_from(start, ctx);
        self.anchor_at = boundaries.anchor;
        self.subscription.current_period_start = start;
        self.subscription.current_period_end =
            boundaries.nth(1).ok_or_else(|| past_calendar("/current_period_end"))?;
        Ok(())
    }

    /// Begins the period that contains `now`, if the running one has ended.
    fn skip_to(&mut self, now: Timestamp, ctx: &Context<'_>) -> Result<(), Rejection> {
        while self.subscription.current_period_end <= now {
            let end = self.subscription.current_period_end;
            // All periods up to the next plan change have the same length.
            let change = self.plan_changes.iter().find(|change| change.period_start >= end);
            let until = change.map_or(now, |change| change.period_start.min(now));
            let boundaries = self.boundaries_from(end, ctx);
            let start = boundaries.last(until);
            self.anchor_at = boundaries.anchor;
            self.start_period(start.ok_or_else(|| past_calendar("/current_period_end"))?, ctx)?;
        }
        Ok(())
    }

    /// The plan in force when a period began.
    pub(crate) fn plan_at(&self, period_start: Timestamp) -> &PlanId {
        let later = self.plan_changes.iter().find(|change| change.period_start >= period_start);
        later.map_or(&self.subscription.plan_id, |change| &change.from)
    }

    /// The period boundaries from `start` on.
    fn boundaries_from(&self, start: Timestamp, ctx: &Context<'_>) -> Boundaries {
        plan_terms(self.plan_at(start), ctx).step().boundaries(self.anchor_at, start)
    }
}

/// Requests the terms of every plan that a subscription has or had.
pub(crate) fn want_terms(id: &str, wants: &mut Wants<'_, '_, Need>) {
    let billing = wants.state.billing();
    let Some(row) = billing.subscriptions.original(id) else { return };
    let record = &row.record;
    let changed = record.plan_changes.iter().flat_map(|change| [&change.from, &change.to]);
    for plan_id in std::iter::once(&record.subscription.plan_id).chain(changed) {
        if !billing.plan_terms.contains_key(plan_id) {
            wants.push(Need::PlanTerms(plan_id.clone()));
        }
    }
}

fn refuse_other_currency(old: &PlanId, new: &PlanId, ctx: &Context<'_>) -> Result<(), Rejection> {
    let to = active_plan(new, ctx)?.currency;
    let from = plan_terms(old, ctx).currency;
    if from == to {
        return Ok(());
    }
    Err(Rejection::CurrencyMismatch { from, to })
}

fn refuse_transition(from: Status, to: Status) -> Result<(), Rejection> {
    let allowed: &[Status] = match from {
        Status::Trialing => &[Status::Active, Status::PastDue, Status::Paused, Status::Canceled],
        Status::Active => &[Status::PastDue, Status::Paused, Status::Canceled],
        Status::PastDue => &[Status::Active, Status::Paused, Status::Canceled],
        Status::Paused => &[Status::Active, Status::Canceled],
        Status::Canceled | Status::Unknown(_) => &[],
    };
    if to == from || allowed.contains(&to) {
        return Ok(());
    }
    Err(core::Rejection::InvalidTransition {
        from: from.name(),
        to: to.name(),
        allowed: allowed.iter().map(|status| status.name()).collect(),
    }
    .into())
}

/// The plan that a field names. It must be active.
fn active_plan(id: &PlanId, ctx: &Context<'_>) -> Result<Plan, Rejection> {
    let plan = referenced::<Plan>("/plan_id", id.as_str(), ctx.state)?;
    if plan.status != PlanStatus::Active {
        return Err(Rejection::PlanInactive {
            plan_id: plan.id.to_string(),
            status: plan.status.name(),
        });
    }
    Ok(plan.clone())
}

/// The terms of a plan that has a subscription.
///
/// They are frozen since the plan became active, so they are read without locking the plan.
pub(crate) fn plan_terms(id: &PlanId, ctx: &Context<'_>) -> PlanTerms {
    if let Some(terms) = ctx.state.billing().plan_terms.get(id).cloned().flatten() {
        return terms;
    }
    let row = ctx.state.billing().plans.get(id.as_str());
    PlanTerms::from(&row.expect("a subscribed plan is never deleted").record)
}

fn past_calendar(path: &str) -> core::Rejection {
    core::Rejection::invalid(path, "leads to a period that ends after the last supported date")
}
