//! Lists: a page, or a stream of everything.

use crate::{
    Client, Error,
    pace::Deadline,
    request::{Request, Verb},
};
use futures::{
    future::{BoxFuture, FutureExt},
    stream::{self, BoxStream, StreamExt, TryStreamExt},
};
use ifmatch_types::Page;
use serde::de::DeserializeOwned;
use std::{fmt, future::IntoFuture, marker::PhantomData};

/// A request for a list: await it for one [`Page`], or [stream](Self::stream) every item.
///
/// ```
/// # async fn example(billing: ifmatch::Client) -> Result<(), ifmatch::Error> {
/// let page = billing.plans().list().filter("status", "active").await?;
/// # Ok(()) }
/// ```
#[must_use = "nothing is fetched until it is awaited"]
pub struct List<I> {
    client: Client,
    request: Request,
    item: PhantomData<fn() -> I>,
}

impl<I> Clone for List<I> {
    fn clone(&self) -> Self {
        Self { client: self.client.clone(), request: self.request.clone(), item: PhantomData }
    }
}

impl<I> fmt::Debug for List<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("List").field("request", &self.request).finish_non_exhaustive()
    }
}

impl<I: DeserializeOwned + Send + 'static> List<I> {
    pub(crate) fn new(client: &Client, segments: &[&str]) -> Self {
        let request = Request::new(Verb::Get, segments);
        Self { client: client.clone(), request, item: PhantomData }
    }

    /// Only items whose field has this value.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client, id: ifmatch::WorkspaceId)
    /// # -> Result<(), ifmatch::Error> {
    /// let page = billing.invoices().list().filter("workspace_id", &id).await?;
    /// # Ok(()) }
    /// ```
    pub fn filter(mut self, field: &str, value: impl ToString) -> Self {
        self.request = self.request.query(field, value);
        self
    }

    /// Sorts by this field; `-field` for descending order.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client) -> Result<(), ifmatch::Error> {
    /// let page = billing.invoices().list().sort("-created_at").await?;
    /// # Ok(()) }
    /// ```
    pub fn sort(self, field: &str) -> Self {
        self.filter("sort", field)
    }

    /// Items per page; 50 by default, at most 200.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client) -> Result<(), ifmatch::Error> {
    /// let page = billing.invoices().list().limit(200).await?;
    /// # Ok(()) }
    /// ```
    pub fn limit(self, limit: u32) -> Self {
        self.filter("limit", limit)
    }

    /// Begins at a cursor: the `next_cursor` of the previous page.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client) -> Result<(), ifmatch::Error> {
    /// let plans = billing.plans();
    /// let first = plans.list().await?;
    /// if let Some(cursor) = &first.next_cursor {
    ///     let second = plans.list().cursor(cursor).await?;
    /// }
    /// # Ok(()) }
    /// ```
    pub fn cursor(self, cursor: &str) -> Self {
        self.filter("cursor", cursor)
    }

    /// Streams every item. Pages are fetched when they are needed.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client) -> Result<(), ifmatch::Error> {
    /// use futures::TryStreamExt;
    ///
    /// let mut plans = billing.plans().list().stream();
    /// while let Some(plan) = plans.try_next().await? {
    ///     println!("{}", plan.code);
    /// }
    /// # Ok(()) }
    /// ```
    pub fn stream(self) -> BoxStream<'static, Result<I, Error>> {
        let first = Some(self.clone());
        stream::try_unfold((self, first), |(list, next)| async move {
            let Some(next) = next else { return Ok(None) };
            let page = next.await?;
            let next = page.next_cursor.map(|cursor| list.clone().cursor(&cursor));
            Ok::<_, Error>(Some((stream::iter(page.items.into_iter().map(Ok)), (list, next))))
        })
        .try_flatten()
        .boxed()
    }
}

impl<I: DeserializeOwned + Send + 'static> IntoFuture for List<I> {
    type Output = Result<Page<I>, Error>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        async move {
            let deadline = Deadline::after(self.client.deadline());
            self.client.call(self.request, deadline).await?.decode()
        }
        .boxed()
    }
}
