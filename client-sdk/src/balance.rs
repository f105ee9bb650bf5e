//! The balance of a customer, and what billing does for one subscription.

use crate::{Call, Client, Collection, Error, List, credits::read, reply::Reply};
use ifmatch_types::{
    Balance, BalanceTransaction, BillingPeriod, BillingPreview, Kind, NewBalanceAdjustment,
    SettledSubscription, Subscription, SubscriptionId, Timestamp, Version, WorkspaceId,
};
use serde_json::json;

/// The balance of a workspace: money that later invoices take from, by currency.
///
/// An invoice with a negative total goes onto it when it is finalized, and a later invoice takes
/// from it what there is.
#[derive(Clone, Debug)]
pub struct CustomerBalance {
    client: Client,
    workspace_id: WorkspaceId,
}

impl Client {
    /// The balance of a workspace.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client, workspace: ifmatch::WorkspaceId)
    /// # -> Result<(), ifmatch::Error> {
    /// for item in billing.balance(&workspace).get().await?.items {
    ///     println!("{} {}", item.amount, item.currency);
    /// }
    /// # Ok(()) }
    /// ```
    pub fn balance(&self, workspace: &WorkspaceId) -> CustomerBalance {
        CustomerBalance { client: self.clone(), workspace_id: workspace.clone() }
    }

    /// Tells which invoices billing runs would make until this instant, which may be later than
    /// now; with `None` now. Nothing is written. One send may take until the
    /// [`deadline`](Call::deadline).
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client, next_month: ifmatch::Timestamp)
    /// # -> Result<(), ifmatch::Error> {
    /// for invoice in billing.preview_billing(next_month).await?.invoices {
    ///     println!("{} {} for {}", invoice.total, invoice.currency, invoice.subscription_id);
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] if the caller may not make billing runs.
    pub fn preview_billing(&self, as_of: impl Into<Option<Timestamp>>) -> Call<BillingPreview> {
        let as_of: Option<Timestamp> = as_of.into();
        let body = json!({ "as_of": as_of });
        Call::post(self, &["billing-runs", "preview"], &body, Reply::decode).long()
    }
}

impl Collection<Subscription> {
    /// Invoices what is due for a subscription now, with all differences: the running period to its
    /// end by the terms now in force. Needs the version that was seen.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client, id: ifmatch::SubscriptionId)
    /// # -> Result<(), ifmatch::Error> {
    /// let subscriptions = billing.subscriptions();
    /// let subscription = subscriptions.update(&id, |s| s.quantity += 5).await?;
    /// match subscriptions.settle(&id, subscription.version()).await?.invoice {
    ///     Some(invoice) => println!("{} are due", invoice.amount_due),
    ///     None => println!("nothing is due"),
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`is_conflict`](Error::is_conflict) is true if the subscription is at another version.
    /// [`Error::Refused`] with `BILLING_BEHIND` if more than 24 periods are due: make a billing run
    /// first. [`Error::OutcomeUnknown`] if no answer came.
    pub fn settle(&self, id: &SubscriptionId, version: Version) -> Call<SettledSubscription> {
        let segments = [Kind::Subscription.collection(), id.as_str(), "settle"];
        Call::post(self.client(), &segments, &json!({ "version": version }), Reply::decode)
    }

    /// Tells which invoices billing runs would make for a subscription until this instant, at most
    /// 24; with `None` until now. Nothing is written.
    ///
    /// ```
    /// # async fn example(
    /// #     billing: ifmatch::Client, id: ifmatch::SubscriptionId, next_month: ifmatch::Timestamp,
    /// # ) -> Result<(), ifmatch::Error> {
    /// let preview = billing.subscriptions().preview_invoices(&id, next_month).await?;
    /// if let Some(next) = preview.invoices.first() {
    ///     println!("the next invoice is over {} {}", next.amount_due, next.currency);
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] if there is no such subscription.
    pub fn preview_invoices(
        &self,
        id: &SubscriptionId,
        as_of: impl Into<Option<Timestamp>>,
    ) -> Call<BillingPreview> {
        let as_of: Option<Timestamp> = as_of.into();
        let body = json!({ "as_of": as_of, "subscription_id": id });
        Call::post(self.client(), &["billing-runs", "preview"], &body, Reply::decode)
    }
}

/// What a subscription costs.
impl Collection<Subscription> {
    /// The periods of a subscription that have begun, newest first: what each costs by its terms, and
    /// what living invoices charge for it.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client, id: ifmatch::SubscriptionId)
    /// # -> Result<(), ifmatch::Error> {
    /// for period in billing.subscriptions().periods(&id).await?.items {
    ///     println!("{} costs {}, charged {}", period.start, period.cost, period.charged);
    /// }
    /// # Ok(()) }
    /// ```
    pub fn periods(&self, id: &SubscriptionId) -> List<BillingPeriod> {
        List::new(self.client(), &[Kind::Subscription.collection(), id.as_str(), "periods"])
    }
}

impl CustomerBalance {
    /// What the workspace has now, by currency.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client, workspace: ifmatch::WorkspaceId)
    /// # -> Result<(), ifmatch::Error> {
    /// let balance = billing.balance(&workspace).get().await?;
    /// let usd = balance.items.iter().find(|item| item.currency == "USD");
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`is_not_found`](Error::is_not_found) is true if there is no such workspace.
    pub async fn get(&self) -> Result<Balance, Error> {
        read(&self.client, &self.path(&[])).await?.decode()
    }

    /// The transactions, newest first. The filter is `currency`.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client, workspace: ifmatch::WorkspaceId)
    /// # -> Result<(), ifmatch::Error> {
    /// for transaction in billing.balance(&workspace).transactions().await?.items {
    ///     println!("{} {} {}", transaction.at, transaction.kind.name(), transaction.amount);
    /// }
    /// # Ok(()) }
    /// ```
    pub fn transactions(&self) -> List<BalanceTransaction> {
        List::new(&self.client, &self.path(&["transactions"]))
    }

    /// Corrects the balance in a currency, up or down; needs the role `admin`. The amount is in the
    /// currency's minor unit. The reason is on record, 1–500 characters.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client, workspace: ifmatch::WorkspaceId)
    /// # -> Result<(), ifmatch::Error> {
    /// billing.balance(&workspace).adjust("USD", 500, "an hour of downtime").await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] with `INSUFFICIENT_BALANCE` if it would fall below 0.
    pub fn adjust(
        &self,
        currency: &str,
        amount: i64,
        reason: impl Into<String>,
    ) -> Call<BalanceTransaction> {
        let (currency, reason) = (currency.to_owned(), reason.into());
        let body = NewBalanceAdjustment { currency, amount, reason };
        Call::post(&self.client, &self.path(&["adjustments"]), &body, Reply::decode)
    }

    fn path<'a>(&'a self, rest: &[&'a str]) -> Vec<&'a str> {
        let own = [Kind::Workspace.collection(), self.workspace_id.as_str(), "balance"];
        own.into_iter().chain(rest.iter().copied()).collect()
    }
}
