//! Placing a hold: reserving units for work of unknown cost.

use super::{
    Need, Outcome, Rejection, ScopeRef, StoredHold,
    charge::Charged,
    read::want_usage,
    scope::chain,
    usage::{QUANTITY_MAX, admit, countable},
};
use crate::core::{self, Context, Errors, Wants, read};
use ifmatch_types::{Hold, HoldAnswer, HoldId, HoldStatus as Status, NewHold, Timestamp};
use serde_json::{Map, Value};

/// Maximum lifetime of a hold, in milliseconds: one day.
const TTL_MAX_MS: i64 = 86_400_000;

/// Place a hold on units.
#[derive(Clone, Debug)]
pub struct PlaceHold {
    /// The scope that the units are for.
    pub scope: ScopeRef,
    /// The request's body, a [`NewHold`].
    pub body: Map<String, Value>,
}

impl PlaceHold {
    pub(crate) fn wants<'c>(&'c self, wants: &mut Wants<'_, 'c, Need>) {
        let feature = self.body.get("feature").and_then(Value::as_str);
        want_usage(&self.scope, feature.into_iter(), wants);
    }

    pub(crate) fn decide(&self, ctx: &mut Context<'_>) -> Result<Outcome, Rejection> {
        let chain = chain(&self.scope, ctx)?;
        let new: NewHold = read(&self.body)?;
        let mut errors = Errors::default();
        errors.range("/quantity", new.quantity, 1, QUANTITY_MAX);
        errors.range("/ttl_ms", new.ttl_ms, 1, TTL_MAX_MS);
        errors.into_result()?;
        let terms = countable(&new.feature, ctx.state)?;
        let mut charged = Charged::now(&chain, &terms, ctx);
        admit(&charged, &self.scope, &terms, new.quantity, new.quantity)?;
        let burns = charged.take(0, new.quantity, ctx)?;
        let ttl_us = new.ttl_ms.saturating_mul(1_000);
        // It must expire after all that the counter knows to have expired, also if the clock was
        // set back.
        let from = charged.counter.expired_until.unwrap_or(ctx.now).max(ctx.now);
        let expires_at = Timestamp::from_micros(from.as_micros().saturating_add(ttl_us));
        let hold = Hold {
            id: HoldId::from_unchecked(ctx.ids.fresh(HoldId::PREFIX)),
            scope: self.scope.to_string(),
            feature: new.feature,
            quantity: new.quantity,
            status: Status::Active,
            expires_at: expires_at.ok_or_else(|| {
                core::Rejection::invalid(
                    "/ttl_ms",
                    "leads to an expiry after the last supported date",
                )
            })?,
            settled_quantity: None,
            record_id: None,
            created_at: ctx.now,
            ended_at: None,
        };
        let stored = StoredHold {
            hold: hold.clone(),
            counter_id: charged.counter.id.clone(),
            charged_scope: charged.counter.scope.clone(),
            burns,
        };
        ctx.state.entitlement_mut().holds.put(hold.id.to_string(), stored);
        let meter = charged.keep(ctx);
        Ok(Outcome::Hold { answer: HoldAnswer { hold, meter }, is_new: true })
    }
}
