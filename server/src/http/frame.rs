//! What every request and every response has: a name, a log line, a count, headers against misuse.

use super::{endpoint::EndpointInfo, problem::HttpProblem};
use crate::{log::RequestId, metrics};
use actix_web::{
    Error, HttpMessage, HttpRequest, HttpResponse,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::header::{CACHE_CONTROL, HeaderName, HeaderValue},
    middleware::Next,
};
use ifmatch_types::Code;
use std::time::Instant;

/// The route label of requests that no route matched: one, so that a scan cannot fill the metrics.
const UNMATCHED: &str = "unmatched";

/// Wraps the whole application.
pub async fn frame<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let started_at = Instant::now();
    let given = request.headers().get("x-request-id").and_then(|value| value.to_str().ok());
    let request_id = RequestId::from_header(given);
    request.extensions_mut().insert(request_id.clone());
    let method = metrics::method_label(request.method().as_str());
    // The request must not be kept here: the router needs it for itself.
    let response = next.call(request).await?.map_into_boxed_body();
    let mut response = named(response, &request_id);
    let info = response.request().extensions().get::<EndpointInfo>().copied();
    let route = info.map_or(UNMATCHED, |info| info.path);
    let status = response.status().as_u16();
    let duration = started_at.elapsed();
    metrics::request(route, method, status, duration);
    tracing::debug!(
        request_id = request_id.as_str(),
        method,
        route,
        status,
        duration_us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX),
        "answered"
    );
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(request_id.as_str()) {
        headers.insert(HeaderName::from_static("x-request-id"), value);
    }
    headers.insert(
        HeaderName::from_static("x-content-type-options"),
        HeaderValue::from_static("nosniff"),
    );
    if !headers.contains_key(CACHE_CONTROL) {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    Ok(response)
}

/// A handler's refusal, with the request's name in its body.
fn named(response: ServiceResponse<BoxBody>, request_id: &RequestId) -> ServiceResponse<BoxBody> {
    let problem = response.response().error().and_then(|error| error.as_error::<HttpProblem>());
    let Some(problem) = problem else { return response };
    if let Some((conflict_id, resource)) = problem.conflict_id() {
        // A caller may name either; support finds the other one here. Conflicts are everyday, and
        // logged where requests are.
        tracing::debug!(request_id = request_id.as_str(), conflict_id, %resource, "a version conflict");
    }
    let mut answer = problem.response_for(request_id);
    for (name, value) in response.headers() {
        if !answer.headers().contains_key(name) {
            answer.headers_mut().insert(name.clone(), value.clone());
        }
    }
    response.into_response(answer)
}

/// Answers where no route matches.
pub async fn no_such_path(request: HttpRequest) -> Result<HttpResponse, HttpProblem> {
    Err(HttpProblem::not_found(format!("there is nothing at {}", request.path())))
}

/// Answers a method that a path does not have.
pub fn wrong_method(request: HttpRequest, allow: String) -> HttpResponse {
    let detail = format!("{} is not possible here; {allow} is", request.method());
    let request_id = super::request::request_id(&request);
    HttpProblem::new(Code::MethodNotAllowed, detail).response_for(&request_id)
}
