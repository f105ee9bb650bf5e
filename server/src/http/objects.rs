//! The versioned collections: create, read, list, change, delete, the same way for every kind.

use super::{
    bookings::read_confirm,
    precondition,
    problem::{HttpProblem, wrong_id_type},
    query::{Params, cursor, page},
    refused::Attempt,
    render::{etag, render},
    request::{Caller, Mutation},
};
use crate::{app::App, metrics};
use actix_web::{
    HttpRequest, HttpResponse,
    http::{
        Method,
        header::{self, HeaderMap},
    },
    web,
};
use ifmatch_domain::{
    Action, Change, CreateObject, DeleteObject, Force, How, Mode, Outcome, Rejection, ScopeRef,
    UpdateObject,
};
use ifmatch_store::{Field, Found, ListQuery, SortKey, filters, sorts};
use ifmatch_types::{
    Code, Kind, Role, Version,
    id::{is_some_id, is_well_formed},
    pointer,
};
use serde_json::{Map, Value};
use std::cell::LazyCell;

/// The way to answer.
pub type Answer = Result<HttpResponse, HttpProblem>;

/// The filter that a path sets and not its query: whose list it is.
pub const SCOPE: &str = "scope";
/// So long may a reason for force be.
pub const REASON_MAX: usize = 500;

/// `POST /v1/{collection}`
pub async fn create(
    kind: Kind,
    app: web::Data<App>,
    request: HttpRequest,
    mutation: Mutation,
) -> Answer {
    Params::of(&request)?.end()?;
    let mut body = mutation.body.object()?;
    read_confirm(kind, &mut body)?;
    let outcome = mutation.submit(&app, Action::Create(CreateObject { kind, body })).await?;
    Ok(render(&outcome).into_response())
}

/// `GET /v1/{collection}/{id}`
pub async fn get(
    kind: Kind,
    app: web::Data<App>,
    request: HttpRequest,
    id: web::Path<String>,
) -> Answer {
    check_id(kind, &id)?;
    match app.reads.find(kind, &id).await? {
        None => Err(Rejection::not_found(kind, &id).into()),
        Some(Found::Deleted(deleted)) => Err(Rejection::Deleted(kind, deleted).into()),
        Some(Found::Living { version, .. }) if precondition::is_none_match(&request, version) => {
            Ok(HttpResponse::NotModified().insert_header((header::ETAG, etag(version))).finish())
        }
        Some(Found::Living { version, body }) => Ok(HttpResponse::Ok()
            .content_type(header::ContentType::json())
            .insert_header((header::ETAG, etag(version)))
            .body(body)),
    }
}

/// `GET /v1/{collection}`
///
/// With a scope: only what that scope has.
pub async fn list(
    kind: Kind,
    scope: Option<&ScopeRef>,
    app: web::Data<App>,
    request: HttpRequest,
) -> Answer {
    let mut params = Params::of(&request)?;
    let limit = params.limit()?;
    let sort = read_sort(kind, params.text("sort").as_deref())?;
    let after: Option<(String, String, String)> = params.cursor()?;
    // One more than asked for tells whether there is a next page.
    let mut query = ListQuery::new(kind, sort, limit.saturating_add(1));
    for field in filters(kind) {
        let of_scope = scope.filter(|_| field.0 == SCOPE).map(ScopeRef::to_string);
        if let Some(value) = of_scope.or_else(|| params.text(field.0)) {
            check_reference(field.0, &value)?;
            query.filter(*field, &value).map_err(|expected| {
                HttpProblem::invalid(format!("?{}", field.0), format!("must be {expected}"))
            })?;
        }
    }
    params.end()?;
    if let Some((sorted_by, value, id)) = after {
        let same_list = sorted_by == sort_name(sort) && query.after(&value, id).is_some();
        if !same_list {
            return Err(HttpProblem::invalid("?cursor", "must be a next_cursor of this same list"));
        }
    }
    let items = app.reads.run(move |db| db.list(&query)).await?;
    Ok(page(items, limit, |last| {
        let text = |name: &str| match last.get(name) {
            Some(Value::String(text)) => text.clone(),
            Some(value) => value.to_string(),
            None => String::new(),
        };
        cursor(&(sort_name(sort), text(sort.field.0), text("id")))
    }))
}

