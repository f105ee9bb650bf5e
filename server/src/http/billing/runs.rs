//! `POST /v1/billing-runs`: the request and its answer. The run itself is in `run`.

mod run;

use crate::{
    app::App,
    http::core::{
        finish::to_the_end,
        problem::{HttpProblem, HttpResult},
        render::Reply,
        request::Mutation,
    },
};
use actix_web::web;
use ifmatch_domain::{
    Action, Outcome,
    billing::{self, FinishBillingRun},
};
use ifmatch_types::{BillingRun, Timestamp, TimestampError, pointer};
use run::Run;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Maximum time that a run may look ahead, in microseconds. Invoice numbers cannot be taken back.
const AHEAD_MAX_US: i64 = 10 * 366 * 86_400 * 1_000_000;

/// A request for a billing run.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewBillingRun {
    /// Bill everything that is due at this instant; default now.
    #[serde(default)]
    pub as_of: Option<Timestamp>,
}

/// `POST /v1/billing-runs`
pub async fn run(app: web::Data<App>, mut mutation: Mutation) -> HttpResult {
    mutation.takes_no_params()?;
    let as_of = read_as_of(&mut mutation)?;
    // A repeat must not bill again.
    if let Some(replayed) = mutation.replay(&app).await? {
        return Ok(Reply::from(&replayed).into_response());
    }
    let outcome = to_the_end(async move {
        let run = Run::new(&app, &mutation, as_of).carry_out().await?;
        Ok::<_, HttpProblem>(keep(&app, &mutation, run).await)
    });
    Ok(Reply::from(&outcome.await??).into_response())
}

fn read_as_of(mutation: &mut Mutation) -> Result<Timestamp, HttpProblem> {
    let body = mutation.body.object()?;
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
