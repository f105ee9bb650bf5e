//! Correct histories, and one for each kind of error.

use super::*;
use crate::recorded::operation::assert_says;

/// In the histories below, a unit of time is longer than the tolerance.
const UNIT: Instant = 10 * TOLERANCE;

fn operation(call: Call, (invoked_at, returned_at): (u64, u64), outcome: Outcome) -> Recorded {
    let (invoked_at, returned_at) = (invoked_at * UNIT, returned_at * UNIT);
    let returned_at = if matches!(outcome, Outcome::Maybe) { NEVER } else { returned_at };
    Operation { client: 0, invoked_at, returned_at, call, outcome }
}

/// A grant for ten units from the middle of its acquisition on.
fn acquire(fence: i64, (invoked_at, returned_at): (u64, u64)) -> Recorded {
    let acquired_at = (invoked_at + returned_at) * UNIT / 2;
    let expires_at = acquired_at + 10 * UNIT;
    let grant = Grant { fence, owner: format!("own_{fence}"), acquired_at, expires_at };
    operation(Call::Acquire, (invoked_at, returned_at), Outcome::Granted(grant))
}

fn renew(fence: i64, span: (u64, u64), until: u64) -> Recorded {
    operation(Call::Renew { fence }, span, Outcome::Renewed(until * UNIT))
}

fn release(fence: i64, span: (u64, u64), outcome: Outcome) -> Recorded {
    operation(Call::Release { fence }, span, outcome)
}

fn write(token: &str, fence: i64, span: (u64, u64), outcome: Outcome) -> Recorded {
    operation(Call::Write { token: token.to_owned(), fence, is_fenced: true }, span, outcome)
}

fn force(span: (u64, u64), outcome: Outcome) -> Recorded {
    operation(Call::Force, span, outcome)
}

/// The versions that these writes make, each of which increments the counter.
fn entries(tokens: &[&str]) -> Vec<Entry> {
    let tokens = std::iter::once(&"").chain(tokens);
    let entry =
        |(version, by): (i64, &&str)| Entry { version, counter: version - 1, by: (*by).to_owned() };
    (1i64..).zip(tokens).map(entry).collect()
}

#[test]
fn a_right_history_is_right() {
    let history = [
        acquire(1, (0, 2)),
        write("a", 1, (3, 4), Outcome::Done),
        operation(Call::Acquire, (3, 5), Outcome::Held),
        renew(1, (5, 6), 16),
        release(1, (13, 14), Outcome::Done),
        // Granted before the answer to the release.
        acquire(2, (11, 15)),
        write("b", 2, (16, 17), Outcome::Maybe),
        // It expires at 23.
        write("c", 2, (22, 24), Outcome::Over),
        acquire(3, (24, 26)),
        force((27, 28), Outcome::Done),
        write("d", 3, (27, 29), Outcome::Over),
        acquire(4, (29, 31)),
        write("e", 4, (31, 32), Outcome::Done),
        release(4, (33, 34), Outcome::Maybe),
        acquire(5, (33, 35)),
    ];
    assert_eq!(check(&history, &entries(&["a", "b", "e"])), Violations::new());
    assert_eq!(
        check(&history, &entries(&["a", "e"])),
        Violations::new(),
        "what was lost is absent"
    );
}

#[test]
fn a_lost_update_is_found() {
    let mut entries = entries(&["a", "b"]);
    entries[2].counter = 1;
    let history = [
        acquire(1, (0, 2)),
        write("a", 1, (3, 4), Outcome::Done),
        write("b", 1, (5, 6), Outcome::Done),
    ];
    let found = check(&history, &entries);
    assert_says(&found, "version 3 by b lost an update: 1 became 1");
    assert_eq!(found.len(), 1);
}

#[test]
fn a_write_with_another_effect_than_was_told_is_found() {
    let with = |outcome| vec![acquire(1, (0, 2)), write("a", 1, (3, 4), outcome)];
    assert_says(&check(&with(Outcome::Done), &entries(&[])), "acknowledged and is lost");
    assert_says(&check(&with(Outcome::Over), &entries(&["a"])), "refused and is version 2");
    assert_says(&check(&with(Outcome::Done), &entries(&["a", "a"])), "applied twice");
    assert_says(&check(&[], &entries(&["a"])), "no client wrote a");
}

