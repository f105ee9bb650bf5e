//! API keys as they are stored.

use crate::core::Guarded;
use ifmatch_types::ApiKey;

/// An API key as it is stored: with its digest, without its secret.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredApiKey {
    /// The key as the API shows it.
    pub key: ApiKey,
    /// The SHA-256 digest of the whole key, in hexadecimal digits.
    pub digest: String,
}

impl Guarded for StoredApiKey {
    fn guard(&self) -> i64 {
        if self.key.revoked_at.is_none() { 1 } else { 2 }
    }
}
