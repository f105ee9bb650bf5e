//! Usage: checked and recorded in one commit, set aside for later, given back.

use super::{
    objects::{Answer, check_id_of},
    problem::HttpProblem,
    query::{Params, cursor, page},
    render::render,
    request::Mutation,
    scope::Place,
};
use crate::{app::App, metrics};
use actix_web::{HttpRequest, HttpResponse, web};
use ifmatch_domain::{Action, CheckAndRecord, EndHold, HoldEnd, Outcome, PlaceHold, ReverseUsage};
use ifmatch_store::Db;
use ifmatch_types::{Code, HoldId, HoldStatus, RecordId, pointer};
use serde_json::{Map, Value};

/// So many usages in one batch at most.
const ITEMS_MAX: usize = 100;

/// `POST /v1/{scope}/usage`
pub async fn record(
    app: web::Data<App>,
    request: HttpRequest,
    place: Place,
    mutation: Mutation,
) -> Answer {
    Params::of(&request)?.end()?;
    let scope = place.scope()?;
    let items = vec![mutation.body.object()?];
    let check = CheckAndRecord { scope, items, is_batch: false };
    decide(&app, &mutation, Action::CheckAndRecord(check)).await
}

/// `POST /v1/{scope}/usage/batch`
pub async fn record_batch(
    app: web::Data<App>,
    request: HttpRequest,
    place: Place,
    mutation: Mutation,
) -> Answer {
    Params::of(&request)?.end()?;
    let scope = place.scope()?;
    let items = read_items(mutation.body.object()?)?;
    let check = CheckAndRecord { scope, items, is_batch: true };
    decide(&app, &mutation, Action::CheckAndRecord(check)).await
}

/// `GET /v1/{scope}/usage`
pub async fn list(app: web::Data<App>, request: HttpRequest, place: Place) -> Answer {
    let mut params = Params::of(&request)?;
    let limit = params.limit()?;
    let before: Option<String> = params.cursor()?;
    let feature = params.text("feature");
    params.end()?;
    let scope = place.known_scope(&app).await?.to_string();
    let asked = limit.saturating_add(1);
    let read =
        move |db: &mut Db| db.usage_records(&scope, feature.as_deref(), before.as_deref(), asked);
    let records = app.reads.run(read).await?;
    Ok(page(records, limit, |last| cursor(&last.id)))
}

/// `GET /v1/{scope}/usage/{record_id}`
pub async fn get(app: web::Data<App>, place: Place) -> Answer {
    let scope = place.scope()?.to_string();
    let id = read_record_id(&place)?;
    let key = id.clone();
    let record = app.reads.run(move |db| db.usage_record(&key)).await?;
    match record.filter(|record| record.scope == scope) {
        Some(record) => Ok(HttpResponse::Ok().json(record)),
        None => Err(no_such("usage record", &id)),
    }
}

/// `POST /v1/{scope}/usage/{record_id}/reversals`
pub async fn reverse(
    app: web::Data<App>,
    request: HttpRequest,
    place: Place,
    mutation: Mutation,
) -> Answer {
    Params::of(&request)?.end()?;
    let scope = place.scope()?;
    let record_id = read_record_id(&place)?;
    let reverse = ReverseUsage { scope, record_id, body: mutation.body.object()? };
    decide(&app, &mutation, Action::ReverseUsage(reverse)).await
}

/// `POST /v1/{scope}/usage/holds`
pub async fn hold(
    app: web::Data<App>,
    request: HttpRequest,
    place: Place,
    mutation: Mutation,
) -> Answer {
    Params::of(&request)?.end()?;
    let hold = PlaceHold { scope: place.scope()?, body: mutation.body.object()? };
    decide(&app, &mutation, Action::PlaceHold(hold)).await
}

/// `GET /v1/{scope}/usage/holds/{hold_id}`
pub async fn get_hold(app: web::Data<App>, place: Place) -> Answer {
    let scope = place.scope()?.to_string();
    let id = read_hold_id(&place)?;
    let key = id.clone();
    let hold = app.reads.run(move |db| db.hold(&key)).await?;
    match hold.filter(|hold| hold.scope == scope) {
        Some(hold) => Ok(HttpResponse::Ok().json(hold)),
        None => Err(no_such("hold", &id)),
    }
}

/// `POST /v1/{scope}/usage/holds/{hold_id}/settle`
pub async fn settle(
    app: web::Data<App>,
    request: HttpRequest,
    place: Place,
    mutation: Mutation,
) -> Answer {
    Params::of(&request)?.end()?;
    let scope = place.scope()?;
    let hold_id = read_hold_id(&place)?;
    let end = HoldEnd::Settle(mutation.body.object()?);
    decide(&app, &mutation, Action::EndHold(EndHold { scope, hold_id, end })).await
}

/// `POST /v1/{scope}/usage/holds/{hold_id}/release`
pub async fn release(
    app: web::Data<App>,
    request: HttpRequest,
    place: Place,
    mutation: Mutation,
) -> Answer {
    Params::of(&request)?.end()?;
    let scope = place.scope()?;
    let hold_id = read_hold_id(&place)?;
    let body = if mutation.body.is_empty() { Map::new() } else { mutation.body.object()? };
    let end = EndHold { scope, hold_id, end: HoldEnd::Release(body) };
    decide(&app, &mutation, Action::EndHold(end)).await
}

/// Submits a request about units and counts how it was decided.
async fn decide(app: &App, mutation: &Mutation, action: Action) -> Answer {
    let decided = mutation.submit(app, action).await;
    match &decided {
        Ok(Outcome::Usage { recorded, .. }) => {
            metrics::usage_decided("recorded", recorded.len());
        }
        Ok(Outcome::Hold { is_new: true, .. }) => metrics::usage_decided("held", 1),
        Ok(Outcome::Hold { answer, .. }) if answer.hold.status == HoldStatus::Settled => {
            metrics::usage_decided("recorded", 1);
        }
        Ok(_) => {}
        Err(problem) => match problem.code() {
            Code::EntitlementLimitExceeded => metrics::usage_decided("denied_limit", 1),
            Code::FeatureNotIncluded => metrics::usage_decided("denied_not_included", 1),
            _ => {}
        },
    }
    Ok(render(&decided?).into_response())
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

fn read_record_id(place: &Place) -> Result<String, HttpProblem> {
    check_id_of("usage record", RecordId::PREFIX, &place.member)?;
    Ok(place.member.clone())
}

fn read_hold_id(place: &Place) -> Result<String, HttpProblem> {
    check_id_of("hold", HoldId::PREFIX, &place.member)?;
    Ok(place.member.clone())
}

fn no_such(what: &'static str, id: &str) -> HttpProblem {
    HttpProblem::not_found(format!("there is no {what} {id}"))
}
