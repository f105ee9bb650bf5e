//! Outcomes of API key commands.

use super::StoredApiKey;

/// The outcome of an API key command.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The API key was created.
    ApiKeyCreated(StoredApiKey),
    /// The API key is revoked.
    ApiKeyRevoked(StoredApiKey),
}
