//! One request for a lock: its tries, its wait, and what becomes of it if the client hangs up.

use super::waiting::Place;
use crate::{
    app::App,
    http::core::{
        caller::unaccepted,
        finish::to_the_end,
        problem::{HttpProblem, HttpResult},
        render::Reply,
        request::Mutation,
    },
    lane::Refusal,
    metrics,
};
use actix_web::web;
use futures::future::{Either, pending};
use ifmatch_domain::{
    Action, Mutant, Outcome, Rejection,
    lock::{self, AcquireLock, ReleaseLock},
};
use ifmatch_types::{Code, LockHeld};
use std::{
    future::Future,
    rc::Rc,
    time::{Duration, Instant},
};
use tokio::{sync::oneshot, time::sleep_until};

/// One request for a lock.
pub struct Acquisition {
    app: web::Data<App>,
    mutation: Rc<Mutation>,
    acquire: AcquireLock,
    wait: Duration,
}

/// How one try ended.
enum Tried {
    Granted(Box<Unclaimed>),
    /// The lock is not free, at the earliest until so much later.
    Held(Box<LockHeld>, Duration),
    Failed(Refusal),
}

impl Acquisition {
    /// A request that waits for the lock for at most so long.
    pub fn new(
        app: web::Data<App>,
        mutation: Mutation,
        acquire: AcquireLock,
        wait: Duration,
    ) -> Self {
        Self { app, mutation: Rc::new(mutation), acquire, wait }
    }

    /// Acquires the lock, or tells why not.
    ///
    /// # Errors
    ///
    /// `LOCK_ACQUISITION_FAILED`, `LOCK_TIMEOUT`, `TRY_AGAIN` if too many wait, and the reasons to
    /// refuse any command.
    pub async fn carry_out(self) -> HttpResult {
        if self.wait.is_zero() {
            return self.try_once().await;
        }
        if Mutant::GrantToTheGone.is_planted() {
            return to_the_end(self.wait_for_it()).await?;
        }
        self.wait_for_it().await
    }

    async fn try_once(&self) -> HttpResult {
        match self.attempt().await {
            Tried::Granted(granted) => Ok(granted.claim(Duration::ZERO)),
            Tried::Held(held, after) => {
                metrics::lock_acquisition("held", Duration::ZERO);
                let code = Code::LockAcquisitionFailed;
                Err(super::problem::held(code, &held, after))
            }
            Tried::Failed(refusal) => Err(refusal.into()),
        }
    }

    async fn wait_for_it(self) -> HttpResult {
        let began_at = Instant::now();
        let deadline = began_at + self.wait;
        let key_id = &self.mutation.caller.key_id;
        let Some(place) = self.app.locks.room.enter(self.acquire.id(), key_id) else {
            return self.without_a_place().await;
        };
        loop {
            let is_in_time = next_turn(&place, deadline).await;
            if place.is_closed() {
                return Err(Refusal::TryAgain.into());
            }
            // The key may have been revoked or have expired since the request arrived.
            if self.app.keyring.has_ended(key_id) {
                return Err(unaccepted());
            }
            if !is_in_time {
                metrics::lock_acquisition("timeout", began_at.elapsed());
                return Err(self.timed_out(&place, began_at.elapsed()));
            }
            if place.holder_ends_at().is_some_and(|end| Instant::now() < end) {
                // It is the first now, and the one before it has the lock.
                continue;
            }
            match self.attempt().await {
                Tried::Granted(granted) => {
                    place.note_granted(granted.remaining());
                    return Ok(granted.claim(began_at.elapsed()));
                }
                Tried::Held(held, after) => place.note_held(&held, after),
                Tried::Failed(refusal) => return Err(refusal.into()),
            }
        }
    }

    /// The waiting room is full: the lock may be free all the same.
    async fn without_a_place(&self) -> HttpResult {
        match self.attempt().await {
            Tried::Granted(granted) => Ok(granted.claim(Duration::ZERO)),
            Tried::Held(..) => {
                let detail = "too many callers wait for locks; send this again later";
                Err(HttpProblem::new(Code::TryAgain, detail))
            }
            Tried::Failed(refusal) => Err(refusal.into()),
        }
    }

    fn timed_out(&self, place: &Place, waited: Duration) -> HttpProblem {
        let held = place.held().unwrap_or_else(|| self.acquire.name().held_by_unknown());
        super::problem::held(
            Code::LockTimeout,
            &LockHeld { waited_ms: ms(waited), ..held },
            Duration::ZERO,
        )
    }

