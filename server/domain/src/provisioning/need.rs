//! Needs of the rules of provisioning.

use crate::{
    core::{LockClass, SystemNeed, Turn},
    ledger,
};

/// Something that must be loaded for a command about a server.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Need {
    /// A need of the ledger, for the credits of a server.
    Ledger(ledger::Need),
    /// How many servers of a product a workspace has, by workspace and product. The lock of the
    /// workspace's row protects it.
    Slots(String, String),
    /// The servers that have this id on the panel and were not deleted; not locked. One that failed has
    /// an id there while it is to be deleted.
    Holders(i64),
}

impl SystemNeed for Need {
    fn lock(&self) -> Option<(LockClass, &str)> {
        match self {
            Self::Ledger(need) => need.lock(),
            Self::Slots(..) | Self::Holders(_) => None,
        }
    }

    fn turn(&self) -> Turn {
        match self {
            Self::Ledger(need) => need.turn(),
            Self::Slots(..) | Self::Holders(_) => Turn::Facts,
        }
    }
}
