//! Several writes in one commit: all of them or none.

use crate::{
    Call, Client, Error, Fence, Resource, Versioned, WriteInfo,
    policy::edit_of,
    reply::{Reply, version_of},
    versioned::to_json,
};
use futures::future::{BoxFuture, FutureExt};
use ifmatch_types::Deleted;
use serde_json::{Value, json};
use std::{future::IntoFuture, time::Duration};

/// Several writes in one commit: they are sent when it is awaited.
///
/// Up to 50 operations, all or nothing. A stale version in one of them refuses them all. The crate
/// does not retry then, because only the caller knows which edits belong together.
/// [`with_conflict_resolution`](crate::with_conflict_resolution) can run one again.
///
/// ```
/// # async fn example(
/// #     billing: ifmatch::Client,
/// #     sub: ifmatch::Versioned<ifmatch::Subscription>,
/// #     plan: ifmatch::Versioned<ifmatch::Plan>,
/// # ) -> Result<(), ifmatch::Error> {
/// let results = billing
///     .transaction()
///     .check(&plan)
///     .update(&sub, |s| s.plan_id = plan.id.clone())
///     .await?;
/// let sub = results.object::<ifmatch::Subscription>(1)?;
/// # Ok(()) }
/// ```
#[must_use = "nothing is sent until it is awaited"]
#[derive(Debug)]
pub struct Transaction {
    client: Client,
    operations: Result<Vec<Value>, Error>,
    key: Option<String>,
    fence: Option<Fence>,
    deadline: Duration,
}

impl Transaction {
    fn push(mut self, operation: Result<Value, Error>) -> Self {
        self.operations = self.operations.and_then(|mut operations| {
            operations.push(operation?);
            Ok(operations)
        });
        self
    }

    /// Creates an object.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client) -> Result<(), ifmatch::Error> {
    /// use ifmatch::{Workspace, WorkspaceFields};
    ///
    /// let acme = WorkspaceFields { name: "Acme".into(), ..Default::default() };
    /// billing.transaction().create::<Workspace>(acme).await?;
    /// # Ok(()) }
    /// ```
    pub fn create<T: Resource>(self, fields: T::Fields) -> Self {
        let kind = T::KIND.name();
        self.push(to_json(&fields).map(|body| json!({"op": "create", "type": kind, "body": body})))
    }

    /// Edits an object if its version is still current.
    ///
    /// ```
    /// # async fn example(
    /// #     billing: ifmatch::Client, sub: ifmatch::Versioned<ifmatch::Subscription>,
    /// # ) -> Result<(), ifmatch::Error> {
    /// billing.transaction().update(&sub, |s| s.quantity += 1).await?;
    /// # Ok(()) }
    /// ```
    pub fn update<T: Resource>(self, object: &Versioned<T>, edit: impl FnOnce(&mut T)) -> Self {
        let edited = edit_of(object, &object.edited(edit)).map(|edit| {
            json!({"op": "patch", "type": T::KIND.name(), "id": edit.id,
                "version": edit.base_version, "body": edit.fields()})
        });
        self.push(edited)
    }

    /// Deletes an object if its version is still current.
    ///
    /// ```
    /// # async fn example(
    /// #     billing: ifmatch::Client, plan: ifmatch::Versioned<ifmatch::Plan>,
    /// # ) -> Result<(), ifmatch::Error> {
    /// billing.transaction().delete(&plan).await?;
    /// # Ok(()) }
    /// ```
    pub fn delete<T: Resource>(self, object: &Versioned<T>) -> Self {
        self.push(Ok(named("delete", object)))
    }

    /// Asserts that an object's version is still current, without changing it.
    ///
    /// ```
    /// # async fn example(
    /// #     billing: ifmatch::Client,
    /// #     plan: ifmatch::Versioned<ifmatch::Plan>,
    /// #     sub: ifmatch::Versioned<ifmatch::Subscription>,
    /// # ) -> Result<(), ifmatch::Error> {
    /// billing.transaction().check(&plan).update(&sub, |s| s.quantity += 1).await?;
    /// # Ok(()) }
    /// ```
    pub fn check<T: Resource>(self, object: &Versioned<T>) -> Self {
        self.push(Ok(named("check", object)))
    }

