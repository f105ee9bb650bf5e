//! Judges histories of one lock and of a counter that its holders read, increment and write back.
//!
//! The writes are forced, so that no version protects the counter: only the lock does. The server's
//! own times are compared exactly with each other, and with a tolerance with the recording's clock.

use super::operation::{Instant, NEVER, Operation, Violations};
use std::collections::BTreeMap;

pub type Recorded = Operation<Call, Outcome>;

/// How far the recording's clock and the server's may be apart.
const TOLERANCE: Instant = 20_000_000;

#[derive(Clone, Debug)]
pub enum Call {
    Acquire,
    Renew {
        fence: i64,
    },
    Release {
        fence: i64,
    },
    /// An admin takes the lock away, from whoever has it.
    Force,
    Write {
        token: String,
        fence: i64,
        /// Whether the write names its fence.
        is_fenced: bool,
    },
}

#[derive(Clone, Debug)]
pub enum Outcome {
    Granted(Grant),
    /// The lock was not free.
    Held,
    /// The grant lasts until then.
    Renewed(Instant),
    Done,
    /// Refused: the grant is over, or nobody held the lock.
    Over,
    /// Unknown: it may have taken effect, or may still do so, at most once.
    Maybe,
}

/// A grant as the server told it, its times on the recording's clock.
#[derive(Clone, Debug)]
pub struct Grant {
    pub fence: i64,
    pub owner: String,
    pub acquired_at: Instant,
    pub expires_at: Instant,
}

/// A version of the counter in the server's history.
#[derive(Clone, Debug)]
pub struct Entry {
    pub version: i64,
    pub counter: i64,
    /// The token of the write that made it; empty in the first version.
    pub by: String,
}

/// Everything that is wrong with a history.
pub fn check(history: &[Recorded], entries: &[Entry]) -> Violations {
    let mut found = lost_updates(entries);
    check_writes(history, entries, &mut found);
    let known = Known::of(history);
    known.check_grants(&mut found);
    for operation in history {
        known.check_owner(operation, &mut found);
    }
    found
}

/// The writes that were computed from another value than the one that they replaced.
pub fn lost_updates(entries: &[Entry]) -> Violations {
    let is_lost = |pair: &&[Entry]| pair[1].counter != pair[0].counter + 1;
    let lost = entries.windows(2).filter(is_lost).map(|pair| {
        let [before, after] = pair else { unreachable!("a window of two has two") };
        let Entry { version, counter, by } = after;
        format!("version {version} by {by} lost an update: {} became {counter}", before.counter)
    });
    lost.collect()
}

fn check_writes(history: &[Recorded], entries: &[Entry], found: &mut Violations) {
    let mut versions: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
    for entry in entries.iter().skip(1) {
        versions.entry(&entry.by).or_default().push(entry.version);
    }
    for operation in history {
        let Call::Write { token, .. } = &operation.call else { continue };
        let places = versions.remove(token.as_str()).unwrap_or_default();
        match (&operation.outcome, places.as_slice()) {
            (_, [_, _, ..]) => found.push(format!("{token} was applied twice: {places:?}")),
            (Outcome::Done, []) => found.push(format!("{token} was acknowledged and is lost")),
            (Outcome::Over, [place]) => {
                found.push(format!("{token} was refused and is version {place}"));
            }
            _ => {}
        }
    }
    for (token, places) in versions {
        found.push(format!("no client wrote {token} of versions {places:?}"));
    }
}

/// A grant, and what the history says about its end.
struct Held<'a> {
    grant: &'a Grant,
    /// The operation that acquired it.
    acquire: &'a Recorded,
    /// The renewals that may have taken effect.
    renewals: Vec<&'a Recorded>,
    /// The releases that may have taken effect, by its owner or by force.
    releases: Vec<&'a Recorded>,
}

impl Held<'_> {
    /// Until when it lasts by the server's own times, by the answers up to an instant.
    fn lasts_until(&self, instant: Instant) -> Instant {
        let told = self.renewals.iter().filter(|renewal| renewal.returned_at < instant);
        let until = told.filter_map(|renewal| match renewal.outcome {
            Outcome::Renewed(until) => Some(until),
            _ => None,
        });
        until.fold(self.grant.expires_at, Instant::max)
    }

    /// The latest instant until which it may have lasted.
    fn lasts_at_most(&self) -> Instant {
        let is_unknown = |one: &&Recorded| matches!(one.outcome, Outcome::Maybe);
        if self.renewals.iter().any(is_unknown) { NEVER } else { self.lasts_until(NEVER) }
    }

    /// Whether it may have been released by an instant.
    fn may_be_released(&self, instant: Instant) -> bool {
        self.releases.iter().any(|release| release.invoked_at <= instant)
    }

    /// Whether it was certainly released before an instant.
    fn is_released(&self, instant: Instant) -> bool {
        self.releases.iter().any(|release| {
            matches!(release.outcome, Outcome::Done)
                && release.invoked_at > self.acquire.returned_at
                && release.returned_at < instant
        })
    }
}

