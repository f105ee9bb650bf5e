//! The packages, boosts, entitlements and entitlement log of a workspace or namespace.

use super::scope_path::ScopePath;
use crate::{
    app::App,
    http::core::{
        change::{Method, change, delete_kind},
        history::{history_of_kind, version_of_kind},
        list::list_kind,
        objects::{check_id, get_kind},
        preview::preview_kind,
        problem::{HttpProblem, HttpResult},
        query::{Params, cursor, page},
        refused::Refusals,
        render::Reply,
        request::Mutation,
    },
};
use actix_web::{HttpRequest, HttpResponse, web};
use ifmatch_domain::{
    Action, Rejection, core,
    entitlement::{self, AssignPackage, GrantBoost},
};
use ifmatch_store::Db;
use ifmatch_types::Kind;

/// `POST /v1/{scope}/packages`
pub async fn assign(app: web::Data<App>, path: ScopePath, mut mutation: Mutation) -> HttpResult {
    mutation.takes_no_params()?;
    let assign = AssignPackage { scope: path.scope()?, body: mutation.body.object()? };
    let outcome = mutation
        .submit(&app, Action::Entitlement(entitlement::Action::AssignPackage(assign)))
        .await?;
    Ok(Reply::from(&outcome).into_response())
}

/// `GET /v1/{scope}/packages`
pub async fn packages(app: web::Data<App>, request: HttpRequest, path: ScopePath) -> HttpResult {
    let scope = path.known_scope(&app).await?;
    list_kind(Kind::Assignment, Some(&scope), None, &app, &request).await
}

/// `GET /v1/{scope}/packages/{assignment_id}`
pub async fn package(app: web::Data<App>, request: HttpRequest, path: ScopePath) -> HttpResult {
    let id = member(&app, Kind::Assignment, path).await?;
    get_kind(Kind::Assignment, &app, &request, &id).await
}

/// `PATCH /v1/{scope}/packages/{assignment_id}`
pub async fn change_package(
    app: web::Data<App>,
    refusals: web::Data<Refusals>,
    path: ScopePath,
    mutation: Mutation,
) -> HttpResult {
    // A read is enough, because an assignment never moves to another scope.
    let id = member(&app, Kind::Assignment, path).await?;
    change(Kind::Assignment, Method::Patch, &app, &refusals, id, mutation).await
}

/// `POST /v1/{scope}/packages/{assignment_id}/preview`
pub async fn preview_package(
    app: web::Data<App>,
    path: ScopePath,
    mutation: Mutation,
) -> HttpResult {
    let id = member(&app, Kind::Assignment, path).await?;
    preview_kind(Kind::Assignment, &app, id, mutation).await
}

/// `GET /v1/{scope}/packages/{assignment_id}/history`
pub async fn package_history(
    app: web::Data<App>,
    request: HttpRequest,
    path: ScopePath,
) -> HttpResult {
    let id = member(&app, Kind::Assignment, path).await?;
    history_of_kind(Kind::Assignment, &app, &request, id).await
}

/// `GET /v1/{scope}/packages/{assignment_id}/versions/{version}`
pub async fn package_version(
    app: web::Data<App>,
    request: HttpRequest,
    path: ScopePath,
) -> HttpResult {
    let version = path.detail.clone();
    let id = member(&app, Kind::Assignment, path).await?;
    version_of_kind(Kind::Assignment, &app, &request, id, &version).await
}

/// `POST /v1/{scope}/boosts`
pub async fn grant_boost(
    app: web::Data<App>,
    path: ScopePath,
    mut mutation: Mutation,
) -> HttpResult {
    mutation.takes_no_params()?;
    let grant = GrantBoost { scope: path.scope()?, body: mutation.body.object()? };
    let outcome =
        mutation.submit(&app, Action::Entitlement(entitlement::Action::GrantBoost(grant))).await?;
    Ok(Reply::from(&outcome).into_response())
}

/// `GET /v1/{scope}/boosts`
pub async fn boosts(app: web::Data<App>, request: HttpRequest, path: ScopePath) -> HttpResult {
    let scope = path.known_scope(&app).await?;
    list_kind(Kind::Boost, Some(&scope), None, &app, &request).await
}