/// `PATCH /v1/{collection}/{id}`
pub async fn patch(
    kind: Kind,
    app: web::Data<App>,
    request: HttpRequest,
    id: web::Path<String>,
    mutation: Mutation,
) -> Answer {
    change(kind, &app, &request, &id, &mutation, Change::Patch).await
}

/// `PUT /v1/{collection}/{id}`
pub async fn put(
    kind: Kind,
    app: web::Data<App>,
    request: HttpRequest,
    id: web::Path<String>,
    mutation: Mutation,
) -> Answer {
    change(kind, &app, &request, &id, &mutation, Change::Replace).await
}

async fn change(
    kind: Kind,
    app: &App,
    request: &HttpRequest,
    id: &str,
    mutation: &Mutation,
    change: fn(Map<String, Value>) -> Change,
) -> Answer {
    // What is malformed comes before what is wrong (`API.md` 3).
    let mut body = mutation.body.object()?;
    let header = precondition::header(request)?;
    check_id(kind, id)?;
    let named = header.and(take_version(&mut body)?)?;
    let mut params = Params::of(request)?;
    // A merge applies what was asked for and leaves the rest; a replacement leaves nothing.
    let merging = request.method() == Method::PATCH && read_on_conflict(&mut params)?;
    let force = read_force(&mut params, request, &mutation.caller)?;
    params.end()?;
    // A digest of the whole body: made once, and only if it is needed.
    let attempt = LazyCell::new(|| {
        let caller = &mutation.caller;
        Attempt::of(caller.actor.key_id.as_str(), caller.on_behalf_of.as_deref(), id, &body)
    });
    let refused_at = app.refusals.recall(|| *attempt);
    let mode = match (force, merging) {
        (Some(_), true) => {
            return Err(HttpProblem::invalid("?on_conflict", "cannot be combined with force"));
        }
        (Some(force), false) => Mode::Force(force),
        (None, true) => Mode::Merge,
        (None, false) => Mode::Strict,
    };
    let update = UpdateObject {
        kind,
        id: id.to_owned(),
        change: change(body.clone()),
        precondition: named.precondition.clone(),
        mode,
        refused_at,
    };
    let outcome = mutation.submit(app, Action::Update(update)).await;
    if refused_at.is_some() && outcome.is_ok() {
        app.refusals.forget(&attempt);
    }
    match outcome {
        Ok(outcome) => {
            count(kind, &outcome);
            Ok(render(&outcome).into_response())
        }
        Err(problem) => {
            if problem.code() == Code::ConflictVersionMismatch {
                if let Some(version) = named.precondition.named() {
                    app.refusals.remember(*attempt, version);
                }
                count_conflict(kind, &problem);
            }
            Err(if named.in_header { problem.over_header() } else { problem })
        }
    }
}

/// `DELETE /v1/{collection}/{id}`
pub async fn delete(
    kind: Kind,
    app: web::Data<App>,
    request: HttpRequest,
    id: web::Path<String>,
    mutation: Mutation,
) -> Answer {
    let body = if mutation.body.is_empty() { Map::new() } else { mutation.body.object()? };
    let header = precondition::header(&request)?;
    check_id(kind, &id)?;
    let mut params = Params::of(&request)?;
    let mut version: Option<Version> = params.parsed("version", "a whole number")?;
    let mut body = body;
    let in_body = take_version(&mut body)?;
    if let (Some(query), Some(body)) = (version, in_body)
        && query != body
    {
        return Err(HttpProblem::new(
            Code::MalformedPrecondition,
            "the query and the body name different versions",
        ));
    }
    version = version.or(in_body);
    let named = header.and(version)?;
    let force = read_force(&mut params, &request, &mutation.caller)?;
    params.end()?;
    if let Some(name) = body.keys().next() {
        return Err(HttpProblem::invalid(pointer::member("", name), "is not a field here"));
    }
    let delete =
        DeleteObject { kind, id: id.into_inner(), precondition: named.precondition, force };
    match mutation.submit(&app, Action::Delete(delete)).await {
        Ok(outcome) => {
            count(kind, &outcome);
            Ok(render(&outcome).into_response())
        }
        Err(problem) => {
            if problem.code() == Code::ConflictVersionMismatch {
                count_conflict(kind, &problem);
            }
            Err(if named.in_header { problem.over_header() } else { problem })
        }
    }
}

