//! The parts of bookings that other collections do not have: `confirm` and availability.

use crate::{
    app::App,
    http::core::{
        caller::Caller,
        objects::{check_id, create_kind, living},
        problem::{HttpProblem, HttpResult, rejection},
        query::Params,
        request::Mutation,
    },
};
use actix_web::{HttpRequest, HttpResponse, web};
use ifmatch_domain::core::Rejection;
use ifmatch_types::{BookingStatus, Date, Kind};
use serde_json::{Map, Value};

/// Maximum number of days of an availability.
const DAYS_MAX: i64 = 366;

/// `POST /v1/bookings`
pub async fn create(app: web::Data<App>, mut mutation: Mutation) -> HttpResult {
    mutation.takes_no_params()?;
    let mut body = mutation.body.object()?;
    read_confirm(&mut body)?;
    create_kind(Kind::Booking, &app, &mutation, body).await
}

/// `GET /v1/bookables/{id}/availability`
pub async fn availability(
    app: web::Data<App>,
    request: HttpRequest,
    _caller: Caller,
    id: web::Path<String>,
) -> HttpResult {
    check_id(Kind::Bookable, &id)?;
    let mut params = Params::of(&request)?;
    let from = date(&mut params, "from")?;
    let to = date(&mut params, "to")?;
    params.end()?;
    let days = from.days_until(to).saturating_add(1);
    if !(1..=DAYS_MAX).contains(&days) {
        let message = format!("must give a range of 1 to {DAYS_MAX} days, gives {days}");
        return Err(HttpProblem::invalid("?to", message));
    }
    let key = id.clone();
    if let Some(available) = app.reads.run(move |db| db.availability(&key, from, to)).await? {
        return Ok(HttpResponse::Ok().json(available));
    }
    living(Kind::Bookable, &id, app.reads.find(Kind::Bookable, &id).await?)?;
    Err(rejection::problem(Rejection::not_found(Kind::Bookable, &id)))
}

fn date(params: &mut Params, name: &str) -> Result<Date, HttpProblem> {
    let date = params.parsed(name, "a date such as 2026-11-22")?;
    date.ok_or_else(|| HttpProblem::invalid(format!("?{name}"), "is required"))
}

/// Takes `confirm` out of a create's body. It is another way to set the status.
pub fn read_confirm(body: &mut Map<String, Value>) -> Result<(), HttpProblem> {
    let confirmed = BookingStatus::Confirmed.name();
    match body.remove("confirm") {
        None | Some(Value::Bool(false)) => Ok(()),
        Some(Value::Bool(true)) => match body.get("status").and_then(Value::as_str) {
            Some(status) if status != confirmed => {
                Err(HttpProblem::invalid("/confirm", "contradicts the status"))
            }
            _ => {
                body.insert("status".to_owned(), confirmed.into());
                Ok(())
            }
        },
        Some(_) => Err(HttpProblem::invalid("/confirm", "must be true or false")),
    }
}
