//! The core's tables that may hold values of redacted objects.

use super::{
    column::InColumn,
    db::Db,
    error::StoreError,
    event_log,
    record::read_column,
    redactions::Sweep,
    rewrite::Rewritten,
    sql::{Cell, Sql},
};
use crate::{
    on_backend,
    schema::{AnswerRow, AuditRow, EventRow, StoredRow},
};
use diesel::{
    RunQueryDsl,
    sql_types::{BigInt, Text},
};
use ifmatch_domain::core::Redaction;
use ifmatch_types::{Difference, Version};
use serde_json::Value;

/// Number of rows that a slice rewrites. Each may be large.
const ROWS: usize = 200;
/// Number of kept answers that a slice looks through. Hardly any is rewritten.
const ANSWERS: usize = 2_000;

pub(crate) const SWEEPS: &[Sweep] = &[
    Sweep { name: "events", slice: events },
    Sweep { name: "audits", slice: audits },
    Sweep { name: "answers", slice: answers },
];

const EVENTS: Rewritten = Rewritten {
    table: "events",
    keys: &["resource_id", "version"],
    columns: &["changes", "state"],
};
const AUDITS: Rewritten = Rewritten { table: "audits", keys: &["id"], columns: &["changes"] };
const BODIES: Rewritten =
    Rewritten { table: "answers", keys: &["scope", "key"], columns: &["body"] };

/// The history, from the first version to the redaction's own.
///
/// Nobody else writes these rows but whoever prunes versions, who takes the same lock.
fn events(db: &mut Db, redaction: &Redaction, place: &str) -> Result<Option<String>, StoreError> {
    event_log::lock(db)?;
    let after: Version = place.parse().unwrap_or_default();
    let id = redaction.object_id.as_str();
    let sql = Sql::new("SELECT version, changes, state FROM events WHERE resource_id = ")
        .bind(id)
        .text(" AND version > ")
        .bind(after)
        .text(" AND version <= ")
        .bind(redaction.version)
        .text(format!(" ORDER BY version LIMIT {ROWS}"))
        .returning::<(BigInt, Text, Text)>();
    let rows: Vec<(i64, String, String)> = on_backend!(db, c => sql.load(c))?;
    let reached = reached(&rows, ROWS, |(version, ..)| version.to_string());
    let mut rewritten = Vec::new();
    for (version, changes, state) in rows {
        let changes = redacted_changes::<EventRow>(id, changes, redaction)?;
        // A state that follows from those before it is empty.
        let state = match state.is_empty() {
            true => (false, state),
            false => {
                redacted_json::<EventRow>(id, "state", state, |state| redaction.redact(state))?
            }
        };
        if changes.0 || state.0 {
            let key = [Cell::from(id), Cell::Int(version)];
            rewritten.push(key.into_iter().chain([changes.1.into(), state.1.into()]).collect());
        }
    }
    EVENTS.run(db, rewritten)?;
    Ok(reached)
}

/// The audit records about the object, but not those of later writes.
fn audits(db: &mut Db, redaction: &Redaction, place: &str) -> Result<Option<String>, StoreError> {
    let sql = Sql::new("SELECT id, changes FROM audits WHERE resource_id = ")
        .bind(redaction.object_id.as_str())
        .text(" AND (overwritten_version IS NULL OR overwritten_version < ")
        .bind(redaction.version)
        .text(") AND id > ")
        .bind(place)
        .text(format!(" ORDER BY id LIMIT {ROWS}"))
        .returning::<(Text, Text)>();
    let rows: Vec<(String, String)> = on_backend!(db, c => sql.load(c))?;
    let reached = reached(&rows, ROWS, |(id, _)| id.clone());
    let mut rewritten = Vec::new();
    for (id, changes) in rows {
        let (is_changed, changes) = redacted_changes::<AuditRow>(&id, changes, redaction)?;
        if is_changed {
            rewritten.push(vec![id.into(), changes.into()]);
        }
    }
    AUDITS.run(db, rewritten)?;
    Ok(reached)
}

/// The kept answers that hold a state of the object. Most refer to an event instead.
///
/// There is no index for them: they are few, and each goes after two days. So all kept answers are
/// looked through. Later answers cannot hold the values, wherever they are in that order.
fn answers(db: &mut Db, redaction: &Redaction, place: &str) -> Result<Option<String>, StoreError> {
    let (scope, key) = place.split_once(' ').unwrap_or_default();
    let after = |sql: Sql| {
        let sql = sql.text(" FROM answers WHERE (scope, key) > (").bind(scope);
        sql.text(", ").bind(key).text(")")
    };
    let sql = after(Sql::new("SELECT scope, key"))
        .text(format!(" ORDER BY scope, key LIMIT 1 OFFSET {}", ANSWERS.saturating_sub(1)))
        .returning::<(Text, Text)>();
    let last: Vec<(String, String)> = on_backend!(db, c => sql.load(c))?;
    let last = last.into_iter().next();
    let mut sql = after(Sql::new("SELECT scope, key, body"));
    if let Some((scope, key)) = &last {
        sql = sql.text(" AND (scope, key) <= (").bind(scope.as_str()).text(", ");
        sql = sql.bind(key.as_str()).text(")");
    }
    // What begins so is a reference to an event, which is redacted itself.
    let sql = sql
        .text(" AND body NOT LIKE '=%' AND body LIKE ")
        .bind(format!("%{}%", redaction.object_id))
        .text(" ORDER BY scope, key")
        .returning::<(Text, Text, Text)>();
    let rows: Vec<(String, String, String)> = on_backend!(db, c => sql.load(c))?;
    let mut rewritten = Vec::new();
    for (scope, key, body) in rows {
        let (is_changed, body) =
            redacted_json::<AnswerRow>(&key, "body", body, |body| redaction.redact_within(body))?;
        if is_changed {
            rewritten.push(vec![scope.into(), key.into(), body.into()]);
        }
    }
    BODIES.run(db, rewritten)?;
    Ok(last.map(|(scope, key)| format!("{scope} {key}")))
}

/// The place of the last row, if there may be more.
pub(crate) fn reached<T>(rows: &[T], most: usize, place: fn(&T) -> String) -> Option<String> {
    rows.last().filter(|_| rows.len() >= most).map(place)
}

/// A column with JSON after a redaction, and whether it changed.
pub(crate) fn redacted_json<R: StoredRow>(
    id: &str,
    column: &'static str,
    text: String,
    redact: impl FnOnce(&mut Value) -> bool,
) -> Result<(bool, String), StoreError> {
    let mut value: Value = read_column::<R, _>(id, column, text.clone())?;
    if redact(&mut value) { Ok((true, value.hold())) } else { Ok((false, text)) }
}

fn redacted_changes<R: StoredRow>(
    id: &str,
    text: String,
    redaction: &Redaction,
) -> Result<(bool, String), StoreError> {
    let mut changes: Vec<Difference> = read_column::<R, _>(id, "changes", text.clone())?;
    if redaction.redact_changes(&mut changes) {
        Ok((true, changes.hold()))
    } else {
        Ok((false, text))
    }
}
