//! The replies to the commands about API keys.

use crate::http::core::render::Reply;
use ifmatch_domain::Outcome;
use serde_json::json;

/// The reply of an access outcome; `None` for another one.
pub fn reply(outcome: &Outcome) -> Option<Reply> {
    Some(match outcome {
        // Without the secret, which is never stored: the handler adds it to the first answer.
        Outcome::ApiKeyCreated(stored) => Reply::new(201, &stored.key)
            .header("Location", format!("/v1/api-keys/{}", stored.key.id)),
        Outcome::ApiKeyRevoked(stored) => Reply::new(200, &stored.key),
        Outcome::Recorded => Reply::new(200, &json!({})),
        _ => return None,
    })
}
