//! Holds: units set aside for work of unknown cost, each ended exactly once.

use super::{
    ScopeRef, chain, log_as,
    pool::{self, Charged, Counter, limit_of},
    usage::{QUANTITY_MAX, admit, countable, fresh_record_id, store},
};
use crate::{Mutant, Outcome, Rejection, Scope, edit, fields::Errors, table::Guarded};
use ifmatch_types::{
    By, Hold, HoldAnswer, HoldId, HoldStatus as Status, Metadata, NewHold, Settlement, Timestamp,
    pointer,
};
use serde_json::{Map, Value, json};

/// A hold lasts a day at most.
const TTL_MAX_MS: i64 = 86_400_000;

/// Set units aside.
#[derive(Clone, Debug)]
pub struct PlaceHold {
    /// For whom.
    pub scope: ScopeRef,
    /// The request's body: a [`NewHold`].
    pub body: Map<String, Value>,
}

/// End a hold.
#[derive(Clone, Debug)]
pub struct EndHold {
    /// For whom it was made.
    pub scope: ScopeRef,
    /// The hold.
    pub hold_id: String,
    /// How.
    pub end: HoldEnd,
}

/// How a hold is ended.
#[derive(Clone, Debug)]
pub enum HoldEnd {
    /// Record what the work took; the request's body: a [`Settlement`].
    Settle(Map<String, Value>),
    /// Give everything back; the request's body, which has no fields.
    Release(Map<String, Value>),
}

/// A hold with what the API does not show of it.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredHold {
    /// The hold as the API shows it.
    pub hold: Hold,
    /// The counter whose units are set aside.
    pub counter_id: String,
    /// Whose counter it is.
    pub charged_scope: String,
}

impl Guarded for StoredHold {
    fn guard(&self) -> i64 {
        if self.hold.status == Status::Active { 1 } else { 2 }
    }
}

impl PlaceHold {
    /// The feature that the body names.
    pub(crate) fn feature(&self) -> Option<&str> {
        self.body.get("feature")?.as_str()
    }

    pub(crate) fn decide(&self, scope: &mut Scope<'_>) -> Result<Outcome, Rejection> {
        let chain = chain(&self.scope, scope)?;
        let new: NewHold = edit::read(&self.body)?;
        let mut errors = Errors::default();
        errors.range("/quantity", new.quantity, 1, QUANTITY_MAX);
        errors.range("/ttl_ms", new.ttl_ms, 1, TTL_MAX_MS);
        errors.into_result()?;
        let terms = countable(&new.feature, scope.state)?;
        let mut charged = Charged::now(&chain, &terms, scope);
        admit(&charged, &self.scope, &terms, new.quantity, new.quantity)?;
        charged.take(0, new.quantity, scope)?;
        let ttl_us = new.ttl_ms.saturating_mul(1_000);
        let expires_at = Timestamp::from_micros(scope.now.as_micros().saturating_add(ttl_us));
        let hold = Hold {
            id: HoldId::from_unchecked(scope.ids.fresh(HoldId::PREFIX)),
            scope: self.scope.to_string(),
            feature: new.feature,
            quantity: new.quantity,
            status: Status::Active,
            expires_at: expires_at
                .ok_or_else(|| Rejection::invalid("/ttl_ms", "leads past the calendar's end"))?,
            settled_quantity: None,
            record_id: None,
            created_at: scope.now,
            ended_at: None,
        };
        let stored = StoredHold {
            hold: hold.clone(),
            counter_id: charged.counter.id.clone(),
            charged_scope: charged.counter.scope.clone(),
        };
        scope.state.holds.put(hold.id.to_string(), stored);
        let meter = charged.keep(scope);
        Ok(Outcome::Hold { answer: HoldAnswer { hold, meter }, is_new: true })
    }
}

