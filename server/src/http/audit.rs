//! The audit log: what needed a special right, and who used or wanted it.

use super::{
    objects::Answer,
    query::{Params, cursor},
};
use crate::app::App;
use actix_web::{HttpRequest, HttpResponse, web};
use ifmatch_store::AuditQuery;
use serde_json::json;

/// `GET /v1/audit`
pub async fn list(app: web::Data<App>, request: HttpRequest) -> Answer {
    let mut params = Params::of(&request)?;
    let limit = params.limit()?;
    let query = AuditQuery {
        audit_type: params.text("type"),
        actor: params.text("actor"),
        since: params.parsed("since", "an RFC 3339 instant")?,
        before: params.cursor()?,
        limit: limit.saturating_add(1),
    };
    params.end()?;
    let mut items = app.reads.run(move |db| db.audits(&query)).await?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = items.len() > limit;
    items.truncate(limit);
    let next_cursor =
        items.last().filter(|_| more).map(|last| cursor(&(last.at.as_micros(), &last.id)));
    Ok(HttpResponse::Ok().json(json!({ "items": items, "next_cursor": next_cursor })))
}
