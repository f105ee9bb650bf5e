//! How a mutation deals with conflicts, and what one attempt at it is.

use crate::{
    Collection, Conflict, Decision, Error, Resource, Versioned,
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

/// What happens at a conflict when no callback decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Otherwise {
    /// Make the edit again, on whatever the object is now.
    Reapply,
    /// Make the edit again if nobody else changed the same; be content if it is so already.
    MergeIfClean,
}

/// How a mutation deals with conflicts: how often, how long, and who decides.
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

    /// For edits that say what shall be, such as a form: made again only where nobody else
    /// changed the same, a success if somebody else wrote the same.
    ///
    /// ```
    /// # fn example(billing: ifmatch::Client) {
    /// let policy = ifmatch::Policy::<ifmatch::Subscription>::merge(&billing);
    /// # }
    /// ```
    pub fn merge(client: &Client) -> Self {
        Self::new(client, Otherwise::MergeIfClean)
    }

    /// So many new attempts after conflicts; 0 decides at the first one.
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

    /// How long the whole call may take, waiting and callbacks included. A `send` of your own is
    /// told what is left of it: [`Attempt::time_left`].
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
    /// It names the sends in logs and in the server's store. It does not make a repetition of the
    /// whole call harmless: that one reads the object again, and edits what it finds.
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

    /// Who decides at a conflict.
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

    /// Whether the edit is computed from what it finds.
    pub(crate) fn is_relative(&self) -> bool {
        self.otherwise == Otherwise::Reapply
    }

    /// Whether there is nothing to decide: an absolute edit is as wanted, or goes on top.
    pub(crate) fn is_settled(&self, verdict: Verdict) -> bool {
        self.otherwise == Otherwise::MergeIfClean
            && matches!(verdict, Verdict::Clean | Verdict::Identical)
    }

    /// The decision when nobody is asked.
    pub(crate) fn default_decision(&self, verdict: Verdict) -> Decision<T> {
        match (self.otherwise, verdict) {
            (Otherwise::Reapply, _) => Decision::Reapply,
            (Otherwise::MergeIfClean, Verdict::Clean | Verdict::Identical) => Decision::Merge,
            (Otherwise::MergeIfClean, _) => Decision::Park,
        }
    }

    /// A new key per attempt: the server takes one key with another body for a mistake.
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
    /// What the edit was computed from.
    pub base: Versioned<T>,
    /// The object as the edit would have it.
    pub edited: T,
    /// 0 for the first, one more after each conflict.
    pub number: u32,
    /// The key to send it with.
    pub idempotency_key: String,
    /// The reason for skipping the version check, if a [`Decision::Force`] or the caller said so.
    pub force: Option<String>,
    pub(crate) deadline: Deadline,
}

impl<T: Resource> Attempt<T> {
    /// What is left of the call's deadline. A `send` of your own has to keep to it: it is not cut
    /// off, since nobody would know then whether it was applied.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client, attempt: ifmatch::Attempt<ifmatch::Plan>)
    /// # -> Result<(), ifmatch::Error> {
    /// let run = billing.run_billing(ifmatch::Timestamp::now()).deadline(attempt.time_left());
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
        let request = self.client().signed(request);
        let mut sending = Sending::new(request, attempt.deadline);
        let reply = self.client().send_edit(&mut sending, &edit).await?;
        sending.read(reply.versioned()).map_err(|error| with_edit(error, &edit))
    }
}
