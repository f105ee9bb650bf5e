//! How long to wait and when to stop: deadlines, backoff, and the budget for repeated sends.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;
use tokio_retry::strategy::{ExponentialBackoff, jitter};

/// The longest wait of one request. Gateways give up after 50 to 60 s.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(45);

/// Whole milliseconds, rounded up: a wait is not shorter than it was asked for.
pub(crate) fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(i64::MAX)
}

/// The instant at which a call gives up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline(Instant);

impl Deadline {
    pub(crate) fn after(limit: Duration) -> Self {
        let now = Instant::now();
        // A limit beyond the range of the clock means "a very long time".
        let long = Duration::from_secs(60 * 60 * 24 * 365);
        Self(now.checked_add(limit).or_else(|| now.checked_add(long)).unwrap_or(now))
    }

    pub(crate) fn instant(self) -> Instant {
        self.0
    }

    /// The time left, at most `limit`; `None` once it has passed.
    pub(crate) fn cap(self, limit: Duration) -> Option<Duration> {
        let left = self.0.saturating_duration_since(Instant::now());
        if left.is_zero() { None } else { Some(left.min(limit)) }
    }

    /// Whether time is left after this wait.
    pub(crate) fn allows(self, wait: Duration) -> bool {
        self.0.saturating_duration_since(Instant::now()) > wait
    }
}

/// Waiting times that double from 50 ms to 2 s, each shortened at random (full jitter).
pub(crate) struct Backoff(ExponentialBackoff);

impl Backoff {
    pub(crate) fn new() -> Self {
        Self(Self::ceilings())
    }

    /// 50, 100, 200 … 2000 ms. The base is the growth: `from_millis(50)` would be 50ⁿ.
    fn ceilings() -> ExponentialBackoff {
        ExponentialBackoff::from_millis(2).factor(25).max_delay(Duration::from_secs(2))
    }

    pub(crate) fn next(&mut self) -> Duration {
        self.0.next().map(jitter).unwrap_or_default()
    }
}

/// How many repeated sends a client may make, over all its calls.
///
/// A token bucket: each repeated send takes one, a full bucket holds `capacity`, and it refills
/// at `refill_per_second`. When it is empty, calls fail instead of piling onto a server that is
/// already in trouble. First sends are free.
///
/// ```
/// # fn example() -> Result<(), ifmatch::Error> {
/// let billing = ifmatch::Client::builder("http://127.0.0.1:8080")
///     .key("ifm_…")
///     .send_budget(ifmatch::SendBudget { capacity: 20, refill_per_second: 2 })
///     .build();
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendBudget {
    /// Maximum repeated sends at once.
    pub capacity: u32,
    /// Repeated sends added per second.
    pub refill_per_second: u32,
}

impl Default for SendBudget {
    fn default() -> Self {
        Self { capacity: 100, refill_per_second: 10 }
    }
}

/// The bucket of one client.
pub(crate) struct Bucket {
    budget: SendBudget,
    level: Mutex<(f64, Instant)>,
}

impl Bucket {
    pub(crate) fn new(budget: SendBudget) -> Self {
        Self { budget, level: Mutex::new((f64::from(budget.capacity), Instant::now())) }
    }

    /// Takes one token, if there is one.
    pub(crate) fn take(&self) -> bool {
        let mut level = self.level.lock().unwrap_or_else(PoisonError::into_inner);
        let (tokens, since) = *level;
        let now = Instant::now();
        let refilled = now.saturating_duration_since(since).as_secs_f64()
            * f64::from(self.budget.refill_per_second);
        let tokens = (tokens + refilled).min(f64::from(self.budget.capacity));
        let enough = tokens >= 1.0;
        *level = (if enough { tokens - 1.0 } else { tokens }, now);
        enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_millisecond_is_one() {
        for (nanos, expected) in [(0, 0), (1, 1), (199_999_999, 200), (200_000_000, 200)] {
            assert_eq!(ms(Duration::from_nanos(nanos)), expected);
        }
        assert_eq!(ms(WAIT_MAX), 45_000);
    }

    #[test]
    fn ceilings_double_from_50_ms_and_stop_at_2_s() {
        let ms: Vec<u128> = Backoff::ceilings().take(8).map(|wait| wait.as_millis()).collect();
        assert_eq!(ms, [50, 100, 200, 400, 800, 1600, 2000, 2000]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_bucket_runs_dry_and_refills() {
        let bucket = Bucket::new(SendBudget { capacity: 2, refill_per_second: 1 });
        assert!(bucket.take() && bucket.take());
        assert!(!bucket.take());
        tokio::time::advance(Duration::from_millis(1100)).await;
        assert!(bucket.take());
        assert!(!bucket.take());
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_caps_what_is_left_and_then_says_so() {
        let deadline = Deadline::after(Duration::from_secs(3));
        assert_eq!(deadline.cap(Duration::from_secs(9)), Some(Duration::from_secs(3)));
        assert!(!deadline.allows(Duration::from_secs(3)));
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(deadline.cap(Duration::from_secs(9)), None);
        assert!(Deadline::after(Duration::MAX).allows(Duration::from_secs(9)));
    }
}
