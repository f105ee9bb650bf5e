//! What a connection and its requests tell each other: who is served, and when to hang up.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    task::Waker,
    time::{Duration, Instant},
};

/// How long a client may still send after it was refused.
const LINGER: Duration = Duration::from_secs(1);
/// Time for a head to arrive, after a connection was kept open the whole time.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a connection may be without a request.
#[derive(Clone, Copy, Debug)]
pub struct Patience(Duration);

impl Patience {
    /// The library itself closes a connection that was silent for `keep_alive`.
    pub fn new(keep_alive: Duration) -> Self {
        Self(keep_alive.saturating_add(HEAD_TIMEOUT))
    }
}

/// A connection, as its requests and the count of all connections see it.
///
/// The HTTP library waits without a limit for the rest of a body that nobody reads, for the first
/// request, and for a head that has begun. The socket asks here when to stop waiting.
#[derive(Debug)]
pub struct Line {
    patience: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Requests that are being answered.
    requests: usize,
    /// Since when the client takes nothing of what is sent to it.
    stalled_since: Option<Instant>,
    /// When the last request ended, or the connection began.
    idle_since: Instant,
    /// The end of the connection, once it is known.
    close_at: Option<Instant>,
    /// Whether the connection ends although an answer is not sent yet.
    is_hung_up: bool,
    /// Whether its place was given to another connection.
    is_given_up: bool,
    waker: Option<Waker>,
}

impl Line {
    /// A new connection.
    pub fn new(Patience(patience): Patience) -> Self {
        let state = State {
            requests: 0,
            stalled_since: None,
            idle_since: Instant::now(),
            close_at: None,
            is_hung_up: false,
            is_given_up: false,
            waker: None,
        };
        Self { patience, state: Mutex::new(state) }
    }

    /// Notes that a request began.
    pub fn begin(&self) {
        let mut state = self.state();
        state.requests = state.requests.saturating_add(1);
    }

    /// Notes that a request was answered.
    pub fn end(&self) {
        let mut state = self.state();
        state.requests = state.requests.saturating_sub(1);
        state.idle_since = Instant::now();
    }

    /// Closes the connection soon, because its client was refused and may send for ever.
    pub fn close_soon(&self) {
        self.close_at(Instant::now() + LINGER);
    }

    /// Closes the connection now, because another one needs its place.
    pub fn give_up(&self) {
        self.state().is_given_up = true;
        self.close_at(Instant::now());
    }

    /// Closes the connection now, although its client has not taken all of an answer.
    pub fn hang_up(&self) {
        self.state().is_hung_up = true;
        self.close_at(Instant::now());
    }

    /// Whether what is still to be sent is given up.
    pub(super) fn is_hung_up(&self) -> bool {
        self.state().is_hung_up
    }

    fn close_at(&self, at: Instant) {
        let mut state = self.state();
        state.close_at = Some(state.close_at.map_or(at, |earlier| earlier.min(at)));
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
    }

    /// Since when the connection has had no request and nothing to send.
    ///
    /// `None` while it has, and once its place was given to another one.
    pub fn idle_since(&self) -> Option<Instant> {
        let state = self.state();
        let is_idle = state.requests == 0 && state.stalled_since.is_none() && !state.is_given_up;
        is_idle.then_some(state.idle_since)
    }

    /// When to stop reading from the client. Changes wake the task of `waker`.
    pub(super) fn close_due(&self, waker: &Waker) -> Option<Instant> {
        let mut state = self.state();
        if !state.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            state.waker = Some(waker.clone());
        }
        let waits = state.requests == 0 && state.stalled_since.is_none();
        let patience_ends = waits.then(|| state.idle_since + self.patience);
        [state.close_at, patience_ends].into_iter().flatten().min()
    }

    /// Notes whether the client takes what is sent to it.
    pub(super) fn set_stalled(&self, is_stalled: bool) {
        let mut state = self.state();
        let since = state.stalled_since.unwrap_or_else(Instant::now);
        state.stalled_since = is_stalled.then_some(since);
    }

    /// Since when the client takes nothing of what is sent to it. `None` while it does.
    pub fn stalled_since(&self) -> Option<Instant> {
        self.state().stalled_since
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::task::noop_waker;

    #[test]
    fn a_connection_ends_when_it_was_idle_too_long_or_its_client_was_refused() {
        let line = Line::new(Patience::new(Duration::from_secs(130)));
        let waker = noop_waker();
        let since = line.idle_since().unwrap();
        assert_eq!(line.close_due(&waker), Some(since + Duration::from_secs(140)));
        line.begin();
        assert_eq!((line.idle_since(), line.close_due(&waker)), (None, None));
        line.close_soon();
        let due = line.close_due(&waker).unwrap();
        assert!(due <= Instant::now() + LINGER);
        line.end();
        assert_eq!(line.close_due(&waker), Some(due));
        assert!(line.idle_since().is_some(), "another one can have its place");
        line.give_up();
        assert_eq!(line.idle_since(), None);
        assert!(line.close_due(&waker).unwrap() <= Instant::now());
    }

    #[test]
    fn a_connection_whose_answer_is_not_taken_is_not_idle() {
        let line = Line::new(Patience::new(Duration::from_secs(1)));
        line.set_stalled(true);
        let since = line.stalled_since();
        assert!(since.is_some());
        assert_eq!((line.idle_since(), line.close_due(&noop_waker())), (None, None));
        line.set_stalled(true);
        assert_eq!(line.stalled_since(), since, "it counts from the first time");
        line.set_stalled(false);
        assert!(line.idle_since().is_some() && line.stalled_since().is_none());
    }
}
