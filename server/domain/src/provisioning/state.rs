//! The tables of provisioning in a batch.

use super::{ServerRecord, Slots, StoredEntry};
use crate::core::{self, Table, tables};
use ifmatch_types::{PanelKind, Product};

tables! {
    /// The rows of provisioning that a batch has loaded or changed.
    pub struct State {
        objects {
            /// Products by id.
            products: Product,
            /// Servers by id.
            servers: ServerRecord,
        }
        tables {
            /// How many servers each workspace has of each product, by [`Slots::key`].
            slots: Table<String, Slots>,
            /// New entries of timelines, by id.
            entries: Table<String, StoredEntry>,
        }
        facts {
            /// The panel that servers are made on. `None`: no servers can be made.
            panel: Option<PanelKind>,
        }
    }
}

impl State {
    /// Whether a workspace has a server among the rows that were loaded or made in this batch.
    pub(crate) fn has_server_of(&self, workspace_id: &str) -> bool {
        self.servers.iter().any(|row| row.record.server.workspace_id.as_str() == workspace_id)
    }
}

impl core::State {
    /// The tables of provisioning.
    pub fn provisioning(&self) -> &State {
        self.system()
    }

    /// The tables of provisioning, mutable.
    pub fn provisioning_mut(&mut self) -> &mut State {
        self.system_mut()
    }
}
