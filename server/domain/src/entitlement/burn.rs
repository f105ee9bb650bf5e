//! Consumable boosts: burning their units for a counter, and restoring them.
//!
//! To burn a unit is to consume it for the usage of a counter's window.

use super::{
    BoostRecord, Counter,
    limit::{Limit, burn_order},
};
use crate::core::{Context, State, change_internally};

/// The number of units in expired holds of a counter that later commits end.
pub(crate) fn overdue(counter_id: &str, state: &State) -> i64 {
    state.entitlement().due_holds.get(counter_id).map_or(0, |due| due.rest)
}

/// Gives units of a counter back and restores the boost units that were burnt for them.
pub(crate) fn give_back(
    counter: &mut Counter,
    used: i64,
    held: i64,
    limit: &Limit,
    ctx: &mut Context<'_>,
) {
    counter.used = counter.used.saturating_sub(used).max(0);
    counter.held = counter.held.saturating_sub(held).max(0);
    let given_back = used.saturating_add(held);
    // Expired holds that later commits end need no units.
    let overdue = overdue(&counter.id, ctx.state);
    let still_needed = limit.uncovered(counter.used, counter.held.saturating_sub(overdue).max(0));
    let burnt = counter.burns.values().fold(0i64, |sum, burnt| sum.saturating_add(*burnt));
    let mut whole_again = burnt.saturating_sub(still_needed).min(given_back);
    let mut burns: Vec<BoostRecord> = Vec::new();
    for id in counter.burns.keys() {
        // An expired boost gets no units back, even if its end is not stored yet. Its units stay
        // burnt for this window.
        let row = ctx.state.entitlement().boosts.find(id).filter(|row| row.record.counts(ctx.now));
        burns.extend(row.map(|row| row.record.clone()));
    }
    burns.sort_by(|a, b| burn_order(b).cmp(&burn_order(a)));
    for record in burns {
        let id = record.boost.id.as_str();
        let Some(burnt) = counter.burns.get_mut(id) else { continue };
        let back = whole_again.min(*burnt);
        if back <= 0 {
            continue;
        }
        whole_again = whole_again.saturating_sub(back);
        *burnt = burnt.saturating_sub(back);
        if *burnt == 0 {
            counter.burns.remove(id);
        }
        consume(id, back.saturating_neg(), ctx);
    }
}

/// Forgets the units burnt for usage that has left a rolling window. They stay consumed.
pub(crate) fn forget_burns(counter: &mut Counter, left: i64, limit: &Limit, state: &State) {
    let still_needed = limit.uncovered(counter.used, counter.held);
    let burnt = counter.burns.values().fold(0i64, |sum, burnt| sum.saturating_add(*burnt));
    let mut forgotten = burnt.saturating_sub(still_needed).min(left);
    let mut ids: Vec<String> = counter.burns.keys().cloned().collect();
    // Boosts leave in the order in which they burn. Those not loaded have expired and come first.
    ids.sort_by_key(|id| {
        let record = state.entitlement().boosts.find(id).map(|row| &row.record);
        record.map(burn_order).map(|(priority, expiry, age, _)| (priority, expiry, age))
    });
    for id in ids {
        let Some(burnt) = counter.burns.get_mut(&id) else { continue };
        let gone = forgotten.min(*burnt).max(0);
        forgotten = forgotten.saturating_sub(gone);
        *burnt = burnt.saturating_sub(gone);
        if *burnt == 0 {
            counter.burns.remove(&id);
        }
    }
}

/// Burns units of a boost; a negative number restores units.
pub(crate) fn consume(boost_id: &str, units: i64, ctx: &mut Context<'_>) {
    let row = ctx
        .state
        .entitlement()
        .boosts
        .get(boost_id)
        .expect("only boosts that were found are burnt");
    let before = row.record.clone();
    let mut record = before.clone();
    record.boost.consumed = record.boost.consumed.saturating_add(units);
    change_internally(record, before, ctx);
}