    /// The key that makes a repetition harmless; a random one by default.
    ///
    /// ```
    /// # async fn example(
    /// #     billing: ifmatch::Client, plan: ifmatch::Versioned<ifmatch::Plan>,
    /// # ) -> Result<(), ifmatch::Error> {
    /// billing.transaction().delete(&plan).idempotency_key("clean-up-1").await?;
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
    /// # async fn example(billing: ifmatch::Client, plan: ifmatch::Versioned<ifmatch::Plan>, lock: ifmatch::LockGuard)
    /// # -> Result<(), ifmatch::Error> {
    /// billing.transaction().delete(&plan).fenced_by(&lock).await?;
    /// # Ok(()) }
    /// ```
    pub fn fenced_by(mut self, lock: impl Into<Fence>) -> Self {
        self.fence = Some(lock.into());
        self
    }

    /// How long it may take, repeated sends included.
    ///
    /// ```
    /// # async fn example(
    /// #     billing: ifmatch::Client, plan: ifmatch::Versioned<ifmatch::Plan>,
    /// # ) -> Result<(), ifmatch::Error> {
    /// use std::time::Duration;
    /// billing.transaction().delete(&plan).deadline(Duration::from_secs(2)).await?;
    /// # Ok(()) }
    /// ```
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    async fn run(self) -> Result<TransactionResults, Error> {
        let body = json!({ "operations": self.operations? });
        let call = Call::post(&self.client, &["transactions"], &body, results);
        let call = match self.key {
            Some(key) => call.idempotency_key(key),
            None => call,
        };
        let call = match &self.fence {
            Some(fence) => call.fenced_by(fence),
            None => call,
        };
        call.deadline(self.deadline).await
    }
}

fn named<T: Resource>(operation: &str, object: &Versioned<T>) -> Value {
    json!({"op": operation, "type": T::KIND.name(), "id": object.id().as_ref(),
        "version": object.version()})
}

fn results(reply: Reply) -> Result<TransactionResults, Error> {
    #[derive(serde::Deserialize)]
    struct Body {
        results: Vec<Value>,
    }
    Ok(TransactionResults { results: reply.decode::<Body>()?.results })
}

impl IntoFuture for Transaction {
    type Output = Result<TransactionResults, Error>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        self.run().boxed()
    }
}

/// The results of a transaction's operations, in order.
#[derive(Clone, Debug, PartialEq)]
pub struct TransactionResults {
    results: Vec<Value>,
}

impl TransactionResults {
    /// The results as the server sent them.
    ///
    /// ```
    /// # fn example(results: ifmatch::TransactionResults) {
    /// println!("{} operations", results.values().len());
    /// # }
    /// ```
    pub fn values(&self) -> &[Value] {
        &self.results
    }

    /// The object that the operation at this index created or edited.
    ///
    /// ```
    /// # fn example(results: ifmatch::TransactionResults) -> Result<(), ifmatch::Error> {
    /// let plan = results.object::<ifmatch::Plan>(0)?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Decode`] if there is no such object at this index.
    pub fn object<T: Resource>(&self, index: usize) -> Result<Versioned<T>, Error> {
        let result = self.part(index, "body");
        let version = version_of(&result)?;
        let changed = self.part(index, "changed") != Value::Bool(false);
        let info = WriteInfo { changed, ..WriteInfo::default() };
        let object = serde_json::from_value(result).map_err(Error::Decode)?;
        Ok(Versioned::with(object, version, info))
    }

    /// The tombstone of the object that the operation at this index deleted.
    ///
    /// ```
    /// # fn example(results: ifmatch::TransactionResults) -> Result<(), ifmatch::Error> {
    /// println!("gone at {}", results.deleted(0)?.deleted_at);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Decode`] if nothing was deleted at this index.
    pub fn deleted(&self, index: usize) -> Result<Deleted, Error> {
        serde_json::from_value(self.part(index, "deleted")).map_err(Error::Decode)
    }

    fn part(&self, index: usize, name: &str) -> Value {
        self.results.get(index).and_then(|result| result.get(name)).cloned().unwrap_or_default()
    }
}

impl Client {
    /// Begins a transaction: several writes in one commit.
    ///
    /// ```
    /// # async fn example(
    /// #     billing: ifmatch::Client,
    /// #     one: ifmatch::Versioned<ifmatch::Subscription>,
    /// #     other: ifmatch::Versioned<ifmatch::Subscription>,
    /// # ) -> Result<(), ifmatch::Error> {
    /// billing
    ///     .transaction()
    ///     .update(&one, |s| s.quantity -= 1)
    ///     .update(&other, |s| s.quantity += 1)
    ///     .await?;
    /// # Ok(()) }
    /// ```
    pub fn transaction(&self) -> Transaction {
        let deadline = self.deadline();
        let operations = Ok(Vec::new());
        Transaction { client: self.clone(), operations, key: None, fence: None, deadline }
    }
}
