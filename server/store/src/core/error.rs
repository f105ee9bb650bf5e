//! Technical failures, in as few kinds as the lane handles differently.

use diesel::result::{DatabaseErrorKind, Error as DieselError};
use std::{error::Error, fmt};

/// The name of the unique key of kept answers on PostgreSQL.
const ANSWERS_KEY: &str = "answers_pkey";

/// The error that caused a [`StoreError`].
pub type Cause = Box<dyn Error + Send + Sync>;

/// A technical failure, never a rejection by a rule.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database cannot be reached, or the connection was lost.
    #[error("the database cannot be reached: {}", OneLine(&**.0))]
    Gone(#[source] Cause),
    /// The database answers, but does not work: it is read-only, full, or out of time.
    ///
    /// Nothing was written, also if a commit ends so. It may work again, on a new connection.
    #[error("the database does not work: {}", Chain(&**.0))]
    Impaired(#[source] Cause),
    /// Another writer was faster, or the database is busy. Running the batch again may succeed.
    #[error("another writer was in the way: {}", Chain(&**.0))]
    Raced(#[source] Cause),
    /// A row was not as it had been loaded, although it was locked.
    #[error("a row of {table} was not as it had been loaded: {saved} of {expected} saved")]
    LostGuard {
        /// The table.
        table: &'static str,
        /// Rows that should have been saved.
        expected: usize,
        /// Rows that were saved.
        saved: usize,
    },
    /// A stored value cannot be read: a broken invariant.
    #[error("{table}.{column} of {id} holds a value that nothing here writes: {what}")]
    Corrupt {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
        /// The row.
        id: String,
        /// What is wrong with the value.
        what: String,
    },
    /// Anything else.
    #[error("{}", Chain(&**.0))]
    Unforeseen(#[source] Cause),
}

impl StoreError {
    /// Whether running the same batch again may help.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Raced(_) | Self::LostGuard { .. })
    }

    /// Whether an Idempotency-Key had been used before.
    pub fn is_repeat(&self) -> bool {
        let Self::Raced(cause) = self else { return false };
        let Some(DieselError::DatabaseError(DatabaseErrorKind::UniqueViolation, information)) =
            cause.downcast_ref()
        else {
            return false;
        };
        information.constraint_name() == Some(ANSWERS_KEY)
    }

    /// Whether the connection was lost. A commit that ends so may have taken place.
    pub fn is_gone(&self) -> bool {
        matches!(self, Self::Gone(_))
    }

    /// Whether the database is away or does not work, so that no command can succeed now.
    pub fn is_outage(&self) -> bool {
        matches!(self, Self::Gone(_) | Self::Impaired(_))
    }

    /// Whether the connection can be used again.
    ///
    /// After an unforeseen error it may be useless: a pool may have swapped the session behind it,
    /// or a migration may have changed the results of its prepared statements.
    pub fn spares_connection(&self) -> bool {
        matches!(self, Self::Raced(_) | Self::LostGuard { .. } | Self::Corrupt { .. })
    }
}

/// Shows an error with all its causes.
///
/// A log that does not print sources still has all of them.
struct Chain<'a>(&'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said = self.0.to_string();
        f.write_str(&said)?;
        let mut next = self.0.source();
        while let Some(error) = next {
            let text = error.to_string();
            // Some errors print their source themselves.
            if !said.contains(&text) {
                write!(f, ": {text}")?;
            }
            said = text;
            next = error.source();
        }
        Ok(())
    }
}

/// Shows an error with all its causes on one line, also if a text has several, as libpq's have.
struct OneLine<'a>(&'a (dyn Error + 'static));

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let said = Chain(self.0).to_string();
        let lines = said.lines().map(str::trim).filter(|line| !line.is_empty());
        f.write_str(&lines.collect::<Vec<_>>().join("; "))
    }
}

/// What an error says about the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    Gone,
    Impaired,
    Raced,
}

/// How messages of errors begin that only their message identifies.
///
/// Diesel has no kind for them, and it passes on neither PostgreSQL's code nor SQLite's. Sessions
/// get English messages for this; see `db.rs`.
const BEGINNINGS: [(&str, Meaning); 21] = [
    // PostgreSQL 40P01 and 55P03.
    ("deadlock detected", Meaning::Raced),
    ("canceling statement due to lock timeout", Meaning::Raced),
    // 22P02, on purpose: see `LOST` in `bulk.rs`.
    ("invalid input syntax for type bigint: \"a row of", Meaning::Raced),
    // 57014.
    ("canceling statement due to statement timeout", Meaning::Impaired),
    ("canceling statement due to user request", Meaning::Impaired),
    // 53200 and 53400.
    ("out of memory", Meaning::Impaired),
    ("out of shared memory", Meaning::Impaired),
    ("temporary file size exceeds", Meaning::Impaired),
    // 53100 and 58030. The rest of the message is the operating system's.
    ("could not extend file", Meaning::Impaired),
    ("could not write", Meaning::Impaired),
    ("could not read", Meaning::Impaired),
    ("could not open file", Meaning::Impaired),
    ("could not create file", Meaning::Impaired),
    ("could not fsync file", Meaning::Impaired),
    // SQLITE_BUSY, SQLITE_LOCKED and SQLITE_PROTOCOL.
    ("database is locked", Meaning::Raced),
    ("database table is locked", Meaning::Raced),
    ("locking protocol", Meaning::Raced),
    // SQLITE_FULL, SQLITE_READONLY and SQLITE_CANTOPEN.
    ("database or disk is full", Meaning::Impaired),
    ("attempt to write a readonly database", Meaning::Impaired),
    ("unable to open database file", Meaning::Impaired),
    // SQLITE_IOERR. If the sync of a commit fails, its frames may be on the disk.
    ("disk I/O error", Meaning::Gone),
];

/// What the operating system says when there is no space, wherever a message repeats it.
const NO_SPACE: [&str; 2] = ["No space left on device", "Disk quota exceeded"];

impl From<DieselError> for StoreError {
    fn from(error: DieselError) -> Self {
        let meaning = match &error {
            DieselError::DatabaseError(kind, information) => {
                meaning_of(kind, information.message())
            }
            DieselError::BrokenTransactionManager => Some(Meaning::Gone),
            _ => None,
        };
        match meaning {
            Some(Meaning::Gone) => Self::Gone(error.into()),
            Some(Meaning::Impaired) => Self::Impaired(error.into()),
            Some(Meaning::Raced) => Self::Raced(error.into()),
            None => Self::Unforeseen(error.into()),
        }
    }
}

fn meaning_of(kind: &DatabaseErrorKind, message: &str) -> Option<Meaning> {
    use DatabaseErrorKind as Kind;
    match kind {
        Kind::ClosedConnection | Kind::UnableToSendCommand => Some(Meaning::Gone),
        // Also a primary that has become a standby: another connection finds the new one.
        Kind::ReadOnlyTransaction => Some(Meaning::Impaired),
        Kind::UniqueViolation | Kind::SerializationFailure => Some(Meaning::Raced),
        Kind::Unknown if NO_SPACE.iter().any(|known| message.contains(known)) => {
            Some(Meaning::Impaired)
        }
        Kind::Unknown => {
            let known = BEGINNINGS.iter().find(|(known, _)| message.starts_with(known));
            known.map(|(_, meaning)| *meaning)
        }
        _ => None,
    }
}

impl From<diesel::ConnectionError> for StoreError {
    fn from(error: diesel::ConnectionError) -> Self {
        Self::Gone(error.into())
    }
}
