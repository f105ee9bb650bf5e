//! Linearizability of short histories: a register with compare-and-set, a bounded counter.
//!
//! Uses the checker of `todc-utils` (Wing & Gong, with Lowe's memoization). An operation with an
//! unknown outcome never returns, so it may take effect at any later time. If it never takes
//! effect, that equals taking effect after the last read.

use super::{
    operation::{Instant, NEVER, Operation},
    versions::Fields,
};
use todc_utils::{
    Action,
    linearizability::{WGLChecker, history::History},
    specifications::Specification,
};

/// An object's name when it is created. It has no other field then.
pub const MADE: &str = "made";

/// Maximum number of operations without an answer in a search for an order.
///
/// Each may have happened at any later time or never, so each can double the search. A slow machine
/// makes many.
const UNKNOWNS_MAX: usize = 6;

/// A step of a versioned object.
#[derive(Clone, Debug)]
pub enum Register {
    Read {
        version: i64,
        fields: Fields,
    },
    /// Compare-and-set with a base; without one it applies to any state.
    Write {
        path: String,
        token: String,
        base: Option<i64>,
        ended: Written,
    },
}

#[derive(Clone, Debug)]
pub enum Written {
    As(i64),
    Stale(i64),
    Unknown,
}

impl Specification for Register {
    type State = (i64, Fields);
    type Operation = Self;

    fn init() -> Self::State {
        (1, Fields::from([("/name".to_owned(), MADE.to_owned())]))
    }

    fn apply(step: &Self, state: &Self::State) -> (bool, Self::State) {
        let (current, there) = state;
        match step {
            Self::Read { version, fields } => {
                ((version, fields) == (current, there), state.clone())
            }
            Self::Write { path, token, base, ended } => {
                let matches = base.is_none_or(|base| base == *current);
                let written = || {
                    let mut fields = there.clone();
                    fields.insert(path.clone(), token.clone());
                    (current + 1, fields)
                };
                match ended {
                    Written::As(version) => (matches && *version == current + 1, written()),
                    Written::Stale(seen) => {
                        (seen == current && base != &Some(*seen), state.clone())
                    }
                    Written::Unknown if matches => (true, written()),
                    Written::Unknown => (true, state.clone()),
                }
            }
        }
    }
}

/// A step of a counter that never exceeds its limit.
#[derive(Clone, Debug)]
pub enum Counter {
    Record { quantity: i64, limit: i64, ended: Counted },
    Reverse { quantity: i64, ended: Counted },
}

#[derive(Clone, Debug)]
pub enum Counted {
    /// Done; the counter after it.
    Used(i64),
    Denied,
    Unknown,
}

impl Specification for Counter {
    type State = i64;
    type Operation = Self;

    fn init() -> i64 {
        0
    }

    fn apply(step: &Self, used: &i64) -> (bool, i64) {
        let (quantity, has_room, ended) = match step {
            Self::Record { quantity, limit, ended } => {
                (*quantity, used + quantity <= *limit, ended)
            }
            Self::Reverse { quantity, ended } => (-quantity, true, ended),
        };
        let after = used + quantity;
        match ended {
            Counted::Used(told) => (has_room && *told == after, after),
            Counted::Denied => (!has_room, *used),
            Counted::Unknown if has_room => (true, after),
            Counted::Unknown => (true, *used),
        }
    }
}

/// Whether some order of the operations fits real time, every answer and the rules.
pub fn is_linearizable<S>(steps: &[(Instant, Instant, S)]) -> bool
where
    S: Specification<Operation = S> + Clone,
{
    let mut actions = Vec::new();
    for (process, (invoked_at, returned_at, step)) in steps.iter().enumerate() {
        actions.push((*invoked_at, 0, process, Action::Call(step.clone())));
        actions.push((*returned_at, 1, process, Action::Response(step.clone())));
    }
    // An operation that begins when another ends is concurrent with it.
    actions.sort_by_key(|(instant, order, process, _)| (*instant, *order, *process));
    let actions: Vec<_> =
        actions.into_iter().map(|(_, _, process, action)| (process, action)).collect();
    actions.is_empty() || WGLChecker::<S>::is_linearizable(History::from_actions(actions))
}