impl EndHold {
    pub(crate) fn decide(&self, scope: &mut Scope<'_>) -> Result<Outcome, Rejection> {
        chain(&self.scope, scope)?;
        let stored = scope
            .state
            .holds
            .get(&self.hold_id)
            .filter(|stored| stored.hold.scope == self.scope.to_string())
            .cloned()
            .ok_or_else(|| Rejection::NotFound { what: "hold", id: self.hold_id.clone() })?;
        let settled = match &self.end {
            HoldEnd::Release(body) => {
                let mut errors = Errors::default();
                for name in body.keys() {
                    errors.push(pointer::member("", name), "is not a field here");
                }
                errors.into_result()?;
                None
            }
            HoldEnd::Settle(body) => {
                let settlement: Settlement = edit::read(body)?;
                let mut errors = Errors::default();
                errors.range("/quantity", settlement.quantity, 1, QUANTITY_MAX);
                errors.into_result()?;
                Some(settlement.quantity)
            }
        };
        if !stored.hold.is_active(scope.now) && !Mutant::SettleEndedHold.is_planted() {
            let status = match stored.hold.status {
                Status::Active => Status::Expired,
                ended => ended,
            };
            return Err(Rejection::HoldNotActive { status: status.name() });
        }
        let terms = countable(&stored.hold.feature, scope.state)?;
        let charged = Charged::then(&stored.counter_id, &terms, scope);
        let mut charged = charged.expect("a hold's counter is never removed");
        let held = stored.hold.quantity;
        let mut hold = Hold { ended_at: Some(scope.now), ..stored.hold.clone() };
        match settled {
            None => {
                charged.give_back(0, held, scope);
                hold.status = Status::Released;
            }
            Some(quantity) => {
                let more = quantity.saturating_sub(held);
                if more > 0 {
                    // What was granted meanwhile, or not any more, counts for what is on top only.
                    admit(&charged, &self.scope, &terms, more, quantity)?;
                }
                let moved = held.min(quantity);
                charged.counter.held = charged.counter.held.saturating_sub(moved).max(0);
                charged.counter.used = charged.counter.used.saturating_add(moved);
                if more > 0 {
                    charged.take(more, 0, scope)?;
                } else {
                    charged.give_back(0, held.saturating_sub(moved), scope);
                }
                let id = fresh_record_id(scope);
                let what = (hold.feature.clone(), quantity, Metadata::new());
                store(&id, &self.scope, &charged, what, scope);
                hold.status = Status::Settled;
                hold.settled_quantity = Some(quantity);
                hold.record_id = Some(id);
            }
        }
        let by = scope.meta.by(false);
        end(StoredHold { hold: hold.clone(), ..stored }, by, scope);
        let meter = match settled {
            Some(_) => charged.keep(scope),
            None => charged.keep_given_back(scope),
        };
        Ok(Outcome::Hold { answer: HoldAnswer { hold, meter }, is_new: false })
    }
}

/// Stores the end of a hold, with its line in the log.
fn end(stored: StoredHold, by: By, scope: &mut Scope<'_>) {
    let hold = &stored.hold;
    let details = json!({
        "hold_id": hold.id,
        "feature": hold.feature,
        "quantity": hold.quantity,
        "settled_quantity": hold.settled_quantity,
    });
    let of = hold.scope.clone();
    log_as(by, &of, &format!("hold.{}", hold.status.name()), details, scope);
    scope.state.holds.put(stored.hold.id.to_string(), stored);
}

/// The holds of a counter that nobody settled in time, as many as were loaded.
pub(crate) fn due(counter_id: &str, scope: &Scope<'_>) -> Vec<StoredHold> {
    if Mutant::KeepExpiredHolds.is_planted() {
        return Vec::new();
    }
    let due = scope.state.due_holds.get(counter_id);
    let members = due.into_iter().flat_map(|due| &due.ids);
    let is_due = |stored: &&StoredHold| {
        stored.hold.status == Status::Active && !stored.hold.is_active(scope.now)
    };
    members.filter_map(|id| scope.state.holds.find(id)).filter(is_due).cloned().collect()
}

/// Ends such holds of a counter; their units are free again.
pub(crate) fn expire(due: Vec<StoredHold>, counter_id: &str, by: &By, scope: &mut Scope<'_>) {
    let Some(mut counter) = scope.state.counters.get(counter_id).cloned() else { return };
    for stored in due {
        give_back_held(&mut counter, stored.hold.quantity, scope);
        let hold =
            Hold { status: Status::Expired, ended_at: Some(scope.now), ..stored.hold.clone() };
        end(StoredHold { hold, ..stored }, by.clone(), scope);
    }
    pool::keep(counter, scope);
}

fn give_back_held(counter: &mut Counter, held: i64, scope: &mut Scope<'_>) {
    let limit = limit_of(&counter.scope, &counter.pool, scope.now, scope.state);
    pool::give_back(counter, 0, held, &limit, scope);
}
