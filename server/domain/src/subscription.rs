//! Subscriptions: a workspace's running plan, its status and its periods.

use crate::{
    PlanTerms, Rejection, Resource, Scope,
    calendar::{Boundaries, Step},
    fields::Errors,
    resource::usual_parts,
    workspace::{self, refuse_other_type},
};
use ifmatch_types::{
    Kind, PlanId, PlanStatus, Subscription, SubscriptionFields, SubscriptionId,
    SubscriptionStatus as Status, Timestamp,
};
use serde::{Deserialize, Serialize};

/// The first and the last microsecond at which a subscription may begin: 1970 and 2199.
const START_MIN: i64 = 0;
const START_MAX: i64 = 7_258_118_399_999_999;

/// A subscription as it is stored: what the API shows, and what billing has to remember.
#[derive(Clone, Debug, PartialEq)]
pub struct SubscriptionRecord {
    /// What the API shows.
    pub subscription: Subscription,
    /// The instant from which all its periods are counted.
    pub anchor_at: Timestamp,
    /// Changes of plan, oldest first. Those that were settled are kept: their invoice may become
    /// void.
    pub plan_changes: Vec<PlanChange>,
    /// So many units were billed for the running period; `None`: it was not billed yet.
    pub billed_quantity: Option<i64>,
}

/// A change of plan within a period, to be settled by the next invoice: that of the next period, or
/// that of its own, if it is made while the period runs.
///
/// How many there are is not prorated: a period costs as many as there are when it is billed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlanChange {
    /// When.
    pub at: Timestamp,
    /// The plan before.
    pub from: PlanId,
    /// The plan after.
    pub to: PlanId,
    /// So many units of the plan before were billed for the period; `None`: not billed yet.
    pub billed_quantity: Option<i64>,
    /// So many units of the plan after.
    pub quantity: i64,
    /// The period it fell into.
    pub period_start: Timestamp,
    /// The end of that period.
    pub period_end: Timestamp,
    /// The beginning of the period whose invoice settled it; `None`: none has, or it is void.
    #[serde(default)]
    pub settled_in: Option<Timestamp>,
}

impl PlanChange {
    /// The whole period costs so many units, before the change and after.
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

    usual_parts!(subscriptions, |record| record.subscription);

    fn check(fields: &mut SubscriptionFields, errors: &mut Errors) {
        errors.reference("/workspace_id", fields.workspace_id.as_str());
        errors.reference("/plan_id", fields.plan_id.as_str());
        errors.range("/quantity", fields.quantity, 1, 1_000_000);
        errors.text("/notes", &fields.notes, 0, 10_000);
        errors.metadata(&fields.metadata);
        let sane = |start_at: Timestamp| (START_MIN..=START_MAX).contains(&start_at.as_micros());
        if fields.start_at.is_some_and(|start_at| !sane(start_at)) {
            errors.push("/start_at", "must lie in the years 1970 to 2199");
        }
    }

    fn create(
        fields: SubscriptionFields,
        id: String,
        scope: &mut Scope<'_>,
    ) -> Result<Self, Rejection> {
        workspace::referenced(&fields.workspace_id, scope)?;
        let plan = active_plan(&fields.plan_id, scope)?;
        let start_at = fields.start_at.unwrap_or(scope.now);
        let trialing = plan.trial_days > 0 && fields.status != Some(Status::Active);
        let initial = if trialing { Status::Trialing } else { Status::Active };
        if fields.status.is_some_and(|status| status != initial) {
            return Err(Rejection::invalid(
                "/status",
                "a new subscription is trialing (on a plan with a trial) or active",
            ));
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
            created_at: scope.now,
            updated_at: scope.now,
            updated_by: scope.meta.actor.name.clone(),
        };
        Ok(Self {
            subscription,
            anchor_at: trial_end.unwrap_or(start_at),
            plan_changes: Vec::new(),
            billed_quantity: None,
        })
    }

