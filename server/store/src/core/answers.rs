//! Kept answers: the stored answers for Idempotency-Keys.

use super::{
    db::Db,
    error::StoreError,
    lookup::{Lookups, Place},
    record::read_column,
    select::Each,
    sql::Cell,
    states::{self, VersionKey},
};
use crate::{
    core::column::InColumn,
    schema::{AnswerRow, StoredRow},
};
use ifmatch_domain::{State, core::KeptAnswer};
use ifmatch_types::{Timestamp, Version};
use std::collections::{BTreeSet, HashMap};

/// An Idempotency-Key's owner, and the key.
pub(crate) type AnswerKey = (String, String);

/// Adds a lookup of kept answers.
pub(crate) fn ask(keys: &BTreeSet<AnswerKey>, lookups: &mut Lookups) -> Place {
    let head = format!("SELECT {} FROM answers WHERE scope = ", AnswerRow::column_list());
    let each = Each { texts: &[&head, " AND key = "], tail: " LIMIT 1" };
    let keys = keys.iter();
    lookups.each(&each, keys.map(|(scope, key)| vec![cell(scope), cell(key)]))
}

/// How the body of an answer begins that is an object at one of its versions.
///
/// The version's event holds the object already, and no JSON text begins so. What is redacted
/// there is redacted here as well.
const REFERENCE: char = '=';

/// The stored body of an answer: its text, or the version that it shows.
fn stored_body(text: &str, shown: &HashMap<&str, (&str, Version)>) -> String {
    match shown.get(text) {
        Some((id, version)) => format!("{REFERENCE}{id} {version}"),
        None => text.to_owned(),
    }
}

/// The version that a stored body refers to.
fn reference(body: &str) -> Option<VersionKey> {
    let (id, version) = body.strip_prefix(REFERENCE)?.rsplit_once(' ')?;
    Some((id.to_owned(), version.parse().ok()?))
}

/// Replaces references by the objects that they refer to.
fn resolve(db: &mut Db, rows: &mut [AnswerRow]) -> Result<(), StoreError> {
    let wanted = rows.iter().filter_map(|row| reference(&row.body)).collect();
    let states = states::derive(db, &wanted)?;
    for row in rows {
        if let Some(version) = reference(&row.body) {
            let missing = || StoreError::Corrupt {
                table: AnswerRow::TABLE,
                column: "body",
                id: row.key.clone(),
                what: format!("{} is not stored", row.body),
            };
            row.body = states.get(&version).ok_or_else(missing)?.clone();
        }
    }
    Ok(())
}

/// Puts kept answers into the state.
pub(crate) fn put(
    db: &mut Db,
    mut rows: Vec<AnswerRow>,
    keys: BTreeSet<AnswerKey>,
    state: &mut State,
) -> Result<(), StoreError> {
    resolve(db, &mut rows)?;
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
    let has_answers = state.new_answers().next().is_some();
    let events = state.events.iter().filter(|_| has_answers);
    let shown: HashMap<&str, (&str, Version)> = events
        .map(|event| (event.state.text(), (event.id.as_str(), event.entry.version)))
        .collect();
    let new = state.new_answers().map(|((scope, key), answer)| AnswerRow {
        scope: scope.clone(),
        key: key.clone(),
        fingerprint: answer.fingerprint.clone(),
        status: answer.status.hold(),
        headers: answer.headers.hold(),
        body: stored_body(&answer.body, &shown),
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
        let mut rows = AnswerRow::query(self, sql)?;
        resolve(self, &mut rows)?;
        rows.into_iter().next().map(read).transpose()
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
