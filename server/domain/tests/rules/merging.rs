//! Server-side merge: every verdict, and that a merge changes only the attempted paths.

use crate::{
    book::Book,
    commands::{merging, patch, put},
    invariants::assert_holds,
};
use ifmatch_domain::{
    Rejection, billing,
    core::{self, How},
};
use ifmatch_types::{ChangeKind, Kind, Verdict};
use serde_json::{Value, json};

fn book() -> (Book, String) {
    let mut book = Book::default();
    let (workspace, plan) = (book.workspace(), book.plan("p", json!({})));
    let metadata = json!({"a": "1", "b": "1"});
    let id = book.subscription(&workspace, &plan, json!({"metadata": metadata}));
    (book, id)
}

#[test]
fn the_verdict_is_by_paths_and_groups() {
    use Verdict::{Clean, GroupOverlap, Identical, Overlap};
    for (theirs, mine, verdict) in [
        (json!({"quantity": 2}), json!({"notes": "x"}), Clean),
        (json!({"quantity": 2}), json!({"quantity": 3}), Overlap),
        (json!({"quantity": 2}), json!({"quantity": 2}), Identical),
        (json!({"quantity": 2}), json!({"quantity": 1}), Identical),
        (json!({"quantity": 2}), json!({}), Identical),
        (json!({"quantity": 2, "notes": "x"}), json!({"quantity": 2, "notes": "y"}), Overlap),
        (json!({"quantity": 2}), json!({"quantity": 2, "notes": "y"}), Clean),
        (json!({"metadata": {"a": "2"}}), json!({"metadata": {"b": "2"}}), Clean),
        (json!({"metadata": {"a": "2"}}), json!({"metadata": {"a": "3"}}), Overlap),
        (json!({"metadata": {"a": null}}), json!({"metadata": {"a": null}}), Identical),
        (json!({"metadata": {"a": null}}), json!({"metadata": {"c": "3"}}), Clean),
        (json!({"metadata": null}), json!({"metadata": {"a": "3"}}), Overlap),
        (json!({"metadata": {"c": "3"}}), json!({"metadata": {"c": null}}), Overlap),
        (json!({"metadata": {"c": "3"}}), json!({"metadata": {"d": null}}), Identical),
        (json!({"metadata": {"c": "3"}}), json!({"metadata": {"d": null, "b": "2"}}), Clean),
        (json!({"status": "past_due"}), json!({"cancel_at_period_end": true}), GroupOverlap),
        (json!({"status": "paused"}), json!({"quantity": 2}), Clean),
        (json!({"status": "past_due"}), json!({"status": "past_due"}), Identical),
    ] {
        let (mut book, id) = book();
        book.edit(&id, theirs.clone()).unwrap();
        let before = book.world.entity(&id);
        let stale = patch(Kind::Subscription, &id, 1, mine.clone());
        let Rejection::Core(core::Rejection::Conflict(conflict)) = book.refused(stale.clone())
        else {
            panic!("{theirs} {mine}: stale is stale")
        };
        assert_eq!(conflict.merge.verdict, verdict, "{theirs} {mine}");
        match (verdict, book.run(merging(stale))) {
            (Clean, Ok(_)) => {
                let event = book.world.events.last().unwrap();
                assert_eq!(event.entry.kind, ChangeKind::Merged);
                let mut preview = conflict.merge.preview.unwrap();
                for name in ["version", "updated_at", "updated_by"] {
                    preview[name] = event.state[name].clone();
                }
                assert_eq!(preview, **event.state, "the preview equals the merge");
            }
            (Identical, Ok(_)) => assert_eq!(book.world.entity(&id), before),
            (Overlap | GroupOverlap, Err(Rejection::Core(core::Rejection::Conflict(again)))) => {
                assert_eq!(again.merge.verdict, verdict);
                assert_eq!(again.merge.preview, None);
            }
            (_, other) => panic!("{theirs} {mine}: {other:?}"),
        }
        assert_holds(&book.world);
    }
}

