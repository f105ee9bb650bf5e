//! Who is calling, and whether they may.

use super::{
    endpoint::{Access, EndpointInfo},
    limit, objects,
    problem::HttpProblem,
    render::render,
    request::Caller,
};
use crate::{app::App, metrics};
use actix_web::{
    Error, HttpMessage, HttpRequest, HttpResponse,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::header,
    middleware::Next,
    web,
};
use ifmatch_domain::{Action, Actor, IdempotencyKey, Outcome, RecordDenied, StoredApiKey};
use ifmatch_types::{Code, Kind, Role};
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
    let caller = match bearer(&request).and_then(|text| app.keyring.accept(text)) {
        Some(stored) => stored,
        None => {
            // Who has no known key is counted by address, before anything is looked up for it.
            let address = request.peer_addr().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |a| a.ip());
            let verdict = app.limiter.check(&limit::Caller::at(address));
            if let Some(limited) = over_limit(&verdict) {
                return Ok(limited_response(request, &limited, &verdict));
            }
            match look_up(&app, &request).await {
                Ok(stored) => stored,
                Err(problem) => return Ok(refuse(request, &problem)),
            }
        }
    };
    let verdict = app.limiter.check(&limit::Caller::Key(caller.key.id.clone()));
    if let Some(limited) = over_limit(&verdict) {
        return Ok(limited_response(request, &limited, &verdict));
    }
    let on_behalf_of = on_behalf_of(&request);
    let role = caller.key.role;
    let actor = Actor { key_id: caller.key.id, name: caller.key.name };
    let caller =
        Caller { actor, role, on_behalf_of: on_behalf_of.as_ref().ok().cloned().flatten() };
    if wants_force(&request) && !role.allows(Role::Admin) {
        let problem = match record_denied(&app, &caller, &request).await {
            Ok(()) => objects::force_forbidden(),
            Err(problem) => problem,
        };
        return Ok(refuse(request, &problem));
    }
    if !role.allows(needed) {
        let detail = format!("this needs the role {}, the key has {}", needed.name(), role.name());
        return Ok(refuse(request, &HttpProblem::new(Code::Forbidden, detail)));
    }
    if let Err(problem) = on_behalf_of {
        return Ok(refuse(request, &problem));
    }
    request.extensions_mut().insert(caller);
    let mut response = next.call(request).await?.map_into_boxed_body();
    let problem = response.response().error().and_then(|error| error.as_error::<HttpProblem>());
    if problem.is_some_and(HttpProblem::is_premature)
        && let Some(earlier) = told_earlier(&app, response.request()).await
    {
        response = response.into_response(earlier);
    }
    verdict.write_headers(response.headers_mut());
    Ok(response)
}

/// Whether a request asks for force, on a path that has it or not: nobody but an admin may even ask.
fn wants_force(request: &ServiceRequest) -> bool {
    !request.method().is_safe()
        && web::Query::<Vec<(String, String)>>::from_query(request.query_string())
            .is_ok_and(|pairs| pairs.iter().any(|(name, value)| name == "force" && value == "true"))
}

/// Puts a force that is refused for its caller's role on record.
async fn record_denied(
    app: &App,
    caller: &Caller,
    request: &ServiceRequest,
) -> Result<(), HttpProblem> {
    let reason = objects::force_reason(request.headers());
    let denied = RecordDenied {
        object: named_objects(request.request()).last(),
        reason: reason.map(|reason| reason.chars().take(objects::REASON_MAX).collect()),
    };
    let request_id = super::request::request_id(request.request());
    let command = caller.command(&request_id, None, Action::RecordDenied(denied));
    app.lanes.submit(command).await?;
    Ok(())
}

/// The objects that a path names, outermost first.
fn named_objects(request: &HttpRequest) -> impl Iterator<Item = (Kind, String)> {
    let ids = request.match_info().iter().map(|(_, id)| id.to_owned());
    ids.filter_map(|id| Some((Kind::of_id(&id)?, id)))
}

/// What a request that is wrong must be told before that: the answer to the first request with its
/// Idempotency-Key, or that what it is about is not there (`API.md` 3, order of checks).
async fn told_earlier(app: &App, request: &HttpRequest) -> Option<HttpResponse> {
    let caller = request.extensions().get::<Caller>().cloned()?;
    let idempotency = request.extensions().get::<IdempotencyKey>().cloned();
    let about = named_objects(request).next();
    if request.method().is_safe() || (idempotency.is_none() && about.is_none()) {
        return None;
    }
    let request_id = super::request::request_id(request);
    let command = caller.command(&request_id, idempotency, Action::Admit(about));
    match app.lanes.submit(command).await {
        Ok(Outcome::Admitted) => None,
        Ok(outcome) => Some(render(&outcome).into_response()),
        Err(refusal) => Some(HttpProblem::from(refusal).response_for(&request_id)),
    }
}

/// What the caller sent as its key.
fn bearer(request: &ServiceRequest) -> Option<&str> {
    let text = request.headers().get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, key) = text.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
}

/// One answer for all causes: which of them it was is nobody's business but the key's owner's.
async fn look_up(app: &App, request: &ServiceRequest) -> Result<StoredApiKey, HttpProblem> {
    let stored = match bearer(request) {
        Some(text) => app.keyring.look_up(text).await?,
        None => None,
    };
    stored.ok_or_else(unaccepted)
}

/// The refusal of a request without a key that is accepted.
pub fn unaccepted() -> HttpProblem {
    HttpProblem::new(Code::Unauthenticated, "send an accepted key: Authorization: Bearer KEY")
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
