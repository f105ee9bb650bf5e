//! Check and record: usage that is admitted exactly as far as the limit reaches.

use super::{
    LogLine, ScopeRef, chain,
    feature::{self, FeatureTerms},
    log,
    pool::Charged,
};
use crate::{
    Command, Mutant, Outcome, Rejection, Scope, edit, fields::Errors, id::Ids, state::State,
    table::Guarded,
};
use ifmatch_types::{
    EntitlementLogEntry, FeatureType, Meter, NewReversal, NewUsage, RecordId, Recorded, Reversed,
    Timestamp, UsageRecord,
};
use serde_json::{Map, Value, json};

/// So many units at once, at most: sums of many stay far from the end of 64 bits.
pub(crate) const QUANTITY_MAX: i64 = 1_000_000_000_000;

/// Record usage, if there is room for all of it.
#[derive(Clone, Debug)]
pub struct CheckAndRecord {
    /// Who uses it.
    pub scope: ScopeRef,
    /// The request's items: [`NewUsage`] each.
    pub items: Vec<Map<String, Value>>,
    /// Whether the request was a batch, which names the item that was refused.
    pub is_batch: bool,
}

/// Give recorded usage back.
#[derive(Clone, Debug)]
pub struct ReverseUsage {
    /// Who used it.
    pub scope: ScopeRef,
    /// The record.
    pub record_id: String,
    /// The request's body: a [`NewReversal`].
    pub body: Map<String, Value>,
}

/// Recorded usage with what the API does not show of it.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredRecord {
    /// The record as the API shows it.
    pub record: UsageRecord,
    /// The counter that was charged.
    pub counter_id: String,
    /// Whether it leaves its window by and by.
    pub is_rolling: bool,
}

impl Guarded for StoredRecord {
    fn guard(&self) -> i64 {
        self.record.reversed.saturating_add(1)
    }
}

/// A quota's answer: no.
#[derive(Clone, Debug, PartialEq)]
pub struct Denial {
    /// Why.
    pub reason: DenialReason,
    /// Who asked.
    pub scope: String,
    /// For what.
    pub feature: String,
    /// So many units; of a batch all that it wants of the pool, up to the item that was refused.
    pub requested: i64,
    /// So many of them for the feature itself, by what was refused.
    pub quantity: i64,
    /// The pool it would have been charged to.
    pub meter: Meter,
}

/// Why usage was denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DenialReason {
    /// There is not enough room.
    LimitExceeded,
    /// Nothing grants the feature.
    NotIncluded,
}

impl DenialReason {
    /// The code it is answered with.
    pub const fn code(self) -> ifmatch_types::Code {
        match self {
            Self::LimitExceeded => ifmatch_types::Code::EntitlementLimitExceeded,
            Self::NotIncluded => ifmatch_types::Code::FeatureNotIncluded,
        }
    }
}

impl CheckAndRecord {
    /// The features that the items name.
    pub(crate) fn features(&self) -> impl Iterator<Item = &str> {
        self.items.iter().filter_map(|item| item.get("feature")?.as_str())
    }

    pub(crate) fn decide(&self, scope: &mut Scope<'_>) -> Result<Outcome, Rejection> {
        let chain = chain(&self.scope, scope)?;
        let mut items = Vec::with_capacity(self.items.len());
        for (index, item) in self.items.iter().enumerate() {
            let item = Item::read(item, scope.state);
            items.push(item.map_err(|rejection| self.of_item(index, rejection))?);
        }
        let before = scope.state.checkpoint();
        let mut recorded = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            match record(&chain, item, scope) {
                Ok(one) => recorded.push(one),
                Err(Rejection::Denied(denial)) if self.is_batch => {
                    scope.state.rollback(&before);
                    let wanted = items.get(..=index).unwrap_or_default();
                    let denial = of_batch(*denial, wanted, &chain, scope);
                    return Err(self.of_item(index, Rejection::Denied(Box::new(denial))));
                }
                Err(rejection) => return Err(self.of_item(index, rejection)),
            }
        }
        Ok(Outcome::Usage { recorded, is_batch: self.is_batch })
    }

    /// A refusal of one item: a batch says which one, and where in its body the fields are.
    fn of_item(&self, failed_index: usize, rejection: Rejection) -> Rejection {
        if !self.is_batch {
            return rejection;
        }
        let rejection = Box::new(rejection.within(&format!("/items/{failed_index}")));
        Rejection::Operation { failed_index, rejection }
    }
}

/// An item with nothing wrong in it.
struct Item {
    new: NewUsage,
    terms: FeatureTerms,
}

impl Item {
    fn read(item: &Map<String, Value>, state: &State) -> Result<Self, Rejection> {
        let new: NewUsage = edit::read(item)?;
        let mut errors = Errors::default();
        errors.range("/quantity", new.quantity, 1, QUANTITY_MAX);
        errors.metadata(&new.metadata);
        errors.into_result()?;
        let terms = countable(&new.feature, state)?;
        Ok(Self { new, terms })
    }
}

fn record(
    chain: &[ScopeRef],
    Item { new, terms }: &Item,
    scope: &mut Scope<'_>,
) -> Result<Recorded, Rejection> {
    let of = chain.first().expect("a chain begins with the scope itself");
    let mut charged = Charged::now(chain, terms, scope);
    admit(&charged, of, terms, new.quantity, new.quantity)?;
    if !Mutant::RecordWithoutCounting.is_planted() {
        charged.take(new.quantity, 0, scope)?;
    }
    let (id, feature, quantity) = (fresh_record_id(scope), new.feature.clone(), new.quantity);
    store(&id, of, &charged, (feature.clone(), quantity, new.metadata.clone()), scope);
    Ok(Recorded { id, feature, quantity, meter: charged.keep(scope) })
}

