//! A request that changes something, read once: caller, body, query, precondition, idempotency.

use super::{
    body::Body,
    caller::{self, Caller},
    endpoint::EndpointInfo,
    fence, force, idempotency,
    objects::check_id,
    precondition,
    preference::{self, HadTurn},
    problem::HttpProblem,
    query::{Params, Query},
};
use crate::{
    app::App,
    lane::{Patience, Refusal},
    log::{LogContext, RequestId},
};
use actix_web::{FromRequest, HttpMessage, HttpRequest, dev::Payload};
use futures::future::LocalBoxFuture;
use ifmatch_domain::{
    Action, Command, Outcome,
    core::{self, Claim, Force, Guard, IdempotencyKey},
};
use ifmatch_types::{Kind, id::is_some_id};

/// The id of a request in its answer and in the log.
pub fn request_id(request: &HttpRequest) -> RequestId {
    let known =
        request.extensions().get::<LogContext>().map(|context| context.request_id().clone());
    known.unwrap_or_default()
}

/// A request that passed the gate and asks for a change.
#[derive(Debug)]
pub struct Mutation {
    /// The caller.
    pub caller: Caller,
    /// The body; empty if there is none.
    pub body: Body,
    /// The Idempotency-Key, with a digest of the request.
    idempotency: Option<IdempotencyKey>,
    /// The conditional headers.
    pub conditions: precondition::Headers,
    guard: Guard,
    /// What it says about waiting for its turn.
    patience: Option<Patience>,
    request: HttpRequest,
}

impl Mutation {
    /// The parameters of the query string.
    ///
    /// # Errors
    ///
    /// As [`Query::params`].
    pub fn params(&self) -> Result<Params, HttpProblem> {
        Query::of(&self.request).params()
    }

    /// Refuses any parameter, because this path has none.
    ///
    /// # Errors
    ///
    /// Names each parameter.
    pub fn takes_no_params(&self) -> Result<(), HttpProblem> {
        self.params()?.end()
    }

    /// Takes `?force=true` and the parameters and headers that belong to it.
    ///
    /// # Errors
    ///
    /// As [`force::read`].
    pub fn force(&self, params: &mut Params) -> Result<Option<Force>, HttpProblem> {
        force::read(params, self.request.headers(), self.caller.role)
    }

    /// Takes `?force=true` of a preview.
    ///
    /// # Errors
    ///
    /// As [`force::read_unrecorded`].
    pub fn unrecorded_force(&self, params: &mut Params) -> Result<Option<Force>, HttpProblem> {
        force::read_unrecorded(params, self.caller.role)
    }

    /// The id of this request in its answer and in the log.
    pub fn request_id(&self) -> RequestId {
        request_id(&self.request)
    }

    /// A command for a part of this request, without its Idempotency-Key but under its fence.
    pub fn partial_command(&self, action: Action) -> Command {
        let guard = Guard { claim: None, fence: self.guard.fence.clone() };
        let mut command = self.caller.command(&request_id(&self.request), None, guard, action);
        command.meta.key_digest = self.idempotency.as_ref().map(caller::digest);
        command
    }

    /// A command for a preview. It leaves nothing behind, so no answer is kept. The change that it
    /// previews names the version of `If-Match` itself, as the change alone would.
    pub fn preview_command(&self, action: Action) -> Command {
        let mut command = self.partial_command(action);
        let claim = self.guard.claim.clone().filter(|claim| claim.excludes.is_some());
        command.guard.claim = claim.map(|claim| Claim { matches: None, ..claim });
        command
    }

    /// A command that undoes what this request did for nobody: under no key and no fence, because
    /// the fence may be stale by then.
    pub fn cleanup(&self, action: Action) -> Command {
        self.caller.command(&request_id(&self.request), None, Guard::default(), action)
    }

    /// Whether the request has an Idempotency-Key, so that its answer is kept.
    pub const fn has_idempotency_key(&self) -> bool {
        self.idempotency.is_some()
    }

