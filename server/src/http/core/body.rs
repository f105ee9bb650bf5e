//! A request's body: read up to its limit, and parsed as JSON once.

use super::{
    endpoint::EndpointInfo,
    json::{self, Place},
    problem::HttpProblem,
};
use actix_web::{
    HttpMessage, HttpRequest,
    dev::Payload,
    http::header::{self, HeaderMap},
    web,
};
use futures::StreamExt;
use ifmatch_types::{Code, INTEGER_MAX, integer::is_exact};
use serde_json::{Map, Value};
use std::time::Duration;
use tokio::time::timeout;

/// Maximum size of a body, in bytes.
const BODY_LIMIT_BYTES: usize = 64 * 1024;
/// Maximum time for a body to arrive after its head.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Marks a request whose body was read to its end. It is in the request's extensions.
///
/// An answer to any other request with a body closes the connection: the rest of the body would be
/// read for nothing, for as long as its client likes.
pub struct BodyRead;

/// A request's parsed body; `None` if it is empty and may be.
#[derive(Debug)]
pub struct Body {
    json: Option<Value>,
    /// Where it has a number that was rounded to an integer.
    rounded: Option<String>,
    size: usize,
}

impl Body {
    /// Reads and parses a body.
    ///
    /// # Errors
    ///
    /// `PAYLOAD_TOO_LARGE`, `UNSUPPORTED_MEDIA_TYPE`, `REQUEST_TIMEOUT`, or `MALFORMED_REQUEST` if it
    /// ends early, is not JSON, or has a member twice.
    pub async fn read(request: &HttpRequest, payload: Payload) -> Result<Self, HttpProblem> {
        refuse_encoding(request)?;
        let bytes = timeout(BODY_TIMEOUT, collect(request, payload)).await.map_err(|_| {
            let detail = format!("a body must arrive within {} s", BODY_TIMEOUT.as_secs());
            HttpProblem::new(Code::RequestTimeout, detail)
        })??;
        request.extensions_mut().insert(BodyRead);
        let size = bytes.len();
        if bytes.is_empty() && !needs_body(request) {
            return Ok(Self { json: None, rounded: None, size });
        }
        if !bytes.is_empty() {
            refuse_content_type(request)?;
        }
        match json::parse(&bytes) {
            Ok(json) => Ok(Self { json: Some(json), rounded: json::rounded(&bytes), size }),
            Err(error) if error.is_data() => {
                Err(HttpProblem::new(Code::MalformedRequest, error.to_string()))
            }
            Err(error) => Err(HttpProblem::new(
                Code::MalformedRequest,
                format!("the body is not JSON: {error}"),
            )),
        }
    }

    /// Takes the body as a JSON object. A missing body counts as an empty object.
    ///
    /// # Errors
    ///
    /// `VALIDATION_FAILED` if it is not an object, or has a text or number that cannot be stored.
    pub fn object(&mut self) -> Result<Map<String, Value>, HttpProblem> {
        let Some(value) = &mut self.json else { return Ok(Map::new()) };
        refuse_unstorable(value, Place::Root)?;
        if let Some(place) = &self.rounded {
            let message = "has more digits than a number can have here; no value is rounded";
            return Err(HttpProblem::invalid(place, message));
        }
        match value.take() {
            Value::Object(object) => Ok(object),
            _ => Err(HttpProblem::invalid("", "the body must be a JSON object")),
        }
    }

    /// The number of its bytes.
    pub fn size(&self) -> usize {
        self.size
    }

    /// The canonical bytes of the body for a fingerprint: sorted keys and no white space.
    pub fn canonical(&self) -> Vec<u8> {
        let Some(mut value) = self.json.clone() else { return Vec::new() };
        value.sort_all_objects();
        serde_json::to_vec(&value).expect("a JSON value is JSON")
    }
}

/// Refuses what no field can store, anywhere in a body: U+0000, which PostgreSQL cannot store, and
/// integers that some JSON readers would round.
fn refuse_unstorable(value: &Value, place: Place<'_>) -> Result<(), HttpProblem> {
    let refuse_nul = |text: &str, place: Place<'_>| match text.contains('\0') {
        true => {
            let message = "must not contain the character U+0000";
            Err(HttpProblem::invalid(place.pointer(), message))
        }
        false => Ok(()),
    };
    match value {
        Value::String(text) => refuse_nul(text, place),
        Value::Number(number) => {
            let is_integer = number.is_i64() || number.is_u64();
            if is_integer && !number.as_i64().is_some_and(is_exact) {
                let message = format!("must be an integer from -{INTEGER_MAX} to {INTEGER_MAX}");
                return Err(HttpProblem::invalid(place.pointer(), message));
            }
            Ok(())
        }
        Value::Array(items) => items
            .iter()
            .enumerate()
            .try_for_each(|(index, item)| refuse_unstorable(item, Place::Item(&place, index))),
        Value::Object(members) => members.iter().try_for_each(|(name, member)| {
            refuse_nul(name, place)?;
            refuse_unstorable(member, Place::Member(&place, name))
        }),
        Value::Null | Value::Bool(_) => Ok(()),
    }
}

/// Whether the endpoint cannot do without a body.
fn needs_body(request: &HttpRequest) -> bool {
    request.extensions().get::<EndpointInfo>().is_some_and(|info| info.needs_body)
}

async fn collect(request: &HttpRequest, mut payload: Payload) -> Result<web::Bytes, HttpProblem> {
    refuse_announced(request.headers())?;
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
    Ok(bytes.freeze())
}

/// Refuses a body whose announced length is too large.
///
/// # Errors
///
/// `PAYLOAD_TOO_LARGE`.
pub fn refuse_announced(headers: &HeaderMap) -> Result<(), HttpProblem> {
    let announced = headers.get(header::CONTENT_LENGTH);
    let announced = announced.and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    match announced {
        Some(length) if length > BODY_LIMIT_BYTES => Err(too_large()),
        _ => Ok(()),
    }
}

fn too_large() -> HttpProblem {
    let detail = format!("a body must have at most {BODY_LIMIT_BYTES} bytes");
    HttpProblem::new(Code::PayloadTooLarge, detail)
}

/// Refuses a compressed body. It could be far larger than what was sent.
fn refuse_encoding(request: &HttpRequest) -> Result<(), HttpProblem> {
    let encodings = request.headers().get_all(header::CONTENT_ENCODING);
    let is_identity = |value: &header::HeaderValue| {
        let text = value.to_str().unwrap_or("?");
        text.split(',')
            .map(str::trim)
            .all(|one| one.is_empty() || one.eq_ignore_ascii_case("identity"))
    };
    if encodings.into_iter().all(is_identity) {
        return Ok(());
    }
    let detail = "send the body as it is, without a Content-Encoding";
    Err(HttpProblem::new(Code::UnsupportedMediaType, detail).accepting_no_encoding())
}

fn refuse_content_type(request: &HttpRequest) -> Result<(), HttpProblem> {
    let given = request.headers().get(header::CONTENT_TYPE);
    let given = given.and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = given.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let info = request.extensions().get::<EndpointInfo>().copied();
    let takes_patch = info.is_some_and(|info| info.takes_patch);
    let merge_patch = takes_patch && essence == "application/merge-patch+json";
    if essence == "application/json" || merge_patch {
        return Ok(());
    }
    let wanted = if takes_patch {
        "application/merge-patch+json or application/json"
    } else {
        "application/json"
    };
    Err(HttpProblem::new(Code::UnsupportedMediaType, format!("send {wanted}")))
}
