//! Locks: acquire, release, extend, renew, force-release, status, list.

use super::acquisition::Acquisition;
use crate::{
    app::App,
    http::core::{
        caller::Caller,
        objects::{check_id, living},
        page::PageText,
        problem::{HttpProblem, HttpResult},
        query::{Params, cursor},
        render::Reply,
        request::Mutation,
    },
    key::random_digits,
};
use actix_web::{HttpRequest, HttpResponse, web};
use futures::future::join;
use ifmatch_domain::{
    Action, Rejection,
    core::{self, Actor},
    lock::{self, AcquireLock, ExtendLock, ForceReleaseLock, LockName, ReleaseLock, RenewLock},
};
use ifmatch_store::LockQuery;
use ifmatch_types::{
    Code, Kind, Lock, LockExtension, LockForceRelease, LockOwner, LockScope, NewLock, WorkspaceId,
};
use serde::de::DeserializeOwned;
use std::time::Duration;

/// `POST /v1/locks/{key}/acquire`
pub async fn acquire(
    app: web::Data<App>,
    key: web::Path<String>,
    mut mutation: Mutation,
) -> HttpResult {
    let (new, asked): (NewLock, _) = read(&mut mutation)?;
    let name =
        name(&mutation, (new.workspace_id.clone(), asked), new.scope, new.function.clone(), &key)?;
    // Read without a lock: a deletion at the same moment comes after the grant.
    if let Some(id) = &name.workspace_id {
        let found = app.reads.find(Kind::Workspace, id.as_str()).await?;
        living(Kind::Workspace, id.as_str(), found)?;
    }
    let salt = match mutation.idempotency_key() {
        Some(key) => format!("{} {}", key.owner, key.key),
        None => random_digits().map_err(|error| {
            tracing::error!(%error, "the operating system has no random numbers");
            HttpProblem::internal()
        })?,
    };
    let acquire = AcquireLock::new(name, &new, app.locks.secret.clone(), salt).map_err(refused)?;
    let wait = Duration::from_millis(u64::try_from(new.wait_ms).unwrap_or_default());
    Acquisition::new(app, mutation, acquire, wait).carry_out().await
}

/// `POST /v1/locks/{key}/release`
pub async fn release(
    app: web::Data<App>,
    key: web::Path<String>,
    mut mutation: Mutation,
) -> HttpResult {
    let (of, asked): (LockOwner, _) = read(&mut mutation)?;
    let name = name(&mutation, (of.workspace_id, asked), of.scope, of.function, &key)?;
    let release = ReleaseLock::new(name, of.owner).map_err(refused)?;
    free(app, mutation, lock::Action::ReleaseLock(release)).await
}

/// `POST /v1/locks/{key}/renew`
pub async fn renew(
    app: web::Data<App>,
    key: web::Path<String>,
    mut mutation: Mutation,
) -> HttpResult {
    let (of, asked): (LockOwner, _) = read(&mut mutation)?;
    let name = name(&mutation, (of.workspace_id, asked), of.scope, of.function, &key)?;
    let renew = RenewLock::new(name, of.owner).map_err(refused)?;
    submit(&app, &mutation, lock::Action::RenewLock(renew)).await
}

/// `POST /v1/locks/{key}/extend`
pub async fn extend(
    app: web::Data<App>,
    key: web::Path<String>,
    mut mutation: Mutation,
) -> HttpResult {
    let (of, asked): (LockExtension, _) = read(&mut mutation)?;
    let name = name(&mutation, (of.workspace_id, asked), of.scope, of.function, &key)?;
    let extend = ExtendLock::new(name, of.owner, of.additional_ms).map_err(refused)?;
    submit(&app, &mutation, lock::Action::ExtendLock(extend)).await
}

/// `POST /v1/locks/{key}/force-release`
pub async fn force_release(
    app: web::Data<App>,
    key: web::Path<String>,
    mut mutation: Mutation,
) -> HttpResult {
    let (force, asked): (LockForceRelease, _) = read(&mut mutation)?;
    let (named, function) = ((force.workspace_id.clone(), asked), force.function.clone());
    let name = name(&mutation, named, force.scope, function, &key)?;
    let force = ForceReleaseLock::new(name, &force).map_err(refused)?;
    free(app, mutation, lock::Action::ForceReleaseLock(force)).await
}

/// `GET /v1/locks/{key}`
pub async fn get(app: web::Data<App>, key: web::Path<String>, request: HttpRequest) -> HttpResult {
    let caller = Caller::of(&request)?;
    let mut params = Params::of(&request)?;
    let scope = read_scope(&mut params)?.unwrap_or(LockScope::Global);
    let function = params.text("function");
    let space = named_space(&caller.actor, &mut params)?;
    params.end()?;
    require_space(&app, space.as_ref()).await?;
    let name = LockName::new(space, scope, function, &key).map_err(refused)?;
    let id = name.id();
    let waiters = app.locks.room.waiters_of(&id);
    let (lock, now) = app.reads.run(move |db| db.lock(&id)).await?;
    let shown = lock.map_or_else(|| name.never_held(waiters), |lock| lock.show(now, waiters));
    Ok(HttpResponse::Ok().json(shown))
}

