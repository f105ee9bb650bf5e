//! Ending expired holds, in the commit of the next request that uses their counter.

use super::{Burns, Counter, DueHolds, StoredHold, counter::keep, hold::end};
use crate::core::{Context, Mutant, State};
use ifmatch_types::{Hold, HoldStatus as Status, Timestamp};

/// Takes the units of all expired holds from their counter, and ends the loaded ones; returns
/// whether there were any.
pub(crate) fn expire_holds(counter_id: &str, ctx: &mut Context<'_>) -> bool {
    if Mutant::KeepExpiredHolds.is_planted() {
        return false;
    }
    let Some(due) = ctx.state.entitlement().due_holds.get(counter_id).cloned() else {
        return false;
    };
    let rows = to_end(&due, ctx);
    let counter = ctx.state.entitlement().counters.get(counter_id).cloned();
    let counter = counter.filter(|counter| due.are_counted(counter));
    if rows.is_empty() && counter.is_none() {
        return false;
    }
    ctx.as_expiry(|ctx| {
        let by = ctx.meta.by(false);
        for stored in rows {
            let (status, ended_at) = (Status::Expired, Some(ctx.now));
            let hold = Hold { status, ended_at, ..stored.hold.clone() };
            end(StoredHold { hold, burns: Burns::default(), ..stored }, by.clone(), ctx);
        }
        if let Some(counter) = counter {
            give_back(counter, due, ctx);
        }
    });
    true
}

/// The loaded expired holds that have not been ended.
fn to_end(due: &DueHolds, ctx: &Context<'_>) -> Vec<StoredHold> {
    let rows = due.ids.iter().filter_map(|id| ctx.state.entitlement().holds.find(id));
    rows.filter(|stored| stored.hold.status == Status::Active).cloned().collect()
}

fn give_back(mut counter: Counter, mut due: DueHolds, ctx: &mut Context<'_>) {
    counter.burns.make_whole(due.units, ctx);
    let burnt = due.burns.units();
    due.burns.make_whole(burnt, ctx);
    counter.held = counter.held.saturating_sub(due.units).max(0);
    counter.rolling_burnt = counter.rolling_burnt.saturating_sub(burnt).max(0);
    counter.expired_until = Some(due.until);
    keep(counter, ctx);
}

impl DueHolds {
    /// Whether the counter still counts units of these holds.
    fn are_counted(&self, counter: &Counter) -> bool {
        self.units > 0 && counter.expired_until < Some(self.until)
    }

    /// Takes the units of expired holds from a counter that is only shown.
    ///
    /// Boosts that get units back have as many more left, so that only lost units lower the limit.
    pub(crate) fn hide(&self, counter: &mut Counter, now: Timestamp, state: &State) {
        if self.are_counted(counter) {
            counter.held = counter.held.saturating_sub(self.units).max(0);
            let lost = self.burns.lost(now, state);
            counter.rolling_burnt = counter.rolling_burnt.saturating_sub(lost).max(0);
        }
    }
}
