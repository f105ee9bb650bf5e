//! Judges histories of one versioned object, of any length: sorting costs the most.
//!
//! Compares the server's own history with what clients sent and which answers they got. Each write
//! sets one field to a unique text, which identifies its version.

use super::operation::{Instant, NEVER, Operation, Violations};
use std::collections::BTreeMap;

/// Fields by their paths.
pub type Fields = BTreeMap<String, String>;
pub type Recorded = Operation<Call, Outcome>;

#[derive(Clone, Debug)]
pub enum Call {
    Read,
    Write { path: String, token: String, base: i64, mode: Mode },
}

/// How a write treats a base that is not the current version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Refuse,
    Merge,
    Force,
}

#[derive(Clone, Debug)]
pub enum Outcome {
    /// It read or wrote this version.
    Saw { version: i64, fields: Fields },
    /// Refused: its base was not the current version `current`.
    Stale { current: i64 },
    /// Unknown: it may have taken effect, or may still do so, at most once.
    Maybe,
}

/// A version in the server's history.
#[derive(Clone, Debug, Default)]
pub struct Entry {
    pub version: i64,
    pub kind: String,
    /// The changed fields and their new values.
    pub changed: Fields,
    /// Whether an audit record says that a forced write overwrote the version before.
    pub is_audited: bool,
}

/// Everything that is wrong with a history.
pub fn check(history: &[Recorded], entries: &[Entry]) -> Violations {
    let mut found = Violations::new();
    let states = states(entries, &mut found);
    let writers = writers(history, entries, &mut found);
    for operation in history {
        check_outcome(operation, entries, &states, &mut found);
    }
    check_time(history, &writers, &mut found);
    found
}

/// The object's state after each version, in order.
fn states(entries: &[Entry], found: &mut Violations) -> Vec<Fields> {
    let mut states = vec![Fields::new()];
    for (entry, expected) in entries.iter().zip(1i64..) {
        if entry.version != expected {
            found.push(format!("version {expected} is missing from the history"));
            break;
        }
        if (entry.kind == "forced") != entry.is_audited {
            let audited = if entry.is_audited { "an" } else { "no" };
            found.push(format!("version {expected} is {} with {audited} audit record", entry.kind));
        }
        let mut next = states[states.len() - 1].clone();
        next.extend(entry.changed.clone());
        states.push(next);
    }
    states
}

/// The write that made each version. The first version is the creation and has none.
fn writers<'a>(
    history: &'a [Recorded],
    entries: &[Entry],
    found: &mut Violations,
) -> BTreeMap<i64, &'a Recorded> {
    let mut versions: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
    for entry in entries.iter().skip(1) {
        for value in entry.changed.values() {
            versions.entry(value).or_default().push(entry.version);
        }
    }
    let mut writers = BTreeMap::new();
    for operation in history {
        let Call::Write { token, .. } = &operation.call else { continue };
        let places = versions.remove(token.as_str()).unwrap_or_default();
        match (&operation.outcome, places.as_slice()) {
            (_, [_, _, ..]) => found.push(format!("{token} was applied twice: {places:?}")),
            (Outcome::Saw { version, .. }, [place]) if version != place => {
                found
                    .push(format!("{token} was answered version {version} and is version {place}"));
            }
            (Outcome::Saw { version, .. }, []) => {
                found.push(format!("{token} was acknowledged as {version} and is lost"));
            }
            (Outcome::Stale { .. }, [place]) => {
                found.push(format!("{token} was refused and is version {place}"));
            }
            _ => {}
        }
        for place in places {
            if let Some(other) = writers.insert(place, operation) {
                found.push(format!("version {place} is {operation} as well as {other}"));
            }
        }
    }
    for (token, places) in versions {
        found.push(format!("no client wrote {token} of versions {places:?}"));
    }
    writers
}

/// Checks one operation's outcome against the states of the versions that it named and saw.
fn check_outcome(
    operation: &Recorded,
    entries: &[Entry],
    states: &[Fields],
    found: &mut Violations,
) {
    let at = |version: i64| usize::try_from(version).ok().and_then(|at| states.get(at));
    if let Outcome::Saw { version, fields } = &operation.outcome
        && at(*version) != Some(fields)
    {
        found
            .push(format!("version {version} was {fields:?}, the history says {:?}", at(*version)));
    }
    let Call::Write { path, token, base, mode } = &operation.call else { return };
    match (&operation.outcome, mode) {
        (Outcome::Saw { version, .. }, Mode::Refuse) if *version != base + 1 => {
            found.push(format!("{token} named version {base} and became {version}"));
        }
        (Outcome::Saw { version, .. }, Mode::Merge) => {
            let value = |version: i64| at(version).and_then(|fields| fields.get(path));
            if value(*base) != value(version - 1) {
                found.push(format!("{token} was merged over another change of {path}"));
            }
        }
        (Outcome::Saw { version, .. }, Mode::Force) if *version != base + 1 => {
            let kind = entries.iter().find(|entry| entry.version == *version);
            if kind.is_some_and(|entry| entry.kind != "forced") {
                found.push(format!("{token} overwrote version {} unmarked", version - 1));
            }
        }
        (Outcome::Stale { .. }, Mode::Force) => found.push(format!("{token} was not forced")),
        (Outcome::Stale { current }, _) if current == base => {
            found.push(format!("{token} was refused at the version that it named, {base}"));
        }
        _ => {}
    }
}

/// Checks real time. After an answer with a version, later calls see it or a newer one, and later
/// writes make a newer one. No call sees a version before its write was sent.
fn check_time(history: &[Recorded], writers: &BTreeMap<i64, &Recorded>, found: &mut Violations) {
    let seen = |operation: &Recorded| match operation.outcome {
        Outcome::Saw { version, .. } => Some(version),
        Outcome::Stale { current } => Some(current),
        Outcome::Maybe => None,
    };
    let mut told: Vec<(Instant, i64)> =
        history.iter().filter_map(|one| Some((one.returned_at, seen(one)?))).collect();
    told.sort_unstable();
    // The highest version in any answer before each of these instants.
    let mut highest = 0;
    for (_, version) in &mut told {
        highest = highest.max(*version);
        *version = highest;
    }
    let known_before = |instant: Instant| {
        let count = told.partition_point(|(returned_at, _)| *returned_at < instant);
        count.checked_sub(1).map_or(0, |last| told[last].1)
    };
    for operation in history {
        let Some(version) = seen(operation) else { continue };
        let known = known_before(operation.invoked_at);
        if version < known {
            found.push(format!("{known} was known before this was sent: {operation}"));
        }
        let writer = writers.get(&version);
        if writer.is_some_and(|writer| writer.invoked_at > operation.returned_at) {
            found.push(format!("a version was seen that was not yet asked for: {operation}"));
        }
    }
    for (version, writer) in writers {
        let known = known_before(writer.invoked_at);
        if *version <= known && writer.invoked_at != NEVER {
            found.push(format!("{known} was known before {version} was asked for: {writer}"));
        }
    }
}

#[cfg(test)]
mod tests;
