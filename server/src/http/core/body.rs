//! A request's body: read up to its limit, and parsed as JSON once.

use super::{endpoint::EndpointInfo, problem::HttpProblem};
use actix_web::{
    HttpMessage, HttpRequest,
    dev::Payload,
    http::header::{self, HeaderMap},
    web,
};
use futures::StreamExt;
use ifmatch_types::{Code, pointer};
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

/// A request's parsed body. Handlers decide when to report a parse error.
#[derive(Debug)]
pub struct Body {
    bytes: web::Bytes,
    size: usize,
    json: Result<Value, serde_json::Error>,
}

impl Body {
    /// Reads and parses a body.
    ///
    /// # Errors
    ///
    /// `PAYLOAD_TOO_LARGE`, `UNSUPPORTED_MEDIA_TYPE`, `MALFORMED_REQUEST` if it ends early, or
    /// `REQUEST_TIMEOUT`.
    pub async fn read(request: &HttpRequest, payload: Payload) -> Result<Self, HttpProblem> {
        let bytes = timeout(BODY_TIMEOUT, collect(request, payload)).await.map_err(|_| {
            let detail = format!("a body must arrive within {} s", BODY_TIMEOUT.as_secs());
            HttpProblem::new(Code::RequestTimeout, detail)
        })??;
        request.extensions_mut().insert(BodyRead);
        if !bytes.is_empty() {
            refuse_content_type(request)?;
        }
        let json = serde_json::from_slice(&bytes);
        Ok(Self { size: bytes.len(), bytes, json })
    }

    /// The number of its bytes.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Takes the body as a JSON object.
    ///
    /// # Errors
    ///
    /// `MALFORMED_REQUEST` if it is not JSON, `VALIDATION_FAILED` if it is not an object.
    pub fn object(&mut self) -> Result<Map<String, Value>, HttpProblem> {
        let value = self.json.as_mut().map_err(|error| {
            HttpProblem::new(Code::MalformedRequest, format!("the body is not JSON: {error}"))
        })?;
        // A NUL is always escaped in JSON text, so most bodies need no walk.
        if std::str::from_utf8(&self.bytes).is_ok_and(|text| text.contains("\\u0000")) {
            refuse_nul(value, "")?;
        }
        // From now on it is kept once: parsed, in the command.
        self.bytes = web::Bytes::new();
        match value.take() {
            Value::Object(object) => Ok(object),
            _ => Err(HttpProblem::invalid("", "the body must be a JSON object")),
        }
    }

    /// Takes the body as a JSON object. A missing body counts as an empty object.
    ///
    /// # Errors
    ///
    /// As [`object`](Self::object).
    pub fn object_or_empty(&mut self) -> Result<Map<String, Value>, HttpProblem> {
        if self.size == 0 { Ok(Map::new()) } else { self.object() }
    }

    /// The canonical bytes of the body for a fingerprint: sorted keys and no white space.
    ///
    /// A body that is not JSON is used as it is.
    pub fn canonical(&self) -> Vec<u8> {
        let canonical = self.json.as_ref().ok().and_then(|value| {
            let mut value = value.clone();
            value.sort_all_objects();
            serde_json::to_vec(&value).ok()
        });
        canonical.unwrap_or_else(|| self.bytes.to_vec())
    }
}

/// Refuses U+0000 anywhere in a body. PostgreSQL cannot store it, and no field needs it.
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
