//! The endpoints that need no key: health, readiness, metrics, pages.

use super::{
    openapi::DocumentText,
    pages::{CONSOLE, DOCS, WebPage},
    problem::{HttpProblem, HttpResult},
};
use crate::app::App;
use actix_web::{HttpResponse, http::header, web};
use ifmatch_types::Code;
use serde_json::json;
use std::{sync::atomic::Ordering, time::Duration};
use tokio::time::timeout;

/// A database that takes longer than this to answer is not ready.
const READY_TIMEOUT: Duration = Duration::from_secs(2);

/// `GET /healthz`: the process is alive.
pub async fn healthz() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "status": "ok" }))
}

/// `GET /readyz`: the database answers, and it has the schema that this program knows.
pub async fn readyz(app: web::Data<App>) -> HttpResult {
    let not_ready = |why: &str| HttpProblem::new(Code::TryAgain, why);
    if app.stopping.load(Ordering::Relaxed) {
        return Err(not_ready("the server is stopping"));
    }
    if !app.lanes.are_alive() {
        return Err(not_ready("the server cannot write; restart it"));
    }
    let asked = app.reads.run(|db| {
        db.ping()?;
        db.pending_migrations()
    });
    match timeout(READY_TIMEOUT, asked).await {
        Ok(Ok(pending)) if pending.is_empty() => {
            Ok(HttpResponse::Ok().json(json!({ "status": "ready" })))
        }
        Ok(Ok(_)) => Err(not_ready("migrations are pending; run `ifmatch-server migrate`")),
        Ok(Err(_)) | Err(_) => Err(not_ready("the database does not answer")),
    }
}

/// `GET /metrics`
pub async fn metrics(app: web::Data<App>) -> HttpResponse {
    app.lanes.measure();
    app.workers.measure();
    app.tail.measure();
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
