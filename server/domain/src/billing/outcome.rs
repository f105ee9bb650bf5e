//! Outcomes of billing actions.

use ifmatch_types::{BalanceTransaction, BillingRun, Invoice, InvoicePreview, Payment};

/// The outcome of a billing action.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// A payment was recorded, now or by an earlier command.
    Payment {
        /// The payment.
        payment: Payment,
        /// Whether this command recorded it.
        first: bool,
    },
    /// The payment is reversed, or counts again.
    PaymentTurned(Payment),
    /// The result of one billing step for one subscription.
    Billed {
        /// The number of invoices created.
        made: i64,
        /// Whether no invoice was due.
        skipped: bool,
        /// Whether more periods are due than one step bills.
        more: bool,
    },
    /// A complete billing run.
    BillingRun(BillingRun),
    /// The invoices that billing runs would make. Nothing was written.
    BillingPreviewed(Vec<InvoicePreview>),
    /// A subscription is settled, with the newest invoice that was made for it.
    Settled(Option<Invoice>),
    /// A balance was corrected.
    BalanceAdjusted(BalanceTransaction),
}
