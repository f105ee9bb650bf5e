//! What bookings have beside what all collections have: `confirm`, what is free, and a warning.

use super::{
    objects::{Answer, check_id},
    problem::{HttpProblem, usage_of},
    query::Params,
    request::Caller,
};
use crate::{app::App, log::RequestId, metrics};
use actix_web::{HttpRequest, HttpResponse, web};
use ifmatch_domain::Rejection;
use ifmatch_store::Found;
use ifmatch_types::{BookingStatus, Date, Kind};
use serde_json::{Map, Value};

/// So many days can be asked for at once.
const DAYS_MAX: i64 = 366;

/// `GET /v1/bookables/{id}/availability`
pub async fn availability(
    app: web::Data<App>,
    request: HttpRequest,
    _caller: Caller,
    id: web::Path<String>,
) -> Answer {
    check_id(Kind::Bookable, &id)?;
    let mut params = Params::of(&request)?;
    let from = date(&mut params, "from")?;
    let to = date(&mut params, "to")?;
    params.end()?;
    let days = from.days_until(to).saturating_add(1);
    if !(1..=DAYS_MAX).contains(&days) {
        let message = format!("must make 1 to {DAYS_MAX} days, makes {days}");
        return Err(HttpProblem::invalid("?to", message));
    }
    let key = id.clone();
    if let Some(available) = app.reads.run(move |db| db.availability(&key, from, to)).await? {
        return Ok(HttpResponse::Ok().json(available));
    }
    match app.reads.find(Kind::Bookable, &id).await? {
        Some(Found::Deleted(deleted)) => Err(Rejection::Deleted(Kind::Bookable, deleted).into()),
        _ => Err(Rejection::not_found(Kind::Bookable, &id).into()),
    }
}

fn date(params: &mut Params, name: &str) -> Result<Date, HttpProblem> {
    let date = params.parsed(name, "a date such as 2026-11-22")?;
    date.ok_or_else(|| HttpProblem::invalid(format!("?{name}"), "is required"))
}

/// Takes `confirm` out of a booking to make: it is another way to say the status.
pub fn read_confirm(kind: Kind, body: &mut Map<String, Value>) -> Result<(), HttpProblem> {
    if kind != Kind::Booking {
        return Ok(());
    }
    let confirmed = BookingStatus::Confirmed.name();
    match body.remove("confirm") {
        None | Some(Value::Bool(false)) => Ok(()),
        Some(Value::Bool(true)) => match body.get("status").and_then(Value::as_str) {
            Some(status) if status != confirmed => {
                Err(HttpProblem::invalid("/confirm", "and the status say different things"))
            }
            _ => {
                body.insert("status".to_owned(), confirmed.into());
                Ok(())
            }
        },
        Some(_) => Err(HttpProblem::invalid("/confirm", "must be true or false")),
    }
}

/// Says in the log that a booking found no room, once for each that was refused.
pub fn warn_of_no_room(rejection: &Rejection, request_id: &RequestId) {
    match rejection {
        Rejection::Operation { rejection, .. } => warn_of_no_room(rejection, request_id),
        Rejection::NoRoom(no_room) => {
            let phase = no_room.phase.name();
            // There also when nobody was named: who reads the log counts on the field.
            let user_id = Value::from(no_room.user_id.as_deref());
            let usage = Value::Object(usage_of(no_room));
            metrics::booking_conflict(phase);
            tracing::warn!(
                event = "booking.capacity_exceeded",
                bookable_id = no_room.bookable_id,
                start_date = %no_room.start_date,
                end_date = %no_room.end_date,
                user_id.json = %user_id,
                requested = no_room.requested,
                capacity = no_room.capacity,
                usage.json = %usage,
                phase,
                request_id = request_id.as_str(),
                "booking.capacity_exceeded"
            );
        }
        _ => {}
    }
}
