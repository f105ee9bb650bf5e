//! A connection to either database, and all differences between the two as connections.

use super::{
    error::StoreError,
    file::{SqliteDb, SqliteFile},
    postgres::PostgresDb,
    url::DatabaseUrl,
};
use diesel::{Connection, SqliteConnection, connection::SimpleConnection};
use std::time::{Duration, Instant};

/// The purpose of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// The lane. Each of its few statements must keep one plan.
    Lane,
    /// Everything else.
    Read,
}

/// A connection to either database.
pub enum Db {
    /// The embedded SQLite.
    Sqlite(SqliteDb),
    /// PostgreSQL.
    Postgres(PostgresDb),
}

/// Runs one Diesel expression on either database.
#[macro_export]
macro_rules! on_backend {
    ($db:expr, $connection:ident => $query:expr) => {
        match $db {
            $crate::Db::Sqlite(sqlite) => {
                let $connection = sqlite.connection();
                $query
            }
            $crate::Db::Postgres(postgres) => {
                let $connection = postgres.connection();
                $query
            }
        }
    };
}

/// Session settings of SQLite.
///
/// Every commit is on disk before it is answered. The log file is reused, because each sync of a
/// growing file also writes its length. A commit that finds 8,000 pages in the log moves them into
/// the database. That commit takes longer than with fewer pages (measured: 60 ms instead of 20 ms).
/// In return, a page that changed several times is moved once, and throughput is a quarter higher.
/// A log that grew beyond that, behind a long read, is cut when it is reused.
const SQLITE_SESSION: &str = "PRAGMA busy_timeout = 5000; PRAGMA journal_mode = WAL; \
     PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA wal_autocheckpoint = 8000; \
     PRAGMA journal_size_limit = 67108864; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -16384;";

/// Maximum wait of a new connection while others set up the same file.
const SQLITE_PATIENCE: Duration = Duration::from_secs(5);

impl Db {
    /// Opens a connection. A SQLite file that does not exist is created first.
    ///
    /// # Errors
    ///
    /// Like [`connect`](Self::connect).
    pub fn create(url: &DatabaseUrl, purpose: Use) -> Result<Self, StoreError> {
        if let DatabaseUrl::Sqlite(file) = url {
            file.create()?;
        }
        Self::connect(url, purpose)
    }