/// `GET /v1/{scope}/boosts/{boost_id}`
pub async fn boost(app: web::Data<App>, request: HttpRequest, path: ScopePath) -> HttpResult {
    let id = member(&app, Kind::Boost, path).await?;
    get_kind(Kind::Boost, &app, &request, &id).await
}

/// `DELETE /v1/{scope}/boosts/{boost_id}`
pub async fn revoke_boost(app: web::Data<App>, path: ScopePath, mutation: Mutation) -> HttpResult {
    // A read is enough, because a boost never moves to another scope.
    let id = member(&app, Kind::Boost, path).await?;
    delete_kind(Kind::Boost, &app, id, mutation).await
}

/// `GET /v1/{scope}/boosts/{boost_id}/history`
pub async fn boost_history(
    app: web::Data<App>,
    request: HttpRequest,
    path: ScopePath,
) -> HttpResult {
    let id = member(&app, Kind::Boost, path).await?;
    history_of_kind(Kind::Boost, &app, &request, id).await
}

/// `GET /v1/{scope}/boosts/{boost_id}/versions/{version}`
pub async fn boost_version(
    app: web::Data<App>,
    request: HttpRequest,
    path: ScopePath,
) -> HttpResult {
    let version = path.detail.clone();
    let id = member(&app, Kind::Boost, path).await?;
    version_of_kind(Kind::Boost, &app, &request, id, &version).await
}

/// `GET /v1/{scope}/entitlements`
pub async fn list(app: web::Data<App>, request: HttpRequest, path: ScopePath) -> HttpResult {
    let mut params = Params::of(&request)?;
    let limit = params.limit()?;
    let after: String = params.cursor()?.unwrap_or_default();
    params.end()?;
    let scope = path.scope()?;
    let (asked, of) = (limit.saturating_add(1), scope.clone());
    match app.reads.run(move |db| db.entitlements(&of, &after, asked)).await? {
        Some(all) => Ok(page(all, limit, |last| cursor(&last.feature))),
        None => {
            path.living_scope(&app).await?;
            Err(Rejection::Core(core::Rejection::not_found(scope.kind, &scope.id)).into())
        }
    }
}

/// `GET /v1/{scope}/entitlements/{feature}`
pub async fn get(app: web::Data<App>, request: HttpRequest, path: ScopePath) -> HttpResult {
    Params::of(&request)?.end()?;
    let (scope, code) = (path.scope()?, path.member.clone());
    // PostgreSQL cannot search for a NUL.
    let found = match code.contains('\0') {
        true => None,
        false => app.reads.run(move |db| db.entitlement(&scope, &code)).await?,
    };
    match found {
        Some(entitlement) => Ok(HttpResponse::Ok().json(entitlement)),
        None => {
            path.living_scope(&app).await?;
            Err(HttpProblem::not_found(format!("there is no feature {}", path.member)))
        }
    }
}

/// `GET /v1/{scope}/entitlement-log`
pub async fn log(app: web::Data<App>, request: HttpRequest, path: ScopePath) -> HttpResult {
    let mut params = Params::of(&request)?;
    let limit = params.limit()?;
    let before: Option<String> = params.cursor()?;
    let log_type = params.text("type");
    params.end()?;
    let scope = path.known_scope(&app).await?.to_string();
    let asked = limit.saturating_add(1);
    let read = move |db: &mut Db| {
        db.entitlement_log(&scope, log_type.as_deref(), before.as_deref(), asked)
    };
    let entries = app.reads.run(read).await?;
    Ok(page(entries, limit, |last| cursor(&last.id)))
}

/// The id of an assignment or boost of this scope, deleted or not. One of another scope is not
/// found.
async fn member(app: &App, kind: Kind, path: ScopePath) -> Result<String, HttpProblem> {
    let scope = path.scope()?.to_string();
    check_id(kind, &path.member)?;
    let id = path.member.clone();
    let owner = app.reads.run(move |db| db.owner(kind, &id)).await?;
    if owner.as_ref() == Some(&scope) {
        Ok(path.member)
    } else {
        Err(Rejection::Core(core::Rejection::not_found(kind, &path.member)).into())
    }
}
