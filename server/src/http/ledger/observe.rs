//! Metrics of the ledger.

use crate::metrics;
use ifmatch_domain::ledger::{Outcome, Rejection};

/// Observes an accepted command.
pub fn outcome(outcome: &Outcome) {
    match outcome {
        Outcome::Transferred(made)
        | Outcome::Reserved(made)
        | Outcome::Resolved { transfer: made, first: true, .. } => {
            metrics::credit_transfer(made.transfer.kind.name());
        }
        Outcome::Resolved { first: false, .. } => {}
    }
}

/// Observes a rejected command.
pub fn rejection(rejection: &Rejection) {
    match rejection {
        Rejection::Insufficient { .. } => metrics::credits_refused(),
        Rejection::Core(_)
        | Rejection::ExceedsReservation { .. }
        | Rejection::Owned { .. }
        | Rejection::AlreadyResolved { .. } => {}
    }
}
