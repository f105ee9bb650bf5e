//! The replies to the commands about API keys.

use crate::http::core::render::Reply;
use ifmatch_domain::access::Outcome;

/// The reply of an access outcome.
pub fn reply(outcome: &Outcome) -> Reply {
    match outcome {
        // Without the secret, which is never stored. The handler adds it to the first answer.
        Outcome::ApiKeyCreated(stored) => Reply::new(201, &stored.key)
            .header("Location", format!("/v1/api-keys/{}", stored.key.id)),
        Outcome::ApiKeyRotated { new, .. } => {
            Reply::new(201, &new.key).header("Location", format!("/v1/api-keys/{}", new.key.id))
        }
        Outcome::ApiKeyRevoked(stored) => Reply::new(200, &stored.key),
        Outcome::UseNoted(noted) => {
            let keys: Vec<_> = noted.iter().map(|stored| &stored.key).collect();
            Reply::new(200, &keys)
        }
    }
}
