//! Reasons why billing refuses a command: facts only, no texts.

use crate::core;
use ifmatch_types::Payment;

/// A rejection by billing.
#[derive(Clone, Debug, PartialEq)]
pub enum Rejection {
    /// A rejection by a rule that all systems share.
    Core(core::Rejection),
    /// The price of a plan that was ever active cannot change.
    PlanPriceFrozen {
        /// The fields that the request would change.
        fields: Vec<&'static str>,
    },
    /// The plan is not a draft, so it cannot be deleted.
    PlanInUse,
    /// The plan is not active, so it cannot be subscribed to.
    PlanInactive {
        /// The plan.
        plan_id: String,
        /// Its status.
        status: &'static str,
    },
    /// The plans' currencies differ.
    CurrencyMismatch {
        /// The currency of the current plan.
        from: String,
        /// The currency of the requested plan.
        to: String,
    },
    /// The workspace still has namespaces, subscriptions or invoices, or has had credits.
    WorkspaceInUse,
    /// The subscription has or had an invoice.
    SubscriptionInUse,
    /// These fields of a finalized invoice cannot change.
    InvoiceImmutable {
        /// The fields that the request would change.
        fields: Vec<&'static str>,
    },
    /// The invoice has settled payments.
    InvoiceHasPayments {
        /// Their sum.
        amount_paid: i64,
    },
    /// The payment is more than is due.
    ExceedsAmountDue {
        /// The amount due.
        amount_due: i64,
        /// The amount of the payment.
        amount: i64,
    },
    /// The payment was delivered again after it was reversed.
    PaymentReversed(Box<Payment>),
}

impl From<core::Rejection> for Rejection {
    fn from(rejection: core::Rejection) -> Self {
        Self::Core(rejection)
    }
}
