//! Needs of the API key rules.

use crate::core::{LockClass, SystemNeed, Turn};

/// Something that must be loaded for an API key command.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Need {
    /// An API key; its row is locked.
    ApiKey(String),
    /// The ids of the keys with this name that were not revoked.
    KeysNamed(String),
}

impl SystemNeed for Need {
    fn lock(&self) -> Option<(LockClass, &str)> {
        match self {
            Self::ApiKey(id) => Some((LockClass::ApiKey, id)),
            Self::KeysNamed(_) => None,
        }
    }

    fn turn(&self) -> Turn {
        match self {
            Self::ApiKey(_) | Self::KeysNamed(_) => Turn::Objects,
        }
    }
}