/// `GET /v1/locks`
pub async fn list(app: web::Data<App>, request: HttpRequest) -> HttpResult {
    let caller = Caller::of(&request)?;
    let mut params = Params::of(&request)?;
    let limit = params.limit()?;
    let space = named_space(&caller.actor, &mut params)?;
    let query = LockQuery {
        space: space.as_ref().map(ToString::to_string),
        scope: read_scope(&mut params)?,
        function: params.text("function"),
        locked: params.parsed("locked", "true or false")?,
        after: params.cursor()?.unwrap_or_default(),
        limit,
    };
    params.end()?;
    require_space(&app, space.as_ref()).await?;
    let shared = app.clone();
    let page = app.reads.run(move |db| {
        PageText::read(limit, |last: Option<&Lock>, rows| {
            let mut query = LockQuery { limit: rows, ..query.clone() };
            if let Some(last) = last {
                query.after = LockName::of(last).id();
            }
            let (locks, now) = db.locks(&query)?;
            let show = |lock: lock::LockRecord| {
                let waiters = shared.locks.room.waiters_of(&lock.id);
                lock.show(now, waiters)
            };
            Ok(locks.into_iter().map(show).collect())
        })
    });
    Ok(page.await?.answer(|last| cursor(&LockName::of(last).id())))
}

/// Carries out a command that frees a lock, and wakes who waits for it.
///
/// The first waiter is woken as soon as the command is queued. Commands about one lock are decided in
/// their order, so its try comes after the release, and often in the same commit.
async fn free(app: web::Data<App>, mutation: Mutation, action: lock::Action) -> HttpResult {
    let id = action.subject().map(str::to_owned).unwrap_or_default();
    let wake = async { app.locks.room.wake(&id) };
    // `join` polls in this order, and the first poll queues the command.
    let (answer, ()) = join(submit(&app, &mutation, action), wake).await;
    answer
}

async fn submit(app: &App, mutation: &Mutation, action: lock::Action) -> HttpResult {
    let outcome = mutation.submit(app, Action::Lock(action)).await?;
    Ok(Reply::from(&outcome).into_response())
}

/// Reads the body of a command, and the workspace that its query names.
fn read<T: DeserializeOwned>(
    mutation: &mut Mutation,
) -> Result<(T, Option<WorkspaceId>), HttpProblem> {
    let mut params = mutation.params()?;
    let asked = asked_workspace(&mut params);
    params.end()?;
    Ok((core::read(&mutation.body.object()?).map_err(refused)?, asked))
}

/// The lock that path, body and query name together. Its workspace is in the body or in the query.
fn name(
    mutation: &Mutation,
    (in_body, in_query): (Option<WorkspaceId>, Option<WorkspaceId>),
    scope: LockScope,
    function: Option<String>,
    key: &str,
) -> Result<LockName, HttpProblem> {
    if in_body.as_ref().zip(in_query.as_ref()).is_some_and(|(one, other)| one != other) {
        let message = "names another workspace than the body";
        return Err(HttpProblem::invalid("?workspace_id", message));
    }
    let path = if in_body.is_some() { "/workspace_id" } else { "?workspace_id" };
    let space = space(&mutation.caller.actor, in_body.or(in_query), path)?;
    LockName::new(space, scope, function, key).map_err(refused)
}

fn refused(rejection: core::Rejection) -> HttpProblem {
    HttpProblem::from(Rejection::from(rejection))
}

fn read_scope(params: &mut Params) -> Result<Option<LockScope>, HttpProblem> {
    let Some(text) = params.text("scope") else { return Ok(None) };
    let known = LockScope::from_name(&text);
    known.map(Some).ok_or_else(|| HttpProblem::invalid("?scope", "must be global or function"))
}

/// Takes `?workspace_id=`.
fn asked_workspace(params: &mut Params) -> Option<WorkspaceId> {
    params.text("workspace_id").map(WorkspaceId::from_unchecked)
}

/// Takes `?workspace_id=`: the space of the lock.
fn named_space(actor: &Actor, params: &mut Params) -> Result<Option<WorkspaceId>, HttpProblem> {
    space(actor, asked_workspace(params), "?workspace_id")
}

/// Refuses the space of a workspace that never was. A deleted one may still have locks that are held.
async fn require_space(app: &App, space: Option<&WorkspaceId>) -> Result<(), HttpProblem> {
    let Some(id) = space else { return Ok(()) };
    match app.reads.find(Kind::Workspace, id.as_str()).await? {
        Some(_) => Ok(()),
        None => Err(refused(core::Rejection::not_found(Kind::Workspace, id.as_str()))),
    }
}

/// The space of a lock: that of a scoped key's workspace, else the one that is named.
fn space(
    actor: &Actor,
    named: Option<WorkspaceId>,
    path: &str,
) -> Result<Option<WorkspaceId>, HttpProblem> {
    if let Some(named) = &named {
        check_id(Kind::Workspace, named.as_str()).map_err(|problem| match problem.code() {
            Code::WrongIdType => problem.with("path", path),
            _ => HttpProblem::not_found(format!("there is no workspace {named}")),
        })?;
    }
    match (&actor.workspace_id, named) {
        (Some(own), Some(named)) if *own != named => {
            Err(HttpProblem::not_found(format!("there is no workspace {named}")))
        }
        (Some(own), _) => Ok(Some(own.clone())),
        (None, named) => Ok(named),
    }
}
