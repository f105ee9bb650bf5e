//! Writes that were refused a moment ago, so that a blind repeat of one is visible.
//!
//! Best effort, in memory, per process (`API.md` 3.3): it changes what is recorded, never what is
//! allowed.

use ifmatch_types::Version;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// So long a refusal is remembered.
const REMEMBERED: Duration = Duration::from_secs(60);
/// So many refusals are remembered; past that, old ones are forgotten first.
const REFUSALS_MAX: usize = 10_000;

/// Caller, object and body, digested.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Attempt([u8; 32]);

impl Attempt {
    /// What makes two writes "the same again": everything but the version they name.
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

/// The refusals that are remembered.
#[derive(Debug, Default)]
pub struct Refusals {
    recent: Mutex<HashMap<Attempt, (Instant, Version)>>,
}

impl Refusals {
    /// Remembers that this write was refused, and the version it named first: what it was computed
    /// from. A later one, refused as well, may only have been a larger number.
    pub fn remember(&self, attempt: Attempt, named: Version) {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.len() >= REFUSALS_MAX {
            recent.retain(|_, (at, _)| at.elapsed() < REMEMBERED);
        }
        if recent.len() >= REFUSALS_MAX {
            recent.clear();
        }
        let now = Instant::now();
        let (at, first) = recent.entry(attempt).or_insert((now, named));
        if at.elapsed() >= REMEMBERED {
            *first = named;
        }
        *at = now;
    }

    /// The version this same write named when it was refused within the last minute. While
    /// nothing is remembered, no write has to be digested.
    pub fn recall(&self, attempt: impl FnOnce() -> Attempt) -> Option<Version> {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.is_empty() {
            return None;
        }
        let attempt = attempt();
        let (at, named) = *recent.get(&attempt)?;
        if at.elapsed() >= REMEMBERED {
            recent.remove(&attempt);
            return None;
        }
        Some(named)
    }

    /// Forgets a refusal: the write went through.
    pub fn forget(&self, attempt: &Attempt) {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner).remove(attempt);
    }
}
