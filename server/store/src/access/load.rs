//! Loads the rows that decisions about API keys need.

use crate::core::{
    db::Db,
    error::StoreError,
    load::System,
    select::{Each, Lock, load_all},
    sql::Cell,
    table::load_rows,
};
use diesel::{RunQueryDsl, sql_types::Text};
use ifmatch_domain::{
    State,
    access::{Named, Need},
    core::LockClass,
};
use std::collections::{BTreeMap, BTreeSet};

/// The keys with a name that were not revoked.
const NAMED: Each<'static> = Each {
    texts: &["SELECT name, id FROM api_keys WHERE revoked_at IS NULL AND name = "],
    tail: "",
};

/// The needs of this system, by kind. Each set is sorted.
#[derive(Default)]
pub(crate) struct Wanted {
    api_keys: BTreeSet<String>,
    names: BTreeSet<String>,
}

impl Wanted {
    /// Adds a need of this system.
    pub(crate) fn add(&mut self, need: Need) {
        match need {
            Need::ApiKey(id) => {
                self.api_keys.insert(id);
            }
            Need::KeysNamed(name) => {
                self.names.insert(name);
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

    fn load(&mut self, db: &mut Db, state: &mut State) -> Result<(), StoreError> {
        let mut named: BTreeMap<String, Vec<String>> =
            std::mem::take(&mut self.names).into_iter().map(|name| (name, Vec::new())).collect();
        let keys = named.keys().map(|name| vec![Cell::Text(name.clone())]);
        let queries = NAMED.of(db.is_sqlite(), keys.collect::<Vec<_>>());
        let found: Vec<(String, String)> = load_all!(db, queries, (Text, Text));
        for (name, id) in found {
            named.entry(name).or_default().push(id);
        }
        for (name, ids) in named {
            state.access_mut().named.load(name, Some(Named(ids)));
        }
        Ok(())
    }
}
