//! Reservations of credits: set aside in one request, charged or given back in another.

use super::credits::{known_account, submit};
use crate::{
    app::App,
    http::core::{
        caller::Caller,
        objects::check_id_of,
        page::PageText,
        problem::{HttpProblem, HttpResult},
        query::{Params, cursor},
        request::Mutation,
    },
};
use actix_web::{HttpRequest, HttpResponse, web};
use ifmatch_domain::ledger::{Action, Resolution, ResolveReservation};
use ifmatch_store::ReservationQuery;
use ifmatch_types::{Reservation, ReservationStatus, TransferId};

/// The values of `?status=`.
pub fn statuses() -> [&'static str; ReservationStatus::ALL.len()] {
    ReservationStatus::ALL.map(ReservationStatus::name)
}

/// `GET /v1/workspaces/{id}/credits/reservations`
pub async fn list(app: web::Data<App>, request: HttpRequest, id: web::Path<String>) -> HttpResult {
    let mut params = Params::of(&request)?;
    let limit = params.limit()?;
    let after: String = params.cursor()?.unwrap_or_default();
    let status = params.one_of("status", &statuses(), ReservationStatus::from_name)?;
    params.end()?;
    let account_id = known_account(&app, &id).await?;
    let page = app.reads.run(move |db| {
        PageText::read(limit, |last: Option<&Reservation>, rows| {
            let after = last.map_or(after.as_str(), |last| last.id.as_str()).to_owned();
            let account_id = account_id.clone();
            db.reservations(&ReservationQuery { account_id, status, after, limit: rows })
        })
    });
    Ok(page.await?.answer(|last| cursor(&last.id)))
}

/// `GET /v1/reservations/{id}`
pub async fn get(app: web::Data<App>, request: HttpRequest, id: web::Path<String>) -> HttpResult {
    check_id_of("reservation", TransferId::PREFIX, &id)?;
    Params::of(&request)?.end()?;
    let own = Caller::of(&request)?.actor.workspace_id;
    let key = id.clone();
    let found = app.reads.run(move |db| db.reservation(&key)).await?;
    let is_seen = |found: &Reservation| own.is_none_or(|own| own == found.workspace_id);
    match found.filter(is_seen) {
        Some(reservation) => Ok(HttpResponse::Ok().json(reservation)),
        None => Err(HttpProblem::not_found(format!("there is no reservation {id}"))),
    }
}

/// `POST /v1/reservations/{id}/post`
pub async fn post(app: web::Data<App>, id: web::Path<String>, mutation: Mutation) -> HttpResult {
    resolve(&app, id.into_inner(), mutation, Resolution::Post).await
}

/// `POST /v1/reservations/{id}/void`
pub async fn void(app: web::Data<App>, id: web::Path<String>, mutation: Mutation) -> HttpResult {
    resolve(&app, id.into_inner(), mutation, Resolution::Void).await
}

async fn resolve(
    app: &App,
    reservation_id: String,
    mut mutation: Mutation,
    resolution: fn(serde_json::Map<String, serde_json::Value>) -> Resolution,
) -> HttpResult {
    check_id_of("reservation", TransferId::PREFIX, &reservation_id)?;
    mutation.takes_no_params()?;
    let resolution = resolution(mutation.body.object()?);
    let resolve = ResolveReservation { reservation_id, resolution };
    submit(app, &mutation, Action::ResolveReservation(resolve)).await
}
