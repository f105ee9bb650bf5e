//! The audit log: uses of special rights, and denied attempts.

use crate::{
    app::App,
    http::core::{
        page::PageText,
        problem::{HttpProblem, HttpResult},
        query::{Params, cursor},
    },
};
use actix_web::{HttpRequest, web};
use ifmatch_store::AuditQuery;
use ifmatch_types::{AuditRecord, Timestamp};

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
        limit,
    };
    params.end()?;
    let page = app.reads.run(move |db| {
        PageText::read(limit, |last: Option<&AuditRecord>, rows| {
            let mut query = AuditQuery { limit: rows, ..query.clone() };
            if let Some(last) = last {
                query.before = Some((last.at.as_micros(), last.id.clone()));
            }
            db.audits(&query)
        })
    });
    Ok(page.await?.answer(|last| cursor(&(last.at.as_micros(), &last.id))))
}
