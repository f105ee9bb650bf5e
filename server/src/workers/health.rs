//! The health of background work: counted, timed, and logged without flooding the log.

use crate::metrics;
use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Minimum time between two lines about a worker that keeps failing.
const TOLD_EVERY: Duration = Duration::from_secs(60);

/// The workers of this process.
pub struct Workers {
    /// Ends holds, assignments and boosts that are over.
    pub entitlements: Health,
    /// Ends expired holds of bookings.
    pub bookings: Health,
    /// Makes billing runs.
    pub billing: Health,
    /// Prunes old versions.
    pub history: Health,
    /// Sweeps locks.
    pub locks: Health,
    /// Watches the age of reservations.
    pub reservations: Health,
    /// Calls the panel for servers.
    pub servers: Health,
    /// Watches the age of unsettled servers.
    pub unsettled: Health,
    /// Rewrites what was stored about redacted objects.
    pub redactions: Health,
    /// Reads API keys that other processes made or revoked.
    pub keyring: Health,
}

impl Workers {
    /// Workers that are about to start.
    pub fn start() -> Self {
        let start = Health::start;
        Self {
            entitlements: start("entitlements"),
            bookings: start("bookings"),
            billing: start("billing"),
            history: start("history"),
            locks: start("locks"),
            reservations: start("reservations"),
            servers: start("servers"),
            unsettled: start("unsettled_servers"),
            redactions: start("redactions"),
            keyring: start("keyring"),
        }
    }

    /// Measures how long ago each worker last succeeded.
    pub fn measure(&self) {
        let all = [
            &self.entitlements,
            &self.bookings,
            &self.history,
            &self.locks,
            &self.reservations,
            &self.servers,
            &self.unsettled,
            &self.redactions,
            &self.keyring,
        ];
        for health in all {
            let age = health.lock().succeeded_at.elapsed();
            metrics::worker_last_success(health.worker, age);
        }
    }
}

/// The health of one worker.
pub struct Health {
    worker: &'static str,
    record: Mutex<Record>,
}

impl Health {
    fn start(worker: &'static str) -> Self {
        Self { worker, record: Mutex::new(Record::start(Instant::now())) }
    }

    /// Records a round of the worker with everything that failed in it.
    pub fn record(&self, failures: &[String]) {
        let worker = self.worker;
        metrics::worker_failed(worker, failures.len());
        let line = self.lock().add(failures.len(), Instant::now());
        let error = failures.first();
        match line {
            Some(Line::Failing { failures }) => {
                tracing::warn!(worker, failures, error, "background work fails; trying again");
            }
            Some(Line::Recovered { failing_for }) => {
                let failing_for_s = failing_for.as_secs();
                tracing::info!(worker, failing_for_s, "background work succeeds again");
            }
            None => {}
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The record of a worker's rounds.
struct Record {
    succeeded_at: Instant,
    failing_since: Option<Instant>,
    /// Whether the log says that the worker is failing.
    is_told: bool,
    told_at: Option<Instant>,
    /// Failures since the last line.
    untold: usize,
}

/// A log line about a round.
#[derive(Debug, PartialEq, Eq)]
enum Line {
    /// The worker fails. Counts the failures since the last line.
    Failing { failures: usize },
    /// The first success after failures.
    Recovered { failing_for: Duration },
}

impl Record {
    fn start(now: Instant) -> Self {
        Self { succeeded_at: now, failing_since: None, is_told: false, told_at: None, untold: 0 }
    }

    fn add(&mut self, failures: usize, now: Instant) -> Option<Line> {
        if failures == 0 {
            self.succeeded_at = now;
            let since = self.failing_since.take()?;
            let failing_for = now.duration_since(since);
            return std::mem::take(&mut self.is_told).then_some(Line::Recovered { failing_for });
        }
        self.failing_since.get_or_insert(now);
        self.untold = self.untold.saturating_add(failures);
        // A worker that fails only now and then also has at most one line a minute.
        if self.told_at.is_some_and(|told_at| now.duration_since(told_at) < TOLD_EVERY) {
            return None;
        }
        self.told_at = Some(now);
        self.is_told = true;
        Some(Line::Failing { failures: std::mem::take(&mut self.untold) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failure_is_logged_then_a_count_every_minute_then_the_first_success() {
        let start = Instant::now();
        let mut record = Record::start(start);
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(record.add(0, at(1)), None);
        assert_eq!(record.add(2, at(2)), Some(Line::Failing { failures: 2 }));
        let lines: Vec<Line> = (3..=182).filter_map(|s| record.add(3, at(s))).collect();
        let counted = || Line::Failing { failures: 3 * 60 };
        assert_eq!(lines, [counted(), counted(), counted()]);
        assert_eq!(record.add(1, at(183)), None);
        assert_eq!(record.succeeded_at, at(1));
        let failing_for = Duration::from_secs(182);
        assert_eq!(record.add(0, at(184)), Some(Line::Recovered { failing_for }));
        assert_eq!(record.add(0, at(185)), None);
        assert_eq!(record.succeeded_at, at(185));
    }

    #[test]
    fn a_worker_that_fails_every_other_second_has_one_line_a_minute() {
        let start = Instant::now();
        let mut record = Record::start(start);
        let rounds = (0..120).map(|s| (usize::from(s % 2 == 0), start + Duration::from_secs(s)));
        let lines: Vec<Line> =
            rounds.filter_map(|(failures, at)| record.add(failures, at)).collect();
        let recovered = || Line::Recovered { failing_for: Duration::from_secs(1) };
        let failing = |failures| Line::Failing { failures };
        assert_eq!(lines, [failing(1), recovered(), failing(30), recovered()]);
    }
}