/// Refuses a well-formed id of another type, and what is no id at all: that names nothing.
pub fn check_id(kind: Kind, id: &str) -> Result<(), HttpProblem> {
    check_id_of(kind.name(), kind.id_prefix(), id)
}

/// As [`check_id`], of what is not versioned.
pub fn check_id_of(what: &str, prefix: &'static str, id: &str) -> Result<(), HttpProblem> {
    if is_well_formed(id, prefix) {
        Ok(())
    } else if is_some_id(id) {
        Err(wrong_id_type(prefix))
    } else {
        Err(HttpProblem::not_found(format!("there is no {what} {id}")))
    }
}

/// Refuses an id of another type where a filter names an object: `plan_id=wsp_…` finds nothing, for
/// a reason that nobody sees.
fn check_reference(name: &str, id: &str) -> Result<(), HttpProblem> {
    match name.strip_suffix("_id").and_then(Kind::from_name) {
        Some(kind) if is_some_id(id) && !is_well_formed(id, kind.id_prefix()) => {
            Err(wrong_id_type(kind.id_prefix()))
        }
        _ => Ok(()),
    }
}

/// Takes the version out of a body: it is the precondition and not a field.
pub fn take_version(body: &mut Map<String, Value>) -> Result<Option<Version>, HttpProblem> {
    match body.remove("version") {
        None => Ok(None),
        Some(value) => value
            .as_i64()
            .map(Some)
            .ok_or_else(|| HttpProblem::invalid("/version", "must be a whole number")),
    }
}

fn read_on_conflict(params: &mut Params) -> Result<bool, HttpProblem> {
    match params.text("on_conflict").as_deref() {
        None => Ok(false),
        Some("merge") => Ok(true),
        Some(_) => Err(HttpProblem::invalid("?on_conflict", "must be merge")),
    }
}

/// Reads `?force=true`, which is for admins with a reason.
fn read_force(
    params: &mut Params,
    request: &HttpRequest,
    caller: &Caller,
) -> Result<Option<Force>, HttpProblem> {
    let force: bool = params.parsed("force", "true or false")?.unwrap_or_default();
    let dry_run: bool = params.parsed("dry_run", "true or false")?.unwrap_or_default();
    if !force {
        return if dry_run {
            Err(HttpProblem::invalid("?dry_run", "goes with force=true"))
        } else {
            Ok(None)
        };
    }
    // The gate has let it through, so that this is an admin; whoever is not gets no force here.
    if !caller.role.allows(Role::Admin) {
        return Err(force_forbidden());
    }
    let reason = force_reason(request.headers())
        .ok_or_else(|| HttpProblem::new(Code::ReasonRequired, "say why in X-Force-Reason"))?;
    if reason.chars().count() > REASON_MAX || reason.chars().any(char::is_control) {
        return Err(HttpProblem::invalid(
            "X-Force-Reason",
            format!("must have 1 to {REASON_MAX} characters on one line"),
        ));
    }
    Ok(Some(Force { reason: reason.to_owned(), dry_run }))
}

/// The refusal of a force whose caller may not.
pub fn force_forbidden() -> HttpProblem {
    HttpProblem::new(Code::ForceForbidden, "force needs the role admin")
}

