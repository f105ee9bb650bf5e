//! The versioned collections: create and read, in the same way for every kind.

use super::{
    caller::Caller,
    precondition,
    problem::{HttpProblem, HttpResult},
    render::{Reply, etag},
    request::{Mutation, request_id},
};
use crate::{app::App, kinds::Entity};
use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{self, ContentType},
    web,
};
use ifmatch_domain::{
    Action, Rejection,
    core::{self, Claim, CreateObject, Guard, Tags},
};
use ifmatch_store::Found;
use ifmatch_types::{
    Deleted, Kind, Version,
    id::{is_some_id, is_well_formed},
};
use serde_json::{Map, Value};

/// `POST /v1/{collection}`
pub async fn create<E: Entity>(app: web::Data<App>, mut mutation: Mutation) -> HttpResult {
    let body = mutation.body.object()?;
    mutation.takes_no_params()?;
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
    id: web::Path<String>,
) -> HttpResult {
    get_kind(E::KIND, &app, &request, &id).await
}

/// Reads an object of this kind, if its version is one that the request asks for.
pub async fn get_kind(kind: Kind, app: &App, request: &HttpRequest, id: &str) -> HttpResult {
    check_id(kind, id)?;
    let conditions = precondition::Headers::of(request)?;
    let (version, body) = loop {
        let (version, body) = living(kind, id, app.reads.find(kind, id).await?)?;
        match &conditions.if_match {
            Some(tags) if !tags.has(version) => refuse_at(tags, kind, app, request, id).await?,
            _ => break (version, body),
        }
    };
    let response = if conditions.if_none_match.is_some_and(|tags| tags.has(version)) {
        HttpResponse::NotModified().insert_header((header::ETAG, etag(version))).finish()
    } else {
        HttpResponse::Ok()
            .content_type(ContentType::json())
            .insert_header((header::ETAG, etag(version)))
            .body(body)
    };
    Ok(response)
}

/// Refuses a read over `If-Match`, with the same body as a write.
///
/// It passes if the object has come to one of these versions since it was read.
async fn refuse_at(
    tags: &Tags,
    kind: Kind,
    app: &App,
    request: &HttpRequest,
    id: &str,
) -> Result<(), HttpProblem> {
    let (id, matches) = (id.to_owned(), Some(tags.clone()));
    let claim = Some(Claim { kind, id: id.clone(), matches, excludes: None });
    let guard = Guard { claim, fence: None };
    let admit = Action::Core(core::Action::Admit(Some((kind, id))));
    let command = Caller::of(request)?.command(&request_id(request), None, guard, admit);
    let decided = app.lanes.submit(command).await;
    decided.map(|_| ()).map_err(|refusal| HttpProblem::from(refusal).over_header())
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
            .ok_or_else(|| HttpProblem::invalid("/version", "must be an integer")),
    }
}
