//! Reads of locks outside the lane: status and lists, and which of some locks are free.

use crate::{
    StoreError,
    core::{
        db::Db,
        record::{Record, records},
        select::{Lock, select_by},
        sql::Sql,
    },
    on_backend,
    schema::{LockRow, SecretRow, StoredRow},
};
use diesel::RunQueryDsl;
use ifmatch_domain::lock::LockRecord;
use ifmatch_types::{LockScope, Timestamp};
use std::collections::HashSet;

/// Which locks to list.
#[derive(Clone, Debug)]
pub struct LockQuery {
    /// Only those in this space: the id of a workspace, or an empty text for the installation's own.
    /// `None`: all spaces.
    pub space: Option<String>,
    /// Only those of this scope.
    pub scope: Option<LockScope>,
    /// Only those of this function.
    pub function: Option<String>,
    /// Only those that somebody holds, or nobody.
    pub locked: Option<bool>,
    /// Only those after this id.
    pub after: String,
    /// Maximum number.
    pub limit: i64,
}

impl Db {
    /// Locks in the order of their ids, and the instant at which they were judged.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub fn locks(&mut self, query: &LockQuery) -> Result<(Vec<LockRecord>, Timestamp), StoreError> {
        let now = self.clock()?;
        let mut sql = LockRow::select().text(" WHERE id > ").bind(query.after.as_str());
        if let Some(space) = &query.space {
            // A range of the key: `/` is followed by `0`.
            sql = sql.text(" AND id >= ").bind(format!("{space}/"));
            sql = sql.text(" AND id < ").bind(format!("{space}0"));
        }
        if let Some(scope) = query.scope {
            sql = sql.text(" AND scope = ").bind(scope.name());
        }
        if let Some(function) = &query.function {
            sql = sql.text(" AND function = ").bind(function.as_str());
        }
        if let Some(locked) = query.locked {
            let not = if locked { "" } else { "NOT " };
            sql = sql.text(format!(" AND {not}(ended IS NULL AND expires_at > "));
            sql = sql.bind(now.as_micros()).text(")");
        }
        let sql = sql.text(" ORDER BY id LIMIT ").bind(query.limit);
        Ok((records(LockRow::query(self, sql)?)?, now))
    }

    /// A lock, and the instant at which it was judged.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub fn lock(&mut self, id: &str) -> Result<(Option<LockRecord>, Timestamp), StoreError> {
        let now = self.clock()?;
        let sql = LockRow::select().text(" WHERE id = ").bind(id);
        let lock = LockRow::query(self, sql)?.into_iter().next().map(Record::from_row);
        Ok((lock.transpose()?, now))
    }

    /// Which of these locks can be acquired now. A lock without a row can.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub fn free_locks(&mut self, ids: &[String]) -> Result<Vec<String>, StoreError> {
        let now = self.clock()?;
        let rows = select_by(self, "id", ids.to_vec(), Lock::None)?;
        let locks: Vec<LockRecord> = records(rows)?;
        let is_taken = |lock: &&LockRecord| lock.is_held(now) || lock.cooldown(now).is_some();
        let taken: HashSet<&str> = locks.iter().filter(is_taken).map(|l| l.id.as_str()).collect();
        Ok(ids.iter().filter(|id| !taken.contains(id.as_str())).cloned().collect())
    }

    /// The secret that this installation's owner tokens are derived from. If there is none yet,
    /// `fresh` becomes it. Several processes may ask at the same time, and get the same.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub fn lock_secret(&mut self, fresh: &str) -> Result<String, StoreError> {
        if let Some(known) = self.known_lock_secret()? {
            // Nothing is written, so that a server can start on a standby.
            return Ok(known);
        }
        let sql = Sql::new("INSERT INTO secrets (name, value) VALUES ('locks', ").bind(fresh);
        let sql = sql.text(") ON CONFLICT (name) DO NOTHING");
        on_backend!(self, c => sql.execute(c))?;
        let known = self.known_lock_secret()?;
        known.ok_or_else(|| StoreError::Unforeseen("the secret of locks is missing".into()))
    }

    fn known_lock_secret(&mut self) -> Result<Option<String>, StoreError> {
        let rows = SecretRow::query(self, SecretRow::select().text(" WHERE name = 'locks'"))?;
        Ok(rows.into_iter().next().map(|row| row.value))
    }
}
