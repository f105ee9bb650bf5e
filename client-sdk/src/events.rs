//! The stream of all changes, in commit order.

use crate::{
    Client, Error,
    pace::Deadline,
    request::{Request, Verb},
};
use futures::{
    future::{BoxFuture, FutureExt},
    stream::{self, BoxStream, StreamExt, TryStreamExt},
};
use ifmatch_types::{Event, EventCursor};
use serde::Deserialize;
use std::{future::IntoFuture, time::Duration};

/// Maximum time that the server waits.
const WAIT_MAX: Duration = Duration::from_secs(45);

/// Pause of the stream after an empty answer that came without waiting.
const REST: Duration = Duration::from_millis(100);

/// A request for changes: await it for the next page, or [stream](Self::stream) all that follow.
///
/// ```
/// # async fn example(billing: ifmatch::Client) -> Result<(), ifmatch::Error> {
/// for event in billing.events(0).of_type("subscription.updated").await? {
///     println!("{} {}", event.seq, event.resource.id);
/// }
/// # Ok(()) }
/// ```
#[must_use = "nothing is fetched until it is awaited"]
#[derive(Clone, Debug)]
pub struct Events {
    client: Client,
    after: EventCursor,
    event_type: Option<String>,
    wait: Duration,
}

/// One page of events and the place after it, which is beyond filtered-out ones.
#[derive(Deserialize)]
struct EventPage {
    items: Vec<Event>,
    #[serde(default)]
    next_cursor: Option<EventCursor>,
}

impl EventPage {
    /// The place after this page. Servers without cursors number their events.
    fn end(&self, after: &EventCursor) -> EventCursor {
        let last = || self.items.last().map_or_else(|| after.clone(), |event| event.seq.into());
        self.next_cursor.clone().unwrap_or_else(last)
    }
}

impl Client {
    /// The changes after this place in the log of all changes: 0 for its beginning, or the
    /// [`cursor`](Event::cursor) of the last event seen.
    ///
    /// # Errors
    ///
    /// Awaiting it fails if the log has no such place, or no longer all changes after it: if
    /// [`is_cursor_unknown`](crate::Error::is_cursor_unknown), read the objects anew.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client) -> Result<(), ifmatch::Error> {
    /// let first = billing.events(0).await?;
    /// if let Some(last) = first.last() {
    ///     let more = billing.events(&last.cursor).await?;
    /// }
    /// # Ok(()) }
    /// ```
    pub fn events(&self, after: impl Into<EventCursor>) -> Events {
        let after = after.into();
        Events { client: self.clone(), after, event_type: None, wait: Duration::ZERO }
    }
}

impl Events {
    /// Only changes of this type, such as `subscription.updated`.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client) -> Result<(), ifmatch::Error> {
    /// let deleted = billing.events(0).of_type("plan.deleted").await?;
    /// # Ok(()) }
    /// ```
    pub fn of_type(mut self, event_type: &str) -> Self {
        self.event_type = Some(event_type.to_owned());
        self
    }

    /// How long the server may wait for a change. At most 45 s, and at most half the send timeout.
    /// It comes on top of the client's deadline.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client) -> Result<(), ifmatch::Error> {
    /// use std::time::Duration;
    /// let next = billing.events(8812).wait(Duration::from_secs(4)).await?;
    /// # Ok(()) }
    /// ```
    pub fn wait(mut self, wait: Duration) -> Self {
        self.wait = wait.min(self.client.send_timeout() / 2).min(WAIT_MAX);
        self
    }

    /// Streams every change from here on, without end. Waits for new ones.
    ///
    /// The stream ends after an error. Begin a new one after the [`cursor`](Event::cursor) of the
    /// last event seen. If the server does not know that place any more, read the objects anew and
    /// go on after the newest place: what changes meanwhile is then seen twice, and nothing is
    /// missed.
    ///
    /// ```
    /// # async fn read_anew(_: &ifmatch::Client) -> Result<(), ifmatch::Error> { Ok(()) }
    /// # async fn example(billing: ifmatch::Client) -> Result<(), ifmatch::Error> {
    /// use futures::TryStreamExt;
    /// use ifmatch::EventCursor;
    ///
    /// let mut seen = EventCursor::from(0);
    /// loop {
    ///     let mut changes = billing.events(&seen).stream();
    ///     let ended = loop {
    ///         match changes.try_next().await {
    ///             Ok(Some(event)) => {
    ///                 println!("{} {}", event.seq, event.event_type);
    ///                 seen = event.cursor;
    ///             }
    ///             Ok(None) => return Ok(()),
    ///             Err(error) => break error,
    ///         }
    ///     };
    ///     match ended.newest_cursor() {
    ///         Some(newest) => {
    ///             read_anew(&billing).await?;
    ///             seen = newest;
    ///         }
    ///         None if ended.is_retryable() => {}
    ///         None => return Err(ended),
    ///     }
    /// }
    /// # }
    /// ```
    pub fn stream(self) -> BoxStream<'static, Result<Event, Error>> {
        let patient = self.wait(Duration::MAX);
        stream::try_unfold(patient, |mut events| async move {
            let page = events.fetch().await?;
            events.after = page.end(&events.after);
            if page.items.is_empty() {
                tokio::time::sleep(REST).await;
            }
            Ok::<_, Error>(Some((stream::iter(page.items.into_iter().map(Ok)), events)))
        })
        .try_flatten()
        .boxed()
    }

    async fn fetch(&self) -> Result<EventPage, Error> {
        let mut request = Request::new(Verb::Get, &["events"]).query("after", &self.after);
        if let Some(event_type) = &self.event_type {
            request = request.query("type", event_type);
        }
        if !self.wait.is_zero() {
            request = request.query("wait_ms", self.wait.as_millis());
        }
        let deadline = Deadline::after(self.wait.saturating_add(self.client.deadline()));
        self.client.call(request, deadline).await?.decode()
    }
}

impl IntoFuture for Events {
    type Output = Result<Vec<Event>, Error>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        async move { Ok(self.fetch().await?.items) }.boxed()
    }
}