    /// The request's Idempotency-Key.
    pub const fn idempotency_key(&self) -> Option<&IdempotencyKey> {
        self.idempotency.as_ref()
    }

    /// Submits a command for this request.
    ///
    /// # Errors
    ///
    /// The reason why it has no effect.
    pub async fn submit(&self, app: &App, action: Action) -> Result<Outcome, HttpProblem> {
        let claims = self.guard.claim.as_ref().is_some_and(|claim| claim.matches.is_some());
        self.decide(app, action).await.map_err(|refusal| {
            let problem = HttpProblem::from(refusal);
            if claims { problem.over_header() } else { problem }
        })
    }

    /// Like [`submit`](Self::submit), for a handler that does not answer with every refusal.
    ///
    /// # Errors
    ///
    /// The reason why it has no effect.
    pub async fn decide(&self, app: &App, action: Action) -> Result<Outcome, Refusal> {
        let request_id = request_id(&self.request);
        let (idempotency, guard) = (self.idempotency.clone(), self.guard.clone());
        let command = self.caller.command(&request_id, idempotency, guard, action);
        let bytes = self.body.size();
        let Some(patience) = self.patience.clone() else {
            return app.lanes.submit_with_body(command, bytes).await;
        };
        let has_ended = self.caller.has_ended(&self.request);
        let (outcome, had_turn) =
            app.lanes.submit_in_turn(command, bytes, patience, Box::new(has_ended)).await;
        if had_turn {
            self.request.extensions_mut().insert(HadTurn);
        }
        outcome
    }

    /// The kept answer to an earlier request with the same Idempotency-Key, if there is one.
    ///
    /// # Errors
    ///
    /// `IDEMPOTENCY_KEY_REUSED` if that was a different request, `STALE_FENCE`, and technical ones.
    pub async fn replay(&self, app: &App) -> Result<Option<Outcome>, HttpProblem> {
        if self.idempotency.is_none() && self.guard.fence.is_none() {
            return Ok(None);
        }
        match self.submit(app, Action::Core(core::Action::Admit(None))).await? {
            Outcome::Core(core::Outcome::Admitted) => Ok(None),
            replayed => Ok(Some(replayed)),
        }
    }
}

impl FromRequest for Mutation {
    type Error = HttpProblem;
    type Future = LocalBoxFuture<'static, Result<Self, HttpProblem>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let request = request.clone();
        let payload = payload.take();
        Box::pin(async move {
            let caller = Caller::of(&request)?;
            let body = Body::read(&request, payload).await;
            // The gate saw the key when the head arrived. It may have ended since.
            caller.refuse_ended(&request)?;
            let body = body?;
            refuse_other_type(&request)?;
            let conditions = precondition::Headers::of(&request)?;
            let claim = conditions.claim(&request)?;
            let guard = Guard { claim, fence: fence::read(&request, &caller)? };
            let idempotency = idempotency::read(&request, &caller, &conditions, &body)?;
            // The gate needs both to answer a request that no command could be made from.
            if let Some(key) = &idempotency {
                request.extensions_mut().insert(key.clone());
            }
            if let Some(fence) = &guard.fence {
                request.extensions_mut().insert(fence.clone());
            }
            let patience = preference::wait(request.headers());
            Ok(Self { caller, body, idempotency, conditions, guard, patience, request })
        })
    }
}

/// Refuses an id of another type than the collection at the beginning of the path has.
fn refuse_other_type(request: &HttpRequest) -> Result<(), HttpProblem> {
    let pattern = request.extensions().get::<EndpointInfo>().map_or("", |info| info.path);
    let collection = pattern.split('/').nth(2).unwrap_or_default();
    let kind = Kind::ALL.into_iter().find(|kind| kind.collection() == collection);
    let outermost = request.match_info().iter().next();
    match kind.zip(outermost) {
        Some((kind, (_, id))) if is_some_id(id) => check_id(kind, id),
        _ => Ok(()),
    }
}
