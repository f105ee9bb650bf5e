//! The log of all changes, in commit order and without gaps: page by page. `event_stream.rs` has it
//! as a live stream.

use super::{
    caller::{Caller, unaccepted},
    problem::{HttpProblem, HttpResult},
    query::Params,
};
use crate::{
    app::App,
    tail::{Bounds, Lost, Start, Wanted},
};
use actix_web::{HttpRequest, HttpResponse, web};
use ifmatch_types::{ChangeKind, Code, EventCursor, Kind};
use serde_json::json;
use std::{sync::atomic::Ordering, time::Duration};
use tokio::time::Instant;

/// How often a reader that waits checks whether its key has ended or the server stops.
pub const CHECK_INTERVAL: Duration = Duration::from_millis(250);
/// A page that has found no event after this long ends, with the place that it has reached.
const SCAN_TIME: Duration = Duration::from_secs(2);
/// About how many bytes of JSON a page may have.
const PAGE_BYTES: usize = 1024 * 1024;

/// `GET /v1/events`
pub async fn list(app: web::Data<App>, request: HttpRequest, caller: Caller) -> HttpResult {
    let mut params = Params::of(&request)?;
    let bounds = Bounds { events: params.limit()?, bytes: PAGE_BYTES };
    let start = read_start(&mut params)?;
    let wait = params.wait()?;
    let wanted = read_wanted(&mut params, &caller)?;
    params.end()?;
    let begun_at = Instant::now();
    let deadline = begun_at + wait;
    let scan_deadline = deadline.max(begun_at + SCAN_TIME);
    let mut follower = app.tail.follow(app.tail.place(&start).await?, wanted);
    let events = loop {
        let events = follower.next(bounds, deadline.min(Instant::now() + CHECK_INTERVAL)).await?;
        // A key that was revoked while the read waited gets no events.
        if app.keyring.has_ended(&caller.key_id) {
            return Err(unaccepted());
        }
        let now = Instant::now();
        let is_over = now >= deadline && (!follower.is_behind() || now >= scan_deadline);
        if !events.is_empty() || is_over || app.stopping.load(Ordering::Relaxed) {
            break events;
        }
    };
    let items: Vec<_> = events.iter().map(|shared| &shared.event).collect();
    let next_cursor = follower.seen().cursor();
    Ok(HttpResponse::Ok().json(json!({ "items": items, "next_cursor": next_cursor })))
}

/// Reads where to begin: `cursor`, which a page gave, else `after` and `last`.
pub fn read_start(params: &mut Params) -> Result<Start, HttpProblem> {
    let last = params.parsed("last", "a whole number")?;
    let after = params.text("after").map(|text| read_cursor("?after", &text)).transpose()?;
    let cursor = params.text("cursor").map(|text| read_cursor("?cursor", &text)).transpose()?;
    Ok(match cursor {
        Some(_) => Start { after: cursor, last: None },
        None => Start { after, last },
    })
}

/// Reads a cursor from this part of a request.
pub fn read_cursor(part: &str, text: &str) -> Result<EventCursor, HttpProblem> {
    let cursor = EventCursor::from(text);
    if cursor.parts().is_none() {
        let message = "must be the cursor of an event, a next_cursor, or 0";
        return Err(HttpProblem::invalid(part, message));
    }
    Ok(cursor)
}

/// Reads `?type=subscription` or `?type=subscription.updated`. A scoped key follows its workspace.
pub fn read_wanted(params: &mut Params, caller: &Caller) -> Result<Wanted, HttpProblem> {
    let workspace_id = caller.actor.workspace_id.clone();
    let Some(text) = params.text("type") else {
        return Ok(Wanted { workspace_id, ..Wanted::default() });
    };
    let (resource, change) = match text.split_once('.') {
        Some((resource, change)) => (resource, Some(change)),
        None => (text.as_str(), None),
    };
    let expected = || {
        HttpProblem::invalid("?type", "must be a type such as subscription or subscription.updated")
    };
    let resource = match resource {
        // Usage is not a kind of object, but it has events.
        "usage" => "usage",
        resource => Kind::from_name(resource).ok_or_else(expected)?.name(),
    };
    let change =
        change.map(|change| ChangeKind::from_name(change).ok_or_else(expected)).transpose()?;
    Ok(Wanted { workspace_id, resource: Some(resource), change })
}

impl From<Lost> for HttpProblem {
    fn from(lost: Lost) -> Self {
        match lost {
            Lost::Unknown { oldest, newest } => Self::new(
                Code::CursorUnknown,
                "the log of changes has no such place, or not all changes after it; read the \
                 objects anew, and go on after `newest`",
            )
            .with("oldest", oldest.as_str())
            .with("newest", newest.as_str()),
            Lost::Failed(error) => error.into(),
        }
    }
}
