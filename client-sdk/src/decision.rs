//! The ways to decide about a conflict.

/// A decision about a conflict.
///
/// Callbacks of [`on_conflict`](crate::Update::on_conflict) return one, and open conflicts are
/// [resolved](crate::Parked::resolve) with one. Every write is conditional: if the object moves
/// again, there is a new conflict, never a lost update.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Decision<T> {
    /// Run the edit again on the current object. After a [`Send`](Self::Send) and in an open
    /// conflict there is no closure any more: the attempted values are written on top of the current
    /// object, even over other changes.
    Reapply,
    /// Write the attempted paths on top of the current object if others did not change them;
    /// otherwise park. Nothing is written if the object has the values already, unless the edit was
    /// computed from the current object ([`Conflict::is_relative`](crate::Conflict::is_relative)).
    Merge,
    /// Write this object in place of the current one. It is parked if a callback made it and it
    /// cannot be written.
    Send(T),
    /// Give the edit up and take the current object.
    TakeRemote,
    /// Write the edit without the version check; needs the role `admin`.
    Force {
        /// The reason for the audit log, 1–500 characters.
        reason: String,
    },
    /// Leave it to a person: keep it in the conflict store.
    Park,
    /// Fail with [`Error::Conflict`](crate::Error::Conflict), which holds the edit.
    Abort,
}
