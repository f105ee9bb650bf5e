//! Actions on API keys.

use super::{CreateApiKey, Need, NoteUse, Outcome, Rejection, RevokeApiKey, RotateApiKey};
use crate::core::{Context, Wants};

/// An action on API keys.
#[derive(Clone, Debug)]
pub enum Action {
    /// Create an API key.
    CreateApiKey(CreateApiKey),
    /// Replace an API key by a new one of the same kind.
    RotateApiKey(RotateApiKey),
    /// Revoke an API key.
    RevokeApiKey(RevokeApiKey),
    /// Note when API keys were used.
    NoteUse(NoteUse),
}

impl Action {
    /// The object that the action is about.
    pub fn subject(&self) -> Option<&str> {
        match self {
            Self::RevokeApiKey(revoke) => Some(&revoke.id),
            Self::RotateApiKey(rotate) => Some(&rotate.id),
            Self::CreateApiKey(_) | Self::NoteUse(_) => None,
        }
    }

    /// Whether a scoped key may ask for this, about an object that it sees.
    pub(crate) fn is_for_scoped_keys(&self) -> bool {
        match self {
            Self::CreateApiKey(_)
            | Self::RotateApiKey(_)
            | Self::RevokeApiKey(_)
            | Self::NoteUse(_) => false,
        }
    }

    pub(crate) fn wants<'c>(&'c self, wants: &mut Wants<'_, 'c, Need>) {
        match self {
            Self::RevokeApiKey(revoke) => revoke.wants(wants),
            Self::CreateApiKey(create) => create.wants(wants),
            Self::RotateApiKey(rotate) => rotate.wants(wants),
            Self::NoteUse(note) => note.wants(wants),
        }
    }

    pub(crate) fn decide(&self, ctx: &mut Context<'_>) -> Result<Outcome, Rejection> {
        match self {
            Self::CreateApiKey(create) => create.decide(ctx),
            Self::RotateApiKey(rotate) => rotate.decide(ctx),
            Self::RevokeApiKey(revoke) => revoke.decide(ctx),
            Self::NoteUse(note) => Ok(note.decide(ctx)),
        }
    }
}
