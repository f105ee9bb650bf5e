//! One request for a lock: its tries, its wait, and what becomes of it if the client hangs up.

use super::{unclaimed::Unclaimed, waiting::Place};
use crate::{
    app::App,
    http::core::{
        caller::unaccepted,
        finish::to_the_end,
        problem::{HttpProblem, HttpResult},
        request::Mutation,
    },
    lane::Refusal,
    metrics,
};
use actix_web::web;
use futures::future::{Either, pending};
use ifmatch_domain::{
    Action, Mutant, Rejection,
    lock::{self, AcquireLock},
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
        let key = self.mutation.idempotency_key();
        let key_id = &self.mutation.caller.key_id;
        let Some(place) = self.app.locks.room.enter(self.acquire.id(), key_id, key) else {
            return self.without_a_place().await;
        };
        if !place.is_first() && self.is_answered().await? {
            // The grant is the caller's own. Its place would come only after the grant's end.
            return self.try_once().await;
        }
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
                return self.too_late(&place, began_at.elapsed()).await;
            }
            if place.must_wait() {
                // It is the first now, and the one before it has the lock.
                continue;
            }
            let wakes = place.wakes();
            match self.attempt().await {
                Tried::Granted(granted) => {
                    place.note_granted(granted.remaining(), wakes);
                    return Ok(granted.claim(began_at.elapsed()));
                }
                Tried::Held(held, after) => place.note_held(&held, after, wakes),
                Tried::Failed(refusal) => return Err(refusal.into()),
            }
        }
    }

    /// Whether an earlier send of this request got the lock.
    async fn is_answered(&self) -> Result<bool, HttpProblem> {
        Ok(self.mutation.replay(&self.app).await?.is_some())
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

    /// The time is over, unless an earlier send got the lock through another server.
    async fn too_late(&self, place: &Place, waited: Duration) -> HttpResult {
        // If this cannot be asked now, a repeat can.
        if matches!(self.is_answered().await, Ok(true)) {
            return self.try_once().await;
        }
        metrics::lock_acquisition("timeout", waited);
        let held = match place.held() {
            Some(held) => held,
            None => self.read_held().await,
        };
        let held = LockHeld { waited_ms: ms(waited), ..held };
        Err(super::problem::held(Code::LockTimeout, &held, Duration::ZERO))
    }

    /// Who holds the lock, if no waiter has seen it yet.
    async fn read_held(&self) -> LockHeld {
        let id = self.acquire.id().to_owned();
        let read = self.app.reads.run(move |db| db.lock(&id)).await;
        let lock = read.ok().and_then(|(lock, now)| Some(lock?.held(now)));
        lock.unwrap_or_else(|| self.acquire.name().held_by_unknown())
    }

    /// Tries to acquire the lock, whatever becomes of the client meanwhile.
    ///
    /// A command that is on its way may be decided although its client is gone. The grant is then
    /// released.
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

fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
