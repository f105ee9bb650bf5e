//! Deletions. Like edits, they name the version they were decided on.

use crate::{
    Client, Error, Fence, Resource, Versioned,
    edit::{Edit, with_edit},
    pace::Deadline,
    reply::Reply,
    request::{Request, Verb},
    send::Sending,
    versioned::to_json,
};
use futures::future::{BoxFuture, FutureExt};
use ifmatch_types::{Deleted, Version};
use serde_json::Value;
use std::{future::IntoFuture, time::Duration};

/// A deletion: it is sent when it is awaited.
///
/// It answers a tombstone; for a server, which is deleted on its panel first, the server.
///
/// ```
/// # async fn example(billing: ifmatch::Client, id: ifmatch::PlanId)
/// # -> Result<(), ifmatch::Error> {
/// let plan = billing.plans().get(&id).await?;
/// let tombstone = billing.plans().delete(&plan).await?;
/// println!("gone at {}", tombstone.deleted_at);
/// # Ok(()) }
/// ```
#[must_use = "nothing is sent until it is awaited"]
#[derive(Debug)]
pub struct Delete<O = Deleted> {
    client: Client,
    target: Result<Edit, Error>,
    key: Option<String>,
    force: Option<String>,
    fence: Option<Fence>,
    deadline: Duration,
    read: fn(Reply) -> Result<O, Error>,
}

impl Delete {
    pub(crate) fn of_object<T: Resource>(client: &Client, object: &Versioned<T>) -> Self {
        let mut delete = Self::at::<T>(client, object.id(), object.version());
        delete.target = delete.target.and_then(|target| {
            let base = to_json(&**object)?;
            Ok(Edit { local: base.clone(), base, ..target })
        });
        delete
    }

    pub(crate) fn of_edit(client: &Client, target: Result<Edit, Error>) -> Self {
        let (client, deadline) = (client.clone(), client.deadline());
        let (key, force, fence) = (None, None, None);
        Self { client, target, key, force, fence, deadline, read: Reply::decode }
    }

    pub(crate) fn at<T: Resource>(client: &Client, id: &T::Id, version: Version) -> Self {
        Self::answering::<T>(client, id, version, Reply::decode)
    }
}

impl<O: 'static> Delete<O> {
    /// A deletion whose answer is read like this.
    pub(crate) fn answering<T: Resource>(
        client: &Client,
        id: &T::Id,
        version: Version,
        read: fn(Reply) -> Result<O, Error>,
    ) -> Self {
        let id = id.as_ref().to_owned();
        let (base, local) = (Value::Null, Value::Null);
        let target = Ok(Edit { kind: T::KIND, id, base, base_version: version, local });
        let (client, deadline) = (client.clone(), client.deadline());
        Self { client, target, key: None, force: None, fence: None, deadline, read }
    }

    /// Skips the version check, and only that; needs the role `admin`.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client, id: ifmatch::PlanId)
    /// # -> Result<(), ifmatch::Error> {
    /// billing.plans().delete_at(&id, 7).force("made by mistake").await?;
    /// # Ok(()) }
    /// ```
    pub fn force(mut self, reason: impl Into<String>) -> Self {
        self.force = Some(reason.into());
        self
    }

    /// The key that makes a repeat harmless; random by default.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client, id: ifmatch::PlanId)
    /// # -> Result<(), ifmatch::Error> {
    /// billing.plans().delete_at(&id, 7).idempotency_key("clean-up-1").await?;
    /// # Ok(()) }
    /// ```
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Applies only if the grant of this lock is the current one at the write's own commit.
    ///
    /// If the guard knows already that the lock is lost, nothing is sent. Either way the call fails
    /// with [`Error::FencedOff`], and [`is_fenced_off`](Error::is_fenced_off) is true.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client, id: ifmatch::PlanId, lock: ifmatch::LockGuard)
    /// # -> Result<(), ifmatch::Error> {
    /// billing.plans().delete_at(&id, 7).fenced_by(&lock).await?;
    /// # Ok(()) }
    /// ```
    pub fn fenced_by(mut self, lock: impl Into<Fence>) -> Self {
        self.fence = Some(lock.into());
        self
    }

    /// How long it may take, repeated sends included.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client, id: ifmatch::PlanId)
    /// # -> Result<(), ifmatch::Error> {
    /// use std::time::Duration;
    /// billing.plans().delete_at(&id, 7).deadline(Duration::from_secs(2)).await?;
    /// # Ok(()) }
    /// ```
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    async fn run(self) -> Result<O, Error> {
        let target = self.target?;
        let mut request = Request::new(Verb::Delete, &target.path(&[]))
            .query("version", target.base_version)
            .key(self.key)
            .fenced_by(self.fence.as_ref());
        if let Some(reason) = &self.force {
            request = request.force(reason);
        }
        let request = self.client.signed(request);
        let mut sending = Sending::new(request, Deadline::after(self.deadline));
        let reply = self.client.send_edit(&mut sending, &target).await?;
        sending.read((self.read)(reply)).map_err(|error| with_edit(error, &target))
    }
}

impl<O: 'static> IntoFuture for Delete<O> {
    type Output = Result<O, Error>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        self.run().boxed()
    }
}
