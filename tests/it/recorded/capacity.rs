//! Judges histories of a limited resource: units of a feature, days of a room. O(n log n).
//!
//! Each operation takes a quantity at some places: a feature has one place, a booking one per day.
//! All places have the same capacity. A unique token identifies the client's operation.

use super::{
    client::{Client, Sent},
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
    /// Takes `quantity` at each place, permanently or as a hold that expires after `ttl`.
    Take { token: String, places: Range<u32>, quantity: i64, ttl: Option<Instant> },
    /// Keeps `quantity` of a hold.
    Keep { id: String, quantity: i64 },
    /// Gives `quantity` back.
    GiveBack { id: String, quantity: i64 },
}

#[derive(Clone, Debug)]
pub enum Outcome {
    /// Done. `id` identifies the take; `level` is the total taken after it, if the answer has one.
    Done { id: String, level: Option<i64> },
    /// Refused for lack of room.
    Denied,
    /// The take to keep or give back was already over.
    Over,
    /// Unknown: it may have taken effect, or may still do so, at most once.
    Maybe,
}

impl Recorded {
    /// What a client asked for and how it ended.
    pub fn of(client: &Client, sent: &Sent, call: Call, outcome: Outcome) -> Self {
        sent.operation(client, call, outcome).without_end_if_unknown()
    }

    /// An operation with an unknown outcome never returns.
    ///
    /// A repeat that was denied does not end it: its earlier send may be applied even later.
    pub fn without_end_if_unknown(mut self) -> Self {
        if matches!(self.outcome, Outcome::Maybe) {
            self.returned_at = NEVER;
        }
        self
    }
}

/// The server's final state.
#[derive(Clone, Debug, Default)]
pub struct End {
    pub capacity: i64,
    /// Whether holds are listed too, and an expired one can still be kept.
    pub lists_holds: bool,
    /// Every take by its id, even with nothing left.
    pub listed: BTreeMap<String, Listed>,
    /// The server's own count of what is taken at each place.
    pub counted: BTreeMap<u32, i64>,
}

#[derive(Clone, Debug)]
pub struct Listed {
    /// The token, if the server stored it.
    pub token: Option<String>,
    pub places: Range<u32>,
    /// The quantity that is still taken.
    pub quantity: i64,
}

/// Tolerance in nanoseconds: a clock may be read slightly after a send or an answer.
const SLACK: Instant = 20_000_000;

/// Everything that is wrong with a history.
pub fn check(history: &[Recorded], end: &End) -> Violations {
    let mut found = Violations::new();
    let tokens: BTreeSet<_> = end.listed.values().filter_map(|one| one.token.as_ref()).collect();
    // For a take with unknown outcome, the list shows whether it took effect.
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

/// Each acknowledged take is listed once; a denied one is not listed.
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
                found.push(format!("{token} was answered {id} and is listed as {listed}"));
            }
            (Outcome::Denied, [listed]) => {
                found.push(format!("{token} was denied and is {listed}"));
            }
            _ => {}
        }
    }
    for (token, ids) in by_token {
        found.push(format!("no client asked for {token}: {ids:?}"));
    }
}

/// Each acknowledged quantity is listed, less what was given back.
fn check_quantities(history: &[Recorded], end: &End, found: &mut Violations) {
    let mut given_back: BTreeMap<&str, Vec<&Recorded>> = BTreeMap::new();
    for operation in history {
        if let Call::GiveBack { id, .. } = &operation.call {
            given_back.entry(id).or_default().push(operation);
        }
    }
    for operation in history {
        let Outcome::Done { id, .. } = &operation.outcome else { continue };
        // A hold is judged by its end, because the list may not show holds.
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

/// The server's count is the sum of its list and within what the history allows.
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

/// Compares one answer with every state that was possible during the call.
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
        found.push(format!("{id} was answered that {level} are taken, of {}", end.capacity));
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
            found.push(format!("{id} was reported over while it lasted"));
        }
        _ => {}
    }
}

/// For each acknowledged hold, the earliest and the latest instant of its end.
fn lasting(history: &[Recorded]) -> BTreeMap<&str, Range<Instant>> {
    let holds = history.iter().filter_map(|take| match (&take.call, &take.outcome) {
        (Call::Take { ttl: Some(ttl), .. }, Outcome::Done { id, .. }) => {
            Some((id.as_str(), over(take, *ttl)))
        }
        _ => None,
    });
    holds.collect()
}

/// The span in which a hold expires: `ttl` after the decision, between its call and answer.
pub fn over(take: &Recorded, ttl: Instant) -> Range<Instant> {
    (take.invoked_at + ttl).saturating_sub(SLACK)..take.returned_at + ttl + SLACK
}

/// Makes an operation's outcome unknown, as if its client had given up.
pub fn forget(operation: &mut Recorded) -> bool {
    operation.returned_at = NEVER;
    operation.outcome = Outcome::Maybe;
    true
}

#[cfg(test)]
mod tests;