    fn change(&self, fields: SubscriptionFields, scope: &mut Scope<'_>) -> Result<Self, Rejection> {
        let before = &self.subscription;
        let status = fields.status.unwrap_or(before.status);
        refuse_transition(before.status, status)?;
        let mut after = self.clone();
        if fields.plan_id != before.plan_id {
            refuse_other_currency(&before.plan_id, &fields.plan_id, scope)?;
            after.change_plan(fields.plan_id, fields.quantity, scope)?;
        }
        after.subscription.quantity = fields.quantity;
        after.subscription.notes = fields.notes;
        after.subscription.cancel_at_period_end = fields.cancel_at_period_end;
        after.subscription.metadata = fields.metadata;
        if status != before.status {
            after.change_status(status, scope)?;
        }
        Ok(after)
    }

    fn delete(&self, scope: &mut Scope<'_>) -> Result<(), Rejection> {
        let id = self.subscription.id.as_str();
        let invoiced_in_batch = scope.state.invoices.iter().any(|row| {
            row.record.subscription_id.as_ref().is_some_and(|owner| owner.as_str() == id)
        });
        if invoiced_in_batch || scope.state.is_used_elsewhere(id) {
            return Err(Rejection::SubscriptionInUse);
        }
        Ok(())
    }
}

impl SubscriptionRecord {
    /// Changes the plan. A period that is over costs what the plan did that was in force when it
    /// began, and the change is settled by the next invoice.
    fn change_plan(
        &mut self,
        to: PlanId,
        quantity: i64,
        scope: &Scope<'_>,
    ) -> Result<(), Rejection> {
        let subscription = &self.subscription;
        let (start, end) = (subscription.current_period_start, subscription.current_period_end);
        // A trial costs nothing.
        let is_free = subscription.trial_end == Some(end) && scope.now < end;
        let is_free = is_free || subscription.status == Status::Canceled;
        let begins = self.billed_quantity.is_none() && scope.now <= start;
        if !is_free && !begins {
            self.remember_change(&to, quantity, scope)?;
        }
        self.subscription.plan_id = to;
        if begins && !is_free {
            // What has not begun yet begins on the new plan.
            self.start_period(start, scope)?;
        }
        Ok(())
    }

