//! How a lock ends.

use std::fmt;

/// How a guard's hold on its lock ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LockEnd {
    /// It could not be renewed in time, by this process's clocks.
    Expired,
    /// The server says that the grant is over: it expired, or an admin took the lock away.
    TakenAway,
    /// It was released or dropped.
    Released,
}

impl fmt::Display for LockEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Expired => "it was not renewed in time",
            Self::TakenAway => "the server says that the grant is over",
            Self::Released => "it was released",
        })
    }
}
