//! Outcomes of billing actions.

use ifmatch_types::{BillingRun, Payment};

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
}
