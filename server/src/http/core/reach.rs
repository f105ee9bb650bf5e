//! What the gate refuses a scoped key: routes for other keys, and reads of what it does not see.
//!
//! Writes are judged in the decision, by the domain.

use super::{caller::Caller, endpoint::EndpointInfo, problem::HttpProblem};
use crate::{app::App, reads::in_the_name_of};
use actix_web::HttpRequest;
use ifmatch_domain::{Rejection, core, is_in_catalogue};
use ifmatch_types::Kind;

/// Refuses a scoped key a route that is not for it, and an object that it does not see.
///
/// The object is the one that the path names first; everything behind it belongs to it.
///
/// # Errors
///
/// `FORBIDDEN`, or `NOT_FOUND` as for an object that does not exist.
pub async fn admit(
    app: &App,
    caller: &Caller,
    info: Option<EndpointInfo>,
    request: &HttpRequest,
) -> Result<(), HttpProblem> {
    let Some(own) = &caller.actor.workspace_id else { return Ok(()) };
    let Some(info) = info.filter(|info| info.is_scoped) else {
        return Err(Rejection::Core(core::Rejection::NeedsUnscopedKey).into());
    };
    let Some((kind, id)) = first_object(info.path, request) else { return Ok(()) };
    if !request.method().is_safe() || is_in_catalogue(kind) {
        return Ok(());
    }
    let key = id.clone();
    let looked_up = app.reads.run(move |db| db.workspace_of(kind, &key));
    let workspace = in_the_name_of(caller.key_id.clone(), looked_up).await?;
    if workspace.as_deref() == Some(own.as_str()) {
        Ok(())
    } else {
        Err(Rejection::Core(core::Rejection::not_found(kind, &id)).into())
    }
}

/// The object that the path names first, if its id is of the type that the path has there.
fn first_object(pattern: &str, request: &HttpRequest) -> Option<(Kind, String)> {
    let id = request.match_info().get("id")?;
    let kind = Kind::of_id(id)?;
    (pattern.split('/').nth(2) == Some(kind.collection())).then(|| (kind, id.to_owned()))
}
