//! The locks of a batch.

use super::{LockRecord, Need};
use crate::core::{self, Table, Wants, tables};

tables! {
    /// The locks that a batch has loaded or changed.
    pub struct State {
        objects {}
        tables {
            /// Locks by id.
            locks: Table<String, LockRecord>,
        }
        facts {}
    }
}

impl core::State {
    /// The locks.
    pub fn lock(&self) -> &State {
        self.system()
    }

    /// The locks, mutable.
    pub fn lock_mut(&mut self) -> &mut State {
        self.system_mut()
    }
}

/// Requests a lock, and the clock that judges its expiry.
pub(super) fn want_lock(id: &str, wants: &mut Wants<'_, '_, Need>) {
    if !wants.state.lock().locks.is_loaded(id) {
        wants.push(Need::Lock(id.to_owned()));
    }
    wants.clock();
}
