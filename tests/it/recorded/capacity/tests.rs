//! Correct histories, and one for each kind of error.

use super::*;
use crate::recorded::operation::assert_says;

const MS: Instant = 1_000_000;
const TTL: Instant = 100 * MS;

fn operation(
    call: Call,
    (invoked_at, returned_at): (Instant, Instant),
    outcome: Outcome,
) -> Recorded {
    let returned_at = match outcome {
        Outcome::Maybe => NEVER,
        _ => returned_at * MS,
    };
    Operation { client: 0, invoked_at: invoked_at * MS, returned_at, call, outcome }
}

fn done(id: &str) -> Outcome {
    Outcome::Done { id: id.to_owned(), level: None }
}

fn take(token: &str, quantity: i64, at: (Instant, Instant), outcome: Outcome) -> Recorded {
    let call = Call::Take { token: token.to_owned(), places: 0..1, quantity, ttl: None };
    operation(call, at, outcome)
}

fn hold(id: &str, quantity: i64, at: (Instant, Instant)) -> Recorded {
    let call = Call::Take { token: id.to_owned(), places: 0..1, quantity, ttl: Some(TTL) };
    operation(call, at, done(id))
}

fn keep(id: &str, quantity: i64, at: (Instant, Instant), outcome: Outcome) -> Recorded {
    operation(Call::Keep { id: id.to_owned(), quantity }, at, outcome)
}

fn give_back(id: &str, quantity: i64, at: (Instant, Instant), outcome: Outcome) -> Recorded {
    operation(Call::GiveBack { id: id.to_owned(), quantity }, at, outcome)
}

/// A final state with a capacity of 3 and these ids (also tokens) and quantities.
fn end(left: &[(&str, i64)]) -> End {
    let listed = left.iter().map(|(id, quantity)| {
        let token = Some((*id).to_owned());
        ((*id).to_owned(), Listed { token, places: 0..1, quantity: *quantity })
    });
    let counted = [(0, left.iter().map(|one| one.1).sum())].into();
    End { capacity: 3, lists_holds: false, listed: listed.collect(), counted }
}

#[test]
fn a_right_history_is_right() {
    let history = [
        take("a", 2, (0, 5), done("a")),
        take("b", 2, (1, 6), Outcome::Denied),
        give_back("a", 1, (10, 20), done("a")),
        take("c", 2, (11, 19), done("c")),
        take("d", 1, (30, 40), Outcome::Denied),
        take("e", 1, (50, 0), Outcome::Maybe),
    ];
    assert_eq!(check(&history, &end(&[("a", 1), ("c", 2)])), Violations::new());
}

#[test]
fn a_hold_counts_until_it_is_over() {
    let history = [
        hold("h", 3, (0, 10)),
        take("a", 1, (20, 30), Outcome::Denied),
        take("b", 3, (200, 210), done("b")),
    ];
    assert_eq!(check(&history, &end(&[("b", 3), ("h", 0)])), Violations::new());
    let early = [hold("h", 3, (0, 10)), take("b", 3, (20, 30), done("b"))];
    assert_says(&check(&early, &end(&[("b", 3)])), "6 were taken at 0, of 3");
    let late = [hold("h", 3, (0, 10)), take("a", 1, (200, 210), Outcome::Denied)];
    assert_says(&check(&late, &end(&[])), "a was denied 1 beside 0 of 3");
}

#[test]
fn what_is_kept_of_a_hold_counts_for_good() {
    let kept = keep("h", 2, (20, 30), done("h"));
    let history = [hold("h", 3, (0, 10)), kept, take("a", 1, (300, 310), done("a"))];
    assert_eq!(check(&history, &end(&[("h", 2), ("a", 1)])), Violations::new());
    let mut more = history.to_vec();
    more.push(take("b", 1, (400, 410), done("b")));
    let found = check(&more, &end(&[("h", 2), ("a", 1), ("b", 1)]));
    assert_says(&found, "4 were taken at 0, of 3");
    assert_says(&found, "4 are counted at 0, of 3");
}

#[test]
fn keeping_what_is_over_is_found() {
    let history = [hold("h", 1, (0, 10)), keep("h", 1, (200, 210), done("h"))];
    assert_says(&check(&history, &end(&[("h", 1)])), "kept after it was over");
    let listed = End { lists_holds: true, ..end(&[("h", 1)]) };
    assert_eq!(check(&history, &listed), Violations::new(), "a booking can be");
    let early = [hold("h", 1, (0, 10)), keep("h", 1, (20, 30), Outcome::Over)];
    assert_says(&check(&early, &end(&[])), "over while it lasted");
}

