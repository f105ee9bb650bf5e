//! The texts of the core's rejections, which all collections and commands share.

use super::HttpProblem;
use ifmatch_domain::core::Rejection;
use ifmatch_types::{Code, Conflict, Deleted, INTEGER_MAX, Kind};
use serde_json::{Value, json};

/// The problem of one of the core's rejections.
pub fn problem(rejection: Rejection) -> HttpProblem {
    match rejection {
        Rejection::IdempotencyKeyReused => HttpProblem::new(
            Code::IdempotencyKeyReused,
            "this Idempotency-Key was used for another request; use a new one",
        ),
        Rejection::NotFound { what, id } => {
            HttpProblem::not_found(format!("there is no {what} {id}"))
        }
        Rejection::NeedsUnscopedKey => {
            HttpProblem::new(Code::Forbidden, "a key of one workspace may not do this")
        }
        Rejection::Deleted(kind, deleted) => gone(kind, deleted),
        Rejection::WrongIdType { path, expected_prefix } => {
            HttpProblem::wrong_id_type(expected_prefix).with("path", path)
        }
        Rejection::Invalid(errors) => HttpProblem::fields(errors),
        Rejection::PreconditionRequired => HttpProblem::new(
            Code::PreconditionRequired,
            "name the version this was computed from: If-Match: \"7\", or \"version\": 7 in the \
             body (?version=7 for DELETE)",
        ),
        Rejection::Conflict(conflict) => version_conflict(&conflict),
        Rejection::Excluded(conflict) => excluded(&conflict).over_header(),
        Rejection::StaleFence => {
            HttpProblem::new(Code::StaleFence, "no current grant of this lock has this fence")
        }
        Rejection::AlreadyExists { what, existing_id, differing_fields } => {
            let detail = if differing_fields.is_empty() {
                format!("{what} {existing_id} already exists")
            } else {
                format!("{what} {existing_id} has this key, with other content")
            };
            taken(Code::AlreadyExists, detail, existing_id, differing_fields)
        }
        Rejection::InvalidTransition { from, to, allowed } => {
            refused_transition(format!("{to} cannot follow {from}"), from, to, allowed)
        }
        Rejection::FixedByStatus { from, to, allowed, fields } => {
            let detail = if from == to {
                format!("{} cannot change while the status is {from}", fields.join(", "))
            } else {
                format!("{} cannot change along with the status {to}", fields.join(", "))
            };
            refused_transition(detail, from, to, allowed).with("fields", fields)
        }
        Rejection::AmountOverflow { path } => HttpProblem::new(
            Code::AmountOverflow,
            format!("{path} would be beyond {INTEGER_MAX}, the largest integer"),
        )
        .with("path", path),
    }
}

fn gone(kind: Kind, deleted: Deleted) -> HttpProblem {
    let detail = format!(
        "{kind} {} was deleted at {} by {}",
        deleted.id, deleted.deleted_at, deleted.deleted_by
    );
    HttpProblem::new(Code::Deleted, detail)
        .with("resource", json!({ "type": kind, "id": deleted.id }))
        .with("deleted_at", deleted.deleted_at.to_string())
        .with("deleted_by", deleted.deleted_by)
        .with("last_version", deleted.last_version)
}

fn version_conflict(conflict: &Conflict) -> HttpProblem {
    let resource = &conflict.resource;
    let named = conflict.expected_version.map_or_else(
        || "a version that never existed".to_owned(),
        |version| format!("version {version}"),
    );
    let detail = format!(
        "{} {} is at version {}; the request was computed from {named}",
        resource.resource_type, resource.id, conflict.current_version
    );
    with_conflict(HttpProblem::new(Code::ConflictVersionMismatch, detail), conflict)
}

fn excluded(conflict: &Conflict) -> HttpProblem {
    let resource = &conflict.resource;
    let detail = format!(
        "{} {} is at version {}, which If-None-Match excludes",
        resource.resource_type, resource.id, conflict.current_version
    );
    with_conflict(HttpProblem::new(Code::ConflictVersionMismatch, detail), conflict)
}

fn with_conflict(problem: HttpProblem, conflict: &Conflict) -> HttpProblem {
    match serde_json::to_value(conflict) {
        Ok(Value::Object(members)) => {
            members.into_iter().fold(problem, |problem, (name, value)| problem.with(&name, value))
        }
        Ok(_) | Err(_) => problem,
    }
}

/// The refusal of a unique key that belongs to an object with other content.
pub fn taken(
    code: Code,
    detail: String,
    existing_id: String,
    differing_fields: Vec<String>,
) -> HttpProblem {
    HttpProblem::new(code, detail)
        .with("existing_id", existing_id)
        .with("differing_fields", differing_fields)
}

/// The refusal of a status, with the statuses that are possible instead.
fn refused_transition(
    mut detail: String,
    from: &'static str,
    to: &'static str,
    allowed: Vec<&'static str>,
) -> HttpProblem {
    detail.push_str("; ");
    if allowed.is_empty() {
        detail.push_str("no other status is possible");
    } else {
        detail.push_str(&format!("possible instead: {}", allowed.join(", ")));
    }
    HttpProblem::new(Code::InvalidStateTransition, detail)
        .with("from", from)
        .with("to", to)
        .with("allowed", allowed)
}
