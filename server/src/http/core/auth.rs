//! The gate before every handler: rate limit, key, role, force.

use super::{
    address::{count_by_address, over_limit},
    answer::counted,
    caller::{Caller, unaccepted},
    denials::FORCE_DENIED,
    endpoint::{Access, EndpointInfo},
    finish::to_the_end,
    force,
    headers::{is_repeated, refuse_repeated, repeated},
    limit::{Counted, Limiter, Verdict},
    precondition::{self, named_objects},
    problem::HttpProblem,
    reach, refusals,
    render::Reply,
    request::request_id,
};
use crate::{app::App, log::LogContext, reads::in_the_name_of};
use actix_web::{
    Error, HttpMessage, HttpRequest, HttpResponse,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::header::{self, HeaderMap},
    middleware::Next,
    web,
};
use ifmatch_domain::{
    Action, Outcome,
    access::StoredApiKey,
    core::{self, Actor, Fence, Guard, IdempotencyKey, RecordDenied},
};
use ifmatch_types::{AuditResource, Code, Role};

/// Maximum length of `X-On-Behalf-Of`, in characters.
const ON_BEHALF_OF_MAX: usize = 200;
/// Maximum length of the id of what a refused request was about, in characters.
const RESOURCE_ID_MAX: usize = 200;

/// Lets a request through to its handler, or answers it itself.
pub async fn gate<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let info = request.extensions().get::<EndpointInfo>().copied();
    let context = request.extensions().get::<LogContext>().cloned();
    if let Some((info, context)) = info.zip(context) {
        context.set_route(info.path);
    }
    let needed = match info.map(|info| info.access) {
        Some(Access::Probe) => {
            return next.call(request).await.map(ServiceResponse::map_into_boxed_body);
        }
        Some(Access::Open) => return open(request, next).await,
        Some(needed @ Access::AnyOf(_)) => needed,
        None => Access::AnyOf(&[Role::Admin]),
    };
    let app = request.app_data::<web::Data<App>>().cloned();
    let limiter = request.app_data::<web::Data<Limiter>>().cloned();
    let Some((app, limiter)) = app.zip(limiter) else {
        return Ok(refuse(request, &HttpProblem::new(Code::Internal, "the server is not set up")));
    };
    let (key, verdict) = match identify(&app, &limiter, &request).await {
        Ok(identified) => identified,
        Err((problem, verdict)) => return Ok(turn_away(request, &problem, &verdict)),
    };
    let admitted = match admit(&app, key, needed, info, &request).await {
        Ok(caller) => reach::admit(&app, &caller, info, request.request()).await.map(|()| caller),
        Err(problem) => Err(problem),
    };
    let caller = match admitted {
        Ok(caller) => caller,
        Err(problem) => return Ok(refuse(request, &problem)),
    };
    let key_id = caller.key_id.clone();
    request.extensions_mut().insert(caller);
    let answered = in_the_name_of(key_id.clone(), next.call(request)).await?;
    let mut response = counted(answered.map_into_boxed_body(), &app.answers, &key_id);
    let problem = response.response().error().and_then(|error| error.as_error::<HttpProblem>());
    if let Some(problem) = problem {
        refusals::note(problem.code(), response.request().peer_addr().map(|a| a.ip()));
    }
    if problem.is_some_and(HttpProblem::is_premature)
        && let Some(earlier) = earlier_answer(&app, response.request()).await
    {
        response = response.into_response(earlier);
    }
    verdict.write_headers(response.headers_mut());
    Ok(response)
}

/// Lets a request without a key through, unless its address sends too many.
async fn open<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let verdict = count_by_address(request.request());
    if let Some(limited) = over_limit(&verdict) {
        return Ok(turn_away(request, &limited, &verdict));
    }
    let mut response = next.call(request).await?.map_into_boxed_body();
    verdict.write_headers(response.headers_mut());
    Ok(response)
}

