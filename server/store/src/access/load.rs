//! What decisions about API keys must see.

use crate::core::{db::Db, error::StoreError, load::System, select::Lock, table::load_rows};
use ifmatch_domain::{Need, State};
use std::collections::BTreeSet;

/// Needs by what they ask for, each sorted.
#[derive(Default)]
pub(crate) struct Wanted {
    api_keys: BTreeSet<String>,
}

impl System for Wanted {
    fn add(&mut self, need: Need) -> Option<Need> {
        match need {
            Need::ApiKey(id) => {
                self.api_keys.insert(id);
            }
            other => return Some(other),
        }
        None
    }

    fn lock(&mut self, db: &mut Db, lock: Lock, state: &mut State) -> Result<(), StoreError> {
        let ids = std::mem::take(&mut self.api_keys);
        load_rows(db, ids, lock, |stored| stored.key.id.as_str(), &mut state.api_keys)
    }
}
