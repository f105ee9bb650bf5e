//! Time in ticks. Each state is moved, so that its present is the same instant.

use ifmatch_domain::provisioning::later;
use ifmatch_types::Timestamp;

/// The length of a tick. A refusal for too many requests lasts at least as long.
pub const TICK_MS: i64 = 1_000;

/// How long a worker waits for an answer, and until when it may send its call.
pub const TIMEOUT: i64 = 1;

/// The present. Each state is moved, so that its present is this instant.
pub fn now() -> Timestamp {
    Timestamp::from_micros(1_800_000_000_000_000).unwrap()
}

pub fn tick(number: i64) -> Timestamp {
    later(now(), number * TICK_MS)
}

/// How many ticks from now.
pub fn ticks_until(at: Timestamp) -> i64 {
    (at.as_micros() - now().as_micros()) / (TICK_MS * 1_000)
}
