//! Recently refused writes, so that a blind repeat of one is noticed.
//!
//! It is best effort, in memory and per process (`API.md` 3.3). It changes what is recorded, never
//! what is allowed.

use ifmatch_types::Version;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// How long a refusal is remembered.
const REMEMBERED: Duration = Duration::from_secs(60);
/// Maximum number of remembered refusals. Beyond it, the oldest is forgotten.
const REFUSALS_MAX: usize = 10_000;

/// A digest of caller, object and body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Attempt([u8; 32]);

impl Attempt {
    /// Digests everything in which a repeat equals the first write: all but the version it names.
    pub fn of(
        key_id: &str,
        on_behalf_of: Option<&str>,
        id: &str,
        body: &Map<String, Value>,
    ) -> Self {
        let mut hasher = Sha256::new();
        for part in [key_id, on_behalf_of.unwrap_or_default(), id] {
            hasher.update(part.as_bytes());
            hasher.update([0]);
        }
        let mut body = Value::Object(body.clone());
        body.sort_all_objects();
        hasher.update(body.to_string().as_bytes());
        Self(hasher.finalize().into())
    }
}

/// The remembered refusals.
///
/// Its mutex is held only briefly: bodies are digested outside of it, and old refusals are removed
/// one by one.
#[derive(Debug, Default)]
pub struct Refusals {
    recent: Mutex<Recent>,
}

#[derive(Debug, Default)]
struct Recent {
    by_attempt: HashMap<Attempt, Refused>,
    /// Every refusal, oldest first. An attempt that was refused again has another entry further
    /// back.
    order: VecDeque<(Instant, Attempt)>,
}

/// When an attempt was last refused, and the version it named first.
#[derive(Clone, Copy, Debug)]
struct Refused {
    at: Instant,
    named: Version,
}

impl Refusals {
    /// Remembers that this write was refused, with the version it named first.
    ///
    /// It was computed from that version. A later version, which was refused as well, may just have
    /// been a larger number.
    pub fn remember(&self, attempt: Attempt, named: Version) {
        self.lock().remember(attempt, named, Instant::now());
    }

    /// The version that the same write named first when it was refused within the last minute.
    ///
    /// If nothing is remembered, no write is digested.
    pub fn recall(&self, attempt: impl FnOnce() -> Attempt) -> Option<Version> {
        if self.lock().is_empty(Instant::now()) {
            return None;
        }
        // The body may be large, so it is digested without the mutex.
        let attempt = attempt();
        self.lock().recall(&attempt, Instant::now())
    }

    /// Forgets a refusal, because the write was accepted.
    pub fn forget(&self, attempt: &Attempt) {
        self.lock().by_attempt.remove(attempt);
    }

    fn lock(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Recent {
    fn remember(&mut self, attempt: Attempt, named: Version, now: Instant) {
        let named = self.recall(&attempt, now).unwrap_or(named);
        self.by_attempt.insert(attempt, Refused { at: now, named });
        self.order.push_back((now, attempt));
        self.forget_old(now);
    }

    fn recall(&self, attempt: &Attempt, now: Instant) -> Option<Version> {
        let refused = self.by_attempt.get(attempt)?;
        (now.duration_since(refused.at) < REMEMBERED).then_some(refused.named)
    }

    fn is_empty(&mut self, now: Instant) -> bool {
        self.forget_old(now);
        self.by_attempt.is_empty()
    }

    /// Forgets refusals older than a minute, and the oldest ones above the maximum.
    fn forget_old(&mut self, now: Instant) {
        while let Some(&(at, attempt)) = self.order.front() {
            let is_old = now.duration_since(at) >= REMEMBERED;
            if !is_old && self.order.len() <= REFUSALS_MAX {
                return;
            }
            self.order.pop_front();
            // It was refused again later if it has another time now.
            if self.by_attempt.get(&attempt).is_some_and(|refused| refused.at == at) {
                self.by_attempt.remove(&attempt);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::{sync::mpsc, thread};

    fn attempt(n: usize) -> Attempt {
        Attempt::of("key_1", None, "sub_1", json!({ "quantity": n }).as_object().unwrap())
    }

    #[test]
    fn nobody_waits_while_a_body_is_digested() {
        let refusals = Refusals::default();
        refusals.remember(attempt(1), 1);
        let (done, is_done) = mpsc::channel();
        let (refusals, done) = (&refusals, &done);
        thread::scope(|scope| {
            let recalled = refusals.recall(|| {
                let done = done.clone();
                scope.spawn(move || {
                    refusals.remember(attempt(2), 2);
                    let _ = done.send(());
                });
                let in_time = is_done.recv_timeout(Duration::from_secs(5));
                assert_eq!(in_time, Ok(()), "another request waits for the digest");
                attempt(1)
            });
            assert_eq!(recalled, Some(1));
        });
    }

    #[test]
    fn a_refusal_is_remembered_for_a_minute_with_the_version_named_first() {
        let mut recent = Recent::default();
        let start = Instant::now();
        let later = |seconds| start + Duration::from_secs(seconds);
        recent.remember(attempt(1), 5, start);
        recent.remember(attempt(1), 7, later(40));
        assert_eq!(recent.recall(&attempt(1), later(99)), Some(5));
        assert_eq!(recent.recall(&attempt(2), later(99)), None);
        assert_eq!(recent.recall(&attempt(1), later(100)), None);
        recent.remember(attempt(1), 9, later(100));
        assert_eq!(recent.recall(&attempt(1), later(101)), Some(9));
        assert!(!recent.is_empty(later(159)));
        assert!(recent.is_empty(later(160)));
        assert!(recent.order.is_empty(), "what is forgotten takes no memory");
    }

    #[test]
    fn of_too_many_refusals_the_oldest_are_forgotten_first() {
        let mut recent = Recent::default();
        let now = Instant::now();
        for n in 0..REFUSALS_MAX + 2 {
            recent.remember(attempt(n), 1, now + Duration::from_nanos(n.try_into().unwrap()));
        }
        assert_eq!(recent.order.len(), REFUSALS_MAX);
        assert_eq!(recent.by_attempt.len(), REFUSALS_MAX);
        assert_eq!(recent.recall(&attempt(1), now), None);
        assert_eq!(recent.recall(&attempt(2), now), Some(1));
        for _ in 0..REFUSALS_MAX {
            recent.remember(attempt(2), 1, now + Duration::from_secs(1));
        }
        assert_eq!(recent.order.len(), REFUSALS_MAX, "also if one is refused again and again");
    }
}
