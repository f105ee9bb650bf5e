//! Redactions: values of one object are replaced in it and in everything stored about it.

use super::{
    objects::{check_id, take_version},
    problem::{HttpProblem, HttpResult},
    render::Reply,
    request::Mutation,
};
use crate::{app::App, kinds::Entity, workers::redactions::finish};
use actix_web::web;
use ifmatch_domain::{
    Action,
    core::{self, RedactObject},
};
use std::time::Duration;
use tokio::time::timeout;

/// Maximum wait for the past to be rewritten. Beyond it, the server goes on after the answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// `POST /v1/{collection}/{id}/redact`
pub async fn redact<E: Entity>(
    app: web::Data<App>,
    id: web::Path<String>,
    mut mutation: Mutation,
) -> HttpResult {
    let id = id.into_inner();
    check_id(E::KIND, &id)?;
    let mut body = mutation.body.object()?;
    let named = mutation.conditions.and(take_version(&mut body)?)?;
    mutation.takes_no_params()?;
    let precondition = named.precondition.clone();
    let redact = RedactObject { kind: E::KIND, id: id.clone(), body, precondition };
    let decided = mutation.submit(&app, Action::Core(core::Action::Redact(redact))).await;
    let outcome = decided.map_err(|problem: HttpProblem| named.blame(problem))?;
    // The answer says that the values are gone, a repeated one as well.
    match timeout(PATIENCE, finish(&app, &id)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(error, "a redaction goes on in the background"),
        Err(_) => tracing::info!("a redaction goes on in the background"),
    }
    Ok(Reply::from(&outcome).into_response())
}
