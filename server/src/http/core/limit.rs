//! The rate limit: a token bucket per API key, or per address before a key is known.
//!
//! The headers follow draft-ietf-httpapi-ratelimit-headers: `RateLimit-Policy` states the limit,
//! `RateLimit` what is left of it.

use crate::network::caller_network;
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use governor::{
    Quota, RateLimiter,
    clock::{Clock, DefaultClock},
    middleware::StateInformationMiddleware,
    state::keyed::DashMapStateStore,
};
use ifmatch_types::ApiKeyId;
use std::{
    net::IpAddr,
    num::NonZeroU32,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

/// Number of checks after which full buckets are dropped.
const CHECKS_PER_SWEEP: u32 = 16_384;

/// A group of requests that are counted together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Counted {
    /// All requests with one API key.
    Key(ApiKeyId),
    /// All requests without an accepted key from one address.
    Address(IpAddr),
}

impl Counted {
    /// Requests from this address, and from those that stand for the same caller.
    pub fn at(address: IpAddr) -> Self {
        Self::Address(caller_network(address))
    }
}

/// Whether a request may pass, and what to tell its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// There is no limit.
    Unlimited,
    /// It may pass.
    Passed {
        /// Requests per second that are always possible.
        rate: u32,
        /// Requests that could follow at once.
        remaining: u32,
        /// Seconds until the bucket is full again, rounded up.
        reset_s: u64,
    },
    /// It may not pass.
    Refused {
        /// Requests per second that are always possible.
        rate: u32,
        /// Time until a request would pass.
        wait: Duration,
    },
}

impl Verdict {
    /// Whether the request is refused.
    pub fn is_refused(&self) -> bool {
        matches!(self, Self::Refused { .. })
    }

    /// Milliseconds until a refused request would pass, rounded up; 0 if it was not refused.
    pub fn retry_after_ms(&self) -> u64 {
        match self {
            Self::Refused { wait, .. } => {
                u64::try_from(wait.as_micros().div_ceil(1_000)).unwrap_or(u64::MAX)
            }
            Self::Unlimited | Self::Passed { .. } => 0,
        }
    }

    /// Adds `RateLimit-Policy` and `RateLimit`, and to a refusal `Retry-After` (whole seconds).
    pub fn write_headers(&self, headers: &mut HeaderMap) {
        let (rate, remaining, reset_s) = match *self {
            Self::Unlimited => return,
            Self::Passed { rate, remaining, reset_s } => (rate, remaining, reset_s),
            Self::Refused { rate, wait } => (rate, 0, whole_seconds(wait)),
        };
        let mut insert = |name: HeaderName, value: String| {
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(name, value);
            }
        };
        let policy = format!(r#""default";q={rate};w=1"#);
        insert(HeaderName::from_static("ratelimit-policy"), policy);
        let left = format!(r#""default";r={remaining};t={reset_s}"#);
        insert(HeaderName::from_static("ratelimit"), left);
        if self.is_refused() {
            insert(RETRY_AFTER, reset_s.to_string());
        }
    }
}

type Buckets<C> = RateLimiter<Counted, DashMapStateStore<Counted>, C, StateInformationMiddleware>;

/// The rate limit of this process: `rate` requests per second and caller, and bursts of twice that.
pub struct Limiter<C: Clock = DefaultClock> {
    active: Option<Active<C>>,
}

struct Active<C: Clock> {
    rate: NonZeroU32,
    burst: NonZeroU32,
    buckets: Buckets<C>,
    clock: C,
    checks: AtomicU32,
}

impl Limiter {
    /// A limit of `rate` requests per second; 0 is no limit.
    pub fn new(rate: u32) -> Self {
        Self::with_clock(rate, DefaultClock::default())
    }
}

impl<C: Clock + Clone> Limiter<C> {
    fn with_clock(rate: u32, clock: C) -> Self {
        let active = NonZeroU32::new(rate).map(|rate| {
            let burst = rate.saturating_mul(NonZeroU32::MIN.saturating_add(1));
            let quota = Quota::per_second(rate).allow_burst(burst);
            let buckets = RateLimiter::dashmap_with_clock(quota, clock.clone())
                .with_middleware::<StateInformationMiddleware>();
            Active { rate, burst, buckets, clock, checks: AtomicU32::new(0) }
        });
        Self { active }
    }

