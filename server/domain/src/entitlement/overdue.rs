//! Ending expired holds, in the commit of the next request that uses their counter.

use super::{Counter, StoredHold, burn::give_back, counter::keep, hold::end, limit::limit_of};
use crate::core::{Context, Mutant};
use ifmatch_types::{By, Hold, HoldStatus as Status};

/// Ends the loaded expired holds of a counter; returns whether there were any.
///
/// Decisions do not count the rest: see [`Charged`](super::charge::Charged).
pub(crate) fn expire_holds(counter_id: &str, ctx: &mut Context<'_>) -> bool {
    let due = due(counter_id, ctx);
    if due.is_empty() {
        return false;
    }
    ctx.as_expiry(|ctx| {
        let by = ctx.meta.by(false);
        expire(due, counter_id, &by, ctx);
    });
    true
}

/// The loaded expired holds of a counter.
fn due(counter_id: &str, ctx: &Context<'_>) -> Vec<StoredHold> {
    if Mutant::KeepExpiredHolds.is_planted() {
        return Vec::new();
    }
    let due = ctx.state.entitlement().due_holds.get(counter_id);
    let members = due.into_iter().flat_map(|due| &due.ids);
    let is_due = |stored: &&StoredHold| {
        stored.hold.status == Status::Active && !stored.hold.is_active(ctx.now)
    };
    members
        .filter_map(|id| ctx.state.entitlement().holds.find(id))
        .filter(is_due)
        .cloned()
        .collect()
}

/// Ends expired holds of a counter and frees their units.
fn expire(due: Vec<StoredHold>, counter_id: &str, by: &By, ctx: &mut Context<'_>) {
    let Some(mut counter) = ctx.state.entitlement().counters.get(counter_id).cloned() else {
        return;
    };
    for stored in due {
        give_back_held(&mut counter, stored.hold.quantity, ctx);
        let hold = Hold { status: Status::Expired, ended_at: Some(ctx.now), ..stored.hold.clone() };
        end(StoredHold { hold, ..stored }, by.clone(), ctx);
    }
    keep(counter, ctx);
}

fn give_back_held(counter: &mut Counter, held: i64, ctx: &mut Context<'_>) {
    let limit = limit_of(&counter.scope, &counter.pool, ctx.now, ctx.state);
    give_back(counter, 0, held, &limit, ctx);
}
