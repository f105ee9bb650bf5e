//! Reads of histories, old versions, the event stream and the audit log.

use super::{
    db::Db,
    error::StoreError,
    events::{entry_from, event_from, shown_entry_from, state_from},
    record::records,
    sql::Sql,
    states,
};
use crate::{
    on_backend,
    schema::{AuditRow, EventRow, StoredRow},
};
use diesel::{RunQueryDsl, sql_types::BigInt};
use ifmatch_domain::core::Audit;
use ifmatch_types::{ChangeKind, Event, HistoryEntry, Timestamp, Version};
use serde_json::Value;
use std::sync::Arc;

/// Number of events that the first statement of a page reads. Each may be large, and their sizes are
/// known only when their states are.
const ROWS_FIRST: i64 = 2;
/// Maximum events that one statement reads.
const ROWS_MAX: i64 = 64;

/// Which events to read.
#[derive(Clone, Debug, Default)]
pub struct EventsQuery {
    /// Only events after this place.
    pub after: i64,
    /// Only events up to this place, included; see [`Db::event_log`].
    pub until: i64,
    /// The name of the log, for the cursors.
    pub epoch: Arc<str>,
    /// Only events about objects of this type.
    pub resource: Option<String>,
    /// Only changes of this kind.
    pub change: Option<ChangeKind>,
    /// Only changes of objects that hang on this workspace.
    pub workspace_id: Option<String>,
    /// Maximum events on the page.
    pub limit: i64,
    /// About how many bytes of JSON the page may have. A larger event is a page of its own.
    pub bytes_max: Option<usize>,
}

/// A page of events.
#[derive(Clone, Debug, Default)]
pub struct EventPage {
    /// The events in commit order.
    pub events: Vec<Event>,
    /// All wanted events up to this place are on this page or an earlier one.
    pub end: i64,
}

/// About how many bytes of JSON an event has.
fn shown_bytes(row: &EventRow) -> usize {
    const FIELDS: usize = 400;
    // The changes of a creation are derived from its state, and are as long.
    let changes = row.changes.len().max(if row.version == 1 { row.state.len() } else { 0 });
    FIELDS + changes + row.state.len()
}

/// Which audit records to read.
#[derive(Clone, Debug, Default)]
pub struct AuditQuery {
    /// Only records of this type.
    pub audit_type: Option<String>,
    /// Only records of this actor.
    pub actor: Option<String>,
    /// Only records from this instant on.
    pub since: Option<Timestamp>,
    /// Only records before this one, by instant and id: the next page.
    pub before: Option<(i64, String)>,
    /// The limit of the page.
    pub limit: i64,
}

/// The columns of an event that follow its `seq`.
type EventColumns = <EventRow as StoredRow>::Columns;

