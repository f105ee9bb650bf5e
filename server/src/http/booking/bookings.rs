//! The parts of bookings that other collections do not have: `confirm`, and what is free.

use crate::{
    app::App,
    http::core::{
        caller::Caller,
        objects::{check_id, create_kind, living},
        problem::{HttpProblem, HttpResult},
        query::Params,
        request::Mutation,
    },
};
use actix_web::{HttpRequest, HttpResponse, web};
use ifmatch_types::{BookingStatus, Date, Kind};
use serde_json::{Map, Value};

/// Maximum days of an availability.
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
        let message = format!("must make 1 to {DAYS_MAX} days, makes {days}");
        return Err(HttpProblem::invalid("?to", message));
    }
    living(Kind::Bookable, &id, app.reads.find(Kind::Bookable, &id).await?)?;
    let id = id.into_inner();
    let available = app.reads.run(move |db| db.availability(&id, from, to)).await?;
    Ok(HttpResponse::Ok().json(available))
}

fn date(params: &mut Params, name: &str) -> Result<Date, HttpProblem> {
    let date = params.parsed(name, "a date such as 2026-11-22")?;
    date.ok_or_else(|| HttpProblem::invalid(format!("?{name}"), "is required"))
}

/// Takes `confirm` out of the body of a create: it is another way to say the status.
pub fn read_confirm(body: &mut Map<String, Value>) -> Result<(), HttpProblem> {
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
