//! Holds: units set aside for work whose cost is known only afterwards.

use crate::{
    Call, Client, Denial, Error, Fence, Settled, Usage,
    reply::Reply,
    scope::path_below,
    usage::{Judged, judge},
};
use ifmatch_types::{Code, Hold, HoldAnswer, Meter, Settlement};
use std::ops::Deref;
use tokio::runtime::Handle;

/// The answer to a [`hold`](crate::Metering::hold): units are set aside, or there was no room.
#[must_use = "units that were set aside are given back when this is dropped"]
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "it is taken apart where it arrives")]
pub enum HoldOutcome {
    /// The units are set aside.
    Held(Held),
    /// There was no room. Nothing is set aside.
    Denied(Denial),
}

impl HoldOutcome {
    pub(crate) fn read(client: &Client, answer: Result<Reply, Error>) -> Result<Self, Error> {
        Ok(match judge(answer)? {
            Judged::Denied(_, denial) => Self::Denied(denial),
            Judged::Allowed(reply) => Self::Held(Held {
                client: client.clone(),
                answer: reply.decode()?,
                fence: None,
                release_on_drop: true,
            }),
        })
    }
}

impl Settled {
    /// The answer, if the request was a hold.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client, unknown: ifmatch::OutcomeUnknown)
    /// # -> Result<(), ifmatch::Error> {
    /// let outcome = billing.resume(unknown).await?.hold()?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Decode`] if it was another request.
    pub fn hold(self) -> Result<HoldOutcome, Error> {
        HoldOutcome::read(&self.client.clone(), self.into_answer())
    }
}

/// Units that are set aside; it reads like the [`Hold`] it is.
///
/// Dropped before it was settled, it is released in the background, by a task on the Tokio runtime
/// that the drop happens in. If there is none, or if that fails, or if the process dies, the server
/// gives the units back when the hold expires.
///
/// ```
/// # async fn translate(_: &str) -> i64 { 42 }
/// # async fn example(billing: ifmatch::Client, workspace: ifmatch::WorkspaceId)
/// # -> Result<(), ifmatch::Error> {
/// use ifmatch::{HoldOutcome, Usage};
/// use std::time::Duration;
///
/// let usage = billing.usage(&workspace);
/// let mut held = match usage.hold("tokens", 1000, Duration::from_secs(60)).await? {
///     HoldOutcome::Held(held) => held,
///     HoldOutcome::Denied(denial) => return Ok(println!("{} tokens left", denial.remaining)),
/// };
/// let tokens = translate("a long text").await; // if this fails, the tokens come back
/// if let Usage::Denied { .. } = held.settle(tokens).await? {
///     println!("it took more than was held, and there is no room for that");
/// }
/// # Ok(()) }
/// ```
#[must_use = "it is released when it is dropped"]
#[derive(Debug)]
pub struct Held {
    client: Client,
    answer: HoldAnswer,
    fence: Option<Fence>,
    release_on_drop: bool,
}

impl Held {
    /// Records the cost of the work, at least 1 unit. Fewer than held gives the rest back.
    ///
    /// More than held needs room for the additional units. If they are denied, nothing is recorded
    /// and the hold stays: settle it with the held units, or drop it.
    ///
    /// If this fails without the server's refusal, the hold is no longer released on drop: call
    /// this again, or [`Client::resume`] the unknown outcome, before it expires.
    ///
    /// ```
    /// # async fn example(mut held: ifmatch::Held) -> Result<(), ifmatch::Error> {
    /// use ifmatch::Usage;
    ///
    /// if let Usage::Denied { .. } = held.settle(1200).await? {
    ///     let all = held.quantity;
    ///     let _ = held.settle(all).await?;
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] with `HOLD_NOT_ACTIVE` if it has expired or was ended already;
    /// [`Error::OutcomeUnknown`] if no answer came.
    pub async fn settle(&mut self, quantity: i64) -> Result<Usage, Error> {
        // Even if this future is dropped: the units of finished work are not given back.
        self.release_on_drop = false;
        let path = self.path("settle");
        let settling = Call::ask(&self.client, &path, &Settlement { quantity }, Usage::read);
        let usage = match &self.fence {
            Some(fence) => settling.fenced_by(fence).await,
            None => settling.await,
        };
        self.release_on_drop = match &usage {
            Ok(Usage::Denied { .. }) => true,
            Err(Error::Refused(problem)) => problem.code != Code::HoldNotActive,
            // Another worker does the work, so these units are not used.
            Err(Error::FencedOff { .. }) => true,
            _ => false,
        };
        usage
    }

    /// Settles it only while the grant of this lock is the current one.
    ///
    /// It is given back without the fence, because that harms no one.
    ///
    /// ```
    /// # async fn example(held: ifmatch::Held, lock: ifmatch::LockGuard)
    /// # -> Result<(), ifmatch::Error> {
    /// let usage = held.fenced_by(&lock).settle(420).await?;
    /// # Ok(()) }
    /// ```
    pub fn fenced_by(mut self, lock: impl Into<Fence>) -> Self {
        self.fence = Some(lock.into());
        self
    }

    /// Gives all units back now instead of after the drop.
    ///
    /// ```
    /// # async fn example(held: ifmatch::Held) -> Result<(), ifmatch::Error> {
    /// held.release().await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] with `HOLD_NOT_ACTIVE` if it has expired or was ended already.
    pub async fn release(mut self) -> Result<Hold, Error> {
        let released = self.releasing().await;
        self.release_on_drop = !matches!(released, Ok(_) | Err(Error::Refused(_)));
        Ok(released?.hold)
    }

    /// The pool when the units were set aside.
    ///
    /// ```
    /// # fn example(held: ifmatch::Held) {
    /// println!("{:?} more are left", held.meter().remaining);
    /// # }
    /// ```
    pub fn meter(&self) -> &Meter {
        &self.answer.meter
    }

    fn releasing(&self) -> Call<HoldAnswer> {
        Call::post(&self.client, &self.path("release"), &serde_json::json!({}), Reply::decode)
    }

    fn path<'a>(&'a self, end: &'a str) -> Vec<&'a str> {
        path_below(&self.scope, &["usage", "holds", self.id.as_str(), end])
    }
}

impl Deref for Held {
    type Target = Hold;

    fn deref(&self) -> &Hold {
        &self.answer.hold
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if !self.release_on_drop {
            return;
        }
        let Ok(runtime) = Handle::try_current() else { return };
        let (id, releasing) = (self.id.clone(), self.releasing());
        runtime.spawn(async move {
            if let Err(error) = releasing.await {
                tracing::warn!(hold = %id, %error, "not released; it will expire");
            }
        });
    }
}
