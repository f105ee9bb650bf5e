//! Parameters and headers that many endpoints share, each written once.

use crate::http::core::endpoint::{Access, Endpoint, Idempotency, Success, schema};
use actix_web::http::Method;
use utoipa::openapi::{
    Header, HeaderBuilder, RefOr, Required, Schema,
    path::{Parameter, ParameterBuilder, ParameterIn},
};

/// A parameter and its name among the components.
pub struct SharedParameter {
    pub name: &'static str,
    pub parameter: Parameter,
}

/// All shared parameters.
pub fn parameters() -> Vec<SharedParameter> {
    use ParameterIn::{Header, Query};
    let shared = |name, place, wire_name: &str, description: &str, schema: RefOr<Schema>| {
        let parameter = ParameterBuilder::new()
            .name(wire_name)
            .parameter_in(place)
            .required(Required::False)
            .description(Some(description))
            .schema(Some(schema))
            .build();
        SharedParameter { name, parameter }
    };
    let text = schema::text;
    let key = "Makes repeats of this request have one effect: they get the first one's answer.";
    let mut all = vec![
        shared(
            "Limit",
            Query,
            "limit",
            "So many items at most; default 50.",
            schema::integer(1, 200),
        ),
        shared("Cursor", Query, "cursor", "The `next_cursor` of the page before.", text()),
        shared(
            "IfNoneMatch",
            Header,
            "If-None-Match",
            "Answer 304 if the object is at this version: `\"7\"`.",
            text(),
        ),
        shared(
            "IfMatch",
            Header,
            "If-Match",
            "The version this was computed from, quoted: `\"7\"`. Needed unless the body or the query names it.",
            text(),
        ),
        shared(
            "Version",
            Query,
            "version",
            "The version this was computed from, unless `If-Match` says it.",
            schema::at_least(1),
        ),
        shared(
            "Force",
            Query,
            "force",
            "`true` skips the version check, for admins; needs `X-Force-Reason`.",
            schema::one_of(&["true"]),
        ),
        shared(
            "ForceReason",
            Header,
            "X-Force-Reason",
            "Why a write is forced, 1–500 characters; goes to the audit log.",
            text(),
        ),
        shared(
            "DryRun",
            Query,
            "dry_run",
            "With `force=true`: answer what would be overwritten and write nothing.",
            schema::one_of(&["true"]),
        ),
        shared(
            "OnConflict",
            Query,
            "on_conflict",
            "`merge`: if the version is stale and no change since touches the same fields, apply this one on top.",
            schema::one_of(&["merge"]),
        ),
        shared("IdempotencyKey", Header, "Idempotency-Key", key, text()),
        shared(
            "OnBehalfOf",
            Header,
            "X-On-Behalf-Of",
            "Whom the caller acts for, ≤ 200 characters; recorded beside the key's name.",
            text(),
        ),
    ];
    let mut required = shared("RequiredIdempotencyKey", Header, "Idempotency-Key", key, text());
    required.parameter.required = Required::True;
    all.push(required);
    all
}

/// Which shared parameters an endpoint takes.
pub fn parameters_of(endpoint: &Endpoint) -> Vec<&'static str> {
    let docs = &endpoint.docs;
    let method = &endpoint.method;
    let mut names = Vec::new();
    if docs.paged {
        names.extend(["Limit", "Cursor"]);
    }
    if docs.versioned && *method == Method::GET {
        names.push("IfNoneMatch");
    }
    if names_version(endpoint) {
        names.push("IfMatch");
        if *method == Method::DELETE {
            names.push("Version");
        }
        if *method == Method::PATCH {
            names.push("OnConflict");
        }
        names.extend(["Force", "ForceReason", "DryRun"]);
    }
    match endpoint.info.idempotency {
        Idempotency::None => {}
        Idempotency::Optional => names.push("IdempotencyKey"),
        Idempotency::Required => names.push("RequiredIdempotencyKey"),
    }
    if *method != Method::GET {
        names.push("OnBehalfOf");
    }
    names
}

/// Whether requests must name the version they were computed from.
pub fn names_version(endpoint: &Endpoint) -> bool {
    let methods = [Method::PATCH, Method::PUT, Method::DELETE];
    endpoint.docs.versioned && methods.contains(&endpoint.method)
}

/// All response headers: name on the wire and what it says.
pub const HEADERS: [(&str, &str); 12] = [
    (
        "X-Request-Id",
        "The request, as the log knows it; the caller's own id if it sent a sane one.",
    ),
    ("ETag", "The version, quoted: `\"7\"`."),
    ("Location", "Where the new object is, if it has a place of its own."),
    ("X-Changed", "`false`: everything asked for was already so, and nothing was written."),
    (
        "X-Merged-From",
        "The stale version that was named; the write was merged on top of the current one.",
    ),
    ("X-Forced", "`true`: the version check was skipped."),
    ("X-Overwrote", "Paths somebody else had changed and this repeat of a refused write replaced."),
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
];

/// A response header as the document describes it.
pub fn header(description: &str) -> Header {
    HeaderBuilder::new().schema(Some(schema::text())).description(Some(description)).build()
}

/// Which headers an endpoint's good answers have.
pub fn headers_of(endpoint: &Endpoint, status: u16) -> Vec<&'static str> {
    let mut names = common_headers(endpoint);
    // Who asks again for what is there is told where.
    let makes = |success: &Success| success.status == 201 || success.status == 202;
    if status < 300 && endpoint.docs.successes.iter().any(makes) {
        names.push("Location");
    }
    if endpoint.docs.tagged {
        names.push("ETag");
    }
    if names_version(endpoint) {
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

/// Which headers a refusal with this status has.
pub fn problem_headers(endpoint: &Endpoint, status: u16) -> Vec<&'static str> {
    let mut names = common_headers(endpoint);
    if status == 429 || status == 503 {
        names.push("Retry-After");
    }
    names
}

/// Which headers all answers of an endpoint have. Requests with a key are counted.
pub fn common_headers(endpoint: &Endpoint) -> Vec<&'static str> {
    match endpoint.info.access {
        Access::Open => vec!["X-Request-Id"],
        Access::Role(_) => vec!["X-Request-Id", "RateLimit", "RateLimit-Policy"],
    }
}
