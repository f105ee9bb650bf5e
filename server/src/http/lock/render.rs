//! The replies to the commands about locks.

use crate::http::core::render::Reply;
use ifmatch_domain::lock::{LockName, Outcome};
use ifmatch_types::LockGrant;
use serde_json::{Value, json};

/// The reply of a lock outcome. It is what is kept for repeats.
pub fn reply(outcome: &Outcome) -> Reply {
    match outcome {
        // Without the owner token, which is never stored. A repeat derives it again.
        Outcome::Acquired { .. } => {
            let mut reply = grant(outcome, 0);
            let mut body: Value = serde_json::from_str(&reply.body).unwrap_or_default();
            if let Some(body) = body.as_object_mut() {
                body.remove("owner");
            }
            reply.body = body.to_string();
            reply
        }
        Outcome::Renewed { lock, at } => Reply::new(200, &lock.renewal(*at)),
        Outcome::Released { lock, at } | Outcome::ForceReleased { lock, at } => {
            Reply::new(200, &lock.show(*at, 0))
        }
    }
}

/// The answer to the caller that got a lock, with its owner token.
pub fn grant(outcome: &Outcome, waited_ms: i64) -> Reply {
    let Outcome::Acquired { lock, owner, is_repeat, at, .. } = outcome else {
        return Reply::new(200, &json!({}));
    };
    let renewal = lock.renewal(*at);
    let LockName { workspace_id, scope, function, key } = lock.name.clone();
    let grant = LockGrant {
        workspace_id,
        key,
        scope,
        function,
        owner: owner.expose().to_owned(),
        fence: renewal.fence,
        acquired_at: renewal.acquired_at,
        expires_at: renewal.expires_at,
        ttl_remaining_ms: renewal.ttl_remaining_ms,
        waited_ms,
    };
    Reply { replayed: *is_repeat, ..Reply::new(201, &grant) }
}