#[test]
fn more_than_there_is_is_found_also_between_and_by_what_was_told() {
    let history = [
        take("a", 2, (0, 5), done("a")),
        take("b", 2, (0, 6), done("b")),
        give_back("a", 2, (10, 20), done("a")),
    ];
    let found = check(&history, &end(&[("a", 0), ("b", 2)]));
    assert_says(&found, "4 were taken at 0, of 3");
    let told = Outcome::Done { id: "a".to_owned(), level: Some(4) };
    assert_says(
        &check(&[take("a", 1, (0, 5), told)], &end(&[("a", 1)])),
        "answered that 4 are taken",
    );
}

#[test]
fn a_denial_although_there_was_room_is_found() {
    let history = [take("a", 2, (0, 5), done("a")), take("b", 1, (6, 7), Outcome::Denied)];
    assert_says(&check(&history, &end(&[("a", 2)])), "b was denied 1 beside 2 of 3");
    // Not an error if another take may have used the room, because the list shows an unanswered
    // one.
    let mut history = history.to_vec();
    history.push(take("c", 1, (0, 0), Outcome::Maybe));
    assert_eq!(check(&history, &end(&[("a", 2), ("c", 1)])), Violations::new());
    assert_says(&check(&history, &end(&[("a", 2)])), "b was denied 1 beside 2 of 3");
}

#[test]
fn an_effect_applied_twice_or_lost_or_denied_is_found() {
    let mut twice = end(&[("a", 1), ("x", 1)]);
    twice.listed.get_mut("x").unwrap().token = Some("a".to_owned());
    let a = take("a", 1, (0, 5), done("a"));
    assert_says(&check(std::slice::from_ref(&a), &twice), "a was applied twice");
    assert_says(&check(std::slice::from_ref(&a), &end(&[])), "a was acknowledged and is lost");
    let denied = take("a", 1, (0, 5), Outcome::Denied);
    assert_says(&check(&[denied], &end(&[("a", 1)])), "a was denied and is a");
    assert_says(&check(&[], &end(&[("a", 1)])), "no client asked for a");
    let other = take("a", 1, (0, 5), done("b"));
    assert_says(&check(&[other], &end(&[("a", 1)])), "a was answered b and is listed as a");
}

#[test]
fn a_count_that_is_not_the_sum_of_the_list_is_found() {
    let a = take("a", 2, (0, 5), done("a"));
    let mut wrong = end(&[("a", 2)]);
    wrong.counted.insert(0, 1);
    let found = check(&[a], &wrong);
    assert_says(&found, "1 are counted at 0, and 2 are listed");
    assert_says(&found, "1 at 0 should be 2 to 2");
}

#[test]
fn what_was_given_back_is_less_once_and_an_ambiguous_one_once_at_most() {
    let a = take("a", 3, (0, 5), done("a"));
    let back = [a.clone(), give_back("a", 1, (6, 7), done("a"))];
    assert_eq!(check(&back, &end(&[("a", 2)])), Violations::new());
    assert_says(&check(&back, &end(&[("a", 1)])), "1 are left of a");
    assert_says(&check(&back, &end(&[("a", 3)])), "3 are left of a");
    let maybe = [a, give_back("a", 1, (6, 0), Outcome::Maybe)];
    assert_eq!(check(&maybe, &end(&[("a", 3)])), Violations::new());
    assert_eq!(check(&maybe, &end(&[("a", 2)])), Violations::new());
    assert_says(&check(&maybe, &end(&[("a", 1)])), "1 are left of a");
}

#[test]
fn each_place_has_its_own_room() {
    let days = |token: &str, places: Range<u32>, at, outcome| {
        operation(
            Call::Take { token: token.to_owned(), places, quantity: 2, ttl: None },
            at,
            outcome,
        )
    };
    let history = [
        days("a", 0..2, (0, 5), done("a")),
        days("b", 2..4, (6, 7), done("b")),
        days("c", 1..3, (8, 9), Outcome::Denied),
        days("d", 4..6, (8, 9), Outcome::Denied),
    ];
    let mut state = end(&[("a", 2), ("b", 2)]);
    state.listed.get_mut("a").unwrap().places = 0..2;
    state.listed.get_mut("b").unwrap().places = 2..4;
    state.counted = (0..4).map(|day| (day, 2)).collect();
    let found = check(&history, &state);
    assert_says(&found, "d was denied");
    assert_eq!(found.len(), 1, "{found:?}");
}