/// The first operations of a history. Those that return later have an unknown outcome. It ends
/// before too many have no answer.
///
/// Every prefix of a linearizable history is linearizable, so none may fail.
pub fn beginning<C, O>(
    mut history: Vec<Operation<C, O>>,
    operations_max: usize,
    unknown: impl Fn(&mut Operation<C, O>) -> bool,
) -> Vec<Operation<C, O>> {
    history.sort_by_key(|operation| operation.invoked_at);
    let mut unknowns = history.iter().filter(|operation| operation.returned_at == NEVER);
    let ends = [history.get(operations_max), unknowns.nth(UNKNOWNS_MAX)];
    let end = ends.iter().flatten().map(|next| next.invoked_at).min().unwrap_or(NEVER);
    history.retain_mut(|operation| {
        if operation.invoked_at >= end {
            return false;
        }
        if operation.returned_at < end {
            return true;
        }
        operation.returned_at = NEVER;
        unknown(operation)
    });
    history
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(token: &str, base: i64, ended: Written) -> Register {
        let (path, token) = ("/name".to_owned(), token.to_owned());
        Register::Write { path, token, base: Some(base), ended }
    }

    fn read(version: i64, token: &str) -> Register {
        let fields = Fields::from([("/name".to_owned(), token.to_owned())]);
        Register::Read { version, fields }
    }

    #[test]
    fn concurrent_writes_can_be_seen_in_one_order_only() {
        let a = (0, 10, write("a", 1, Written::As(2)));
        let refused = (0, 10, write("b", 1, Written::Stale(2)));
        let history = [a.clone(), refused, (1, 2, read(1, MADE)), (3, 4, read(2, "a"))];
        assert!(is_linearizable(&history));
        let back = [a, (1, 2, read(2, "a")), (3, 4, read(1, MADE))];
        assert!(!is_linearizable(&back), "a version that was read stays visible");
    }

    #[test]
    fn two_winners_of_one_version_are_refused() {
        let two = [(0, 9, write("a", 1, Written::As(2))), (0, 9, write("b", 1, Written::As(2)))];
        assert!(!is_linearizable(&two));
        let lost = [(0, 1, write("a", 1, Written::As(2))), (2, 3, write("b", 1, Written::As(3)))];
        assert!(!is_linearizable(&lost), "it named version 1");
    }

    #[test]
    fn a_stale_read_and_a_wrong_refusal_are_refused() {
        let a = (0, 1, write("a", 1, Written::As(2)));
        assert!(is_linearizable(&[a.clone(), (2, 3, read(2, "a"))]));
        assert!(!is_linearizable(&[a.clone(), (2, 3, read(1, MADE))]));
        assert!(!is_linearizable(&[a.clone(), (2, 3, read(2, "b"))]));
        assert!(!is_linearizable(&[a, (2, 3, write("b", 2, Written::Stale(2)))]));
    }

    #[test]
    fn an_unknown_write_happens_at_any_later_time_or_never() {
        let lost = (0, NEVER, write("a", 1, Written::Unknown));
        assert!(is_linearizable(&[lost.clone(), (5, 6, read(1, MADE))]), "never");
        let late = [lost.clone(), (5, 6, read(1, MADE)), (7, 8, read(2, "a"))];
        assert!(is_linearizable(&late), "later");
        let twice = [late.as_slice(), &[(9, 10, write("b", 2, Written::As(3)))]].concat();
        assert!(is_linearizable(&twice));
        let undone = [late.as_slice(), &[(9, 10, read(1, MADE))]].concat();
        assert!(!is_linearizable(&undone), "but not undone");
        let again = [twice.as_slice(), &[(11, 12, read(4, "a"))]].concat();
        assert!(!is_linearizable(&again), "and not twice");
        let early = [(0, 1, read(2, "a")), (2, NEVER, write("a", 1, Written::Unknown))];
        assert!(!is_linearizable(&early), "not before it was sent");
    }

    fn record(quantity: i64, ended: Counted) -> Counter {
        Counter::Record { quantity, limit: 3, ended }
    }

    #[test]
    fn a_counter_admits_exactly_its_limit() {
        let two = (0, 9, record(2, Counted::Used(2)));
        let one = (0, 9, record(1, Counted::Used(3)));
        assert!(is_linearizable(&[two.clone(), one, (1, 8, record(2, Counted::Denied))]));
        let over = [two.clone(), (0, 9, record(2, Counted::Used(4)))];
        assert!(!is_linearizable(&over), "over the limit");
        let stale =
            [two.clone(), (0, 9, record(1, Counted::Used(1))), (0, 9, record(1, Counted::Used(2)))];
        assert!(!is_linearizable(&stale), "counted from a stale state");
        assert!(!is_linearizable(&[two, (10, 11, record(1, Counted::Denied))]), "there was room");
    }

    #[test]
    fn what_was_given_back_can_be_used_again_and_an_unknown_one_may_count() {
        let full = (0, 1, record(3, Counted::Used(3)));
        let back = (2, 5, Counter::Reverse { quantity: 1, ended: Counted::Used(2) });
        let again = (3, 4, record(1, Counted::Used(3)));
        assert!(is_linearizable(&[full.clone(), back, again.clone()]));
        assert!(!is_linearizable(&[full.clone(), again]));
        let unknown = (0, NEVER, record(2, Counted::Unknown));
        assert!(is_linearizable(&[unknown.clone(), (5, 6, record(3, Counted::Used(3)))]));
        assert!(is_linearizable(&[unknown, (5, 6, record(3, Counted::Denied))]));
    }

    #[test]
    fn a_beginning_forgets_what_came_after_it() {
        let operation = |invoked_at, returned_at| Operation {
            client: 0,
            invoked_at,
            returned_at,
            call: (),
            outcome: 1,
        };
        let whole = vec![operation(5, 6), operation(0, 9), operation(1, 2), operation(3, 4)];
        let forget = |one: &mut Operation<(), i32>| {
            one.outcome = 0;
            true
        };
        let kept = beginning(whole, 2, forget);
        let shown: Vec<_> =
            kept.iter().map(|one| (one.invoked_at, one.returned_at, one.outcome)).collect();
        assert_eq!(shown, [(0, NEVER, 0), (1, 2, 1)]);
    }
}
