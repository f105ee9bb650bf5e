//! What every handler reads of a request: its caller, its name, its body.

use super::{
    auth::unaccepted,
    bookings,
    endpoint::{EndpointInfo, Idempotency},
    precondition,
    problem::HttpProblem,
};
use crate::{app::App, config::BODY_LIMIT_BYTES, key::hex, lane::Refusal, log::RequestId};
use actix_web::{
    FromRequest, HttpMessage, HttpRequest,
    dev::Payload,
    http::{Method, header},
    web,
};
use futures::{StreamExt, future::LocalBoxFuture};
use ifmatch_domain::{Action, Actor, Command, IdempotencyKey, Meta, Outcome};
use ifmatch_types::{Code, Role, Source, pointer};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// The holder of an accepted key.
#[derive(Clone, Debug)]
pub struct Caller {
    /// As whom it is recorded.
    pub actor: Actor,
    /// What it may do.
    pub role: Role,
    /// Whom it acts for, as it said.
    pub on_behalf_of: Option<String>,
}

/// The name of a request in its answer and in the log.
pub fn request_id(request: &HttpRequest) -> RequestId {
    let known = request.extensions().get::<RequestId>().cloned();
    known.unwrap_or_default()
}

/// A request that passed the gate, with what it asks for read as far as every mutation does.
#[derive(Debug)]
pub struct Mutation {
    /// Who asks.
    pub caller: Caller,
    /// The request's name.
    pub request_id: RequestId,
    /// The body; empty if there is none.
    pub body: Body,
    /// The Idempotency-Key, with a digest of the request.
    pub idempotency: Option<IdempotencyKey>,
}

/// A body, not yet read as JSON.
#[derive(Clone, Debug, Default)]
pub struct Body(web::Bytes);

impl Body {
    /// The body as a JSON object.
    ///
    /// # Errors
    ///
    /// `MALFORMED_REQUEST` if it is not JSON, `VALIDATION_FAILED` if it is not an object.
    pub fn object(&self) -> Result<Map<String, Value>, HttpProblem> {
        let value: Value = serde_json::from_slice(&self.0).map_err(|error| {
            HttpProblem::new(Code::MalformedRequest, format!("the body is not JSON: {error}"))
        })?;
        // Within JSON a NUL can only be escaped.
        if std::str::from_utf8(&self.0).is_ok_and(|text| text.contains("\\u0000")) {
            refuse_nul(&value, "")?;
        }
        match value {
            Value::Object(object) => Ok(object),
            _ => Err(HttpProblem::invalid("", "the body must be a JSON object")),
        }
    }

    /// Whether there is no body.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Refuses U+0000 anywhere in a body: PostgreSQL cannot store it, and no field has a use for it.
fn refuse_nul(value: &Value, path: &str) -> Result<(), HttpProblem> {
    let refuse = |text: &str| match text.contains('\0') {
        true => Err(HttpProblem::invalid(path, "must not contain the character U+0000")),
        false => Ok(()),
    };
    match value {
        Value::String(text) => refuse(text),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .try_for_each(|(index, item)| refuse_nul(item, &format!("{path}/{index}"))),
        Value::Object(members) => members.iter().try_for_each(|(name, member)| {
            refuse(name)?;
            refuse_nul(member, &pointer::member(path, name))
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
    }
}

impl Caller {
    /// A command of a request of this caller.
    pub fn command(
        &self,
        request_id: &RequestId,
        idempotency: Option<IdempotencyKey>,
        action: Action,
    ) -> Command {
        Command {
            meta: Meta {
                actor: self.actor.clone(),
                on_behalf_of: self.on_behalf_of.clone(),
                source: Source::Api,
                request_id: request_id.as_str().to_owned(),
            },
            seed: Uuid::now_v7(),
            idempotency,
            action,
        }
    }
}

impl Mutation {
    /// A command of this request.
    pub fn command(&self, action: Action) -> Command {
        self.caller.command(&self.request_id, self.idempotency.clone(), action)
    }

    /// Submits this request's one command.
    ///
    /// # Errors
    ///
    /// Why it has no effect.
    pub async fn submit(&self, app: &App, action: Action) -> Result<Outcome, HttpProblem> {
        let outcome = app.lanes.submit(self.command(action)).await;
        if let Err(Refusal::Rejected(rejection)) = &outcome {
            bookings::warn_of_no_room(rejection, &self.request_id);
        }
        let outcome = outcome?;
        if matches!(outcome, Outcome::Replayed(_)) {
            crate::metrics::replayed();
        }
        Ok(outcome)
    }
}

impl FromRequest for Mutation {
    type Error = HttpProblem;
    type Future = LocalBoxFuture<'static, Result<Self, HttpProblem>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let request = request.clone();
        let payload = payload.take();
        Box::pin(async move {
            let caller = caller(&request)?;
            let body = read_body(&request, payload).await?;
            precondition::refuse_fence(&request)?;
            let idempotency = idempotency_key(&request, &caller, &body)?;
            if let Some(key) = &idempotency {
                // For whoever has to answer if the handler cannot make a command of it.
                request.extensions_mut().insert(key.clone());
            }
            Ok(Self { caller, request_id: request_id(&request), body, idempotency })
        })
    }
}

impl FromRequest for Caller {
    type Error = HttpProblem;
    type Future = std::future::Ready<Result<Self, HttpProblem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        std::future::ready(caller(request))
    }
}

fn caller(request: &HttpRequest) -> Result<Caller, HttpProblem> {
    let known = request.extensions().get::<Caller>().cloned();
    known.ok_or_else(unaccepted)
}

/// Collects a body of bounded size and a content type that the method reads.
async fn read_body(request: &HttpRequest, mut payload: Payload) -> Result<Body, HttpProblem> {
    let too_large = || {
        HttpProblem::new(
            Code::PayloadTooLarge,
            format!("a body has {BODY_LIMIT_BYTES} bytes at most"),
        )
    };
    let announced = request.headers().get(header::CONTENT_LENGTH);
    let announced = announced.and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > BODY_LIMIT_BYTES) {
        return Err(too_large());
    }
    let mut bytes = web::BytesMut::new();
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|_| {
            HttpProblem::new(Code::MalformedRequest, "the body ended before it was complete")
        })?;
        if bytes.len().saturating_add(chunk.len()) > BODY_LIMIT_BYTES {
            return Err(too_large());
        }
        bytes.extend_from_slice(&chunk);
    }
    if !bytes.is_empty() {
        refuse_content_type(request)?;
    }
    Ok(Body(bytes.freeze()))
}

