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
use ifmatch_types::Event;
use serde::Deserialize;
use std::{future::IntoFuture, time::Duration};

/// So long the server waits at most.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// How long the stream rests when the server answers "nothing" without having waited.
const REST: Duration = Duration::from_millis(100);

/// Changes to be fetched: awaits to the next ones, or [streams](Self::stream) all that follow.
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
    after: i64,
    event_type: Option<String>,
    wait: Duration,
}

/// What one look brings, and where to look next: beyond what a filter left out.
#[derive(Deserialize)]
struct Batch {
    items: Vec<Event>,
    #[serde(default)]
    next_cursor: Option<String>,
}

impl Batch {
    fn end(&self, after: i64) -> i64 {
        let last = self.items.last().map_or(after, |event| event.seq);
        let cursor = self.next_cursor.as_deref().and_then(|cursor| cursor.parse().ok());
        cursor.unwrap_or(last)
    }
}

impl Client {
    /// The changes after this place in the stream of all changes; 0 is its beginning.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client) -> Result<(), ifmatch::Error> {
    /// let first = billing.events(0).await?;
    /// # Ok(()) }
    /// ```
    pub fn events(&self, after: i64) -> Events {
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

    /// How long the server may wait for a change if there is none; at most a minute and half a send
    /// timeout.
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

    /// Every change from here on, without end; waits where there is none yet.
    ///
    /// After an error the stream ends: begin a new one after the last `seq` seen.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client) -> Result<(), ifmatch::Error> {
    /// use futures::TryStreamExt;
    ///
    /// let mut changes = billing.events(0).stream();
    /// while let Some(event) = changes.try_next().await? {
    ///     println!("{} {}", event.seq, event.event_type);
    /// }
    /// # Ok(()) }
    /// ```
    pub fn stream(self) -> BoxStream<'static, Result<Event, Error>> {
        let patient = self.wait(Duration::MAX);
        stream::try_unfold(patient, |mut events| async move {
            let batch = events.fetch().await?;
            events.after = batch.end(events.after);
            if batch.items.is_empty() {
                tokio::time::sleep(REST).await;
            }
            Ok::<_, Error>(Some((stream::iter(batch.items.into_iter().map(Ok)), events)))
        })
        .try_flatten()
        .boxed()
    }

    async fn fetch(&self) -> Result<Batch, Error> {
        let mut request = Request::new(Verb::Get, &["events"]).query("after", self.after);
        if let Some(event_type) = &self.event_type {
            request = request.query("type", event_type);
        }
        if !self.wait.is_zero() {
            request = request.query("wait_ms", self.wait.as_millis());
        }
        let deadline = Deadline::after(self.client.deadline());
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
