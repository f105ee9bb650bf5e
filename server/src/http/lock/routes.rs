//! The routes of named locks.

use super::locks;
use crate::http::core::endpoint::{Endpoint, get, group, post, schema};
use ifmatch_types::{
    Code, Lock, LockExtension, LockForceRelease, LockGrant, LockOwner, LockRenewal, NewLock,
};

/// The codes of commands by the owner of a grant.
const OWNED: &[Code] = &[
    Code::LockNotFound,
    Code::LockOwnershipMismatch,
    Code::LockLost,
    Code::NotFound,
    Code::WrongIdType,
];

/// Adds the parameter that names the space of a lock. Writes may name it in their body instead.
fn in_space(endpoint: Endpoint) -> Endpoint {
    let workspace = "workspace_id";
    endpoint.query(workspace, "The workspace in whose space it is", schema::value_of(workspace))
}

/// Every route of locks.
pub fn routes() -> Vec<Endpoint> {
    group(
        "Locks",
        [
            get("/v1/locks", locks::list)
                .viewer()
                .scoped()
                .paged()
                .query(
                    "workspace_id",
                    "Only in the space of this workspace",
                    schema::value_of("workspace_id"),
                )
                .query("scope", "Only of this scope", schema::one_of(&["global", "function"]))
                .query("function", "Only of this function", schema::some_text())
                .query("locked", "Only those that somebody holds, or nobody", schema::boolean())
                .summary("List locks")
                .answers_page::<Lock>(200)
                .problems(&[Code::NotFound, Code::WrongIdType]),
            in_space(get("/v1/locks/{key}", locks::get))
                .viewer()
                .scoped()
                .operation_id("get_lock")
                .query(
                    "scope",
                    "The scope; global by default",
                    schema::one_of(&["global", "function"]),
                )
                .query("function", "The function, with the scope function", schema::some_text())
                .summary("Read who holds a lock")
                .answers::<Lock>(200)
                .problems(&[Code::NotFound, Code::WrongIdType]),
            in_space(post("/v1/locks/{key}/acquire", locks::acquire))
                .agent()
                .scoped()
                .idempotent()
                .operation_id("acquire_lock")
                .summary("Acquire a lock")
                .body::<NewLock>()
                .answers::<LockGrant>(201)
                .problems(&[
                    Code::LockAcquisitionFailed,
                    Code::LockTimeout,
                    Code::LockLost,
                    Code::NotFound,
                    Code::Deleted,
                    Code::WrongIdType,
                ]),
            in_space(post("/v1/locks/{key}/release", locks::release))
                .agent()
                .scoped()
                .idempotent()
                .operation_id("release_lock")
                .summary("Release a lock")
                .body::<LockOwner>()
                .answers::<Lock>(200)
                .problems(OWNED),
            in_space(post("/v1/locks/{key}/renew", locks::renew))
                .agent()
                .scoped()
                .idempotent()
                .operation_id("renew_lock")
                .summary("Renew a grant: it lasts as long as it was asked for, from now on")
                .body::<LockOwner>()
                .answers::<LockRenewal>(200)
                .problems(OWNED),
            in_space(post("/v1/locks/{key}/extend", locks::extend))
                .agent()
                .scoped()
                .idempotent()
                .operation_id("extend_lock")
                .summary("Let a grant expire later")
                .body::<LockExtension>()
                .answers::<LockRenewal>(200)
                .problems(OWNED)
                .problems(&[Code::LockTtlExceedsMaximum]),
            in_space(post("/v1/locks/{key}/force-release", locks::force_release))
                .admin()
                .denials_recorded("force_release_denied", "lock")
                .idempotent()
                .operation_id("force_release_lock")
                .summary("Take a lock away from its holder")
                .body::<LockForceRelease>()
                .answers::<Lock>(200)
                .problems(&[Code::LockNotFound, Code::NotFound, Code::WrongIdType]),
        ],
    )
}
