//! Usage: records that are checked and stored in one commit, holds, and reversals.

use super::scope_path::ScopePath;
use crate::{
    app::App,
    http::core::{
        objects::check_id_of,
        page::PageText,
        problem::{HttpProblem, HttpResult},
        query::{Params, cursor},
        render::Reply,
        request::Mutation,
    },
};
use actix_web::{HttpRequest, HttpResponse, web};
use ifmatch_domain::{
    Action,
    entitlement::{self, CheckAndRecord, EndHold, HoldEnd, PlaceHold, ReverseUsage},
};
use ifmatch_types::{HoldId, RecordId, UsageRecord, pointer};
use serde_json::{Map, Value};

/// Maximum number of usages in a request for several.
const ITEMS_MAX: usize = 100;

/// `POST /v1/{scope}/usage`
pub async fn record(app: web::Data<App>, path: ScopePath, mut mutation: Mutation) -> HttpResult {
    mutation.takes_no_params()?;
    let scope = path.scope()?;
    let items = vec![mutation.body.object()?];
    let check = CheckAndRecord { scope, items, is_batch: false };
    submit(&app, &mutation, Action::Entitlement(entitlement::Action::CheckAndRecord(check))).await
}

/// `POST /v1/{scope}/usage/batch`
pub async fn record_batch(
    app: web::Data<App>,
    path: ScopePath,
    mut mutation: Mutation,
) -> HttpResult {
    mutation.takes_no_params()?;
    let scope = path.scope()?;
    let items = read_items(mutation.body.object()?)?;
    let check = CheckAndRecord { scope, items, is_batch: true };
    submit(&app, &mutation, Action::Entitlement(entitlement::Action::CheckAndRecord(check))).await
}

/// `GET /v1/{scope}/usage`
pub async fn list(app: web::Data<App>, request: HttpRequest, path: ScopePath) -> HttpResult {
    let mut params = Params::of(&request)?;
    let limit = params.limit()?;
    let before: Option<String> = params.cursor()?;
    let feature = params.text("feature");
    params.end()?;
    let scope = path.known_scope(&app).await?.to_string();
    let page = app.reads.run(move |db| {
        PageText::read(limit, |last: Option<&UsageRecord>, rows| {
            let before = last.map(|last| last.id.as_str()).or(before.as_deref());
            db.usage_records(&scope, feature.as_deref(), before, rows)
        })
    });
    Ok(page.await?.answer(|last| cursor(&last.id)))
}

/// `GET /v1/{scope}/usage/{record_id}`
pub async fn get(app: web::Data<App>, path: ScopePath) -> HttpResult {
    let scope = path.scope()?.to_string();
    let id = read_record_id(&path)?;
    let key = id.clone();
    let record = app.reads.run(move |db| db.usage_record(&key)).await?;
    match record.filter(|record| record.scope == scope) {
        Some(record) => Ok(HttpResponse::Ok().json(record)),
        None => Err(no_such("usage record", &id)),
    }
}

/// `POST /v1/{scope}/usage/{record_id}/reversals`
pub async fn reverse(app: web::Data<App>, path: ScopePath, mut mutation: Mutation) -> HttpResult {
    let scope = path.scope()?;
    let record_id = read_record_id(&path)?;
    mutation.takes_no_params()?;
    let reverse = ReverseUsage { scope, record_id, body: mutation.body.object()? };
    submit(&app, &mutation, Action::Entitlement(entitlement::Action::ReverseUsage(reverse))).await
}

/// `POST /v1/{scope}/usage/holds`
pub async fn hold(app: web::Data<App>, path: ScopePath, mut mutation: Mutation) -> HttpResult {
    mutation.takes_no_params()?;
    let hold = PlaceHold { scope: path.scope()?, body: mutation.body.object()? };
    submit(&app, &mutation, Action::Entitlement(entitlement::Action::PlaceHold(hold))).await
}

/// `GET /v1/{scope}/usage/holds/{hold_id}`
pub async fn get_hold(app: web::Data<App>, path: ScopePath) -> HttpResult {
    let scope = path.scope()?.to_string();
    let id = read_hold_id(&path)?;
    let key = id.clone();
    let hold = app.reads.run(move |db| db.hold(&key)).await?;
    match hold.filter(|hold| hold.scope == scope) {
        Some(hold) => Ok(HttpResponse::Ok().json(hold)),
        None => Err(no_such("hold", &id)),
    }
}

/// `POST /v1/{scope}/usage/holds/{hold_id}/settle`
pub async fn settle(app: web::Data<App>, path: ScopePath, mut mutation: Mutation) -> HttpResult {
    let scope = path.scope()?;
    let hold_id = read_hold_id(&path)?;
    mutation.takes_no_params()?;
    let end = HoldEnd::Settle(mutation.body.object()?);
    submit(
        &app,
        &mutation,
        Action::Entitlement(entitlement::Action::EndHold(EndHold { scope, hold_id, end })),
    )
    .await
}

/// `POST /v1/{scope}/usage/holds/{hold_id}/release`
pub async fn release(app: web::Data<App>, path: ScopePath, mut mutation: Mutation) -> HttpResult {
    let scope = path.scope()?;
    let hold_id = read_hold_id(&path)?;
    mutation.takes_no_params()?;
    let body = mutation.body.object()?;
    let end = EndHold { scope, hold_id, end: HoldEnd::Release(body) };
    submit(&app, &mutation, Action::Entitlement(entitlement::Action::EndHold(end))).await
}

async fn submit(app: &App, mutation: &Mutation, action: Action) -> HttpResult {
    let outcome = mutation.submit(app, action).await?;
    Ok(Reply::from(&outcome).into_response())
}

/// Reads `{"items": […]}`.
fn read_items(mut body: Map<String, Value>) -> Result<Vec<Map<String, Value>>, HttpProblem> {
    let items = match body.remove("items") {
        Some(Value::Array(items)) => items,
        Some(_) => return Err(HttpProblem::invalid("/items", "must be a list")),
        None => return Err(HttpProblem::invalid("/items", "is required")),
    };
    if let Some(name) = body.keys().next() {
        return Err(HttpProblem::invalid(pointer::member("", name), "is not a field here"));
    }
    if items.is_empty() || items.len() > ITEMS_MAX {
        let message = format!("must have 1 to {ITEMS_MAX} entries, has {}", items.len());
        return Err(HttpProblem::invalid("/items", message));
    }
    let read = |(index, item)| match item {
        Value::Object(item) => Ok(item),
        _ => Err(HttpProblem::invalid(format!("/items/{index}"), "must be a JSON object")
            .with("failed_index", index)),
    };
    items.into_iter().enumerate().map(read).collect()
}

fn read_record_id(path: &ScopePath) -> Result<String, HttpProblem> {
    check_id_of("usage record", RecordId::PREFIX, &path.member)?;
    Ok(path.member.clone())
}

fn read_hold_id(path: &ScopePath) -> Result<String, HttpProblem> {
    check_id_of("hold", HoldId::PREFIX, &path.member)?;
    Ok(path.member.clone())
}

fn no_such(what: &'static str, id: &str) -> HttpProblem {
    HttpProblem::not_found(format!("there is no {what} {id}"))
}