#[test]
fn two_holders_at_once_are_found() {
    let history = [acquire(1, (0, 2)), acquire(2, (8, 10))];
    assert_says(&check(&history, &entries(&[])), "2 was granted while 1 was held");
    let renewed = [acquire(1, (0, 2)), renew(1, (5, 6), 20), acquire(2, (14, 16))];
    assert_says(&check(&renewed, &entries(&[])), "2 was granted while 1 was held");
    let released = [&history[..], &[release(1, (9, 12), Outcome::Done)]].concat();
    assert_eq!(check(&released, &entries(&[])), Violations::new());
    let late = [&history[..], &[release(1, (11, 12), Outcome::Done)]].concat();
    assert_says(&check(&late, &entries(&[])), "2 was granted while 1 was held");
}

#[test]
fn a_fence_that_does_not_grow_is_found() {
    let history = [acquire(2, (0, 2)), acquire(1, (14, 16))];
    let found = check(&history, &entries(&[]));
    assert_says(&found, "1 was granted after 2");
    assert_says(&found, "2 was granted earlier than 1");
    let twice = [acquire(1, (0, 2)), acquire(1, (14, 16))];
    assert_says(&check(&twice, &entries(&[])), "1 and 1 are one grant for two");
}

#[test]
fn an_owner_who_is_told_of_a_loss_too_early_is_found() {
    for told in [
        renew(1, (5, 6), 0),
        release(1, (5, 6), Outcome::Over),
        write("a", 1, (5, 6), Outcome::Over),
    ] {
        let told = Operation { outcome: Outcome::Over, ..told };
        let history = vec![acquire(1, (0, 2)), told.clone()];
        assert_says(&check(&history, &entries(&[])), "the grant was not over");
        let forced = [&history[..], &[force((4, 5), Outcome::Maybe)]].concat();
        assert_eq!(check(&forced, &entries(&[])), Violations::new(), "it may have been forced");
        let late = Operation { invoked_at: 12 * UNIT, returned_at: 13 * UNIT, ..told };
        assert_eq!(check(&[acquire(1, (0, 2)), late], &entries(&[])), Violations::new());
    }
}

#[test]
fn a_write_after_the_end_of_its_grant_is_found() {
    let entries = entries(&["a"]);
    let expired = [acquire(1, (0, 2)), write("a", 1, (12, 13), Outcome::Done)];
    assert_says(&check(&expired, &entries), "the grant had expired");
    let renewed = [&expired[..], &[renew(1, (5, 6), 15)]].concat();
    assert_eq!(check(&renewed, &entries), Violations::new());
    let unknown = Operation { returned_at: NEVER, outcome: Outcome::Maybe, ..renew(1, (5, 6), 0) };
    assert_eq!(check(&[&expired[..], &[unknown]].concat(), &entries), Violations::new());
    let released = release(1, (3, 4), Outcome::Done);
    let history = [acquire(1, (0, 2)), released, write("a", 1, (5, 6), Outcome::Done)];
    assert_says(&check(&history, &entries), "the grant was released");
    let forced = force((3, 4), Outcome::Done);
    let history = [acquire(1, (0, 2)), forced, write("a", 1, (5, 6), Outcome::Done)];
    assert_says(&check(&history, &entries), "the grant was released");
    let other = [acquire(1, (0, 2)), force((3, 6), Outcome::Maybe), acquire(2, (3, 5))];
    let history = [&other[..], &[write("a", 1, (6, 7), Outcome::Done)]].concat();
    assert_says(&check(&history, &entries), "somebody else had the lock");
}

#[test]
fn an_unfenced_write_is_judged_by_its_effect_only() {
    let call = Call::Write { token: "a".to_owned(), fence: 1, is_fenced: false };
    let history = [acquire(1, (0, 2)), operation(call, (20, 21), Outcome::Done)];
    assert_eq!(check(&history, &entries(&["a"])), Violations::new());
}
