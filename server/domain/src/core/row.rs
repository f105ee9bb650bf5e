//! Versioned objects as they are stored. Deleted objects stay as tombstones.

use super::{reach::HangsOn, state::State, table::Table};
use ifmatch_types::{Timestamp, Version};

/// A versioned object as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Row<R> {
    /// The object. If deleted, its last state with the version of the deletion.
    pub record: R,
    /// The deletion, if it was deleted.
    pub deleted: Option<Tombstone>,
}

/// The deletion of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tombstone {
    /// When.
    pub at: Timestamp,
    /// By whom.
    pub by: String,
    /// The last living version. `None` if the deletion is the newest version, so that the last
    /// living one is the version before it. A deleted object can still be redacted.
    pub last_version: Option<Version>,
}

impl Tombstone {
    /// The last living version of a deleted object that is at version `current`.
    pub(crate) fn last_living(&self, current: Version) -> Version {
        // The deletion has its own version.
        self.last_version.unwrap_or_else(|| current.saturating_sub(1))
    }
}

/// The versioned objects of one kind, by id.
pub type Rows<R> = Table<String, Row<R>>;

/// Queries about objects whose kind is only known at run time.
pub trait Objects {
    /// Whether the database was already asked for the object; it need not exist.
    fn is_loaded(&self, id: &str) -> bool;
    /// The version at which the object was loaded.
    fn loaded_version(&self, id: &str) -> Option<Version>;
    /// What the object hangs on.
    fn hangs_on(&self, id: &str, state: &State) -> HangsOn;
}
