//! The endpoints that need no key: health, readiness, metrics, pages.

use super::{
    openapi::DocumentText,
    pages::{CONSOLE, DOCS, WebPage},
    problem::{HttpProblem, HttpResult},
};
use crate::{app::App, lane::Lanes, reads::Reads};
use actix_web::{HttpResponse, http::header, web};
use ifmatch_types::Code;
use serde_json::json;
use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};
use tokio::{sync::Mutex, time::timeout};

/// A database that takes longer than this to answer is not ready.
const READY_TIMEOUT: Duration = Duration::from_secs(2);

/// How long the answer of the database is shared.
const READINESS_KNOWN: Duration = Duration::from_secs(1);

/// `GET /healthz`: the process is alive.
pub async fn healthz() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "status": "ok" }))
}

/// `GET /readyz`: the database answers and works, and it has the schema that this program knows.
///
/// After a write that failed because of the database, a small commit is tried. A load balancer that
/// sends no writes meanwhile therefore learns when they succeed again.
pub async fn readyz(app: web::Data<App>) -> HttpResult {
    let not_ready = |why: &str| HttpProblem::new(Code::TryAgain, why);
    if app.stopping.load(Ordering::Relaxed) {
        return Err(not_ready("the server is stopping"));
    }
    if !app.lanes.are_alive() {
        return Err(not_ready("the server cannot write; restart it"));
    }
    app.readiness.of_database(&app.reads, &app.lanes).await.map_err(not_ready)?;
    Ok(HttpResponse::Ok().json(json!({ "status": "ready" })))
}

/// Whether the database can be used, asked at most once a second for all callers.
///
/// It needs no key, so the answer must not cost a read each time.
#[derive(Default)]
pub struct Readiness {
    known: Mutex<Option<(Instant, Result<(), &'static str>)>>,
}

impl Readiness {
    /// Whether the database answers and works, and has the schema that this program knows.
    async fn of_database(&self, reads: &Reads, lanes: &Lanes) -> Result<(), &'static str> {
        // Callers that come while the database is asked wait for its answer.
        let mut known = self.known.lock().await;
        let is_in_outage = lanes.is_in_outage();
        if let Some((asked_at, answer)) = *known
            && asked_at.elapsed() < READINESS_KNOWN
            // A write that failed since then knows better.
            && !(answer.is_ok() && is_in_outage)
        {
            return answer;
        }
        let asked = reads.run_probe(move |db| {
            db.ping()?;
            if is_in_outage {
                db.probe_write()?;
            }
            db.pending_migrations()
        });
        let answer = match timeout(READY_TIMEOUT, asked).await {
            Ok(Ok(pending)) if pending.is_empty() => {
                if is_in_outage {
                    lanes.end_outage();
                }
                Ok(())
            }
            Ok(Ok(_)) => Err("migrations are pending; run `ifmatch-server migrate`"),
            Ok(Err(error)) => {
                tracing::warn!(%error, "not ready");
                Err("the database does not answer, or does not work")
            }
            Err(_) => Err("the database does not answer"),
        };
        *known = Some((Instant::now(), answer));
        answer
    }
}

/// `GET /metrics`
pub async fn metrics(app: web::Data<App>) -> HttpResponse {
    app.lanes.measure();
    app.workers.measure();
    crate::metrics::lock_waiters(app.locks.room.waiters());
    app.tail.measure();
    app.places.measure();
    app.streams.measure();
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "text/plain; version=0.0.4"))
        .body(app.metrics.render())
}

/// `GET /openapi.json`
pub async fn openapi(document: web::Data<DocumentText>) -> HttpResponse {
    HttpResponse::Ok().content_type(header::ContentType::json()).body(document.0.clone())
}

/// `GET /docs`
pub async fn docs() -> HttpResponse {
    DOCS.answer()
}

/// `GET /docs/{version}/{name}`
pub async fn docs_asset(asset: web::Path<(String, String)>) -> HttpResult {
    asset_of(&DOCS, &asset)
}

/// `GET /console`
pub async fn console() -> HttpResponse {
    CONSOLE.answer()
}

/// `GET /console/{version}/{name}`
pub async fn console_asset(asset: web::Path<(String, String)>) -> HttpResult {
    asset_of(&CONSOLE, &asset)
}

fn asset_of(page: &WebPage, (version, name): &(String, String)) -> HttpResult {
    page.asset(version, name).ok_or_else(|| HttpProblem::not_found("the page has no such file"))
}
