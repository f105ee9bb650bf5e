//! Actions on API keys.

use super::{CreateApiKey, Need, Outcome, Rejection, RevokeApiKey};
use crate::core::{Context, Wants};

/// An action on API keys.
#[derive(Clone, Debug)]
pub enum Action {
    /// Create an API key.
    CreateApiKey(CreateApiKey),
    /// Revoke an API key.
    RevokeApiKey(RevokeApiKey),
}

impl Action {
    /// The object that the action is about.
    pub fn subject(&self) -> Option<&str> {
        match self {
            Self::RevokeApiKey(revoke) => Some(&revoke.id),
            Self::CreateApiKey(_) => None,
        }
    }

    pub(crate) fn wants<'c>(&'c self, wants: &mut Wants<'_, 'c, Need>) {
        match self {
            Self::RevokeApiKey(revoke) => revoke.wants(wants),
            Self::CreateApiKey(create) => create.wants(wants),
        }
    }

    pub(crate) fn decide(&self, ctx: &mut Context<'_>) -> Result<Outcome, Rejection> {
        match self {
            Self::CreateApiKey(create) => create.decide(ctx),
            Self::RevokeApiKey(revoke) => revoke.decide(ctx),
        }
    }
}
