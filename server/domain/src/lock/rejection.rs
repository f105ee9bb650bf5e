//! Reasons to refuse a command about a lock.

use super::LockName;
use crate::core;
use ifmatch_types::LockHeld;

/// A rejection of a command about a lock.
#[derive(Clone, Debug, PartialEq)]
pub enum Rejection {
    /// A rejection by a rule that all systems share.
    Core(core::Rejection),
    /// Somebody holds the lock, or it cools down after a forced release.
    Held {
        /// By whom and until when.
        held: Box<LockHeld>,
        /// After how many milliseconds it can be acquired at the earliest, if nobody releases it.
        after_ms: i64,
    },
    /// The lock is not held.
    NotFound(LockName),
    /// Somebody else holds the lock.
    OwnershipMismatch(LockName),
    /// The caller's grant ended: it expired or was taken away.
    Lost(LockName),
    /// The grant would last too long.
    TtlExceedsMaximum {
        /// The field that asks for it, as a JSON Pointer.
        path: &'static str,
    },
}

impl From<core::Rejection> for Rejection {
    fn from(rejection: core::Rejection) -> Self {
        Self::Core(rejection)
    }
}
