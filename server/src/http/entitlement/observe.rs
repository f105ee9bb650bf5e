//! What is counted of usage: recorded, held or denied.

use crate::metrics;
use ifmatch_domain::{Denial, DenialReason};
use ifmatch_types::{HoldAnswer, HoldStatus, Recorded};

/// Usage was recorded.
pub fn recorded(recorded: &[Recorded]) {
    metrics::usage_decided("recorded", recorded.len());
}

/// A hold was placed or ended.
pub fn hold(answer: &HoldAnswer, is_new: bool) {
    if is_new {
        metrics::usage_decided("held", 1);
    } else if answer.hold.status == HoldStatus::Settled {
        metrics::usage_decided("recorded", 1);
    }
}

/// A quota said no.
pub fn denied(denial: &Denial) {
    match denial.reason {
        DenialReason::LimitExceeded => metrics::usage_decided("denied_limit", 1),
        DenialReason::NotIncluded => metrics::usage_decided("denied_not_included", 1),
    }
}
