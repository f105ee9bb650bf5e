//! Correct histories, and one for each kind of error.

use super::*;
use crate::recorded::operation::assert_says;

const PATH: &str = "/name";

fn fields(value: &str) -> Fields {
    Fields::from([(PATH.to_owned(), value.to_owned())])
}

fn entry(version: i64, value: &str) -> Entry {
    Entry { version, kind: "updated".to_owned(), changed: fields(value), is_audited: false }
}

fn write(
    token: &str,
    base: i64,
    (invoked_at, returned_at): (u64, u64),
    as_version: i64,
) -> Recorded {
    let call =
        Call::Write { path: PATH.to_owned(), token: token.to_owned(), base, mode: Mode::Refuse };
    let outcome = Outcome::Saw { version: as_version, fields: fields(token) };
    Operation { client: 0, invoked_at, returned_at, call, outcome }
}

fn read(value: &str, version: i64, (invoked_at, returned_at): (u64, u64)) -> Recorded {
    let outcome = Outcome::Saw { version, fields: fields(value) };
    Operation { client: 1, invoked_at, returned_at, call: Call::Read, outcome }
}

fn ended(operation: Recorded, outcome: Outcome) -> Recorded {
    let returned_at = match outcome {
        Outcome::Maybe => NEVER,
        _ => operation.returned_at,
    };
    Operation { returned_at, outcome, ..operation }
}

fn with_mode(mut operation: Recorded, wanted: Mode) -> Recorded {
    if let Call::Write { mode, .. } = &mut operation.call {
        *mode = wanted;
    }
    operation
}

fn three() -> Vec<Entry> {
    vec![entry(1, "made"), entry(2, "a"), entry(3, "b")]
}

#[test]
fn a_right_history_is_right() {
    let lost = ended(write("c", 3, (50, 60), 4), Outcome::Maybe);
    let history = [
        read("made", 1, (0, 5)),
        write("a", 1, (1, 20), 2),
        // During a write both versions can be read.
        read("made", 1, (2, 3)),
        read("a", 2, (4, 6)),
        ended(write("x", 1, (7, 30), 0), Outcome::Stale { current: 2 }),
        write("b", 2, (21, 40), 3),
        lost.clone(),
    ];
    assert_eq!(check(&history, &three()), Violations::new(), "and what was lost may be absent");
    let mut four = three();
    four.push(entry(4, "c"));
    assert_eq!(check(&history, &four), Violations::new(), "or present");
    let late = [&history[..], &[read("b", 3, (70, 80))], &[read("c", 4, (81, 90))]].concat();
    assert_eq!(check(&late, &four), Violations::new(), "or appear after its client gave up");
}

#[test]
fn a_gap_is_found() {
    let entries = vec![entry(1, "made"), entry(3, "b")];
    assert_says(&check(&[write("b", 2, (1, 2), 3)], &entries), "version 2 is missing");
}

#[test]
fn a_lost_write_is_found() {
    let entries = vec![entry(1, "made")];
    assert_says(&check(&[write("a", 1, (1, 2), 2)], &entries), "is lost");
}

#[test]
fn a_write_on_a_version_that_it_did_not_name_is_found() {
    let history = [write("a", 1, (1, 2), 2), write("b", 1, (1, 3), 3)];
    assert_says(&check(&history, &three()), "named version 1 and became 3");
}

#[test]
fn an_effect_applied_twice_is_found() {
    let entries = vec![entry(1, "made"), entry(2, "a"), entry(3, "a")];
    let lost = ended(write("a", 1, (1, 2), 2), Outcome::Maybe);
    assert_says(&check(&[lost], &entries), "applied twice");
}

#[test]
fn a_refused_write_with_an_effect_is_found() {
    let refused = ended(write("a", 1, (1, 2), 2), Outcome::Stale { current: 2 });
    assert_says(&check(&[refused], &three()[..2]), "was refused and is version 2");
}

#[test]
fn a_refusal_at_the_current_version_is_found() {
    let refused = ended(write("x", 1, (1, 2), 2), Outcome::Stale { current: 1 });
    assert_says(&check(&[refused], &three()[..1]), "refused at the version that it named");
}

#[test]
fn another_version_or_content_than_was_told_is_found() {
    let history = [write("a", 1, (1, 2), 3)];
    assert_says(&check(&history, &three()), "answered version 3 and is version 2");
    assert_says(&check(&[read("q", 2, (1, 2))], &three()), "the history says");
    assert_says(&check(&[], &three()), "no client wrote a");
}

#[test]
fn a_stale_read_is_found() {
    let history = [write("a", 1, (1, 2), 2), read("made", 1, (3, 4))];
    assert_says(&check(&history, &three()[..2]), "2 was known before");
    let by_refusal = ended(write("x", 0, (3, 4), 0), Outcome::Stale { current: 1 });
    let history = [write("a", 1, (1, 2), 2), by_refusal];
    assert_says(&check(&history, &three()[..2]), "2 was known before");
}

#[test]
fn a_read_of_the_future_is_found() {
    let history = [read("a", 2, (1, 2)), write("a", 1, (3, 4), 2)];
    assert_says(&check(&history, &three()[..2]), "not yet asked for");
}

#[test]
fn a_write_that_takes_effect_before_it_was_sent_is_found() {
    // The history shows its effect, although its client never got an answer.
    let lost = ended(write("a", 1, (50, 60), 2), Outcome::Maybe);
    let history = [write("b", 2, (1, 40), 3), lost];
    assert_says(&check(&history, &three()), "3 was known before");
}

#[test]
fn a_merge_over_a_change_of_the_same_field_is_found() {
    let merged = with_mode(write("b", 1, (1, 3), 3), Mode::Merge);
    assert_says(&check(&[write("a", 1, (1, 2), 2), merged], &three()), "merged over another");
    // A change of another field is what merging is for.
    let mut entries = vec![entry(1, "made"), entry(2, "a"), entry(3, "b")];
    entries[2].changed = Fields::from([("/email".to_owned(), "b".to_owned())]);
    let mut merged = with_mode(write("b", 1, (1, 3), 3), Mode::Merge);
    if let (Call::Write { path, .. }, Outcome::Saw { fields, .. }) =
        (&mut merged.call, &mut merged.outcome)
    {
        *path = "/email".to_owned();
        *fields =
            [("/name", "a"), ("/email", "b")].map(|(a, b)| (a.to_owned(), b.to_owned())).into();
    }
    assert_eq!(check(&[write("a", 1, (1, 2), 2), merged], &entries), Violations::new());
}

#[test]
fn a_force_without_its_record_is_found() {
    let forced = with_mode(write("b", 1, (1, 3), 3), Mode::Force);
    let history = [write("a", 1, (1, 2), 2), forced];
    assert_says(&check(&history, &three()), "overwrote version 2 unmarked");
    let mut entries = three();
    entries[2].kind = "forced".to_owned();
    assert_says(&check(&history, &entries), "version 3 is forced with no audit record");
    entries[2].is_audited = true;
    assert_eq!(check(&history, &entries), Violations::new());
    entries[1].is_audited = true;
    assert_says(&check(&history, &entries), "version 2 is updated with an audit record");
    let refused = ended(history[1].clone(), Outcome::Stale { current: 2 });
    assert_says(&check(&[refused], &three()[..1]), "was not forced");
}
