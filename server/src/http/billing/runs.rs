//! Billing runs, previews of them, and settling one subscription.

use crate::{
    app::App,
    http::core::{
        finish::to_the_end,
        objects::{check_id, living, take_version},
        page::PageText,
        problem::{HttpProblem, HttpResult},
        query::{Params, cursor},
        render::Reply,
        request::Mutation,
    },
    workers::billing::Run,
};
use actix_web::{HttpRequest, HttpResponse, web};
use ifmatch_domain::{
    Action, Outcome, Rejection,
    billing::{self, FinishBillingRun, PreviewBilling, SettleSubscription},
};
use ifmatch_store::DueSubscription;
use ifmatch_types::{
    BillingPeriod, BillingPreview, BillingRun, Code, Kind, Timestamp, TimestampError, pointer,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Maximum number of subscriptions that one preview looks at.
const PREVIEWED: i64 = 200;

/// A request for a billing run.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewBillingRun {
    /// Bill everything that is due at this instant, which is not later than now; default now.
    #[serde(default)]
    pub as_of: Option<Timestamp>,
}

/// A request for a preview of billing runs.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewBillingPreview {
    /// Preview everything that will be due at this instant; default now.
    #[serde(default)]
    pub as_of: Option<Timestamp>,
    /// Only the invoices of this subscription.
    #[serde(default)]
    pub subscription_id: Option<String>,
}

/// A request to settle a subscription.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSettlement {
    /// The version of the subscription that the caller saw. Required here or in `If-Match`.
    #[serde(default)]
    pub version: Option<i64>,
}

/// `POST /v1/billing-runs`
pub async fn run(app: web::Data<App>, mut mutation: Mutation) -> HttpResult {
    mutation.takes_no_params()?;
    let mut body = mutation.body.object()?;
    let as_of = take_as_of(&mut body)?;
    refuse_rest(&body)?;
    if as_of > Timestamp::now() {
        return Err(HttpProblem::invalid(
            "/as_of",
            "must not be later than now; a preview looks ahead",
        ));
    }
    // A repeat must not bill again.
    if let Some(replayed) = mutation.replay(&app).await? {
        return Ok(Reply::from(&replayed).into_response());
    }
    let outcome = to_the_end(async move {
        // The Idempotency-Key belongs to the run as a whole.
        let command = |action| mutation.partial_command(action);
        let run = Run::new(&app, &command, as_of).carry_out().await?;
        Ok::<_, HttpProblem>(keep(&app, &mutation, run).await)
    });
    Ok(Reply::from(&outcome.await??).into_response())
}

fn take_as_of(body: &mut Map<String, Value>) -> Result<Timestamp, HttpProblem> {
    match body.shift_remove("as_of") {
        None | Some(Value::Null) => Ok(Timestamp::now()),
        Some(Value::String(text)) => text
            .parse()
            .map_err(|error: TimestampError| HttpProblem::invalid("/as_of", error.to_string())),
        Some(_) => Err(HttpProblem::invalid("/as_of", "must be an RFC 3339 instant")),
    }
}

fn refuse_rest(body: &Map<String, Value>) -> Result<(), HttpProblem> {
    match body.keys().next() {
        Some(name) => Err(HttpProblem::invalid(pointer::member("", name), "is not a field here")),
        None => Ok(()),
    }
}

/// `POST /v1/billing-runs/preview`
pub async fn preview(app: web::Data<App>, mut mutation: Mutation) -> HttpResult {
    mutation.takes_no_params()?;
    let mut body = mutation.body.object()?;
    let as_of = take_as_of(&mut body)?;
    let subscription_id = match body.shift_remove("subscription_id") {
        None | Some(Value::Null) => None,
        Some(Value::String(id)) => Some(id),
        Some(_) => return Err(HttpProblem::invalid("/subscription_id", "must be a text")),
    };
    refuse_rest(&body)?;
    let (subscription_ids, remaining) = match subscription_id {
        Some(id) => {
            refuse_other_type(&id)?;
            (vec![known(&app, id).await?], 0)
        }
        None => due(&app, as_of).await?,
    };
    let preview = PreviewBilling { subscription_ids, as_of };
    let action = Action::Billing(billing::Action::PreviewBilling(preview));
    match mutation.submit(&app, action).await? {
        Outcome::Billing(billing::Outcome::BillingPreviewed(invoices)) => {
            Ok(HttpResponse::Ok().json(BillingPreview { invoices, remaining }))
        }
        other => Ok(Reply::from(&other).into_response()),
    }
}

