//! From what a command made to the answer its caller gets: a pure function, because the answer to
//! a request with an Idempotency-Key is stored in the commit of its effect.

use actix_web::{
    HttpResponse,
    http::{StatusCode, header},
};
use ifmatch_domain::{Answer, How, ObjectAnswer, Outcome};
use ifmatch_types::Kind;
use serde::Serialize;
use serde_json::{Value, json};

/// An answer: everything but what every response has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// The headers that belong to the answer.
    pub headers: Vec<(String, String)>,
    /// The body: JSON.
    pub body: String,
    /// Whether an earlier answer is repeated.
    pub replayed: bool,
}

impl Reply {
    fn new(status: u16, body: &impl Serialize) -> Self {
        let body = serde_json::to_string(body).expect("answers are JSON objects");
        Self { status, headers: Vec::new(), body, replayed: false }
    }

    fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// The answer as it is kept for a repeat of its request.
    pub fn into_answer(self, fingerprint: &str) -> Answer {
        Answer {
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

/// The answer to an accepted command.
pub fn render(outcome: &Outcome) -> Reply {
    match outcome {
        Outcome::Object(answer) => object(answer),
        Outcome::Deleted { deleted, forced } => {
            let reply = Reply::new(200, deleted);
            if *forced { reply.header("X-Forced", "true") } else { reply }
        }
        Outcome::DryRun(preview) => Reply::new(200, preview),
        Outcome::Transaction(outcomes) => {
            let results: Vec<Value> = outcomes.iter().map(result).collect();
            Reply::new(200, &json!({ "results": results }))
        }
        Outcome::Checked { kind, id, version } => {
            Reply::new(200, &json!({ "type": kind, "id": id, "version": version }))
        }
        Outcome::Payment { payment, first } => {
            let status = if *first { 201 } else { 200 };
            Reply::new(status, payment).header(
                "Location",
                format!("/v1/invoices/{}/payments/{}", payment.invoice_id, payment.id),
            )
        }
        Outcome::PaymentReversed(payment) => Reply::new(200, payment),
        Outcome::Billed { made, skipped, more } => {
            Reply::new(200, &json!({ "made": made, "skipped": skipped, "more": more }))
        }
        Outcome::BillingRun(run) => Reply::new(200, run),
        // Without its secret, which is never stored: who makes the key adds it to the first answer.
        Outcome::ApiKeyCreated(stored) => Reply::new(201, &stored.key)
            .header("Location", format!("/v1/api-keys/{}", stored.key.id)),
        Outcome::ApiKeyRevoked(stored) => Reply::new(200, &stored.key),
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
        Outcome::Recorded | Outcome::Admitted | Outcome::Expired { .. } => {
            Reply::new(200, &json!({}))
        }
        Outcome::Replayed(answer) => Reply {
            status: answer.status,
            headers: answer.headers.clone(),
            body: answer.body.clone(),
            replayed: true,
        },
    }
}

fn object(answer: &ObjectAnswer) -> Reply {
    let status = if answer.how == How::Created { 201 } else { 200 };
    let body = answer.body.text().to_owned();
    let reply = Reply { status, headers: Vec::new(), body, replayed: false };
    let mut reply = reply.header("ETag", etag(answer.version));
    match answer.how {
        How::Created | How::Existed => {
            reply = reply.header("Location", location(answer));
        }
        How::Updated => {}
        How::Unchanged => reply = reply.header("X-Changed", "false"),
        How::Merged(from) => reply = reply.header("X-Merged-From", from.to_string()),
        How::Forced => reply = reply.header("X-Forced", "true"),
    }
    if !answer.overwrote.is_empty() {
        reply = reply.header("X-Overwrote", path_list(&answer.overwrote));
    }
    reply
}

/// One operation's part of a transaction's answer.
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
        Outcome::Checked { kind, id, version } => {
            json!({ "type": kind, "id": id, "version": version })
        }
        _ => unreachable!("a transaction is made of creates, patches, deletes and checks"),
    }
}

/// What a header or a list in it cannot carry.
const ESCAPED: &percent_encoding::AsciiSet =
    &percent_encoding::CONTROLS.add(b' ').add(b',').add(b'%');

/// So many bytes of paths a header has: a proxy that finds it too long would refuse the answer of a
/// write that is done. The history has all of them.
const PATHS_MAX: usize = 2_000;

/// Paths as a list in a header: the first of them, if they are very many.
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

/// The path of an object.
fn location(answer: &ObjectAnswer) -> String {
    // Only where it is needed: the body may be a text so far.
    let scope = match answer.kind {
        Kind::Assignment => answer.body.get("scope").and_then(Value::as_str),
        _ => None,
    };
    match scope {
        Some(scope) => format!("/v1/{scope}/packages/{}", answer.id),
        None => format!("/v1/{}/{}", answer.kind.collection(), answer.id),
    }
}

/// A version as an entity tag (RFC 9110 §8.8.3).
pub fn etag(version: i64) -> String {
    format!("\"{version}\"")
}
