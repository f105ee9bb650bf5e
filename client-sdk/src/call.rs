//! Requests that are sent when they are awaited.

use crate::{
    Client, Error, Fence,
    pace::{Deadline, WAIT_MAX},
    reply::Reply,
    request::{Request, Verb},
    send::Sending,
    versioned::to_json,
};
use futures::future::{BoxFuture, FutureExt};
use serde::Serialize;
use serde_json::{Map, Value};
use std::{fmt, future::IntoFuture, time::Duration};

/// A write that needs no version, such as a create: it is sent when it is awaited.
///
/// It carries an idempotency key, so that it happens once even if it is sent several times.
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
    request: Request,
    /// Kept apart from the request until it is sent, so that members can be added. A deletion has
    /// none.
    body: Option<Result<Value, Error>>,
    /// How long the server is asked to wait before it answers.
    wait: Duration,
    deadline: Duration,
    /// Whether one send may take until the deadline.
    is_long: bool,
    read: Read<O>,
}

/// How an answer is read. Refusals too, because a denial by a quota is a value.
type Read<O> = Box<dyn FnOnce(Result<Reply, Error>) -> Result<O, Error> + Send + Sync>;

impl<O> fmt::Debug for Call<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("request", &self.request)
            .field("body", &self.body)
            .finish_non_exhaustive()
    }
}

impl<O: 'static> Call<O> {
    pub(crate) fn post(
        client: &Client,
        segments: &[&str],
        body: &impl Serialize,
        read: fn(Reply) -> Result<O, Error>,
    ) -> Self {
        Self::ask(client, segments, body, move |answer| read(answer?))
    }

    /// A request whose refusals are read, too.
    pub(crate) fn ask(
        client: &Client,
        segments: &[&str],
        body: &impl Serialize,
        read: impl FnOnce(Result<Reply, Error>) -> Result<O, Error> + Send + Sync + 'static,
    ) -> Self {
        Self::new(client, Verb::Post, segments, Some(to_json(body)), Box::new(read))
    }

    /// A deletion of something that has no versions.
    pub(crate) fn delete(
        client: &Client,
        segments: &[&str],
        read: fn(Reply) -> Result<O, Error>,
    ) -> Self {
        Self::new(client, Verb::Delete, segments, None, Box::new(move |answer| read(answer?)))
    }

    fn new(
        client: &Client,
        verb: Verb,
        segments: &[&str],
        body: Option<Result<Value, Error>>,
        read: Read<O>,
    ) -> Self {
        let request = client.signed(Request::new(verb, segments).key(None));
        let (wait, deadline) = (Duration::ZERO, client.deadline());
        Self { client: client.clone(), request, body, wait, deadline, is_long: false, read }
    }

    /// Asks the server to wait for this long before it answers.
    pub(crate) fn waiting(mut self, wait: Duration) -> Self {
        self.wait = wait.min(WAIT_MAX);
        self
    }

    /// Lets one send take until the deadline. A repeat would begin the same work beside it.
    pub(crate) fn long(mut self) -> Self {
        self.is_long = true;
        self
    }

    /// Fails with this error instead of being sent.
    pub(crate) fn failing(mut self, error: Error) -> Self {
        self.body = Some(Err(error));
        self
    }

    /// Adds to the body.
    pub(crate) fn with(mut self, add: impl FnOnce(&mut Map<String, Value>)) -> Self {
        if let Some(Ok(Value::Object(body))) = &mut self.body {
            add(body);
        }
        self
    }

    /// The key that makes a repeat harmless, also by another process; random by default.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client, inv: ifmatch::InvoiceId)
    /// # -> Result<(), ifmatch::Error> {
    /// let run = billing
    ///     .run_billing(None)
    ///     .idempotency_key("2026-11-22")
    ///     .await?;
    /// # Ok(()) }
    /// ```
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.request = self.request.key(Some(key.into()));
        self
    }

    /// Applies only if the grant of this lock is the current one at the write's own commit.
    ///
    /// If the guard knows already that the lock is lost, nothing is sent. Either way the call fails
    /// with [`Error::FencedOff`], and [`is_fenced_off`](Error::is_fenced_off) is true.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client, new: ifmatch::InvoiceFields, lock: ifmatch::LockGuard)
    /// # -> Result<(), ifmatch::Error> {
    /// billing.invoices().create(new).fenced_by(&lock).await?;
    /// # Ok(()) }
    /// ```
    pub fn fenced_by(mut self, lock: impl Into<Fence>) -> Self {
        self.request = self.request.fenced_by(Some(&lock.into()));
        self
    }

    /// How long it may take, repeated sends included. A wait that it asks for comes on top.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client) -> Result<(), ifmatch::Error> {
    /// use std::time::Duration;
    /// billing.run_billing(None).deadline(Duration::from_secs(60)).await?;
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
            let request = match self.body {
                Some(body) => self.request.body(&body?),
                None => self.request,
            };
            let deadline = Deadline::after(self.wait.saturating_add(self.deadline));
            let sending = Sending::new(request, deadline);
            let mut sending = if self.is_long {
                sending.waiting(self.deadline)
            } else {
                sending.asking_to_wait(self.wait)
            };
            let answer = match self.client.send(&mut sending).await {
                Ok(reply) => Ok(reply),
                Err(error) => Err(sending.settle(error)),
            };
            sending.read((self.read)(answer))
        }
        .boxed()
    }
}
