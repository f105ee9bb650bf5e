//! Needs of the rules of the ledger.

use crate::core::{LockClass, SystemNeed, Turn, Unlocked};

/// Something that must be loaded for a command about an account.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Need {
    /// An account; its row is locked.
    Account(String),
    /// All balances of a workspace; their rows are locked.
    Balances(String),
    /// The account of a reservation, which never changes; not locked.
    AccountOf(String),
    /// A reservation, with the transfer that resolved it. Its account's row lock protects it.
    Reservation(String),
}

impl SystemNeed for Need {
    fn lock(&self) -> Option<(LockClass, &str)> {
        match self {
            Self::Account(id) | Self::Balances(id) => Some((LockClass::LedgerAccount, id)),
            Self::AccountOf(_) | Self::Reservation(_) => None,
        }
    }

    fn turn(&self) -> Turn {
        match self {
            Self::Account(_) | Self::Balances(_) | Self::AccountOf(_) => Turn::Objects,
            Self::Reservation(_) => Turn::Facts,
        }
    }

    fn unlocked(&self) -> Unlocked {
        match self {
            Self::Account(_) => Unlocked::Row,
            Self::AccountOf(_) => Unlocked::Constant,
            Self::Reservation(_) => Unlocked::Dependent,
            Self::Balances(_) => Unlocked::Refused,
        }
    }
}
