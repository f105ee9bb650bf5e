//! The log of all changes as a whole: its name, its ends, and how far it can be read.

use super::{db::Db, error::StoreError, sql::Sql};
use crate::{
    on_backend,
    schema::{EventLogRow, StoredRow},
};
use diesel::{
    RunQueryDsl,
    sql_types::{BigInt, Text},
};
use ifmatch_domain::Mutant;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// Maximum wait of a reader for writers that began before it.
///
/// It is as long as a save without locks waits for a row (`lock_timeout`), which holds up readers
/// meanwhile. Other writers wait for rows before they begin to write.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(2);

/// The log of all changes. Readers have a place in it: the number of the last event they have seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventLog {
    /// The name of the log. A log that replaced another one has another name; the first has none.
    pub epoch: Arc<str>,
    /// The log is complete after this place.
    pub oldest: i64,
    /// The log can be read up to this place without missing a late commit.
    pub newest: i64,
}

impl Default for EventLog {
    fn default() -> Self {
        Self { epoch: Arc::from(""), oldest: 0, newest: 0 }
    }
}

impl EventLog {
    /// Whether this is an earlier state of the same log.
    pub fn leads_to(&self, later: &Self) -> bool {
        self.epoch == later.epoch && self.newest <= later.newest
    }
}

/// Locks the log until the commit, against everybody else who rewrites or deletes stored events.
///
/// Whoever prunes derives states from several events. A redaction in between would miss one of them.
pub(crate) fn lock(db: &mut Db) -> Result<(), StoreError> {
    // On SQLite, a transaction that writes is alone.
    if !db.is_sqlite() {
        db.number(Sql::new("SELECT id FROM event_log FOR UPDATE"))?;
    }
    Ok(())
}

impl Db {
    /// The log of all changes, with the place up to which it can be read.
    ///
    /// Places are assigned before the commit, so a writer may commit a lower place after a higher
    /// one was seen. On PostgreSQL, this function first reads the last assigned place. Then it
    /// waits for all transactions that are writing events. A place that is not committed after that
    /// never will be. Transactions that write no events are not waited for, however long they take.
    ///
    /// `known` is an earlier result. Its newest place is returned again if no place was assigned
    /// since then, or if a writer did not end in time. It does not count if the log was replaced
    /// since then: if its name differs, or fewer places are assigned.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub fn event_log(&mut self, known: &EventLog) -> Result<EventLog, StoreError> {
        let newest = if self.is_sqlite() || Mutant::ReadUnsettledEvents.is_planted() {
            "(SELECT coalesce(max(seq), 0) FROM events)"
        } else {
            "(SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM events_seq_seq)"
        };
        let columns = EventLogRow::column_list();
        let sql = Sql::new(format!("SELECT {columns}, {newest} FROM event_log"));
        let query = sql.returning::<(<EventLogRow as StoredRow>::Columns, BigInt)>();
        let (row, assigned): (EventLogRow, i64) = on_backend!(self, c => query.get_result(c))?;
        let oldest = row.oldest;
        let log = EventLog { epoch: row.epoch.into(), oldest, newest: oldest.max(assigned) };
        if self.is_sqlite() || Mutant::ReadUnsettledEvents.is_planted() {
            return Ok(log);
        }
        let known = if known.leads_to(&log) { known.newest.max(oldest) } else { oldest };
        let newest = if assigned <= known { known } else { self.settle(known, assigned)? };
        Ok(EventLog { newest, ..log })
    }

    /// Waits for the transactions that are writing events. Returns the last visible place up to
    /// `assigned`, or `known` if one of them did not end in time.
    fn settle(&mut self, known: i64, assigned: i64) -> Result<i64, StoreError> {
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
        Ok(self.number(visible.bind(assigned))?.max(known))
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

    /// The last committed place. Readers may not read up to it, because a lower one may follow.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub fn last_event(&mut self) -> Result<i64, StoreError> {
        self.number(Sql::new("SELECT coalesce(max(seq), 0) FROM events"))
    }

    /// Begins a new epoch of the log, because this database replaced another one.
    ///
    /// `epoch` must never have been the name of a log before. A counter would be wrong: the same
    /// backup may be restored twice. On PostgreSQL, some ways to restore a table leave its sequence
    /// behind; it is set to the last event. Writers wait meanwhile, so none is assigned a place
    /// twice.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`]. Nothing has changed then.
    pub fn begin_epoch(&mut self, epoch: &str) -> Result<(), StoreError> {
        self.begin()?;
        let outcome = self.name_log(epoch);
        match outcome {
            Ok(()) => self.commit(),
            Err(error) => {
                // The connection is not used again, and closing it rolls back as well.
                let _ = self.rollback();
                Err(error)
            }
        }
    }

    fn name_log(&mut self, epoch: &str) -> Result<(), StoreError> {
        // The row before the table: whoever rewrites events takes them in this order, too.
        lock(self)?;
        if !self.is_sqlite() {
            self.run(Sql::new("LOCK TABLE events IN SHARE ROW EXCLUSIVE MODE"))?;
            let catch_up = Sql::new(
                "SELECT coalesce(max(setval('events_seq_seq', last)), 0) FROM \
                 (SELECT max(seq) AS last FROM events) AS log, events_seq_seq \
                 WHERE last > CASE WHEN is_called THEN last_value ELSE 0 END",
            );
            self.number(catch_up)?;
        }
        let renamed = self.run(Sql::new("UPDATE event_log SET epoch = ").bind(epoch))?;
        match renamed {
            1 => Ok(()),
            rows => Err(StoreError::Unforeseen(
                format!("the event log has {rows} rows, not one").into(),
            )),
        }
    }

    fn run(&mut self, sql: Sql) -> Result<usize, StoreError> {
        Ok(on_backend!(self, c => sql.execute(c))?)
    }

    fn number(&mut self, sql: Sql) -> Result<i64, StoreError> {
        let query = sql.returning::<BigInt>();
        Ok(on_backend!(self, c => query.get_result(c))?)
    }
}
