//! Needs of the billing rules other than objects.

use crate::{
    core::{LockClass, SystemNeed, Turn},
    ledger,
};
use ifmatch_types::PlanId;

/// Something that must be loaded for a billing command.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Need {
    /// The living plan with this code.
    PlanCode(String),
    /// The terms of a plan with subscriptions. They are frozen, so the plan is not locked.
    PlanTerms(PlanId),
    /// All payments of an invoice.
    Payments(String),
    /// The payment with this provider reference.
    PaymentRef(String),
    /// The segments of a subscription's terms. Its row lock protects them, and its row, which is
    /// loaded before or with them, says where they are.
    Terms {
        /// The subscription.
        subscription_id: String,
        /// Whether those of settled periods are needed, too.
        whole: bool,
    },
    /// What the living invoices of a subscription charge. Its row lock protects them, and its row,
    /// which is loaded before or with them, says which are settled.
    Charges {
        /// The subscription.
        subscription_id: String,
        /// Whether those of settled periods are needed, too.
        whole: bool,
    },
    /// A need of the ledger, for balances.
    Ledger(ledger::Need),
    /// The last number of a series. Its row is locked after all other rows.
    Sequence(&'static str),
}

impl SystemNeed for Need {
    fn lock(&self) -> Option<(LockClass, &str)> {
        match self {
            Self::Sequence(series) => Some((LockClass::Sequence, series)),
            Self::PlanCode(_) | Self::PlanTerms(_) | Self::Payments(_) => None,
            Self::PaymentRef(_) | Self::Terms { .. } | Self::Charges { .. } => None,
            Self::Ledger(need) => need.lock(),
        }
    }

    fn turn(&self) -> Turn {
        match self {
            Self::PlanCode(_) => Turn::Objects,
            Self::PlanTerms(_) | Self::Payments(_) => Turn::Facts,
            Self::PaymentRef(_) | Self::Terms { .. } | Self::Charges { .. } => Turn::Facts,
            Self::Ledger(need) => need.turn(),
            Self::Sequence(_) => Turn::Sequences,
        }
    }
}