/// The grants by their fences.
struct Known<'a> {
    grants: Vec<Held<'a>>,
}

impl<'a> Known<'a> {
    fn of(history: &'a [Recorded]) -> Self {
        let happened = |one: &&Recorded| !matches!(one.outcome, Outcome::Over | Outcome::Held);
        let happened: Vec<_> = history.iter().filter(happened).collect();
        let held = |acquire: &'a Recorded| {
            let Outcome::Granted(grant) = &acquire.outcome else { return None };
            let is_own = |fence: i64| fence == grant.fence;
            let of = |is_one: &dyn Fn(&Recorded) -> bool| {
                happened.iter().copied().filter(|one| is_one(one)).collect::<Vec<_>>()
            };
            let renewals = of(&|one| matches!(one.call, Call::Renew { fence } if is_own(fence)));
            let releases = of(&|one| match one.call {
                Call::Release { fence } => is_own(fence),
                Call::Force => one.returned_at > acquire.invoked_at,
                _ => false,
            });
            Some(Held { grant, acquire, renewals, releases })
        };
        let mut grants: Vec<_> = history.iter().filter_map(held).collect();
        grants.sort_by_key(|held| held.grant.fence);
        Self { grants }
    }

    /// Checks that fences grow, and that no two grants overlap.
    fn check_grants(&self, found: &mut Violations) {
        for pair in self.grants.windows(2) {
            let [one, next] = pair else { continue };
            let (fence, later) = (one.grant.fence, next.grant.fence);
            if fence == later || one.grant.owner == next.grant.owner {
                found.push(format!("{fence} and {later} are one grant for two: {}", next.acquire));
            }
            if next.grant.acquired_at < one.grant.acquired_at {
                found.push(format!("{later} was granted earlier than {fence}"));
            }
            let until = one.lasts_until(next.acquire.invoked_at);
            if next.grant.acquired_at < until && !one.may_be_released(next.acquire.returned_at) {
                found.push(format!("{later} was granted while {fence} was held: {}", next.acquire));
            }
        }
        for held in &self.grants {
            let before = self.grants.iter().find(|other| {
                other.acquire.returned_at < held.acquire.invoked_at
                    && other.grant.fence >= held.grant.fence
            });
            if let Some(before) = before {
                let (fence, known) = (held.grant.fence, before.grant.fence);
                found.push(format!("{fence} was granted after {known}"));
            }
        }
    }

    /// Checks what the owner of a grant was told.
    fn check_owner(&self, operation: &Recorded, found: &mut Violations) {
        let fence = match operation.call {
            Call::Renew { fence }
            | Call::Release { fence }
            | Call::Write { fence, is_fenced: true, .. } => fence,
            Call::Acquire | Call::Force | Call::Write { .. } => return,
        };
        let Some(held) = self.grants.iter().find(|held| held.grant.fence == fence) else {
            return found.push(format!("nobody was granted this: {operation}"));
        };
        let sent_at = operation.invoked_at;
        match operation.outcome {
            Outcome::Over => {
                let until = held.lasts_until(sent_at);
                if operation.returned_at.saturating_add(TOLERANCE) < until
                    && !held.may_be_released(operation.returned_at)
                {
                    found.push(format!("the grant was not over: {operation}"));
                }
            }
            Outcome::Done | Outcome::Renewed(_) => {
                let later = self
                    .grants
                    .iter()
                    .any(|other| other.grant.fence > fence && other.acquire.returned_at < sent_at);
                let is_expired = held.lasts_at_most().saturating_add(TOLERANCE) < sent_at;
                let is_released = held.is_released(sent_at);
                for (is_over, how) in [
                    (later, "somebody else had the lock"),
                    (is_expired, "the grant had expired"),
                    (is_released, "the grant was released"),
                ] {
                    if is_over {
                        found.push(format!("{how} before this was sent: {operation}"));
                    }
                }
            }
            Outcome::Granted(_) | Outcome::Held | Outcome::Maybe => {}
        }
    }
}

#[cfg(test)]
mod tests;