    /// Opens a connection. A SQLite file must exist.
    ///
    /// # Errors
    ///
    /// [`StoreError::Gone`] if the database cannot be reached. [`StoreError::Impaired`] if there is
    /// no SQLite file, or none that can be opened, or another one than this process opened first.
    pub fn connect(url: &DatabaseUrl, purpose: Use) -> Result<Self, StoreError> {
        match url {
            DatabaseUrl::Sqlite(file) => Ok(Self::Sqlite(open_sqlite(file)?)),
            DatabaseUrl::Postgres(target) => {
                let mut db = target.connect(purpose)?;
                speak_english(&mut db);
                Ok(Self::Postgres(db))
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
            Self::Sqlite(db) => db.connection().batch_execute("BEGIN IMMEDIATE")?,
            Self::Postgres(db) => db.begin()?,
        }
        Ok(())
    }

    /// Commits the lane's transaction, durably.
    ///
    /// On SQLite, it first makes sure that the open file still is the one at its path. What is
    /// written to a deleted file is gone with the process.
    ///
    /// On PostgreSQL with synchronous standbys, it then makes sure that they have the commit.
    ///
    /// # Errors
    ///
    /// After [`StoreError::Gone`] it is not known whether the commit took place, or stays.
    pub fn commit(&mut self) -> Result<(), StoreError> {
        if let Self::Sqlite(db) = self {
            db.is_in_place()?;
        }
        on_backend!(self, connection => connection.batch_execute("COMMIT"))?;
        self.confirm_commit()
    }

    /// Makes sure that the synchronous standbys of PostgreSQL have what was committed.
    ///
    /// # Errors
    ///
    /// [`StoreError::Gone`], whatever the cause: it is not known then whether they have it.
    pub fn confirm_commit(&mut self) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(_) => Ok(()),
            Self::Postgres(db) => db.confirm_commit().map_err(|error| match error {
                StoreError::Gone(cause) => StoreError::Gone(cause),
                other => StoreError::Gone(other.into()),
            }),
        }
    }

    /// Rolls the lane's transaction back. If that fails, the connection cannot be used again.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub fn rollback(&mut self) -> Result<(), StoreError> {
        on_backend!(self, connection => connection.batch_execute("ROLLBACK"))?;
        Ok(())
    }

    /// Runs a read of several statements on one snapshot, so that it never sees half a commit.
    ///
    /// On PostgreSQL this costs two more round trips: one to begin and one to end.
    ///
    /// # Errors
    ///
    /// The error of the read, or [`StoreError::Gone`] if the connection cannot be used again.
    pub fn in_one_snapshot<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        match self {
            Self::Sqlite(db) => db.connection().batch_execute("BEGIN DEFERRED")?,
            Self::Postgres(db) => {
                let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
                db.connection().batch_execute(begin)?;
            }
        }
        let outcome = read(self);
        // On SQLite, a commit makes sure that the file is in its place. On PostgreSQL it would ask the
        // standbys, although nothing was written.
        let commits = outcome.is_ok() && self.is_sqlite();
        let ended = if commits { self.commit() } else { self.rollback() };
        match (outcome, ended) {
            (Ok(found), Ok(())) => Ok(found),
            (Err(error), Ok(())) => Err(error),
            (Err(error), Err(_)) if error.is_gone() => Err(error),
            (_, Err(error)) => Err(StoreError::Gone(error.to_string().into())),
        }
    }

    /// Makes this connection fail at once instead of waiting for another writer.
    ///
    /// On SQLite, a statement that finds the file locked then fails with [`StoreError::Raced`]. On
    /// PostgreSQL nothing changes, because a read waits for no lock.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub fn never_wait(&mut self) -> Result<(), StoreError> {
        if let Self::Sqlite(db) = self {
            db.connection().batch_execute("PRAGMA busy_timeout = 0")?;
        }
        Ok(())
    }

    /// Ends every later statement that takes longer than this, with [`StoreError::Impaired`].
    ///
    /// Only on PostgreSQL without a pool. A statement of SQLite cannot be ended from outside, and
    /// behind a pool the setting would stay for others; the caller stops waiting for it. A PostgreSQL
    /// that does not even end the statement is cut off after twice the time, with
    /// [`StoreError::Gone`]; see [`cut_after`](Self::cut_after).
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub fn give_up_after(&mut self, timeout: Duration) -> Result<(), StoreError> {
        self.cut_after(timeout.saturating_mul(2));
        if let Self::Postgres(db) = self
            && !db.is_pooled()
        {
            let set = format!("SET statement_timeout = {}", timeout.as_millis());
            db.connection().batch_execute(&set)?;
        }
        Ok(())
    }
}

impl Db {
    /// Cuts the connection whenever a statement takes longer than this, with [`StoreError::Gone`].
    ///
    /// Only on PostgreSQL over TCP, on Linux. It needs [`rest`](Self::rest) after the last statement.
    pub fn cut_after(&mut self, limit: Duration) {
        if let Self::Postgres(db) = self {
            db.watch(limit);
        }
    }

    /// Says that no statement runs until the next one.
    pub fn rest(&self) {
        if let Self::Postgres(db) = self {
            db.rest();
        }
    }
}

/// Opens a SQLite file that exists, and makes sure that it is the one that was opened.
fn open_sqlite(file: &SqliteFile) -> Result<SqliteDb, StoreError> {
    let before = file.identity()?;
    let connection = SqliteConnection::establish(&file.uri());
    let mut connection = connection.map_err(|error| file.unopened(&error))?;
    prepare_sqlite(&mut connection)?;
    SqliteDb::new(connection, file, before)
}

/// Sets a SQLite connection up, with retries.
///
/// While another process changes the journal mode of a new file, SQLite refuses at once and ignores
/// the busy timeout.
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

/// Makes PostgreSQL report errors in English, as `error.rs` expects.
///
/// Not every role may do that. A refusal is ignored here, and `doctor` reports it. No transaction
/// is open that the refusal could abort. Behind a pool, it would change the sessions of others.
fn speak_english(db: &mut PostgresDb) {
    let locale = if db.is_pooled() { Ok(None) } else { db.text("lc_messages") };
    if matches!(locale, Ok(Some(locale)) if !is_english(&locale)) {
        let _ = db.connection().batch_execute("SET lc_messages = 'C'");
    }
}

/// Whether messages of this locale are in English.
pub(crate) fn is_english(locale: &str) -> bool {
    let language = locale.split(['_', '.', '@', '-']).next().unwrap_or_default();
    let known = ["C", "POSIX", "en", "English"];
    known.iter().any(|name| name.eq_ignore_ascii_case(language))
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
