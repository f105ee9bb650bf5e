//! The API key table of a batch.

use super::StoredApiKey;
use crate::core::{self, Guarded, Table, tables};

tables! {
    /// The API keys that a batch has loaded or changed.
    pub struct State {
        objects {}
        tables {
            /// API keys by id.
            api_keys: Table<String, StoredApiKey>,
        }
        facts {
            /// The ids of the keys with a name that were not revoked when they were loaded.
            named: Table<String, Named>,
        }
    }
}

/// The ids of the keys with one name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Named(pub Vec<String>);

impl Guarded for Named {
    fn guard(&self) -> i64 {
        0
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
