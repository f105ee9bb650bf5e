//! Metrics and log lines of locks. Keys are in lines of the log, never in labels of metrics.

use crate::metrics;
use ifmatch_domain::lock::{LockRecord, Outcome, Rejection};
use ifmatch_types::Timestamp;
use std::time::Duration;

/// Observes an accepted command.
pub fn outcome(outcome: &Outcome) {
    match outcome {
        Outcome::Acquired { had_expired, is_repeat: false, .. } => {
            if *had_expired {
                metrics::lock_expired();
            }
        }
        Outcome::Acquired { .. } | Outcome::Renewed { .. } => {}
        Outcome::Released { lock, at } => {
            metrics::lock_held("released", held_for(lock, *at));
            line("lock.released", lock, *at);
        }
        Outcome::ForceReleased { lock, at } => {
            metrics::lock_held("forced", held_for(lock, *at));
            metrics::lock_force_released();
            line("lock.force_released", lock, *at);
        }
    }
}

/// Observes a rejected command. A waiter's tries in vain are none.
pub fn rejection(rejection: &Rejection) {
    if let Rejection::Lost(name) = rejection {
        metrics::lock_lost();
        tracing::warn!(
            event = "lock.lost",
            key = name.key,
            scope = name.scope.name(),
            function = name.function,
            "lock.lost"
        );
    }
}

/// Observes a grant that was given to its caller.
pub fn acquired(lock: &LockRecord, waited: Duration) {
    tracing::debug!(
        event = "lock.acquired",
        key = lock.name.key,
        scope = lock.name.scope.name(),
        function = lock.name.function,
        label = lock.label,
        fence = lock.fence,
        waited_ms = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX),
        "lock.acquired"
    );
}

fn line(event: &'static str, lock: &LockRecord, at: Timestamp) {
    let held_ms = u64::try_from(held_for(lock, at).as_millis()).unwrap_or(u64::MAX);
    let (key, scope, function) = (&lock.name.key, lock.name.scope.name(), &lock.name.function);
    let (label, fence) = (&lock.label, lock.fence);
    if event == "lock.force_released" {
        tracing::warn!(event, key, scope, function, label, fence, held_ms, "{event}");
    } else {
        tracing::debug!(event, key, scope, function, label, fence, held_ms, "{event}");
    }
}

fn held_for(lock: &LockRecord, at: Timestamp) -> Duration {
    let micros = at.as_micros().saturating_sub(lock.acquired_at.as_micros());
    Duration::from_micros(u64::try_from(micros).unwrap_or_default())
}
