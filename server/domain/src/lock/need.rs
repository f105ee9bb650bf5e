//! Needs of the rules of locks.

use crate::core::{LockClass, SystemNeed, Turn};

/// Something that must be loaded for a command about a lock, or for one that names a fence.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Need {
    /// A lock; its row is locked.
    Lock(String),
}

impl SystemNeed for Need {
    fn lock(&self) -> Option<(LockClass, &str)> {
        match self {
            Self::Lock(id) => Some((LockClass::NamedLock, id)),
        }
    }

    fn turn(&self) -> Turn {
        match self {
            Self::Lock(_) => Turn::Objects,
        }
    }
}
