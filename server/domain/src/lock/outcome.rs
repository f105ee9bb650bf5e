//! Outcomes of commands about locks.

use super::{LockRecord, OwnerToken};
use ifmatch_types::Timestamp;

/// The outcome of a command about a lock.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The lock was acquired.
    Acquired {
        /// The lock.
        lock: LockRecord,
        /// The token of its owner.
        owner: OwnerToken,
        /// Whether this repeats the answer to an earlier request.
        is_repeat: bool,
        /// Whether the grant before had expired.
        had_expired: bool,
        /// When this was decided.
        at: Timestamp,
    },
    /// The grant was renewed or extended.
    Renewed {
        /// The lock.
        lock: LockRecord,
        /// When this was decided.
        at: Timestamp,
    },
    /// The owner released the lock.
    Released {
        /// The lock.
        lock: LockRecord,
        /// When this was decided.
        at: Timestamp,
    },
    /// An admin took the lock from its holder.
    ForceReleased {
        /// The lock.
        lock: LockRecord,
        /// When this was decided.
        at: Timestamp,
    },
}
