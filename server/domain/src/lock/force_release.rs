//! Taking a lock away from its holder.

use super::{
    LockEnd, LockName, Need, Outcome, Rejection,
    acquire::TTL_MAX_MS,
    record::{after_ms, change, next_fence},
    state::want_lock,
};
use crate::core::{self, Context, Errors, Wants, plain_audit};
use ifmatch_types::{AuditResource, LockForceRelease, merge};
use serde_json::json;

/// The type of the audit record.
pub const FORCE_RELEASE: &str = "force_release";

/// Take a lock away from its holder.
#[derive(Clone, Debug)]
pub struct ForceReleaseLock {
    id: String,
    name: LockName,
    reason: String,
    cooldown_ms: i64,
}

impl ForceReleaseLock {
    /// Takes the lock with this name away, as `force` says.
    ///
    /// # Errors
    ///
    /// [`Invalid`](core::Rejection::Invalid) with each wrong field.
    pub fn new(name: LockName, force: &LockForceRelease) -> Result<Self, core::Rejection> {
        let mut errors = Errors::default();
        errors.text("/reason", &force.reason, 1, 500);
        errors.range("/cooldown_ms", force.cooldown_ms, 0, TTL_MAX_MS);
        errors.into_result()?;
        let (reason, cooldown_ms) = (force.reason.clone(), force.cooldown_ms);
        Ok(Self { id: name.id(), name, reason, cooldown_ms })
    }

    /// The lock's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    pub(crate) fn wants(&self, wants: &mut Wants<'_, '_, Need>) {
        want_lock(&self.id, wants);
    }

    pub(crate) fn decide(&self, ctx: &mut Context<'_>) -> Result<Outcome, Rejection> {
        let now = ctx.now;
        let held = ctx.state.lock().locks.get(&self.id).filter(|lock| lock.is_held(now));
        let held = held.cloned().ok_or_else(|| Rejection::NotFound(self.name.clone()))?;
        let fence = next_fence(held.fence, now)?;
        let cooldown_until = (self.cooldown_ms > 0).then(|| after_ms(now, self.cooldown_ms));
        let lock = change(&held, ctx, |lock| {
            lock.fence = fence;
            lock.ended = Some(LockEnd::Forced);
            lock.cooldown_until = cooldown_until;
        });
        let resource = AuditResource { resource_type: "lock".to_owned(), id: self.id.clone() };
        let reason = Some(self.reason.clone());
        let mut record = plain_audit(FORCE_RELEASE, Some(resource), reason, ctx);
        let (before, after) = (held.show(now, 0), lock.show(now, 0));
        let shown = |lock: &ifmatch_types::Lock| {
            json!({
                "locked": lock.locked,
                "label": lock.label,
                "fence": lock.fence,
                "expires_at": lock.expires_at,
                "cooldown_until": lock.cooldown_until,
            })
        };
        record.changes = merge::diff(&shown(&before), &shown(&after));
        ctx.state.audits.push(record);
        Ok(Outcome::ForceReleased { lock, at: now })
    }
}
