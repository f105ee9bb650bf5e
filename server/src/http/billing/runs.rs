//! The billing run: one command per due subscription, each a commit of its own.
//!
//! A run that is raced, killed or repeated makes nothing twice: what is due is decided on the locked
//! subscription, and a second invoice for a period is refused by the database.

use crate::{
    app::App,
    http::core::{
        problem::{HttpProblem, HttpResult},
        render::Reply,
        request::Mutation,
    },
    lane::Refusal,
};
use actix_web::web;
use futures::{StreamExt, stream};
use ifmatch_domain::{Action, BillSubscription, FinishBillingRun, Outcome, Rejection};
use ifmatch_types::{BillingRun, Code, Timestamp, TimestampError, pointer};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Due subscriptions looked up at a time.
const PAGE: i64 = 500;
/// Subscriptions billed at the same time: they share commits.
const CONCURRENT: usize = 64;
/// A run may look ahead ten years, in microseconds. Invoice numbers cannot be taken back.
const AHEAD_MAX_US: i64 = 10 * 366 * 86_400 * 1_000_000;

/// What is to be billed.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewBillingRun {
    /// Bill everything due at this instant; default now.
    #[serde(default)]
    pub as_of: Option<Timestamp>,
}

/// `POST /v1/billing-runs`
pub async fn run(app: web::Data<App>, mut mutation: Mutation) -> HttpResult {
    mutation.takes_no_params()?;
    let as_of = read_as_of(&mut mutation)?;
    // A repeat must not bill anew.
    if let Some(replayed) = mutation.replay(&app).await? {
        return Ok(Reply::from(&replayed).into_response());
    }
    let run = bill_everything(&app, &mutation, as_of).await?;
    let finish = Action::FinishBillingRun(FinishBillingRun { run });
    let outcome = mutation.submit(&app, finish).await?;
    Ok(Reply::from(&outcome).into_response())
}

fn read_as_of(mutation: &mut Mutation) -> Result<Timestamp, HttpProblem> {
    let body = mutation.body.object_or_empty()?;
    let as_of = match body.get("as_of") {
        None => Timestamp::now(),
        Some(Value::String(text)) => text
            .parse()
            .map_err(|error: TimestampError| HttpProblem::invalid("/as_of", error.to_string()))?,
        Some(_) => return Err(HttpProblem::invalid("/as_of", "must be an RFC 3339 instant")),
    };
    let latest = Timestamp::now().as_micros().saturating_add(AHEAD_MAX_US);
    if as_of.as_micros() > latest {
        return Err(HttpProblem::invalid("/as_of", "must be at most ten years ahead"));
    }
    match body.keys().find(|name| *name != "as_of") {
        Some(name) => Err(HttpProblem::invalid(pointer::member("", name), "is not a field here")),
        None => Ok(as_of),
    }
}

async fn bill_everything(
    app: &web::Data<App>,
    mutation: &Mutation,
    as_of: Timestamp,
) -> Result<BillingRun, HttpProblem> {
    let mut run = BillingRun { as_of, made: 0, skipped: 0, failed: 0 };
    let mut after = String::new();
    loop {
        let from = after.clone();
        let due = app.reads.run(move |db| db.due_subscriptions(as_of, &from, PAGE)).await?;
        let Some(last) = due.last() else { return Ok(run) };
        after.clone_from(last);
        let billed = stream::iter(due)
            .map(|id| bill_one(app, mutation, id, as_of))
            .buffer_unordered(CONCURRENT)
            .collect::<Vec<_>>()
            .await;
        for outcome in billed {
            let Billed { made, skipped, failed } = outcome?;
            run.made = run.made.saturating_add(made);
            run.skipped = run.skipped.saturating_add(skipped);
            run.failed = run.failed.saturating_add(failed);
        }
    }
}

/// The result of billing one due subscription.
struct Billed {
    made: i64,
    skipped: i64,
    failed: i64,
}

async fn bill_one(
    app: &App,
    mutation: &Mutation,
    id: String,
    as_of: Timestamp,
) -> Result<Billed, HttpProblem> {
    let mut billed = Billed { made: 0, skipped: 0, failed: 0 };
    loop {
        let bill = BillSubscription { subscription_id: id.clone(), as_of };
        // The Idempotency-Key belongs to the run as a whole.
        let command = mutation.partial_command(Action::BillSubscription(bill));
        match app.lanes.submit(command).await {
            Ok(Outcome::Billed { made, more, .. }) => {
                billed.made = billed.made.saturating_add(made);
                if !more {
                    billed.skipped = i64::from(billed.made == 0);
                    return Ok(billed);
                }
            }
            Ok(_) => return Err(HttpProblem::new(Code::Internal, "a bill was answered oddly")),
            Err(Refusal::Rejected(Rejection::Deleted(..) | Rejection::NotFound { .. })) => {
                billed.skipped = i64::from(billed.made == 0);
                return Ok(billed);
            }
            Err(Refusal::Rejected(rejection)) => {
                let problem = HttpProblem::from(rejection);
                tracing::warn!(subscription_id = id, %problem, "a subscription could not be billed");
                billed.failed = 1;
                return Ok(billed);
            }
            // Everything billed so far stays. The run can be sent again for the rest.
            Err(refusal) => return Err(refusal.into()),
        }
    }
}
