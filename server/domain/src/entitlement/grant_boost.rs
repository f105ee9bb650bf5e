//! Granting a boost to a scope.

use super::{
    BoostRecord, Need, Outcome, Rejection, ScopeRef, addon_key,
    assignment::anchor,
    feature::{self, want_granted_feature},
    limit::limit_of,
    log::log,
    package::UNITS_MAX,
    scope::{chain, change_holdings, want_chain, want_holdings},
};
use crate::core::{self, CodeHolder, Context, Errors, Step, Wants, create_internally, json, read};
use ifmatch_types::{
    Boost, BoostAnswer, BoostDuration as Duration, BoostId, BoostKind, CatalogStatus, FeatureType,
    Interval, NewBoost, merge,
};
use serde_json::{Map, Value, json as value};

/// Grant a boost to a scope.
#[derive(Clone, Debug)]
pub struct GrantBoost {
    /// The scope that gets the boost.
    pub scope: ScopeRef,
    /// The request's body, a [`NewBoost`].
    pub body: Map<String, Value>,
}

impl GrantBoost {
    /// A string field of the body.
    pub(crate) fn text(&self, field: &str) -> Option<&str> {
        self.body.get(field)?.as_str()
    }

    /// The key of the add-on, if the request names one.
    pub(crate) fn addon_key(&self) -> Option<String> {
        addon_key(self.text("source"), self.text("external_addon_id"))
    }

    pub(crate) fn wants(&self, wants: &mut Wants<'_, '_, Need>) {
        if let Some(code) = self.text("feature") {
            want_granted_feature(code, wants);
        }
        let Some(chain) = want_chain(&self.scope, wants) else { return };
        want_holdings(&chain, wants);
        wants.clock();
        if let Some(key) = self.addon_key()
            && !wants.state.entitlement().addons.is_loaded(&key)
        {
            wants.push(Need::Addon(key));
        }
    }

    pub(crate) fn decide(&self, ctx: &mut Context<'_>) -> Result<Outcome, Rejection> {
        chain(&self.scope, ctx)?;
        let new: NewBoost = read(&self.body)?;
        check(&new)?;
        let terms = feature::named("/feature", &new.feature, ctx.state)?;
        if let Some(first) = self.known(ctx) {
            return self.repeat_of(first, &new, ctx);
        }
        if new.expires_at.is_some_and(|expires_at| expires_at <= ctx.now) {
            return Err(core::Rejection::invalid("/expires_at", "must be in the future").into());
        }
        if terms.status == CatalogStatus::Archived {
            let message = "is archived and cannot be newly granted";
            return Err(core::Rejection::invalid("/feature", message).into());
        }
        if terms.feature_type == FeatureType::Boolean && new.kind != BoostKind::Enable {
            return Err(
                core::Rejection::invalid("/kind", "must be enable for a boolean feature").into()
            );
        }
        feature::freeze(&terms, ctx);
        let of = self.scope.to_string();
        let anchor_at = anchor(&of, ctx);
        let expires_at = match new.duration {
            Duration::CycleBound => {
                let month = Step { interval: Interval::Month, count: 1 };
                month.next_boundary(anchor_at, ctx.now)
            }
            _ => new.expires_at,
        };
        let boost = Boost {
            id: BoostId::from_unchecked(ctx.ids.fresh(BoostId::PREFIX)),
            version: 1,
            scope: of.clone(),
            feature: new.feature,
            kind: new.kind,
            duration: new.duration,
            amount: new.amount,
            consumed: 0,
            priority: new.priority,
            expires_at,
            source: new.source,
            external_addon_id: new.external_addon_id,
            created_at: ctx.now,
            updated_at: ctx.now,
            updated_by: ctx.meta.actor.name.clone(),
        };
        if let Some(key) = self.addon_key() {
            ctx.state.entitlement_mut().addons.put(key, CodeHolder { id: boost.id.to_string() });
        }
        log(&of, "boost.granted", value!({ "boost_id": boost.id, "boost": boost }), ctx);
        change_holdings(&of, ctx, |holdings| holdings.boosts.push(boost.id.to_string()));
        let record =
            BoostRecord { boost: boost.clone(), pool: terms.pool.code, anchor_at, is_over: false };
        let effective = is_effective(&record, ctx);
        let _ = create_internally(record, ctx);
        Ok(Outcome::Boost(BoostAnswer { boost, effective, duplicate: false }))
    }

    /// Finds the boost that already has this add-on's key.
    fn known(&self, ctx: &Context<'_>) -> Option<BoostRecord> {
        let holder = ctx.state.entitlement().addons.get(&self.addon_key()?)?;
        ctx.state.entitlement().boosts.get(&holder.id).map(|row| row.record.clone())
    }

    /// Answers a repeat: the first result if the request is the same, otherwise a rejection.
    fn repeat_of(
        &self,
        first: BoostRecord,
        new: &NewBoost,
        ctx: &Context<'_>,
    ) -> Result<Outcome, Rejection> {
        let there = &first.boost;
        // The server sets the end of a cycle-bound boost, so the request did not name it.
        let expires_at =
            if there.duration == Duration::CycleBound { None } else { there.expires_at };
        let asked_then = NewBoost {
            feature: there.feature.clone(),
            kind: there.kind,
            amount: there.amount,
            duration: there.duration,
            expires_at,
            priority: there.priority,
            source: there.source.clone(),
            external_addon_id: there.external_addon_id.clone(),
        };
        let differences = merge::diff(&json(&asked_then), &json(new)).into_iter();
        let mut differing: Vec<String> = differences.map(|difference| difference.path).collect();
        if there.scope != self.scope.to_string() {
            differing.push("/scope".to_owned());
        }
        if !differing.is_empty() {
            return Err(Rejection::DuplicateAddon {
                existing_id: there.id.to_string(),
                differing_fields: differing,
            });
        }
        let effective = is_effective(&first, ctx);
        Ok(Outcome::Boost(BoostAnswer { boost: first.boost, effective, duplicate: true }))
    }
}

/// Checks each field, alone and in combination.
fn check(new: &NewBoost) -> Result<(), core::Rejection> {
    let mut errors = Errors::default();
    match (new.kind, new.amount) {
        (BoostKind::AddLimit, Some(amount)) => errors.range("/amount", amount, 1, UNITS_MAX),
        (BoostKind::AddLimit, None) => errors.push("/amount", "is required for kind add_limit"),
        (_, Some(_)) => errors.push("/amount", "is only allowed with kind add_limit"),
        (_, None) => {}
    }
    match (new.duration, new.expires_at) {
        (Duration::Fixed, None) => errors.push("/expires_at", "is required for duration fixed"),
        (Duration::CycleBound | Duration::Permanent, Some(_)) => {
            errors.push("/expires_at", "is only allowed with duration fixed or consumable");
        }
        _ => {}
    }
    if new.duration == Duration::Consumable && new.kind != BoostKind::AddLimit {
        errors.push("/duration", "consumable is only allowed with kind add_limit");
    }
    errors.range("/priority", new.priority, 0, 1_000);
    if let Some(source) = &new.source {
        errors.text("/source", source, 1, 100);
    }
    if let Some(id) = &new.external_addon_id {
        errors.text("/external_addon_id", id, 1, 200);
    }
    errors.into_result()
}

/// Whether the boost has an effect now.
fn is_effective(record: &BoostRecord, ctx: &Context<'_>) -> bool {
    let of = &record.boost.scope;
    let waits = record.boost.kind == BoostKind::AddLimit;
    record.counts(ctx.now)
        && (!waits || limit_of(of, &record.pool, ctx.now, ctx.state).is_granted())
}
