//! The `Idempotency-Key` of a request, and the fingerprint that identifies equal requests.

use super::{
    body::Body,
    caller::Caller,
    endpoint::{EndpointInfo, Idempotency},
    precondition,
    problem::HttpProblem,
    tag,
};
use crate::key::hex;
use actix_web::{HttpMessage, HttpRequest};
use ifmatch_domain::core::IdempotencyKey;
use ifmatch_types::Code;
use sha2::{Digest, Sha256};

/// Reads the Idempotency-Key, and computes the fingerprint of the request.
///
/// # Errors
///
/// `IDEMPOTENCY_KEY_REQUIRED` if the endpoint needs a key and there is none, `MALFORMED_REQUEST` if
/// the key is not valid.
pub fn read(
    request: &HttpRequest,
    caller: &Caller,
    conditions: &precondition::Headers,
    body: &Body,
) -> Result<Option<IdempotencyKey>, HttpProblem> {
    let rule = request.extensions().get::<EndpointInfo>().map(|info| info.idempotency);
    if rule == Some(Idempotency::None) {
        return Ok(None);
    }
    let Some(value) = request.headers().get("idempotency-key") else {
        return match rule {
            Some(Idempotency::Required) => Err(required()),
            Some(Idempotency::None | Idempotency::Optional) | None => Ok(None),
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
        owner: caller.line_id.clone(),
        key: key.to_owned(),
        fingerprint: fingerprint(request, conditions, body),
    }))
}

/// The refusal of a request whose repeat costs money and that has no Idempotency-Key.
pub fn required() -> HttpProblem {
    HttpProblem::new(
        Code::IdempotencyKeyRequired,
        "a repeat of this request costs money; send an Idempotency-Key",
    )
}

/// A digest of method, path, query, preconditions, fence and canonical body.
///
/// How long to wait for the answer (`wait_ms`) does not make another request, and neither does how
/// an intermediary spells a tag.
fn fingerprint(request: &HttpRequest, conditions: &precondition::Headers, body: &Body) -> String {
    let mut hasher = Sha256::new();
    let mut part = |bytes: &[u8]| {
        hasher.update(bytes);
        hasher.update([0]);
    };
    part(request.method().as_str().as_bytes());
    part(request.path().as_bytes());
    let query = request.query_string().split('&').filter(|pair| !pair.starts_with("wait_ms="));
    part(query.collect::<Vec<_>>().join("&").as_bytes());
    if let Some(tags) = &conditions.if_match {
        part(tag::text(tags).as_bytes());
    }
    if let Some(tags) = &conditions.if_none_match {
        part(b"if-none-match");
        part(tag::text(tags).as_bytes());
    }
    for name in ["x-lock", "x-lock-fence", "x-lock-workspace"] {
        for value in request.headers().get_all(name) {
            part(name.as_bytes());
            part(value.as_bytes());
        }
    }
    part(b"");
    part(&body.canonical());
    hex(&hasher.finalize())
}
