//! The replies to commands about servers.

use crate::http::core::render::{self, Reply};
use ifmatch_domain::provisioning::Outcome;
use serde_json::json;

/// The reply of an outcome of provisioning.
pub fn reply(outcome: &Outcome) -> Reply {
    match outcome {
        Outcome::Core(outcome) => render::reply(outcome),
        // A worker's command. No caller sees the reply.
        Outcome::Claimed(_) | Outcome::Called(_) | Outcome::Recorded(_) => {
            Reply::new(200, &json!({}))
        }
    }
}
