//! Computes the periods of a stored subscription anew, from its first terms on.

use super::{SubscriptionRecord, terms::Prices};
use crate::core::{Actor, Context, Ids, Meta, State};
use ifmatch_types::{Source, Timestamp};
use uuid::Uuid;

/// What a stored subscription breaks of the rules that periods, costs and charges follow.
///
/// Its row, all its terms, all its charges and the terms of their plans must be loaded.
pub fn recheck(id: &str, state: &mut State) -> Option<&'static str> {
    let record = state.billing().subscriptions.get(id)?.record.clone();
    let meta = Meta {
        actor: Actor::without_key("verify"),
        on_behalf_of: None,
        source: Source::Cli,
        request_id: String::new(),
        key_digest: None,
    };
    let ids = Ids::from_seed(Uuid::nil());
    let ctx = Context { state, now: Timestamp::MIN, ids, meta: &meta, force: None };
    let at = record.subscription.ended_at.unwrap_or(record.reached_at);
    let from_the_first = SubscriptionRecord { settled_at: None, ..record.clone() };
    let Ok(all) = from_the_first.periods(at, None, &ctx) else {
        return Some("the periods of a subscription are within the calendar");
    };
    let terms = ctx.state.billing().terms.get(id)?;
    let prices = Prices::of(&terms.segments, &ctx);
    let charges = ctx.state.billing().charges.get(id)?;
    if !charges.belong_to(&all.all) {
        return Some("what is charged for a subscription is charged for one of its periods");
    }
    let settled_at = record.settled_at?;
    let from_settled = record.periods(at, None, &ctx).ok()?;
    let is_later =
        all.all.iter().skip_while(|period| period.start < settled_at || period.is_record);
    if !is_later.eq(&from_settled.all) {
        return Some("a subscription's settled period is one of its periods");
    }
    let owed = charges.differences(&all.all, &prices).ok()?;
    owed.iter()
        .any(|difference| difference.period_start < settled_at)
        .then_some("what is settled of a subscription is charged as it costs")
}
