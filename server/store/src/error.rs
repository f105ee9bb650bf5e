//! What can go wrong technically, in as few kinds as the lane has answers for.

use diesel::result::{DatabaseErrorKind, Error as DieselError};

/// A technical failure: never a rule's refusal.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database cannot be reached, or went away.
    #[error("the database is away: {0}")]
    Gone(String),
    /// Another process was faster, or the database is busy: the same batch may succeed next time.
    #[error("another writer was in the way: {0}")]
    Raced(String),
    /// A row was not as it had been loaded, although it was locked.
    #[error("a row of {table} was not as it had been loaded: {saved} of {expected} saved")]
    LostGuard {
        /// The table.
        table: &'static str,
        /// Rows that should have been saved.
        expected: usize,
        /// Rows that were.
        saved: usize,
    },
    /// What is stored cannot be read: a broken invariant.
    #[error("{table} {id} holds what nobody wrote: {what}")]
    Corrupt {
        /// The table.
        table: &'static str,
        /// The row.
        id: String,
        /// What is wrong with it.
        what: String,
    },
    /// Anything else.
    #[error("{0}")]
    Unforeseen(String),
}

impl StoreError {
    /// Whether running the same batch again may help.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Raced(_) | Self::LostGuard { .. })
    }

    /// Whether the connection is of no more use.
    pub fn is_gone(&self) -> bool {
        matches!(self, Self::Gone(_))
    }
}

/// What PostgreSQL says when it, or the way to it, is going away.
const GONE: [&str; 9] = [
    "terminating connection",
    "server closed the connection",
    "no connection to the server",
    "connection to server",
    "could not receive data",
    "could not send data",
    "shutting down",
    "starting up",
    "SSL connection has been closed",
];

/// What both databases say when another writer is in the way.
const RACED: [&str; 6] = [
    "deadlock detected",
    "could not serialize",
    "lock timeout",
    "database is locked",
    "database table is locked",
    "could not obtain lock",
];

impl From<DieselError> for StoreError {
    fn from(error: DieselError) -> Self {
        let text = error.to_string();
        let says = |texts: &[&str]| texts.iter().any(|part| text.contains(part));
        match &error {
            DieselError::DatabaseError(kind, _) => {
                match kind {
                    DatabaseErrorKind::ClosedConnection
                    | DatabaseErrorKind::UnableToSendCommand => Self::Gone(text),
                    DatabaseErrorKind::UniqueViolation
                    | DatabaseErrorKind::SerializationFailure => Self::Raced(text),
                    _ if says(&GONE) => Self::Gone(text),
                    _ if says(&RACED) => Self::Raced(text),
                    _ => Self::Unforeseen(text),
                }
            }
            DieselError::BrokenTransactionManager => Self::Gone(text),
            _ => Self::Unforeseen(text),
        }
    }
}

impl From<diesel::ConnectionError> for StoreError {
    fn from(error: diesel::ConnectionError) -> Self {
        Self::Gone(error.to_string())
    }
}