    /// Tries to acquire the lock, whatever becomes of the client meanwhile.
    ///
    /// A command that is on its way may be decided although its client is gone. Its grant then gets
    /// nobody's, and is released.
    fn attempt(&self) -> impl Future<Output = Tried> + use<> {
        let (tell, told) = oneshot::channel();
        let (app, mutation) = (self.app.clone(), Rc::clone(&self.mutation));
        let acquire = self.acquire.clone();
        let is_wanted_again = mutation.has_idempotency_key() && self.wait.is_zero();
        let attempt = to_the_end(async move {
            let action = Action::Lock(lock::Action::AcquireLock(acquire));
            let tried = match mutation.decide(&app, action).await {
                Ok(outcome) => Tried::Granted(Box::new(Unclaimed::new(
                    app,
                    mutation,
                    outcome,
                    is_wanted_again,
                ))),
                Err(Refusal::Rejected(Rejection::Lock(lock::Rejection::Held {
                    held,
                    after_ms,
                }))) => {
                    let after = Duration::from_millis(u64::try_from(after_ms).unwrap_or_default());
                    Tried::Held(held, after)
                }
                Err(refusal) => Tried::Failed(refusal),
            };
            // If the client is gone, this drops a grant, which releases it.
            let _ = tell.send(tried);
        });
        async move {
            match attempt.await {
                Ok(()) => told.await.unwrap_or(Tried::Failed(Refusal::Internal)),
                Err(_) => Tried::Failed(Refusal::Internal),
            }
        }
    }
}

/// Waits until it may be this waiter's turn. `false` if the time is over.
async fn next_turn(place: &Place, deadline: Instant) -> bool {
    let holder_ends = match place.holder_ends_at() {
        Some(end) => Either::Left(sleep_until(end.into())),
        None => Either::Right(pending()),
    };
    tokio::select! {
        biased;
        () = place.turn() => true,
        () = holder_ends => true,
        () = sleep_until(deadline.into()) => false,
    }
}

/// A grant whose caller has not been answered yet. If it is dropped, the lock is released.
struct Unclaimed {
    app: web::Data<App>,
    mutation: Rc<Mutation>,
    outcome: Option<Outcome>,
    /// Whether the caller can still ask for the grant by its Idempotency-Key.
    is_wanted_again: bool,
}

impl Unclaimed {
    fn new(
        app: web::Data<App>,
        mutation: Rc<Mutation>,
        outcome: Outcome,
        is_wanted_again: bool,
    ) -> Self {
        Self { app, mutation, outcome: Some(outcome), is_wanted_again }
    }

    /// How long the grant lasts.
    fn remaining(&self) -> Duration {
        match &self.outcome {
            Some(Outcome::Lock(lock::Outcome::Acquired { lock, at, .. })) => {
                let micros = lock.expires_at.as_micros().saturating_sub(at.as_micros());
                Duration::from_micros(u64::try_from(micros).unwrap_or_default())
            }
            _ => Duration::ZERO,
        }
    }

    /// The answer that gives the grant to its caller.
    fn claim(mut self, waited: Duration) -> actix_web::HttpResponse {
        let outcome = self.outcome.take().expect("a grant is claimed once");
        if let Outcome::Lock(outcome @ lock::Outcome::Acquired { is_repeat, .. }) = &outcome {
            let result = if *is_repeat { "repeated" } else { "granted" };
            metrics::lock_acquisition(result, waited);
            super::observe::acquired(outcome, waited);
            return super::render::grant(outcome, ms(waited)).into_response();
        }
        Reply::from(&outcome).into_response()
    }
}

impl Drop for Unclaimed {
    fn drop(&mut self) {
        let Some(Outcome::Lock(lock::Outcome::Acquired { lock, owner, .. })) = self.outcome.take()
        else {
            return;
        };
        if self.is_wanted_again || Mutant::GrantToTheGone.is_planted() {
            return;
        }
        let (app, mutation) = (self.app.clone(), Rc::clone(&self.mutation));
        let release = ReleaseLock::new(lock.name.clone(), owner.expose().to_owned());
        let Ok(release) = release else { return };
        actix_web::rt::spawn(async move {
            let action = Action::Lock(lock::Action::ReleaseLock(release));
            let command = mutation.partial_command(action);
            match app.lanes.submit(command).await {
                Ok(_) => metrics::lock_auto_release("released"),
                Err(refusal) => {
                    metrics::lock_auto_release("failed");
                    tracing::warn!(
                        ?refusal,
                        key = lock.name.key,
                        "a lock whose caller hung up was not released; it expires"
                    );
                }
            }
            app.locks.room.wake(&lock.id);
        });
    }
}

fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
