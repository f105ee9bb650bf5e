//! Judges histories of something that is limited: units of a feature, days of a room. n log n.
//!
//! Each operation takes a quantity at some places (a unit's only place; every day of a booking) and
//! each place has one capacity. Who took what is known by a token that nobody else sends.

use super::{
    operation::{Instant, NEVER, Operation, Violations},
    span::{Levels, claims},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

pub type Recorded = Operation<Call, Outcome>;

#[derive(Clone, Debug)]
pub enum Call {
    /// Takes so many at each place: for good, or as a hold that ends by itself.
    Take { token: String, places: Range<u32>, quantity: i64, ttl: Option<Instant> },
    /// Keeps so many of what a hold took.
    Keep { id: String, quantity: i64 },
    /// Gives so many back.
    GiveBack { id: String, quantity: i64 },
}

#[derive(Clone, Debug)]
pub enum Outcome {
    /// Done; what took it is known by this id, and so many were taken after it, if anybody said so.
    Done { id: String, level: Option<i64> },
    /// There was no room.
    Denied,
    /// What was to be kept or given back was over.
    Over,
    /// Nobody told: it may have taken effect, or do so later, once at most.
    Maybe,
}

/// What the server says there is in the end.
#[derive(Clone, Debug, Default)]
pub struct End {
    pub capacity: i64,
    /// Whether holds are in the list as well, and one that is over can still be kept.
    pub lists_holds: bool,
    /// Everything that was taken, by its id, also if nothing of it is left.
    pub listed: BTreeMap<String, Listed>,
    /// So many are taken at each place, by the server's own count.
    pub counted: BTreeMap<u32, i64>,
}

#[derive(Clone, Debug)]
pub struct Listed {
    /// The token, if it was kept with it.
    pub token: Option<String>,
    pub places: Range<u32>,
    /// So many are still taken.
    pub quantity: i64,
}

/// A clock may be read a little later than an operation was sent, or answered.
const SLACK: Instant = 20_000_000;

/// Everything that is wrong with a history.
pub fn check(history: &[Recorded], end: &End) -> Violations {
    let mut found = Violations::new();
    let tokens: BTreeSet<_> = end.listed.values().filter_map(|one| one.token.as_ref()).collect();
    // Of what nobody was told, the list knows whether it ever took effect.
    let happened =
        |token: &String, is_hold: bool| tokens.contains(token) || (is_hold && !end.lists_holds);
    let levels = Levels::of(&claims(history, happened));
    check_tokens(history, end, &mut found);
    check_quantities(history, end, &mut found);
    check_counts(end, &levels, &mut found);
    for (place, level) in levels.most_certain() {
        if level > end.capacity {
            found.push(format!("{level} were taken at {place}, of {}", end.capacity));
        }
    }
    let lasting = lasting(history);
    for operation in history {
        check_answer(operation, &lasting, end, &levels, &mut found);
    }
    found
}

/// Each take is listed once if it was acknowledged, not at all if it was denied.
fn check_tokens(history: &[Recorded], end: &End, found: &mut Violations) {
    let mut by_token: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (id, listed) in &end.listed {
        if let Some(token) = &listed.token {
            by_token.entry(token).or_default().push(id);
        }
    }
    for operation in history {
        let Call::Take { token, .. } = &operation.call else { continue };
        let ids = by_token.remove(token.as_str()).unwrap_or_default();
        match (&operation.outcome, ids.as_slice()) {
            (_, [_, _, ..]) => found.push(format!("{token} was applied twice: {ids:?}")),
            (Outcome::Done { id, .. }, [listed]) if id != listed => {
                found.push(format!("{token} was told {id} and is {listed}"));
            }
            (Outcome::Denied, [listed]) => {
                found.push(format!("{token} was denied and is {listed}"));
            }
            _ => {}
        }
    }
    for (token, ids) in by_token {
        found.push(format!("nobody asked for {token}: {ids:?}"));
    }
}

/// Of everything acknowledged, as much is listed as was taken and not given back.
fn check_quantities(history: &[Recorded], end: &End, found: &mut Violations) {
    let mut given_back: BTreeMap<&str, Vec<&Recorded>> = BTreeMap::new();
    for operation in history {
        if let Call::GiveBack { id, .. } = &operation.call {
            given_back.entry(id).or_default().push(operation);
        }
    }
    for operation in history {
        let Outcome::Done { id, .. } = &operation.outcome else { continue };
        // A hold is judged by what became of it; the list may not show it.
        let (Call::Take { quantity, ttl: None, .. } | Call::Keep { quantity, .. }) = operation.call
        else {
            continue;
        };
        let mut expected = vec![quantity];
        for later in given_back.get(id.as_str()).into_iter().flatten() {
            let Call::GiveBack { quantity, .. } = later.call else { continue };
            let less: Vec<_> = expected.iter().map(|left| left - quantity).collect();
            match later.outcome {
                Outcome::Done { .. } => expected = less,
                Outcome::Maybe => expected.extend(less),
                Outcome::Denied | Outcome::Over => {}
            }
        }
        match end.listed.get(id).map(|listed| listed.quantity) {
            None => found.push(format!("{id} was acknowledged and is lost")),
            Some(left) if !expected.contains(&left) => {
                found.push(format!("{left} are left of {id}, it should be one of {expected:?}"));
            }
            Some(_) => {}
        }
    }
}

/// The server's count is the sum of its list, and within what the history allows.
fn check_counts(end: &End, levels: &Levels, found: &mut Violations) {
    for (place, counted) in &end.counted {
        let here = end.listed.values().filter(|listed| listed.places.contains(place));
        let sum: i64 = here.map(|listed| listed.quantity).sum();
        if sum != *counted {
            found.push(format!("{counted} are counted at {place}, and {sum} are listed"));
        }
        if *counted > end.capacity {
            found.push(format!("{counted} are counted at {place}, of {}", end.capacity));
        }
        let (certain, possible) = levels.in_the_end(*place);
        if *counted < certain || *counted > possible {
            found.push(format!("{counted} at {place} should be {certain} to {possible}"));
        }
    }
}

/// One answer against what can have been so while it was made.
fn check_answer(
    operation: &Recorded,
    lasting: &BTreeMap<&str, Range<Instant>>,
    end: &End,
    levels: &Levels,
    found: &mut Violations,
) {
    if let Outcome::Done { id, level: Some(level) } = &operation.outcome
        && *level > end.capacity
    {
        found.push(format!("{id} was told that {level} are taken, of {}", end.capacity));
    }
    let over = |id: &String| lasting.get(id.as_str());
    match (&operation.call, &operation.outcome) {
        (Call::Take { token, places, quantity, .. }, Outcome::Denied) => {
            let span = operation.invoked_at..operation.returned_at;
            let most = places.clone().map(|place| levels.most_possible(place, span.clone()));
            let most = most.max().unwrap_or_default();
            if most + quantity <= end.capacity {
                let capacity = end.capacity;
                found.push(format!("{token} was denied {quantity} beside {most} of {capacity}"));
            }
        }
        (Call::Keep { id, .. }, Outcome::Done { .. })
            if !end.lists_holds && over(id).is_some_and(|over| operation.invoked_at > over.end) =>
        {
            found.push(format!("{id} was kept after it was over"));
        }
        (Call::Keep { id, .. }, Outcome::Over)
            if over(id).is_some_and(|over| operation.returned_at < over.start) =>
        {
            found.push(format!("{id} was said to be over while it lasted"));
        }
        _ => {}
    }
}

/// For each hold that was acknowledged: when it is over, at the earliest and at the latest.
fn lasting(history: &[Recorded]) -> BTreeMap<&str, Range<Instant>> {
    let holds = history.iter().filter_map(|take| match (&take.call, &take.outcome) {
        (Call::Take { ttl: Some(ttl), .. }, Outcome::Done { id, .. }) => {
            Some((id.as_str(), over(take, *ttl)))
        }
        _ => None,
    });
    holds.collect()
}

/// When a hold is over: so long after the server decided it, which was between its call and answer.
pub fn over(take: &Recorded, ttl: Instant) -> Range<Instant> {
    (take.invoked_at + ttl).saturating_sub(SLACK)..take.returned_at + ttl + SLACK
}

/// Forgets a call's outcome, as its client does that gives up.
pub fn forget(operation: &mut Recorded) -> bool {
    operation.returned_at = NEVER;
    operation.outcome = Outcome::Maybe;
    true
}

#[cfg(test)]
mod tests;
