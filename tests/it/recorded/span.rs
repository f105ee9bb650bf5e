//! When each take counted: certainly and possibly.

use super::{
    capacity::{Call, Outcome, Recorded, over},
    operation::{Instant, NEVER},
};
use std::{
    collections::{BTreeMap, HashMap},
    ops::Range,
};

/// A quantity at some places for some time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    pub places: Range<u32>,
    pub quantity: i64,
    /// While it certainly counts; empty if it never does.
    pub certain: Range<Instant>,
    /// While it may count.
    pub possible: Range<Instant>,
}

/// The claims of the takes in a history.
///
/// `happened` tells for an unanswered take, by its token and whether it is a hold, if it may have
/// taken effect.
pub fn claims(history: &[Recorded], happened: impl Fn(&String, bool) -> bool) -> Vec<Claim> {
    let mut ends: HashMap<&str, &Recorded> = HashMap::new();
    for operation in history {
        let (Call::Keep { id, .. } | Call::GiveBack { id, .. }) = &operation.call else { continue };
        if matches!(operation.outcome, Outcome::Done { .. } | Outcome::Maybe) {
            let other = ends.insert(id, operation);
            assert!(other.is_none(), "a client ends what it took once: {id}");
        }
    }
    let mut claims = Vec::new();
    for take in history {
        let Call::Take { token, places, quantity, ttl } = &take.call else { continue };
        let claim = |quantity, certain, possible| Claim {
            places: places.clone(),
            quantity,
            certain,
            possible,
        };
        let id = match &take.outcome {
            Outcome::Done { id, .. } => id.as_str(),
            Outcome::Maybe if happened(token, ttl.is_some()) => {
                claims.push(claim(*quantity, NEVER..NEVER, take.invoked_at..NEVER));
                continue;
            }
            Outcome::Maybe | Outcome::Denied | Outcome::Over => continue,
        };
        let over = ttl.map_or(NEVER..NEVER, |ttl| over(take, ttl));
        let whole = |quantity, until: Instant, at_most: Instant| {
            let certain = take.returned_at..until.min(over.start);
            claim(quantity, certain, take.invoked_at..at_most.min(over.end))
        };
        let Some(end) = ends.get(id) else {
            claims.push(whole(*quantity, NEVER, NEVER));
            continue;
        };
        let is_known = matches!(end.outcome, Outcome::Done { .. });
        let at_most = if is_known { end.returned_at } else { NEVER };
        match end.call {
            Call::GiveBack { quantity: back, .. } => {
                claims.push(whole(quantity - back, NEVER, NEVER));
                claims.push(whole(back, end.invoked_at, at_most));
            }
            Call::Keep { quantity: kept, .. } => {
                claims.push(whole(quantity - kept, end.invoked_at, at_most));
                let lasted = end.returned_at < over.start;
                let from = if lasted { take.returned_at } else { end.returned_at };
                let certain = if is_known { from..NEVER } else { NEVER..NEVER };
                claims.push(claim(kept, certain, take.invoked_at..NEVER));
                if !lasted {
                    claims.push(claim(
                        kept,
                        take.returned_at..end.invoked_at.min(over.start),
                        NEVER..NEVER,
                    ));
                }
            }
            Call::Take { .. } => {}
        }
    }
    claims
}

/// The quantity taken at each place, as steps: from an instant on, this much.
pub struct Levels {
    certain: BTreeMap<u32, Vec<(Instant, i64)>>,
    possible: BTreeMap<u32, Vec<(Instant, i64)>>,
}

impl Levels {
    pub fn of(claims: &[Claim]) -> Self {
        // One claim ends at the instant at which another begins: they certainly never overlap, but
        // possibly do.
        Self {
            certain: steps(claims, |claim| claim.certain.clone(), false),
            possible: steps(claims, |claim| claim.possible.clone(), true),
        }
    }

    /// The highest quantity that was certainly taken at each place.
    pub fn most_certain(&self) -> impl Iterator<Item = (u32, i64)> {
        let most = |steps: &Vec<(Instant, i64)>| steps.iter().map(|step| step.1).max();
        self.certain.iter().filter_map(move |(place, steps)| Some((*place, most(steps)?)))
    }

    /// The highest quantity possibly taken at a place during a span, both ends included.
    pub fn most_possible(&self, place: u32, span: Range<Instant>) -> i64 {
        let Some(steps) = self.possible.get(&place) else { return 0 };
        let first = steps.partition_point(|step| step.0 < span.start);
        let before = first.checked_sub(1).map_or(0, |last| steps[last].1);
        let within = steps[first..].iter().take_while(|step| step.0 <= span.end);
        within.map(|step| step.1).max().unwrap_or(0).max(before)
    }

    /// The minimum and maximum taken at a place at the end.
    pub fn in_the_end(&self, place: u32) -> (i64, i64) {
        let last = |steps: &BTreeMap<u32, Vec<(Instant, i64)>>| {
            steps.get(&place).and_then(|steps| steps.last()).map_or(0, |step| step.1)
        };
        (last(&self.certain), last(&self.possible))
    }
}

fn steps(
    claims: &[Claim],
    span: impl Fn(&Claim) -> Range<Instant>,
    more_first: bool,
) -> BTreeMap<u32, Vec<(Instant, i64)>> {
    let mut changes: BTreeMap<u32, Vec<(Instant, bool, i64)>> = BTreeMap::new();
    for claim in claims {
        let Range { start, end } = span(claim);
        if start >= end || claim.quantity == 0 {
            continue;
        }
        for place in claim.places.clone() {
            let changes = changes.entry(place).or_default();
            changes.push((start, !more_first, claim.quantity));
            if end != NEVER {
                changes.push((end, more_first, -claim.quantity));
            }
        }
    }
    let mut steps = BTreeMap::new();
    for (place, mut changes) in changes {
        changes.sort_unstable();
        let mut level = 0;
        let running = changes.into_iter().map(|(instant, _, change)| {
            level += change;
            (instant, level)
        });
        steps.insert(place, running.collect());
    }
    steps
}
