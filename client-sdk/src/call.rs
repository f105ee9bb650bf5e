//! Requests that are sent when they are awaited.

use crate::{
    Client, Error,
    pace::Deadline,
    reply::Reply,
    request::{Request, Verb},
};
use futures::future::{BoxFuture, FutureExt};
use serde::Serialize;
use std::{fmt, future::IntoFuture, time::Duration};

/// A write that needs no version, such as a create: it is sent when it is awaited.
///
/// It carries an idempotency key, so that however often it has to be sent it happens once.
///
/// ```
/// # async fn example(billing: ifmatch::Client) -> Result<(), ifmatch::Error> {
/// use ifmatch::WorkspaceFields;
/// use std::time::Duration;
///
/// let workspace = billing
///     .workspaces()
///     .create(WorkspaceFields { name: "Acme".into(), ..Default::default() })
///     .idempotency_key("signup-4711")
///     .deadline(Duration::from_secs(5))
///     .await?;
/// # Ok(()) }
/// ```
#[must_use = "nothing is sent until it is awaited"]
pub struct Call<O> {
    client: Client,
    request: Result<Request, Error>,
    deadline: Duration,
    read: fn(Reply) -> Result<O, Error>,
}

impl<O> fmt::Debug for Call<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("request", &self.request).finish_non_exhaustive()
    }
}

impl<O> Call<O> {
    pub(crate) fn post(
        client: &Client,
        segments: &[&str],
        body: &impl Serialize,
        read: fn(Reply) -> Result<O, Error>,
    ) -> Self {
        let request = crate::versioned::to_json(body)
            .map(|body| client.signed(Request::new(Verb::Post, segments).body(&body).key(None)));
        Self { client: client.clone(), request, deadline: client.deadline(), read }
    }

    /// A deletion of something that has no versions.
    pub(crate) fn delete(
        client: &Client,
        segments: &[&str],
        read: fn(Reply) -> Result<O, Error>,
    ) -> Self {
        let request = client.signed(Request::new(Verb::Delete, segments).key(None));
        Self { client: client.clone(), request: Ok(request), deadline: client.deadline(), read }
    }

    /// The key that makes a repetition harmless, also by another process; a random one by default.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client, inv: ifmatch::InvoiceId)
    /// # -> Result<(), ifmatch::Error> {
    /// let run = billing
    ///     .run_billing(ifmatch::Timestamp::now())
    ///     .idempotency_key("2026-11-22")
    ///     .await?;
    /// # Ok(()) }
    /// ```
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.request = self.request.map(|request| request.key(Some(key.into())));
        self
    }

    /// How long it may take, repeated sends included.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client) -> Result<(), ifmatch::Error> {
    /// use std::time::Duration;
    /// billing.run_billing(ifmatch::Timestamp::now()).deadline(Duration::from_secs(60)).await?;
    /// # Ok(()) }
    /// ```
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }
}

impl<O: 'static> IntoFuture for Call<O> {
    type Output = Result<O, Error>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        async move {
            let reply = self.client.call(self.request?, Deadline::after(self.deadline)).await?;
            (self.read)(reply)
        }
        .boxed()
    }
}
