//! The refusals of an endpoint: those listed in its row, and those that follow from the rest of it.

use super::{
    reason,
    shared::{self, is_conditional, is_forcible, names_version},
    with_headers,
};
use crate::http::core::endpoint::{Access, Endpoint, Idempotency};
use actix_web::http::{Method, StatusCode};
use ifmatch_types::{Code, Problem};
use std::collections::{BTreeMap, BTreeSet};
use utoipa::{
    ToSchema,
    openapi::{Ref, RefOr, Response, ResponseBuilder, content::Content},
};

/// One response per status, with the names of its codes.
pub fn refusals(
    endpoint: &Endpoint,
    status_of: fn(Code) -> StatusCode,
) -> Vec<(u16, RefOr<Response>)> {
    let mut by_status: BTreeMap<u16, BTreeSet<&'static str>> = BTreeMap::new();
    for code in codes(endpoint) {
        by_status.entry(status_of(code).as_u16()).or_default().insert(code.name());
        if code == Code::ConflictVersionMismatch {
            // The same conflict has this status if the version was named in `If-Match`.
            by_status.entry(412).or_default().insert(code.name());
        }
    }
    let conflict = Code::ConflictVersionMismatch.name();
    if is_conditional(endpoint) {
        by_status.entry(412).or_default().insert(conflict);
    }
    let response = |(status, codes): (u16, BTreeSet<&'static str>)| {
        let schema = RefOr::Ref(Ref::from_schema_name(Problem::name()));
        let names: Vec<_> = codes.into_iter().map(|code| format!("`{code}`")).collect();
        let response = ResponseBuilder::new()
            .description(format!("{}: {}", reason(status), names.join(", ")))
            .content("application/problem+json", Content::new(Some(schema)));
        (status, with_headers(response, shared::problem_headers(endpoint, status)).into())
    };
    by_status.into_iter().map(response).collect()
}

/// Every code that an endpoint may answer: those in its row, and those that follow from it.
fn codes(endpoint: &Endpoint) -> Vec<Code> {
    let docs = &endpoint.docs;
    let mut codes = docs.problems.clone();
    if endpoint.info.access == Access::Open {
        codes.push(Code::RateLimited);
    }
    if let Access::AnyOf(_) = endpoint.info.access {
        codes.extend([Code::Unauthenticated, Code::RateLimited, Code::TryAgain, Code::Internal]);
        // For an unknown or wrong parameter.
        codes.push(Code::ValidationFailed);
        // For a header that stands twice, and for `If-Match`.
        codes.extend([Code::MalformedRequest, Code::MalformedPrecondition]);
        // No role includes both `viewer` and `usage` but those that may write.
        codes.push(Code::Forbidden);
    }
    if endpoint.method != Method::GET {
        codes.extend([Code::ForceForbidden, Code::StaleFence, Code::RequestTimeout]);
        codes.extend([Code::PayloadTooLarge, Code::UnsupportedMediaType]);
    }
    if names_version(endpoint) {
        codes.extend([
            Code::NotFound,
            Code::Deleted,
            Code::ConflictVersionMismatch,
            Code::PreconditionRequired,
        ]);
    }
    if is_forcible(endpoint) {
        codes.push(Code::ReasonRequired);
    }
    match endpoint.info.idempotency {
        Idempotency::None => {}
        Idempotency::Optional => codes.push(Code::IdempotencyKeyReused),
        Idempotency::Required => {
            codes.extend([Code::IdempotencyKeyReused, Code::IdempotencyKeyRequired]);
        }
    }
    codes
}
