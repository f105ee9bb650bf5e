//! The texts of the lock rejections.

use crate::http::core::problem::{HttpProblem, rejection};
use ifmatch_domain::lock::{LockName, Rejection};
use ifmatch_types::{Code, LockHeld};
use serde::Serialize;
use serde_json::Value;
use std::time::Duration;

/// The problem of a lock rejection.
pub fn problem(rejection: Rejection) -> HttpProblem {
    match rejection {
        Rejection::Core(rejection) => rejection::problem(rejection),
        Rejection::Held { held, after_ms } => {
            let after = Duration::from_millis(u64::try_from(after_ms).unwrap_or_default());
            self::held(Code::LockAcquisitionFailed, &held, after)
        }
        Rejection::NotFound(name) => {
            about(HttpProblem::new(Code::LockNotFound, "nobody holds this lock"), &name)
        }
        Rejection::OwnershipMismatch(name) => {
            let detail = "somebody else holds this lock";
            about(HttpProblem::new(Code::LockOwnershipMismatch, detail), &name)
        }
        Rejection::Lost(name) => {
            let detail = "your grant of this lock ended: it expired, or an admin released it";
            about(HttpProblem::new(Code::LockLost, detail), &name)
        }
        Rejection::TtlExceedsMaximum { path } => {
            let message = "would let the lock be held for over 24 hours from now";
            HttpProblem::new(Code::LockTtlExceedsMaximum, format!("{path} {message}"))
                .about_field(path, message)
        }
    }
}

/// The refusal of a lock that is not free. It may be free after so much time.
pub fn held(code: Code, held: &LockHeld, after: Duration) -> HttpProblem {
    let detail = match (code, held.expires_at, held.cooldown_until) {
        (Code::LockTimeout, ..) => {
            format!("the lock did not become free within {} ms", held.waited_ms)
        }
        (_, Some(expires_at), _) => format!("somebody holds this lock, until {expires_at} at most"),
        (_, None, Some(until)) => {
            format!("an admin released this lock; it cannot be acquired before {until}")
        }
        (_, None, None) => "the lock is not free".to_owned(),
    };
    let problem = HttpProblem::new(code, detail);
    let after_ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
    members(problem, held).after_ms(after_ms)
}

fn about(problem: HttpProblem, name: &LockName) -> HttpProblem {
    problem
        .with("workspace_id", name.workspace_id.as_ref().map(|id| id.as_str()))
        .with("key", name.key.as_str())
        .with("scope", name.scope.name())
        .with("function", name.function.as_deref())
}

/// Adds the members of a value to a problem.
fn members(problem: HttpProblem, value: &impl Serialize) -> HttpProblem {
    match serde_json::to_value(value) {
        Ok(Value::Object(members)) => {
            members.into_iter().fold(problem, |problem, (name, value)| problem.with(&name, value))
        }
        _ => problem,
    }
}
