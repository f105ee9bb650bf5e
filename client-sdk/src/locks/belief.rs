//! How long a guard believes that it holds its lock: never longer than the server does.
//!
//! A grant lasts on the server for the time in its answer, counted from the decision. The client
//! counts the same time from before the first send of that request, which was earlier. It gives up
//! a tenth of the time before that: the clocks of the two machines may run at different rates, and
//! the work needs time to stop.

use super::{
    LockEnd,
    clock::{Clock, Reading},
};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio_retry::strategy::jitter;
use tokio_util::sync::CancellationToken;

/// The part of a grant's time for which it is not believed in, as a divisor.
///
/// A tenth is more than any clock is wrong by. A quartz is within 0.02 %; a clock that is being
/// corrected runs up to 8.3 % slower, with chrony's `maxslewrate`.
const MARGIN: u32 = 10;

/// The longest pause between two looks at the clock. Timers stand still while the machine sleeps,
/// so a wake-up or a jump of the wall clock is noticed at the next look.
const LOOK: Duration = Duration::from_secs(1);

/// What a process knows about a grant of its own.
pub(crate) struct Belief {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    ended: CancellationToken,
}

#[derive(Clone, Copy)]
enum State {
    Held(Lease),
    Ended(LockEnd),
}

/// A time for which the server grants the lock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lease {
    /// Before the first send of the request.
    pub(crate) since: Reading,
    /// As the answer says.
    pub(crate) lasts: Duration,
}

impl Lease {
    /// The time until it is not believed in any more.
    pub(crate) fn left(&self, now: Reading) -> Duration {
        let believed = self.lasts.saturating_sub(self.lasts / MARGIN);
        believed.saturating_sub(now.since(self.since))
    }
}

impl Belief {
    pub(crate) fn new(clock: Arc<dyn Clock>, lease: Lease) -> Self {
        let state = Mutex::new(State::Held(lease));
        Self { clock, state, ended: CancellationToken::new() }
    }

    pub(crate) fn now(&self) -> Reading {
        self.clock.now()
    }

    /// The time until the lock counts as lost, if it is not renewed. Notices that it is.
    pub(crate) fn left(&self) -> Duration {
        let state = *self.lock();
        let State::Held(lease) = state else { return Duration::ZERO };
        let left = lease.left(self.now());
        if left.is_zero() {
            self.end(LockEnd::Expired);
        }
        left
    }

    pub(crate) fn is_held(&self) -> bool {
        !self.left().is_zero()
    }

    /// Believes in the lock for longer. What is lost stays lost: its work was told to stop.
    pub(crate) fn renew(&self, lease: Lease) {
        let now = self.now();
        if let State::Held(held) = &mut *self.lock()
            && !held.left(now).is_zero()
        {
            *held = lease;
        }
    }

    /// Ends it. The first reason stays.
    pub(crate) fn end(&self, end: LockEnd) {
        let mut state = self.lock();
        if let State::Held(_) = *state {
            *state = State::Ended(end);
            drop(state);
            self.ended.cancel();
        }
    }

    pub(crate) fn how_it_ended(&self) -> Option<LockEnd> {
        match *self.lock() {
            State::Held(_) => None,
            State::Ended(end) => Some(end),
        }
    }

    /// A token of its own for the caller's work. Cancelling it does not end the belief.
    pub(crate) fn token(&self) -> CancellationToken {
        self.ended.child_token()
    }

    /// Waits until the lock is lost or released, with an eye on the clock.
    pub(crate) async fn run_out(&self) {
        loop {
            let left = self.left();
            if left.is_zero() {
                return;
            }
            tokio::select! {
                () = self.ended.cancelled() => return,
                () = tokio::time::sleep(left.min(LOOK)) => {}
            }
        }
    }

    /// Waits until it is time to renew: after a third of the lease, or up to a fifth of that
    /// earlier, so that locks that were acquired together are not renewed together. It is never
    /// time once the belief has ended.
    pub(crate) async fn due(&self) {
        let mut early = None;
        loop {
            let State::Held(lease) = *self.lock() else { return std::future::pending().await };
            let third = lease.lasts / 3;
            let early = *early.get_or_insert_with(|| jitter(third / 5));
            let age = self.now().since(lease.since);
            let wait = third.saturating_sub(early).saturating_sub(age);
            if wait.is_zero() {
                return;
            }
            tokio::time::sleep(wait.min(LOOK)).await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::locks::SystemClock;

    fn lease(seconds: u64) -> Lease {
        Lease { since: SystemClock.now(), lasts: Duration::from_secs(seconds) }
    }

    #[test]
    fn what_is_lost_is_not_believed_in_again() {
        let ended = Belief::new(Arc::new(SystemClock), lease(30));
        ended.end(LockEnd::TakenAway);
        ended.end(LockEnd::Released);
        let expired = Belief::new(Arc::new(SystemClock), lease(0));
        for (belief, end) in [(ended, LockEnd::TakenAway), (expired, LockEnd::Expired)] {
            let token = belief.token();
            belief.renew(lease(30));
            assert!(!belief.is_held() && token.is_cancelled(), "{end:?}");
            assert_eq!(belief.how_it_ended(), Some(end));
        }
    }
}
