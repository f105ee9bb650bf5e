//! Check and record: usage is recorded only if it fits within the limit.

use super::{
    Burns, Denial, DenialReason, Need, Outcome, Rejection, ScopeRef,
    charge::Charged,
    feature::{self, FeatureTerms},
    log::log,
    read::{want_charged_then, want_usage},
    scope::{chain, want_chain},
};
use crate::core::{self, Context, Errors, Guarded, Mutant, State, Wants, read};
use ifmatch_types::{
    FeatureType, NewReversal, NewUsage, RecordId, Recorded, Reversed, UsageRecord,
};
use serde_json::{Map, Value, json};

/// Maximum number of units in one item. Sums of many stay well within 64 bits.
pub(crate) const QUANTITY_MAX: i64 = 1_000_000_000_000;

/// Record usage if the limit has room for all of it.
#[derive(Clone, Debug)]
pub struct CheckAndRecord {
    /// The scope that uses the units.
    pub scope: ScopeRef,
    /// The request's items, each a [`NewUsage`].
    pub items: Vec<Map<String, Value>>,
    /// Whether the request was a usage batch. If so, a rejection names the refused item.
    pub is_batch: bool,
}

/// Reverse recorded usage.
#[derive(Clone, Debug)]
pub struct ReverseUsage {
    /// The scope that used the units.
    pub scope: ScopeRef,
    /// The record's id.
    pub record_id: String,
    /// The request's body, a [`NewReversal`].
    pub body: Map<String, Value>,
}

/// A usage record as it is stored, with fields that the API does not show.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredRecord {
    /// The record as the API shows it.
    pub record: UsageRecord,
    /// The key of the counter that was charged.
    pub counter_id: String,
    /// Whether it was recorded in a rolling window, which it leaves later.
    pub is_rolling: bool,
    /// What was burnt for it; only in a rolling window.
    pub burns: Burns,
}

impl Guarded for StoredRecord {
    fn guard(&self) -> i64 {
        self.record.reversed.saturating_add(1)
    }
}

impl CheckAndRecord {
    pub(crate) fn wants<'c>(&'c self, wants: &mut Wants<'_, 'c, Need>) {
        let features = self.items.iter().filter_map(|item| item.get("feature")?.as_str());
        want_usage(&self.scope, features, wants);
    }

    pub(crate) fn decide(&self, ctx: &mut Context<'_>) -> Result<Outcome, Rejection> {
        let chain = chain(&self.scope, ctx)?;
        let mut items = Vec::with_capacity(self.items.len());
        for (index, item) in self.items.iter().enumerate() {
            let item = Item::read(item, ctx.state);
            items.push(item.map_err(|rejection| self.of_item(index, rejection))?);
        }
        let before = ctx.state.checkpoint();
        let mut recorded = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            match record(&chain, item, ctx) {
                Ok(one) => recorded.push(one),
                Err(Rejection::Denied(denial)) if self.is_batch => {
                    ctx.state.rollback(&before);
                    let wanted = items.get(..=index).unwrap_or_default();
                    let denial = of_batch(*denial, wanted, &chain, ctx);
                    return Err(self.of_item(index, Rejection::Denied(Box::new(denial))));
                }
                Err(rejection) => return Err(self.of_item(index, rejection)),
            }
        }
        Ok(Outcome::Usage { recorded, is_batch: self.is_batch })
    }

    /// The rejection of one item. For a batch it has the item's index and full field paths.
    fn of_item(&self, failed_index: usize, rejection: Rejection) -> Rejection {
        if !self.is_batch {
            return rejection;
        }
        let rejection = Box::new(rejection.within(&format!("/items/{failed_index}")));
        Rejection::Item { failed_index, rejection }
    }
}

/// A valid item.
struct Item {
    new: NewUsage,
    terms: FeatureTerms,
}

