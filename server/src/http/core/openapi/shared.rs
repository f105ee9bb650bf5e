//! Parameters and headers that many endpoints share, each defined once.

use crate::http::core::{
    endpoint::{Access, Endpoint, Idempotency, Success, schema},
    precondition::is_about_an_object,
};
use actix_web::http::Method;
use ifmatch_types::Code;
use utoipa::openapi::{
    HeaderBuilder, RefOr, Required, Schema,
    path::{
        Parameter, ParameterBuilder,
        ParameterIn::{self, Header, Query},
    },
};

/// What `X-Lock` looks like.
const LOCK_PATTERN: &str = "^(global/|function/[A-Za-z0-9_.:-]{1,200})/[A-Za-z0-9_.:-]{1,200}$";

/// A parameter and its name among the components.
pub struct SharedParameter {
    pub name: &'static str,
    pub parameter: Parameter,
}

/// All shared parameters.
pub fn parameters() -> Vec<SharedParameter> {
    [of_lists(), of_versions(), of_force(), of_writes()].into_iter().flatten().collect()
}

fn shared(
    name: &'static str,
    parameter_in: ParameterIn,
    wire_name: &str,
    description: &str,
    schema: RefOr<Schema>,
) -> SharedParameter {
    let parameter = ParameterBuilder::new()
        .name(wire_name)
        .parameter_in(parameter_in)
        .required(Required::False)
        .description(Some(description))
        .schema(Some(schema))
        .build();
    SharedParameter { name, parameter }
}

fn of_lists() -> Vec<SharedParameter> {
    let limit = "Maximum number of items; default 50.";
    let cursor = "The `next_cursor` of the page before.";
    vec![
        shared("Limit", Query, "limit", limit, schema::integer(1, 200)),
        shared("Cursor", Query, "cursor", cursor, schema::some_text()),
    ]
}

fn of_versions() -> Vec<SharedParameter> {
    let tags = || schema::matching(r#"^(\*|(W/)?"[^"]*"( *, *(W/)?"[^"]*")*)$"#);
    let if_none_match = "Answer 304 if the object is at this version: `\"7\"`.";
    let matches = "Refuse with 412 unless the object in the path is at this version: `\"7\"`.";
    let excludes = "Refuse with 412 if the object in the path is at this version: `\"7\"`; `*` for \
        any.";
    let if_match = "The version this was computed from, quoted: `\"7\"`. Needed unless the body or \
        the query names it.";
    let version = "The version this was computed from, unless `If-Match` names it.";
    let prefer = "`wait=<seconds>`, at most 45: rather than be refused at once because the version \
        is stale, be refused when this caller's turn has come, with the object as it is then. With \
        the parameter `turn` nobody who names turns comes between: `wait=5; turn` at first, then \
        `wait=5; turn=<conflict_id>` with that of the refusal.";
    let on_conflict = "`merge`: if the version is stale and no change since touches the same \
        fields, apply this one on top.";
    vec![
        shared("IfNoneMatch", Header, "If-None-Match", if_none_match, tags()),
        shared("ObjectMatches", Header, "If-Match", matches, tags()),
        shared("ObjectExcluded", Header, "If-None-Match", excludes, tags()),
        shared("IfMatch", Header, "If-Match", if_match, tags()),
        shared("Version", Query, "version", version, schema::at_least(1)),
        shared("Prefer", Header, "Prefer", prefer, schema::some_text()),
        shared("OnConflict", Query, "on_conflict", on_conflict, schema::one_of(&["merge"])),
    ]
}

fn of_force() -> Vec<SharedParameter> {
    let force = "`true` skips the version check, for admins; a write needs `X-Force-Reason`.";
    let reason = "Why a write is forced, 1–500 characters; goes to the audit log.";
    vec![
        shared("Force", Query, "force", force, schema::one_of(&["true"])),
        shared("ForceReason", Header, "X-Force-Reason", reason, schema::characters(1, 500)),
    ]
}

fn of_writes() -> Vec<SharedParameter> {
    let key = "Makes repeats of this request take effect only once; they get the first answer.";
    let on_behalf_of = "The person or system the caller acts for, ≤ 200 characters; recorded \
        beside the key's name.";
    let lock = "A lock that the caller holds, as `<scope>/<function>/<key>`: the write is refused with \
        409 `STALE_FENCE` unless `X-Lock-Fence` is the fence of its current grant. The function is \
        empty for a global lock.";
    let fence = "The fence of the grant that `X-Lock` names.";
    let space =
        "The workspace whose lock `X-Lock` names, for callers without a workspace of their own.";
    let visible = || schema::matching("^[!-~]{1,255}$");
    let mut required = shared("RequiredIdempotencyKey", Header, "Idempotency-Key", key, visible());
    required.parameter.required = Required::True;
    let workspace = schema::value_of("workspace_id");
    vec![
        shared("IdempotencyKey", Header, "Idempotency-Key", key, visible()),
        shared("OnBehalfOf", Header, "X-On-Behalf-Of", on_behalf_of, schema::characters(1, 200)),
        shared("Lock", Header, "X-Lock", lock, schema::matching(LOCK_PATTERN)),
        shared("LockFence", Header, "X-Lock-Fence", fence, schema::at_least(1)),
        shared("LockWorkspace", Header, "X-Lock-Workspace", space, workspace),
        required,
    ]
}

/// The shared parameters that an endpoint takes.
pub fn parameters_of(endpoint: &Endpoint) -> Vec<&'static str> {
    let docs = &endpoint.docs;
    let method = &endpoint.method;
    let mut names = Vec::new();
    if docs.paged {
        names.extend(["Limit", "Cursor"]);
    }
    if docs.tagged && *method == Method::GET {
        names.push("IfNoneMatch");
    }
    if is_conditional(endpoint) {
        if !names_version(endpoint) && !docs.previews {
            names.push("ObjectMatches");
        }
        if *method != Method::GET {
            names.push("ObjectExcluded");
        }
    }
    if names_version(endpoint) {
        names.push("IfMatch");
        if *method == Method::DELETE {
            names.push("Version");
        }
        if *method == Method::PATCH {
            names.push("OnConflict");
        }
    }
    if is_forcible(endpoint) {
        names.extend(["Force", "ForceReason"]);
    }
    if may_conflict(endpoint) {
        names.push("Prefer");
    }
    if docs.previews {
        names.extend(["IfMatch", "OnConflict", "Force"]);
    }
    match endpoint.info.idempotency {
        Idempotency::None => {}
        Idempotency::Optional => names.push("IdempotencyKey"),
        Idempotency::Required => names.push("RequiredIdempotencyKey"),
    }
    if *method != Method::GET {
        names.extend(["OnBehalfOf", "Lock", "LockFence", "LockWorkspace"]);
    }
    names
}

