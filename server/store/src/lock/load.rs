//! Loads the locks that decisions need.

use crate::core::{db::Db, error::StoreError, load::System, select::Lock, table::load_rows};
use ifmatch_domain::{State, core::LockClass, lock::Need};
use std::collections::BTreeSet;

/// The needs of this system. The set is sorted.
#[derive(Default)]
pub(crate) struct Wanted {
    locks: BTreeSet<String>,
}

impl Wanted {
    /// Adds a need of this system.
    pub(crate) fn add(&mut self, need: Need) {
        let Need::Lock(id) = need;
        self.locks.insert(id);
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
        if class != LockClass::NamedLock {
            return Ok(());
        }
        let ids = std::mem::take(&mut self.locks);
        load_rows(db, ids, lock, |record| record.id.as_str(), &mut state.lock_mut().locks)
    }
}
