//! The headers of a request that may stand only once.
//!
//! Of two lines, different programs on the way take different ones: a key that makes a repeat
//! harmless, or the name of a user, would depend on the order.

use super::problem::HttpProblem;
use actix_web::http::header::HeaderMap;
use ifmatch_types::Code;

/// Every header that the API reads as one value.
///
/// `If-Match`, `If-None-Match`, `Prefer` and `Content-Encoding` are lists. A doubled `X-Request-Id`
/// decides nothing: it names log lines.
const SINGLE: [&str; 9] = [
    "authorization",
    "idempotency-key",
    "x-on-behalf-of",
    "x-force-reason",
    "content-type",
    "last-event-id",
    "x-lock",
    "x-lock-fence",
    "x-lock-workspace",
];

/// Whether a header stands more than once.
pub fn is_repeated(headers: &HeaderMap, name: &str) -> bool {
    headers.get_all(name).nth(1).is_some()
}

/// Refuses a header that stands more than once.
///
/// # Errors
///
/// `MALFORMED_REQUEST` naming it.
pub fn refuse_repeated(headers: &HeaderMap) -> Result<(), HttpProblem> {
    // Most requests repeat no header at all.
    if headers.len() == headers.len_keys() {
        return Ok(());
    }
    match SINGLE.into_iter().find(|name| is_repeated(headers, name)) {
        Some(name) => Err(repeated(name)),
        None => Ok(()),
    }
}

/// The refusal of a header that stands more than once.
pub fn repeated(name: &str) -> HttpProblem {
    let detail = format!("the header {name} must stand only once");
    HttpProblem::new(Code::MalformedRequest, detail).with("header", name)
}
