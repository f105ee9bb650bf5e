//! One request that can be sent repeatedly with the same bytes and the same key.

use crate::{Error, Fence, locks::OwnerToken};
use reqwest::{
    Method, Url,
    header::{HeaderMap, HeaderName, HeaderValue},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// The methods this crate uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Verb {
    Get,
    Post,
    Patch,
    Delete,
}

/// The parts of a request that are the same in every send.
///
/// It holds no credentials, so that it can be kept in an [`OutcomeUnknown`](crate::OutcomeUnknown)
/// and written to disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Request {
    pub(crate) verb: Verb,
    segments: Vec<String>,
    query: Vec<(String, String)>,
    body: Option<String>,
    force_reason: Option<String>,
    /// The grant that must be the current one at the commit.
    #[serde(default)]
    pub(crate) fence: Option<Fence>,
    /// Goes into the body when it is sent. Kept apart, because bodies are shown and written to disk.
    #[serde(default)]
    owner: Option<OwnerToken>,
    pub(crate) on_behalf_of: Option<String>,
    /// The mark of the API key it is sent with. The server keeps answers per key.
    #[serde(default)]
    pub(crate) sender: Option<KeyMark>,
    /// Present exactly on requests that may change something. They must not be sent twice without
    /// it.
    pub(crate) idempotency_key: Option<String>,
    /// The same for every send, for the logs. A gateway may replace it.
    pub(crate) request_id: String,
    /// How long a stale write waits for its turn, in seconds, and the turn that it has. Each send has
    /// its own.
    #[serde(skip)]
    pub(crate) turn_wait: Option<(u64, String)>,
}

/// A mark that tells API keys apart: 32 bits (FNV-1a), from which no key can be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeyMark(u32);

impl KeyMark {
    pub(crate) fn of(key: &str) -> Self {
        let mix = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
        Self(key.bytes().fold(0x811c_9dc5, mix))
    }
}

/// A fresh idempotency key, which makes a repeated send harmless. Keys of about the same time are
/// neighbours in the server's index of kept answers, which makes them cheaper to keep.
pub(crate) fn fresh_key() -> String {
    uuid::Uuid::now_v7().to_string()
}

/// An idempotency key as the server reads it: without the spaces and the quotes around it.
fn unquoted(key: &str) -> &str {
    let key = key.trim();
    key.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(key)
}

impl Request {
    pub(crate) fn new(verb: Verb, segments: &[&str]) -> Self {
        Self {
            verb,
            segments: segments.iter().map(|segment| (*segment).to_owned()).collect(),
            query: Vec::new(),
            body: None,
            force_reason: None,
            fence: None,
            owner: None,
            on_behalf_of: None,
            sender: None,
            idempotency_key: None,
            request_id: fresh_key(),
            turn_wait: None,
        }
    }

    /// Sets a query parameter, in place of an earlier value.
    pub(crate) fn query(mut self, name: &str, value: impl ToString) -> Self {
        self.query.retain(|(known, _)| known != name);
        self.query.push((name.to_owned(), value.to_string()));
        self
    }

    pub(crate) fn body(mut self, body: &Value) -> Self {
        self.body = Some(body.to_string());
        self
    }

    pub(crate) fn key(mut self, key: Option<String>) -> Self {
        self.idempotency_key = Some(key.unwrap_or_else(fresh_key));
        self
    }

    pub(crate) fn force(self, reason: &str) -> Self {
        let mut forced = self.query("force", true);
        forced.force_reason = Some(reason.to_owned());
        forced
    }

    /// Asks the server to keep a refusal until this caller's turn (RFC 7240).
    ///
    /// `turn` is the id of the conflict that it had in its turn; empty if it had none.
    pub(crate) fn waiting_for_turn(mut self, wait_s: u64, turn: &str) -> Self {
        self.turn_wait = Some((wait_s, turn.to_owned()));
        self
    }

    pub(crate) fn fenced_by(mut self, fence: Option<&Fence>) -> Self {
        self.fence = fence.cloned();
        self
    }

    pub(crate) fn owned_by(mut self, owner: OwnerToken) -> Self {
        self.owner = Some(owner);
        self
    }

