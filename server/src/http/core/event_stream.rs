//! The log of all changes as a live stream of server-sent events.

use super::{
    caller::Caller,
    events::{CHECK_INTERVAL, read_cursor, read_start, read_wanted},
    problem::{HttpProblem, HttpResult},
    query::Params,
};
use crate::{
    app::App,
    listener::Line,
    streams::{NoPlace, STREAMS_PER_KEY_MAX, StreamPlace},
    tail::{self, Follower, Lost, Start},
};
use actix_web::{
    HttpRequest, HttpResponse,
    http::{Method, header},
    web,
};
use futures::stream;
use ifmatch_types::{ApiKeyId, Code};
use std::{
    collections::VecDeque,
    io,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::time::Instant;

/// How long clients should wait before they reconnect, in milliseconds.
const RETRY_MS: u32 = 2_000;
/// How often a quiet stream shows that it is alive. Common clients give up after 5 s.
const HEARTBEAT: Duration = Duration::from_secs(3);

/// `GET /v1/events/stream`
pub async fn stream(app: web::Data<App>, request: HttpRequest, caller: Caller) -> HttpResult {
    let mut params = Params::of(&request)?;
    let mut start = read_start(&mut params)?;
    if let Some(id) = request.headers().get("last-event-id") {
        // A reconnecting browser sends a newer place here than the one in its URL.
        let id = id.to_str().unwrap_or_default().trim();
        start = Start { after: Some(read_cursor("Last-Event-ID", id)?), last: None };
    }
    let wanted = read_wanted(&mut params, &caller)?;
    params.end()?;
    let place = app.tail.place(&start).await?;
    let mut answer = HttpResponse::Ok();
    answer
        .insert_header((header::CONTENT_TYPE, "text/event-stream"))
        // A proxy that compresses the stream would hold events back.
        .insert_header((header::CACHE_CONTROL, "no-store, no-transform"))
        .insert_header(("X-Accel-Buffering", "no"));
    if request.method() == Method::HEAD {
        // Actix reads the body of a HEAD answer to its end and sends nothing of it, so the body
        // must end.
        return Ok(answer.streaming(stream::empty::<io::Result<web::Bytes>>()));
    }
    let key_id = caller.key_id;
    let opened = app.streams.open(&key_id, request.conn_data::<Arc<Line>>().cloned());
    let taken = opened.map_err(|no_place| no_place_for(no_place).after_ms(5_000))?;
    // The first id is known before the first event, so that a break in between loses nothing.
    let first = format!("retry: {RETRY_MS}\nid: {}\n\n", place.cursor());
    let open = OpenStream {
        told: place.seq,
        follower: app.tail.follow(place, wanted),
        app,
        key_id,
        ready: VecDeque::from([first.into()]),
        told_at: Instant::now(),
        _place: taken,
    };
    Ok(answer.streaming(stream::try_unfold(open, |mut open| async move {
        let chunk = open.next().await;
        Ok::<_, io::Error>(chunk.map(|chunk| (chunk, open)))
    })))
}

fn no_place_for(no_place: NoPlace) -> HttpProblem {
    let detail = match no_place {
        NoPlace::Full => "too many event streams are open".to_owned(),
        NoPlace::KeyFull => format!("this key has {STREAMS_PER_KEY_MAX} open event streams"),
    };
    HttpProblem::new(Code::TryAgain, detail)
}

/// One open event stream. Dropping it frees its place.
struct OpenStream {
    follower: Follower,
    app: web::Data<App>,
    key_id: ApiKeyId,
    /// What the client is sent next: at most one batch, so that an unread stream stays small.
    ready: VecDeque<web::Bytes>,
    /// The last place that the client was told, and when it was told anything.
    told: i64,
    told_at: Instant,
    _place: StreamPlace,
}

impl OpenStream {
    /// The next chunk.
    ///
    /// `None` ends the stream: its key has ended, the server stops, the log was replaced, or the
    /// database failed. The client reconnects with the last id it saw.
    async fn next(&mut self) -> Option<web::Bytes> {
        loop {
            let is_stopping = self.app.stopping.load(Ordering::Relaxed);
            if is_stopping || self.app.keyring.has_ended(&self.key_id) {
                return None;
            }
            if let Some(chunk) = self.ready.pop_front() {
                self.told_at = Instant::now();
                return Some(chunk);
            }
            let deadline = Instant::now() + CHECK_INTERVAL;
            match self.follower.next(tail::BATCH, deadline).await {
                Ok(events) => self.ready.extend(events.iter().map(|shared| shared.text())),
                Err(Lost::Unknown { .. }) => return None,
                Err(Lost::Failed(error)) => {
                    tracing::warn!(%error, "an event stream ended");
                    return None;
                }
            }
            let seen = self.follower.seen();
            if !self.ready.is_empty() {
                self.told = seen.seq;
            } else if self.told_at.elapsed() >= HEARTBEAT {
                // A place after events that the client does not want is worth an id.
                let is_new = self.told != seen.seq;
                self.told = seen.seq;
                let text = if is_new {
                    format!("id: {}\n\n", seen.cursor())
                } else {
                    ": alive\n\n".to_owned()
                };
                self.ready.push_back(text.into());
            }
        }
    }
}