/// Finds the key of a request, and counts the request against the rate limit.
async fn identify(
    app: &web::Data<App>,
    limiter: &Limiter,
    request: &ServiceRequest,
) -> Result<(StoredApiKey, Verdict), (HttpProblem, Verdict)> {
    let is_doubled = is_repeated(request.headers(), "authorization");
    let bearer = bearer(request.headers()).filter(|_| !is_doubled);
    let known = bearer.and_then(|text| app.keyring.accept(text));
    let stored = match known {
        Some(stored) => stored,
        None => {
            // Requests without a known key are counted by address, before anything is looked up.
            let verdict = count_by_address(request.request());
            if let Some(limited) = over_limit(&verdict) {
                return Err((limited, verdict));
            }
            if is_doubled {
                return Err((repeated("authorization"), Verdict::Unlimited));
            }
            look_up(app, request).await.map_err(|problem| (problem, Verdict::Unlimited))?
        }
    };
    let verdict = limiter.check(&Counted::Key(stored.key.id.clone()));
    match over_limit(&verdict) {
        Some(limited) => Err((limited, verdict)),
        None => Ok((stored, verdict)),
    }
}

/// Checks whether the holder of a key may do this.
async fn admit(
    app: &web::Data<App>,
    stored: StoredApiKey,
    needed: Access,
    info: Option<EndpointInfo>,
    request: &ServiceRequest,
) -> Result<Caller, HttpProblem> {
    let acting_for = stored.key.acting_for.clone();
    let (on_behalf_of, refused) = match on_behalf_of(request) {
        Ok(Some(other)) if acting_for.as_ref().is_some_and(|own| *own != other) => {
            (acting_for, Some(speaks_for_another()))
        }
        Ok(said) => (acting_for.or(said), None),
        Err(problem) => (acting_for, Some(problem)),
    };
    let role = stored.key.role;
    let line_id = stored.line().clone();
    let key_id = stored.key.id;
    let workspace_id = stored.key.workspace_id;
    let is_admin = role.allows(Role::Admin);
    let actor =
        Actor { key_id: Some(key_id.clone()), name: stored.key.name, workspace_id, is_admin };
    if let Some(context) = request.extensions().get::<LogContext>() {
        context.set_actor(&actor.name);
    }
    let caller = Caller { key_id, line_id, actor, role, on_behalf_of };
    if force::is_wanted(request.request()) && !role.allows(Role::Admin) {
        if app.denials.has_own_record(&caller, &request_id(request.request())) {
            to_the_end(record_denied(app.clone(), &caller, request)).await??;
        }
        return Err(force::forbidden());
    }
    if !needed.allows(role) {
        if denied_type(request.request()).is_some()
            && app.denials.has_own_record(&caller, &request_id(request.request()))
        {
            to_the_end(record_denied(app.clone(), &caller, request)).await??;
        }
        let needed = needed.least_roles();
        let detail = format!("this needs the role {needed}, the key has {}", role.name());
        return Err(HttpProblem::new(Code::Forbidden, detail));
    }
    refuse_repeated(request.headers())?;
    precondition::check_read(request.request(), info)?;
    match refused {
        Some(problem) => Err(problem),
        None => Ok(caller),
    }
}

/// The type of the audit record of a refused request, if its endpoint has one.
fn denied_type(request: &HttpRequest) -> Option<&'static str> {
    request.extensions().get::<EndpointInfo>()?.denial.map(|denial| denial.audit_type)
}

/// What a refused request to such an endpoint is about: the last part of its path that varies.
fn denied_resource(request: &HttpRequest) -> Option<AuditResource> {
    let denial = request.extensions().get::<EndpointInfo>()?.denial?;
    let (_, id) = request.match_info().iter().last()?;
    // A path can be longer than anything that has a name.
    let id = id.chars().take(RESOURCE_ID_MAX).collect();
    Some(AuditResource { resource_type: denial.resource_type.to_owned(), id })
}

