//! The entitlements and the usage of a scope.

use crate::{
    Batch, Call, Client, Error, HoldOutcome, List, Scope, Usage,
    pace::Deadline,
    reply::Reply,
    request::{Request, Verb},
};
use ifmatch_types::{
    Entitlement, EntitlementLogEntry, Metadata, NewHold, NewReversal, NewUsage, NewUsageBatch,
    RecordId, Reversed, UsageRecord,
};
use serde_json::Value;
use std::time::Duration;

/// The metered usage of a workspace or a namespace.
///
/// # Check and record are one call
///
/// [`check_and_record`](Self::check_and_record) checks and records in one commit. Even if many
/// callers race for the last units, exactly the available ones are admitted: check first, then do
/// the work. If the work then fails, [`reverse`](Self::reverse) the record; if its cost is known
/// only afterwards, take a [`hold`](Self::hold).
///
/// ```
/// # async fn example(
/// #     billing: ifmatch::Client, workspace: ifmatch::Versioned<ifmatch::Workspace>,
/// # ) -> Result<(), ifmatch::Error> {
/// use ifmatch::Usage;
///
/// let usage = billing.usage(&workspace);
/// match usage.check_and_record("api.calls", 1).await? {
///     Usage::Allowed { remaining, .. } => println!("done, {remaining:?} left"),
///     Usage::Denied { resets_at, .. } => println!("come back at {resets_at:?}"),
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Metering {
    client: Client,
    scope: Scope,
}

impl Client {
    /// The metered usage of a workspace or a namespace.
    ///
    /// ```
    /// # fn example(billing: ifmatch::Client, workspace: ifmatch::WorkspaceId) {
    /// let usage: ifmatch::Metering = billing.usage(&workspace);
    /// # }
    /// ```
    pub fn usage(&self, scope: impl Into<Scope>) -> Metering {
        Metering { client: self.clone(), scope: scope.into() }
    }
}

impl Metering {
    /// Records a number of units of a feature if there is room for all of them.
    ///
    /// A denial is a value and records nothing. After a lost answer the request is sent again with
    /// the same key, so that units are counted once.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client, workspace: ifmatch::WorkspaceId)
    /// # -> Result<(), ifmatch::Error> {
    /// let answer = billing
    ///     .usage(&workspace)
    ///     .check_and_record("api.calls", 1)
    ///     .metadata("path", "/v1/quotes")
    ///     .await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] if there is no such feature or it is a switch;
    /// [`Error::OutcomeUnknown`] if no answer came.
    pub fn check_and_record(&self, feature: &str, quantity: i64) -> Call<Usage> {
        let (feature, metadata) = (feature.to_owned(), Metadata::new());
        let usage = NewUsage { feature, quantity, metadata };
        Call::ask(&self.client, &self.scope.path(&["usage"]), &usage, Usage::read)
    }

