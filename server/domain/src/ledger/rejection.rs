//! Reasons why the ledger refuses a command: facts only, no texts.

use super::StoredTransfer;
use crate::core;
use ifmatch_types::ServerId;

/// A rejection by the ledger.
#[derive(Clone, Debug, PartialEq)]
pub enum Rejection {
    /// A rejection by a rule that all systems share.
    Core(core::Rejection),
    /// Fewer credits are available than are needed.
    Insufficient {
        /// The needed credits.
        required: i64,
        /// The available credits.
        available: i64,
    },
    /// More credits than the reservation has.
    ExceedsReservation {
        /// The reserved credits.
        reserved: i64,
        /// The credits to charge.
        amount: i64,
    },
    /// A server made the reservation, and only that server resolves it.
    Owned {
        /// The server.
        server_id: ServerId,
    },
    /// The reservation is resolved in another way, or for another amount.
    AlreadyResolved {
        /// The transfer that resolved it.
        by: Box<StoredTransfer>,
    },
}

impl From<core::Rejection> for Rejection {
    fn from(rejection: core::Rejection) -> Self {
        Self::Core(rejection)
    }
}
