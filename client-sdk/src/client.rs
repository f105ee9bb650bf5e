//! The client: where every call begins.

use crate::{
    Call, ClientBuilder, Collection, ConflictStore,
    locks::Clock,
    open::OpenConflicts,
    pace::Bucket,
    reply::Reply,
    request::{KeyMark, Request},
    wire::Wire,
};
use ifmatch_types::{
    BillingRun, Bookable, Booking, Feature, Invoice, Namespace, Package, Plan, Product, Server,
    Subscription, Timestamp, Workspace,
};
use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// A connection to an Ifmatch server; cheap to clone, shared by all its clones.
///
/// ```
/// # async fn example(key: String, id: ifmatch::SubscriptionId) -> Result<(), ifmatch::Error> {
/// let billing = ifmatch::Client::builder("http://127.0.0.1:8080").key(key).build()?;
/// let sub = billing.subscriptions().update(&id, |s| s.quantity += 5).await?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
    on_behalf_of: Option<Arc<str>>,
}

/// The state that all clones share.
pub(crate) struct Shared {
    pub(crate) wire: Box<dyn Wire>,
    pub(crate) bucket: Bucket,
    pub(crate) settings: Settings,
    pub(crate) store: Arc<OpenConflicts>,
    pub(crate) sender: KeyMark,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) failed_releases: AtomicU64,
}

/// The defaults of a client's calls.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) send_timeout: Duration,
    pub(crate) deadline: Duration,
    pub(crate) attempts_max: u32,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("settings", &self.shared.settings)
            .field("on_behalf_of", &self.on_behalf_of)
            .finish_non_exhaustive()
    }
}

impl Client {
    pub(crate) fn new(shared: Shared, on_behalf_of: Option<String>) -> Self {
        Self { shared: Arc::new(shared), on_behalf_of: on_behalf_of.map(Arc::from) }
    }

    /// Begins a client for the server at this URL.
    ///
    /// ```
    /// # fn example(key: String) -> Result<(), ifmatch::Error> {
    /// let billing = ifmatch::Client::builder("http://127.0.0.1:8080").key(key).build()?;
    /// # Ok(()) }
    /// ```
    pub fn builder(url: impl AsRef<str>) -> ClientBuilder {
        ClientBuilder::new(url.as_ref())
    }

    /// The same client, acting for this user.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client, id: ifmatch::SubscriptionId)
    /// # -> Result<(), ifmatch::Error> {
    /// let for_ann = billing.acting_for("ann@example.com");
    /// for_ann.subscriptions().update(&id, |s| s.notes.push_str("called")).await?;
    /// # Ok(()) }
    /// ```
    pub fn acting_for(&self, user: impl AsRef<str>) -> Self {
        Self { on_behalf_of: Some(Arc::from(user.as_ref())), ..self.clone() }
    }

    /// The plans: prices that workspaces subscribe to.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client, id: ifmatch::PlanId)
    /// # -> Result<(), ifmatch::Error> {
    /// let plan = billing.plans().get(&id).await?;
    /// # Ok(()) }
    /// ```
    pub fn plans(&self) -> Collection<Plan> {
        Collection::new(self)
    }

    /// The workspaces: the paying customers.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client, id: ifmatch::WorkspaceId)
    /// # -> Result<(), ifmatch::Error> {
    /// let workspace = billing.workspaces().get(&id).await?;
    /// # Ok(()) }
    /// ```
    pub fn workspaces(&self) -> Collection<Workspace> {
        Collection::new(self)
    }

    /// The namespaces: parts of workspaces.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client, id: ifmatch::NamespaceId)
    /// # -> Result<(), ifmatch::Error> {
    /// let namespace = billing.namespaces().get(&id).await?;
    /// # Ok(()) }
    /// ```
    pub fn namespaces(&self) -> Collection<Namespace> {
        Collection::new(self)
    }

    /// The subscriptions of workspaces to plans.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client, id: ifmatch::SubscriptionId)
    /// # -> Result<(), ifmatch::Error> {
    /// let sub = billing.subscriptions().get(&id).await?;
    /// # Ok(()) }
    /// ```
    pub fn subscriptions(&self) -> Collection<Subscription> {
        Collection::new(self)
    }

    /// The invoices.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client, id: ifmatch::InvoiceId)
    /// # -> Result<(), ifmatch::Error> {
    /// let invoice = billing.invoices().get(&id).await?;
    /// # Ok(()) }
    /// ```
    pub fn invoices(&self) -> Collection<Invoice> {
        Collection::new(self)
    }

    /// The features that packages grant and usage counts.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client) -> Result<(), ifmatch::Error> {
    /// use ifmatch::{FeatureFields, Reset};
    ///
    /// let feature = FeatureFields {
    ///     code: "api.calls".into(),
    ///     reset: Reset::Monthly,
    ///     ..Default::default()
    /// };
    /// let feature = billing.features().create(feature).await?;
    /// # Ok(()) }
    /// ```
    pub fn features(&self) -> Collection<Feature> {
        Collection::new(self)
    }

