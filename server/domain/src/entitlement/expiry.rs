//! What time brings about: holds, assignments and boosts that are over.

use super::{ScopeRef, assignment::AssignmentRecord, hold};
use crate::{
    Actor, Meta, Outcome, Rejection, Scope,
    versioned::{change_internally, keep_internally},
};
use ifmatch_types::{ApiKeyId, Source};

/// As whom it is recorded that something's time was over.
const EXPIRY: &str = "expiry";
/// A consumable that is burnt out is looked at for so long, in microseconds: what it was burnt for
/// may be given back.
pub const BURNT_OUT_KEPT_US: i64 = 62 * 86_400_000_000;

/// Of so many counters a scope's holds are ended in one commit.
pub(crate) const COUNTERS_AT_ONCE: usize = 8;

/// End what is over in a scope: of very many holds a slice, and say whether there are more.
///
/// Nobody waits for it: every decision looks at the clock itself. It makes the ends visible.
#[derive(Clone, Debug)]
pub struct ExpireEntitlements {
    /// Whose.
    pub scope: ScopeRef,
}

impl ExpireEntitlements {
    pub(crate) fn decide(&self, scope: &mut Scope<'_>) -> Result<Outcome, Rejection> {
        // Of a deleted scope, too: what it had is over as anybody else's.
        let of = self.scope.to_string();
        let due = scope.state.due_counters.get(&of).cloned().unwrap_or_default();
        let mut more = due.len() > COUNTERS_AT_ONCE;
        for counter_id in due.iter().take(COUNTERS_AT_ONCE) {
            expire_holds(counter_id, scope);
            more |= scope.state.due_holds.get(counter_id).is_some_and(|due| due.rest > 0);
        }
        let holdings = scope.state.holdings.get(&of).cloned().unwrap_or_default();
        for id in &holdings.assignments {
            let Some(row) = scope.state.assignments.find(id) else { continue };
            let before: AssignmentRecord = row.record.clone();
            let Some(end) = before.ends_by(scope.now) else { continue };
            on_nobodys_behalf(scope, |scope| {
                let ended = before.ended(end, scope);
                change_internally(ended, before, scope);
            });
        }
        for id in &holdings.boosts {
            let Some(row) = scope.state.boosts.find(id) else { continue };
            let record = row.record.clone();
            let since_us =
                scope.now.as_micros().saturating_sub(record.boost.updated_at.as_micros());
            let burnt_out =
                record.is_consumable() && record.left() <= 0 && since_us > BURNT_OUT_KEPT_US;
            if !record.is_over && (burnt_out || !record.counts(scope.now)) {
                keep_internally(super::BoostRecord { is_over: true, ..record }, scope);
            }
        }
        Ok(Outcome::Expired { more })
    }
}

/// Ends holds of a counter that nobody settled in time, as many as were loaded; says whether there
/// were any. What the rest holds counts no more: see [`Charged`](super::pool::Charged).
pub(crate) fn expire_holds(counter_id: &str, scope: &mut Scope<'_>) -> bool {
    let due = hold::due(counter_id, scope);
    if due.is_empty() {
        return false;
    }
    on_nobodys_behalf(scope, |scope| {
        let by = scope.meta.by(false);
        hold::expire(due, counter_id, &by, scope);
    });
    true
}

/// Does what time brings about, whoever came across it.
pub(crate) fn on_nobodys_behalf(scope: &mut Scope<'_>, work: impl FnOnce(&mut Scope<'_>)) {
    let meta = Meta {
        actor: Actor { key_id: ApiKeyId::default(), name: EXPIRY.to_owned() },
        on_behalf_of: None,
        source: Source::Worker,
        request_id: scope.meta.request_id.clone(),
    };
    let (now, ids) = (scope.now, scope.ids.clone());
    let mut inner = Scope { state: scope.state, now, ids, meta: &meta, force: None };
    work(&mut inner);
    scope.ids = inner.ids;
}
