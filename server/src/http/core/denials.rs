//! Refused forces, of writes and of locks: the first ones of a key in a minute are put on record, the others are counted.
//!
//! A caller without the right to force must not be able to fill the audit log, or to make the
//! server commit as often as it likes. The number beyond the first ones is kept in memory until the
//! minute is over, and then recorded in one row. If the process is killed before that, this number
//! is lost; the first attempts of the minute are on record.

use super::caller::Caller;
use crate::{app::App, log::RequestId};
use ifmatch_domain::{
    Action,
    core::{self, Guard, RecordDenied},
};
use ifmatch_types::ApiKeyId;
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// The type of the audit record of a refused force.
pub const FORCE_DENIED: &str = "force_denied";
/// Maximum records of single attempts of a key in a minute.
const RECORDED_MAX: u32 = 20;
/// The time over which attempts are counted.
const MINUTE: Duration = Duration::from_secs(60);

/// The refused forces of the current minute of each key.
#[derive(Default)]
pub struct Denials {
    by_key: Mutex<HashMap<ApiKeyId, Minute>>,
}

struct Minute {
    began_at: Instant,
    recorded: u32,
    counted: Option<Counted>,
}

/// Attempts that were counted and have no record yet.
pub struct Counted {
    caller: Caller,
    request_id: RequestId,
    attempts: i64,
}

impl Denials {
    /// Whether this attempt gets a record of its own. If not, it was counted.
    pub fn has_own_record(&self, caller: &Caller, request_id: &RequestId) -> bool {
        self.has_own_record_at(caller, request_id, Instant::now())
    }

    fn has_own_record_at(&self, caller: &Caller, request_id: &RequestId, now: Instant) -> bool {
        let mut by_key = self.lock();
        let minute = by_key.entry(caller.key_id.clone()).or_insert_with(|| Minute::new(now));
        // A minute with counted attempts ends when these are recorded.
        if minute.is_over(now) && minute.counted.is_none() {
            *minute = Minute::new(now);
        }
        if minute.recorded < RECORDED_MAX {
            minute.recorded = minute.recorded.saturating_add(1);
            return true;
        }
        let attempts = minute.counted.as_ref().map_or(0, |counted| counted.attempts);
        minute.counted = Some(Counted {
            caller: caller.clone(),
            request_id: request_id.clone(),
            attempts: attempts.saturating_add(1),
        });
        false
    }

    /// Takes the counted attempts of all minutes that are over.
    pub fn ended(&self) -> Vec<Counted> {
        self.ended_at(Instant::now())
    }

    fn ended_at(&self, now: Instant) -> Vec<Counted> {
        let mut by_key = self.lock();
        by_key.extract_if(|_, minute| minute.is_over(now)).filter_map(|(_, m)| m.counted).collect()
    }

    /// Takes all counted attempts, because the server stops.
    pub fn all(&self) -> Vec<Counted> {
        self.lock().drain().filter_map(|(_, minute)| minute.counted).collect()
    }

    /// Takes attempts back that could not be recorded.
    fn put_back(&self, counted: Counted) {
        let mut by_key = self.lock();
        let key_id = counted.caller.key_id.clone();
        let minute = by_key.entry(key_id).or_insert_with(|| Minute::new(Instant::now()));
        minute.recorded = RECORDED_MAX;
        let later = minute.counted.take().map_or(0, |later| later.attempts);
        let attempts = counted.attempts.saturating_add(later);
        minute.counted = Some(Counted { attempts, ..counted });
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ApiKeyId, Minute>> {
        self.by_key.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Minute {
    fn new(began_at: Instant) -> Self {
        Self { began_at, recorded: 0, counted: None }
    }

    fn is_over(&self, now: Instant) -> bool {
        now.duration_since(self.began_at) >= MINUTE
    }
}

/// Records counted attempts, in one row for each key. If that fails, they stay counted.
pub async fn record(app: &App, all: Vec<Counted>) {
    for counted in all {
        let denied = RecordDenied {
            audit_type: FORCE_DENIED,
            resource: None,
            reason: None,
            attempts: counted.attempts,
        };
        let action = Action::Core(core::Action::RecordDenied(denied));
        let command = counted.caller.command(&counted.request_id, None, Guard::default(), action);
        if app.lanes.submit(command).await.is_err() {
            tracing::warn!(attempts = counted.attempts, "refused forces could not be recorded");
            app.denials.put_back(counted);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ifmatch_domain::core::Actor;
    use ifmatch_types::Role;

    fn caller(key: &str) -> Caller {
        let key_id = ApiKeyId::from_unchecked(key);
        let line_id = key_id.clone();
        let actor = Actor::without_key(key);
        Caller { key_id, line_id, actor, role: Role::Viewer, on_behalf_of: None }
    }

    fn attempts(counted: &[Counted]) -> Vec<(&str, i64)> {
        counted.iter().map(|one| (one.caller.actor.name.as_str(), one.attempts)).collect()
    }

    #[test]
    fn the_first_attempts_of_a_minute_have_records_and_the_others_are_counted_once() {
        let denials = Denials::default();
        let (viewer, other) = (caller("viewer"), caller("other"));
        let start = Instant::now();
        let later = |seconds| start + Duration::from_secs(seconds);
        let id = RequestId::default();
        let recorded =
            (0..6_000).filter(|_| denials.has_own_record_at(&viewer, &id, start)).count();
        assert_eq!(recorded, 20);
        assert!(denials.has_own_record_at(&other, &id, later(59)), "each key has its own count");
        assert!(denials.ended_at(later(59)).is_empty());
        // The minute is over, but its attempts are not recorded yet.
        assert!(!denials.has_own_record_at(&viewer, &id, later(60)));
        assert_eq!(attempts(&denials.ended_at(later(60))), [("viewer", 5_981)]);
        assert!(denials.ended_at(later(60)).is_empty());
        assert!(denials.has_own_record_at(&viewer, &id, later(61)), "a new minute began");
        assert!(denials.ended_at(later(500)).is_empty(), "nothing was counted in it");
        assert!(denials.lock().is_empty(), "a key that stopped takes no memory");
    }

    #[test]
    fn attempts_that_could_not_be_recorded_stay_counted() {
        let denials = Denials::default();
        let viewer = caller("viewer");
        let id = RequestId::default();
        let count =
            |times: usize| (0..times).filter(|_| denials.has_own_record(&viewer, &id)).count();
        assert_eq!(count(25), 20);
        let counted = denials.all().pop().unwrap();
        assert_eq!(count(22), 20);
        denials.put_back(counted);
        assert_eq!(count(1), 0);
        assert_eq!(attempts(&denials.all()), [("viewer", 8)]);
    }
}
