//! The credits of a workspace: top-ups, reservations in two phases, and the transfers.

use crate::{
    Call, Client, Error, List, Settled,
    pace::Deadline,
    reply::Reply,
    request::{Request, Verb},
};
use ifmatch_types::{
    Code, Credits, Kind, NewAdjustment, NewPosting, NewReservation, NewTopup, Reservation,
    Transfer, TransferId, WorkspaceId,
};
use serde_json::Value;

/// The credits of a workspace.
///
/// # Two phases
///
/// [`reserve`](Self::reserve) sets credits aside before the work begins, so that they cannot be
/// spent twice. When the work is done, [`post`](ReservedCredits::post) charges them. If it failed
/// for sure, [`void`](ReservedCredits::void) makes them available again. A reservation never ends
/// by itself: while nobody knows whether the work was done, neither a charge nor a refund is right.
///
/// ```
/// # async fn render() -> bool { true }
/// # async fn example(billing: ifmatch::Client, workspace: ifmatch::WorkspaceId)
/// # -> Result<(), ifmatch::Error> {
/// use ifmatch::ReserveOutcome;
///
/// let credits = billing.credits(&workspace);
/// match credits.reserve(5).await? {
///     ReserveOutcome::Reserved(reserved) => {
///         if render().await {
///             billing.reservation(&reserved.id).post().await?;
///         } else {
///             billing.reservation(&reserved.id).void().await?;
///         }
///     }
///     ReserveOutcome::Insufficient { available, .. } => println!("only {available} left"),
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct CreditAccount {
    client: Client,
    workspace_id: WorkspaceId,
}

/// The answer to a [`reserve`](CreditAccount::reserve): credits are set aside, or too few are
/// available.
#[must_use = "reserved credits stay set aside until the reservation is posted or voided"]
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "it is taken apart where it arrives")]
pub enum ReserveOutcome {
    /// The credits are set aside. The transfer's id is the id of the reservation.
    Reserved(Transfer),
    /// Too few are available. Nothing is set aside.
    #[non_exhaustive]
    Insufficient {
        /// The credits that were asked for.
        required: i64,
        /// The credits that are available.
        available: i64,
    },
}

/// Credits that are set aside, to be charged or given back.
#[derive(Clone, Debug)]
pub struct ReservedCredits {
    client: Client,
    id: TransferId,
}

impl Client {
    /// The reservation of credits with this id, of whatever workspace.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client, id: ifmatch::TransferId)
    /// # -> Result<(), ifmatch::Error> {
    /// billing.reservation(&id).void().await?;
    /// # Ok(()) }
    /// ```
    pub fn reservation(&self, id: &TransferId) -> ReservedCredits {
        ReservedCredits { client: self.clone(), id: id.clone() }
    }

    /// The credits of a workspace.
    ///
    /// ```
    /// # fn example(billing: ifmatch::Client, workspace: ifmatch::WorkspaceId) {
    /// let credits: ifmatch::CreditAccount = billing.credits(&workspace);
    /// # }
    /// ```
    pub fn credits(&self, workspace: &WorkspaceId) -> CreditAccount {
        CreditAccount { client: self.clone(), workspace_id: workspace.clone() }
    }
}

impl CreditAccount {
    /// What is available and what is reserved now.
    ///
    /// Advice only: the reservation itself decides.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client, workspace: ifmatch::WorkspaceId)
    /// # -> Result<(), ifmatch::Error> {
    /// println!("{} credits left", billing.credits(&workspace).get().await?.available);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`is_not_found`](Error::is_not_found) is true if there is no such workspace.
    pub async fn get(&self) -> Result<Credits, Error> {
        read(&self.client, &self.path(&[])).await?.decode()
    }

