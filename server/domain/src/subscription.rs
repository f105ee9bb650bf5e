//! Subscriptions: a workspace's running plan, its status and its periods.

use crate::{
    PlanTerms, Rejection, Resource, Scope,
    calendar::Step,
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
    /// Changes of plan that no invoice has settled yet, oldest first.
    pub plan_changes: Vec<PlanChange>,
    /// So many units were billed for the running period; `None`: it was not billed yet.
    pub billed_quantity: Option<i64>,
}

/// A change of plan within a period, to be settled by the next invoice.
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
            after.change_plan(&fields.plan_id, fields.quantity, scope)?;
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
    fn change_plan(
        &mut self,
        to: &PlanId,
        quantity: i64,
        scope: &Scope<'_>,
    ) -> Result<(), Rejection> {
        let new = PlanTerms::from(&active_plan(to, scope)?);
        let old = plan_terms(&self.subscription.plan_id, scope);
        if old.currency != new.currency {
            return Err(Rejection::CurrencyMismatch { from: old.currency, to: new.currency });
        }
        let subscription = &mut self.subscription;
        // A trial costs nothing. A pause does not undo what was billed for the period.
        if subscription.status != Status::Trialing && subscription.status != Status::Canceled {
            self.plan_changes.push(PlanChange {
                at: scope.now,
                from: subscription.plan_id.clone(),
                to: to.clone(),
                billed_quantity: self.billed_quantity,
                quantity,
                period_start: subscription.current_period_start,
                period_end: subscription.current_period_end,
            });
            // The next change gives back what this one will be charged for.
            self.billed_quantity = self.billed_quantity.and(Some(quantity));
        }
        if (old.interval, old.interval_count) != (new.interval, new.interval_count)
            && subscription.status != Status::Trialing
        {
            // Periods of another length are counted from where the running one ends.
            self.anchor_at = subscription.current_period_end;
        }
        subscription.plan_id = to.clone();
        Ok(())
    }

    fn change_status(&mut self, to: Status, scope: &Scope<'_>) -> Result<(), Rejection> {
        let from = self.subscription.status;
        self.subscription.status = to;
        match (from, to) {
            (_, Status::Canceled) => self.end(scope.now),
            (Status::Trialing, Status::Active | Status::PastDue) => self.leave_trial(scope)?,
            // Paused in its trial, it does not go back to it: what follows is paid for.
            (Status::Paused, Status::Active) if self.subscription.trial_end > Some(scope.now) => {
                self.leave_trial(scope)?;
            }
            // What passed while it was paused is not billed.
            (Status::Paused, Status::Active)
                if self.subscription.current_period_end <= scope.now =>
            {
                let start = self.step(scope).last_boundary(self.anchor_at, scope.now);
                let start = start.ok_or_else(|| past_calendar("/current_period_end"))?;
                self.start_period(start, scope)?;
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
        let step = self.step(scope);
        self.billed_quantity = None;
        self.subscription.current_period_start = start;
        self.subscription.current_period_end = step
            .next_boundary(self.anchor_at, start)
            .ok_or_else(|| past_calendar("/current_period_end"))?;
        Ok(())
    }

    fn step(&self, scope: &Scope<'_>) -> Step {
        Step::of(&plan_terms(&self.subscription.plan_id, scope))
    }
}

fn refuse_transition(from: Status, to: Status) -> Result<(), Rejection> {
    let allowed: &[Status] = match from {
        Status::Trialing => &[Status::Active, Status::PastDue, Status::Paused, Status::Canceled],
        Status::Active => &[Status::PastDue, Status::Paused, Status::Canceled],
        Status::PastDue => &[Status::Active, Status::Paused, Status::Canceled],
        Status::Paused => &[Status::Active, Status::Canceled],
        Status::Canceled => &[],
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
