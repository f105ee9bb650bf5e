//! The parts of servers that other collections do not have: a wait for the panel, the timeline, and
//! an admin's decision.

use crate::{
    app::App,
    http::core::{
        objects::{check_id, living, take_version},
        page::PageText,
        problem::{HttpProblem, HttpResult},
        query::{Params, cursor},
        render::{Reply, etag},
        request::Mutation,
    },
};
use actix_web::{HttpRequest, web};
use ifmatch_domain::{
    Action, Outcome,
    core::{self, CreateObject},
    provisioning::{self, ResolveServer},
};
use ifmatch_types::{Kind, ServerEntry, ServerStatus};
use serde_json::Value;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// Time between two looks at a server that a caller waits for.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// `POST /v1/servers`
pub async fn create(app: web::Data<App>, mut mutation: Mutation) -> HttpResult {
    let body = mutation.body.object()?;
    let mut params = mutation.params()?;
    let wait = params.wait()?;
    params.end()?;
    let create = CreateObject { kind: Kind::Server, body };
    let outcome = mutation.submit(&app, Action::Core(core::Action::Create(create))).await?;
    let reply = Reply::from(&outcome);
    match server_in(&outcome, &reply) {
        Some(id) if !wait.is_zero() => when_ready(&app, id, reply, Instant::now() + wait).await,
        _ => Ok(reply.into_response()),
    }
}

/// The id of the server that was made, also by the request that this one repeats.
fn server_in(outcome: &Outcome, reply: &Reply) -> Option<String> {
    match outcome {
        Outcome::Core(core::Outcome::Object(answer)) => Some(answer.id.clone()),
        _ => {
            let body: Value = serde_json::from_str(&reply.body).ok()?;
            Some(body.get("id")?.as_str()?.to_owned())
        }
    }
}

/// Answers 201 once a server is active, and 202 if it is not in time or never will be.
async fn when_ready(app: &App, id: String, reply: Reply, deadline: Instant) -> HttpResult {
    loop {
        let found = living(Kind::Server, &id, app.reads.find(Kind::Server, &id).await?);
        // A server that is gone by now was made all the same.
        let Ok((version, body)) = found else { return Ok(reply.into_response()) };
        let status = status_in(&body);
        let is_open = matches!(
            status,
            Some(ServerStatus::Provisioning | ServerStatus::PendingReconciliation)
        );
        let now = Instant::now();
        let is_over = now >= deadline || app.stopping.load(std::sync::atomic::Ordering::Relaxed);
        if !is_open || is_over {
            let code = if status == Some(ServerStatus::Active) { 201 } else { 202 };
            let reply = Reply { status: code, headers: Vec::new(), body, replayed: reply.replayed }
                .header("ETag", etag(version))
                .header("Location", format!("/v1/servers/{id}"));
            return Ok(reply.into_response());
        }
        sleep_until(deadline.min(now + LOOK_INTERVAL)).await;
    }
}

fn status_in(body: &str) -> Option<ServerStatus> {
    #[derive(serde::Deserialize)]
    struct Status {
        status: ServerStatus,
    }
    serde_json::from_str::<Status>(body).ok().map(|server| server.status)
}

/// `GET /v1/servers/{id}/timeline`
pub async fn timeline(
    app: web::Data<App>,
    request: HttpRequest,
    id: web::Path<String>,
) -> HttpResult {
    check_id(Kind::Server, &id)?;
    let mut params = Params::of(&request)?;
    let limit = params.limit()?;
    let after: i64 = params.cursor()?.unwrap_or_default();
    params.end()?;
    living(Kind::Server, &id, app.reads.find(Kind::Server, &id).await?)?;
    let id = id.into_inner();
    let page = app.reads.run(move |db| {
        PageText::read(limit, |last: Option<&ServerEntry>, rows| {
            db.server_entries(&id, last.map_or(after, |last| last.seq), rows)
        })
    });
    Ok(page.await?.answer(|last| cursor(&last.seq)))
}

/// `POST /v1/servers/{id}/resolve`
pub async fn resolve(
    app: web::Data<App>,
    id: web::Path<String>,
    mut mutation: Mutation,
) -> HttpResult {
    let server_id = id.into_inner();
    check_id(Kind::Server, &server_id)?;
    let mut body = mutation.body.object()?;
    let named = mutation.conditions.and(take_version(&mut body)?)?;
    mutation.takes_no_params()?;
    let precondition = named.precondition.clone();
    let resolve = ResolveServer { server_id, precondition, body, windows: app.windows };
    let action = Action::Provisioning(provisioning::Action::ResolveServer(resolve));
    let decided = mutation.submit(&app, action).await;
    let outcome = decided.map_err(|problem: HttpProblem| named.blame(problem))?;
    Ok(Reply::from(&outcome).into_response())
}
