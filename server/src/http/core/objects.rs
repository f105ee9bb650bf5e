//! The versioned collections: create and read, in the same way for every kind.

use super::{
    caller::Caller,
    precondition,
    problem::{HttpProblem, HttpResult},
    render::{Reply, etag},
    request::Mutation,
};
use crate::{app::App, kinds::Entity};
use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{self, ContentType},
    web,
};
use ifmatch_domain::{
    Action, Rejection,
    core::{self, CreateObject},
};
use ifmatch_store::Found;
use ifmatch_types::{
    Deleted, Kind, Version,
    id::{is_some_id, is_well_formed},
};
use serde_json::{Map, Value};

/// `POST /v1/{collection}`
pub async fn create<E: Entity>(app: web::Data<App>, mut mutation: Mutation) -> HttpResult {
    mutation.takes_no_params()?;
    let body = mutation.body.object()?;
    create_kind(E::KIND, &app, &mutation, body).await
}

/// Creates an object of this kind.
pub async fn create_kind(
    kind: Kind,
    app: &App,
    mutation: &Mutation,
    body: Map<String, Value>,
) -> HttpResult {
    let outcome = mutation
        .submit(app, Action::Core(core::Action::Create(CreateObject { kind, body })))
        .await?;
    Ok(Reply::from(&outcome).into_response())
}

/// `GET /v1/{collection}/{id}`
pub async fn get<E: Entity>(
    app: web::Data<App>,
    request: HttpRequest,
    _caller: Caller,
    id: web::Path<String>,
) -> HttpResult {
    get_kind(E::KIND, &app, &request, &id).await
}

/// Reads an object of this kind.
pub async fn get_kind(kind: Kind, app: &App, request: &HttpRequest, id: &str) -> HttpResult {
    check_id(kind, id)?;
    let (version, body) = living(kind, id, app.reads.find(kind, id).await?)?;
    if precondition::is_none_match(request, version) {
        return Ok(HttpResponse::NotModified()
            .insert_header((header::ETAG, etag(version)))
            .finish());
    }
    Ok(HttpResponse::Ok()
        .content_type(ContentType::json())
        .insert_header((header::ETAG, etag(version)))
        .body(body))
}

/// The version and state of an object that must exist.
///
/// # Errors
///
/// `NOT_FOUND` or `DELETED`.
pub fn living(
    kind: Kind,
    id: &str,
    found: Option<Found>,
) -> Result<(Version, String), HttpProblem> {
    match found {
        None => Err(Rejection::Core(core::Rejection::not_found(kind, id)).into()),
        Some(Found::Deleted(deleted)) => Err(deleted_problem(kind, deleted)),
        Some(Found::Living { version, body }) => Ok((version, body)),
    }
}

/// The refusal of a request about an object that was deleted.
pub fn deleted_problem(kind: Kind, deleted: Deleted) -> HttpProblem {
    Rejection::Core(core::Rejection::Deleted(kind, deleted)).into()
}

/// Refuses a well-formed id of another type, and anything that is not an id.
pub fn check_id(kind: Kind, id: &str) -> Result<(), HttpProblem> {
    check_id_of(kind.name(), kind.id_prefix(), id)
}

/// Like [`check_id`], for objects that are not versioned.
pub fn check_id_of(what: &str, prefix: &'static str, id: &str) -> Result<(), HttpProblem> {
    if is_well_formed(id, prefix) {
        Ok(())
    } else if is_some_id(id) {
        Err(HttpProblem::wrong_id_type(prefix))
    } else {
        Err(HttpProblem::not_found(format!("there is no {what} {id}")))
    }
}

/// Takes the version out of a body. It is the precondition and not a field.
pub fn take_version(body: &mut Map<String, Value>) -> Result<Option<Version>, HttpProblem> {
    match body.remove("version") {
        None => Ok(None),
        Some(value) => value
            .as_i64()
            .map(Some)
            .ok_or_else(|| HttpProblem::invalid("/version", "must be a whole number")),
    }
}
