//! The rounds in which a batch is loaded: which needs come next, and when to begin anew.
//!
//! Every writer takes locks in one order: objects by class and id, then sequences. The clock and
//! kept answers are read when no lock is left to take. The transaction begins anew if a round wants
//! a lock that comes before one already taken, a lock after the clock was read, or an exclusive
//! lock on a shared row. It then takes every lock that is known to be needed, so no writer locks
//! against the order.

use ifmatch_domain::{
    Need, State,
    core::{LockClass, Need as CoreNeed, Turn},
};
use std::collections::BTreeSet;

/// Maximum rounds for one batch.
///
/// A need depends on what was loaded before, but never through so many steps. A need that is still
/// wanted then is one that its loader does not answer.
const ROUNDS_MAX: u32 = 100;

/// The progress of loading a batch.
#[derive(Default)]
pub(super) struct Rounds {
    /// Every lock known to be needed.
    locks: BTreeSet<Need>,
    last_lock: Option<(LockClass, String)>,
    /// Whether the clock or kept answers were read. No lock may follow.
    is_late: bool,
    rounds: u32,
}

/// The next step of loading.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Round {
    /// Nothing is left to load.
    Complete,
    /// Load these needs in the running transaction.
    Load(BTreeSet<Need>),
    /// Begin a new transaction with nothing loaded, and load these needs.
    BeginAnew(BTreeSet<Need>),
    /// These needs were asked for again and again, and never loaded.
    Unanswered(BTreeSet<Need>),
}

impl Rounds {
    /// Whether rows are locked and more commands may still be added to the batch.
    pub(super) fn may_grow(&self) -> bool {
        self.last_lock.is_some() && !self.is_late
    }

    /// The next round for the needs that `state` does not answer yet.
    pub(super) fn next(&mut self, wanted: Vec<Need>, state: &State) -> Round {
        let mut wanted: BTreeSet<Need> = wanted.into_iter().collect();
        if wanted.is_empty() {
            return Round::Complete;
        }
        self.rounds = self.rounds.saturating_add(1);
        if self.rounds > ROUNDS_MAX {
            return Round::Unanswered(wanted);
        }
        let mut begins_anew = false;
        if wanted.iter().any(|need| need.lock().is_some()) {
            retain_first_turn(&mut wanted);
            let locks = wanted.iter().filter(|need| need.lock().is_some());
            self.locks.extend(locks.cloned());
            begins_anew = wanted.iter().any(|need| self.is_out_of_order(need, state));
            if begins_anew {
                wanted = self.all_locks();
                self.last_lock = None;
                self.is_late = false;
            }
            let last = wanted.iter().filter_map(Need::lock).max();
            let last = last.map(|(class, id)| (class, id.to_owned()));
            self.last_lock = self.last_lock.take().max(last);
        } else if wanted.iter().any(|need| need.turn() == Turn::Objects) {
            // These find something that is locked next.
            wanted.retain(|need| !need.comes_after_locks());
        }
        self.is_late |= wanted.iter().any(Need::comes_after_locks);
        if begins_anew { Round::BeginAnew(wanted) } else { Round::Load(wanted) }
    }

    /// Whether this lock must not be taken after those already taken.
    fn is_out_of_order(&self, need: &Need, state: &State) -> bool {
        let Some(lock) = need.lock() else { return false };
        let last = self.last_lock.as_ref().map(|(class, id)| (*class, id.as_str()));
        let is_upgrade = match need {
            Need::Core(CoreNeed::Object(kind, id)) => state.is_shared(*kind, id),
            _ => false,
        };
        self.is_late || Some(lock) < last || is_upgrade
    }

    /// The first turn of all locks known to be needed.
    ///
    /// An object that is both referred to and changed is locked exclusively.
    fn all_locks(&self) -> BTreeSet<Need> {
        let is_superseded = |need: &Need| match need {
            Need::Core(CoreNeed::Reference(kind, id)) => {
                self.locks.contains(&Need::Core(CoreNeed::Object(*kind, id.clone())))
            }
            _ => false,
        };
        let mut locks = self.locks.clone();
        locks.retain(|need| !is_superseded(need));
        retain_first_turn(&mut locks);
        locks
    }
}

