//! Reasons why billing refuses a command: facts only, no texts.

use crate::{core, ledger};
use ifmatch_types::{Payment, Timestamp};

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
    /// The subscription has ended, so these fields cannot change.
    SubscriptionEnded {
        /// The fields that the request would change.
        fields: Vec<&'static str>,
        /// When it ended.
        ended_at: Option<Timestamp>,
    },
    /// More periods of the subscription are due than one command bills.
    BillingBehind {
        /// Where the first period begins that would be left out.
        due_at: Timestamp,
    },
    /// The balance has less than an adjustment takes.
    InsufficientBalance {
        /// What would be taken.
        required: i64,
        /// What there is.
        available: i64,
    },
    /// What an invoice gave to the balance is spent, so it cannot be voided.
    BalanceSpent {
        /// What would be taken back.
        required: i64,
        /// What there is.
        available: i64,
    },
    /// Only an admin may finalize an invoice with a negative total.
    NegativeTotal,
    /// A rejection by the ledger.
    Ledger(ledger::Rejection),
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

impl From<ledger::Rejection> for Rejection {
    fn from(rejection: ledger::Rejection) -> Self {
        match rejection {
            ledger::Rejection::Core(rejection) => Self::Core(rejection),
            own => Self::Ledger(own),
        }
    }
}

impl From<core::Rejection> for Rejection {
    fn from(rejection: core::Rejection) -> Self {
        Self::Core(rejection)
    }
}