impl Db {
    /// The history of an object beyond a version, oldest or newest first.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub fn history(
        &mut self,
        id: &str,
        beyond: Option<Version>,
        newest_first: bool,
        limit: i64,
    ) -> Result<Vec<HistoryEntry>, StoreError> {
        let (begin, is_beyond, order) = if newest_first {
            (Version::MAX, " AND version < ", " ORDER BY version DESC LIMIT ")
        } else {
            (0, " AND version > ", " ORDER BY version LIMIT ")
        };
        let sql = EventRow::select()
            .text(" WHERE resource_id = ")
            .bind(id)
            .text(is_beyond)
            .bind(beyond.unwrap_or(begin))
            .text(order)
            .bind(limit);
        EventRow::query(self, sql)?.iter().map(shown_entry_from).collect()
    }

    /// An object as it was at a version, with the kind of change that made that version.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub fn snapshot(
        &mut self,
        id: &str,
        version: Version,
    ) -> Result<Option<(ChangeKind, Value)>, StoreError> {
        let sql = EventRow::select()
            .text(" WHERE resource_id = ")
            .bind(id)
            .text(" AND version = ")
            .bind(version);
        let mut rows = EventRow::query(self, sql)?;
        states::fill(self, &mut rows)?;
        // A version that was pruned meanwhile has no state any more.
        let Some(row) = rows.first().filter(|row| !row.state.is_empty()) else { return Ok(None) };
        Ok(Some((entry_from(row)?.kind, state_from(row)?)))
    }

    /// Events in commit order: a page of those that a query wants.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub fn events(&mut self, query: &EventsQuery) -> Result<EventPage, StoreError> {
        let mut page = EventPage { events: Vec::new(), end: query.after };
        let (mut bytes, mut missing) = (0_usize, query.limit);
        let mut most = if query.bytes_max.is_some() { ROWS_FIRST } else { query.limit };
        while missing > 0 {
            let wanted = missing.min(most);
            let rows = self.event_rows(query, page.end, wanted)?;
            let found = i64::try_from(rows.len()).unwrap_or(i64::MAX);
            for (seq, row) in rows {
                bytes = bytes.saturating_add(shown_bytes(&row));
                let is_full = query.bytes_max.is_some_and(|bytes_max| bytes > bytes_max);
                if is_full && !page.events.is_empty() {
                    return Ok(page);
                }
                page.events.push(event_from(&query.epoch, seq, &row)?);
                page.end = seq;
            }
            if found < wanted {
                page.end = query.until.max(page.end);
                return Ok(page);
            }
            missing = missing.saturating_sub(found);
            // As many as fit if they are like those before them.
            let average = bytes.checked_div(page.events.len()).unwrap_or(bytes);
            let left = query.bytes_max.unwrap_or(usize::MAX).saturating_sub(bytes);
            let fitting = i64::try_from(left.checked_div(average).unwrap_or(left));
            most = fitting.unwrap_or(ROWS_MAX).clamp(ROWS_FIRST, ROWS_MAX);
        }
        Ok(page)
    }

    /// Rows of events after a place, with their states.
    fn event_rows(
        &mut self,
        query: &EventsQuery,
        after: i64,
        limit: i64,
    ) -> Result<Vec<(i64, EventRow)>, StoreError> {
        let mut sql = Sql::new(format!("SELECT seq, {} FROM events", EventRow::column_list()))
            .text(" WHERE seq > ")
            .bind(after)
            .text(" AND seq <= ")
            .bind(query.until);
        if let Some(resource) = &query.resource {
            sql = sql.text(" AND resource_type = ").bind(resource.as_str());
        }
        if let Some(change) = query.change {
            sql = sql.text(" AND kind = ").bind(change.name());
        }
        if let Some(workspace_id) = &query.workspace_id {
            sql = sql.text(" AND workspace_id = ").bind(workspace_id.as_str());
        }
        let sql = sql.text(" ORDER BY seq LIMIT ").bind(limit);
        let sql = sql.returning::<(BigInt, EventColumns)>();
        let mut rows: Vec<(i64, EventRow)> = on_backend!(self, c => sql.load(c))?;
        states::fill(self, rows.iter_mut().map(|(_, row)| row))?;
        if rows.iter().any(|(_, row)| row.state.is_empty()) {
            // Without them the page would look like the last one. Read again, they are not there.
            return Err(StoreError::Raced("events were pruned while they were read".into()));
        }
        Ok(rows)
    }

    /// Audit records, newest first.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub fn audits(&mut self, query: &AuditQuery) -> Result<Vec<Audit>, StoreError> {
        let mut sql = AuditRow::select()
            .text(" WHERE at >= ")
            .bind(query.since.map_or(i64::MIN, Timestamp::as_micros));
        if let Some(audit_type) = &query.audit_type {
            sql = sql.text(" AND audit_type = ").bind(audit_type.as_str());
        }
        if let Some(actor) = &query.actor {
            sql = sql.text(" AND actor = ").bind(actor.as_str());
        }
        if let Some((at, id)) = &query.before {
            sql = sql.text(" AND (at, id) < (").bind(*at).text(", ").bind(id.as_str()).text(")");
        }
        let sql = sql.text(" ORDER BY at DESC, id DESC LIMIT ").bind(query.limit);
        records(AuditRow::query(self, sql)?)
    }
}
