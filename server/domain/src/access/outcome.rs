//! Outcomes of API key commands.

use super::StoredApiKey;

/// The outcome of an API key command.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The API key was created.
    ApiKeyCreated(StoredApiKey),
    /// The API key was replaced by a new one.
    ApiKeyRotated {
        /// The old key, which ends after the overlap.
        old: Box<StoredApiKey>,
        /// The new key.
        new: Box<StoredApiKey>,
    },
    /// The uses of these keys are noted.
    UseNoted(Vec<StoredApiKey>),
    /// The API key is revoked.
    ApiKeyRevoked(StoredApiKey),
}