fn retain_first_turn(needs: &mut BTreeSet<Need>) {
    let first = needs.iter().map(Need::turn).min();
    needs.retain(|need| Some(need.turn()) == first);
}

#[cfg(test)]
mod tests {
    use super::*;
    use ifmatch_domain::billing;
    use ifmatch_types::Kind;

    fn object(kind: Kind, id: &str) -> Need {
        Need::Core(CoreNeed::Object(kind, id.to_owned()))
    }

    fn reference(kind: Kind, id: &str) -> Need {
        Need::Core(CoreNeed::Reference(kind, id.to_owned()))
    }

    fn sequence() -> Need {
        Need::Billing(billing::Need::Sequence(billing::SERIES))
    }

    fn terms() -> Need {
        Need::Billing(billing::Need::Terms { subscription_id: "sub_1".to_owned(), whole: false })
    }

    fn clock() -> Need {
        Need::Core(CoreNeed::Clock)
    }

    fn load(needs: &[Need]) -> Round {
        Round::Load(needs.iter().cloned().collect())
    }

    #[test]
    fn objects_come_first_then_facts_then_sequences_then_the_clock() {
        let mut rounds = Rounds::default();
        let state = State::default();
        let subscription = object(Kind::Subscription, "sub_1");
        let all = vec![clock(), sequence(), terms(), subscription.clone()];
        assert_eq!(rounds.next(all, &state), load(&[subscription]));
        assert_eq!(rounds.next(vec![clock(), sequence(), terms()], &state), load(&[terms()]));
        assert_eq!(rounds.next(vec![clock(), sequence()], &state), load(&[sequence()]));
        assert!(rounds.may_grow());
        assert_eq!(rounds.next(vec![clock()], &state), load(&[clock()]));
        assert!(!rounds.may_grow());
        assert_eq!(rounds.next(vec![], &state), Round::Complete);
    }

    #[test]
    fn a_lock_before_one_that_was_taken_begins_anew_with_all_of_them() {
        let mut rounds = Rounds::default();
        let state = State::default();
        let (early, late) = (object(Kind::Workspace, "wsp_1"), object(Kind::Invoice, "inv_1"));
        assert_eq!(rounds.next(vec![late.clone()], &state), load(std::slice::from_ref(&late)));
        let both: BTreeSet<Need> = [early.clone(), late].into();
        assert_eq!(rounds.next(vec![early], &state), Round::BeginAnew(both));
    }

    #[test]
    fn a_lock_after_the_clock_begins_anew() {
        let mut rounds = Rounds::default();
        let state = State::default();
        assert_eq!(rounds.next(vec![clock()], &state), load(&[clock()]));
        let plan = object(Kind::Plan, "pln_1");
        let anew = Round::BeginAnew([plan.clone()].into());
        assert_eq!(rounds.next(vec![plan], &state), anew);
    }

    #[test]
    fn a_shared_row_that_is_to_be_changed_is_locked_exclusively_from_the_beginning() {
        let mut rounds = Rounds::default();
        let mut state = State::default();
        let (shared, exclusive) = (reference(Kind::Plan, "pln_1"), object(Kind::Plan, "pln_1"));
        assert_eq!(rounds.next(vec![shared.clone()], &state), load(&[shared]));
        state.share(Kind::Plan, "pln_1".to_owned());
        let anew = Round::BeginAnew([exclusive.clone()].into());
        assert_eq!(rounds.next(vec![exclusive], &state), anew);
    }

    #[test]
    fn a_need_that_is_never_answered_ends_the_rounds() {
        let mut rounds = Rounds::default();
        let state = State::default();
        let asked = (0..=ROUNDS_MAX).map(|_| rounds.next(vec![terms()], &state));
        assert_eq!(asked.last(), Some(Round::Unanswered([terms()].into())));
    }
}
