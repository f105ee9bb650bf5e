//! An operation as its client saw it.

use std::fmt;

/// Nanoseconds since the recording began, by the recording process's clock.
pub type Instant = u64;

/// Later than everything recorded.
pub const NEVER: Instant = Instant::MAX;

/// One operation of one client. Repeats under one Idempotency-Key are one operation.
#[derive(Clone, Debug)]
pub struct Operation<Call, Outcome> {
    pub client: usize,
    /// Taken before the first send.
    pub invoked_at: Instant,
    /// Taken after the answer. [`NEVER`] if the client gave up: it may still take effect.
    pub returned_at: Instant,
    pub call: Call,
    pub outcome: Outcome,
}

impl<Call: fmt::Debug, Outcome: fmt::Debug> fmt::Display for Operation<Call, Outcome> {
    /// The client, the call, the time span in microseconds, and the outcome.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { client, invoked_at, returned_at, call, outcome } = self;
        write!(f, "client {client} at {}", invoked_at / 1_000)?;
        if *returned_at != NEVER {
            write!(f, "..{}", returned_at / 1_000)?;
        }
        write!(f, ": {call:?} → {outcome:?}")
    }
}

/// Violated rules in sentences, each about one operation or one state.
pub type Violations = Vec<String>;

/// Panics if there is a violation.
#[track_caller]
pub fn assert_none(what: &str, violations: Violations) {
    let some: Vec<_> = violations.iter().take(8).map(String::as_str).collect();
    assert!(violations.is_empty(), "{what}: {}: {}", violations.len(), some.join("; "));
}

/// Asserts that one of the violations contains this text.
#[cfg(test)]
#[track_caller]
pub fn assert_says(violations: &Violations, what: &str) {
    assert!(violations.iter().any(|one| one.contains(what)), "should say {what}: {violations:?}");
}
