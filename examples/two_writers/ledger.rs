//! What became of every edit, as the client told it.

use crate::writer::Job;
use ifmatch::{ConflictId, SubscriptionId, Version};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What an edit carries into the history, to be found there: its writer, and his count of edits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    pub writer: String,
    pub number: String,
}

/// An edit that ended.
#[derive(Clone, Debug)]
pub struct Edit {
    pub job: Job,
    pub mark: Mark,
    pub subscription: SubscriptionId,
    /// What it was meant to change.
    pub path: &'static str,
    /// Whether it was a form, which is put on top of what others did, and not made again.
    pub form: bool,
    pub fate: Fate,
    /// So many times somebody else was faster.
    pub conflicts: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The server acknowledged it as this version.
    Committed(Version),
    /// It waits for a person.
    Unresolved(ConflictId),
}

/// All edits that ended so far.
#[derive(Debug, Default)]
pub struct Ledger(Mutex<Vec<Edit>>);

/// So many of each. Every conflict is merged, retried or unresolved.
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

    /// The sums of one kind of writer.
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