#[test]
fn what_a_form_merely_echoed_keeps_its_current_value() {
    let (mut book, id) = book();
    book.edit(&id, json!({"quantity": 5, "metadata": {"a": "theirs"}})).unwrap();
    let echo = json!({"quantity": 1, "metadata": {"a": "1", "b": "mine"}, "notes": "mine"});
    let answer = book.ok(merging(patch(Kind::Subscription, &id, 1, echo)));
    assert_eq!((answer.how, answer.version), (How::Merged(1), 3));
    let expected =
        json!({"quantity": 5, "notes": "mine", "metadata": {"a": "theirs", "b": "mine"}});
    assert_eq!(book.fields(&id, &["quantity", "notes", "metadata"]), expected);
    let paths: Vec<&str> =
        book.world.events.last().unwrap().entry.changes.iter().map(|c| c.path.as_str()).collect();
    assert_eq!(paths, ["/notes", "/metadata/b"]);
}

#[test]
fn a_replace_merges_like_a_patch() {
    let (mut book, id) = book();
    let mut form = book.world.entity(&id);
    book.edit(&id, json!({"quantity": 5})).unwrap();
    form["notes"] = json!("mine");
    let answer = book.ok(merging(put(Kind::Subscription, &id, 1, form)));
    assert_eq!(answer.how, How::Merged(1));
    assert_eq!(book.field(&id, "quantity"), 5);
}

#[test]
fn a_merge_over_many_versions_sees_their_sum() {
    for base in [1, 17, 38] {
        let (mut book, id) = book();
        for quantity in 2..40 {
            book.edit(&id, json!({"quantity": quantity})).unwrap();
        }
        let overlapping = merging(patch(Kind::Subscription, &id, base, json!({"quantity": 99})));
        let Rejection::Core(core::Rejection::Conflict(conflict)) = book.refused(overlapping) else {
            panic!("both did")
        };
        let change = &conflict.changes[0];
        assert_eq!((&change.base, &change.current), (&json!(base), &json!(39)));
        assert_eq!((conflict.changes.len(), conflict.merge.verdict), (1, Verdict::Overlap));
        let disjoint = merging(patch(Kind::Subscription, &id, base, json!({"notes": "mine"})));
        let answer = book.ok(disjoint);
        assert_eq!((answer.how, answer.version), (How::Merged(base), 40));
    }
}

#[test]
fn a_clean_merge_still_obeys_the_rules() {
    let (mut book, id) = book();
    book.edit(&id, json!({"notes": "theirs", "status": "canceled"})).unwrap();
    // The paths are disjoint, but it has ended.
    let mine = merging(patch(Kind::Subscription, &id, 1, json!({"quantity": 2})));
    let (fields, ended_at) = (vec!["quantity"], Some(book.now));
    let ended = billing::Rejection::SubscriptionEnded { fields, ended_at };
    assert_eq!(book.refused(mine), Rejection::Billing(ended));
    let mine = merging(patch(Kind::Subscription, &id, 1, json!({"metadata": {"why": "price"}})));
    assert_eq!(book.ok(mine).how, How::Merged(1));
    let workspace = book.field(&id, "workspace_id");
    let invoice = book.invoice(workspace.as_str().unwrap(), json!({}));
    book.edit(&invoice, json!({"status": "open"})).unwrap();
    let mine = merging(patch(Kind::Invoice, &invoice, 1, json!({"tax": 3})));
    assert_eq!(
        book.refused(mine.clone()),
        Rejection::Billing(billing::Rejection::InvoiceImmutable { fields: vec!["tax"] })
    );
    let strict = patch(Kind::Invoice, &invoice, 1, json!({"tax": 3}));
    let Rejection::Core(core::Rejection::Conflict(conflict)) = book.refused(strict) else {
        panic!("it is stale")
    };
    assert_eq!((conflict.merge.verdict, conflict.merge.preview), (Verdict::Clean, None::<Value>));
}

#[test]
fn a_merge_of_finalization_takes_one_number_and_its_preview_takes_none() {
    let mut book = Book::default();
    let workspace = book.workspace();
    let id = book.invoice(&workspace, json!({}));
    book.edit(&id, json!({"notes": "theirs"})).unwrap();
    let open = patch(Kind::Invoice, &id, 1, json!({"status": "open"}));
    let Rejection::Core(core::Rejection::Conflict(conflict)) = book.refused(open.clone()) else {
        panic!("it is stale")
    };
    assert_eq!(conflict.merge.preview.unwrap()["number"], "INV-000001");
    assert_eq!(book.world.last_number, 0);
    assert_eq!(book.ok(merging(open)).how, How::Merged(1));
    assert_eq!(book.world.last_number, 1);
    assert_holds(&book.world);
}
