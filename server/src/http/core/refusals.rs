//! Log lines about callers that the gate refuses, at most a few a minute.

use ifmatch_types::Code;
use std::{
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Maximum number of lines a minute. The rest is counted in one more line.
const LINES_MAX: u32 = 20;
const MINUTE: Duration = Duration::from_secs(60);

static SAMPLE: Mutex<Option<Sample>> = Mutex::new(None);

/// The lines of the current minute.
#[derive(Debug)]
struct Sample {
    began_at: Instant,
    lines: u32,
    left_out: u32,
}

/// What to log about a refusal.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    /// Whether to log this refusal.
    line: bool,
    /// How many refusals of the minute before were not logged.
    left_out: u32,
}

impl Sample {
    /// Counts a refusal at `now`.
    fn count(sample: &mut Option<Self>, now: Instant) -> Told {
        let is_over = |one: &Self| now.duration_since(one.began_at) >= MINUTE;
        let left_out = sample.as_ref().filter(|one| is_over(one)).map_or(0, |one| one.left_out);
        if sample.as_ref().is_none_or(is_over) {
            *sample = Some(Self { began_at: now, lines: 0, left_out: 0 });
        }
        let Some(one) = sample else { return Told { line: false, left_out } };
        let line = one.lines < LINES_MAX;
        if line {
            one.lines = one.lines.saturating_add(1);
        } else {
            one.left_out = one.left_out.saturating_add(1);
        }
        Told { line, left_out }
    }
}

/// Logs a refusal for want of a key or of a right, with the caller's address.
pub fn note(code: Code, address: Option<IpAddr>) {
    if !matches!(code, Code::Unauthenticated | Code::Forbidden | Code::ForceForbidden) {
        return;
    }
    let told = {
        let mut sample = SAMPLE.lock().unwrap_or_else(PoisonError::into_inner);
        Sample::count(&mut sample, Instant::now())
    };
    if told.left_out > 0 {
        tracing::warn!(refusals = told.left_out, "more callers were refused in the minute before");
    }
    if told.line {
        let address = address.map(|address| address.to_string());
        tracing::warn!(code = code.name(), address, "a caller was refused");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_has_so_many_lines_and_the_next_one_counts_the_rest() {
        let (mut sample, now) = (None, Instant::now());
        let lines = (0..100).filter(|_| Sample::count(&mut sample, now).line).count();
        assert_eq!(lines, usize::try_from(LINES_MAX).unwrap());
        let later = Sample::count(&mut sample, now + MINUTE);
        assert_eq!(later, Told { line: true, left_out: 100 - LINES_MAX });
        assert_eq!(Sample::count(&mut sample, now + MINUTE).left_out, 0);
    }
}
