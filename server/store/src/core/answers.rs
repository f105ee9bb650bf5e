//! Answers that are kept for repeats of their requests.

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
use ifmatch_domain::{Answer, State};
use ifmatch_types::Timestamp;
use std::collections::BTreeSet;

/// The owner of an Idempotency-Key, and the key.
pub(crate) type AnswerKey = (String, String);

/// Asks for kept answers.
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

/// The new answers of a batch as rows, in the order in which every writer adds them.
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
    /// The answer kept for an Idempotency-Key.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub fn answer(&mut self, scope: &str, key: &str) -> Result<Option<Answer>, StoreError> {
        let sql =
            AnswerRow::select().text(" WHERE scope = ").bind(scope).text(" AND key = ").bind(key);
        AnswerRow::query(self, sql)?.into_iter().next().map(read).transpose()
    }
}

fn read(row: AnswerRow) -> Result<Answer, StoreError> {
    Ok(Answer {
        fingerprint: row.fingerprint,
        status: read_column::<AnswerRow, _>(&row.key, "status", row.status)?,
        headers: read_column::<AnswerRow, _>(&row.key, "headers", row.headers)?,
        body: row.body,
    })
}

fn cell(text: &str) -> Cell {
    Cell::Text(text.to_owned())
}
