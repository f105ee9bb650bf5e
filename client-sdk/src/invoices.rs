//! Methods of invoices only: payments.

use crate::{Call, Collection, List, reply::Reply};
use ifmatch_types::{Invoice, InvoiceId, Kind, NewPayment, Payment, PaymentId};

impl Collection<Invoice> {
    /// Records money received for an invoice.
    ///
    /// A payment is identified by its `provider_ref`. Recorded twice, it counts once.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client, inv: ifmatch::InvoiceId)
    /// # -> Result<(), ifmatch::Error> {
    /// use ifmatch::NewPayment;
    ///
    /// let payment = billing
    ///     .invoices()
    ///     .record_payment(&inv, NewPayment { amount: 1999, provider_ref: "ch_8812".into() })
    ///     .await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Refused`](crate::Error::Refused) if it is more than is due, or the invoice is a
    /// draft or void; [`Error::OutcomeUnknown`](crate::Error::OutcomeUnknown) if no answer came.
    pub fn record_payment(&self, invoice: &InvoiceId, payment: NewPayment) -> Call<Payment> {
        let segments = [Kind::Invoice.collection(), invoice.as_str(), "payments"];
        Call::post(self.client(), &segments, &payment, Reply::decode)
    }

    /// The payments of an invoice, reversed ones included.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client, inv: ifmatch::InvoiceId)
    /// # -> Result<(), ifmatch::Error> {
    /// for payment in billing.invoices().payments(&inv).await?.items {
    ///     println!("{} {:?}", payment.amount, payment.status);
    /// }
    /// # Ok(()) }
    /// ```
    pub fn payments(&self, invoice: &InvoiceId) -> List<Payment> {
        List::new(self.client(), &[Kind::Invoice.collection(), invoice.as_str(), "payments"])
    }

    /// Reverses a payment: it no longer counts.
    ///
    /// ```
    /// # async fn example(
    /// #     billing: ifmatch::Client, inv: ifmatch::InvoiceId, pay: ifmatch::PaymentId,
    /// # ) -> Result<(), ifmatch::Error> {
    /// billing.invoices().reverse_payment(&inv, &pay, "chargeback").await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Refused`](crate::Error::Refused) if there is no such payment.
    pub fn reverse_payment(
        &self,
        invoice: &InvoiceId,
        payment: &PaymentId,
        reason: &str,
    ) -> Call<Payment> {
        let collection = Kind::Invoice.collection();
        let segments = [collection, invoice.as_str(), "payments", payment.as_str(), "reverse"];
        let body = serde_json::json!({ "reason": reason });
        Call::post(self.client(), &segments, &body, Reply::decode)
    }

    /// Makes a reversed payment count again: a dispute that was won.
    ///
    /// ```
    /// # async fn example(
    /// #     billing: ifmatch::Client, inv: ifmatch::InvoiceId, pay: ifmatch::PaymentId,
    /// # ) -> Result<(), ifmatch::Error> {
    /// billing.invoices().reinstate_payment(&inv, &pay, "dispute won").await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Refused`](crate::Error::Refused) with `EXCEEDS_AMOUNT_DUE` if less is due by now.
    pub fn reinstate_payment(
        &self,
        invoice: &InvoiceId,
        payment: &PaymentId,
        reason: &str,
    ) -> Call<Payment> {
        let collection = Kind::Invoice.collection();
        let segments = [collection, invoice.as_str(), "payments", payment.as_str(), "reinstate"];
        let body = serde_json::json!({ "reason": reason });
        Call::post(self.client(), &segments, &body, Reply::decode)
    }
}