/// Puts a force that is refused for its caller's role on record.
fn record_denied(
    app: web::Data<App>,
    caller: &Caller,
    request: &ServiceRequest,
) -> impl Future<Output = Result<(), HttpProblem>> + use<> {
    let reason = force::reason(request.headers());
    let object = named_objects(request.request()).last();
    let resource = object
        .map(|(kind, id)| AuditResource { resource_type: kind.name().to_owned(), id })
        .or_else(|| denied_resource(request.request()));
    let denied = RecordDenied {
        audit_type: denied_type(request.request()).unwrap_or(FORCE_DENIED),
        resource,
        reason: reason.map(|reason| reason.chars().take(force::REASON_MAX).collect()),
        attempts: 1,
    };
    let request_id = request_id(request.request());
    let action = Action::Core(core::Action::RecordDenied(denied));
    let command = caller.command(&request_id, None, Guard::default(), action);
    async move {
        app.lanes.submit(command).await?;
        Ok(())
    }
}

/// The answer that takes precedence over a 404 or 422 (`API.md` 3, order of checks).
///
/// It is the kept answer for the Idempotency-Key, a stale fence, or that the object in the path does
/// not exist.
async fn earlier_answer(app: &App, request: &HttpRequest) -> Option<HttpResponse> {
    let caller = request.extensions().get::<Caller>().cloned()?;
    let idempotency = request.extensions().get::<IdempotencyKey>().cloned();
    let fence = request.extensions().get::<Fence>().cloned();
    let about = named_objects(request).next();
    let is_asked = idempotency.is_some() || fence.is_some() || about.is_some();
    if request.method().is_safe() || !is_asked {
        return None;
    }
    let guard = Guard { claim: None, fence };
    let request_id = request_id(request);
    let command =
        caller.command(&request_id, idempotency, guard, Action::Core(core::Action::Admit(about)));
    match app.lanes.submit(command).await {
        Ok(Outcome::Core(core::Outcome::Admitted)) => None,
        Ok(outcome) => Some(Reply::from(&outcome).into_response()),
        Err(refusal) => Some(HttpProblem::from(refusal).response_for(&request_id)),
    }
}

/// The key that the caller sent.
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let text = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, key) = text.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
}

/// Looks a key up in the database. The refusal does not say why the key is not accepted.
async fn look_up(app: &App, request: &ServiceRequest) -> Result<StoredApiKey, HttpProblem> {
    let stored = match bearer(request.headers()) {
        Some(text) => app.keyring.look_up(text).await?,
        None => None,
    };
    stored.ok_or_else(unaccepted)
}

fn on_behalf_of(request: &ServiceRequest) -> Result<Option<String>, HttpProblem> {
    let Some(value) = request.headers().get("x-on-behalf-of") else { return Ok(None) };
    if is_repeated(request.headers(), "x-on-behalf-of") {
        return Err(repeated("x-on-behalf-of"));
    }
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

/// The refusal of a user whom the key does not speak for.
fn speaks_for_another() -> HttpProblem {
    HttpProblem::new(
        Code::Forbidden,
        "this key always speaks for one user; X-On-Behalf-Of may only repeat that user",
    )
}

/// Answers instead of the handler, with the rate limit's headers.
fn turn_away(
    request: ServiceRequest,
    problem: &HttpProblem,
    verdict: &Verdict,
) -> ServiceResponse<BoxBody> {
    let mut response = refuse(request, problem);
    verdict.write_headers(response.headers_mut());
    response
}

/// Answers instead of the handler. An error value would lose the request and its route.
fn refuse(request: ServiceRequest, problem: &HttpProblem) -> ServiceResponse<BoxBody> {
    refusals::note(problem.code(), request.peer_addr().map(|address| address.ip()));
    let request_id = request_id(request.request());
    let problem = problem.response_for(&request_id);
    request.into_response(problem)
}
