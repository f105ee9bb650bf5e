//! Technical failures, in as few kinds as the lane handles differently.

use diesel::result::{DatabaseErrorKind, Error as DieselError};
use std::{error::Error, fmt};

/// The error that caused a [`StoreError`].
pub type Cause = Box<dyn Error + Send + Sync>;

/// A technical failure, never a rejection by a rule.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database cannot be reached, or the connection was lost.
    #[error("the database is away: {}", Chain(&**.0))]
    Gone(#[source] Cause),
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

    /// Whether the connection cannot be used again.
    pub fn is_gone(&self) -> bool {
        matches!(self, Self::Gone(_))
    }
}

/// Shows an error with all its causes on one line.
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

/// Messages of errors that only their message identifies.
///
/// Diesel has no kind for them, and it passes on neither PostgreSQL's code nor SQLite's. Sessions
/// get English messages for this; see `db.rs`.
const BUSY_MESSAGES: [&str; 5] = [
    // PostgreSQL 57014, 40P01 and 55P03.
    "canceling statement due to statement timeout",
    "deadlock detected",
    "canceling statement due to lock timeout",
    // SQLITE_BUSY and SQLITE_LOCKED.
    "database is locked",
    "database table is locked",
];

impl From<DieselError> for StoreError {
    fn from(error: DieselError) -> Self {
        use DatabaseErrorKind as Kind;
        let kind = match &error {
            DieselError::DatabaseError(kind, information) => match kind {
                Kind::ClosedConnection | Kind::UnableToSendCommand => Self::Gone,
                // The primary has become a standby: another connection finds the new one.
                Kind::ReadOnlyTransaction => Self::Gone,
                Kind::UniqueViolation | Kind::SerializationFailure => Self::Raced,
                Kind::Unknown if is_busy(information.message()) => Self::Raced,
                _ => Self::Unforeseen,
            },
            DieselError::BrokenTransactionManager => Self::Gone,
            _ => Self::Unforeseen,
        };
        kind(error.into())
    }
}

fn is_busy(message: &str) -> bool {
    BUSY_MESSAGES.iter().any(|known| message.starts_with(known))
}

impl From<diesel::ConnectionError> for StoreError {
    fn from(error: diesel::ConnectionError) -> Self {
        Self::Gone(error.into())
    }
}