/// The denial of a batch at its last item: of the pool as it stays, and with all that the batch
/// wanted of it so far, for nothing of that is recorded.
fn of_batch(denial: Denial, items: &[Item], chain: &[ScopeRef], scope: &mut Scope<'_>) -> Denial {
    let Some(refused) = items.last() else { return denial };
    let charged = Charged::now(chain, &refused.terms, scope);
    let counter_of =
        |item: &Item| Charged::of_chain(chain, &item.terms, scope.now, scope.state).counter.id;
    let requested = items
        .iter()
        .filter(|item| counter_of(item) == charged.counter.id)
        .fold(0i64, |sum, item| sum.saturating_add(item.new.quantity));
    Denial { requested, meter: charged.meter(), ..denial }
}

pub(crate) fn fresh_record_id(scope: &mut Scope<'_>) -> RecordId {
    RecordId::from_unchecked(scope.ids.fresh(RecordId::PREFIX))
}

/// Stores a record of units that were taken.
pub(crate) fn store(
    id: &RecordId,
    of: &ScopeRef,
    charged: &Charged,
    (feature, quantity, metadata): (String, i64, ifmatch_types::Metadata),
    scope: &mut Scope<'_>,
) {
    let record = UsageRecord {
        id: id.clone(),
        scope: of.to_string(),
        charged_scope: charged.counter.scope.clone(),
        feature,
        quantity,
        reversed: 0,
        metadata,
        at: scope.now,
        by: scope.meta.by(false),
        request_id: scope.meta.request_id.clone(),
    };
    let counter_id = charged.counter.id.clone();
    let stored = StoredRecord { record, counter_id, is_rolling: charged.is_rolling() };
    scope.state.records.put(id.to_string(), stored);
}

/// The terms of a feature whose units are counted.
pub(crate) fn countable(code: &str, state: &State) -> Result<FeatureTerms, Rejection> {
    let terms = feature::named("/feature", code, state)?;
    if terms.feature_type == FeatureType::Boolean {
        let message = "is a switch; it has no units to use";
        return Err(Rejection::invalid("/feature", message));
    }
    Ok(terms)
}

/// Admits so many more units, or denies what was requested.
pub(crate) fn admit(
    charged: &Charged,
    of: &ScopeRef,
    terms: &FeatureTerms,
    more: i64,
    requested: i64,
) -> Result<(), Rejection> {
    let reason = if !charged.limit.is_granted() {
        DenialReason::NotIncluded
    } else if !charged.has_room(more) {
        DenialReason::LimitExceeded
    } else {
        return Ok(());
    };
    Err(Rejection::Denied(Box::new(Denial {
        reason,
        scope: of.to_string(),
        feature: terms.code.clone(),
        requested,
        quantity: requested,
        meter: charged.meter(),
    })))
}

/// A denial changes nothing but this: it leaves a line in its scope's log.
pub(crate) fn log_denial(denial: &Denial, command: &Command, now: Timestamp, state: &mut State) {
    let details = json!({
        "reason": denial.reason.code(),
        "feature": denial.feature,
        "requested": denial.requested,
        "used": denial.meter.used,
        "held": denial.meter.held,
        "limit": denial.meter.limit,
        "charged_scope": denial.meter.charged_scope,
    });
    let entry = EntitlementLogEntry {
        id: Ids::from_seed(command.seed).fresh("elg_"),
        log_type: "usage.denied".to_owned(),
        at: now,
        by: command.meta.by(false),
        request_id: command.meta.request_id.clone(),
        details,
    };
    state.log.push(LogLine { scope: denial.scope.clone(), entry });
}

impl ReverseUsage {
    pub(crate) fn decide(&self, scope: &mut Scope<'_>) -> Result<Outcome, Rejection> {
        chain(&self.scope, scope)?;
        let stored = scope
            .state
            .records
            .get(&self.record_id)
            .filter(|stored| stored.record.scope == self.scope.to_string())
            .cloned()
            .ok_or_else(|| Rejection::NotFound {
                what: "usage record",
                id: self.record_id.clone(),
            })?;
        let new: NewReversal = edit::read(&self.body)?;
        let mut errors = Errors::default();
        errors.range("/quantity", new.quantity, 1, QUANTITY_MAX);
        errors.into_result()?;
        let record = &stored.record;
        let left = record.quantity.saturating_sub(record.reversed);
        if new.quantity > left {
            return Err(Rejection::ReversalExceedsRecord { requested: new.quantity, left });
        }
        let reversed = record.reversed.saturating_add(new.quantity);
        let terms = countable(&record.feature, scope.state)?;
        let charged = Charged::then(&stored.counter_id, &terms, scope);
        let mut charged = charged.expect("a record's counter is never removed");
        let counts = charged.counter.rolled_until.is_none_or(|until| record.at > until);
        if counts {
            charged.give_back(new.quantity, 0, scope);
        }
        let details = json!({
            "record_id": record.id, "feature": record.feature, "quantity": new.quantity,
        });
        let answer = Reversed {
            id: record.id.clone(),
            feature: record.feature.clone(),
            quantity: record.quantity,
            reversed,
            meter: charged.keep_given_back(scope),
        };
        log(&stored.record.scope, "usage.reversed", details, scope);
        let record = UsageRecord { reversed, ..stored.record };
        scope.state.records.put(self.record_id.clone(), StoredRecord { record, ..stored });
        Ok(Outcome::Reversed(answer))
    }
}
