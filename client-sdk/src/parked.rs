//! The conflict store as its users see it: what is open, what comes, and resolving it.

use crate::{
    Client, Conflict, ConflictId, Decision, Error, OpenConflict, Resource, Versioned, WriteInfo,
    edit::Edit, open::OpenConflicts, pace::Deadline, send::Sending,
};
use futures::stream::{self, BoxStream, Stream, StreamExt};
use ifmatch_types::Verdict;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::{
    collections::HashMap,
    fmt,
    ops::Deref,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tokio::sync::watch;

/// The conflicts of a client that wait for a decision.
///
/// ```
/// # async fn example(billing: ifmatch::Client) -> Result<(), ifmatch::Error> {
/// for parked in billing.conflicts().list() {
///     println!("{}\n{}", parked.id, parked.conflict.diff());
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct ConflictStore {
    client: Client,
}

impl ConflictStore {
    pub(crate) fn new(client: &Client) -> Self {
        Self { client: client.clone() }
    }

    fn open(&self) -> &Arc<OpenConflicts> {
        self.client.store()
    }

    /// What is open, oldest first.
    ///
    /// ```
    /// # fn example(billing: ifmatch::Client) {
    /// println!("{} conflicts are open", billing.conflicts().list().len());
    /// # }
    /// ```
    pub fn list(&self) -> Vec<Parked> {
        self.open().list().into_iter().map(|open| self.parked(open)).collect()
    }

    /// The open conflict with this id.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client, id: ifmatch::ConflictId)
    /// # -> Result<(), ifmatch::Error> {
    /// if let Some(parked) = billing.conflicts().get(&id) {
    ///     parked.resolve(ifmatch::Decision::Merge).await?;
    /// }
    /// # Ok(()) }
    /// ```
    pub fn get(&self, id: &ConflictId) -> Option<Parked> {
        self.open().get(id).map(|open| self.parked(open))
    }

    /// What is open now, then what comes, without end.
    ///
    /// A conflict that opens again because the object had moved comes again. Nothing is queued:
    /// who is slow gets each conflict in its latest form, and none that was resolved meanwhile.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client) -> Result<(), ifmatch::Error> {
    /// let mut parked = billing.conflicts().subscribe();
    /// while let Some(conflict) = parked.next().await {
    ///     println!("{}", conflict.conflict.diff());
    /// }
    /// # Ok(()) }
    /// ```
    pub fn subscribe(&self) -> ConflictStream {
        let watcher =
            Watcher { changes: self.open().watch(), store: self.clone(), seen: HashMap::new() };
        let conflicts = stream::unfold(watcher, |mut watcher| async {
            let next = watcher.next().await?;
            Some((next, watcher))
        });
        ConflictStream { conflicts: conflicts.boxed() }
    }

    fn parked(&self, open: Arc<OpenConflict>) -> Parked {
        Parked { open, client: self.client.clone() }
    }
}

/// The open conflicts as they come; see [`ConflictStore::subscribe`].
pub struct ConflictStream {
    conflicts: BoxStream<'static, Parked>,
}

impl fmt::Debug for ConflictStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConflictStream").finish_non_exhaustive()
    }
}

impl ConflictStream {
    /// The next open conflict; waits for one if there is none.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client) {
    /// let mut parked = billing.conflicts().subscribe();
    /// if let Some(conflict) = parked.next().await {
    ///     println!("{}", conflict.id);
    /// }
    /// # }
    /// ```
    pub async fn next(&mut self) -> Option<Parked> {
        self.conflicts.next().await
    }
}

impl Stream for ConflictStream {
    type Item = Parked;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Parked>> {
        self.conflicts.poll_next_unpin(context)
    }
}

/// One subscriber: what it has seen, and at which revision.
struct Watcher {
    store: ConflictStore,
    changes: watch::Receiver<u64>,
    seen: HashMap<ConflictId, u32>,
}

impl Watcher {
    async fn next(&mut self) -> Option<Parked> {
        loop {
            // Marked before the look: what changes during it wakes the next wait.
            self.changes.mark_unchanged();
            let open = self.store.open().list();
            self.seen.retain(|id, _| open.iter().any(|one| one.id == *id));
            let news = open.into_iter().find(|one| self.seen.get(&one.id) != Some(&one.revision));
            if let Some(news) = news {
                self.seen.insert(news.id.clone(), news.revision);
                return Some(self.store.parked(news));
            }
            self.changes.changed().await.ok()?;
        }
    }
}

/// How a conflict was resolved.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Resolution {
    /// The object was written; this is what it is now.
    Written(Versioned<Value>),
    /// The object stays as the others left it.
    KeptRemote(Versioned<Value>),
    /// The conflict stays open.
    StillOpen,
    /// The edit was given up; here it is, for the last time.
    Abandoned(Box<Conflict<Value>>),
}

/// An open conflict in the hands of somebody who may resolve it.
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
    /// [`Error::AlreadyResolved`] if somebody else was faster. Whatever else the write failed
    /// with; the conflict stays open then.
    pub async fn resolve(&self, decision: Decision<Value>) -> Result<Resolution, Error> {
        let store = self.client.store();
        store.still(&self.open)?;
        let conflict = &self.open.conflict;
        tracing::info!(conflict = %self.open.id, decision = name(&decision), "resolving");
        // Who decides on values is content if they are there already, whoever wrote them.
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

    /// Writes the object in place of the remote state; `new` if it is more than the parked edit,
    /// `is_done_if_so` if nothing is left to do where somebody else wrote the same meanwhile.
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
                    // Somebody closed it meanwhile, but the write is done all the same.
                    Ok(()) | Err(Error::AlreadyResolved(_)) => {}
                    // The write is done all the same; the conflict stays open until somebody
                    // closes it, and no decision about it can overwrite anything.
                    Err(error) => {
                        tracing::error!(conflict = %self.open.id, %error, "resolved, but not closed");
                    }
                }
                return Ok(Resolution::Written(written));
            }
            Err(Error::Conflict(moved)) => *moved,
            Err(error) => return Err(error),
        };
        // What a person decided is an edit of its own, which must not get lost either.
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
