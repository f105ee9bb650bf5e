//! The reply to an accepted command.
//!
//! It is a pure function of the outcome, because the reply to a request with an Idempotency-Key is
//! stored in the commit of its effect.

use crate::kinds::{Home, home};
use actix_web::{
    HttpResponse,
    http::{StatusCode, header},
};
use ifmatch_domain::core::{How, KeptAnswer, ObjectAnswer, Outcome};
use ifmatch_types::{Kind, Version};
use serde::Serialize;
use serde_json::{Value, json};

/// The reply to an accepted command, without the headers that every response has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// The headers that belong to this reply.
    pub headers: Vec<(String, String)>,
    /// The body: JSON.
    pub body: String,
    /// Whether this repeats an earlier answer.
    pub replayed: bool,
}

impl Reply {
    /// A reply with this body.
    pub fn new(status: u16, body: &impl Serialize) -> Self {
        let body = serde_json::to_string(body).expect("answers are JSON objects");
        Self { status, headers: Vec::new(), body, replayed: false }
    }

    /// Adds a header.
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// The kept answer to store for repeats of the request.
    pub fn into_answer(self, fingerprint: &str) -> KeptAnswer {
        KeptAnswer {
            fingerprint: fingerprint.to_owned(),
            status: self.status,
            headers: self.headers,
            body: self.body,
        }
    }

    /// The HTTP response.
    pub fn into_response(self) -> HttpResponse {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::OK);
        let mut response = HttpResponse::build(status);
        response.content_type(mime());
        for (name, value) in self.headers {
            response.insert_header((name, value));
        }
        if self.replayed {
            response.insert_header(("Idempotency-Replayed", "true"));
        }
        response.body(self.body)
    }
}

fn mime() -> header::ContentType {
    header::ContentType::json()
}

/// The reply of one of the core's outcomes.
pub fn reply(outcome: &Outcome) -> Reply {
    match outcome {
        Outcome::Object(answer) => object(answer),
        Outcome::Deleted { deleted, forced } => {
            let reply = Reply::new(200, deleted);
            if *forced { reply.header("X-Forced", "true") } else { reply }
        }
        Outcome::Transaction(outcomes) => {
            let results: Vec<Value> = outcomes.iter().map(result).collect();
            Reply::new(200, &json!({ "results": results }))
        }
        Outcome::Checked { kind, id, version } => Reply::new(200, &checked(*kind, id, *version)),
        Outcome::Admitted | Outcome::Recorded => Reply::new(200, &json!({})),
        Outcome::Replayed(answer) => Reply {
            status: answer.status,
            headers: answer.headers.clone(),
            body: answer.body.clone(),
            replayed: true,
        },
    }
}

fn object(answer: &ObjectAnswer) -> Reply {
    let status = match answer.how {
        How::Created => 201,
        How::Begun { .. } => 202,
        _ => 200,
    };
    let body = answer.body.text().to_owned();
    let reply = Reply { status, headers: Vec::new(), body, replayed: false };
    let mut reply = reply.header("ETag", etag(answer.version));
    match answer.how {
        How::Created | How::Begun { .. } | How::Existed => {
            reply = reply.header("Location", location(answer));
        }
        How::Updated => {}
        How::Unchanged => reply = reply.header("X-Changed", "false"),
        How::Merged(from) => reply = reply.header("X-Merged-From", from.to_string()),
        How::Forced => reply = reply.header("X-Forced", "true"),
    }
    if answer.how == (How::Begun { forced: true }) {
        reply = reply.header("X-Forced", "true");
    }
    if !answer.overwrote.is_empty() {
        reply = reply.header("X-Overwrote", path_list(&answer.overwrote));
    }
    reply
}

/// The result of one operation in a transaction's answer.
fn result(outcome: &Outcome) -> Value {
    match outcome {
        Outcome::Object(answer) => json!({
            "type": answer.kind,
            "id": answer.id,
            "version": answer.version,
            "body": **answer.body,
            "changed": answer.how != How::Unchanged,
        }),
        Outcome::Deleted { deleted, .. } => json!({ "id": deleted.id, "deleted": deleted }),
        Outcome::Checked { kind, id, version } => checked(*kind, id, *version),
        // No operation has another outcome so far. If one does, it shows its own answer.
        Outcome::Transaction(_) | Outcome::Recorded | Outcome::Admitted | Outcome::Replayed(_) => {
            serde_json::from_str(&reply(outcome).body).unwrap_or_default()
        }
    }
}

fn checked(kind: Kind, id: &str, version: Version) -> Value {
    json!({ "type": kind, "id": id, "version": version })
}

/// Characters that a header, or a list in it, cannot contain.
const ESCAPED: &percent_encoding::AsciiSet =
    &percent_encoding::CONTROLS.add(b' ').add(b',').add(b'%');

/// Maximum size of the paths in a header, in bytes.
///
/// A proxy might refuse a longer header, and with it the answer to a write that is done. The
/// history has all paths.
const PATHS_MAX: usize = 2_000;

/// Paths as a list in a header, cut off at [`PATHS_MAX`].
fn path_list(paths: &[String]) -> String {
    let mut list = String::new();
    for path in paths {
        let path = percent_encoding::utf8_percent_encode(path, ESCAPED).to_string();
        if !list.is_empty() {
            if list.len() + path.len() > PATHS_MAX {
                break;
            }
            list.push_str(", ");
        }
        list.push_str(&path);
    }
    list
}

/// The path of an object: in its collection, or below the workspace or namespace that owns it.
fn location(answer: &ObjectAnswer) -> String {
    match home(answer.kind) {
        Home::Collection => format!("/v1/{}/{}", answer.kind.collection(), answer.id),
        Home::Scope(members) => {
            let scope = answer.body.get("scope").and_then(Value::as_str).unwrap_or_default();
            format!("/v1/{scope}/{members}/{}", answer.id)
        }
    }
}

/// A version as an entity tag (RFC 9110 §8.8.3).
pub fn etag(version: i64) -> String {
    format!("\"{version}\"")
}
