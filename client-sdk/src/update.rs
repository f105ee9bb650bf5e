//! Updates and saves: edits of one object, resolved against the changes of others.

use crate::{
    Collection, Conflict, Decision, Error, Fence, Forced, Policy, Resource, Versioned,
    pace::Deadline, policy::edit_of, versioned::to_json, with_conflict_resolution,
};
use futures::future::{BoxFuture, FutureExt};
use ifmatch_types::{Preview, merge};
use std::{
    fmt,
    future::{Future, IntoFuture},
    time::Duration,
};

/// How an edit is made on an object.
type Apply<'a, T> = Box<dyn FnMut(&mut T) -> Result<(), Error> + Send + 'a>;

/// An edit of one object: it is made when it is awaited.
///
/// Made by [`Collection::update`] and [`Collection::save`].
///
/// ```
/// # async fn example(billing: ifmatch::Client, id: ifmatch::SubscriptionId)
/// # -> Result<(), ifmatch::Error> {
/// use ifmatch::Decision;
/// use std::time::Duration;
///
/// let sub = billing
///     .subscriptions()
///     .update(&id, |s| s.quantity += 5)
///     .on_conflict(|c| async move {
///         if c.touches("/plan_id") { Decision::Park } else { Decision::Reapply }
///     })
///     .attempts_max(5)
///     .deadline(Duration::from_secs(10))
///     .await?;
/// # Ok(()) }
/// ```
#[must_use = "nothing is sent until it is awaited"]
pub struct Update<'a, T: Resource> {
    collection: Collection<T>,
    id: T::Id,
    /// The first base; fetched if there is none.
    base: Option<Versioned<T>>,
    apply: Apply<'a, T>,
    policy: Policy<'a, T>,
}

impl<T: Resource> fmt::Debug for Update<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Update").field("id", &self.id).finish_non_exhaustive()
    }
}

impl<'a, T: Resource> Update<'a, T> {
    pub(crate) fn of_closure(
        collection: &Collection<T>,
        id: &T::Id,
        mut edit: impl FnMut(&mut T) + Send + 'a,
    ) -> Self {
        Self {
            id: id.clone(),
            base: None,
            apply: Box::new(move |object| {
                edit(object);
                Ok(())
            }),
            policy: Policy::reapply(collection.client()),
            collection: collection.clone(),
        }
    }

    pub(crate) fn of_edited(collection: &Collection<T>, base: Versioned<T>, edited: T) -> Self {
        let before = base.clone();
        // Fields that the form only echoed are no part of the edit. Only differences are written.
        let apply = move |object: &mut T| {
            let attempted = merge::diff(&to_json(&*before)?, &to_json(&edited)?);
            let mut merged = to_json(object)?;
            merge::apply(&mut merged, &attempted);
            *object = serde_json::from_value(merged).map_err(Error::Decode)?;
            Ok(())
        };
        Self {
            id: base.id().clone(),
            base: Some(base),
            apply: Box::new(apply),
            policy: Policy::merge(collection.client()),
            collection: collection.clone(),
        }
    }

    /// The callback that decides when the edit meets a conflict.
    ///
    /// An [`update`](Collection::update) asks at every conflict, a [`save`](Collection::save) only
    /// where both sides changed the same.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client, id: ifmatch::SubscriptionId)
    /// # -> Result<(), ifmatch::Error> {
    /// use ifmatch::Decision;
    ///
    /// let sub = billing
    ///     .subscriptions()
    ///     .update(&id, |s| s.quantity = 7)
    ///     .on_conflict(|c| async move {
    ///         println!("{}", c.diff());
    ///         if c.touches("/quantity") { Decision::TakeRemote } else { Decision::Reapply }
    ///     })
    ///     .await?;
    /// # Ok(()) }
    /// ```
    pub fn on_conflict<C, Deciding>(mut self, callback: C) -> Self
    where
        C: FnMut(Conflict<T>) -> Deciding + Send + 'a,
        Deciding: Future<Output = Decision<T>> + Send + 'a,
    {
        self.policy = self.policy.on_conflict(callback);
        self
    }

