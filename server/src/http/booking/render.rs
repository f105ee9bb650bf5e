//! The replies to the booking system's commands.

use crate::http::core::render::Reply;
use ifmatch_domain::booking::Outcome;
use serde_json::json;

/// The reply of a booking outcome.
pub fn reply(outcome: &Outcome) -> Reply {
    match outcome {
        // A worker's command. No caller sees the reply.
        Outcome::Expired { more } => Reply::new(200, &json!({ "more": more })),
    }
}
