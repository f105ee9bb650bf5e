//! Changes of one object: PATCH, PUT and DELETE, in the same way for every kind.

use super::{
    objects::{check_id, take_version},
    precondition::Named,
    problem::{HttpProblem, HttpResult},
    query::Params,
    refused::{Attempt, Refusals},
    render::Reply,
    request::Mutation,
};
use crate::{app::App, kinds::Entity};
use actix_web::web;
use ifmatch_domain::{
    Action,
    core::{self, Change, DeleteObject, Force, Mode, UpdateObject},
};
use ifmatch_types::{Code, Kind, Version, pointer};
use serde_json::{Map, Value};
use std::cell::LazyCell;

/// The two methods that change an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// A merge patch. It leaves other fields as they are, so the server may merge it after a
    /// conflict.
    Patch,
    /// A replacement of all fields.
    Put,
}

/// `PATCH /v1/{collection}/{id}`
pub async fn patch<E: Entity>(
    app: web::Data<App>,
    refusals: web::Data<Refusals>,
    id: web::Path<String>,
    mutation: Mutation,
) -> HttpResult {
    change(E::KIND, Method::Patch, &app, &refusals, id.into_inner(), mutation).await
}

/// `PUT /v1/{collection}/{id}`
pub async fn put<E: Entity>(
    app: web::Data<App>,
    refusals: web::Data<Refusals>,
    id: web::Path<String>,
    mutation: Mutation,
) -> HttpResult {
    change(E::KIND, Method::Put, &app, &refusals, id.into_inner(), mutation).await
}

/// `DELETE /v1/{collection}/{id}`
pub async fn delete<E: Entity>(
    app: web::Data<App>,
    id: web::Path<String>,
    mutation: Mutation,
) -> HttpResult {
    delete_kind(E::KIND, &app, id.into_inner(), mutation).await
}

/// Changes an object of this kind.
pub async fn change(
    kind: Kind,
    method: Method,
    app: &App,
    refusals: &Refusals,
    id: String,
    mut mutation: Mutation,
) -> HttpResult {
    check_id(kind, &id)?;
    let mut body = mutation.body.object()?;
    let named = mutation.conditions.and(take_version(&mut body)?)?;
    let mode = read_mode(method, &mutation)?;
    let caller = &mutation.caller;
    let key_id = caller.key_id.as_str();
    // A digest of the whole body. It is computed once, and only if it is needed.
    let on_behalf_of = caller.on_behalf_of.as_deref();
    let attempt = LazyCell::new(|| Attempt::of(key_id, on_behalf_of, &id, &body));
    let refused_at = refusals.recall(|| *attempt);
    let update = UpdateObject {
        kind,
        id: id.clone(),
        change: match method {
            Method::Patch => Change::Patch(body.clone()),
            Method::Put => Change::Replace(body.clone()),
        },
        precondition: named.precondition.clone(),
        mode,
        refused_at,
    };
    match mutation.submit(app, Action::Core(core::Action::Update(update))).await {
        Ok(outcome) => {
            if refused_at.is_some() {
                refusals.forget(&attempt);
            }
            Ok(Reply::from(&outcome).into_response())
        }
        Err(problem) => {
            if problem.code() == Code::ConflictVersionMismatch
                && let Some(version) = named.precondition.latest()
            {
                refusals.remember(*attempt, version);
            }
            Err(named.blame(problem))
        }
    }
}

/// Reads how to treat a stale version: `?on_conflict=merge`, `?force=true`, or neither.
fn read_mode(method: Method, mutation: &Mutation) -> Result<Mode, HttpProblem> {
    let mut params = mutation.params()?;
    // A merge keeps the fields that it does not name, but a replacement names all of them.
    let is_merge = method == Method::Patch && read_on_conflict(&mut params)?;
    let force = mutation.force(&mut params)?;
    params.end()?;
    mode(force, is_merge)
}

/// The mode of a write.
///
/// # Errors
///
/// `VALIDATION_FAILED` if it is to be merged and forced.
pub fn mode(force: Option<Force>, is_merge: bool) -> Result<Mode, HttpProblem> {
    match (force, is_merge) {
        (Some(_), true) => {
            Err(HttpProblem::invalid("?on_conflict", "cannot be combined with force"))
        }
        (Some(force), false) => Ok(Mode::Force(force)),
        (None, true) => Ok(Mode::Merge),
        (None, false) => Ok(Mode::Strict),
    }
}

/// Takes `?on_conflict=merge`.
///
/// # Errors
///
/// `VALIDATION_FAILED` for any other value.
pub fn read_on_conflict(params: &mut Params) -> Result<bool, HttpProblem> {
    match params.text("on_conflict").as_deref() {
        None => Ok(false),
        Some("merge") => Ok(true),
        Some(_) => Err(HttpProblem::invalid("?on_conflict", "must be merge")),
    }
}

/// Deletes an object of this kind.
pub async fn delete_kind(kind: Kind, app: &App, id: String, mut mutation: Mutation) -> HttpResult {
    check_id(kind, &id)?;
    let mut body = mutation.body.object()?;
    let mut params = mutation.params()?;
    let in_query: Option<Version> = params.parsed("version", "an integer")?;
    let named = mutation.conditions.and(agreed_version(in_query, &mut body)?)?;
    let force = mutation.force(&mut params)?;
    params.end()?;
    if let Some(name) = body.keys().next() {
        return Err(HttpProblem::invalid(pointer::member("", name), "is not a field here"));
    }
    let Named { precondition, .. } = named.clone();
    let delete = DeleteObject { kind, id, precondition, force };
    match mutation.submit(app, Action::Core(core::Action::Delete(delete))).await {
        Ok(outcome) => Ok(Reply::from(&outcome).into_response()),
        Err(problem) => Err(named.blame(problem)),
    }
}

/// The version that the query or the body names.
fn agreed_version(
    in_query: Option<Version>,
    body: &mut Map<String, Value>,
) -> Result<Option<Version>, HttpProblem> {
    let in_body = take_version(body)?;
    match (in_query, in_body) {
        (Some(query), Some(body)) if query != body => Err(HttpProblem::new(
            Code::MalformedPrecondition,
            "the query and the body name different versions",
        )),
        (in_query, in_body) => Ok(in_query.or(in_body)),
    }
}
