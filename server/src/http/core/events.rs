//! The stream of all changes, in commit order and without gaps: as a list, and as it happens.

use super::{
    caller::{Caller, unaccepted},
    problem::{HttpProblem, HttpResult},
    query::Params,
};
use crate::app::App;
use actix_web::{HttpRequest, HttpResponse, http::header, web};
use futures::stream;
use ifmatch_store::{EventsQuery, StoreError};
use ifmatch_types::{ApiKeyId, ChangeKind, Code, Event, Kind};
use serde_json::json;
use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, timeout},
};

/// The longest `?wait_ms=`.
const WAIT_MAX_MS: u64 = 60_000;
/// Changes that another process commits are seen after this long at the latest.
const POLL_INTERVAL: Duration = Duration::from_millis(250);
/// A quiet stream says that it is alive this often.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Events are read for a stream so many at a time.
const STREAM_PAGE: i64 = 50;

/// Which events a caller wants.
#[derive(Clone, Copy, Debug, Default)]
struct Wanted {
    resource: Option<&'static str>,
    change: Option<ChangeKind>,
}

/// `GET /v1/events`
pub async fn list(app: web::Data<App>, request: HttpRequest, caller: Caller) -> HttpResult {
    let mut params = Params::of(&request)?;
    let limit = params.limit()?;
    let after: Option<i64> = params.parsed("after", "a whole number")?;
    // What the last page called its next cursor is such a place, too.
    let cursor: Option<i64> = params.parsed("cursor", "a next_cursor of this list")?;
    let after = after.or(cursor).unwrap_or_default();
    let after = begin(&app, &mut params, after).await?;
    let wait_ms: u64 =
        params.parsed("wait_ms", "a whole number of milliseconds")?.unwrap_or_default();
    if wait_ms > WAIT_MAX_MS {
        return Err(HttpProblem::invalid("?wait_ms", format!("must be at most {WAIT_MAX_MS}")));
    }
    let wanted = read_type(&mut params)?;
    params.end()?;
    let deadline = Instant::now() + Duration::from_millis(wait_ms);
    let mut commits = app.lanes.commits();
    let (events, until) = loop {
        let (events, until) = read(&app, after, limit, wanted).await?;
        if !events.is_empty() || Instant::now() >= deadline || app.stopping.load(Ordering::Relaxed)
        {
            break (events, until);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        // A commit here, or a moment in which another process may have made one.
        let _ = timeout(left.min(POLL_INTERVAL), commits.changed()).await;
        // A key that was revoked meanwhile is told nothing more.
        if !app.keyring.accepts(&caller.actor.key_id) {
            return Err(unaccepted());
        }
    };
    // A full page ends where it ends; a shorter one has seen everything there is.
    let full = i64::try_from(events.len()).is_ok_and(|count| count == limit);
    let next = if full { events.last().map_or(after, |last| last.seq) } else { until.max(after) };
    Ok(HttpResponse::Ok().json(json!({ "items": events, "next_cursor": next.to_string() })))
}

/// `GET /v1/events/stream`
pub async fn stream(app: web::Data<App>, request: HttpRequest, caller: Caller) -> HttpResult {
    let mut params = Params::of(&request)?;
    let last_event_id = request.headers().get("last-event-id");
    let last_event_id = last_event_id.map(|value| value.to_str().unwrap_or_default().trim());
    let after = params.parsed("after", "a whole number")?;
    let after: i64 = match last_event_id {
        // What a reconnecting browser sends is newer than what is in its URL.
        Some(id) => id
            .parse()
            .map_err(|_| HttpProblem::invalid("Last-Event-ID", "must be the id of an event"))?,
        None => begin(&app, &mut params, after.unwrap_or_default()).await?,
    };
    // Somebody who comes back goes on where they were.
    params.text("last");
    let wanted = read_type(&mut params)?;
    params.end()?;
    let permit = Arc::clone(&app.streams).try_acquire_owned().map_err(|_| {
        HttpProblem::new(Code::TryAgain, "too many event streams are open").after_ms(5_000)
    })?;
    let follower = Follower {
        app,
        after,
        key_id: caller.actor.key_id,
        wanted,
        ready: VecDeque::from([web::Bytes::from_static(b": connected\n\n")]),
        told_at: Instant::now(),
        _permit: permit,
    };
    let body = stream::try_unfold(follower, |mut follower| async move {
        let chunk = follower.next().await;
        Ok::<_, std::io::Error>(chunk.map(|chunk| (chunk, follower)))
    });
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "text/event-stream"))
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .insert_header(("X-Accel-Buffering", "no"))
        .streaming(body))
}