    /// Records units of several features, all or nothing; up to 100 pairs.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client, workspace: ifmatch::WorkspaceId)
    /// # -> Result<(), ifmatch::Error> {
    /// use ifmatch::Batch;
    ///
    /// match billing.usage(&workspace).batch([("images", 1), ("storage.mb", 12)]).await? {
    ///     Batch::Allowed(records) => println!("{} records", records.len()),
    ///     Batch::Denied { denial, .. } => println!("too little {}", denial.feature),
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`check_and_record`](Self::check_and_record).
    pub fn batch<F: Into<String>>(&self, items: impl IntoIterator<Item = (F, i64)>) -> Call<Batch> {
        let item = |(feature, quantity): (F, i64)| NewUsage {
            feature: feature.into(),
            quantity,
            metadata: Metadata::new(),
        };
        let batch = NewUsageBatch { items: items.into_iter().map(item).collect() };
        Call::ask(&self.client, &self.scope.path(&["usage", "batch"]), &batch, Batch::read)
    }

    /// Sets units aside for a while, at most 24 hours: for work whose cost is known afterwards.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client, workspace: ifmatch::WorkspaceId)
    /// # -> Result<(), ifmatch::Error> {
    /// use ifmatch::HoldOutcome;
    /// use std::time::Duration;
    ///
    /// let usage = billing.usage(&workspace);
    /// if let HoldOutcome::Held(mut held) =
    ///     usage.hold("tokens", 1000, Duration::from_secs(60)).await?
    /// {
    ///     let _ = held.settle(420).await?; // the other 580 are given back
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`check_and_record`](Self::check_and_record).
    pub fn hold(&self, feature: &str, quantity: i64, ttl: Duration) -> Call<HoldOutcome> {
        // The server refuses a time that is too long.
        let ttl_ms = i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX);
        let hold = NewHold { feature: feature.to_owned(), quantity, ttl_ms };
        let path = self.scope.path(&["usage", "holds"]);
        let client = self.client.clone();
        Call::ask(&self.client, &path, &hold, move |answer| HoldOutcome::read(&client, answer))
    }

    /// Gives recorded units back, at most as many as were recorded.
    ///
    /// ```
    /// # async fn example(
    /// #     billing: ifmatch::Client, workspace: ifmatch::WorkspaceId, id: ifmatch::RecordId,
    /// # ) -> Result<(), ifmatch::Error> {
    /// let reversed = billing.usage(&workspace).reverse(&id, 1).await?;
    /// println!("{:?} left", reversed.meter.remaining);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] with `REVERSAL_EXCEEDS_RECORD` if fewer units are left of the record.
    pub fn reverse(&self, record: &RecordId, quantity: i64) -> Call<Reversed> {
        let path = self.scope.path(&["usage", record.as_str(), "reversals"]);
        Call::post(&self.client, &path, &NewReversal { quantity }, Reply::decode)
    }

    /// Whether one more unit would be admitted now, or whether a switch is on. Advice only.
    ///
    /// Good for showing or hiding a button. It admits nothing: between this answer and whatever
    /// follows, others may take the last unit. A program that asks this, does the work and records
    /// it afterwards does more work than the limit allows, because the record is denied when the
    /// work is done already; `examples/can_then_record.rs` counts it. Call
    /// [`check_and_record`](Self::check_and_record) before the work instead: then as many are
    /// served as there are units, not one more and not one less.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client, workspace: ifmatch::WorkspaceId)
    /// # -> Result<(), ifmatch::Error> {
    /// let show_button = billing.usage(&workspace).can("export.pdf").await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`is_not_found`](Error::is_not_found) is true if there is no such feature.
    pub async fn can(&self, feature: &str) -> Result<bool, Error> {
        Ok(self.entitlement(feature).await?.allowed)
    }

    /// The limit and the usage of a feature. Advice only, like [`can`](Self::can).
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client, workspace: ifmatch::WorkspaceId)
    /// # -> Result<(), ifmatch::Error> {
    /// let calls = billing.usage(&workspace).entitlement("api.calls").await?;
    /// println!("{} of {:?} used", calls.meter.used, calls.meter.limit);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`is_not_found`](Error::is_not_found) is true if there is no such feature.
    pub async fn entitlement(&self, feature: &str) -> Result<Entitlement, Error> {
        let request = Request::new(Verb::Get, &self.scope.path(&["entitlements", feature]));
        self.client.call(request, Deadline::after(self.client.deadline())).await?.decode()
    }

    /// The limits and the usage of all features, ordered by code.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client, workspace: ifmatch::WorkspaceId)
    /// # -> Result<(), ifmatch::Error> {
    /// for entitlement in billing.usage(&workspace).entitlements().await?.items {
    ///     println!("{}: {:?} left", entitlement.feature, entitlement.meter.remaining);
    /// }
    /// # Ok(()) }
    /// ```
    pub fn entitlements(&self) -> List<Entitlement> {
        List::new(&self.client, &self.scope.path(&["entitlements"]))
    }

    /// The usage records, newest first. The filter is `feature`.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client, workspace: ifmatch::WorkspaceId)
    /// # -> Result<(), ifmatch::Error> {
    /// let page = billing.usage(&workspace).records().filter("feature", "api.calls").await?;
    /// # Ok(()) }
    /// ```
    pub fn records(&self) -> List<UsageRecord> {
        List::new(&self.client, &self.scope.path(&["usage"]))
    }

    /// The log of the scope, newest first: grants, losses and denials. The filter is `type`.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client, workspace: ifmatch::WorkspaceId)
    /// # -> Result<(), ifmatch::Error> {
    /// let denials = billing.usage(&workspace).log().filter("type", "usage.denied").await?;
    /// # Ok(()) }
    /// ```
    pub fn log(&self) -> List<EntitlementLogEntry> {
        List::new(&self.client, &self.scope.path(&["entitlement-log"]))
    }
}

/// Options of [`Metering::check_and_record`].
impl Call<Usage> {
    /// Adds a key and a value of the caller's own to the record.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client, workspace: ifmatch::WorkspaceId)
    /// # -> Result<(), ifmatch::Error> {
    /// let call = billing.usage(&workspace).check_and_record("api.calls", 1);
    /// let answer = call.metadata("region", "eu").metadata("path", "/v1/quotes").await?;
    /// # Ok(()) }
    /// ```
    pub fn metadata(self, key: &str, value: impl Into<String>) -> Self {
        self.with(|body| {
            if let Some(Value::Object(metadata)) = body.get_mut("metadata") {
                metadata.insert(key.to_owned(), value.into().into());
            }
        })
    }
}
