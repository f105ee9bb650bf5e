//! What a lane has seen to be asked for after something else: asked for together with it, that saves
//! a way to the database. A guess that is wrong costs a lookup, and changes no decision.

use ifmatch_domain::Need;
use std::collections::{BTreeSet, HashMap};

/// So many batches after which everything is learned anew: what nobody asks for any more is not
/// looked up for ever.
const BATCHES_MAX: u32 = 64;
/// What is followed by more than this is followed by anything.
const FOLLOWERS_MAX: usize = 16;
/// So many things are remembered, at most.
const LEADS_MAX: usize = 1_024;

/// Which needs came after which.
#[derive(Default)]
pub(super) struct Habit {
    followers: HashMap<Need, BTreeSet<Need>>,
    batches: u32,
}

impl Habit {
    /// Begins a batch.
    pub(super) fn begin(&mut self) {
        self.batches = self.batches.wrapping_add(1);
        if self.batches.is_multiple_of(BATCHES_MAX) || self.followers.len() > LEADS_MAX {
            self.followers.clear();
        }
    }

    /// Learns from what a batch asks for, and adds what is likely to be asked for next.
    pub(super) fn apply(&mut self, wanted: &mut BTreeSet<Need>) {
        for need in wanted.iter() {
            if let Some(lead) = need.follows() {
                let followers = self.followers.entry(lead).or_default();
                followers.insert(need.clone());
                if followers.len() > FOLLOWERS_MAX {
                    followers.clear();
                }
            }
        }
        let known = wanted.iter().filter_map(|need| self.followers.get(need));
        let next: Vec<Need> = known.flatten().cloned().collect();
        wanted.extend(next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holdings(scope: &str) -> Need {
        Need::Holdings(format!("workspaces/{scope}"))
    }

    fn counter(scope: &str, pool: &str) -> Need {
        Need::Counter(format!("workspaces/{scope}/{pool}/1700000000000000"))
    }

    fn apply(habit: &mut Habit, wanted: &[Need]) -> Vec<Need> {
        let mut wanted: BTreeSet<Need> = wanted.iter().cloned().collect();
        habit.apply(&mut wanted);
        wanted.into_iter().collect()
    }

    #[test]
    fn what_came_after_something_is_asked_for_with_it() {
        let mut habit = Habit::default();
        assert_eq!(apply(&mut habit, &[holdings("a")]), [holdings("a")]);
        assert_eq!(apply(&mut habit, &[counter("a", "calls")]), [counter("a", "calls")]);
        assert_eq!(apply(&mut habit, &[holdings("a")]), [holdings("a"), counter("a", "calls")]);
        assert_eq!(apply(&mut habit, &[holdings("b")]), [holdings("b")], "each for itself");
    }

    #[test]
    fn it_is_learned_anew_now_and_then() {
        let mut habit = Habit::default();
        apply(&mut habit, &[counter("a", "calls")]);
        (0..BATCHES_MAX).for_each(|_| habit.begin());
        assert_eq!(apply(&mut habit, &[holdings("a")]), [holdings("a")]);
    }

    #[test]
    fn what_is_followed_by_anything_has_no_followers() {
        let mut habit = Habit::default();
        for number in 0..=FOLLOWERS_MAX {
            apply(&mut habit, &[counter("a", &number.to_string())]);
        }
        assert_eq!(apply(&mut habit, &[holdings("a")]), [holdings("a")]);
    }
}
