//! The routes of the packages that are assigned to a workspace or namespace.

use super::TAG;
use crate::http::{
    core::{
        collection::{KNOWN, READS, history_of, listed},
        endpoint::{Endpoint, get, group, patch, post},
    },
    entitlement::entitlements,
};
use ifmatch_types::{Assignment, AssignmentFields, Code, Kind, NewAssignment};

macro_rules! packages {
    ($path:literal, $one:literal) => {
        group(
            TAG,
            [
                post(concat!("/v1/", $path, "/{id}/packages"), entitlements::assign)
                    .agent()
                    .tagged()
                    .idempotent()
                    .operation_id(concat!("assign_", $one, "_package"))
                    .summary("Assign a package")
                    .body::<NewAssignment>()
                    .answers::<Assignment>(201)
                    .answers::<Assignment>(200)
                    .problems(READS)
                    .problems(&[
                        Code::AlreadyExists,
                        Code::DuplicateExternalService,
                        Code::PackageInactive,
                    ]),
                listed(
                    get(concat!("/v1/", $path, "/{id}/packages"), entitlements::packages),
                    Kind::Assignment,
                )
                .viewer()
                .paged()
                .summary("List assigned packages")
                .answers_page::<Assignment>(200)
                .problems(KNOWN),
                get(
                    concat!("/v1/", $path, "/{id}/packages/{assignment_id}"),
                    entitlements::package,
                )
                .viewer()
                .versioned()
                .summary("Read an assignment")
                .answers::<Assignment>(200)
                .problems(KNOWN),
                patch(
                    concat!("/v1/", $path, "/{id}/packages/{assignment_id}"),
                    entitlements::change_package,
                )
                .agent()
                .versioned()
                .idempotent()
                .summary("Suspend, reactivate or cancel an assignment")
                .merge_patch::<AssignmentFields>()
                .answers::<Assignment>(200)
                .problems(KNOWN)
                .problems(&[Code::InvalidStateTransition, Code::BasePackageConflict]),
                history_of(get(
                    concat!("/v1/", $path, "/{id}/packages/{assignment_id}/history"),
                    entitlements::package_history,
                ))
                .summary("List an assignment's history: who changed what"),
                get(
                    concat!("/v1/", $path, "/{id}/packages/{assignment_id}/versions/{version}"),
                    entitlements::package_version,
                )
                .viewer()
                .tagged()
                .summary("Read an old version of an assignment")
                .answers::<Assignment>(200)
                .problems(KNOWN)
                .problems(&[Code::VersionPruned]),
            ],
        )
    };
}

/// The packages of workspaces.
pub fn of_workspaces() -> Vec<Endpoint> {
    packages!("workspaces", "workspace")
}

/// The packages of namespaces.
pub fn of_namespaces() -> Vec<Endpoint> {
    packages!("namespaces", "namespace")
}
