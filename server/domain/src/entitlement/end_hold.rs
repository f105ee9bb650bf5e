//! Ending a hold: settling it for the units used, or releasing it.

use super::{
    Burns, Need, Outcome, Rejection, ScopeRef, StoredHold,
    charge::Charged,
    hold::end,
    read::want_charged_then,
    scope::{chain, want_chain},
    usage::{QUANTITY_MAX, admit, countable, fresh_record_id, store},
};
use crate::core::{self, Context, Errors, Mutant, Wants, read};
use ifmatch_types::{Hold, HoldAnswer, HoldStatus as Status, Metadata, Settlement, pointer};
use serde_json::{Map, Value};

/// End a hold.
#[derive(Clone, Debug)]
pub struct EndHold {
    /// The scope that placed the hold.
    pub scope: ScopeRef,
    /// The hold's id.
    pub hold_id: String,
    /// Whether to settle or release it, with the request's body.
    pub end: HoldEnd,
}

/// How a hold is ended.
#[derive(Clone, Debug)]
pub enum HoldEnd {
    /// Record the units used. The request's body is a [`Settlement`].
    Settle(Map<String, Value>),
    /// Give all units back. The request's body must have no fields.
    Release(Map<String, Value>),
}

impl HoldEnd {
    /// Reads the request's body: the units to record, or `None` for a release.
    fn settled(&self) -> Result<Option<i64>, Rejection> {
        let mut errors = Errors::default();
        match self {
            Self::Release(body) => {
                for name in body.keys() {
                    errors.push(pointer::member("", name), "is not a field here");
                }
                errors.into_result()?;
                Ok(None)
            }
            Self::Settle(body) => {
                let settlement: Settlement = read(body)?;
                errors.range("/quantity", settlement.quantity, 1, QUANTITY_MAX);
                errors.into_result()?;
                Ok(Some(settlement.quantity))
            }
        }
    }
}

impl EndHold {
    pub(crate) fn wants(&self, wants: &mut Wants<'_, '_, Need>) {
        if want_chain(&self.scope, wants).is_none() {
            return;
        }
        let holds = &wants.state.entitlement().holds;
        if !holds.is_loaded(&self.hold_id) {
            return wants.push(Need::Hold(self.hold_id.clone()));
        }
        if let Some(stored) = holds.original(&self.hold_id) {
            let feature = &stored.hold.feature;
            want_charged_then(&self.scope, feature, &stored.counter_id, &stored.burns, wants);
        }
    }

    pub(crate) fn decide(&self, ctx: &mut Context<'_>) -> Result<Outcome, Rejection> {
        chain(&self.scope, ctx)?;
        let stored = ctx
            .state
            .entitlement()
            .holds
            .get(&self.hold_id)
            .filter(|stored| stored.hold.scope == self.scope.to_string())
            .cloned()
            .ok_or_else(|| core::Rejection::NotFound { what: "hold", id: self.hold_id.clone() })?;
        let settled = self.end.settled()?;
        // A feature that an admin deleted by force has no counters any more.
        let terms = countable(&stored.hold.feature, ctx.state)?;
        if !stored.is_active(ctx) && !Mutant::SettleEndedHold.is_planted() {
            let status = match stored.hold.status {
                Status::Active => Status::Expired,
                ended => ended,
            };
            return Err(Rejection::HoldNotActive { status: status.name() });
        }
        let charged = Charged::then(&stored.counter_id, &terms, ctx);
        let mut charged = charged.expect("a hold's counter is never removed");
        let held = stored.hold.quantity;
        let mut burns = stored.burns.clone();
        let mut hold = Hold { ended_at: Some(ctx.now), ..stored.hold.clone() };
        match settled {
            None => {
                charged.give_back(0, held, (&mut burns, 0), ctx);
                hold.status = Status::Released;
            }
            Some(quantity) => {
                let more = quantity.saturating_sub(held);
                if more > 0 {
                    // The current limit only applies to units beyond the held ones.
                    admit(&charged, &self.scope, &terms, more, quantity)?;
                }
                let moved = held.min(quantity);
                charged.counter.held = charged.counter.held.saturating_sub(moved).max(0);
                charged.counter.used = charged.counter.used.saturating_add(moved);
                if more > 0 {
                    burns.append(&charged.take(more, 0, ctx)?);
                } else {
                    charged.give_back(0, held.saturating_sub(moved), (&mut burns, moved), ctx);
                }
                let id = fresh_record_id(ctx);
                let what = (hold.feature.clone(), quantity, Metadata::new());
                store(&id, &self.scope, &charged, what, burns, ctx);
                hold.status = Status::Settled;
                hold.settled_quantity = Some(quantity);
                hold.record_id = Some(id);
            }
        }
        let by = ctx.meta.by(false);
        end(StoredHold { hold: hold.clone(), burns: Burns::default(), ..stored }, by, ctx);
        let meter = match settled {
            Some(_) => charged.keep(ctx),
            None => charged.keep_given_back(ctx),
        };
        Ok(Outcome::Hold { answer: HoldAnswer { hold, meter }, is_new: false })
    }
}
