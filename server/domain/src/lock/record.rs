//! A lock as it is stored: its latest grant, and how the one before ended.

use super::{LockName, Rejection, owner::digest};
use crate::core::{self, Context, Guarded};
use ifmatch_types::{INTEGER_MAX, Lock, LockHeld, LockRenewal, Timestamp};

/// How a grant ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockEnd {
    /// Its time was over.
    Expired,
    /// Its owner released it.
    Released,
    /// An admin released it.
    Forced,
}

impl LockEnd {
    /// The name in the database.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Released => "released",
            Self::Forced => "forced",
        }
    }

    /// The end with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Expired, Self::Released, Self::Forced].into_iter().find(|end| end.name() == name)
    }

    /// Whether the owner did not end the grant itself.
    const fn is_loss(self) -> bool {
        matches!(self, Self::Expired | Self::Forced)
    }
}

/// A lock as it is stored. It outlives its grants, so that its fence only grows.
#[derive(Clone, Debug, PartialEq)]
pub struct LockRecord {
    /// The lock's [`id`](LockName::id).
    pub id: String,
    /// The lock's name.
    pub name: LockName,
    /// 1 at the first grant, and one more with each change.
    pub version: i64,
    /// The number of the latest grant or forced release.
    pub fence: i64,
    /// The digest of the latest grant's owner token.
    pub owner_digest: String,
    /// How the latest grant's owner describes itself.
    pub label: Option<String>,
    /// When the latest grant began.
    pub acquired_at: Timestamp,
    /// When the latest grant ends or has ended by itself.
    pub expires_at: Timestamp,
    /// The time that the latest grant was asked for, and is renewed for.
    pub ttl_ms: i64,
    /// How the latest grant ended before it expired.
    pub ended: Option<LockEnd>,
    /// The digest of the owner token of the grant before.
    pub previous_digest: Option<String>,
    /// How the grant before ended.
    pub previous_end: Option<LockEnd>,
    /// Until when nobody can acquire the lock.
    pub cooldown_until: Option<Timestamp>,
    /// A text that only one run of the command that made this version stores.
    pub changed_by: String,
}

impl Guarded for LockRecord {
    fn guard(&self) -> i64 {
        self.version
    }
}

impl LockRecord {
    /// Whether somebody holds the lock at this instant.
    pub fn is_held(&self, now: Timestamp) -> bool {
        self.ended.is_none() && now < self.expires_at
    }

    /// Until when nobody can acquire the lock, if that is still to come.
    pub fn cooldown(&self, now: Timestamp) -> Option<Timestamp> {
        self.cooldown_until.filter(|until| now < *until)
    }

    /// How the latest grant ended; `None` while it is held.
    pub(super) fn end(&self, now: Timestamp) -> Option<LockEnd> {
        if self.is_held(now) { None } else { Some(self.ended.unwrap_or(LockEnd::Expired)) }
    }

    /// Refuses an owner token that is not the one of the current grant.
    pub(super) fn refuse_other_owner(&self, token: &str, now: Timestamp) -> Result<(), Rejection> {
        let digest = digest(token);
        let is_latest = self.owner_digest == digest;
        let end = self.end(now);
        if is_latest && end.is_none() {
            return Ok(());
        }
        let own_end = if is_latest {
            end
        } else {
            self.previous_end.filter(|_| self.previous_digest.as_ref() == Some(&digest))
        };
        Err(match own_end {
            Some(end) if end.is_loss() => Rejection::Lost(self.name.clone()),
            _ if end.is_none() => Rejection::OwnershipMismatch(self.name.clone()),
            _ => Rejection::NotFound(self.name.clone()),
        })
    }

    /// The lock as the API shows it.
    pub fn show(&self, now: Timestamp, waiters: u64) -> Lock {
        let LockName { workspace_id, scope, function, key } = self.name.clone();
        let locked = self.is_held(now);
        Lock {
            workspace_id,
            key,
            scope,
            function,
            locked,
            label: self.label.clone().filter(|_| locked),
            fence: self.fence,
            acquired_at: Some(self.acquired_at).filter(|_| locked),
            expires_at: Some(self.expires_at).filter(|_| locked),
            ttl_remaining_ms: self.remaining_ms(now),
            cooldown_until: self.cooldown(now),
            waiters,
        }
    }

    /// The current grant as the API shows it.
    pub fn renewal(&self, now: Timestamp) -> LockRenewal {
        let LockName { workspace_id, scope, function, key } = self.name.clone();
        LockRenewal {
            workspace_id,
            key,
            scope,
            function,
            fence: self.fence,
            acquired_at: self.acquired_at,
            expires_at: self.expires_at,
            ttl_remaining_ms: self.remaining_ms(now),
        }
    }

    /// Why the lock cannot be acquired now: its holder as the API shows it, or its cooldown.
    pub fn held(&self, now: Timestamp) -> LockHeld {
        let LockName { workspace_id, scope, function, key } = self.name.clone();
        let locked = self.is_held(now);
        LockHeld {
            workspace_id,
            key,
            scope,
            function,
            label: self.label.clone().filter(|_| locked),
            expires_at: Some(self.expires_at).filter(|_| locked),
            cooldown_until: self.cooldown(now),
            waited_ms: 0,
        }
    }

    fn remaining_ms(&self, now: Timestamp) -> i64 {
        if self.is_held(now) { ms_between(now, self.expires_at) } else { 0 }
    }
}

/// What a version of a lock is made by. Another run of the same command has the same ids, but decides
/// at another instant.
pub(super) fn stamp(ctx: &mut Context<'_>) -> String {
    format!("{}@{}", ctx.ids.fresh(""), ctx.now.as_micros())
}

/// Changes a lock, in its next version.
pub(super) fn change(
    lock: &LockRecord,
    ctx: &mut Context<'_>,
    change: impl FnOnce(&mut LockRecord),
) -> LockRecord {
    let mut next = lock.clone();
    change(&mut next);
    next.version = lock.version.saturating_add(1);
    next.changed_by = stamp(ctx);
    ctx.state.lock_mut().locks.put(next.id.clone(), next.clone());
    next
}

/// The next fence: larger than the last one and than the clock in microseconds.
///
/// The clock makes it larger than the fences of rows that were swept, and of grants that a restored
/// backup does not know.
pub(super) fn next_fence(last: i64, now: Timestamp) -> Result<i64, core::Rejection> {
    let by_clock = if core::Mutant::ForgetFence.is_planted() { 1 } else { now.as_micros() };
    let next = last.saturating_add(1).max(by_clock);
    if next > INTEGER_MAX {
        return Err(core::Rejection::AmountOverflow { path: "/fence".to_owned() });
    }
    Ok(next)
}

/// The whole milliseconds from one instant to a later one.
pub(super) fn ms_between(from: Timestamp, to: Timestamp) -> i64 {
    to.as_micros().saturating_sub(from.as_micros()).max(0) / 1_000
}

/// An instant so many milliseconds later.
pub(super) fn after_ms(from: Timestamp, ms: i64) -> Timestamp {
    let micros = from.as_micros().saturating_add(ms.saturating_mul(1_000));
    Timestamp::from_micros(micros).unwrap_or(from)
}
