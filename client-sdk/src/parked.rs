//! An open conflict and its resolution.

use crate::{
    Client, Conflict, Decision, Error, OpenConflict, Resource, Versioned, WriteInfo, edit::Edit,
    pace::Deadline, send::Sending,
};
use ifmatch_types::Verdict;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::{ops::Deref, sync::Arc};

/// How a conflict was resolved.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Resolution {
    /// The object was written; this is its new state.
    Written(Versioned<Value>),
    /// The object stays as others wrote it.
    KeptRemote(Versioned<Value>),
    /// The conflict stays open.
    StillOpen,
    /// The edit was given up; this is the last copy of it.
    Abandoned(Box<Conflict<Value>>),
}

/// An open conflict with the client to resolve it.
///
/// It reads like the [`OpenConflict`] it is.
#[derive(Clone, Debug)]
pub struct Parked {
    open: Arc<OpenConflict>,
    client: Client,
}

impl Deref for Parked {
    type Target = OpenConflict;

    fn deref(&self) -> &OpenConflict {
        &self.open
    }
}

impl Parked {
    pub(crate) fn new(open: Arc<OpenConflict>, client: &Client) -> Self {
        Self { open, client: client.clone() }
    }

    /// The conflict with the entity's type.
    ///
    /// ```
    /// # fn example(parked: ifmatch::Parked) -> Result<(), ifmatch::Error> {
    /// if parked.conflict.kind == ifmatch::Kind::Subscription {
    ///     let conflict = parked.typed::<ifmatch::Subscription>()?;
    ///     println!("{} or {}?", conflict.local.quantity, conflict.remote.quantity);
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Decode`] if it is about another kind of object.
    pub fn typed<T: DeserializeOwned>(&self) -> Result<Conflict<T>, Error> {
        self.open.conflict.clone().typed()
    }

    /// Resolves the conflict with an object of the entity's type.
    ///
    /// ```
    /// # async fn example(parked: ifmatch::Parked) -> Result<(), ifmatch::Error> {
    /// let mut sub = parked.typed::<ifmatch::Subscription>()?.remote;
    /// sub.quantity += 2;
    /// parked.resolve_with(&sub).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`resolve`](Self::resolve).
    pub async fn resolve_with<T: Resource>(&self, object: &T) -> Result<Resolution, Error> {
        self.resolve(Decision::Send(crate::versioned::to_json(object)?)).await
    }

    /// Resolves the conflict, by a write that is conditional on the remote version in it.
    ///
    /// ```
    /// # async fn example(parked: ifmatch::Parked) -> Result<(), ifmatch::Error> {
    /// use ifmatch::{Decision, Error};
    ///
    /// match parked.resolve(Decision::Reapply).await {
    ///     Err(Error::Unresolved(_)) => println!("the object moved: look again"),
    ///     resolved => println!("{:?}", resolved?),
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Unresolved`] if the object has moved again: the same conflict is open with the new
    /// remote state. [`Error::Conflict`] if `Merge` was asked for where both changed the same;
    /// the conflict stays open.
    /// [`Error::AlreadyResolved`] if it was resolved elsewhere first. Any other error of the write
    /// leaves the conflict open.
    pub async fn resolve(&self, decision: Decision<Value>) -> Result<Resolution, Error> {
        let store = self.client.store();
        store.still(&self.open)?;
        let conflict = &self.open.conflict;
        tracing::info!(conflict = %self.open.id, decision = name(&decision), "resolving");
        // A decision about values is done if the object has them already.
        let is_done_if_so = !(conflict.is_relative && matches!(decision, Decision::Merge));
        let (local, force) = match decision {
            Decision::Park => return Ok(Resolution::StillOpen),
            Decision::TakeRemote => {
                store.close(&self.open).await?;
                return Ok(Resolution::KeptRemote(self.remote()));
            }
            Decision::Abort => {
                store.close(&self.open).await?;
                return Ok(Resolution::Abandoned(Box::new(conflict.clone())));
            }
            Decision::Merge if conflict.verdict == Verdict::Clean || conflict.is_done() => {
                (conflict.merged(), None)
            }
            Decision::Merge => return Err(Error::Conflict(Box::new(conflict.clone()))),
            Decision::Reapply => (conflict.merged(), None),
            Decision::Force { reason } => (conflict.merged(), Some(reason)),
            Decision::Send(object) => return self.write(object, None, true, true).await,
        };
        self.write(local, force, false, is_done_if_so).await
    }

    /// Writes the object in place of the remote state. `new` says that it is not the parked edit,
    /// `is_done_if_so` that nothing is left to do if others wrote the same.
    async fn write(
        &self,
        local: Value,
        force: Option<String>,
        new: bool,
        is_done_if_so: bool,
    ) -> Result<Resolution, Error> {
        let (store, parked) = (self.client.store(), &self.open.conflict);
        let edit = Edit {
            kind: parked.kind,
            id: parked.resource_id.clone(),
            base: parked.remote.clone(),
            base_version: parked.remote_version,
            local,
        };
        if edit.attempted().is_empty() {
            store.close(&self.open).await?;
            return Ok(Resolution::KeptRemote(self.remote()));
        }
        let request = self.client.signed(edit.request(None, force.as_deref()));
        let mut sending = Sending::new(request, Deadline::after(self.client.deadline()));
        let moved = match self.client.send_edit(&mut sending, &edit).await {
            Ok(reply) => {
                let written = sending.read(reply.versioned())?;
                match store.close(&self.open).await {
                    // It was closed elsewhere, but the write is done all the same.
                    Ok(()) | Err(Error::AlreadyResolved(_)) => {}
                    // The write is done all the same. The conflict stays open, and no
                    // decision about it can overwrite anything.
                    Err(error) => {
                        tracing::error!(conflict = %self.open.id, %error, "resolved, but not closed");
                    }
                }
                return Ok(Resolution::Written(written));
            }
            Err(Error::Conflict(moved)) => *moved,
            Err(error) => return Err(error),
        };
        // A person's decision is an edit of its own and must not get lost either.
        let mut again = if new { moved.clone() } else { parked.clone() };
        again.move_to(moved.remote)?;
        again.conflict_id = moved.conflict_id;
        again.attempts = parked.attempts.saturating_add(1);
        if again.verdict == Verdict::Identical && is_done_if_so {
            store.close(&self.open).await?;
            let remote = again.remote;
            let kept = Versioned::with(remote, again.remote_version, WriteInfo::nothing());
            return Ok(Resolution::KeptRemote(kept));
        }
        store.reopen(&self.open, again).await?;
        Err(Error::Unresolved(self.open.id.clone()))
    }

    fn remote(&self) -> Versioned<Value> {
        let conflict = &self.open.conflict;
        let remote = conflict.remote.clone();
        Versioned::with(remote, conflict.remote_version, WriteInfo::nothing())
    }
}

fn name(decision: &Decision<Value>) -> &'static str {
    match decision {
        Decision::Reapply => "reapply",
        Decision::Merge => "merge",
        Decision::Send(_) => "send",
        Decision::TakeRemote => "take remote",
        Decision::Force { .. } => "force",
        Decision::Park => "park",
        Decision::Abort => "abort",
    }
}
