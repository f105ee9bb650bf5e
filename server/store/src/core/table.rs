//! Puts found rows into the tables of a batch, and records missing rows as absent.

use super::{
    db::Db,
    error::StoreError,
    record::{Record, records},
    select::{Lock, select_by},
};
use ifmatch_domain::core::{CodeHolder, Guarded, Table};
use std::collections::BTreeSet;

/// Loads rows by their ids.
pub(crate) fn load_rows<V: Record + Guarded>(
    db: &mut Db,
    ids: BTreeSet<String>,
    lock: Lock,
    id_of: impl Fn(&V) -> &str,
    table: &mut Table<String, V>,
) -> Result<(), StoreError> {
    let rows = select_by(db, "id", keys(&ids), lock)?;
    put_rows(rows, ids, id_of, table)
}

/// Puts the rows that were found for some ids, and records the other ids as absent.
pub(crate) fn put_rows<V: Record + Guarded>(
    rows: Vec<V::Row>,
    ids: BTreeSet<String>,
    id_of: impl Fn(&V) -> &str,
    table: &mut Table<String, V>,
) -> Result<(), StoreError> {
    for row in records(rows)? {
        table.load(id_of(&row).to_owned(), Some(row));
    }
    put_absent(ids, table);
    Ok(())
}

/// Puts the holders of unique keys, found as `(key, id)`.
pub(crate) fn put_holders(
    found: impl IntoIterator<Item = (String, String)>,
    asked: BTreeSet<String>,
    table: &mut Table<String, CodeHolder>,
) {
    for (key, id) in found {
        table.load(key, Some(CodeHolder { id }));
    }
    put_absent(asked, table);
}

/// Records keys as absent that were asked for and not found.
fn put_absent<V: Guarded>(asked: BTreeSet<String>, table: &mut Table<String, V>) {
    for key in asked {
        table.load(key, None);
    }
}

/// The keys in order, for a query.
pub(crate) fn keys(keys: &BTreeSet<String>) -> Vec<String> {
    keys.iter().cloned().collect()
}