    /// Counts one request of this caller, unless it may not pass.
    pub fn check(&self, caller: &Counted) -> Verdict {
        let Some(active) = &self.active else { return Verdict::Unlimited };
        active.sweep_now_and_then();
        let rate = active.rate.get();
        match active.buckets.check_key(caller) {
            Ok(snapshot) => {
                let remaining = snapshot.remaining_burst_capacity();
                let spent = active.burst.get().saturating_sub(remaining);
                Verdict::Passed { rate, remaining, reset_s: spent.div_ceil(rate).into() }
            }
            Err(until) => Verdict::Refused { rate, wait: until.wait_time_from(active.clock.now()) },
        }
    }

    /// Number of callers with a bucket.
    #[cfg(test)]
    pub fn callers(&self) -> usize {
        self.active.as_ref().map_or(0, |active| active.buckets.len())
    }
}

impl<C: Clock> Active<C> {
    /// Drops full buckets from time to time.
    ///
    /// They hold no information. Memory is therefore bounded by the number of recent callers.
    fn sweep_now_and_then(&self) {
        let check = self.checks.fetch_add(1, Ordering::Relaxed);
        if check % CHECKS_PER_SWEEP == CHECKS_PER_SWEEP - 1 {
            self.buckets.retain_recent();
            self.buckets.shrink_to_fit();
        }
    }
}

fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use governor::clock::FakeRelativeClock;

    fn key(digit: char) -> Counted {
        Counted::Key(format!("key_{}", digit.to_string().repeat(32)).parse().unwrap())
    }

    fn headers(verdict: Verdict) -> Vec<(String, String)> {
        let mut headers = HeaderMap::new();
        verdict.write_headers(&mut headers);
        let mut list: Vec<_> = headers
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
            .collect();
        list.sort();
        list
    }

    #[test]
    fn a_burst_of_twice_the_rate_passes_and_then_the_rate() {
        let clock = FakeRelativeClock::default();
        let limiter = Limiter::with_clock(5, clock.clone());
        for left in (0..10).rev() {
            let verdict = limiter.check(&key('a'));
            assert!(matches!(verdict, Verdict::Passed { remaining, .. } if remaining == left));
        }
        assert!(limiter.check(&key('a')).is_refused());
        assert!(!limiter.check(&key('b')).is_refused(), "another key has its own bucket");
        clock.advance(Duration::from_millis(1_000));
        let passed = (0..10).filter(|_| !limiter.check(&key('a')).is_refused()).count();
        assert_eq!(passed, 5);
    }

    #[test]
    fn the_headers_say_the_rule_what_is_left_and_when_to_come_back() {
        let limiter = Limiter::with_clock(1, FakeRelativeClock::default());
        let policy = ("ratelimit-policy".to_owned(), r#""default";q=1;w=1"#.to_owned());
        let left = |text: &str| ("ratelimit".to_owned(), text.to_owned());
        let first = limiter.check(&key('a'));
        assert_eq!(headers(first), [left(r#""default";r=1;t=1"#), policy.clone()]);
        assert_eq!(first.retry_after_ms(), 0);
        limiter.check(&key('a'));
        let refused = limiter.check(&key('a'));
        let retry = ("retry-after".to_owned(), "1".to_owned());
        assert_eq!(headers(refused), [left(r#""default";r=0;t=1"#), policy, retry]);
        assert_eq!(refused.retry_after_ms(), 1_000);
    }

    #[test]
    fn zero_is_no_limit() {
        let limiter = Limiter::new(0);
        assert_eq!(limiter.check(&key('a')), Verdict::Unlimited);
        assert!(headers(Verdict::Unlimited).is_empty());
    }

    #[test]
    fn who_stopped_calling_is_forgotten() {
        let clock = FakeRelativeClock::default();
        let limiter = Limiter::with_clock(1_000_000, clock.clone());
        for last in 0..100 {
            limiter.check(&Counted::at(IpAddr::from([10, 0, 0, last])));
        }
        assert_eq!(limiter.callers(), 100);
        clock.advance(Duration::from_secs(60));
        for _ in 0..CHECKS_PER_SWEEP {
            limiter.check(&key('a'));
        }
        assert!(limiter.callers() <= 1, "{}", limiter.callers());
    }

    #[test]
    fn one_ipv6_network_is_one_caller() {
        let at = |text: &str| Counted::at(text.parse().unwrap());
        assert_eq!(at("2001:db8:0:1::1"), at("2001:db8:0:1:ffff::2"));
        assert_ne!(at("2001:db8:0:1::1"), at("2001:db8:0:2::1"));
        assert_eq!(at("::ffff:10.0.0.1"), at("10.0.0.1"));
        assert_ne!(at("10.0.0.1"), at("10.0.0.2"));
    }
}
