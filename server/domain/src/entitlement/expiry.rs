//! Expiry of holds, assignments and boosts.

use super::{
    AssignmentRecord, BoostRecord, Need, Outcome, Rejection, ScopeRef,
    counter::{want_burnt, want_due_holds},
    overdue::expire_holds,
    scope::{want_chain, want_holdings},
};
use crate::core::{Context, Wants, change_internally, keep_internally};

/// How long a fully consumed boost is still loaded, in microseconds: its units may be given back.
pub const BURNT_OUT_KEPT_US: i64 = 62 * 86_400_000_000;

/// Maximum number of counters of a scope whose expired holds are ended in one commit.
pub(crate) const COUNTERS_AT_ONCE: usize = 8;

/// End expired holds, assignments and boosts of a scope.
///
/// One commit ends a limited number of holds; the outcome reports whether more are left. Decisions
/// do not depend on this command, because they compare end dates with the clock. It makes the ends
/// visible to readers.
#[derive(Clone, Debug)]
pub struct ExpireEntitlements {
    /// The scope.
    pub scope: ScopeRef,
}

impl ExpireEntitlements {
    pub(crate) fn wants(&self, wants: &mut Wants<'_, '_, Need>) {
        let Some(chain) = want_chain(&self.scope, wants) else { return };
        want_holdings(&chain, wants);
        let Some(now) = wants.clock() else { return };
        let scope = self.scope.to_string();
        let entitlement = wants.state.entitlement();
        let Some(counters) = entitlement.due_counters.get(&scope) else {
            return wants.push(Need::DueCounters(scope, now));
        };
        for key in counters.iter().take(COUNTERS_AT_ONCE) {
            if !entitlement.counters.is_loaded(key) {
                wants.push(Need::Counter(key.clone()));
            } else if let Some(counter) = entitlement.counters.original(key) {
                want_due_holds(counter, now, wants);
                want_burnt(&counter.scope, &counter.burns, wants);
            }
        }
    }

    pub(crate) fn decide(&self, ctx: &mut Context<'_>) -> Result<Outcome, Rejection> {
        // A deleted scope is not refused, because its holds, assignments and boosts expire too.
        let of = self.scope.to_string();
        let due = ctx.state.entitlement().due_counters.get(&of).cloned().unwrap_or_default();
        let mut more = due.len() > COUNTERS_AT_ONCE;
        for counter_id in due.iter().take(COUNTERS_AT_ONCE) {
            expire_holds(counter_id, ctx);
            more |= ctx.state.entitlement().due_holds.get(counter_id).is_some_and(|due| due.is_cut);
        }
        let holdings = ctx.state.entitlement().holdings.find(&of).cloned().unwrap_or_default();
        for id in &holdings.assignments {
            let Some(row) = ctx.state.entitlement().assignments.find(id) else { continue };
            let before: AssignmentRecord = row.record.clone();
            let Some(end) = before.ends_by(ctx.now) else { continue };
            ctx.as_expiry(|ctx| {
                let ended = before.ended(end, ctx);
                change_internally(ended, before, ctx);
            });
        }
        for id in &holdings.boosts {
            let Some(row) = ctx.state.entitlement().boosts.find(id) else { continue };
            let record = row.record.clone();
            let since_us = ctx.now.as_micros().saturating_sub(record.boost.updated_at.as_micros());
            let burnt_out =
                record.is_consumable() && record.left() <= 0 && since_us > BURNT_OUT_KEPT_US;
            if !record.is_over && (burnt_out || !record.counts(ctx.now)) {
                keep_internally(BoostRecord { is_over: true, ..record }, ctx);
            }
        }
        Ok(Outcome::Expired { more })
    }
}