    /// Adds credits; needs the role `admin`. The reason is on record, 1–500 characters.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client, workspace: ifmatch::WorkspaceId)
    /// # -> Result<(), ifmatch::Error> {
    /// billing
    ///     .credits(&workspace)
    ///     .top_up(500, "order 4711")
    ///     .idempotency_key("order-4711")
    ///     .await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] if the workspace does not exist or the caller is no admin;
    /// [`Error::OutcomeUnknown`] if no answer came.
    pub fn top_up(&self, amount: i64, reason: impl Into<String>) -> Call<Transfer> {
        self.transfer("topups", &NewTopup { amount, reason: reason.into() })
    }

    /// Corrects what is available, up or down; needs the role `admin`.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client, workspace: ifmatch::WorkspaceId)
    /// # -> Result<(), ifmatch::Error> {
    /// billing.credits(&workspace).adjust(-20, "topped up twice by mistake").await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] with `INSUFFICIENT_CREDITS` if fewer are available than it takes away.
    pub fn adjust(&self, amount: i64, reason: impl Into<String>) -> Call<Transfer> {
        self.transfer("adjustments", &NewAdjustment { amount, reason: reason.into() })
    }

    fn transfer(&self, kind: &str, body: &impl serde::Serialize) -> Call<Transfer> {
        Call::post(&self.client, &self.path(&[kind]), body, Reply::decode)
    }

    /// Sets credits aside until the reservation is posted or voided.
    ///
    /// Too few credits are a value and not an error. After a lost answer the request is sent again
    /// with the same key, so that credits are set aside once.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client, workspace: ifmatch::WorkspaceId)
    /// # -> Result<(), ifmatch::Error> {
    /// use ifmatch::ReserveOutcome;
    ///
    /// let outcome = billing.credits(&workspace).reserve(5).reference("render 17").await?;
    /// if let ReserveOutcome::Reserved(reserved) = outcome {
    ///     println!("set aside as {}", reserved.id);
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] if there is no such workspace; [`Error::OutcomeUnknown`] if no answer
    /// came.
    pub fn reserve(&self, amount: i64) -> Call<ReserveOutcome> {
        let body = NewReservation { amount, reference: None };
        Call::ask(&self.client, &self.path(&["reservations"]), &body, ReserveOutcome::read)
    }

    /// The reservations of the workspace, oldest first. The filter is `status`.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client, workspace: ifmatch::WorkspaceId)
    /// # -> Result<(), ifmatch::Error> {
    /// let credits = billing.credits(&workspace);
    /// for pending in credits.reservations().filter("status", "pending").await?.items {
    ///     println!("{} credits since {}", pending.amount, pending.created_at);
    /// }
    /// # Ok(()) }
    /// ```
    pub fn reservations(&self) -> List<Reservation> {
        List::new(&self.client, &self.path(&["reservations"]))
    }

    /// The transfers of the workspace's credits, newest first. The filters are `kind`, `ref` and
    /// `since`.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client, workspace: ifmatch::WorkspaceId)
    /// # -> Result<(), ifmatch::Error> {
    /// let credits = billing.credits(&workspace);
    /// for transfer in credits.transfers().filter("kind", "topup").await?.items {
    ///     println!("{} {} {}", transfer.at, transfer.kind.name(), transfer.amount);
    /// }
    /// # Ok(()) }
    /// ```
    pub fn transfers(&self) -> List<Transfer> {
        List::new(&self.client, &self.path(&["transfers"]))
    }

    fn path<'a>(&'a self, below: &[&'a str]) -> Vec<&'a str> {
        let account = [Kind::Workspace.collection(), self.workspace_id.as_str(), "credits"];
        [&account, below].concat()
    }
}