impl Item {
    fn read(item: &Map<String, Value>, state: &State) -> Result<Self, Rejection> {
        let new: NewUsage = read(item)?;
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
    ctx: &mut Context<'_>,
) -> Result<Recorded, Rejection> {
    let of = chain.first().expect("a chain begins with the scope itself");
    let mut charged = Charged::now(chain, terms, ctx);
    admit(&charged, of, terms, new.quantity, new.quantity)?;
    let mut burns = Burns::default();
    if !Mutant::RecordWithoutCounting.is_planted() {
        burns = charged.take(new.quantity, 0, ctx)?;
    }
    let (id, feature, quantity) = (fresh_record_id(ctx), new.feature.clone(), new.quantity);
    store(&id, of, &charged, (feature.clone(), quantity, new.metadata.clone()), burns, ctx);
    Ok(Recorded { id, feature, quantity, meter: charged.keep(ctx) })
}

/// The denial of a usage batch whose last item here was denied.
///
/// Nothing of the batch is recorded. The denial therefore shows the pool without the batch, and all
/// units that the batch requested from it so far.
fn of_batch(denial: Denial, items: &[Item], chain: &[ScopeRef], ctx: &mut Context<'_>) -> Denial {
    let Some(refused) = items.last() else { return denial };
    let charged = Charged::now(chain, &refused.terms, ctx);
    let counter_of =
        |item: &Item| Charged::of_chain(chain, &item.terms, ctx.now, ctx.state).counter.id;
    let requested = items
        .iter()
        .filter(|item| counter_of(item) == charged.counter.id)
        .fold(0i64, |sum, item| sum.saturating_add(item.new.quantity));
    Denial { requested, meter: charged.meter(), ..denial }
}

pub(crate) fn fresh_record_id(ctx: &mut Context<'_>) -> RecordId {
    RecordId::from_unchecked(ctx.ids.fresh(RecordId::PREFIX))
}

/// Stores a record of units that were taken.
pub(crate) fn store(
    id: &RecordId,
    of: &ScopeRef,
    charged: &Charged,
    (feature, quantity, metadata): (String, i64, ifmatch_types::Metadata),
    burns: Burns,
    ctx: &mut Context<'_>,
) {
    let record = UsageRecord {
        id: id.clone(),
        scope: of.to_string(),
        charged_scope: charged.counter.scope.clone(),
        feature,
        quantity,
        reversed: 0,
        metadata,
        at: ctx.now,
        by: ctx.meta.by(false),
        request_id: ctx.meta.request_id.clone(),
    };
    let counter_id = charged.counter.id.clone();
    let stored = StoredRecord { record, counter_id, is_rolling: charged.is_rolling(), burns };
    ctx.state.entitlement_mut().records.put(id.to_string(), stored);
}

/// The terms of a feature with countable units; refuses a boolean feature.
pub(crate) fn countable(code: &str, state: &State) -> Result<FeatureTerms, Rejection> {
    let terms = feature::named("/feature", code, state)?;
    if terms.feature_type == FeatureType::Boolean {
        let message = "is a boolean feature, which has no units to use";
        return Err(core::Rejection::invalid("/feature", message).into());
    }
    Ok(terms)
}

/// Admits `more` units, or denies the request for `requested` units.
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

impl ReverseUsage {
    pub(crate) fn wants(&self, wants: &mut Wants<'_, '_, Need>) {
        if want_chain(&self.scope, wants).is_none() {
            return;
        }
        let records = &wants.state.entitlement().records;
        if !records.is_loaded(&self.record_id) {
            return wants.push(Need::Record(self.record_id.clone()));
        }
        if let Some(stored) = records.original(&self.record_id) {
            let feature = &stored.record.feature;
            want_charged_then(&self.scope, feature, &stored.counter_id, &stored.burns, wants);
        }
    }

    pub(crate) fn decide(&self, ctx: &mut Context<'_>) -> Result<Outcome, Rejection> {
        chain(&self.scope, ctx)?;
        let stored = ctx
            .state
            .entitlement()
            .records
            .get(&self.record_id)
            .filter(|stored| stored.record.scope == self.scope.to_string())
            .cloned()
            .ok_or_else(|| core::Rejection::NotFound {
                what: "usage record",
                id: self.record_id.clone(),
            })?;
        let new: NewReversal = read(&self.body)?;
        let mut errors = Errors::default();
        errors.range("/quantity", new.quantity, 1, QUANTITY_MAX);
        errors.into_result()?;
        let record = &stored.record;
        let terms = countable(&record.feature, ctx.state)?;
        if !terms.releasable {
            return Err(Rejection::FeatureNotReleasable { feature: terms.code });
        }
        let left = record.quantity.saturating_sub(record.reversed);
        if new.quantity > left {
            return Err(Rejection::ReversalExceedsRecord { requested: new.quantity, left });
        }
        let reversed = record.reversed.saturating_add(new.quantity);
        let charged = Charged::then(&stored.counter_id, &terms, ctx);
        let mut charged = charged.expect("a record's counter is never removed");
        let mut burns = stored.burns.clone();
        let stays = record.quantity.saturating_sub(reversed);
        if charged.counter.rolled_until.is_none_or(|until| record.at > until) {
            charged.give_back(new.quantity, 0, (&mut burns, stays), ctx);
        } else {
            // It has left the window together with what it burnt. Only its boosts get units back.
            burns.make_whole(new.quantity, ctx);
            burns.shorten(stays);
        }
        let details = json!({
            "record_id": record.id, "feature": record.feature, "quantity": new.quantity,
        });
        let answer = Reversed {
            id: record.id.clone(),
            feature: record.feature.clone(),
            quantity: record.quantity,
            reversed,
            meter: charged.keep_given_back(ctx),
        };
        log(&stored.record.scope, "usage.reversed", details, ctx);
        let record = UsageRecord { reversed, ..stored.record };
        ctx.state
            .entitlement_mut()
            .records
            .put(self.record_id.clone(), StoredRecord { record, burns, ..stored });
        Ok(Outcome::Reversed(answer))
    }
}
