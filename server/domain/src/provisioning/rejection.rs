//! Reasons why provisioning refuses a command: facts only, no texts.

use crate::{core, ledger};

/// A rejection by provisioning.
#[derive(Clone, Debug, PartialEq)]
pub enum Rejection {
    /// A rejection by a rule that all systems share.
    Core(core::Rejection),
    /// A rejection by the ledger, which reserves the credits.
    Ledger(ledger::Rejection),
    /// No panel is configured.
    NoPanel,
    /// The product is for another panel.
    WrongPanel {
        /// The product.
        product_id: String,
        /// The field of `deploy` that this panel does not know.
        field: &'static str,
    },
    /// The product takes no new servers.
    ProductUnavailable {
        /// The product.
        product_id: String,
        /// Its status.
        status: &'static str,
    },
    /// The product had a server.
    ProductInUse,
    /// The workspace has as many servers of the product as it may have.
    LimitReached {
        /// The product.
        product_id: String,
        /// How many it may have.
        limit: i64,
        /// How many it has.
        used: i64,
    },
}

impl From<core::Rejection> for Rejection {
    fn from(rejection: core::Rejection) -> Self {
        Self::Core(rejection)
    }
}

impl From<ledger::Rejection> for Rejection {
    fn from(rejection: ledger::Rejection) -> Self {
        match rejection {
            ledger::Rejection::Core(rejection) => Self::Core(rejection),
            own => Self::Ledger(own),
        }
    }
}
