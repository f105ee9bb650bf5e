//! Events and audit records to be saved, and history that was loaded.

use super::outcome::Document;
use ifmatch_types::{AuditRecord, HistoryEntry, Version, WorkspaceId};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// The past of an object, as far back as a batch needs it.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// Snapshots of the versions that stale writes name.
    pub bases: BTreeMap<Version, Arc<Document>>,
    /// All changes since the earliest of those versions.
    pub entries: Vec<Arc<HistoryEntry>>,
    /// `entries` has all changes after this version.
    pub since: Version,
    /// The versions whose snapshot was requested, whether it was found or not.
    pub asked: BTreeSet<Version>,
}

impl History {
    /// Adds the history of the same object that an earlier round loaded.
    pub fn merge(&mut self, other: Self) {
        if other.since < self.since {
            self.since = other.since;
            self.entries = other.entries;
        }
        self.bases.extend(other.bases);
        self.asked.extend(other.asked);
    }
}

/// One change to be saved to the history and the event stream.
#[derive(Clone, Debug, PartialEq)]
pub struct NewEvent {
    /// The object's kind, or `usage` for a counter.
    pub resource_type: &'static str,
    /// The object's id.
    pub id: String,
    /// The workspace that the object hangs on.
    pub workspace_id: Option<WorkspaceId>,
    /// The change. A creation lists no changes, because `state` has all fields.
    pub entry: HistoryEntry,
    /// The object after the change.
    pub state: Arc<Document>,
}

/// One record to be saved to the audit log.
pub type Audit = AuditRecord;
