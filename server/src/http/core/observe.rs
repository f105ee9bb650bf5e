//! What is counted and logged of the core's outcomes: conflicts, merges, forced writes, repeats.

use crate::metrics;
use ifmatch_domain::{How, Outcome};
use ifmatch_types::Conflict;
use serde_json::json;

/// An accepted command.
pub fn outcome(outcome: &Outcome) {
    match outcome {
        Outcome::Object(answer) => {
            match answer.how {
                How::Merged(_) => metrics::merged(answer.kind),
                How::Forced => metrics::forced(answer.kind),
                How::Created | How::Existed | How::Updated | How::Unchanged => {}
            }
            if !answer.overwrote.is_empty() {
                metrics::overwrote(answer.kind, answer.overwrote.iter().map(String::as_str));
            }
        }
        Outcome::Deleted { deleted, forced: true } => {
            if let Some(kind) = ifmatch_types::Kind::of_id(&deleted.id) {
                metrics::forced(kind);
            }
        }
        Outcome::Replayed(_) => metrics::replayed(),
        _ => {}
    }
}

/// A stale write was refused. The paths counted are those both sides changed, or the attempted ones
/// if there are none.
///
/// A caller may name the conflict or the request to support: the line in the log has both. Conflicts
/// are everyday, so that it is logged where answers are, at `debug`.
pub fn conflict(conflict: &Conflict) {
    let overlap = &conflict.merge.overlap;
    let paths = if overlap.is_empty() { &conflict.attempted } else { overlap };
    let kind = conflict.resource.kind;
    metrics::conflict(kind, conflict.merge.verdict, paths.iter().map(String::as_str));
    let conflict_id = conflict.conflict_id.as_str();
    tracing::debug!(conflict_id, resource = %json!(conflict.resource), "a version conflict");
}
