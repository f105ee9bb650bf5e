//! The audit log: what needed a special right, and who used or wanted it.

use super::{
    objects::Answer,
    query::{Params, cursor, page},
};
use crate::app::App;
use actix_web::{HttpRequest, web};
use ifmatch_store::AuditQuery;

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
    let records = app.reads.run(move |db| db.audits(&query)).await?;
    Ok(page(records, limit, |last| cursor(&(last.at.as_micros(), &last.id))))
}