/// The id of a living subscription that a body names.
async fn known(app: &App, id: String) -> Result<String, HttpProblem> {
    let path = "/subscription_id";
    let is_one = Kind::of_id(&id) == Some(Kind::Subscription);
    let found = if is_one { app.reads.find(Kind::Subscription, &id).await? } else { None };
    match living(Kind::Subscription, &id, found) {
        Ok(_) => Ok(id),
        Err(_) => Err(HttpProblem::invalid(path, format!("there is no subscription {id}"))),
    }
}

/// The subscriptions that are due until an instant, and how many more there are.
async fn due(app: &App, as_of: Timestamp) -> Result<(Vec<String>, i64), HttpProblem> {
    let found = app.reads.run(move |db| {
        let due = db.due_subscriptions(as_of, &DueSubscription::first(), PREVIEWED)?;
        Ok((due, db.count_due_subscriptions(as_of)?))
    });
    let (due, count) = found.await?;
    let seen = i64::try_from(due.len()).unwrap_or(i64::MAX);
    let ids = due.into_iter().map(|due| due.id).collect();
    Ok((ids, count.saturating_sub(seen).max(0)))
}

/// `GET /v1/subscriptions/{id}/periods`
pub async fn periods(
    app: web::Data<App>,
    request: HttpRequest,
    id: web::Path<String>,
) -> HttpResult {
    let mut params = Params::of(&request)?;
    let limit = params.limit()?;
    let before: Option<Timestamp> = params.cursor()?;
    params.end()?;
    check_id(Kind::Subscription, &id)?;
    living(Kind::Subscription, &id, app.reads.find(Kind::Subscription, &id).await?)?;
    let id = id.into_inner();
    let page = app.reads.run(move |db| {
        let mut newest_first = match db.billing_periods(&id)? {
            Ok(oldest_first) => oldest_first,
            Err(rejection) => return Ok(Err(rejection)),
        };
        newest_first.reverse();
        let page = PageText::read(limit, |last: Option<&BillingPeriod>, rows| {
            let before = last.map(|last| last.start).or(before);
            let rest = newest_first.iter().filter(|p| before.is_none_or(|before| p.start < before));
            Ok(rest.take(usize::try_from(rows).unwrap_or_default()).cloned().collect())
        });
        page.map(Ok)
    });
    let page = page.await?.map_err(|rejection| HttpProblem::from(Rejection::Billing(rejection)))?;
    Ok(page.answer(|last| cursor(&last.start)))
}

/// Refuses the id of another kind of object in the body.
fn refuse_other_type(id: &str) -> Result<(), HttpProblem> {
    match check_id(Kind::Subscription, id) {
        Err(problem) if problem.code() == Code::WrongIdType => {
            Err(problem.with("path", "/subscription_id"))
        }
        _ => Ok(()),
    }
}

/// `POST /v1/subscriptions/{id}/settle`
pub async fn settle(
    app: web::Data<App>,
    id: web::Path<String>,
    mut mutation: Mutation,
) -> HttpResult {
    let subscription_id = id.into_inner();
    check_id(Kind::Subscription, &subscription_id)?;
    let mut body = mutation.body.object()?;
    let named = mutation.conditions.and(take_version(&mut body)?)?;
    refuse_rest(&body)?;
    mutation.takes_no_params()?;
    let settle = SettleSubscription { subscription_id, precondition: named.precondition.clone() };
    let action = Action::Billing(billing::Action::SettleSubscription(settle));
    let settled = mutation.submit(&app, action).await;
    let outcome = settled.map_err(|problem: HttpProblem| named.blame(problem))?;
    Ok(Reply::from(&outcome).into_response())
}

/// Stores the answer for repeats with the same Idempotency-Key.
///
/// The run is done, so it is answered even if the answer cannot be stored. A repeat is then a new
/// run, which bills what is left.
async fn keep(app: &App, mutation: &Mutation, run: BillingRun) -> Outcome {
    if !mutation.has_idempotency_key() {
        return Outcome::Billing(billing::Outcome::BillingRun(run));
    }
    let finish =
        Action::Billing(billing::Action::FinishBillingRun(FinishBillingRun { run: run.clone() }));
    match mutation.submit(app, finish).await {
        Ok(outcome) => outcome,
        Err(problem) => {
            tracing::warn!(%problem, "the answer of a billing run is not kept for repeats");
            Outcome::Billing(billing::Outcome::BillingRun(run))
        }
    }
}
