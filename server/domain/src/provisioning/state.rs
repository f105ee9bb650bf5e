//! The tables of provisioning in a batch.

use super::{ServerRecord, Slots, StoredEntry};
use crate::core::{self, Row, Table, tables};
use ifmatch_types::{PanelKind, Product, ServerStatus};
use std::collections::{BTreeSet, HashMap};

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
            /// The ids of the stored servers that have an id on the panel, by that id.
            holders: HashMap<i64, BTreeSet<String>>,
        }
    }
}

impl State {
    /// Another server that has this id on the panel, stored or changed in this batch.
    pub(super) fn holder_beside(&self, id: &str, remote_id: i64) -> Option<String> {
        let holds = |row: &&Row<ServerRecord>| {
            let server = &row.record.server;
            server.remote_id == Some(remote_id) && server.status != ServerStatus::Deleted
        };
        let in_batch =
            self.servers.iter().filter(holds).map(|row| row.record.server.id.to_string());
        let stored = self.holders.get(&remote_id).into_iter().flatten();
        // What this batch knows of a server is newer.
        let stored = stored.filter(|id| self.servers.find(id.as_str()).is_none()).cloned();
        in_batch.chain(stored).find(|holder| holder != id)
    }

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
