//! What a workspace or a namespace has and may use: packages, boosts, advice, and the log of it.

use super::{
    history,
    objects::{self, Answer, check_id},
    problem::HttpProblem,
    query::{Params, cursor, page},
    render::render,
    request::Mutation,
    scope::Place,
};
use crate::app::App;
use actix_web::{HttpRequest, HttpResponse, web};
use ifmatch_domain::{Action, AssignPackage, GrantBoost, Rejection, ScopeRef};
use ifmatch_store::{Db, Found};
use ifmatch_types::Kind;
use serde_json::Value;

/// `POST /v1/{scope}/packages`
pub async fn assign(
    app: web::Data<App>,
    request: HttpRequest,
    place: Place,
    mutation: Mutation,
) -> Answer {
    Params::of(&request)?.end()?;
    let assign = AssignPackage { scope: place.scope()?, body: mutation.body.object()? };
    let outcome = mutation.submit(&app, Action::AssignPackage(assign)).await?;
    Ok(render(&outcome).into_response())
}

/// `GET /v1/{scope}/packages`
pub async fn packages(app: web::Data<App>, request: HttpRequest, place: Place) -> Answer {
    let scope = place.known_scope(&app).await?;
    objects::list(Kind::Assignment, Some(&scope), app, request).await
}

/// `GET /v1/{scope}/packages/{assignment_id}`
pub async fn package(app: web::Data<App>, request: HttpRequest, place: Place) -> Answer {
    let id = member(&app, Kind::Assignment, place).await?;
    objects::get(Kind::Assignment, app, request, id).await
}

/// `PATCH /v1/{scope}/packages/{assignment_id}`
pub async fn change_package(
    app: web::Data<App>,
    request: HttpRequest,
    place: Place,
    mutation: Mutation,
) -> Answer {
    // A read is enough: an assignment never gets another scope.
    let id = member(&app, Kind::Assignment, place).await?;
    objects::patch(Kind::Assignment, app, request, id, mutation).await
}

/// `GET /v1/{scope}/packages/{assignment_id}/history`
pub async fn package_history(app: web::Data<App>, request: HttpRequest, place: Place) -> Answer {
    let id = member(&app, Kind::Assignment, place).await?;
    history::history(Kind::Assignment, app, request, id).await
}

/// `GET /v1/{scope}/packages/{assignment_id}/versions/{version}`
pub async fn package_version(app: web::Data<App>, place: Place) -> Answer {
    let version = place.detail.clone();
    let id = member(&app, Kind::Assignment, place).await?.into_inner();
    history::version(Kind::Assignment, app, web::Path::from((id, version))).await
}

/// `POST /v1/{scope}/boosts`
pub async fn grant_boost(
    app: web::Data<App>,
    request: HttpRequest,
    place: Place,
    mutation: Mutation,
) -> Answer {
    Params::of(&request)?.end()?;
    let grant = GrantBoost { scope: place.scope()?, body: mutation.body.object()? };
    let outcome = mutation.submit(&app, Action::GrantBoost(grant)).await?;
    Ok(render(&outcome).into_response())
}

/// `GET /v1/{scope}/boosts`
pub async fn boosts(app: web::Data<App>, request: HttpRequest, place: Place) -> Answer {
    let scope = place.known_scope(&app).await?;
    objects::list(Kind::Boost, Some(&scope), app, request).await
}

/// `GET /v1/{scope}/boosts/{boost_id}`
pub async fn boost(app: web::Data<App>, request: HttpRequest, place: Place) -> Answer {
    let id = member(&app, Kind::Boost, place).await?;
    objects::get(Kind::Boost, app, request, id).await
}

/// `GET /v1/{scope}/entitlements`
pub async fn list(app: web::Data<App>, request: HttpRequest, place: Place) -> Answer {
    let mut params = Params::of(&request)?;
    let limit = params.limit()?;
    let after: String = params.cursor()?.unwrap_or_default();
    params.end()?;
    let scope = place.scope()?;
    let (asked, of) = (limit.saturating_add(1), scope.clone());
    match app.reads.run(move |db| db.entitlements(&of, &after, asked)).await? {
        Some(all) => Ok(page(all, limit, |last| cursor(&last.feature))),
        None => {
            place.living_scope(&app).await?;
            Err(Rejection::not_found(scope.kind, &scope.id).into())
        }
    }
}

/// `GET /v1/{scope}/entitlements/{feature}`
pub async fn get(app: web::Data<App>, request: HttpRequest, place: Place) -> Answer {
    Params::of(&request)?.end()?;
    let (scope, code) = (place.scope()?, place.member.clone());
    // PostgreSQL cannot even look for a NUL.
    let found = match code.contains('\0') {
        true => None,
        false => app.reads.run(move |db| db.entitlement(&scope, &code)).await?,
    };
    match found {
        Some(entitlement) => Ok(HttpResponse::Ok().json(entitlement)),
        None => {
            place.living_scope(&app).await?;
            Err(HttpProblem::not_found(format!("there is no feature {}", place.member)))
        }
    }
}

/// `GET /v1/{scope}/entitlement-log`
pub async fn log(app: web::Data<App>, request: HttpRequest, place: Place) -> Answer {
    let mut params = Params::of(&request)?;
    let limit = params.limit()?;
    let before: Option<String> = params.cursor()?;
    let log_type = params.text("type");
    params.end()?;
    let scope = place.known_scope(&app).await?.to_string();
    let asked = limit.saturating_add(1);
    let read = move |db: &mut Db| {
        db.entitlement_log(&scope, log_type.as_deref(), before.as_deref(), asked)
    };
    let entries = app.reads.run(read).await?;
    Ok(page(entries, limit, |last| cursor(&last.id)))
}

/// The id of a scope's own assignment or boost; one of another scope is none of its own.
async fn member(app: &App, kind: Kind, place: Place) -> Result<web::Path<String>, HttpProblem> {
    let scope = place.scope()?;
    check_id(kind, &place.member)?;
    match app.reads.find(kind, &place.member).await? {
        Some(Found::Living { body, .. }) if is_of(&scope, &body) => Ok(place.member.into()),
        _ => Err(Rejection::not_found(kind, &place.member).into()),
    }
}

fn is_of(scope: &ScopeRef, body: &str) -> bool {
    let body: Value = serde_json::from_str(body).unwrap_or_default();
    body.get("scope").and_then(Value::as_str) == Some(scope.to_string().as_str())
}