    fn remember_change(
        &mut self,
        to: &PlanId,
        quantity: i64,
        scope: &Scope<'_>,
    ) -> Result<(), Rejection> {
        let within = self.period_at(scope.now, scope)?;
        let subscription = &self.subscription;
        let is_within = |start: Timestamp| start == within.current_period_start;
        // A change gives back what the one before it is charged for.
        let earlier = self.plan_changes.last().filter(|change| is_within(change.period_start));
        let billed = match earlier {
            Some(change) => Some(change.quantity),
            None => self.billed_quantity.filter(|_| is_within(subscription.current_period_start)),
        };
        self.plan_changes.push(PlanChange {
            at: scope.now,
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

    /// What it will be in the period that contains an instant, however late the billing runs are.
    fn period_at(&self, now: Timestamp, scope: &Scope<'_>) -> Result<Subscription, Rejection> {
        let mut ahead = self.clone();
        // While it is paused, time stands still for it.
        let is_paused = self.subscription.status == Status::Paused;
        let now = if is_paused { self.subscription.current_period_start } else { now };
        let last = self.plan_changes.last().map(|change| change.period_start);
        ahead.skip_to(last.map_or(now, |last| last.max(now)), scope)?;
        Ok(ahead.subscription)
    }

    fn change_status(&mut self, to: Status, scope: &Scope<'_>) -> Result<(), Rejection> {
        let from = self.subscription.status;
        self.subscription.status = to;
        match (from, to) {
            (_, Status::Canceled) => self.end(scope.now),
            // No billing run has ended the trial, but it is over.
            (Status::Trialing, Status::Active | Status::PastDue)
                if self.subscription.current_period_end <= scope.now =>
            {
                self.start_period(self.subscription.current_period_end, scope)?;
            }
            (Status::Trialing, Status::Active | Status::PastDue) => self.leave_trial(scope)?,
            // Paused in its trial, it does not go back to it: what follows is paid for.
            (Status::Paused, Status::Active) if self.subscription.trial_end > Some(scope.now) => {
                self.leave_trial(scope)?;
            }
            // What passed while it was paused is not billed.
            (Status::Paused, Status::Active)
                if self.subscription.current_period_end <= scope.now =>
            {
                self.skip_to(scope.now, scope)?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Ends the trial early, which begins the first paid period.
    fn leave_trial(&mut self, scope: &Scope<'_>) -> Result<(), Rejection> {
        self.subscription.trial_end = Some(scope.now);
        self.anchor_at = scope.now;
        self.start_period(scope.now, scope)
    }

    /// Ends the subscription for ever.
    pub(crate) fn end(&mut self, at: Timestamp) {
        self.subscription.status = Status::Canceled;
        self.subscription.canceled_at = Some(at);
        self.subscription.ended_at = Some(at);
    }

    /// Begins the period that starts at a boundary.
    pub(crate) fn start_period(
        &mut self,
        start: Timestamp,
        scope: &Scope<'_>,
    ) -> Result<(), Rejection> {
        let ended = self.subscription.current_period_start;
        let was_billed = self.billed_quantity.take().is_some();
        // Nobody pays for a change in a period that was never billed.
        self.plan_changes.retain(|change| match change.period_start {
            within if within == ended && within < start => was_billed,
            within => within < ended || within >= start,
        });
        let boundaries = self.boundaries_from(start, scope);
        self.anchor_at = boundaries.anchor;
        self.subscription.current_period_start = start;
        self.subscription.current_period_end =
            boundaries.nth(1).ok_or_else(|| past_calendar("/current_period_end"))?;
        Ok(())
    }

    /// Begins the period that contains an instant, if the running one ends before.
    fn skip_to(&mut self, now: Timestamp, scope: &Scope<'_>) -> Result<(), Rejection> {
        while self.subscription.current_period_end <= now {
            let end = self.subscription.current_period_end;
            // Up to the next change all periods are of one length.
            let change = self.plan_changes.iter().find(|change| change.period_start >= end);
            let until = change.map_or(now, |change| change.period_start.min(now));
            let boundaries = self.boundaries_from(end, scope);
            let start = boundaries.last(until);
            self.anchor_at = boundaries.anchor;
            self.start_period(start.ok_or_else(|| past_calendar("/current_period_end"))?, scope)?;
        }
        Ok(())
    }

    /// The plan that was in force when a period began.
    pub(crate) fn plan_at(&self, period_start: Timestamp) -> &PlanId {
        let later = self.plan_changes.iter().find(|change| change.period_start >= period_start);
        later.map_or(&self.subscription.plan_id, |change| &change.from)
    }

    /// The boundaries from one on at which another period begins.
    fn boundaries_from(&self, start: Timestamp, scope: &Scope<'_>) -> Boundaries {
        Step::of(&plan_terms(self.plan_at(start), scope)).boundaries(self.anchor_at, start)
    }
}

fn refuse_other_currency(old: &PlanId, new: &PlanId, scope: &Scope<'_>) -> Result<(), Rejection> {
    let to = active_plan(new, scope)?.currency;
    let from = plan_terms(old, scope).currency;
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
    Err(Rejection::InvalidTransition {
        from: from.name(),
        to: to.name(),
        allowed: allowed.iter().map(|status| status.name()).collect(),
    })
}

/// The plan that a field names, which must be on sale.
fn active_plan(id: &PlanId, scope: &Scope<'_>) -> Result<ifmatch_types::Plan, Rejection> {
    refuse_other_type(Kind::Plan, "/plan_id", id.as_str())?;
    let plan = match scope.state.plans.get(id.as_str()) {
        Some(row) if row.deleted.is_none() => &row.record,
        _ => return Err(Rejection::invalid("/plan_id", "no such plan")),
    };
    if plan.status != PlanStatus::Active {
        return Err(Rejection::PlanInactive {
            plan_id: plan.id.to_string(),
            status: plan.status.name(),
        });
    }
    Ok(plan.clone())
}

/// The terms of a plan that somebody subscribed to.
///
/// They froze when the plan went on sale, so that they may be read without locking the plan.
pub(crate) fn plan_terms(id: &PlanId, scope: &Scope<'_>) -> PlanTerms {
    if let Some(terms) = scope.state.plan_terms.get(id).cloned().flatten() {
        return terms;
    }
    let row = scope.state.plans.get(id.as_str());
    PlanTerms::from(&row.expect("a subscribed plan is never deleted").record)
}

fn past_calendar(path: &str) -> Rejection {
    Rejection::invalid(path, "leads past the end of the calendar")
}
