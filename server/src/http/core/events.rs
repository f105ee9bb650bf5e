//! The stream of all changes, in commit order and without gaps: as a list and as a live stream.

use super::{
    caller::{Caller, unaccepted},
    problem::{HttpProblem, HttpResult},
    query::Params,
};
use crate::{
    app::App,
    tail::{self, Follower, Wanted},
};
use actix_web::{
    HttpRequest, HttpResponse,
    http::{Method, header},
    web,
};
use futures::stream;
use ifmatch_types::{ApiKeyId, ChangeKind, Code, Kind, Page};
use std::{
    collections::VecDeque,
    io,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::{sync::OwnedSemaphorePermit, time::Instant};

/// Maximum `?wait_ms=`.
const WAIT_MAX_MS: u64 = 60_000;
/// How often a waiting read checks whether its key was revoked or the server stops.
const CHECK_INTERVAL: Duration = Duration::from_millis(250);
/// How often a quiet stream sends a comment to show that it is alive.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// `GET /v1/events`
pub async fn list(app: web::Data<App>, request: HttpRequest, caller: Caller) -> HttpResult {
    let mut params = Params::of(&request)?;
    let limit = params.limit()?;
    let after: Option<i64> = params.parsed("after", "a whole number")?;
    // The next_cursor of a page is also a place in the stream.
    let cursor: Option<i64> = params.parsed("cursor", "a next_cursor of this list")?;
    let after = after.or(cursor).unwrap_or_default();
    let after = begin(&app, &mut params, after).await?;
    let wait_ms: u64 =
        params.parsed("wait_ms", "a whole number of milliseconds")?.unwrap_or_default();
    if wait_ms > WAIT_MAX_MS {
        return Err(HttpProblem::invalid("?wait_ms", format!("must be at most {WAIT_MAX_MS}")));
    }
    let wanted = read_wanted(&mut params, &caller)?;
    params.end()?;
    let deadline = Instant::now() + Duration::from_millis(wait_ms);
    let mut follower = app.tail.follow(after, wanted);
    let events = loop {
        let events = follower.next(limit, deadline.min(Instant::now() + CHECK_INTERVAL)).await?;
        // A key that was revoked while the read waited gets no events.
        if app.keyring.has_ended(&caller.key_id) {
            return Err(unaccepted());
        }
        if !events.is_empty() || Instant::now() >= deadline || app.stopping.load(Ordering::Relaxed)
        {
            break events;
        }
    };
    let items: Vec<_> = events.iter().map(|shared| &shared.event).collect();
    let next_cursor = Some(follower.seen().to_string());
    Ok(HttpResponse::Ok().json(Page { items, next_cursor }))
}

/// `GET /v1/events/stream`
pub async fn stream(app: web::Data<App>, request: HttpRequest, caller: Caller) -> HttpResult {
    let mut params = Params::of(&request)?;
    let last_event_id = request.headers().get("last-event-id");
    let last_event_id = last_event_id.map(|value| value.to_str().unwrap_or_default().trim());
    let after = params.parsed("after", "a whole number")?;
    let after: i64 = match last_event_id {
        // A reconnecting browser sends a newer place here than the one in its URL.
        Some(id) => id
            .parse()
            .map_err(|_| HttpProblem::invalid("Last-Event-ID", "must be the id of an event"))?,
        None => begin(&app, &mut params, after.unwrap_or_default()).await?,
    };
    // With Last-Event-ID, `?last=` has no effect.
    params.text("last");
    let wanted = read_wanted(&mut params, &caller)?;
    params.end()?;
    let mut answer = HttpResponse::Ok();
    answer
        .insert_header((header::CONTENT_TYPE, "text/event-stream"))
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .insert_header(("X-Accel-Buffering", "no"));
    if request.method() == Method::HEAD {
        // Actix reads the body of a HEAD answer to its end and sends nothing of it, so the body
        // must end.
        return Ok(answer.streaming(stream::empty::<io::Result<web::Bytes>>()));
    }
    let permit = Arc::clone(&app.streams).try_acquire_owned().map_err(|_| {
        HttpProblem::new(Code::TryAgain, "too many event streams are open").after_ms(5_000)
    })?;
    let open = OpenStream {
        follower: app.tail.follow(after, wanted),
        app,
        key_id: caller.key_id,
        ready: VecDeque::from([web::Bytes::from_static(b": connected\n\n")]),
        told_at: Instant::now(),
        _permit: permit,
    };
    Ok(answer.streaming(stream::try_unfold(open, |mut open| async move {
        let chunk = open.next().await;
        Ok::<_, io::Error>(chunk.map(|chunk| (chunk, open)))
    })))
}

/// One open event stream. Dropping it frees its permit.
struct OpenStream {
    follower: Follower,
    app: web::Data<App>,
    key_id: ApiKeyId,
    ready: VecDeque<web::Bytes>,
    told_at: Instant,
    _permit: OwnedSemaphorePermit,
}

impl OpenStream {
    /// The next chunk.
    ///
    /// `None` ends the stream: its key was revoked, the server stops, or the database failed. The
    /// client reconnects with the last id it saw.
    async fn next(&mut self) -> Option<web::Bytes> {
        loop {
            if let Some(chunk) = self.ready.pop_front() {
                self.told_at = Instant::now();
                return Some(chunk);
            }
            let deadline = Instant::now() + CHECK_INTERVAL;
            let events = match self.follower.next(tail::BATCH_MAX, deadline).await {
                Ok(events) => events,
                Err(error) => {
                    tracing::warn!(%error, "an event stream ended");
                    return None;
                }
            };
            let is_stopping = self.app.stopping.load(Ordering::Relaxed);
            if is_stopping || self.app.keyring.has_ended(&self.key_id) {
                return None;
            }
            self.ready.extend(events.iter().map(|shared| shared.text()));
            if self.ready.is_empty() && self.told_at.elapsed() >= KEEP_ALIVE {
                self.ready.push_back(web::Bytes::from_static(b": alive\n\n"));
            }
        }
    }
}

/// Reads `?last=100`, which begins this many places before the end, unless `after` is later.
async fn begin(app: &App, params: &mut Params, after: i64) -> Result<i64, HttpProblem> {
    let last: Option<u32> = params.parsed("last", "a whole number")?;
    Ok(match last {
        Some(last) => after.max(app.reads.settled_seq().await?.saturating_sub(last.into())),
        None => after,
    })
}

/// Reads `?type=subscription` or `?type=subscription.updated`. A scoped key follows its workspace.
fn read_wanted(params: &mut Params, caller: &Caller) -> Result<Wanted, HttpProblem> {
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
