//! Reads of versioned objects outside the lane.

use super::{
    db::Db,
    error::StoreError,
    object::{RowOf, StoredObject, find_objects, owners_of},
    sql::Sql,
};
use crate::{on_backend, schema::StoredRow, systems::stored_kind};
use diesel::{
    RunQueryDsl,
    sql_types::{Nullable, Text},
};
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
    /// The owner of an object, deleted or not. `None` if it does not exist or has none.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub fn owner(&mut self, kind: Kind, id: &str) -> Result<Option<String>, StoreError> {
        let owned = stored_kind!(kind, R => owners_of::<R>(self, vec![id.to_owned()])?);
        Ok(owned.into_iter().next().map(|(_, owner)| owner))
    }

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

impl Db {
    /// The workspace that an object hangs on. `None` if it does not exist or hangs on none.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub fn workspace_of(&mut self, kind: Kind, id: &str) -> Result<Option<String>, StoreError> {
        stored_kind!(kind, R => {
            let Some(column) = R::WORKSPACE else { return Ok(None) };
            let table = RowOf::<R>::TABLE;
            let sql = Sql::new(format!("SELECT {column} FROM {table} WHERE id = ")).bind(id);
            let query = sql.returning::<Nullable<Text>>();
            let found: Vec<Option<String>> = on_backend!(self, c => query.load(c))?;
            Ok(found.into_iter().flatten().next())
        })
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