    /// The packages: bundles of grants to [assign](Self::assignments) to workspaces and namespaces.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client) -> Result<(), ifmatch::Error> {
    /// use ifmatch::{Grant, GrantKind, PackageFields};
    ///
    /// let calls = Grant {
    ///     feature: "api.calls".into(),
    ///     grant: GrantKind::Limit,
    ///     limit: Some(10_000),
    /// };
    /// let pro = PackageFields { code: "pro".into(), grants: vec![calls], ..Default::default() };
    /// let pro = billing.packages().create(pro).await?;
    /// # Ok(()) }
    /// ```
    pub fn packages(&self) -> Collection<Package> {
        Collection::new(self)
    }

    /// The bookables: things that can be booked by the day.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client, id: ifmatch::BookableId)
    /// # -> Result<(), ifmatch::Error> {
    /// let bookable = billing.bookables().get(&id).await?;
    /// # Ok(()) }
    /// ```
    pub fn bookables(&self) -> Collection<Bookable> {
        Collection::new(self)
    }

    /// The bookings of bookables.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client, room: ifmatch::BookableId)
    /// # -> Result<(), Box<dyn std::error::Error>> {
    /// use ifmatch::{BookingFields, BookingStatus};
    /// let fields = BookingFields::new(room, "2027-03-01".parse()?, "2027-03-03".parse()?, 1);
    /// let held = billing.bookings().create(fields).await?;
    /// billing.bookings().update(&held.id, |b| b.status = BookingStatus::Confirmed).await?;
    /// # Ok(()) }
    /// ```
    pub fn bookings(&self) -> Collection<Booking> {
        Collection::new(self)
    }

    /// The products: what can be provisioned, and its price in credits.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client, id: ifmatch::ProductId)
    /// # -> Result<(), ifmatch::Error> {
    /// let product = billing.products().get(&id).await?;
    /// println!("{} costs {} credits", product.name, product.price_credits);
    /// # Ok(()) }
    /// ```
    pub fn products(&self) -> Collection<Product> {
        Collection::new(self)
    }

    /// The servers of workspaces: ordered here, made on the panel.
    ///
    /// ```
    /// # async fn example(
    /// #     billing: ifmatch::Client, workspace: ifmatch::WorkspaceId, small: ifmatch::ProductId,
    /// # ) -> Result<(), ifmatch::Error> {
    /// use ifmatch::ServerFields;
    ///
    /// let server = ServerFields::new(workspace, small, "Survival", 7);
    /// let server = billing.servers().create(server).await?;
    /// println!("{} is {}", server.id, server.status.name()); // provisioning
    /// # Ok(()) }
    /// ```
    pub fn servers(&self) -> Collection<Server> {
        Collection::new(self)
    }

    /// The conflicts that wait for a decision.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client) -> Result<(), ifmatch::Error> {
    /// let mut parked = billing.conflicts().subscribe();
    /// while let Some(conflict) = parked.next().await {
    ///     conflict.resolve(ifmatch::Decision::TakeRemote).await?;
    /// }
    /// # Ok(()) }
    /// ```
    pub fn conflicts(&self) -> ConflictStore {
        ConflictStore::new(self)
    }

    /// Bills everything that is due at this instant, or with `None` now by the server's clock. An
    /// instant later than that is refused. No period is billed twice, even if runs race.
    ///
    /// One send may take until the [`deadline`](Call::deadline), because a repeat would run beside
    /// it. A busy database may cut a run short. The run then keeps what it made and says how many
    /// subscriptions are still due.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client) -> Result<(), ifmatch::Error> {
    /// let run = billing.run_billing(None).await?;
    /// println!("{} invoices made", run.made);
    /// if run.remaining > 0 { println!("{} are still due: run again", run.remaining); }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::OutcomeUnknown`](crate::Error::OutcomeUnknown) if no answer came: part of the run
    /// may be done. It is safe to repeat.
    pub fn run_billing(&self, as_of: impl Into<Option<Timestamp>>) -> Call<BillingRun> {
        let as_of: Option<Timestamp> = as_of.into();
        let body = serde_json::json!({ "as_of": as_of });
        Call::post(self, &["billing-runs"], &body, Reply::decode).long()
    }

    /// Adds the user that this client acts for and the mark of its API key.
    pub(crate) fn signed(&self, mut request: Request) -> Request {
        request.on_behalf_of = self.on_behalf_of.as_deref().map(str::to_owned);
        request.sender = Some(self.shared.sender);
        request
    }

    /// Whether a request was made with this client's API key. True if that is not known.
    pub(crate) fn is_sender_of(&self, request: &Request) -> bool {
        request.sender.is_none_or(|sender| sender == self.shared.sender)
    }

    pub(crate) fn wire(&self) -> &dyn Wire {
        self.shared.wire.as_ref()
    }

    pub(crate) fn bucket(&self) -> &Bucket {
        &self.shared.bucket
    }

    pub(crate) fn store(&self) -> &Arc<OpenConflicts> {
        &self.shared.store
    }

    pub(crate) fn clock(&self) -> Arc<dyn Clock> {
        self.shared.clock.clone()
    }

    pub(crate) fn failed_releases(&self) -> u64 {
        self.shared.failed_releases.load(Ordering::Relaxed)
    }

    pub(crate) fn count_failed_release(&self) {
        self.shared.failed_releases.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn send_timeout(&self) -> Duration {
        self.shared.settings.send_timeout
    }

    pub(crate) fn deadline(&self) -> Duration {
        self.shared.settings.deadline
    }

    pub(crate) fn attempts_max(&self) -> u32 {
        self.shared.settings.attempts_max
    }
}
