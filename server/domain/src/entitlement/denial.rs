//! Usage denials, and the log line that each one leaves.

use super::LogLine;
use crate::core::{Ids, Meta, State};
use ifmatch_types::{EntitlementLogEntry, Meter, Timestamp};
use serde_json::json;
use uuid::Uuid;

/// A denied request for units.
#[derive(Clone, Debug, PartialEq)]
pub struct Denial {
    /// The reason.
    pub reason: DenialReason,
    /// The scope that made the request.
    pub scope: String,
    /// The code of the requested feature.
    pub feature: String,
    /// The number of requested units. For a usage batch, the sum of all items that draw from the
    /// pool, up to and including the denied item.
    pub requested: i64,
    /// The number of units that the denied item requested.
    pub quantity: i64,
    /// The pool that would have been charged.
    pub meter: Meter,
}

/// The reason for a denial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DenialReason {
    /// The limit does not have enough room.
    LimitExceeded,
    /// Nothing grants the feature.
    NotIncluded,
}

impl DenialReason {
    /// The problem code of the answer.
    pub const fn code(self) -> ifmatch_types::Code {
        match self {
            Self::LimitExceeded => ifmatch_types::Code::EntitlementLimitExceeded,
            Self::NotIncluded => ifmatch_types::Code::FeatureNotIncluded,
        }
    }
}

/// Adds a denial to its scope's log. A denied command changes nothing else.
pub(crate) fn log_denial(
    denial: &Denial,
    meta: &Meta,
    seed: Uuid,
    now: Timestamp,
    state: &mut State,
) {
    let details = json!({
        "reason": denial.reason.code(),
        "feature": denial.feature,
        "requested": denial.requested,
        "used": denial.meter.used,
        "held": denial.meter.held,
        "limit": denial.meter.limit,
        "charged_scope": denial.meter.charged_scope,
    });
    let entry = EntitlementLogEntry {
        id: Ids::from_seed(seed).fresh("elg_"),
        log_type: "usage.denied".to_owned(),
        at: now,
        by: meta.by(false),
        request_id: meta.request_id.clone(),
        details,
    };
    state.entitlement_mut().log.push(LogLine { scope: denial.scope.clone(), entry });
}
