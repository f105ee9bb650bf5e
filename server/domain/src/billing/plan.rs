//! Plans: draft → active ⇄ archived. The price is frozen once the plan is active.

use super::{Need, Rejection};
use crate::core::{
    self, CodeHolder, Context, Errors, Resource, State, Step, Wants, redactable, usual_parts,
};
use ifmatch_types::{INTEGER_MAX, Interval, Kind, Plan, PlanFields, PlanStatus};
use serde_json::{Map, Value};

/// The price terms of a plan, frozen once it is active.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanTerms {
    /// The plan's code, used in invoice lines.
    pub code: String,
    /// The ISO 4217 currency code.
    pub currency: String,
    /// The price of one unit for one period, in the currency's minor unit.
    pub amount: i64,
    /// The unit of the period.
    pub interval: Interval,
    /// The number of intervals in a period.
    pub interval_count: i64,
}

impl PlanTerms {
    /// The length of the plan's periods.
    pub(crate) fn step(&self) -> Step {
        Step { interval: self.interval, count: self.interval_count }
    }
}

impl From<&Plan> for PlanTerms {
    fn from(plan: &Plan) -> Self {
        Self {
            code: plan.code.clone(),
            currency: plan.currency.clone(),
            amount: plan.amount,
            interval: plan.interval,
            interval_count: plan.interval_count,
        }
    }
}

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

    const IN_CATALOGUE: bool = true;

    usual_parts!(plans, |record| *record);
    redactable!(|record| *record, { name: Text, description: Text, metadata: Keys });

    fn check(fields: &mut PlanFields, errors: &mut Errors) {
        errors.code("/code", &fields.code);
        errors.text("/name", &fields.name, 1, 200);
        errors.text("/description", &fields.description, 0, 2_000);
        errors.currency("/currency", &fields.currency);
        errors.range("/amount", fields.amount, 0, INTEGER_MAX);
        errors.range("/interval_count", fields.interval_count, 1, 36);
        errors.range("/trial_days", fields.trial_days, 0, 730);
        errors.metadata(&fields.metadata);
    }

    fn create(fields: PlanFields, id: String, ctx: &mut Context<'_>) -> Result<Self, Rejection> {
        let status = fields.status.unwrap_or(PlanStatus::Draft);
        if status == PlanStatus::Archived {
            return Err(core::Rejection::invalid(
                "/status",
                "must be draft or active for a new plan",
            )
            .into());
        }
        ctx.state.billing_mut().plan_codes.put(fields.code.clone(), CodeHolder { id: id.clone() });
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
            created_at: ctx.now,
            updated_at: ctx.now,
            updated_by: ctx.meta.actor.name.clone(),
        })
    }

    fn change(&self, fields: PlanFields, _: &mut Context<'_>) -> Result<Self, Rejection> {
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

    fn delete(&self, _: &mut Context<'_>) -> Result<(), Rejection> {
        // A draft was never active, so it has no subscriptions.
        match self.status {
            PlanStatus::Draft => Ok(()),
            PlanStatus::Active | PlanStatus::Archived | PlanStatus::Unknown(_) => {
                Err(Rejection::PlanInUse)
            }
        }
    }

    fn existing(fields: &PlanFields, state: &State) -> Option<Self> {
        let holder = state.billing().plan_codes.get(&fields.code)?;
        let row = state.billing().plans.get(&holder.id)?;
        // The code of a deleted draft is free again.
        row.deleted.is_none().then(|| row.record.clone())
    }

    fn want_for_create<'c>(body: &'c Map<String, Value>, wants: &mut Wants<'_, 'c, Need>) {
        let Some(code) = body.get("code").and_then(Value::as_str) else { return };
        let billing = wants.state.billing();
        if !billing.plan_codes.is_loaded(code) {
            wants.push(Need::PlanCode(code.to_owned()));
        } else if let Some(holder) = billing.plan_codes.get(code) {
            wants.reference(Kind::Plan, &holder.id);
        }
    }
}

/// Refuses to change price fields that subscriptions may already use.
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

/// Refuses a status that cannot follow the plan's current one.
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
    Err(core::Rejection::InvalidTransition {
        from: plan.status.name(),
        to: to.name(),
        allowed: allowed.iter().map(|status| status.name()).collect(),
    }
    .into())
}
