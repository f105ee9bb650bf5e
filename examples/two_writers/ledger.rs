//! The outcome of every edit, as the client reported it.

use crate::writer::Job;
use ifmatch::{ConflictId, SubscriptionId, Version};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What identifies an edit in the history: its writer and its number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    pub writer: String,
    pub number: String,
}

/// An edit with an outcome.
#[derive(Clone, Debug)]
pub struct Edit {
    pub job: Job,
    pub mark: Mark,
    pub subscription: SubscriptionId,
    /// The path that it changes.
    pub path: &'static str,
    /// Whether it was a form, which is merged; a closure runs again instead.
    pub form: bool,
    pub fate: Fate,
    /// The number of conflicts that it met.
    pub conflicts: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The server acknowledged it as this version.
    Committed(Version),
    /// It waits for a person's decision.
    Unresolved(ConflictId),
}

/// All edits with an outcome so far.
#[derive(Debug, Default)]
pub struct Ledger(Mutex<Vec<Edit>>);

/// Totals. Every conflict is merged, retried or unresolved.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sums {
    pub commits: u32,
    pub conflicts: u32,
    pub merges: u32,
    pub retries: u32,
    pub unresolved: u32,
}

impl Ledger {
    pub fn record(&self, edit: Edit) {
        self.edits().push(edit);
    }

    pub fn edits(&self) -> MutexGuard<'_, Vec<Edit>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The totals of one kind of writer.
    pub fn sums(&self, job: Job) -> Sums {
        let mut sums = Sums::default();
        for edit in self.edits().iter().filter(|edit| edit.job == job) {
            sums.conflicts += edit.conflicts;
            let resolved = match edit.fate {
                Fate::Committed(_) => {
                    sums.commits += 1;
                    edit.conflicts
                }
                Fate::Unresolved(_) => {
                    sums.unresolved += 1;
                    edit.conflicts.saturating_sub(1)
                }
            };
            if edit.form {
                sums.merges += resolved;
            } else {
                sums.retries += resolved;
            }
        }
        sums
    }
}
