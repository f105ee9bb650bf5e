//! The texts of the entitlement rejections.

use crate::http::core::problem::{
    HttpProblem,
    rejection::{self, taken},
};
use ifmatch_domain::entitlement::{Denial, DenialReason, Rejection};
use ifmatch_types::{Code, Timestamp};

/// The problem of an entitlement rejection.
pub fn problem(rejection: Rejection) -> HttpProblem {
    match rejection {
        Rejection::Core(rejection) => rejection::problem(rejection),
        Rejection::Item { failed_index, rejection } => {
            problem(*rejection).with("failed_index", failed_index)
        }
        Rejection::Denied(denial) => denied(*denial),
        Rejection::FeatureInUse { fields } => HttpProblem::new(
            Code::FeatureInUse,
            if fields.is_empty() {
                "something grants the feature or draws from it; archive it instead"
            } else {
                "something grants the feature or draws from it: what it is counted by cannot \
                 change; make another feature"
            },
        )
        .with("fields", fields),
        Rejection::PackageInUse => HttpProblem::new(
            Code::PackageInUse,
            "the package has been assigned; archive it instead",
        ),
        Rejection::PackageInactive { package } => HttpProblem::new(
            Code::PackageInactive,
            format!("package {package} is archived and cannot be newly assigned"),
        )
        .with("package", package),
        Rejection::HoldNotActive { status } => HttpProblem::new(
            Code::HoldNotActive,
            format!("the hold is {status}: its units are not set aside any more"),
        )
        .with("hold_status", status),
        Rejection::FeatureNotReleasable { feature } => HttpProblem::new(
            Code::FeatureNotReleasable,
            format!("{feature} is not releasable: what was used of it cannot be given back"),
        )
        .with("feature", feature),
        Rejection::ReversalExceedsRecord { requested, left } => HttpProblem::new(
            Code::ReversalExceedsRecord,
            format!("{requested} is more than the {left} that are left of the record"),
        )
        .with("requested", requested)
        .with("left", left),
        Rejection::DuplicateExternalService { existing_id, differing_fields } => {
            let detail = format!(
                "assignment {existing_id} has this external service id, with other content"
            );
            taken(Code::DuplicateExternalService, detail, existing_id, differing_fields)
        }
        Rejection::DuplicateAddon { existing_id, differing_fields } => {
            let detail = format!("boost {existing_id} has this add-on id, with other content");
            taken(Code::DuplicateAddon, detail, existing_id, differing_fields)
        }
        Rejection::BasePackageConflict { existing_id } => HttpProblem::new(
            Code::BasePackageConflict,
            format!("the scope has another base package, assignment {existing_id}; end that first"),
        )
        .with("existing_id", existing_id),
    }
}

/// The refusal by a quota, with what would help.
fn denied(denial: Denial) -> HttpProblem {
    let Denial { reason, scope, feature, requested, quantity, meter } = denial;
    let detail = match reason {
        DenialReason::NotIncluded => format!(
            "nothing grants {feature} to {scope}; assign a package that includes it, or a boost"
        ),
        DenialReason::LimitExceeded => {
            let left = meter.remaining.unwrap_or_default();
            let help = match (meter.limit, meter.resets_at) {
                (Some(limit), _) if requested > limit => {
                    format!("the limit is {limit}; assign a package or a boost with more")
                }
                (_, Some(at)) => format!("units come back at {at}"),
                (_, None) => "give some back, or assign a package or a boost with more".to_owned(),
            };
            let wanted = if requested == quantity {
                format!("{requested} of {feature} are wanted")
            } else {
                format!("{requested} are wanted, {quantity} of {feature} among them,")
            };
            format!("{wanted} and {left} are left; {help}")
        }
    };
    HttpProblem::new(reason.code(), detail)
        .with("feature", feature)
        .with("requested", requested)
        .with("limit", meter.limit)
        .with("used", meter.used)
        .with("held", meter.held)
        .with("remaining", meter.remaining)
        .with("resets_at", meter.resets_at.as_ref().map(Timestamp::to_string))
        .with("charged_scope", meter.charged_scope)
}
