//! The replies to the commands about locks.

use crate::http::core::render::Reply;
use ifmatch_domain::lock::{LockRecord, Outcome, OwnerToken};
use ifmatch_types::{LockGrant, LockRenewal, Timestamp};

/// The reply of a lock outcome. It is what is kept for repeats.
pub fn reply(outcome: &Outcome) -> Reply {
    match outcome {
        // Without the owner token, which is never stored. A repeat derives it again.
        Outcome::Acquired { lock, at, .. } => Reply::new(201, &lock.renewal(*at)),
        Outcome::Renewed { lock, at } => Reply::new(200, &lock.renewal(*at)),
        Outcome::Released { lock, at } | Outcome::ForceReleased { lock, at } => {
            Reply::new(200, &lock.show(*at, 0))
        }
    }
}

/// The answer to the caller that got a lock, with its owner token.
pub fn grant(lock: &LockRecord, owner: &OwnerToken, at: Timestamp, waited_ms: i64) -> Reply {
    let LockRenewal {
        workspace_id,
        key,
        scope,
        function,
        fence,
        acquired_at,
        expires_at,
        ttl_remaining_ms,
    } = lock.renewal(at);
    let grant = LockGrant {
        workspace_id,
        key,
        scope,
        function,
        owner: owner.expose().to_owned(),
        fence,
        acquired_at,
        expires_at,
        ttl_remaining_ms,
        waited_ms,
    };
    Reply::new(201, &grant)
}
