//! Claims about the version of the object in a request's path, and fences.

use crate::{
    book::Book,
    commands::{create, delete, patch},
};
use ifmatch_domain::{
    Action, Rejection,
    billing::{self, RecordPayment},
    core::{self, Claim, Tags},
};
use ifmatch_types::{Conflict, Kind, Verdict, Version};
use serde_json::{Value, json};

fn claim(kind: Kind, id: &str) -> Claim {
    Claim { kind, id: id.to_owned(), matches: None, excludes: None }
}

fn at(versions: &[Version]) -> Option<Tags> {
    Some(Tags::Versions(versions.to_vec()))
}

fn payment(invoice: &str, amount: i64) -> Action {
    let body: Value = json!({"amount": amount, "provider_ref": "ref"});
    let invoice_id = invoice.to_owned();
    Action::Billing(billing::Action::RecordPayment(RecordPayment { invoice_id, body }))
}

/// An open invoice over 1000 at version 3.
fn book() -> (Book, String) {
    let mut book = Book::default();
    let workspace = book.workspace();
    let id = book.invoice(&workspace, json!({}));
    book.edit(&id, json!({"notes": "x"})).unwrap();
    book.edit(&id, json!({"status": "open"})).unwrap();
    (book, id)
}

#[track_caller]
fn conflict(rejection: Rejection) -> Conflict {
    match rejection {
        Rejection::Core(core::Rejection::Conflict(conflict)) => *conflict,
        other => panic!("a conflict was expected: {other:?}"),
    }
}

#[test]
fn a_command_below_an_object_happens_only_at_the_claimed_version() {
    let (mut book, id) = book();
    let about = claim(Kind::Invoice, &id);
    for (versions, latest) in
        [(&[2][..], Some(2)), (&[1, 2], Some(2)), (&[9], Some(9)), (&[], None)]
    {
        let stale = Claim { matches: at(versions), ..about.clone() };
        let refused = conflict(book.run_claiming(stale, payment(&id, 5)).unwrap_err());
        assert_eq!((refused.expected_version, refused.current_version), (latest, 3));
        assert!(refused.attempted.is_empty(), "a payment edits no field of the invoice");
        let known = latest.is_some_and(|version| version < 3);
        let verdict = if known { Verdict::Clean } else { Verdict::UnknownBase };
        assert_eq!(refused.merge.verdict, verdict, "{versions:?}");
        assert_eq!(refused.changes.is_empty(), !known);
    }
    let current = Claim { matches: at(&[1, 3]), ..about.clone() };
    book.run_claiming(current, payment(&id, 5)).unwrap();
    let any = Claim { matches: Some(Tags::Any), ..about };
    book.run_claiming(any, payment(&id, 5)).unwrap();
}

#[test]
fn an_excluded_version_refuses_every_write() {
    let (mut book, id) = book();
    let about = claim(Kind::Invoice, &id);
    let edit = || patch(Kind::Invoice, &id, 3, json!({"notes": "y"}));
    for excludes in [Some(Tags::Any), at(&[3]), at(&[1, 3])] {
        for action in [edit(), payment(&id, 5), delete(Kind::Invoice, &id, 3)] {
            let excluding = Claim { excludes: excludes.clone(), ..about.clone() };
            let refused = book.run_claiming(excluding, action).unwrap_err();
            let Rejection::Core(core::Rejection::Excluded(conflict)) = refused else {
                panic!("version 3 is excluded: {refused:?}")
            };
            assert_eq!((conflict.expected_version, conflict.current_version), (None, 3));
            assert_eq!(conflict.merge.verdict, Verdict::UnknownBase);
        }
    }
    let other = Claim { excludes: at(&[1, 2, 9]), ..about };
    book.run_claiming(other, edit()).unwrap();
}

#[test]
fn what_is_wrong_in_itself_is_told_before_the_version() {
    let (mut book, id) = book();
    let stale = |kind, id: &str| Claim { matches: at(&[2]), ..claim(kind, id) };
    let wrong = book.run_claiming(stale(Kind::Invoice, &id), payment(&id, 0)).unwrap_err();
    assert!(matches!(wrong, Rejection::Core(core::Rejection::Invalid(_))), "{wrong:?}");
    // More than is due: a rule about the invoice's state, which the caller may not have seen.
    conflict(book.run_claiming(stale(Kind::Invoice, &id), payment(&id, 5_000)).unwrap_err());

    let gone = book.workspace();
    book.run(delete(Kind::Workspace, &gone, 1)).unwrap();
    let below = create(Kind::Namespace, json!({"workspace_id": gone, "nonsense": 1}));
    let refused = book.run_claiming(stale(Kind::Workspace, &gone), below).unwrap_err();
    assert!(matches!(refused, Rejection::Core(core::Rejection::Deleted(..))), "{refused:?}");
}
