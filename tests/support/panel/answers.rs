//! The panel's answers, in the shape of its exception handler.

use super::{
    Kind,
    http::Answer,
    rows::{INSTALLING, Remote},
};
use serde_json::{Value, json};

/// Hides an exception that is not meant for people.
const UNEXPECTED: &str =
    "An unexpected error was encountered while processing this request, please try again.";

/// How the node failed.
#[derive(Clone, Copy)]
pub enum NodeFailure {
    /// It did not answer.
    Away,
    /// It answered with this status.
    Status(u16),
}

/// A field that breaks a rule.
pub struct Violation {
    /// The field's path, with dots.
    pub field: String,
    /// The rule's name in snake case.
    pub rule: &'static str,
    /// The text for people.
    pub detail: String,
}

/// A server that was looked up.
pub fn server(kind: Kind, row: &Remote) -> Answer {
    Answer::json(200, &row.resource(kind))
}

/// A server that was just created.
pub fn created(kind: Kind, row: &Remote) -> Answer {
    Answer { status: 201, ..server(kind, row) }
}

/// The panel did what it was asked for.
pub fn no_content() -> Answer {
    Answer::empty(204)
}

/// An error with the name of its exception.
pub fn error(status: u16, code: &str, detail: &str) -> Answer {
    let error = json!({"code": code, "status": status.to_string(), "detail": detail});
    Answer::json(status, &json!({"errors": [error]}))
}

/// 404 for a server. Laravel turns `ModelNotFoundException` into this exception.
pub fn not_found() -> Answer {
    let detail = "The requested resource could not be found on the server.";
    error(404, "NotFoundHttpException", detail)
}

/// 404 for a path that is not one of the API's.
pub fn no_route(path: &str) -> Answer {
    let path = path.trim_start_matches('/');
    error(404, "NotFoundHttpException", &format!("The route {path} could not be found."))
}

/// 401 for a key that is missing or wrong.
pub fn unauthenticated() -> Answer {
    error(401, "AuthenticationException", "Unauthenticated.")
}

/// 403 for a key that may not do this.
pub fn forbidden() -> Answer {
    error(403, "AccessDeniedHttpException", "This action is unauthorized.")
}

/// 429 with the time to wait.
pub fn throttled(retry_after_s: u64) -> Answer {
    error(429, "ThrottleRequestsException", "Too Many Attempts.").with("Retry-After", retry_after_s)
}

/// 422 with one error for each rule that is broken.
pub fn invalid(violations: &[Violation]) -> Answer {
    let errors: Vec<Value> = violations
        .iter()
        .map(|violation| {
            json!({
                "code": "ValidationException",
                "status": "422",
                "detail": violation.detail,
                "meta": {"source_field": violation.field, "rule": violation.rule},
            })
        })
        .collect();
    Answer::json(422, &json!({"errors": errors}))
}

/// 422 for an external id that another server has.
pub fn taken() -> Answer {
    invalid(&[Violation {
        field: "external_id".to_owned(),
        rule: "unique",
        detail: "The external id has already been taken.".to_owned(),
    }])
}

/// 422 for a user that does not exist.
pub fn unknown_user() -> Answer {
    invalid(&[Violation {
        field: "user".to_owned(),
        rule: "exists",
        detail: "The selected user is invalid.".to_owned(),
    }])
}

/// 400 if no node has room.
pub fn no_node() -> Answer {
    error(400, "NoViableNodeException", "No node satisfies the requirements of the deployment.")
}

/// 500 for a row that broke the table's unique key: its twin was validated at the same moment.
pub fn unique_key_broken() -> Answer {
    error(500, "UniqueConstraintViolationException", UNEXPECTED)
}

/// A failure of the node, as this panel passes it on.
pub fn node_failed(kind: Kind, failure: NodeFailure) -> Answer {
    match (kind, failure) {
        (Kind::Pterodactyl, NodeFailure::Away) => {
            error(504, "DaemonConnectionException", "The node could not be reached.")
        }
        // The node's status becomes the panel's, unless it is not one of an error.
        (Kind::Pterodactyl, NodeFailure::Status(status)) => {
            let status = if status < 400 { 502 } else { status };
            let detail = format!("An error occurred on the remote host (code: {status}).");
            error(status, "DaemonConnectionException", &detail)
        }
        (Kind::Pelican, NodeFailure::Away) => error(500, "ConnectionException", UNEXPECTED),
        (Kind::Pelican, NodeFailure::Status(_)) => error(500, "RequestException", UNEXPECTED),
    }
}

/// 302 to another path of the panel.
pub fn redirect() -> Answer {
    Answer::empty(302).with("Location", "/elsewhere")
}

/// An answer of a gateway in front of the panel.
pub fn gateway(status: u16) -> Answer {
    let body = format!("<html><body><h1>{status}</h1><hr>nginx</body></html>");
    Answer { status, headers: vec![("Content-Type", "text/html".to_owned())], body }
}

/// A success that is cut off in the middle of its JSON. An error loses its end, too.
pub fn cut_off(answer: Answer) -> Answer {
    if answer.body.is_empty() {
        return Answer { body: "{\"object\":\"ser".to_owned(), ..Answer::json(200, &Value::Null) };
    }
    let middle = answer.body.len() / 2;
    let cut = (0..=middle).rev().find(|end| answer.body.is_char_boundary(*end)).unwrap_or_default();
    let body = answer.body.get(..cut).unwrap_or_default().to_owned();
    Answer { body, ..answer }
}

/// The answer without its body, for one that never ends.
pub fn without_body(answer: Answer) -> Answer {
    Answer {
        body: String::new(),
        ..if answer.status == 204 { Answer::json(200, &Value::Null) } else { answer }
    }
}

/// The answer with a server that has little more than its id.
pub fn without_fields(answer: Answer) -> Answer {
    reshaped(answer, |attributes| {
        let id = attributes.get("id").cloned();
        *attributes = json!({"id": id, "status": INSTALLING});
    })
}

/// The answer with the external id of another server.
pub fn with_other_id(answer: Answer) -> Answer {
    reshaped(answer, |attributes| {
        if let Some(external_id) = attributes.get_mut("external_id") {
            *external_id = json!("somebody-else");
        }
    })
}

/// Changes the attributes of a server in an answer. Another answer without a body becomes `{}`.
fn reshaped(answer: Answer, change: impl FnOnce(&mut Value)) -> Answer {
    if answer.body.is_empty() {
        return Answer::json(200, &json!({}));
    }
    let Ok(mut body) = serde_json::from_str::<Value>(&answer.body) else { return answer };
    if let Some(attributes) = body.get_mut("attributes") {
        change(attributes);
    }
    Answer { body: body.to_string(), ..answer }
}
