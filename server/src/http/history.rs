//! What an object was, and who made it so.

use super::{
    objects::{Answer, check_id},
    problem::HttpProblem,
    query::{Params, cursor, page},
    render::etag,
};
use crate::app::App;
use actix_web::{HttpRequest, HttpResponse, http::header, web};
use ifmatch_domain::Rejection;
use ifmatch_store::Found;
use ifmatch_types::{ChangeKind, Code, Kind, Version};

/// `GET /v1/{collection}/{id}/history`
pub async fn history(
    kind: Kind,
    app: web::Data<App>,
    request: HttpRequest,
    id: web::Path<String>,
) -> Answer {
    check_id(kind, &id)?;
    let mut params = Params::of(&request)?;
    let limit = params.limit()?;
    let beyond: Option<Version> = params.cursor()?;
    let newest_first = match params.text("sort").as_deref() {
        None | Some("version") => false,
        Some("-version") => true,
        Some(_) => return Err(HttpProblem::invalid("?sort", "must be version or -version")),
    };
    params.end()?;
    // Still readable after a deletion: the object need only have existed.
    if app.reads.find(kind, &id).await?.is_none() {
        return Err(Rejection::not_found(kind, &id).into());
    }
    let id = id.into_inner();
    let asked = limit.saturating_add(1);
    let entries = app.reads.run(move |db| db.history(&id, beyond, newest_first, asked)).await?;
    Ok(page(entries, limit, |last| cursor(&last.version)))
}

/// `GET /v1/{collection}/{id}/versions/{n}`
pub async fn version(kind: Kind, app: web::Data<App>, path: web::Path<(String, String)>) -> Answer {
    let (id, version) = path.into_inner();
    check_id(kind, &id)?;
    let no_such_version =
        || HttpProblem::not_found(format!("{kind} {id} never had the version {version}"));
    // One number, one address: `+1` and `01` never were versions.
    let number: Option<Version> = version.parse().ok();
    let number = number.filter(|number| number.to_string() == version);
    let number = number.ok_or_else(no_such_version)?;
    let Some(found) = app.reads.find(kind, &id).await? else {
        return Err(Rejection::not_found(kind, &id).into());
    };
    let key = id.clone();
    match app.reads.run(move |db| db.snapshot(&key, number)).await? {
        Some((ChangeKind::Deleted, _)) => match found {
            Found::Deleted(deleted) => Err(Rejection::Deleted(kind, deleted).into()),
            Found::Living { .. } => Err(no_such_version()),
        },
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
