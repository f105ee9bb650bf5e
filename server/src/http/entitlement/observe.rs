//! Metrics of usage: recorded, held or denied.

use crate::{http::core::observe, metrics};
use ifmatch_domain::entitlement::{DenialReason, Outcome, Rejection};
use ifmatch_types::HoldStatus;

/// Observes an accepted command.
pub fn outcome(outcome: &Outcome) {
    match outcome {
        Outcome::Core(outcome) => observe::outcome(outcome),
        Outcome::Usage { recorded, .. } => metrics::usage_decided("recorded", recorded.len()),
        Outcome::Hold { is_new: true, .. } => metrics::usage_decided("held", 1),
        Outcome::Hold { answer, is_new: false } => {
            if answer.hold.status == HoldStatus::Settled {
                metrics::usage_decided("recorded", 1);
            }
        }
        Outcome::Reversed(_) | Outcome::Boost(_) | Outcome::Expired { .. } => {}
    }
}

/// Observes a rejected command.
pub fn rejection(rejection: &Rejection) {
    if let Rejection::Denied(denial) = rejection {
        match denial.reason {
            DenialReason::LimitExceeded => metrics::usage_decided("denied_limit", 1),
            DenialReason::NotIncluded => metrics::usage_decided("denied_not_included", 1),
        }
    }
}
