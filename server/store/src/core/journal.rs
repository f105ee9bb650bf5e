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
use diesel::{
    RunQueryDsl,
    sql_types::{BigInt, Text},
};
use ifmatch_domain::{Mutant, core::Audit};
use ifmatch_types::{ChangeKind, Event, HistoryEntry, Timestamp, Version};
use serde_json::Value;
use std::time::{Duration, Instant};

/// Maximum wait of a reader for writers that began before it.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(2);

/// Which events to read.
#[derive(Clone, Debug, Default)]
pub struct EventsQuery {
    /// Only events after this place.
    pub after: i64,
    /// Only events up to this place, included; see [`Db::settled_seq`].
    pub until: i64,
    /// Only events about objects of this type.
    pub resource: Option<String>,
    /// Only changes of this kind.
    pub change: Option<ChangeKind>,
    /// The limit of the page.
    pub limit: i64,
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

    /// The place up to which the event stream can be read without missing a late commit.
    ///
    /// Places are assigned before the commit, so a writer may commit a lower place after a higher
    /// one was seen. On PostgreSQL, this function first reads the last assigned place. Then it
    /// waits for all transactions that are writing events. A place that is not committed after that
    /// never will be. Transactions that write no events are not waited for, however long they take.
    ///
    /// `known` is an earlier result. It is returned again if no place was assigned since then, or
    /// if a writer did not end in time.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub fn settled_seq(&mut self, known: i64) -> Result<i64, StoreError> {
        if self.is_sqlite() || Mutant::ReadUnsettledEvents.is_planted() {
            return self.number(Sql::new("SELECT coalesce(max(seq), 0) FROM events"));
        }
        let given_out =
            Sql::new("SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM events_seq_seq");
        let given_out = self.number(given_out)?;
        if given_out <= known {
            return Ok(known);
        }
        // An inserting transaction locks the table before its first place is assigned. It holds
        // that lock until its commit is visible.
        let mut writers = self.events_writers()?;
        let deadline = Instant::now() + SETTLE_TIMEOUT;
        while !writers.is_empty() {
            if Instant::now() >= deadline {
                return Ok(known);
            }
            std::thread::sleep(Duration::from_millis(1));
            let still = self.events_writers()?;
            writers.retain(|writer| still.contains(writer));
        }
        // The assigned place itself would be wrong: after a crash, a place that was not committed
        // is assigned again.
        let visible = Sql::new("SELECT coalesce(max(seq), 0) FROM events WHERE seq <= ");
        Ok(self.number(visible.bind(given_out))?.max(known))
    }

    /// The transactions that are writing events now. PostgreSQL only.
    fn events_writers(&mut self) -> Result<Vec<String>, StoreError> {
        let sql = Sql::new(
            "SELECT virtualtransaction FROM pg_locks WHERE locktype = 'relation' \
             AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
             AND relation = 'events'::regclass AND mode = 'RowExclusiveLock' AND granted",
        )
        .returning::<Text>();
        Ok(on_backend!(self, c => sql.load(c))?)
    }

    fn number(&mut self, sql: Sql) -> Result<i64, StoreError> {
        let query = sql.returning::<BigInt>();
        Ok(on_backend!(self, c => query.get_result(c))?)
    }

    /// Events in commit order.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub fn events(&mut self, query: &EventsQuery) -> Result<Vec<Event>, StoreError> {
        let mut sql = Sql::new(format!("SELECT seq, {} FROM events", EventRow::column_list()))
            .text(" WHERE seq > ")
            .bind(query.after)
            .text(" AND seq <= ")
            .bind(query.until);
        if let Some(resource) = &query.resource {
            sql = sql.text(" AND resource_type = ").bind(resource.as_str());
        }
        if let Some(change) = query.change {
            sql = sql.text(" AND kind = ").bind(change.name());
        }
        let sql = sql.text(" ORDER BY seq LIMIT ").bind(query.limit);
        let sql = sql.returning::<(BigInt, EventColumns)>();
        let mut rows: Vec<(i64, EventRow)> = on_backend!(self, c => sql.load(c))?;
        states::fill(self, rows.iter_mut().map(|(_, row)| row))?;
        if rows.iter().any(|(_, row)| row.state.is_empty()) {
            // Without them the page would look like the last one. Read again, they are not there.
            return Err(StoreError::Raced("events were pruned while they were read".into()));
        }
        rows.iter().map(|(seq, row)| event_from(*seq, row)).collect()
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
