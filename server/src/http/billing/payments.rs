//! Payments of an invoice. They are append-only and identified by the provider's reference.

use crate::{
    app::App,
    http::core::{
        objects::{check_id, check_id_of},
        problem::{HttpProblem, HttpResult},
        query::{Params, cursor, page},
        render::Reply,
        request::Mutation,
    },
};
use actix_web::{HttpRequest, HttpResponse, web};
use ifmatch_domain::{
    Action, Rejection,
    billing::{self, RecordPayment, ReinstatePayment, ReversePayment},
    core,
};
use ifmatch_types::{Kind, PaymentId, pointer};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The reason for reversing or reinstating a payment.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Reversal {
    /// 1–500 characters.
    pub reason: String,
}

/// `POST /v1/invoices/{id}/payments`
pub async fn record(
    app: web::Data<App>,
    id: web::Path<String>,
    mut mutation: Mutation,
) -> HttpResult {
    check_id(Kind::Invoice, &id)?;
    mutation.takes_no_params()?;
    let body = Value::Object(mutation.body.object()?);
    let record = RecordPayment { invoice_id: id.into_inner(), body };
    let outcome =
        mutation.submit(&app, Action::Billing(billing::Action::RecordPayment(record))).await?;
    Ok(Reply::from(&outcome).into_response())
}

/// `GET /v1/invoices/{id}/payments`
pub async fn list(app: web::Data<App>, request: HttpRequest, id: web::Path<String>) -> HttpResult {
    check_id(Kind::Invoice, &id)?;
    let mut params = Params::of(&request)?;
    let limit = params.limit()?;
    let after: String = params.cursor()?.unwrap_or_default();
    params.end()?;
    if app.reads.find(Kind::Invoice, &id).await?.is_none() {
        return Err(Rejection::Core(core::Rejection::not_found(Kind::Invoice, &id)).into());
    }
    let id = id.into_inner();
    let asked = limit.saturating_add(1);
    let payments = app.reads.run(move |db| db.payments(&id, &after, asked)).await?;
    Ok(page(payments, limit, |last| cursor(&last.id)))
}

/// `GET /v1/invoices/{id}/payments/{payment_id}`
pub async fn get(app: web::Data<App>, path: web::Path<(String, String)>) -> HttpResult {
    let (id, payment_id) = path.into_inner();
    check_id(Kind::Invoice, &id)?;
    check_id_of("payment", PaymentId::PREFIX, &payment_id)?;
    let key = payment_id.clone();
    let payment = app.reads.run(move |db| db.payment(&key)).await?;
    let payment = payment
        .filter(|payment| payment.invoice_id.as_str() == id)
        .ok_or_else(|| no_such_payment(&payment_id))?;
    Ok(HttpResponse::Ok().json(payment))
}

/// `POST /v1/invoices/{id}/payments/{payment_id}/reverse`
pub async fn reverse(
    app: web::Data<App>,
    path: web::Path<(String, String)>,
    mutation: Mutation,
) -> HttpResult {
    turn(&app, path.into_inner(), mutation, |invoice_id, payment_id, reason| {
        billing::Action::ReversePayment(ReversePayment { invoice_id, payment_id, reason })
    })
    .await
}

/// `POST /v1/invoices/{id}/payments/{payment_id}/reinstate`
pub async fn reinstate(
    app: web::Data<App>,
    path: web::Path<(String, String)>,
    mutation: Mutation,
) -> HttpResult {
    turn(&app, path.into_inner(), mutation, |invoice_id, payment_id, reason| {
        billing::Action::ReinstatePayment(ReinstatePayment { invoice_id, payment_id, reason })
    })
    .await
}

/// Reverses or reinstates a payment, for the reason in the body.
async fn turn(
    app: &App,
    (invoice_id, payment_id): (String, String),
    mut mutation: Mutation,
    action: impl FnOnce(String, String, String) -> billing::Action,
) -> HttpResult {
    check_id(Kind::Invoice, &invoice_id)?;
    check_id_of("payment", PaymentId::PREFIX, &payment_id)?;
    mutation.takes_no_params()?;
    let mut body = mutation.body.object()?;
    let reason = match body.remove("reason") {
        Some(Value::String(reason)) => reason,
        Some(_) => return Err(HttpProblem::invalid("/reason", "must be a text")),
        None => return Err(HttpProblem::invalid("/reason", "is required")),
    };
    if let Some(name) = body.keys().next() {
        return Err(HttpProblem::invalid(pointer::member("", name), "is not a field here"));
    }
    let action = Action::Billing(action(invoice_id, payment_id, reason));
    let outcome = mutation.submit(app, action).await?;
    Ok(Reply::from(&outcome).into_response())
}

fn no_such_payment(id: &str) -> HttpProblem {
    HttpProblem::not_found(format!("there is no payment {id} of this invoice"))
}
