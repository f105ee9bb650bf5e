//! What the entitlement log of a redacted workspace or namespace may hold of its values.
//!
//! A line of the log and a usage record have texts and metadata under the same names as their
//! scope. Those recorded before the redaction are rewritten with it.

use crate::{
    core::{
        db::Db,
        error::StoreError,
        redacted::{reached, redacted_json},
        redactions::Sweep,
        rewrite::Rewritten,
        sql::Sql,
    },
    on_backend,
    schema::{LogRow, UsageRecordRow},
};
use diesel::{RunQueryDsl, sql_types::Text};
use ifmatch_domain::core::Redaction;
use ifmatch_types::Kind;
use serde_json::{Value, json};

/// Number of rows that a slice rewrites. Each is small.
const ROWS: usize = 1_000;

pub(crate) const SWEEPS: &[Sweep] = &[
    Sweep { name: "entitlement_log", slice: log },
    Sweep { name: "usage_records", slice: records },
];

const LOG: Rewritten = Rewritten { table: "entitlement_log", keys: &["id"], columns: &["details"] };
const RECORDS: Rewritten =
    Rewritten { table: "usage_records", keys: &["id"], columns: &["metadata"] };

fn log(db: &mut Db, redaction: &Redaction, place: &str) -> Result<Option<String>, StoreError> {
    let Some(rows) = rows(db, &LOG, redaction, place)? else { return Ok(None) };
    let reached = reached(&rows, ROWS, |(id, _)| id.clone());
    let mut rewritten = Vec::new();
    for (id, details) in rows {
        let redact = |details: &mut Value| {
            let is_within = redaction.redact_within(details);
            redaction.redact(details) || is_within
        };
        let (is_changed, details) = redacted_json::<LogRow>(&id, "details", details, redact)?;
        if is_changed {
            rewritten.push(vec![id.into(), details.into()]);
        }
    }
    LOG.run(db, rewritten)?;
    Ok(reached)
}

/// A usage record never changes its metadata, so that no other writer can lose anything here.
fn records(db: &mut Db, redaction: &Redaction, place: &str) -> Result<Option<String>, StoreError> {
    if !redaction.marks.iter().any(|mark| mark.path.starts_with("/metadata/")) {
        return Ok(None);
    }
    let Some(rows) = rows(db, &RECORDS, redaction, place)? else { return Ok(None) };
    let reached = reached(&rows, ROWS, |(id, _)| id.clone());
    let mut rewritten = Vec::new();
    for (id, metadata) in rows {
        let redact = |metadata: &mut Value| {
            let mut record = json!({ "metadata": metadata.take() });
            let is_changed = redaction.redact(&mut record);
            *metadata = record.get_mut("metadata").map(Value::take).unwrap_or_default();
            is_changed
        };
        let (is_changed, metadata) =
            redacted_json::<UsageRecordRow>(&id, "metadata", metadata, redact)?;
        if is_changed {
            rewritten.push(vec![id.into(), metadata.into()]);
        }
    }
    RECORDS.run(db, rewritten)?;
    Ok(reached)
}

/// The next rows of a redacted scope, from before the redaction. `None` if it is no scope.
fn rows(
    db: &mut Db,
    of: &Rewritten,
    redaction: &Redaction,
    place: &str,
) -> Result<Option<Vec<(String, String)>>, StoreError> {
    if !matches!(redaction.kind, Kind::Workspace | Kind::Namespace) {
        return Ok(None);
    }
    let scope = format!("{}/{}", redaction.kind.collection(), redaction.object_id);
    let column = of.columns.first().copied().unwrap_or_default();
    let sql = Sql::new(format!("SELECT id, {column} FROM {} WHERE scope = ", of.table))
        .bind(scope)
        .text(" AND at <= ")
        .bind(redaction.at.as_micros())
        .text(" AND id > ")
        .bind(place)
        .text(format!(" ORDER BY id LIMIT {ROWS}"))
        .returning::<(Text, Text)>();
    Ok(Some(on_backend!(db, c => sql.load(c))?))
}