impl ReservedCredits {
    /// The reservation as it is now.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client, id: ifmatch::TransferId)
    /// # -> Result<(), ifmatch::Error> {
    /// println!("{}", billing.reservation(&id).get().await?.status.name());
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`is_not_found`](Error::is_not_found) is true if there is no such reservation.
    pub async fn get(&self) -> Result<Reservation, Error> {
        read(&self.client, &["reservations", self.id.as_str()]).await?.decode()
    }

    /// Charges all its credits. A repeat gets the first result.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client, id: ifmatch::TransferId)
    /// # -> Result<(), ifmatch::Error> {
    /// billing.reservation(&id).post().await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] with `RESERVATION_ALREADY_VOIDED` if it was voided, and with
    /// `RESERVATION_ALREADY_POSTED` if only a part of it was charged.
    pub fn post(&self) -> Call<Transfer> {
        self.resolve("post", &NewPosting { amount: None })
    }

    /// Charges a part of its credits, at least 1. The rest is available again.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client, id: ifmatch::TransferId)
    /// # -> Result<(), ifmatch::Error> {
    /// billing.reservation(&id).post_part(3).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] with `EXCEEDS_RESERVATION` if fewer are reserved, and with
    /// `RESERVATION_ALREADY_POSTED` if another amount was charged.
    pub fn post_part(&self, amount: i64) -> Call<Transfer> {
        self.resolve("post", &NewPosting { amount: Some(amount) })
    }

    /// Makes all its credits available again. A repeat gets the first result.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client, id: ifmatch::TransferId)
    /// # -> Result<(), ifmatch::Error> {
    /// billing.reservation(&id).void().await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] with `RESERVATION_ALREADY_POSTED` if it was posted.
    pub fn void(&self) -> Call<Transfer> {
        self.resolve("void", &Value::Object(serde_json::Map::new()))
    }

    fn resolve(&self, how: &str, body: &impl serde::Serialize) -> Call<Transfer> {
        let path = ["reservations", self.id.as_str(), how];
        Call::post(&self.client, &path, body, Reply::decode)
    }
}

pub(crate) async fn read(client: &Client, path: &[&str]) -> Result<Reply, Error> {
    client.call(Request::new(Verb::Get, path), Deadline::after(client.deadline())).await
}

/// Options of [`CreditAccount::reserve`].
impl Call<ReserveOutcome> {
    /// What the credits are set aside for, in the caller's own words; at most 200 characters.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client, workspace: ifmatch::WorkspaceId)
    /// # -> Result<(), ifmatch::Error> {
    /// let outcome = billing.credits(&workspace).reserve(5).reference("render 17").await?;
    /// # Ok(()) }
    /// ```
    pub fn reference(self, reference: impl Into<String>) -> Self {
        self.with(|body| {
            body.insert("ref".to_owned(), reference.into().into());
        })
    }
}

impl ReserveOutcome {
    fn read(answer: Result<Reply, Error>) -> Result<Self, Error> {
        let error = match answer {
            Ok(reply) => return reply.decode().map(Self::Reserved),
            Err(error) => error,
        };
        let lacking = error.problem().filter(|p| p.code == Code::InsufficientCredits);
        let number = |name| lacking?.extensions.get(name).and_then(Value::as_i64);
        match number("required").zip(number("available")) {
            Some((required, available)) => Ok(Self::Insufficient { required, available }),
            None => Err(error),
        }
    }

    /// The reservation, if the credits are set aside.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client, workspace: ifmatch::WorkspaceId)
    /// # -> Result<(), ifmatch::Error> {
    /// let credits = billing.credits(&workspace);
    /// let Some(reserved) = credits.reserve(5).await?.reserved() else { return Ok(()) };
    /// billing.reservation(&reserved.id).post().await?;
    /// # Ok(()) }
    /// ```
    pub fn reserved(self) -> Option<Transfer> {
        match self {
            Self::Reserved(transfer) => Some(transfer),
            Self::Insufficient { .. } => None,
        }
    }
}

impl Settled {
    /// The answer, if the request was a reservation of credits.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client, unknown: ifmatch::OutcomeUnknown)
    /// # -> Result<(), ifmatch::Error> {
    /// let outcome = billing.resume(unknown).await?.reservation()?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Decode`] if it was another request.
    pub fn reservation(self) -> Result<ReserveOutcome, Error> {
        ReserveOutcome::read(self.into_answer())
    }
}
