//! Actions on locks.

use super::{
    AcquireLock, ExtendLock, ForceReleaseLock, Need, Outcome, Rejection, ReleaseLock,
    ReleaseUnclaimed, RenewLock,
};
use crate::core::{Context, Wants};

/// An action on a lock.
#[derive(Clone, Debug)]
pub enum Action {
    /// Acquire a lock.
    AcquireLock(AcquireLock),
    /// Release a lock.
    ReleaseLock(ReleaseLock),
    /// Let a grant expire later.
    ExtendLock(ExtendLock),
    /// Renew a grant.
    RenewLock(RenewLock),
    /// Take a lock away from its holder.
    ForceReleaseLock(ForceReleaseLock),
    /// Release a grant whose caller hung up.
    ReleaseUnclaimed(ReleaseUnclaimed),
}

impl Action {
    /// The lock that the action is about.
    pub fn subject(&self) -> Option<&str> {
        Some(match self {
            Self::AcquireLock(acquire) => acquire.id(),
            Self::ReleaseLock(release) => release.id(),
            Self::ExtendLock(extend) => extend.id(),
            Self::RenewLock(renew) => renew.id(),
            Self::ForceReleaseLock(force) => force.id(),
            Self::ReleaseUnclaimed(release) => release.id(),
        })
    }

    /// Whether a scoped key may ask for this, in the space of its workspace.
    pub(crate) fn is_for_scoped_keys(&self) -> bool {
        match self {
            Self::AcquireLock(_)
            | Self::ReleaseLock(_)
            | Self::ExtendLock(_)
            | Self::RenewLock(_)
            | Self::ReleaseUnclaimed(_) => true,
            Self::ForceReleaseLock(_) => false,
        }
    }

    pub(crate) fn wants<'c>(&'c self, wants: &mut Wants<'_, 'c, Need>) {
        match self {
            Self::AcquireLock(acquire) => acquire.wants(wants),
            Self::ReleaseLock(release) => release.wants(wants),
            Self::ExtendLock(extend) => extend.wants(wants),
            Self::RenewLock(renew) => renew.wants(wants),
            Self::ForceReleaseLock(force) => force.wants(wants),
            Self::ReleaseUnclaimed(release) => release.wants(wants),
        }
    }

    pub(crate) fn decide(&self, ctx: &mut Context<'_>) -> Result<Outcome, Rejection> {
        match self {
            Self::AcquireLock(acquire) => acquire.decide(ctx),
            Self::ReleaseLock(release) => release.decide(ctx),
            Self::ExtendLock(extend) => extend.decide(ctx),
            Self::RenewLock(renew) => renew.decide(ctx),
            Self::ForceReleaseLock(force) => force.decide(ctx),
            Self::ReleaseUnclaimed(release) => release.decide(ctx),
        }
    }

    /// Answers a repeat, if its kept answer does not say what is true now.
    pub(crate) fn repeat(&self, ctx: &mut Context<'_>) -> Option<Result<Outcome, Rejection>> {
        match self {
            Self::AcquireLock(acquire) => Some(acquire.repeat(ctx)),
            Self::ReleaseLock(_)
            | Self::ExtendLock(_)
            | Self::RenewLock(_)
            | Self::ForceReleaseLock(_)
            | Self::ReleaseUnclaimed(_) => None,
        }
    }
}
