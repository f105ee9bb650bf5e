//! API keys as they are stored.

use crate::core::Guarded;
use ifmatch_types::{ApiKey, ApiKeyId, Timestamp};

/// An API key as it is stored: with its digest, without its secret.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredApiKey {
    /// The key as the API shows it.
    pub key: ApiKey,
    /// The SHA-256 digest of the whole key, in hexadecimal digits.
    pub digest: String,
    /// 1 at creation, and one more with each change of its rights or its end.
    pub version: i64,
    /// Its name, while it holds it. No two keys hold one name.
    pub name_key: Option<String>,
    /// The first key of its line, if it replaced another key. The keys of a line share their
    /// Idempotency-Keys.
    pub line_id: Option<ApiKeyId>,
}

impl StoredApiKey {
    /// A new key.
    pub fn new(key: ApiKey, digest: String) -> Self {
        let name_key = Some(key.name.clone());
        Self { key, digest, version: 1, name_key, line_id: None }
    }

    /// The first key of its line.
    pub fn line(&self) -> &ApiKeyId {
        self.line_id.as_ref().unwrap_or(&self.key.id)
    }

    /// Whether the key is accepted at this instant.
    pub fn is_living(&self, now: Timestamp) -> bool {
        self.key.revoked_at.is_none() && self.key.expires_at.is_none_or(|end| end > now)
    }

    /// Changes the key, in its next version.
    pub(crate) fn changed(&self, change: impl FnOnce(&mut Self)) -> Self {
        let mut next = self.clone();
        change(&mut next);
        next.version = self.version.saturating_add(1);
        next
    }
}

impl Guarded for StoredApiKey {
    fn guard(&self) -> i64 {
        self.version
    }
}
