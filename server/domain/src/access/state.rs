//! The API key table of a batch.

use super::StoredApiKey;
use crate::core::{self, Table, tables};

tables! {
    /// The API keys that a batch has loaded or changed.
    pub struct State {
        objects {}
        tables {
            /// API keys by id.
            api_keys: Table<String, StoredApiKey>,
        }
        facts {}
    }
}

impl core::State {
    /// The API key table.
    pub fn access(&self) -> &State {
        self.system()
    }

    /// The API key table, mutable.
    pub fn access_mut(&mut self) -> &mut State {
        self.system_mut()
    }
}
