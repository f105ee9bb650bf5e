//! `POST /v1/billing-runs`: the request and its answer; the run itself is in `run`.

mod run;

use super::{
    objects::Answer, problem::HttpProblem, query::Params, render::render, request::Mutation,
};
use crate::app::App;
use actix_web::{HttpRequest, HttpResponse, web};
use ifmatch_domain::{Action, FinishBillingRun, Outcome, Rejection};
use ifmatch_types::{BillingRun, Timestamp, TimestampError, pointer};
use run::Run;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How far ahead a run may look, in microseconds: invoice numbers cannot be taken back.
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
pub async fn run(app: web::Data<App>, request: HttpRequest, mutation: Mutation) -> Answer {
    Params::of(&request)?.end()?;
    let body =
        if mutation.body.is_empty() { Default::default() } else { mutation.body.object()? };
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
    if let Some(name) = body.keys().find(|name| *name != "as_of") {
        return Err(HttpProblem::invalid(pointer::member("", name), "is not a field here"));
    }
    if let Some(replayed) = replay(&app, &mutation).await? {
        return Ok(replayed);
    }
    let run = Run::new(&app, &mutation, as_of).carry_out().await?;
    Ok(render(&keep(&app, &mutation, run).await).into_response())
}

/// Keeps the answer for repeats with the same key.
///
/// The run is done, so it is answered even if the answer cannot be kept: a repeat is then a run of
/// its own, which bills what is left.
async fn keep(app: &App, mutation: &Mutation, run: BillingRun) -> Outcome {
    if mutation.idempotency.is_none() {
        return Outcome::BillingRun(run);
    }
    let finish = Action::FinishBillingRun(FinishBillingRun { run: run.clone() });
    match app.lanes.submit(mutation.command(finish)).await {
        Ok(outcome) => {
            if matches!(outcome, Outcome::Replayed(_)) {
                crate::metrics::replayed();
            }
            outcome
        }
        Err(refusal) => {
            tracing::warn!(?refusal, "the answer of a billing run is not kept for repeats");
            Outcome::BillingRun(run)
        }
    }
}

/// The answer of an earlier run with the same key, so that a repeat does not bill anew.
async fn replay(app: &App, mutation: &Mutation) -> Result<Option<HttpResponse>, HttpProblem> {
    let Some(key) = &mutation.idempotency else { return Ok(None) };
    let (scope, name) = (key.scope.to_string(), key.key.clone());
    let answer = app.reads.run(move |db| db.answer(&scope, &name)).await?;
    match answer {
        None => Ok(None),
        Some(answer) if answer.fingerprint == key.fingerprint => {
            crate::metrics::replayed();
            Ok(Some(render(&Outcome::Replayed(answer)).into_response()))
        }
        Some(_) => Err(Rejection::IdempotencyKeyReused.into()),
    }
}
