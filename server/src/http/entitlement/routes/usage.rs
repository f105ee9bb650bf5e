//! The routes of usage: records, holds and reversals.

use super::TAG;
use crate::http::{
    core::{
        collection::{KNOWN, READS},
        endpoint::{Endpoint, get, group, post, schema},
    },
    entitlement::usage,
};
use ifmatch_types::{
    Code, Hold, HoldAnswer, NewHold, NewReversal, NewUsage, NewUsageBatch, Recorded, RecordedBatch,
    Reversed, Settlement, UsageRecord,
};

/// The refusals of a request for units.
const DENIALS: &[Code] =
    &[Code::EntitlementLimitExceeded, Code::FeatureNotIncluded, Code::AmountOverflow];

macro_rules! records {
    ($path:literal, $one:literal) => {
        group(
            TAG,
            [
                post(concat!("/v1/", $path, "/{id}/usage"), usage::record)
                    .usage()
                    .scoped()
                    .idempotency_required()
                    .operation_id(concat!("record_", $one, "_usage"))
                    .summary("Record usage, if the limit allows it")
                    .body::<NewUsage>()
                    .answers::<Recorded>(201)
                    .problems(READS)
                    .problems(DENIALS),
                post(concat!("/v1/", $path, "/{id}/usage/batch"), usage::record_batch)
                    .usage()
                    .scoped()
                    .idempotency_required()
                    .operation_id(concat!("record_", $one, "_usage_batch"))
                    .summary("Record several usages, all or nothing")
                    .body::<NewUsageBatch>()
                    .answers::<RecordedBatch>(201)
                    .problems(READS)
                    .problems(DENIALS),
                get(concat!("/v1/", $path, "/{id}/usage"), usage::list)
                    .viewer()
                    .scoped()
                    .paged()
                    .query("feature", "Only usage of this feature", schema::some_text())
                    .summary("List recorded usage, newest first")
                    .answers_page::<UsageRecord>(200)
                    .problems(KNOWN),
                get(concat!("/v1/", $path, "/{id}/usage/{record_id}"), usage::get)
                    .viewer()
                    .scoped()
                    .summary("Read a usage record")
                    .answers::<UsageRecord>(200)
                    .problems(KNOWN),
                post(concat!("/v1/", $path, "/{id}/usage/{record_id}/reversals"), usage::reverse)
                    .usage()
                    .scoped()
                    .idempotency_required()
                    .summary("Reverse recorded usage")
                    .body::<NewReversal>()
                    .answers::<Reversed>(201)
                    .problems(READS)
                    .problems(&[Code::FeatureNotReleasable, Code::ReversalExceedsRecord]),
            ],
        )
    };
}

macro_rules! holds {
    ($path:literal) => {
        group(
            TAG,
            [
                post(concat!("/v1/", $path, "/{id}/usage/holds"), usage::hold)
                    .usage()
                    .scoped()
                    .idempotency_required()
                    .summary("Place a hold: set units aside")
                    .body::<NewHold>()
                    .answers::<HoldAnswer>(201)
                    .problems(READS)
                    .problems(DENIALS),
                get(concat!("/v1/", $path, "/{id}/usage/holds/{hold_id}"), usage::get_hold)
                    .viewer()
                    .scoped()
                    .summary("Read a hold")
                    .answers::<Hold>(200)
                    .problems(KNOWN),
                post(concat!("/v1/", $path, "/{id}/usage/holds/{hold_id}/settle"), usage::settle)
                    .usage()
                    .scoped()
                    .idempotent()
                    .summary("Settle a hold: record what was used")
                    .body::<Settlement>()
                    .answers::<HoldAnswer>(200)
                    .problems(READS)
                    .problems(DENIALS)
                    .problems(&[Code::HoldNotActive]),
                post(concat!("/v1/", $path, "/{id}/usage/holds/{hold_id}/release"), usage::release)
                    .usage()
                    .scoped()
                    .idempotent()
                    .summary("Release a hold: give all its units back")
                    .answers::<HoldAnswer>(200)
                    .problems(READS)
                    .problems(&[Code::ValidationFailed, Code::HoldNotActive]),
            ],
        )
    };
}

/// The usage of workspaces.
pub fn of_workspaces() -> Vec<Endpoint> {
    [records!("workspaces", "workspace"), holds!("workspaces")].into_iter().flatten().collect()
}

/// The usage of namespaces.
pub fn of_namespaces() -> Vec<Endpoint> {
    [records!("namespaces", "namespace"), holds!("namespaces")].into_iter().flatten().collect()
}
