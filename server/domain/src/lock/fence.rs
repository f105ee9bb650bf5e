//! Fences: a write commits only if it holds the current grant of the lock that it names.

use super::{LockRecord, Need, name::id_of_fence, state::want_lock};
use crate::core::{self, Context, Fence, Mutant, Wants};

/// Requests the lock that a fence belongs to.
pub(crate) fn want_fence(fence: &Fence, wants: &mut Wants<'_, '_, Need>) {
    want_lock(&id_of_fence(fence), wants);
}

/// Refuses a command whose fence is not the one of the lock's current grant.
pub(crate) fn check_fence(fence: &Fence, ctx: &Context<'_>) -> Result<(), core::Rejection> {
    if Mutant::IgnoreFence.is_planted() {
        return Ok(());
    }
    let lock = ctx.state.lock().locks.get(&id_of_fence(fence));
    let is_held = |lock: &LockRecord| {
        lock.is_held(ctx.now) || (Mutant::TrustHolder.is_planted() && lock.ended.is_none())
    };
    let granted = lock.is_some_and(|lock| lock.fence == fence.number && is_held(lock));
    let own = ctx.meta.actor.workspace_id.as_ref().map(|own| own.as_str());
    let is_seen = own.is_none() || own == fence.workspace_id.as_deref();
    if granted && is_seen { Ok(()) } else { Err(core::Rejection::StaleFence) }
}