/// The reason given for a force, if any.
pub fn force_reason(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get("x-force-reason")?;
    let reason = std::str::from_utf8(value.as_bytes()).unwrap_or_default().trim();
    (!reason.is_empty()).then_some(reason)
}

fn read_sort(kind: Kind, text: Option<&str>) -> Result<SortKey, HttpProblem> {
    let allowed = sorts(kind);
    let (name, descending) = match text {
        None => return Ok(SortKey { field: default_sort(allowed), descending: false }),
        Some(text) => match text.strip_prefix('-') {
            Some(name) => (name, true),
            None => (text, false),
        },
    };
    match allowed.iter().find(|(allowed, _)| *allowed == name) {
        Some(field) => Ok(SortKey { field: *field, descending }),
        None => {
            let names: Vec<&str> = allowed.iter().map(|(name, _)| *name).collect();
            let message = format!("must be one of {}, or - and one of them", names.join(", "));
            Err(HttpProblem::invalid("?sort", message))
        }
    }
}

fn default_sort(allowed: &[Field]) -> Field {
    *allowed.first().expect("every collection can be sorted")
}

fn sort_name(sort: SortKey) -> String {
    format!("{}{}", if sort.descending { "-" } else { "" }, sort.field.0)
}

fn count(kind: Kind, outcome: &Outcome) {
    match outcome {
        Outcome::Object(answer) => {
            match answer.how {
                How::Merged(_) => metrics::merged(kind),
                How::Forced => metrics::forced(kind),
                _ => {}
            }
            if !answer.overwrote.is_empty() {
                metrics::overwrote(kind, answer.overwrote.iter().map(String::as_str));
            }
        }
        Outcome::Deleted { forced: true, .. } => metrics::forced(kind),
        _ => {}
    }
}

fn count_conflict(kind: Kind, problem: &HttpProblem) {
    if let Some((verdict, paths)) = problem.conflict() {
        metrics::conflict(kind, verdict, paths.iter().map(String::as_str));
    }
}

/// The handlers of one kind, as the route table wants them.
macro_rules! collection {
    ($($module:ident $kind:ident;)*) => {
        $(
            /// The handlers of this collection.
            pub mod $module {
                use super::{super::history, *};

                pub async fn create(app: web::Data<App>, request: HttpRequest, mutation: Mutation) -> Answer {
                    super::create(Kind::$kind, app, request, mutation).await
                }
                pub async fn list(app: web::Data<App>, request: HttpRequest, _caller: Caller) -> Answer {
                    super::list(Kind::$kind, None, app, request).await
                }
                pub async fn get(app: web::Data<App>, request: HttpRequest, _caller: Caller, id: web::Path<String>) -> Answer {
                    super::get(Kind::$kind, app, request, id).await
                }
                pub async fn patch(app: web::Data<App>, request: HttpRequest, id: web::Path<String>, mutation: Mutation) -> Answer {
                    super::patch(Kind::$kind, app, request, id, mutation).await
                }
                pub async fn put(app: web::Data<App>, request: HttpRequest, id: web::Path<String>, mutation: Mutation) -> Answer {
                    super::put(Kind::$kind, app, request, id, mutation).await
                }
                pub async fn delete(app: web::Data<App>, request: HttpRequest, id: web::Path<String>, mutation: Mutation) -> Answer {
                    super::delete(Kind::$kind, app, request, id, mutation).await
                }
                pub async fn history(app: web::Data<App>, request: HttpRequest, id: web::Path<String>) -> Answer {
                    history::history(Kind::$kind, app, request, id).await
                }
                pub async fn version(app: web::Data<App>, path: web::Path<(String, String)>) -> Answer {
                    history::version(Kind::$kind, app, path).await
                }
            }
        )*
    };
}

collection! {
    plans Plan;
    workspaces Workspace;
    namespaces Namespace;
    subscriptions Subscription;
    invoices Invoice;
    features Feature;
    packages Package;
    bookables Bookable;
    bookings Booking;
}
