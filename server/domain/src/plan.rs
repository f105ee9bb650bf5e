//! Plans: draft → active ⇄ archived, with a price that freezes when the plan goes on sale.

use crate::{
    Rejection, Resource, Scope, State, fields::Errors, resource::usual_parts, state::CodeHolder,
};
use ifmatch_types::{Kind, Plan, PlanFields, PlanStatus};

impl Resource for Plan {
    type Entity = Plan;
    type Fields = PlanFields;

    const KIND: Kind = Kind::Plan;
    const FIELDS: &'static [&'static str] = &[
        "code",
        "name",
        "description",
        "currency",
        "amount",
        "interval",
        "interval_count",
        "trial_days",
        "status",
        "metadata",
    ];
    const SET_ONCE: &'static [&'static str] = &["code"];
    const KEPT_IF_ABSENT: &'static [&'static str] = &["status"];

    usual_parts!(plans, |record| *record);

    fn check(fields: &mut PlanFields, errors: &mut Errors) {
        errors.code("/code", &fields.code);
        errors.text("/name", &fields.name, 1, 200);
        errors.text("/description", &fields.description, 0, 2_000);
        errors.currency("/currency", &fields.currency);
        errors.range("/amount", fields.amount, 0, i64::MAX);
        errors.range("/interval_count", fields.interval_count, 1, 36);
        errors.range("/trial_days", fields.trial_days, 0, 730);
        errors.metadata(&fields.metadata);
    }

    fn create(fields: PlanFields, id: String, scope: &mut Scope<'_>) -> Result<Self, Rejection> {
        let status = fields.status.unwrap_or(PlanStatus::Draft);
        if status == PlanStatus::Archived {
            return Err(Rejection::invalid("/status", "a new plan is a draft or active"));
        }
        scope.state.plan_codes.put(fields.code.clone(), CodeHolder { id: id.clone() });
        Ok(Self {
            id: ifmatch_types::PlanId::from_unchecked(id),
            version: 1,
            code: fields.code,
            name: fields.name,
            description: fields.description,
            currency: fields.currency,
            amount: fields.amount,
            interval: fields.interval,
            interval_count: fields.interval_count,
            trial_days: fields.trial_days,
            status,
            metadata: fields.metadata,
            created_at: scope.now,
            updated_at: scope.now,
            updated_by: scope.meta.actor.name.clone(),
        })
    }

    fn change(&self, fields: PlanFields, _scope: &mut Scope<'_>) -> Result<Self, Rejection> {
        let status = fields.status.unwrap_or(self.status);
        if self.status != PlanStatus::Draft {
            refuse_price_change(self, &fields)?;
        }
        refuse_transition(self, status)?;
        Ok(Self {
            name: fields.name,
            description: fields.description,
            currency: fields.currency,
            amount: fields.amount,
            interval: fields.interval,
            interval_count: fields.interval_count,
            trial_days: fields.trial_days,
            status,
            metadata: fields.metadata,
            ..self.clone()
        })
    }

    fn delete(&self, _scope: &mut Scope<'_>) -> Result<(), Rejection> {
        // Only plans that were active once can have subscriptions, and none becomes a draft again.
        match self.status {
            PlanStatus::Draft => Ok(()),
            PlanStatus::Active | PlanStatus::Archived | PlanStatus::Unknown(_) => {
                Err(Rejection::PlanInUse)
            }
        }
    }

    fn existing(fields: &PlanFields, state: &State) -> Option<Self> {
        let holder = state.plan_codes.get(&fields.code)?;
        let row = state.plans.get(&holder.id)?;
        // A deleted draft gives its code back.
        row.deleted.is_none().then(|| row.record.clone())
    }
}

/// Refuses to change what somebody may already be paying.
fn refuse_price_change(plan: &Plan, fields: &PlanFields) -> Result<(), Rejection> {
    let frozen = [
        ("currency", plan.currency != fields.currency),
        ("amount", plan.amount != fields.amount),
        ("interval", plan.interval != fields.interval),
        ("interval_count", plan.interval_count != fields.interval_count),
        ("trial_days", plan.trial_days != fields.trial_days),
    ];
    let changed: Vec<_> =
        frozen.into_iter().filter(|(_, changed)| *changed).map(|(name, _)| name).collect();
    if changed.is_empty() { Ok(()) } else { Err(Rejection::PlanPriceFrozen { fields: changed }) }
}

/// Refuses a status that cannot follow the plan's own.
fn refuse_transition(plan: &Plan, to: PlanStatus) -> Result<(), Rejection> {
    let allowed: &[PlanStatus] = match plan.status {
        PlanStatus::Draft => &[PlanStatus::Active],
        PlanStatus::Active => &[PlanStatus::Archived],
        PlanStatus::Archived => &[PlanStatus::Active],
        PlanStatus::Unknown(_) => &[],
    };
    if to == plan.status || allowed.contains(&to) {
        return Ok(());
    }
    Err(Rejection::InvalidTransition {
        from: plan.status.name(),
        to: to.name(),
        allowed: allowed.iter().map(|status| status.name()).collect(),
    })
}
