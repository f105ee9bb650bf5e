//! Previews: what a change of one object would do, without doing it.

use super::{
    change::{mode, read_on_conflict},
    objects::{check_id, take_version},
    problem::{HttpProblem, HttpResult},
    render::Reply,
    request::Mutation,
};
use crate::{app::App, kinds::Entity};
use actix_web::web;
use ifmatch_domain::{
    Action, Outcome,
    core::{self, Change, UpdateObject},
};
use ifmatch_types::{Kind, Preview, Problem};

/// `POST /v1/{collection}/{id}/preview`
pub async fn preview<E: Entity>(
    app: web::Data<App>,
    id: web::Path<String>,
    mutation: Mutation,
) -> HttpResult {
    preview_kind(E::KIND, &app, id.into_inner(), mutation).await
}

/// Previews a change of an object of this kind.
pub async fn preview_kind(kind: Kind, app: &App, id: String, mut mutation: Mutation) -> HttpResult {
    check_id(kind, &id)?;
    let mut body = mutation.body.object()?;
    let named = mutation.conditions.and(take_version(&mut body)?)?;
    let mut params = mutation.params()?;
    let is_merge = read_on_conflict(&mut params)?;
    let force = mutation.unrecorded_force(&mut params)?;
    params.end()?;
    let update = UpdateObject {
        kind,
        id,
        change: Change::Patch(body),
        precondition: named.precondition.clone(),
        mode: mode(force, is_merge)?,
        refused_at: None,
    };
    let command = mutation.preview_command(Action::Core(core::Action::Preview(update)));
    let reply = match app.lanes.submit(command).await.map_err(HttpProblem::from)? {
        Outcome::Previewed { preview, refusal } => {
            let problem = |rejection| named.blame(HttpProblem::from(rejection));
            let refusal = refusal.map(|rejection| problem(*rejection));
            reply(&preview, refusal.map(|problem| problem.problem_for(&mutation.request_id())))
        }
        other => Reply::from(&other),
    };
    Ok(reply.into_response())
}

/// The reply with a preview.
pub fn reply(preview: &core::Preview, would_refuse: Option<Problem>) -> Reply {
    let core::Preview { current_version, verdict, would_change, would_overwrite } = preview.clone();
    let would_refuse = would_refuse.map(Box::new);
    let shown = Preview { current_version, verdict, would_change, would_overwrite, would_refuse };
    Reply::new(200, &shown)
}
