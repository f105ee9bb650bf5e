//! Versioned objects as they are stored. Deleted objects stay as tombstones.

use super::{reach::HangsOn, state::State, table::Table};
use ifmatch_types::{Timestamp, Version};

/// A versioned object as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Row<R> {
    /// The object. If deleted, its last state with the version of the deletion.
    pub record: R,
    /// The time and the author of the deletion, if it was deleted.
    pub deleted: Option<(Timestamp, String)>,
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
