//! Reasons to refuse an API key command.

use crate::core;

/// A rejection of an API key command.
#[derive(Clone, Debug, PartialEq)]
pub enum Rejection {
    /// A rejection by a rule that all systems share.
    Core(core::Rejection),
}

impl From<core::Rejection> for Rejection {
    fn from(rejection: core::Rejection) -> Self {
        Self::Core(rejection)
    }
}
