//! Outcomes of commands about accounts.

use super::StoredTransfer;

/// The outcome of a command about an account.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Credits were topped up or adjusted.
    Transferred(StoredTransfer),
    /// Credits were set aside.
    Reserved(StoredTransfer),
    /// A reservation is resolved, by this command or by an earlier one.
    Resolved {
        /// The transfer that resolved it.
        transfer: StoredTransfer,
        /// Whether this command resolved it.
        first: bool,
    },
}