    /// The digest by which the history knows a write with this key: SHA-256 in hexadecimal digits.
    pub(crate) fn key_digest(&self) -> Option<String> {
        let key = unquoted(self.idempotency_key.as_ref()?);
        Some(Sha256::digest(key.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// Whether a lost answer leaves its effect in doubt.
    pub(crate) fn is_mutation(&self) -> bool {
        self.idempotency_key.is_some()
    }

    /// Whether it skips the version check.
    pub(crate) fn is_forced(&self) -> bool {
        self.force_reason.is_some()
    }

    /// The body without secrets.
    pub(crate) fn body_text(&self) -> Option<&str> {
        self.body.as_deref()
    }

    /// The body as it is sent.
    pub(crate) fn payload(&self) -> Result<Option<String>, Error> {
        match &self.owner {
            Some(owner) => owner.put_into(self.body_text()).map(Some),
            None => Ok(self.body.clone()),
        }
    }

    /// The path for logs, without the query: filters may name people.
    pub(crate) fn path(&self) -> String {
        format!("/v1/{}", self.segments.join("/"))
    }

    pub(crate) fn method(&self) -> Method {
        match self.verb {
            Verb::Get => Method::GET,
            Verb::Post => Method::POST,
            Verb::Patch => Method::PATCH,
            Verb::Delete => Method::DELETE,
        }
    }

    pub(crate) fn url(&self, base: &Url) -> Result<Url, Error> {
        // A URL drops tabs and line ends. The rest would be another id, or a dot segment.
        if self.segments.iter().any(|one| one.chars().any(char::is_control)) {
            return Err(Error::Unsendable("a part of the path holds a control character".into()));
        }
        // A dot segment would be taken as a step in the path, even if it is escaped.
        if let Some(dots) = self.segments.iter().find(|one| matches!(one.as_str(), "" | "." | ".."))
        {
            return Err(Error::Unsendable(format!("`{dots}` cannot be a part of a path")));
        }
        let mut url = base.clone();
        url.path_segments_mut()
            .map_err(|()| Error::Setup(format!("{base} cannot have a path")))?
            .pop_if_empty()
            .push("v1")
            .extend(&self.segments);
        if !self.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&self.query);
        }
        Ok(url)
    }

    /// The headers, credentials aside.
    pub(crate) fn headers(&self) -> Result<HeaderMap, Error> {
        let mut headers = HeaderMap::new();
        let mut put = |name: &'static str, value: &str| {
            let value = HeaderValue::from_bytes(value.as_bytes())
                .map_err(|_| Error::Unsendable(format!("{name} holds a control character")))?;
            headers.insert(HeaderName::from_static(name), value);
            Ok::<(), Error>(())
        };
        put("accept", "application/json, application/problem+json")?;
        put("x-request-id", &self.request_id)?;
        if self.verb == Verb::Get {
            // A base from a proxy's cache would make every attempt stale.
            put("cache-control", "no-cache")?;
        }
        if self.body.is_some() {
            let content_type = match self.verb {
                Verb::Patch => "application/merge-patch+json",
                _ => "application/json",
            };
            put("content-type", content_type)?;
        }
        if let Some(key) = &self.idempotency_key {
            put("idempotency-key", key)?;
        }
        if let Some((wait_s, turn)) = &self.turn_wait {
            put("prefer", &format!("wait={wait_s}; turn=\"{turn}\""))?;
        }
        if let Some(reason) = &self.force_reason {
            put("x-force-reason", reason)?;
        }
        if let Some(fence) = &self.fence {
            put("x-lock", &fence.name.to_string())?;
            put("x-lock-fence", &fence.number().to_string())?;
            if let Some(workspace_id) = &fence.name.workspace_id {
                put("x-lock-workspace", workspace_id.as_str())?;
            }
        }
        if let Some(user) = &self.on_behalf_of {
            put("x-on-behalf-of", user)?;
        }
        Ok(headers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_cannot_leave_its_place_in_the_path() {
        let request = Request::new(Verb::Get, &["plans", "../api-keys?x=1#y"]).query("q", "a&b");
        let base = Url::parse("http://billing.test/prefix/").expect("a URL");
        assert_eq!(
            request.url(&base).expect("a path").as_str(),
            "http://billing.test/prefix/v1/plans/..%2Fapi-keys%3Fx=1%23y?q=a%26b"
        );
    }

    #[test]
    fn dots_are_no_ids() {
        let base = Url::parse("http://billing.test").expect("a URL");
        for id in ["", ".", ".."] {
            let url = Request::new(Verb::Delete, &["plans", id]).url(&base);
            assert!(matches!(url, Err(Error::Unsendable(_))), "{url:?}");
        }
        assert!(Request::new(Verb::Get, &["features", "..."]).url(&base).is_ok());
    }

    /// A URL drops tabs and line ends, which would make another id of it.
    #[test]
    fn control_characters_are_in_no_id() {
        let base = Url::parse("http://billing.test").expect("a URL");
        for id in [".\t.", "\nwsp_x", "wsp_x\r", "\t", "wsp\0x", "wsp\u{85}x"] {
            let url = Request::new(Verb::Delete, &["workspaces", id]).url(&base);
            assert!(matches!(url, Err(Error::Unsendable(_))), "{url:?}");
        }
    }

    #[test]
    fn a_reason_may_be_in_any_language_but_not_break_the_header() {
        let request = |reason| Request::new(Verb::Patch, &["plans"]).force(reason);
        assert!(request("zurückgebucht").headers().is_ok());
        let broken = request("a\r\nX-Evil: 1").headers();
        assert!(matches!(broken, Err(Error::Unsendable(_))), "{broken:?}");
    }
}
