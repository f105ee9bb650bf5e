//! What the owner of a grant does with it: release, extend, renew.

use super::{
    LockEnd, LockName, LockRecord, Need, Outcome, Rejection,
    acquire::TTL_MAX_MS,
    record::{after_ms, change},
    state::want_lock,
};
use crate::core::{self, Context, Errors, Wants};
use ifmatch_types::Timestamp;

/// Release a lock.
#[derive(Clone, Debug)]
pub struct ReleaseLock(Owned);

/// Renew a grant: it lasts as long as it was asked for, from now on.
#[derive(Clone, Debug)]
pub struct RenewLock(Owned);

/// Let a grant expire later.
#[derive(Clone, Debug)]
pub struct ExtendLock {
    owned: Owned,
    additional_ms: i64,
}

/// A lock, with the token by which the caller says that it owns it.
#[derive(Clone)]
struct Owned {
    id: String,
    name: LockName,
    owner: String,
}

impl std::fmt::Debug for Owned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.id)
    }
}

impl Owned {
    fn new(name: LockName, owner: String) -> Result<Self, core::Rejection> {
        let mut errors = Errors::default();
        errors.text("/owner", &owner, 1, 200);
        errors.into_result()?;
        Ok(Self { id: name.id(), name, owner })
    }

    /// The lock, if the caller holds it.
    fn held(&self, ctx: &Context<'_>) -> Result<LockRecord, Rejection> {
        self.name.see(ctx)?;
        let lock = ctx.state.lock().locks.get(&self.id);
        let lock = lock.ok_or_else(|| Rejection::NotFound(self.name.clone()))?;
        lock.refuse_other_owner(&self.owner, ctx.now)?;
        Ok(lock.clone())
    }
}

/// Changes when a grant expires; it never expires earlier.
fn prolong(lock: &LockRecord, until: Timestamp, ctx: &mut Context<'_>) -> Outcome {
    let lock = change(lock, ctx, |lock| lock.expires_at = lock.expires_at.max(until));
    Outcome::Renewed { lock, at: ctx.now }
}

impl ReleaseLock {
    /// Releases the lock with this name, which the owner of this token holds.
    ///
    /// # Errors
    ///
    /// [`Invalid`](core::Rejection::Invalid) if the token cannot be one.
    pub fn new(name: LockName, owner: String) -> Result<Self, core::Rejection> {
        Owned::new(name, owner).map(Self)
    }

    /// The lock's id.
    pub fn id(&self) -> &str {
        &self.0.id
    }

    pub(crate) fn wants(&self, wants: &mut Wants<'_, '_, Need>) {
        want_lock(&self.0.id, wants);
    }

    pub(crate) fn decide(&self, ctx: &mut Context<'_>) -> Result<Outcome, Rejection> {
        let held = self.0.held(ctx)?;
        let lock = change(&held, ctx, |lock| lock.ended = Some(LockEnd::Released));
        Ok(Outcome::Released { lock, at: ctx.now })
    }
}

impl RenewLock {
    /// Renews the grant of the lock with this name, which the owner of this token holds.
    ///
    /// # Errors
    ///
    /// [`Invalid`](core::Rejection::Invalid) if the token cannot be one.
    pub fn new(name: LockName, owner: String) -> Result<Self, core::Rejection> {
        Owned::new(name, owner).map(Self)
    }

    /// The lock's id.
    pub fn id(&self) -> &str {
        &self.0.id
    }

    pub(crate) fn wants(&self, wants: &mut Wants<'_, '_, Need>) {
        want_lock(&self.0.id, wants);
    }

    pub(crate) fn decide(&self, ctx: &mut Context<'_>) -> Result<Outcome, Rejection> {
        let held = self.0.held(ctx)?;
        Ok(prolong(&held, after_ms(ctx.now, held.ttl_ms), ctx))
    }
}

impl ExtendLock {
    /// Extends the grant of the lock with this name, which the owner of this token holds.
    ///
    /// # Errors
    ///
    /// [`Invalid`](core::Rejection::Invalid) with each wrong field.
    pub fn new(name: LockName, owner: String, additional_ms: i64) -> Result<Self, core::Rejection> {
        if additional_ms < 1 {
            let message = format!("must be at least 1, but is {additional_ms}");
            return Err(core::Rejection::invalid("/additional_ms", message));
        }
        Ok(Self { owned: Owned::new(name, owner)?, additional_ms })
    }

    /// The lock's id.
    pub fn id(&self) -> &str {
        &self.owned.id
    }

    pub(crate) fn wants(&self, wants: &mut Wants<'_, '_, Need>) {
        want_lock(&self.owned.id, wants);
    }

    pub(crate) fn decide(&self, ctx: &mut Context<'_>) -> Result<Outcome, Rejection> {
        let held = self.owned.held(ctx)?;
        let too_long = Rejection::TtlExceedsMaximum { path: "/additional_ms" };
        // Beyond the maximum by itself, and perhaps beyond the range of instants.
        if self.additional_ms > TTL_MAX_MS {
            return Err(too_long);
        }
        let until = after_ms(held.expires_at, self.additional_ms);
        if until > after_ms(ctx.now, TTL_MAX_MS) {
            return Err(too_long);
        }
        Ok(prolong(&held, until, ctx))
    }
}