    /// How long the whole call may take: fetches, sends, pauses and callbacks.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client, id: ifmatch::PlanId)
    /// # -> Result<(), ifmatch::Error> {
    /// use std::time::Duration;
    /// billing.plans().update(&id, |p| p.name.push('!')).deadline(Duration::from_secs(2)).await?;
    /// # Ok(()) }
    /// ```
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.policy = self.policy.deadline(deadline);
        self
    }

    /// Maximum new attempts after conflicts; 0 decides at the first one.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client, id: ifmatch::PlanId)
    /// # -> Result<(), ifmatch::Error> {
    /// billing.plans().update(&id, |p| p.name.push('!')).attempts_max(10).await?;
    /// # Ok(()) }
    /// ```
    pub fn attempts_max(mut self, attempts_max: u32) -> Self {
        self.policy = self.policy.attempts_max(attempts_max);
        self
    }

    /// The key of the first attempt, ≤ 250 characters; a random one by default.
    ///
    /// It names the sends in logs and in the server's store. It does not make a repeat of the whole
    /// call harmless, because that reads the object again and edits the new state.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client, id: ifmatch::PlanId)
    /// # -> Result<(), ifmatch::Error> {
    /// billing.plans().update(&id, |p| p.name.push('!')).idempotency_key("rename-1").await?;
    /// # Ok(()) }
    /// ```
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.policy = self.policy.idempotency_key(key);
        self
    }

    /// Applies only if the grant of this lock is the current one at the write's own commit.
    ///
    /// If the guard knows already that the lock is lost, the edit is not sent. Either way the call
    /// fails with [`Error::FencedOff`]: no conflict is resolved any more, and nothing is parked, not
    /// even what a callback made. An edit that is parked for another reason is resolved without the
    /// fence.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client, id: ifmatch::InvoiceId, lock: ifmatch::LockGuard)
    /// # -> Result<(), ifmatch::Error> {
    /// use ifmatch::InvoiceStatus::Open;
    /// billing.invoices().update(&id, |i| i.status = Open).fenced_by(&lock).await?;
    /// # Ok(()) }
    /// ```
    pub fn fenced_by(mut self, lock: impl Into<Fence>) -> Self {
        self.policy = self.policy.fenced_by(lock);
        self
    }

    /// Skips the version check, and only that; needs the role `admin`.
    ///
    /// The reason, 1–500 characters, is kept in the audit log with everything that is overwritten.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client, id: ifmatch::SubscriptionId)
    /// # -> Result<(), ifmatch::Error> {
    /// use ifmatch::SubscriptionStatus::Canceled;
    /// billing.subscriptions().update(&id, |s| s.status = Canceled).force("chargeback 8812").await?;
    /// # Ok(()) }
    /// ```
    pub fn force(self, reason: impl Into<String>) -> Forced<'a, T> {
        Forced::new(self, reason.into())
    }

    pub(crate) fn forced(mut self, reason: String) -> Self {
        self.policy = self.policy.force(reason);
        self
    }

    /// Tells what the first attempt would do, and writes nothing. It needs no lock.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client, id: ifmatch::SubscriptionId)
    /// # -> Result<(), ifmatch::Error> {
    /// use ifmatch::SubscriptionStatus::Canceled;
    ///
    /// let subs = billing.subscriptions();
    /// let preview = subs.update(&id, |s| s.status = Canceled).preview().await?;
    /// if let Some(problem) = preview.would_refuse {
    ///     println!("it would be refused: {}", problem.detail);
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] if the object does not exist or a field is invalid. Any other refusal is
    /// in the preview.
    pub async fn preview(mut self) -> Result<Preview, Error> {
        let deadline = Deadline::after(self.policy.deadline);
        let base = match self.base.take() {
            Some(base) => base,
            None => self.collection.get_until(&self.id, deadline).await?,
        };
        let mut edited = base.clone().into_inner();
        (self.apply)(&mut edited)?;
        let is_forced = self.policy.force.is_some();
        let client = self.collection.client();
        let request = client.signed(edit_of(&base, &edited)?.preview(is_forced));
        client.call(request, deadline).await?.decode()
    }

    async fn run(self) -> Result<Versioned<T>, Error> {
        let Self { collection, id, mut base, apply, policy } = self;
        let (collection, id) = (&collection, &id);
        let deadline = Deadline::after(policy.deadline);
        let fetch = move || {
            let known = base.take();
            async move {
                match known {
                    Some(base) => Ok(base),
                    None => collection.get_until(id, deadline).await,
                }
            }
        };
        with_conflict_resolution(policy, fetch, apply, |attempt| collection.send(attempt)).await
    }
}

impl<'a, T: Resource> IntoFuture for Update<'a, T> {
    type Output = Result<Versioned<T>, Error>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        self.run().boxed()
    }
}
