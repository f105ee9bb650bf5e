//! The audit log: uses of special rights, and denied attempts.

use crate::{
    app::App,
    http::core::{
        problem::{HttpProblem, HttpResult},
        query::{Params, cursor, page},
    },
};
use actix_web::{HttpRequest, web};
use ifmatch_store::AuditQuery;
use ifmatch_types::Timestamp;

/// `GET /v1/audit`
pub async fn list(app: web::Data<App>, request: HttpRequest) -> HttpResult {
    let mut params = Params::of(&request)?;
    let limit = params.limit()?;
    let since = params.text("since").map(|text| text.parse::<Timestamp>()).transpose();
    let query = AuditQuery {
        audit_type: params.text("type"),
        actor: params.text("actor"),
        since: since.map_err(|error| HttpProblem::invalid("?since", error.to_string()))?,
        before: params.cursor()?,
        limit: limit.saturating_add(1),
    };
    params.end()?;
    let records = app.reads.run(move |db| db.audits(&query)).await?;
    Ok(page(records, limit, |last| cursor(&(last.at.as_micros(), &last.id))))
}
