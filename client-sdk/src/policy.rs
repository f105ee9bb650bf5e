//! How a mutation deals with conflicts, and what one attempt at it is.

use crate::{
    Collection, Conflict, Decision, Error, Fence, Resource, Versioned,
    client::Client,
    edit::{Edit, with_edit},
    pace::Deadline,
    request::fresh_key,
    send::Sending,
    versioned::to_json,
};
use futures::future::{BoxFuture, FutureExt};
use ifmatch_types::Verdict;
use std::{future::Future, time::Duration};

/// A callback that decides about conflicts.
pub(crate) type Callback<'a, T> =
    Box<dyn FnMut(Conflict<T>) -> BoxFuture<'a, Decision<T>> + Send + 'a>;

/// The decision about a conflict without a callback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Otherwise {
    /// Make the edit again on the current object.
    Reapply,
    /// Make the edit again if others did not change the same paths. Done if they wrote the same.
    MergeIfClean,
}

/// How a mutation handles conflicts: attempts, deadline and callback.
///
/// ```
/// # fn example(billing: ifmatch::Client) {
/// use ifmatch::{Decision, Policy, Subscription};
/// use std::time::Duration;
///
/// let policy = Policy::<Subscription>::reapply(&billing)
///     .attempts_max(5)
///     .deadline(Duration::from_secs(10))
///     .on_conflict(|c| async move {
///         if c.touches("/plan_id") { Decision::Park } else { Decision::Reapply }
///     });
/// # }
/// ```
#[must_use]
pub struct Policy<'a, T> {
    pub(crate) client: Client,
    pub(crate) attempts_max: u32,
    pub(crate) deadline: Duration,
    pub(crate) force: Option<String>,
    pub(crate) fence: Option<Fence>,
    pub(crate) callback: Option<Callback<'a, T>>,
    key: Option<String>,
    otherwise: Otherwise,
}

impl<'a, T: Resource> Policy<'a, T> {
    fn new(client: &Client, otherwise: Otherwise) -> Self {
        Self {
            client: client.clone(),
            attempts_max: client.attempts_max(),
            deadline: client.deadline(),
            key: None,
            force: None,
            fence: None,
            otherwise,
            callback: None,
        }
    }

    /// For edits that can be made again on any state, such as `quantity += 5`.
    ///
    /// ```
    /// # fn example(billing: ifmatch::Client) {
    /// let policy = ifmatch::Policy::<ifmatch::Subscription>::reapply(&billing);
    /// # }
    /// ```
    pub fn reapply(client: &Client) -> Self {
        Self::new(client, Otherwise::Reapply)
    }

    /// For absolute edits, such as a form. They are made again only if others did not change the
    /// same paths, and succeed if others wrote the same values.
    ///
    /// ```
    /// # fn example(billing: ifmatch::Client) {
    /// let policy = ifmatch::Policy::<ifmatch::Subscription>::merge(&billing);
    /// # }
    /// ```
    pub fn merge(client: &Client) -> Self {
        Self::new(client, Otherwise::MergeIfClean)
    }

    /// Maximum new attempts after conflicts; 0 decides at the first one.
    ///
    /// ```
    /// # fn example(billing: ifmatch::Client) {
    /// let policy = ifmatch::Policy::<ifmatch::Plan>::reapply(&billing).attempts_max(0);
    /// # }
    /// ```
    pub fn attempts_max(mut self, attempts_max: u32) -> Self {
        self.attempts_max = attempts_max;
        self
    }

    /// How long the whole call may take, waiting and callbacks included. Your own `send` gets the
    /// time that is left from [`Attempt::time_left`].
    ///
    /// ```
    /// # fn example(billing: ifmatch::Client) {
    /// use std::time::Duration;
    /// let policy =
    ///     ifmatch::Policy::<ifmatch::Plan>::reapply(&billing).deadline(Duration::from_secs(2));
    /// # }
    /// ```
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// The key of the first attempt; later ones append `.1`, `.2`, ….
    ///
    /// It names the sends in logs and in the server's store. It does not make a repeat of the whole
    /// call harmless, because that reads the object again and edits the new state.
    ///
    /// ```
    /// # fn example(billing: ifmatch::Client) {
    /// let policy = ifmatch::Policy::<ifmatch::Plan>::reapply(&billing).idempotency_key("job-8812");
    /// # }
    /// ```
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Makes each attempt only while the grant of this lock is the current one.
    ///
    /// A `send` of your own gets it in [`Attempt::fence`].
    ///
    /// ```
    /// # fn example(billing: ifmatch::Client, lock: ifmatch::LockGuard) {
    /// let policy = ifmatch::Policy::<ifmatch::Plan>::reapply(&billing).fenced_by(&lock);
    /// # }
    /// ```
    pub fn fenced_by(mut self, lock: impl Into<Fence>) -> Self {
        self.fence = Some(lock.into());
        self
    }

