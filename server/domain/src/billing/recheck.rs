//! Computes the periods of a stored subscription anew, from its first terms on.

use super::{
    Rejection, SubscriptionRecord,
    period::{Part, Period, Periods, overflow},
    terms::Prices,
};
use crate::core::{Actor, Context, Ids, Meta, State};
use ifmatch_types::{BillingPeriod, BillingSegment, Source, Timestamp, integer::is_exact};
use uuid::Uuid;

/// What a stored subscription breaks of the rules that periods, costs and charges follow.
///
/// Its row, all its terms, all its charges and the terms of their plans must be loaded.
pub fn recheck(id: &str, state: &mut State) -> Option<&'static str> {
    let record = state.billing().subscriptions.get(id)?.record.clone();
    reading(state, |ctx| broken(&record, ctx))
}

/// The periods of a subscription that have begun, oldest first. What must be loaded is the same.
///
/// # Errors
///
/// If a period would end after the last supported date, or costs more than an integer of the API.
pub fn periods_of(id: &str, state: &mut State) -> Result<Vec<BillingPeriod>, Rejection> {
    let Some(row) = state.billing().subscriptions.get(id) else { return Ok(Vec::new()) };
    let record = row.record.clone();
    reading(state, |ctx| {
        let (all, prices) = from_the_first(&record, ctx)?;
        let charges = ctx.state.billing().charges.get(id);
        let told = |period: &Period| {
            let costs = period.costs(&prices)?;
            let segment = |(part, cost): &(&Part, i64)| BillingSegment {
                start: part.at,
                plan_id: part.plan_id.clone(),
                quantity: part.quantity,
                cost: *cost,
            };
            let cost = costs.iter().fold(0i64, |sum, (_, cost)| sum.saturating_add(*cost));
            if !is_exact(cost) {
                return Err(overflow());
            }
            Ok(BillingPeriod {
                start: period.start,
                end: period.end,
                cost,
                charged: charges.map_or(0, |charges| charges.charged_for(period.start)),
                segments: costs.iter().map(segment).collect(),
            })
        };
        all.all.iter().map(told).collect()
    })
}

/// Runs a computation that only reads.
fn reading<T>(state: &mut State, work: impl FnOnce(&Context<'_>) -> T) -> T {
    let meta = Meta {
        actor: Actor::without_key("verify"),
        on_behalf_of: None,
        source: Source::Cli,
        request_id: String::new(),
        key_digest: None,
    };
    let ids = Ids::from_seed(Uuid::nil());
    work(&Context { state, now: Timestamp::MIN, ids, meta: &meta, force: None })
}

/// All periods of a subscription, and the prices of its plans.
fn from_the_first(
    record: &SubscriptionRecord,
    ctx: &Context<'_>,
) -> Result<(Periods, Prices), Rejection> {
    let at = record.subscription.ended_at.unwrap_or(record.reached_at);
    let whole = SubscriptionRecord { settled_at: None, ..record.clone() };
    let terms = ctx.state.billing().terms.get(record.subscription.id.as_str());
    let segments = terms.map(|terms| terms.segments.as_slice()).unwrap_or_default();
    Ok((whole.periods(at, None, ctx)?, Prices::of(segments, ctx)))
}

fn broken(record: &SubscriptionRecord, ctx: &Context<'_>) -> Option<&'static str> {
    let Ok((all, prices)) = from_the_first(record, ctx) else {
        return Some("the periods of a subscription are within the calendar");
    };
    let charges = ctx.state.billing().charges.get(record.subscription.id.as_str())?;
    if !charges.belong_to(&all.all) {
        return Some("what is charged for a subscription is charged for one of its periods");
    }
    let settled_at = record.settled_at?;
    let unsettled = Some("a subscription's settled period is one of its periods");
    let terms = ctx.state.billing().terms.get(record.subscription.id.as_str())?;
    if !terms.segments.iter().any(|segment| record.settled_segment == Some(segment.seq)) {
        return unsettled;
    }
    let at = record.subscription.ended_at.unwrap_or(record.reached_at);
    let from_settled = record.periods(at, None, ctx).ok()?;
    let is_later =
        all.all.iter().skip_while(|period| period.start < settled_at || period.is_record);
    if !is_later.eq(&from_settled.all) {
        return unsettled;
    }
    let owed = charges.differences(&all.all, &prices).ok()?;
    owed.iter()
        .any(|difference| difference.period_start < settled_at)
        .then_some("what is settled of a subscription is charged as it costs")
}