/// One open event stream.
struct Follower {
    app: web::Data<App>,
    after: i64,
    key_id: ApiKeyId,
    wanted: Wanted,
    ready: VecDeque<web::Bytes>,
    told_at: Instant,
    _permit: OwnedSemaphorePermit,
}

impl Follower {
    /// The next chunk; `None` when the server stops or its database fails: the client comes back
    /// with the last id it saw.
    async fn next(&mut self) -> Option<web::Bytes> {
        let mut commits = self.app.lanes.commits();
        loop {
            if let Some(chunk) = self.ready.pop_front() {
                self.told_at = Instant::now();
                return Some(chunk);
            }
            // A revoked key's streams end with it.
            if self.app.stopping.load(Ordering::Relaxed) || !self.app.keyring.accepts(&self.key_id)
            {
                return None;
            }
            match read(&self.app, self.after, STREAM_PAGE, self.wanted).await {
                Ok((events, until)) => {
                    let full = i64::try_from(events.len()).is_ok_and(|count| count == STREAM_PAGE);
                    self.after = match events.last() {
                        Some(last) if full => last.seq,
                        _ => until.max(self.after),
                    };
                    self.ready.extend(events.iter().map(chunk));
                }
                Err(error) => {
                    tracing::warn!(%error, "an event stream ended");
                    return None;
                }
            }
            if self.ready.is_empty() {
                if self.told_at.elapsed() >= KEEP_ALIVE {
                    self.ready.push_back(web::Bytes::from_static(b": alive\n\n"));
                } else {
                    let _ = timeout(POLL_INTERVAL, commits.changed()).await;
                }
            }
        }
    }
}

/// An event as a server-sent event.
fn chunk(event: &Event) -> web::Bytes {
    let json = serde_json::to_string(event).expect("an event is a JSON object");
    web::Bytes::from(format!("id: {}\nevent: {}\ndata: {json}\n\n", event.seq, event.event_type))
}

/// Settled events after a place, and the place up to which everything was seen.
async fn read(
    app: &App,
    after: i64,
    limit: i64,
    wanted: Wanted,
) -> Result<(Vec<Event>, i64), StoreError> {
    let until = app.reads.settled_seq().await?;
    if until <= after {
        return Ok((Vec::new(), until));
    }
    let resource = wanted.resource.map(str::to_owned);
    let query = EventsQuery { after, until, resource, change: wanted.change, limit };
    let events = app.reads.run(move |db| db.events(&query)).await?;
    Ok((events, until))
}

/// Reads `?last=100`: so many places before the end, if that is after `after`.
async fn begin(app: &App, params: &mut Params, after: i64) -> Result<i64, HttpProblem> {
    let last: Option<u32> = params.parsed("last", "a whole number")?;
    Ok(match last {
        Some(last) => after.max(app.reads.settled_seq().await?.saturating_sub(last.into())),
        None => after,
    })
}

/// Reads `?type=subscription` or `?type=subscription.updated`.
fn read_type(params: &mut Params) -> Result<Wanted, HttpProblem> {
    let Some(text) = params.text("type") else { return Ok(Wanted::default()) };
    let (resource, change) = match text.split_once('.') {
        Some((resource, change)) => (resource, Some(change)),
        None => (text.as_str(), None),
    };
    let expected = || {
        HttpProblem::invalid("?type", "must be a type such as subscription or subscription.updated")
    };
    let resource = match resource {
        // What is counted is no kind of object, and has events all the same.
        "usage" => "usage",
        resource => Kind::from_name(resource).ok_or_else(expected)?.name(),
    };
    let change =
        change.map(|change| ChangeKind::from_name(change).ok_or_else(expected)).transpose()?;
    Ok(Wanted { resource: Some(resource), change })
}
