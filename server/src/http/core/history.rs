//! The history of an object, and its old versions.

use super::{
    objects::{check_id, deleted_problem},
    page::PageText,
    precondition,
    problem::{HttpProblem, HttpResult},
    query::{Params, cursor},
    render::etag,
};
use crate::{app::App, kinds::Entity};
use actix_web::{HttpRequest, HttpResponse, http::header, web};
use ifmatch_domain::{Rejection, core};
use ifmatch_store::Found;
use ifmatch_types::{ChangeKind, Code, HistoryEntry, Kind, Version};

/// `GET /v1/{collection}/{id}/history`
pub async fn history<E: Entity>(
    app: web::Data<App>,
    request: HttpRequest,
    id: web::Path<String>,
) -> HttpResult {
    history_of_kind(E::KIND, &app, &request, id.into_inner()).await
}

/// `GET /v1/{collection}/{id}/versions/{n}`
pub async fn version<E: Entity>(
    app: web::Data<App>,
    request: HttpRequest,
    path: web::Path<(String, String)>,
) -> HttpResult {
    let (id, version) = path.into_inner();
    version_of_kind(E::KIND, &app, &request, id, &version).await
}

/// The history of an object of this kind.
pub async fn history_of_kind(
    kind: Kind,
    app: &App,
    request: &HttpRequest,
    id: String,
) -> HttpResult {
    check_id(kind, &id)?;
    let mut params = Params::of(request)?;
    let limit = params.limit()?;
    let beyond: Option<Version> = params.cursor()?;
    let newest_first = match params.text("sort").as_deref() {
        None | Some("version") => false,
        Some("-version") => true,
        Some(_) => return Err(HttpProblem::invalid("?sort", "must be version or -version")),
    };
    params.end()?;
    // A history is still readable after a deletion, so the object need only have existed.
    if app.reads.find(kind, &id).await?.is_none() {
        return Err(Rejection::Core(core::Rejection::not_found(kind, &id)).into());
    }
    let page = app.reads.run(move |db| {
        PageText::read(limit, |last: Option<&HistoryEntry>, rows| {
            let beyond = last.map(|last| last.version).or(beyond);
            db.history(&id, beyond, newest_first, rows)
        })
    });
    Ok(page.await?.answer(|last| cursor(&last.version)))
}

/// An object of this kind as it was at a version.
pub async fn version_of_kind(
    kind: Kind,
    app: &App,
    request: &HttpRequest,
    id: String,
    version: &str,
) -> HttpResult {
    check_id(kind, &id)?;
    let known = precondition::Headers::of(request)?.if_none_match;
    let no_such_version =
        || HttpProblem::not_found(format!("{kind} {id} never had the version {version}"));
    // A version has only one address: `+1` and `01` are not valid.
    let number: Option<Version> = version.parse().ok();
    let number = number.filter(|number| number.to_string() == version);
    let number = number.ok_or_else(no_such_version)?;
    let Some(found) = app.reads.find(kind, &id).await? else {
        return Err(Rejection::Core(core::Rejection::not_found(kind, &id)).into());
    };
    let key = id.clone();
    match app.reads.run(move |db| db.snapshot(&key, number)).await? {
        Some((ChangeKind::Deleted, _)) => match found {
            Found::Deleted(deleted) => Err(deleted_problem(kind, deleted)),
            Found::Living { .. } => Err(no_such_version()),
        },
        Some(_) if known.is_some_and(|tags| tags.has(number)) => {
            Ok(HttpResponse::NotModified().insert_header((header::ETAG, etag(number))).finish())
        }
        Some((_, state)) => {
            Ok(HttpResponse::Ok().insert_header((header::ETAG, etag(number))).json(state))
        }
        None => {
            let newest = match found {
                Found::Living { version, .. } => version,
                Found::Deleted(deleted) => deleted.last_version,
            };
            if (1..=newest).contains(&number) {
                let detail = format!("the snapshot of {kind} {id} at version {number} was pruned");
                return Err(HttpProblem::new(Code::VersionPruned, detail));
            }
            Err(no_such_version())
        }
    }
}
