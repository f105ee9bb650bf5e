//! Who is calling, and whether they may.

use super::{
    endpoint::{Access, EndpointInfo},
    limit,
    problem::HttpProblem,
    request::Caller,
};
use crate::{app::App, metrics};
use actix_web::{
    Error, HttpMessage,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::header,
    middleware::Next,
    web,
};
use ifmatch_domain::Actor;
use ifmatch_types::{Code, Role};
use std::net::{IpAddr, Ipv4Addr};

/// So long may the name of whom a caller acts for be.
const ON_BEHALF_OF_MAX: usize = 200;

/// Lets a request through to its handler, or not: rate limit, key, role.
pub async fn gate<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let access = request.extensions().get::<EndpointInfo>().map(|info| info.access);
    let needed = match access {
        Some(Access::Open) => {
            return next.call(request).await.map(ServiceResponse::map_into_boxed_body);
        }
        Some(Access::Role(role)) => role,
        None => Role::Admin,
    };
    let app = request.app_data::<web::Data<App>>().cloned();
    let Some(app) = app else {
        return Ok(refuse(request, &HttpProblem::new(Code::Internal, "the server is not set up")));
    };
    let caller = match authenticate(&app, &request).await {
        Ok(caller) => caller,
        Err(problem) => {
            let address = request.peer_addr().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |a| a.ip());
            let verdict = app.limiter.check(&limit::Caller::at(address));
            return Ok(match over_limit(&verdict) {
                Some(limited) => limited_response(request, &limited, &verdict),
                None => refuse(request, &problem),
            });
        }
    };
    let verdict = app.limiter.check(&limit::Caller::Key(caller.actor.key_id.clone()));
    if let Some(limited) = over_limit(&verdict) {
        return Ok(limited_response(request, &limited, &verdict));
    }
    if !caller.role.allows(needed) {
        let detail =
            format!("this needs the role {}, the key has {}", needed.name(), caller.role.name());
        return Ok(refuse(request, &HttpProblem::new(Code::Forbidden, detail)));
    }
    request.extensions_mut().insert(caller);
    let mut response = next.call(request).await?.map_into_boxed_body();
    verdict.write_headers(response.headers_mut());
    Ok(response)
}

async fn authenticate(app: &App, request: &ServiceRequest) -> Result<Caller, HttpProblem> {
    // One answer for all causes: which of them it was is nobody's business but the key's owner's.
    let unauthenticated = || {
        HttpProblem::new(Code::Unauthenticated, "send an accepted key: Authorization: Bearer KEY")
    };
    let authorization = request.headers().get(header::AUTHORIZATION);
    let text = authorization.and_then(|value| value.to_str().ok()).ok_or_else(unauthenticated)?;
    let (scheme, key) = text.split_once(' ').ok_or_else(unauthenticated)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(unauthenticated());
    }
    let stored = app.keyring.accept(key.trim()).await?.ok_or_else(unauthenticated)?;
    Ok(Caller {
        actor: Actor { key_id: stored.key.id, name: stored.key.name },
        role: stored.key.role,
        on_behalf_of: on_behalf_of(request)?,
    })
}

fn on_behalf_of(request: &ServiceRequest) -> Result<Option<String>, HttpProblem> {
    let Some(value) = request.headers().get("x-on-behalf-of") else { return Ok(None) };
    let text = std::str::from_utf8(value.as_bytes()).unwrap_or_default().trim();
    let length = text.chars().count();
    if length == 0 || length > ON_BEHALF_OF_MAX || text.chars().any(char::is_control) {
        return Err(HttpProblem::new(
            Code::MalformedRequest,
            format!("X-On-Behalf-Of must have 1 to {ON_BEHALF_OF_MAX} visible characters"),
        ));
    }
    Ok(Some(text.to_owned()))
}

fn over_limit(verdict: &limit::Verdict) -> Option<HttpProblem> {
    verdict.is_refused().then(|| {
        metrics::rate_limited();
        HttpProblem::new(Code::RateLimited, "too many requests; wait before sending again")
            .after_ms(verdict.retry_after_ms())
    })
}

fn limited_response(
    request: ServiceRequest,
    problem: &HttpProblem,
    verdict: &limit::Verdict,
) -> ServiceResponse<BoxBody> {
    let mut response = refuse(request, problem);
    verdict.write_headers(response.headers_mut());
    response
}

/// Answers instead of the handler. An error value would lose what the request was routed to.
fn refuse(request: ServiceRequest, problem: &HttpProblem) -> ServiceResponse<BoxBody> {
    let request_id = super::request::request_id(request.request());
    let problem = problem.response_for(&request_id);
    request.into_response(problem)
}
