//! A connection to either database, and everything in which the two differ as connections.

use super::{error::StoreError, sql::Sql, url::DatabaseUrl};
use diesel::{
    Connection, PgConnection, RunQueryDsl, SqliteConnection, connection::SimpleConnection,
    sql_types::Text,
};
use std::time::{Duration, Instant};

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// The lane's few statements, which must keep one plan.
    Lane,
    /// Everything else.
    Read,
}

/// A connection to either database.
pub enum Db {
    /// The embedded SQLite.
    Sqlite(SqliteConnection),
    /// PostgreSQL.
    Postgres(PgConnection),
}

/// Runs the same Diesel expression on whichever database it is.
#[macro_export]
macro_rules! on_backend {
    ($db:expr, $connection:ident => $query:expr) => {
        match $db {
            $crate::Db::Sqlite($connection) => $query,
            $crate::Db::Postgres($connection) => $query,
        }
    };
}

/// Every commit is on disk before it is answered. The log file is reused: a growing one makes each
/// sync write its length too. A commit that finds 8,000 pages in the log moves them into the
/// database. That commit takes longer than with fewer pages (measured: 60 ms instead of 20), but
/// pages that changed several times are moved once, and the throughput is a quarter higher.
const SQLITE_SESSION: &str = "PRAGMA busy_timeout = 5000; PRAGMA journal_mode = WAL; \
     PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA wal_autocheckpoint = 8000; \
     PRAGMA temp_store = MEMORY; PRAGMA cache_size = -16384;";

/// Maximum wait of a new connection for others that are setting up the same file.
const SQLITE_PATIENCE: Duration = Duration::from_secs(5);

const POSTGRES_SESSION: &str = "SET synchronous_commit = on; SET TIME ZONE 'UTC'; \
     SET client_min_messages = warning;";

/// One plan for every batch size, always by index: a small hot table would otherwise get a
/// sequential scan over its own dead rows, and a plan without order would lock without order. A
/// process that freezes within a transaction must not hold its locks for ever.
const POSTGRES_LANE_SESSION: &str = "SET plan_cache_mode = force_generic_plan; \
     SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; \
     SET enable_bitmapscan = off; SET lock_timeout = '2s'; \
     SET idle_in_transaction_session_timeout = '5s';";

impl Db {
    /// Opens a connection; a SQLite file that does not exist is created.
    ///
    /// # Errors
    ///
    /// [`StoreError::Gone`] if the database cannot be reached.
    pub fn connect(url: &DatabaseUrl, purpose: Use) -> Result<Self, StoreError> {
        match url {
            DatabaseUrl::Sqlite(path) => {
                let mut connection = SqliteConnection::establish(path)?;
                prepare_sqlite(&mut connection)?;
                Ok(Self::Sqlite(connection))
            }
            DatabaseUrl::Postgres(url) => {
                let mut connection = PgConnection::establish(&with_timeouts(url))?;
                connection.batch_execute(POSTGRES_SESSION)?;
                speak_english(&mut connection);
                if purpose == Use::Lane {
                    connection.batch_execute(POSTGRES_LANE_SESSION)?;
                }
                Ok(Self::Postgres(connection))
            }
        }
    }

    /// Whether this is the embedded SQLite.
    pub fn is_sqlite(&self) -> bool {
        matches!(self, Self::Sqlite(_))
    }

    /// Begins the lane's transaction. On SQLite it takes the write lock at once.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub fn begin(&mut self) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(connection) => connection.batch_execute("BEGIN IMMEDIATE")?,
            Self::Postgres(connection) => {
                connection.batch_execute("BEGIN ISOLATION LEVEL READ COMMITTED")?;
            }
        }
        Ok(())
    }

    /// Commits the lane's transaction, durably.
    ///
    /// # Errors
    ///
    /// After [`StoreError::Gone`] it is not known whether the commit took place.
    pub fn commit(&mut self) -> Result<(), StoreError> {
        on_backend!(self, connection => connection.batch_execute("COMMIT"))?;
        Ok(())
    }

    /// Commits as [`commit`](Self::commit) does, and begins the next transaction in the same round
    /// trip. Returns whether it began: only PostgreSQL can do that.
    ///
    /// A transaction that has done nothing yet holds no lock and no snapshot, but is not to be left
    /// lying: after some seconds the database ends it, with its connection.
    ///
    /// # Errors
    ///
    /// After [`StoreError::Gone`] it is not known whether the commit took place.
    pub fn commit_and_begin(&mut self) -> Result<bool, StoreError> {
        match self {
            Self::Sqlite(_) => self.commit().map(|()| false),
            Self::Postgres(connection) => {
                connection.batch_execute("COMMIT AND CHAIN")?;
                Ok(true)
            }
        }
    }

    /// Gives up the lane's transaction. If that fails, the connection cannot be used again.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub fn rollback(&mut self) -> Result<(), StoreError> {
        on_backend!(self, connection => connection.batch_execute("ROLLBACK"))?;
        Ok(())
    }

    /// Asks the database for a sign of life.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub fn ping(&mut self) -> Result<(), StoreError> {
        on_backend!(self, connection => connection.batch_execute("SELECT 1"))?;
        Ok(())
    }
}

/// Sets a SQLite connection up. While another process changes the journal mode of a new file, SQLite
/// refuses at once and ignores the busy timeout.
fn prepare_sqlite(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    let deadline = Instant::now() + SQLITE_PATIENCE;
    loop {
        match connection.batch_execute(SQLITE_SESSION).map_err(StoreError::from) {
            Err(StoreError::Raced(_)) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(20));
            }
            done => return done,
        }
    }
}

/// Makes PostgreSQL word its errors as `error.rs` knows them. Not every role may; `doctor` tells
/// whom that concerns. No transaction is open that a refusal could spoil.
fn speak_english(connection: &mut PgConnection) {
    if messages_locale(connection).is_ok_and(|locale| !is_english(&locale)) {
        let _ = connection.batch_execute("SET lc_messages = 'C'");
    }
}

/// The locale of PostgreSQL's messages; empty if its process's environment decides.
pub(crate) fn messages_locale(connection: &mut PgConnection) -> Result<String, StoreError> {
    let sql = Sql::new("SELECT current_setting('lc_messages')").returning::<Text>();
    Ok(sql.get_result(connection)?)
}

/// Whether messages of this locale are in English.
pub(crate) fn is_english(locale: &str) -> bool {
    let language = locale.split(['_', '.', '@', '-']).next().unwrap_or_default();
    let known = ["C", "POSIX", "en", "English"];
    known.iter().any(|name| name.eq_ignore_ascii_case(language))
}

/// A PostgreSQL URL that gives up on a server that does not answer, unless it says otherwise.
fn with_timeouts(url: &str) -> String {
    let mut url = url.to_owned();
    for (name, value) in
        [("connect_timeout", "3"), ("tcp_user_timeout", "15000"), ("application_name", "ifmatch")]
    {
        if !url.contains(&format!("{name}=")) {
            url.push(if url.contains('?') { '&' } else { '?' });
            url.push_str(&format!("{name}={value}"));
        }
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn english_is_told_from_other_languages_by_the_name_of_the_locale() {
        for locale in ["C", "POSIX", "C.UTF-8", "en_US.UTF-8", "en_GB", "English_Ireland.1252"] {
            assert!(is_english(locale), "{locale}");
        }
        for locale in ["", "de_DE.UTF-8", "cs_CZ", "eo", "Croatian_Croatia.1250"] {
            assert!(!is_english(locale), "{locale}");
        }
    }
}
