//! A grant whose caller has not been answered yet, and its release if the caller is gone.

use crate::{
    app::App,
    http::core::{render::Reply, request::Mutation},
    lane::Refusal,
    metrics,
};
use actix_web::{HttpResponse, web};
use ifmatch_domain::{
    Action, Mutant, Outcome,
    lock::{self, LockRecord, ReleaseUnclaimed},
};
use std::{
    rc::Rc,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};
use tokio::time::sleep;

/// Pauses between two tries to release a grant while the database is away.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// A grant whose caller has not been answered yet. If it is dropped, the lock is released.
pub struct Unclaimed {
    app: web::Data<App>,
    mutation: Rc<Mutation>,
    outcome: Option<Outcome>,
    /// Whether the caller can still ask for the grant by its Idempotency-Key.
    is_wanted_again: bool,
}

impl Unclaimed {
    /// A grant, as it was decided.
    pub fn new(
        app: web::Data<App>,
        mutation: Rc<Mutation>,
        outcome: Outcome,
        is_wanted_again: bool,
    ) -> Self {
        Self { app, mutation, outcome: Some(outcome), is_wanted_again }
    }

    /// How long the grant lasts.
    pub fn remaining(&self) -> Duration {
        match &self.outcome {
            Some(Outcome::Lock(lock::Outcome::Acquired { lock, at, .. })) => {
                let micros = lock.expires_at.as_micros().saturating_sub(at.as_micros());
                Duration::from_micros(u64::try_from(micros).unwrap_or_default())
            }
            _ => Duration::ZERO,
        }
    }

    /// The answer that gives the grant to its caller.
    pub fn claim(mut self, waited: Duration) -> HttpResponse {
        let outcome = self.outcome.take().expect("a grant is claimed once");
        if let Outcome::Lock(lock::Outcome::Acquired { lock, owner, is_repeat, at, .. }) = &outcome
        {
            let result = if *is_repeat { "repeated" } else { "granted" };
            metrics::lock_acquisition(result, waited);
            if !is_repeat {
                super::observe::acquired(lock, waited);
            }
            let waited_ms = i64::try_from(waited.as_millis()).unwrap_or(i64::MAX);
            let reply = super::render::grant(lock, owner, *at, waited_ms);
            return Reply { replayed: *is_repeat, ..reply }.into_response();
        }
        Reply::from(&outcome).into_response()
    }
}

impl Drop for Unclaimed {
    fn drop(&mut self) {
        // A repeat may have the grant of a request that was answered. It is not released then.
        let Some(Outcome::Lock(lock::Outcome::Acquired { lock, is_repeat: false, .. })) =
            self.outcome.take()
        else {
            return;
        };
        if self.is_wanted_again || Mutant::GrantToTheGone.is_planted() {
            return;
        }
        let (app, mutation) = (self.app.clone(), Rc::clone(&self.mutation));
        actix_web::rt::spawn(async move {
            let result = release(&app, &mutation, &lock).await;
            metrics::lock_auto_release(result);
            if result == "failed" {
                let key = &lock.name.key;
                tracing::warn!(key, "a lock whose caller hung up was not released; it expires");
            }
            app.locks.room.wake(&lock.id);
        });
    }
}

/// Releases a grant. Tries again until the grant expires.
async fn release(app: &App, mutation: &Mutation, lock: &LockRecord) -> &'static str {
    let ttl = Duration::from_millis(u64::try_from(lock.ttl_ms).unwrap_or_default());
    let expires_at = Instant::now() + ttl;
    let mut pause = PAUSE_MIN;
    loop {
        let action = lock::Action::ReleaseUnclaimed(ReleaseUnclaimed::new(lock));
        match app.lanes.submit(mutation.cleanup(Action::Lock(action))).await {
            Ok(_) => return "released",
            // A repeat of the request has the grant now, or it ended.
            Err(Refusal::Rejected(_)) => return "kept",
            Err(Refusal::TryAgain | Refusal::KeyEnded | Refusal::Internal) => {}
        }
        if Instant::now() >= expires_at || app.stopping.load(Ordering::Relaxed) {
            return "failed";
        }
        sleep(pause).await;
        pause = pause.saturating_mul(2).min(PAUSE_MAX);
    }
}
