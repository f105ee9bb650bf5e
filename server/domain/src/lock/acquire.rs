//! Acquiring a lock.

use super::{
    LockName, LockRecord, Need, Outcome, OwnerSecret, Rejection,
    owner::digest,
    record::{after_ms, change, ms_between, next_fence, stamp},
    state::want_lock,
};
use crate::core::{self, Context, Errors, Wants, alive};
use ifmatch_types::{Kind, NewLock, Timestamp, Workspace};

/// Maximum time for which a lock is held without a renewal: 24 h.
pub(super) const TTL_MAX_MS: i64 = 24 * 60 * 60 * 1_000;
/// Maximum time to wait for a lock. Gateways give up after 50 to 60 s.
const WAIT_MAX_MS: i64 = 45_000;

/// Acquire a lock.
#[derive(Clone, Debug)]
pub struct AcquireLock {
    id: String,
    name: LockName,
    ttl_ms: i64,
    label: Option<String>,
    secret: OwnerSecret,
    salt: String,
}

impl AcquireLock {
    /// Acquires the lock with this name as `new` says.
    ///
    /// `salt` is what the owner token is derived from beside the secret: the Idempotency-Key with
    /// its owner, or random characters.
    ///
    /// # Errors
    ///
    /// [`Invalid`](core::Rejection::Invalid) with each wrong field.
    pub fn new(
        name: LockName,
        new: &NewLock,
        secret: OwnerSecret,
        salt: String,
    ) -> Result<Self, core::Rejection> {
        let mut errors = Errors::default();
        errors.range("/ttl_ms", new.ttl_ms, 1, TTL_MAX_MS);
        errors.range("/wait_ms", new.wait_ms, 0, WAIT_MAX_MS);
        if let Some(label) = &new.label {
            errors.text("/label", label, 0, 200);
            if label.contains(['\n', '\r', '\t']) {
                errors.push("/label", "must be a single line without tabs");
            }
        }
        errors.into_result()?;
        let label = new.label.clone();
        Ok(Self { id: name.id(), name, ttl_ms: new.ttl_ms, label, secret, salt })
    }

    /// The lock's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The lock's name.
    pub fn name(&self) -> &LockName {
        &self.name
    }

    pub(crate) fn wants(&self, wants: &mut Wants<'_, '_, Need>) {
        want_lock(&self.id, wants);
        // The workspace's row is locked once, when the lock's row is made. With each acquisition, it
        // would starve all else that locks it.
        let locks = &wants.state.lock().locks;
        if let Some(workspace_id) = &self.name.workspace_id
            && locks.is_loaded(&self.id)
            && locks.get(&self.id).is_none()
        {
            wants.reference(Kind::Workspace, workspace_id.as_str());
        }
    }

    pub(crate) fn decide(&self, ctx: &mut Context<'_>) -> Result<Outcome, Rejection> {
        self.name.see(ctx)?;
        let now = ctx.now;
        let before = ctx.state.lock().locks.get(&self.id).cloned();
        match (&before, &self.name.workspace_id) {
            (Some(lock), _) => refuse_held(lock, now)?,
            (None, Some(workspace_id)) => {
                alive::<Workspace>(workspace_id.as_str(), ctx.state).map(|_| ())?;
            }
            (None, None) => {}
        }
        let fence = next_fence(before.as_ref().map_or(0, |lock| lock.fence), now)?;
        let owner = self.secret.token(&self.id, fence, &self.salt);
        let previous_end = before.as_ref().and_then(|lock| lock.end(now));
        let lock = LockRecord {
            id: self.id.clone(),
            name: self.name.clone(),
            version: before.as_ref().map_or(0, |lock| lock.version).saturating_add(1),
            fence,
            owner_digest: digest(owner.expose()),
            label: self.label.clone(),
            acquired_at: now,
            expires_at: after_ms(now, self.ttl_ms),
            ttl_ms: self.ttl_ms,
            ended: None,
            previous_digest: before.map(|lock| lock.owner_digest),
            previous_end,
            cooldown_until: None,
            changed_by: stamp(ctx),
        };
        ctx.state.lock_mut().locks.put(self.id.clone(), lock.clone());
        let had_expired = previous_end == Some(super::LockEnd::Expired);
        Ok(Outcome::Acquired { lock, owner, is_repeat: false, had_expired, at: now })
    }

    /// Answers a repeat of the request that acquired the lock: the same grant, as it is now.
    ///
    /// The lock gets another version. The grant is claimed by it, so that it is not released when
    /// the first request's client turns out to be gone.
    pub(crate) fn repeat(&self, ctx: &mut Context<'_>) -> Result<Outcome, Rejection> {
        let now = ctx.now;
        let found = ctx.state.lock().locks.get(&self.id);
        // The answer was stored together with the row, which is mostly kept for longer.
        let is_torn = found.is_none();
        let held = found.filter(|lock| lock.is_held(now));
        // Only this request's own grant has a token that this request can derive.
        let own = held.and_then(|lock| {
            let owner = self.secret.token(&self.id, lock.fence, &self.salt);
            (lock.owner_digest == digest(owner.expose())).then_some((lock, owner))
        });
        let Some((lock, owner)) = own else {
            ctx.state.is_torn |= is_torn;
            return Err(Rejection::Lost(self.name.clone()));
        };
        let lock = change(&lock.clone(), ctx, |_| {});
        Ok(Outcome::Acquired { lock, owner, is_repeat: true, had_expired: false, at: now })
    }
}

fn refuse_held(lock: &LockRecord, now: Timestamp) -> Result<(), Rejection> {
    let free_at = Some(lock.expires_at).filter(|_| lock.is_held(now)).max(lock.cooldown(now));
    match free_at {
        Some(free_at) => Err(Rejection::Held {
            held: Box::new(lock.held(now)),
            // Rounded up, because it is still held before the end of a millisecond.
            after_ms: ms_between(now, free_at).saturating_add(1),
        }),
        None => Ok(()),
    }
}
