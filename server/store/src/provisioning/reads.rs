//! Reads of provisioning outside the lane: what is due, timelines, and what is unsettled.

use crate::{
    StoreError,
    core::{db::Db, record::records, sql::Sql},
    on_backend,
    schema::{ServerEntryRow, StoredRow},
};
use diesel::{
    RunQueryDsl,
    sql_types::{BigInt, Nullable, Text},
};
use ifmatch_domain::provisioning::StoredEntry;
use ifmatch_types::{ServerEntry, ServerStatus, Timestamp};

/// A server that is neither active nor ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnsettledServer {
    /// The server.
    pub id: String,
    /// The workspace that pays for it.
    pub workspace_id: String,
    /// Its status.
    pub status: String,
    /// Since when it is unsettled.
    pub since: Timestamp,
}

/// The unsettled servers of one status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServersByStatus {
    /// The status.
    pub status: ServerStatus,
    /// Their number.
    pub count: i64,
    /// Since when the oldest of them is unsettled.
    pub oldest: Option<Timestamp>,
}

impl Db {
    /// The ids of servers that a worker must look at by `now`, the most overdue first.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub fn due_servers(&mut self, now: Timestamp, limit: i64) -> Result<Vec<String>, StoreError> {
        let sql = Sql::new("SELECT id FROM servers WHERE due_at <= ").bind(now.as_micros());
        let sql = sql.text(" ORDER BY due_at, id LIMIT ").bind(limit);
        Ok(on_backend!(self, c => sql.returning::<Text>().load(c))?)
    }

    /// When the next server is due. `None` if none is.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub fn next_due_server(&mut self) -> Result<Option<Timestamp>, StoreError> {
        let sql = Sql::new("SELECT min(due_at) FROM servers WHERE due_at IS NOT NULL");
        let at: Option<i64> =
            on_backend!(self, c => sql.returning::<Nullable<BigInt>>().get_result(c))?;
        Ok(at.and_then(Timestamp::from_micros))
    }

    /// Entries of a server's timeline with numbers above `after`, oldest first.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub fn server_entries(
        &mut self,
        server_id: &str,
        after: i64,
        limit: i64,
    ) -> Result<Vec<ServerEntry>, StoreError> {
        let sql = ServerEntryRow::select().text(" WHERE server_id = ").bind(server_id);
        let sql = sql.text(" AND seq > ").bind(after);
        let sql = sql.text(" ORDER BY seq LIMIT ").bind(limit);
        let stored: Vec<StoredEntry> = records(ServerEntryRow::query(self, sql)?)?;
        Ok(stored.into_iter().map(|stored| stored.entry).collect())
    }

    /// How many servers are unsettled, by status, and since when.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub fn unsettled_by_status(&mut self) -> Result<Vec<ServersByStatus>, StoreError> {
        let sql = Sql::new(
            "SELECT status, count(*), min(unsettled_since) FROM servers \
             WHERE unsettled_since IS NOT NULL GROUP BY status",
        );
        let sql = sql.returning::<(Text, BigInt, Nullable<BigInt>)>();
        let found: Vec<(String, i64, Option<i64>)> = on_backend!(self, c => sql.load(c))?;
        let known = found.into_iter().filter_map(|(status, count, oldest)| {
            let status = ServerStatus::from_name(&status)?;
            Some(ServersByStatus { status, count, oldest: oldest.and_then(Timestamp::from_micros) })
        });
        Ok(known.collect())
    }

    /// Servers that are unsettled since an instant up to `until`, oldest first.
    ///
    /// `after` is the instant and id of the last one of an earlier call.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub fn servers_unsettled_until(
        &mut self,
        until: Timestamp,
        after: Option<&(Timestamp, String)>,
        limit: i64,
    ) -> Result<Vec<UnsettledServer>, StoreError> {
        let (at, id) = after.map_or((i64::MIN, ""), |(at, id)| (at.as_micros(), id.as_str()));
        let sql = Sql::new(
            "SELECT id, workspace_id, status, unsettled_since FROM servers \
             WHERE unsettled_since IS NOT NULL AND (unsettled_since, id) > (",
        );
        let sql = sql.bind(at).text(", ").bind(id);
        let sql = sql.text(") AND unsettled_since <= ").bind(until.as_micros());
        let sql = sql.text(" ORDER BY unsettled_since, id LIMIT ").bind(limit);
        let sql = sql.returning::<(Text, Text, Text, BigInt)>();
        let found: Vec<(String, String, String, i64)> = on_backend!(self, c => sql.load(c))?;
        let servers = found.into_iter().filter_map(|(id, workspace_id, status, since)| {
            let since = Timestamp::from_micros(since)?;
            Some(UnsettledServer { id, workspace_id, status, since })
        });
        Ok(servers.collect())
    }
}
