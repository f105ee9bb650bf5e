//! Previews: they say what a write would do, and do nothing.

use crate::{
    book::Book,
    commands::{command, forcing, merging, patch, previewing, with_precondition},
    properties::furnished,
    random::{Reader, raw},
};
use ifmatch_domain::{
    Action, Outcome, Rejection, billing,
    core::{self, How, Precondition, Preview, UpdateObject},
    decide,
};
use ifmatch_types::{Difference, Kind, Verdict};
use proptest::{collection::vec, prelude::*};
use serde_json::{Value, json};

/// A subscription at version 3: somebody else changed its notes, then its quantity.
fn moved_on() -> (Book, String) {
    let mut book = Book::default();
    let (workspace, plan) = (book.workspace(), book.plan("p", json!({})));
    let id = book.subscription(&workspace, &plan, json!({"notes": "old"}));
    book.edit(&id, json!({"notes": "theirs"})).unwrap();
    book.edit(&id, json!({"quantity": 4})).unwrap();
    (book, id)
}

fn preview(book: &mut Book, action: Action) -> (Preview, Option<Rejection>) {
    let before = book.world.clone();
    let outcome = book.run(previewing(action)).unwrap();
    assert_eq!(book.world, before, "a preview leaves no trace");
    let Outcome::Previewed { preview, refusal } = outcome else { panic!("{outcome:?}") };
    (preview, refusal.map(|refusal| *refusal))
}

fn change(path: &str, from: Value, to: Value) -> Difference {
    Difference { path: path.to_owned(), from, to }
}

#[test]
fn a_preview_tells_what_would_change_and_what_of_it_the_caller_has_not_seen() {
    let (mut book, id) = moved_on();
    let both = json!({"notes": "mine", "cancel_at_period_end": true});
    let edit = |version| patch(Kind::Subscription, &id, version, both.clone());
    let notes = || change("/notes", json!("theirs"), json!("mine"));
    let flag = || change("/cancel_at_period_end", json!(false), json!(true));
    let blind = with_precondition(forcing(edit(1)), Precondition::Missing);
    let all = vec![flag(), notes()];
    for (action, verdict, unseen, is_refused) in [
        (edit(3), Verdict::Clean, vec![], false),
        (edit(2), Verdict::Clean, vec![], true),
        (merging(edit(2)), Verdict::Clean, vec![], false),
        (edit(1), Verdict::Overlap, vec![notes()], true),
        (merging(edit(1)), Verdict::Overlap, vec![notes()], true),
        (forcing(edit(1)), Verdict::Overlap, vec![notes()], false),
        (forcing(edit(3)), Verdict::Clean, vec![], false),
        (edit(9), Verdict::UnknownBase, all.clone(), true),
        (blind, Verdict::UnknownBase, all.clone(), false),
    ] {
        let told = format!("{action:?}");
        let (mut found, refusal) = preview(&mut book, action);
        found.would_change.sort_by(|one, other| one.path.cmp(&other.path));
        found.would_overwrite.sort_by(|one, other| one.path.cmp(&other.path));
        let expected = Preview {
            current_version: 3,
            verdict,
            would_change: all.clone(),
            would_overwrite: unseen,
        };
        assert_eq!(found, expected, "{told}");
        let conflict = matches!(refusal, Some(Rejection::Core(core::Rejection::Conflict(_))));
        assert_eq!(conflict, is_refused, "{told}: {refusal:?}");
    }
    let same = patch(Kind::Subscription, &id, 1, json!({"notes": "theirs"}));
    let (found, _) = preview(&mut book, same);
    assert_eq!((found.verdict, found.would_change), (Verdict::Identical, vec![]));
}

#[test]
fn a_stale_echo_is_not_told_as_a_change() {
    let (mut book, id) = moved_on();
    let form = json!({"notes": "old", "quantity": 1, "cancel_at_period_end": true});
    let (found, _) = preview(&mut book, patch(Kind::Subscription, &id, 1, form));
    let flag = change("/cancel_at_period_end", json!(false), json!(true));
    assert_eq!((found.would_change, found.would_overwrite), (vec![flag], vec![]));
}

