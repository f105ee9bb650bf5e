//! Loads the rows that decisions about API keys need.

use crate::core::{db::Db, error::StoreError, load::System, select::Lock, table::load_rows};
use ifmatch_domain::{State, access::Need, core::LockClass};
use std::collections::BTreeSet;

/// The needs of this system, by kind. Each set is sorted.
#[derive(Default)]
pub(crate) struct Wanted {
    api_keys: BTreeSet<String>,
}

impl Wanted {
    /// Adds a need of this system.
    pub(crate) fn add(&mut self, need: Need) {
        match need {
            Need::ApiKey(id) => {
                self.api_keys.insert(id);
            }
        }
    }
}

impl System for Wanted {
    fn lock(
        &mut self,
        class: LockClass,
        db: &mut Db,
        lock: Lock,
        state: &mut State,
    ) -> Result<(), StoreError> {
        if class != LockClass::ApiKey {
            return Ok(());
        }
        let ids = std::mem::take(&mut self.api_keys);
        load_rows(db, ids, lock, |stored| stored.key.id.as_str(), &mut state.access_mut().api_keys)
    }
}