fn refuse_content_type(request: &HttpRequest) -> Result<(), HttpProblem> {
    let given = request.headers().get(header::CONTENT_TYPE);
    let given = given.and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = given.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let merge_patch =
        request.method() == Method::PATCH && essence == "application/merge-patch+json";
    if essence == "application/json" || merge_patch {
        return Ok(());
    }
    let wanted = if request.method() == Method::PATCH {
        "application/merge-patch+json or application/json"
    } else {
        "application/json"
    };
    Err(HttpProblem::new(Code::UnsupportedMediaType, format!("send {wanted}")))
}

/// Reads the Idempotency-Key and digests what "the same request" means.
fn idempotency_key(
    request: &HttpRequest,
    caller: &Caller,
    body: &Body,
) -> Result<Option<IdempotencyKey>, HttpProblem> {
    let rule = request.extensions().get::<EndpointInfo>().map(|info| info.idempotency);
    let Some(value) = request.headers().get("idempotency-key") else {
        return match rule {
            Some(Idempotency::Required) => Err(HttpProblem::new(
                Code::IdempotencyKeyRequired,
                "a repeat of this request costs money; send an Idempotency-Key",
            )),
            _ => Ok(None),
        };
    };
    let text = value.to_str().unwrap_or_default().trim();
    let quoted = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let key = quoted.unwrap_or(text);
    if key.is_empty() || key.len() > 255 || !key.bytes().all(|byte| (0x21..=0x7e).contains(&byte)) {
        return Err(HttpProblem::new(
            Code::MalformedRequest,
            "an Idempotency-Key has 1 to 255 visible ASCII characters",
        ));
    }
    Ok(Some(IdempotencyKey {
        scope: caller.actor.key_id.clone(),
        key: key.to_owned(),
        fingerprint: fingerprint(request, body),
    }))
}

/// A digest of method, path, query, precondition and canonical body.
fn fingerprint(request: &HttpRequest, body: &Body) -> String {
    let mut hasher = Sha256::new();
    let mut part = |bytes: &[u8]| {
        hasher.update(bytes);
        hasher.update([0]);
    };
    part(request.method().as_str().as_bytes());
    part(request.path().as_bytes());
    part(request.query_string().as_bytes());
    for value in request.headers().get_all(header::IF_MATCH) {
        part(value.as_bytes());
    }
    part(b"");
    // Keys in order and without white space; what is not JSON is digested as it is.
    let canonical = serde_json::from_slice(&body.0).and_then(|mut value: Value| {
        value.sort_all_objects();
        serde_json::to_vec(&value)
    });
    part(canonical.as_deref().unwrap_or(&body.0));
    hex(&hasher.finalize())
}
