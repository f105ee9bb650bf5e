//! The routes of entitlements: features and packages, and what a workspace or namespace has of
//! them.

mod packages;
mod usage;

use super::entitlements;
use crate::http::core::{
    collection::{KNOWN, READS, collection, history_of, listed, paths},
    endpoint::{Endpoint, delete, get, group, post, schema},
};
use ifmatch_types::{
    Boost, BoostAnswer, Code, Deleted, Entitlement, EntitlementLogEntry, Feature, FeatureFields,
    Kind, NewBoost, Package, PackageFields,
};

/// The section of the OpenAPI document.
const TAG: &str = "Entitlements";

/// The routes of boosts and entitlements under `/v1/$path`.
macro_rules! boosts_and_entitlements {
    ($path:literal) => {
        group(
            TAG,
            [
                post(concat!("/v1/", $path, "/{id}/boosts"), entitlements::grant_boost)
                    .agent()
                    .tagged()
                    .idempotent()
                    .summary("Grant a boost")
                    .body::<NewBoost>()
                    .answers::<BoostAnswer>(201)
                    .answers::<BoostAnswer>(200)
                    .problems(READS)
                    .problems(&[Code::DuplicateAddon]),
                listed(
                    get(concat!("/v1/", $path, "/{id}/boosts"), entitlements::boosts),
                    Kind::Boost,
                )
                .viewer()
                .scoped()
                .paged()
                .summary("List boosts")
                .answers_page::<Boost>(200)
                .problems(KNOWN),
                get(concat!("/v1/", $path, "/{id}/boosts/{boost_id}"), entitlements::boost)
                    .viewer()
                    .scoped()
                    .versioned()
                    .summary("Read a boost")
                    .answers::<Boost>(200)
                    .problems(READS),
                delete(
                    concat!("/v1/", $path, "/{id}/boosts/{boost_id}"),
                    entitlements::revoke_boost,
                )
                .agent()
                .versioned()
                .idempotent()
                .summary("Revoke a boost: it counts no more, and what it burnt stays burnt")
                .answers::<Deleted>(200)
                .problems(READS),
                history_of(get(
                    concat!("/v1/", $path, "/{id}/boosts/{boost_id}/history"),
                    entitlements::boost_history,
                ))
                .summary("List a boost's history: what it burnt, and who revoked it"),
                get(
                    concat!("/v1/", $path, "/{id}/boosts/{boost_id}/versions/{version}"),
                    entitlements::boost_version,
                )
                .viewer()
                .scoped()
                .tagged()
                .summary("Read an old version of a boost")
                .answers::<Boost>(200)
                .problems(READS)
                .problems(&[Code::VersionPruned]),
                get(concat!("/v1/", $path, "/{id}/entitlements"), entitlements::list)
                    .viewer_or_usage()
                    .scoped()
                    .paged()
                    .summary("Read what may be used of each feature; advisory only")
                    .answers_page::<Entitlement>(200)
                    .problems(READS),
                get(concat!("/v1/", $path, "/{id}/entitlements/{feature}"), entitlements::get)
                    .viewer_or_usage()
                    .scoped()
                    .summary("Read what may be used of a feature; advisory only")
                    .answers::<Entitlement>(200)
                    .problems(READS),
                get(concat!("/v1/", $path, "/{id}/entitlement-log"), entitlements::log)
                    .viewer()
                    .scoped()
                    .paged()
                    .query("type", "Only entries of this type", schema::some_text())
                    .summary("List what was granted, lost or denied, newest first")
                    .answers_page::<EntitlementLogEntry>(200)
                    .problems(KNOWN),
            ],
        )
    };
}

/// Every route of entitlements.
pub fn routes() -> Vec<Endpoint> {
    [
        collection::<Feature, FeatureFields>(
            "Features",
            &paths!("features"),
            &[Code::AlreadyExists, Code::FeatureInUse],
        ),
        collection::<Package, PackageFields>(
            "Packages",
            &paths!("packages"),
            &[Code::AlreadyExists, Code::PackageInUse],
        ),
        packages::of_workspaces(),
        packages::of_namespaces(),
        boosts_and_entitlements!("workspaces"),
        boosts_and_entitlements!("namespaces"),
        usage::of_workspaces(),
        usage::of_namespaces(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