/// Whether requests must name the version they were computed from.
pub fn names_version(endpoint: &Endpoint) -> bool {
    endpoint.info.names_version
}

/// Whether an admin may skip the version check.
pub fn is_forcible(endpoint: &Endpoint) -> bool {
    names_version(endpoint) && endpoint.method != Method::POST
}

/// Whether requests may claim something about the version of the object in the path.
pub fn is_conditional(endpoint: &Endpoint) -> bool {
    let is_about_one = match endpoint.method {
        Method::GET => endpoint.docs.versioned,
        _ => is_about_an_object(endpoint.info.path),
    };
    is_about_one && endpoint.info.access != Access::Open
}

/// Whether a write may be refused because a version that it names is stale.
fn may_conflict(endpoint: &Endpoint) -> bool {
    let claims = is_conditional(endpoint) && endpoint.method != Method::GET;
    let operations = endpoint.docs.problems.contains(&Code::ConflictVersionMismatch);
    names_version(endpoint) || claims || operations
}

/// All response headers: the name on the wire and the description.
pub const HEADERS: [(&str, &str); 14] = [
    (
        "X-Request-Id",
        "The id of the request in the log; the caller's own id if it sent a valid one.",
    ),
    ("ETag", "The version, quoted: `\"7\"`."),
    (
        "Location",
        "Where the new object is, if it has a place: a path, or an address if the operator set one.",
    ),
    ("Preference-Applied", "`wait`: this request waited for its turn (RFC 7240)."),
    ("X-Changed", "`false`: the object already was as requested, and nothing was written."),
    (
        "X-Merged-From",
        "The stale version that was named; the write was merged on top of the current one.",
    ),
    ("X-Forced", "`true`: the version check was skipped."),
    (
        "X-Overwrote",
        "Paths another caller had changed that this repeat of a refused write replaced.",
    ),
    (
        "Idempotency-Replayed",
        "`true`: this is the stored answer to an earlier request with the same key.",
    ),
    ("Retry-After", "Seconds to wait before sending the same request again."),
    (
        "RateLimit",
        "What is left of the rate limit, if there is one: `\"default\";r=<requests>;t=<seconds until full>`.",
    ),
    (
        "RateLimit-Policy",
        "The rate limit, if there is one: `\"default\";q=<requests>;w=<seconds>`.",
    ),
    ("Allow", "The methods this path has."),
    ("Accept-Encoding", "The encoding that bodies must have, if that was wrong."),
];

/// A response header for the OpenAPI document.
pub fn header(description: &str) -> utoipa::openapi::Header {
    HeaderBuilder::new().schema(Some(schema::text())).description(Some(description)).build()
}

/// The headers of an endpoint's good answers.
pub fn headers_of(endpoint: &Endpoint, status: u16) -> Vec<&'static str> {
    let mut names = common_headers(endpoint);
    // A repeated create also says where the object is.
    let makes = |success: &Success| success.status == 201 || success.status == 202;
    if status < 300 && endpoint.docs.successes.iter().any(makes) {
        names.push("Location");
    }
    if endpoint.docs.tagged {
        names.push("ETag");
    }
    if is_forcible(endpoint) {
        if endpoint.method != Method::DELETE {
            names.extend(["X-Changed", "X-Overwrote"]);
        }
        if endpoint.method == Method::PATCH {
            names.push("X-Merged-From");
        }
        names.push("X-Forced");
    }
    if endpoint.info.idempotency != Idempotency::None {
        names.push("Idempotency-Replayed");
    }
    names
}

/// The headers of a refusal with this status.
pub fn problem_headers(endpoint: &Endpoint, status: u16) -> Vec<&'static str> {
    let mut names = common_headers(endpoint);
    if matches!(status, 429 | 500 | 503) {
        names.push("Retry-After");
    }
    if status == 415 {
        names.push("Accept-Encoding");
    }
    if matches!(status, 409 | 412) && may_conflict(endpoint) {
        names.push("Preference-Applied");
    }
    names
}

/// The headers of all answers of an endpoint. Requests with a key are counted by the rate limit.
pub fn common_headers(endpoint: &Endpoint) -> Vec<&'static str> {
    match endpoint.info.access {
        Access::Probe => vec!["X-Request-Id"],
        Access::Open | Access::AnyOf(_) => vec!["X-Request-Id", "RateLimit", "RateLimit-Policy"],
    }
}