#[test]
fn a_preview_tells_the_refusal_and_the_consequences() {
    let (mut book, id) = moved_on();
    let cancel = patch(Kind::Subscription, &id, 3, json!({"status": "canceled"}));
    let (found, refusal) = preview(&mut book, cancel.clone());
    assert_eq!(refusal, None);
    assert!(found.would_change.iter().any(|one| one.path == "/canceled_at"), "{found:?}");
    book.run(cancel).unwrap();
    let back = json!({"status": "active"});
    for action in [
        patch(Kind::Subscription, &id, 4, back.clone()),
        forcing(patch(Kind::Subscription, &id, 1, back)),
    ] {
        let (found, refusal) = preview(&mut book, action);
        let asked = [change("/status", json!("canceled"), json!("active"))];
        assert_eq!(found.would_change, asked);
        let refusal = refusal.expect("it ended");
        assert!(
            matches!(refusal, Rejection::Core(core::Rejection::InvalidTransition { .. })),
            "{refusal:?}"
        );
    }
    let plan = book.plan("frozen", json!({}));
    let version = book.version(&plan);
    let cheaper = patch(Kind::Plan, &plan, version, json!({"amount": 1}));
    let (_, refusal) = preview(&mut book, cheaper);
    let frozen = billing::Rejection::PlanPriceFrozen { fields: vec!["amount"] };
    assert_eq!(refusal, Some(Rejection::Billing(frozen)));
}

#[test]
fn there_is_no_preview_without_an_object_a_version_and_valid_fields() {
    let (mut book, id) = moved_on();
    let edit = |id: &str, body| previewing(patch(Kind::Subscription, id, 3, body));
    let valid = || json!({"quantity": 2});
    let gone = book.workspace();
    book.run(crate::commands::delete(Kind::Workspace, &gone, 1)).unwrap();
    let of_gone = previewing(patch(Kind::Workspace, &gone, 1, json!({"name": "x"})));
    let missing = patch(Kind::Subscription, &id, 3, valid());
    let missing = previewing(with_precondition(missing, Precondition::Missing));
    let refusals = [
        book.refused(edit("sub_0", valid())),
        book.refused(of_gone),
        book.refused(edit(&id, json!({"quantity": 0}))),
        book.refused(edit(&id, json!({"color": "red"}))),
        book.refused(missing),
    ];
    assert!(
        matches!(
            &refusals,
            [
                Rejection::Core(core::Rejection::NotFound { .. }),
                Rejection::Core(core::Rejection::Deleted(..)),
                Rejection::Core(core::Rejection::Invalid(_)),
                Rejection::Core(core::Rejection::Invalid(_)),
                Rejection::Core(core::Rejection::PreconditionRequired),
            ]
        ),
        "{refusals:#?}"
    );
}

#[test]
fn a_preview_of_finalization_burns_no_number() {
    let mut book = Book::default();
    let workspace = book.workspace();
    let id = book.invoice(&workspace, json!({}));
    let open = previewing(patch(Kind::Invoice, &id, 1, json!({"status": "open"})));
    let command = command(book.fresh_seed(), open);
    let mut state = book.world.load(std::slice::from_ref(&command), book.now);
    let outcome = decide(&mut state, &command, book.now).unwrap();
    let Outcome::Previewed { preview, refusal: None } = outcome else { panic!("{outcome:?}") };
    assert!(preview.would_change.iter().any(|one| one.path == "/number"), "{preview:?}");
    assert!(!state.is_changed(), "a preview changes nothing, not even the sequence");
}

proptest! {
    /// A preview is decided by the rules of the write: the write then does what was told.
    #[test]
    fn a_write_does_what_its_preview_told(raws in vec(raw(), 1..40)) {
        // The furnished world has ids from the usual seeds.
        let mut book = Book { world: furnished(), seed: 1 << 80, ..Book::default() };
        for raw in raws {
            let seed = book.fresh_seed();
            let reader = Reader { world: &book.world, now: book.now };
            match reader.command(raw, seed).action {
                Action::Core(core::Action::Update(update) | core::Action::Preview(update)) => {
                    assert_told(&mut book, UpdateObject { refused_at: None, ..update });
                }
                other => drop(book.run(other)),
            }
        }
    }
}

#[track_caller]
fn assert_told(book: &mut Book, update: UpdateObject) {
    // The same seed makes the same ids.
    let (seed, now) = (book.fresh_seed(), book.now);
    let mut send = |action| {
        let command = command(seed, Action::Core(action));
        book.world.carry_out(&[command], now).remove(0)
    };
    let told = send(core::Action::Preview(update.clone()));
    let done = send(core::Action::Update(update));
    match (told, done) {
        (
            Ok(Outcome::Previewed { preview, refusal: None }),
            Ok(Outcome::Core(core::Outcome::Object(answer))),
        ) => {
            let entry = book.world.history(&answer.id).last().unwrap();
            let changed = if answer.how == How::Unchanged { &[][..] } else { &entry.entry.changes };
            assert_eq!(preview.would_change, changed);
        }
        (Ok(Outcome::Previewed { refusal: Some(told), .. }), Err(done)) => {
            assert_eq!(*told, done);
        }
        (Err(told), Err(done)) => assert_eq!(told, done),
        other => panic!("the write did something else: {other:?}"),
    }
}