    /// The callback that decides about a conflict.
    ///
    /// ```
    /// # fn example(billing: ifmatch::Client) {
    /// let policy = ifmatch::Policy::<ifmatch::Plan>::reapply(&billing)
    ///     .on_conflict(|_| async { ifmatch::Decision::Abort });
    /// # }
    /// ```
    pub fn on_conflict<C, Deciding>(mut self, mut callback: C) -> Self
    where
        C: FnMut(Conflict<T>) -> Deciding + Send + 'a,
        Deciding: Future<Output = Decision<T>> + Send + 'a,
    {
        self.callback = Some(Box::new(move |conflict| callback(conflict).boxed()));
        self
    }

    pub(crate) fn force(mut self, reason: String) -> Self {
        self.force = Some(reason);
        self
    }

    /// Whether the edit is computed from the current object.
    pub(crate) fn is_relative(&self) -> bool {
        self.otherwise == Otherwise::Reapply
    }

    /// Whether nothing is to be decided: an absolute edit is done already or merges cleanly.
    pub(crate) fn is_settled(&self, verdict: Verdict) -> bool {
        self.otherwise == Otherwise::MergeIfClean
            && matches!(verdict, Verdict::Clean | Verdict::Identical)
    }

    /// The decision without a callback.
    pub(crate) fn default_decision(&self, verdict: Verdict) -> Decision<T> {
        match (self.otherwise, verdict) {
            (Otherwise::Reapply, _) => Decision::Reapply,
            (Otherwise::MergeIfClean, Verdict::Clean | Verdict::Identical) => Decision::Merge,
            (Otherwise::MergeIfClean, _) => Decision::Park,
        }
    }

    /// A new key per attempt: the server refuses one key with different bodies.
    pub(crate) fn key_of(&self, number: u32) -> String {
        match &self.key {
            None => fresh_key(),
            Some(key) if number == 0 => key.clone(),
            Some(key) => format!("{key}.{number}"),
        }
    }
}

/// One attempt at a mutation: an edit computed from one base, with its own key.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Attempt<T> {
    /// The object that the edit was computed from.
    pub base: Versioned<T>,
    /// The object as the edit would have it.
    pub edited: T,
    /// 0 for the first attempt, plus one after each conflict.
    pub number: u32,
    /// The key to send it with.
    pub idempotency_key: String,
    /// The reason for skipping the version check, if a [`Decision::Force`] or the caller said so.
    pub force: Option<String>,
    /// The grant that must be the current one at the commit, if the policy says so.
    pub fence: Option<Fence>,
    pub(crate) deadline: Deadline,
    /// The id of the conflict that was told in this caller's turn; empty if none was.
    pub(crate) turn: String,
}

impl<T: Resource> Attempt<T> {
    /// The time left until the call's deadline. Your own `send` must keep to it. It is not cut off,
    /// because its outcome would then be unknown.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client, attempt: ifmatch::Attempt<ifmatch::Plan>)
    /// # -> Result<(), ifmatch::Error> {
    /// let run = billing.run_billing(None).deadline(attempt.time_left());
    /// # Ok(()) }
    /// ```
    pub fn time_left(&self) -> Duration {
        self.deadline.cap(Duration::MAX).unwrap_or_default()
    }

    pub(crate) fn edit(&self) -> Result<Edit, Error> {
        edit_of(&self.base, &self.edited)
    }
}

pub(crate) fn edit_of<T: Resource>(base: &Versioned<T>, edited: &T) -> Result<Edit, Error> {
    Ok(Edit {
        kind: T::KIND,
        id: base.id().as_ref().to_owned(),
        base: to_json(&**base)?,
        base_version: base.version(),
        local: to_json(edited)?,
    })
}

impl<T: Resource> Collection<T> {
    /// Sends one attempt: a merge patch of what it changed, naming the version it is based on.
    ///
    /// This is what [`with_conflict_resolution`](crate::with_conflict_resolution) is usually given as its `send`.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client, attempt: ifmatch::Attempt<ifmatch::Plan>)
    /// # -> Result<(), ifmatch::Error> {
    /// let plan = billing.plans().send(attempt).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Conflict`] if the object has moved on; any other if it was refused or lost.
    pub async fn send(&self, attempt: Attempt<T>) -> Result<Versioned<T>, Error> {
        let edit = attempt.edit()?;
        let request = edit.request(Some(attempt.idempotency_key), attempt.force.as_deref());
        let request = self.client().signed(request.fenced_by(attempt.fence.as_ref()));
        let sending = Sending::new(request, attempt.deadline);
        // A forced write is never stale.
        let mut sending = match attempt.force {
            None => sending.preferring_turn(attempt.turn),
            Some(_) => sending,
        };
        let reply = self.client().send_edit(&mut sending, &edit).await?;
        sending.read(reply.versioned()).map_err(|error| with_edit(error, &edit))
    }
}
