//! Kept answers: the stored answers for Idempotency-Keys.

use super::{
    db::Db,
    error::StoreError,
    lookup::{Lookups, Place},
    record::read_column,
    select::Each,
    sql::Cell,
};
use crate::{
    core::column::InColumn,
    schema::{AnswerRow, StoredRow},
};
use ifmatch_domain::{State, core::KeptAnswer};
use ifmatch_types::Timestamp;
use std::collections::BTreeSet;

/// An Idempotency-Key's owner, and the key.
pub(crate) type AnswerKey = (String, String);

/// Adds a lookup of kept answers.
pub(crate) fn ask(keys: &BTreeSet<AnswerKey>, lookups: &mut Lookups) -> Place {
    let head = format!("SELECT {} FROM answers WHERE scope = ", AnswerRow::column_list());
    let each = Each { texts: &[&head, " AND key = "], tail: " LIMIT 1" };
    let keys = keys.iter();
    lookups.each(&each, keys.map(|(scope, key)| vec![cell(scope), cell(key)]))
}

/// Puts kept answers into the state.
pub(crate) fn put(
    rows: Vec<AnswerRow>,
    keys: BTreeSet<AnswerKey>,
    state: &mut State,
) -> Result<(), StoreError> {
    for row in rows {
        let key = (row.scope.clone(), row.key.clone());
        state.answers.load(key, Some(read(row)?));
    }
    for key in keys {
        state.answers.load(key, None);
    }
    Ok(())
}

/// The new kept answers of a batch as rows, in the order that all writers use.
pub(crate) fn new_rows(state: &State, now: Timestamp) -> Vec<AnswerRow> {
    let new = state.new_answers().map(|((scope, key), answer)| AnswerRow {
        scope: scope.clone(),
        key: key.clone(),
        fingerprint: answer.fingerprint.clone(),
        status: answer.status.hold(),
        headers: answer.headers.hold(),
        body: answer.body.clone(),
        created_at: now.hold(),
    });
    let mut rows: Vec<AnswerRow> = new.collect();
    rows.sort_unstable_by(|a, b| (&a.scope, &a.key).cmp(&(&b.scope, &b.key)));
    rows
}

impl Db {
    /// The kept answer for an owner's Idempotency-Key.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub fn answer(&mut self, scope: &str, key: &str) -> Result<Option<KeptAnswer>, StoreError> {
        let sql =
            AnswerRow::select().text(" WHERE scope = ").bind(scope).text(" AND key = ").bind(key);
        AnswerRow::query(self, sql)?.into_iter().next().map(read).transpose()
    }
}

fn read(row: AnswerRow) -> Result<KeptAnswer, StoreError> {
    Ok(KeptAnswer {
        fingerprint: row.fingerprint,
        status: read_column::<AnswerRow, _>(&row.key, "status", row.status)?,
        headers: read_column::<AnswerRow, _>(&row.key, "headers", row.headers)?,
        body: row.body,
    })
}

fn cell(text: &str) -> Cell {
    Cell::Text(text.to_owned())
}
