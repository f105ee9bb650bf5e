//! The replies to the entitlement commands.

use crate::http::core::render::{self, Reply, etag};
use ifmatch_domain::entitlement::Outcome;
use serde_json::json;

/// The reply of an entitlement outcome.
pub fn reply(outcome: &Outcome) -> Reply {
    match outcome {
        Outcome::Core(outcome) => render::reply(outcome),
        Outcome::Usage { recorded, is_batch: true } => {
            Reply::new(201, &json!({ "items": recorded }))
        }
        Outcome::Usage { recorded, is_batch: false } => Reply::new(201, &recorded.first()),
        Outcome::Reversed(reversed) => Reply::new(201, reversed),
        Outcome::Hold { answer, is_new: true } => Reply::new(201, answer).header(
            "Location",
            format!("/v1/{}/usage/holds/{}", answer.hold.scope, answer.hold.id),
        ),
        Outcome::Hold { answer, is_new: false } => Reply::new(200, answer),
        Outcome::Boost(answer) => {
            let boost = &answer.boost;
            Reply::new(if answer.duplicate { 200 } else { 201 }, answer)
                .header("ETag", etag(boost.version))
                .header("Location", format!("/v1/{}/boosts/{}", boost.scope, boost.id))
        }
        // A worker's command. No caller sees the reply.
        Outcome::Expired { more } => Reply::new(200, &json!({ "more": more })),
    }
}
