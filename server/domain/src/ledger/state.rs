//! The tables of the ledger in a batch.

use super::{Account, StoredReservation, StoredTransfer};
use crate::core::{self, Table, tables};
use foldhash::{HashMap, HashSet};

tables! {
    /// The rows of the ledger that a batch has loaded or changed.
    pub struct State {
        objects {}
        tables {
            /// Accounts by id.
            accounts: Table<String, Account>,
            /// Reservations by id.
            reservations: Table<String, StoredReservation>,
            /// Transfers by id: new ones, and those that resolved loaded reservations.
            transfers: Table<String, StoredTransfer>,
        }
        facts {
            /// The account of each reservation; `None` if there is no such reservation.
            account_of: HashMap<String, Option<String>>,
            /// Workspaces with all their balances loaded into `accounts`.
            balances_of: HashSet<String>,
        }
    }
}

impl State {
    /// Whether a workspace has an account among the rows that were loaded or made in this batch.
    pub(crate) fn has_account_of(&self, workspace_id: &str) -> bool {
        self.accounts.iter().any(|account| account.workspace_id.as_str() == workspace_id)
    }
}

impl core::State {
    /// The ledger's tables.
    pub fn ledger(&self) -> &State {
        self.system()
    }

    /// The ledger's tables, mutable.
    pub fn ledger_mut(&mut self) -> &mut State {
        self.system_mut()
    }
}
