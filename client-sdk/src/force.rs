//! Writes that skip the version check, and the preview of their effect.

use crate::{Error, Fence, Resource, Update, Versioned};
use futures::future::{BoxFuture, FutureExt};
use ifmatch_types::Preview;
use std::future::IntoFuture;

/// An edit that skips the version check: it is made when it is awaited.
///
/// Made by [`Update::force`].
///
/// ```
/// # async fn example(billing: ifmatch::Client, id: ifmatch::SubscriptionId)
/// # -> Result<(), ifmatch::Error> {
/// let sub = billing
///     .subscriptions()
///     .update(&id, |s| s.quantity = 1)
///     .force("contract 77 ended")
///     .await?;
/// # Ok(()) }
/// ```
#[must_use = "nothing is sent until it is awaited"]
#[derive(Debug)]
pub struct Forced<'a, T: Resource> {
    update: Update<'a, T>,
    reason: String,
}

impl<'a, T: Resource> Forced<'a, T> {
    pub(crate) fn new(update: Update<'a, T>, reason: String) -> Self {
        Self { update, reason }
    }

    /// Applies only if the grant of this lock is the current one at the write's own commit.
    ///
    /// A force skips the version check and not the fence; as [`Update::fenced_by`].
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client, id: ifmatch::SubscriptionId, lock: ifmatch::LockGuard)
    /// # -> Result<(), ifmatch::Error> {
    /// let update = billing.subscriptions().update(&id, |s| s.quantity = 1);
    /// update.force("contract 77 ended").fenced_by(&lock).await?;
    /// # Ok(()) }
    /// ```
    pub fn fenced_by(mut self, lock: impl Into<Fence>) -> Self {
        self.update = self.update.fenced_by(lock);
        self
    }

    /// Tells what the write would do, and writes nothing. It needs the role `admin`, too.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client, id: ifmatch::SubscriptionId)
    /// # -> Result<(), ifmatch::Error> {
    /// let preview = billing
    ///     .subscriptions()
    ///     .update(&id, |s| s.quantity = 1)
    ///     .force("contract 77 ended")
    ///     .preview()
    ///     .await?;
    /// for change in preview.would_overwrite {
    ///     println!("{}: {} → {}", change.path, change.from, change.to);
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Update::preview`].
    pub async fn preview(self) -> Result<Preview, Error> {
        self.update.forced(self.reason).preview().await
    }
}

impl<'a, T: Resource> IntoFuture for Forced<'a, T> {
    type Output = Result<Versioned<T>, Error>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        self.update.forced(self.reason).into_future().boxed()
    }
}
