//! What a client did, as it saw it.

use std::fmt;

/// Nanoseconds since the recording began, by the clock of the process that recorded it.
pub type Instant = u64;

/// After everything that was recorded.
pub const NEVER: Instant = Instant::MAX;

/// One operation of one client. Repeats of a send under one Idempotency-Key are one operation.
#[derive(Clone, Debug)]
pub struct Operation<Call, Outcome> {
    pub client: usize,
    /// Before it was first sent.
    pub invoked_at: Instant,
    /// After its answer was there; [`NEVER`] if its client gave up: it may still take effect.
    pub returned_at: Instant,
    pub call: Call,
    pub outcome: Outcome,
}

impl<Call: fmt::Debug, Outcome: fmt::Debug> fmt::Display for Operation<Call, Outcome> {
    /// Who did what, when in microseconds, and what came of it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { client, invoked_at, returned_at, call, outcome } = self;
        write!(f, "client {client} at {}", invoked_at / 1_000)?;
        if *returned_at != NEVER {
            write!(f, "..{}", returned_at / 1_000)?;
        }
        write!(f, ": {call:?} → {outcome:?}")
    }
}

/// Sentences about what must not be, each about one operation or one state.
pub type Violations = Vec<String>;

/// Stops the scenario if anything was found.
#[track_caller]
pub fn assert_none(what: &str, violations: Violations) {
    let some: Vec<_> = violations.iter().take(8).map(String::as_str).collect();
    assert!(violations.is_empty(), "{what}: {}: {}", violations.len(), some.join("; "));
}

/// One of the sentences says this: for tests of checkers.
#[cfg(test)]
#[track_caller]
pub fn assert_says(violations: &Violations, what: &str) {
    assert!(violations.iter().any(|one| one.contains(what)), "should say {what}: {violations:?}");
}
