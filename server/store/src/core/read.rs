//! Reads of versioned objects outside the lane.

use super::{
    db::Db,
    error::StoreError,
    object::{StoredObject, find_objects},
};
use crate::systems::stored_kind;
use ifmatch_domain::core::Row;
use ifmatch_types::{Deleted, Kind, Version};

/// The object that is stored under an id.
#[derive(Clone, Debug, PartialEq)]
pub enum Found {
    /// A living object.
    Living {
        /// Its version.
        version: Version,
        /// The object, as JSON text.
        body: String,
    },
    /// A deleted object.
    Deleted(Deleted),
}

impl Db {
    /// Looks up objects of one kind. The ids must be sorted and unique.
    ///
    /// Returns what was found, with its id. An absent object has no entry.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub fn find(
        &mut self,
        kind: Kind,
        ids: Vec<String>,
    ) -> Result<Vec<(String, Found)>, StoreError> {
        Ok(stored_kind!(kind, R => find_objects::<R>(self, ids)?.iter().map(found).collect()))
    }
}

fn found<R: StoredObject>(row: &Row<R>) -> (String, Found) {
    let id = row.record.id().to_owned();
    let found = match row.tombstone() {
        Some(deleted) => Found::Deleted(deleted),
        None => Found::Living {
            version: row.record.version(),
            body: serde_json::to_string(row.record.entity())
                .expect("entities are JSON objects with texts for keys"),
        },
    };
    (id, found)
}
