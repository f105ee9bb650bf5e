//! Metrics and log lines of the core's outcomes: conflicts, merges, forced writes, repeats.

use crate::metrics;
use ifmatch_domain::core::{How, Outcome, Rejection};
use ifmatch_types::Conflict;
use serde_json::json;

/// Observes an accepted command.
pub fn outcome(outcome: &Outcome) {
    match outcome {
        Outcome::Object(answer) => {
            match answer.how {
                How::Merged(_) => metrics::merged(answer.kind),
                How::Forced | How::Begun { forced: true } => metrics::forced(answer.kind),
                How::Created
                | How::Begun { forced: false }
                | How::Existed
                | How::Updated
                | How::Unchanged => {}
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
        Outcome::Deleted { forced: false, .. } | Outcome::Transaction(_) => {}
        Outcome::Checked { .. } | Outcome::Recorded | Outcome::Admitted => {}
    }
}

/// Observes a rejected command.
pub fn rejection(rejection: &Rejection) {
    if let Rejection::Conflict(refused) = rejection {
        conflict(refused);
    }
}

/// Observes a refused stale write. Counts the paths that both sides changed, or the attempted ones
/// if there are none.
///
/// The log line has the ids of the conflict and of the request, because a caller may name either to
/// support. Conflicts are normal, so the line is logged at `debug`.
fn conflict(conflict: &Conflict) {
    let overlap = &conflict.merge.overlap;
    let paths = if overlap.is_empty() { &conflict.attempted } else { overlap };
    if let Some(kind) = conflict.resource.kind() {
        metrics::conflict(kind, conflict.merge.verdict, paths.iter().map(String::as_str));
    }
    let conflict_id = conflict.conflict_id.as_str();
    tracing::debug!(conflict_id, resource = %json!(conflict.resource), "a version conflict");
}
