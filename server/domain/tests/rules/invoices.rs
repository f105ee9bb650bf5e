//! Invoices: drafts, numbers, frozen fields, and the effects of voiding.

use crate::{
    book::Book,
    commands::{at, create, delete, members, patch, put, update},
    invariants::assert_holds,
};
use ifmatch_domain::{
    Action, Rejection, billing,
    core::{self, Change, How, Precondition},
};
use ifmatch_types::{INTEGER_MAX, InvoiceStatus, Kind};
use serde_json::{Map, Value, json};

const ALL: &[&str] = &["draft", "open", "paid", "void", "uncollectible"];

/// A book with one invoice in this status.
fn book_with(status: &str) -> (Book, String) {
    let mut book = Book::default();
    let workspace = book.workspace();
    let id = book.invoice(&workspace, json!({}));
    if status != "draft" {
        book.edit(&id, json!({"status": "open"})).unwrap();
    }
    match status {
        "paid" => drop(book.pay(&id, 1000, "ref").unwrap()),
        "void" | "uncollectible" => drop(book.edit(&id, json!({"status": status})).unwrap()),
        _ => {}
    }
    assert_eq!(book.field(&id, "status"), status);
    (book, id)
}

#[test]
fn a_status_follows_only_those_that_allow_it() {
    let allowed: &[(&str, &[&str])] = &[
        ("draft", &["open"]),
        ("open", &["void", "uncollectible"]),
        ("paid", &["void"]),
        ("void", &[]),
        ("uncollectible", &["void"]),
    ];
    assert_eq!(allowed.len(), InvoiceStatus::ALL.len());
    for (from, allowed) in allowed {
        for to in ALL {
            let (mut book, id) = book_with(from);
            let before = book.version(&id);
            let decided = book.edit(&id, json!({"status": to}));
            if (*from, *to) == ("paid", "void") {
                let paid = billing::Rejection::InvoiceHasPayments { amount_paid: 1000 };
                assert_eq!(decided, Err(Rejection::Billing(paid)));
            } else if from == to || allowed.contains(to) {
                decided.unwrap();
                assert_eq!(book.field(&id, "status"), *to, "{from} → {to}");
                assert_eq!(book.version(&id), before + i64::from(from != to));
                assert_holds(&book.world);
            } else {
                let Rejection::Core(core::Rejection::InvalidTransition {
                    from: was,
                    to: wanted,
                    allowed: named,
                }) = decided.unwrap_err()
                else {
                    panic!("{from} → {to} is a transition")
                };
                assert_eq!((was, wanted, named.as_slice()), (*from, *to, *allowed));
            }
        }
    }
}

#[test]
fn a_new_invoice_is_a_draft_or_open() {
    for (status, expected) in [
        (json!(null), Some("draft")),
        (json!("draft"), Some("draft")),
        (json!("open"), Some("open")),
        (json!("paid"), None),
        (json!("void"), None),
        (json!("uncollectible"), None),
    ] {
        let mut book = Book::default();
        let workspace = book.workspace();
        let body = json!({"workspace_id": workspace, "status": status, "tax": 5});
        match (book.run(create(Kind::Invoice, body)), expected) {
            (Ok(_), Some(expected)) => {
                let id = book.world.invoices.keys().next().unwrap().clone();
                assert_eq!(book.field(&id, "status"), expected);
            }
            (Err(Rejection::Core(core::Rejection::Invalid(errors))), None) => {
                assert_eq!(errors[0].path, "/status")
            }
            (other, _) => panic!("{status}: {other:?}"),
        }
    }
}

#[test]
fn an_odd_spelling_of_open_does_not_finalize_without_a_number() {
    let mut book = Book::default();
    let workspace = book.workspace();
    let body = json!({"workspace_id": workspace, "tax": 5, "status": {"open": null}});
    let made = book.run(create(Kind::Invoice, body.clone()));
    assert!(matches!(made, Err(Rejection::Core(core::Rejection::Invalid(_)))), "{made:?}");
    let id = book.invoice(&workspace, json!({}));
    let replaced = book.run(put(Kind::Invoice, &id, 1, body));
    assert!(matches!(replaced, Err(Rejection::Core(core::Rejection::Invalid(_)))), "{replaced:?}");
}

#[test]
fn numbers_follow_each_other_and_none_is_burnt() {
    let mut book = Book::default();
    let workspace = book.workspace();
    let first = book.invoice(&workspace, json!({}));
    let second = book.invoice(&workspace, json!({"status": "open"}));
    assert_eq!(book.field(&second, "number"), "INV-000001");
    // Refused, because one of the two changes is impossible.
    book.edit(&first, json!({"status": "open", "subscription_id": "nothing"})).unwrap_err();
    book.edit(&first, json!({"status": "open"})).unwrap();
    assert_eq!(book.field(&first, "number"), "INV-000002");
    let again = book.ok(patch(Kind::Invoice, &first, 2, json!({"status": "open"})));
    assert_eq!((again.how, again.version), (How::Unchanged, 2));
    book.edit(&first, json!({"status": "void"})).unwrap();
    assert_eq!(book.field(&first, "number"), "INV-000002", "a void invoice keeps its number");
    let third = book.invoice(&workspace, json!({"status": "open"}));
    assert_eq!(book.field(&third, "number"), "INV-000003");
    assert_holds(&book.world);
}

#[test]
fn a_number_has_six_digits_or_more() {
    for (last, expected) in [(0, "INV-000001"), (41, "INV-000042"), (999_999, "INV-1000000")] {
        let mut book = Book::default();
        book.world.last_number = last;
        let workspace = book.workspace();
        let id = book.invoice(&workspace, json!({"status": "open"}));
        assert_eq!(book.field(&id, "number"), expected);
    }
    let mut book = Book::default();
    book.world.last_number = i64::MAX;
    let workspace = book.workspace();
    let body = json!({"workspace_id": workspace, "status": "open"});
    let refused = book.refused(create(Kind::Invoice, body));
    assert_eq!(
        refused,
        Rejection::Core(core::Rejection::AmountOverflow { path: "/number".to_owned() })
    );
}

#[test]
fn an_invoice_over_nothing_is_paid_at_once() {
    let line = |unit: i64| json!([{"description": "x", "quantity": 3, "unit_amount": unit}]);
    for (lines, tax, total, status) in [
        (json!([]), 0, 0, "paid"),
        (line(-5), 0, -15, "paid"),
        (line(-5), 15, 0, "paid"),
        (line(-5), 16, 1, "open"),
        (line(5), 0, 15, "open"),
    ] {
        let mut book = Book::at("2027-03-01T00:00:00Z");
        let workspace = book.workspace();
        let changed = json!({"lines": lines, "tax": tax, "status": "open"});
        let id = book.invoice(&workspace, changed);
        let expected = json!({"total": total, "amount_due": total.max(0), "status": status,
            "number": "INV-000001", "finalized_at": book.now,
            "paid_at": if status == "paid" { json!(book.now) } else { Value::Null }});
        let names: Vec<&str> = expected.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(book.fields(&id, &names), expected);
    }
}

#[test]
fn what_is_finalized_is_frozen_but_for_notes_metadata_and_due_at() {
    let changes = [
        ("workspace_id", Value::Null),
        ("subscription_id", Value::Null),
        ("currency", json!("EUR")),
        ("lines", json!([])),
        ("lines", json!([{"description": "Other", "quantity": 2, "unit_amount": 500}])),
        ("tax", json!(1)),
    ];
    for status in ["open", "paid", "void", "uncollectible"] {
        for (name, value) in &changes {
            let (mut book, id) = book_with(status);
            let (other, plan) = (book.workspace(), book.plan("p", json!({})));
            let value = match *name {
                "workspace_id" => json!(other),
                "subscription_id" => json!(book.subscription(&other, &plan, json!({}))),
                _ => value.clone(),
            };
            let refused = book.edit(&id, json!({(*name): value, "notes": "x"})).unwrap_err();
            assert_eq!(
                refused,
                Rejection::Billing(billing::Rejection::InvoiceImmutable { fields: vec![*name] }),
                "{status}"
            );
        }
        let (mut book, id) = book_with(status);
        let editable = json!({"notes": "x", "metadata": {"a": "b"},
            "due_at": "2028-01-01T00:00:00.000000Z"});
        book.edit(&id, editable.clone()).unwrap();
        assert_eq!(book.fields(&id, &["notes", "metadata", "due_at"]), editable, "{status}");
        assert_eq!(book.field(&id, "status"), status);
    }
}

#[test]
fn a_draft_is_recomputed_whatever_changes() {
    let (mut book, id) = book_with("draft");
    let other = book.workspace();
    book.edit(
        &id,
        json!({"lines": [{"description": "a", "quantity": 3, "unit_amount": 7},
        {"description": "b", "quantity": 1, "unit_amount": -1}], "tax": 5, "currency": "EUR",
        "workspace_id": other}),
    )
    .unwrap();
    let names = ["subtotal", "total", "amount_due", "amount_paid", "currency", "workspace_id"];
    let expected = json!({"subtotal": 20, "total": 25, "amount_due": 25, "amount_paid": 0,
        "currency": "EUR", "workspace_id": other});
    assert_eq!(book.fields(&id, &names), expected);
    assert_eq!(book.field(&id, "lines")[1]["amount"], -1);
}

#[test]
fn sums_that_do_not_fit_are_refused() {
    let line = |quantity: i64, unit: i64| json!({"description": "x", "quantity": quantity, "unit_amount": unit});
    let max = INTEGER_MAX;
    for (lines, tax, path) in [
        (json!([line(2, max)]), 0, "/lines/0/amount"),
        (json!([line(1, 1), line(max, max)]), 0, "/lines/1/amount"),
        (json!([line(2, -max)]), 0, "/lines/0/amount"),
        (json!([line(1, max), line(1, 1)]), 0, "/subtotal"),
        (json!([line(1, max)]), 1, "/total"),
    ] {
        let mut book = Book::default();
        let workspace = book.workspace();
        let body = json!({"workspace_id": workspace, "lines": lines, "tax": tax});
        let refused = book.refused(create(Kind::Invoice, body));
        assert_eq!(
            refused,
            Rejection::Core(core::Rejection::AmountOverflow { path: path.to_owned() })
        );
    }
    let mut book = Book::default();
    let workspace = book.workspace();
    book.invoice(&workspace, json!({"lines": [line(1, max - 1)], "tax": 1, "status": "open"}));
    assert_holds(&book.world);
}

#[test]
fn an_echoed_amount_of_a_line_must_be_right() {
    let (mut book, id) = book_with("draft");
    let mut line = json!({"description": "x", "quantity": 2, "unit_amount": 5, "amount": 10});
    book.edit(&id, json!({"lines": [line]})).unwrap();
    line["amount"] = json!(11);
    let Rejection::Core(core::Rejection::Invalid(errors)) =
        book.edit(&id, json!({"lines": [line]})).unwrap_err()
    else {
        panic!("the echo is wrong")
    };
    assert_eq!(errors[0].path, "/lines/0/amount");
}

#[test]
fn a_form_may_echo_the_amounts_of_the_version_it_was_loaded_from() {
    for is_patch in [false, true] {
        let (mut book, id) = book_with("draft");
        let line = |quantity: i64, unit: i64| json!({"description": "x", "quantity": quantity, "unit_amount": unit});
        book.edit(&id, json!({"lines": [line(2, 5), line(1, 7)]})).unwrap();
        let seen = book.world.entity(&id);
        let mut form = members(seen.clone());
        form["lines"][0]["quantity"] = json!(3);
        form["lines"].as_array_mut().unwrap().reverse();
        let change = |form: &Map<String, Value>| match is_patch {
            true => Change::Patch(members(json!({"lines": form["lines"]}))),
            false => Change::Replace(form.clone()),
        };
        let send = |book: &mut Book, form: &Map<String, Value>| {
            let at = Precondition::Version(seen["version"].as_i64().unwrap());
            let update = update(Kind::Invoice, &id, at, change(form));
            book.run(Action::Core(core::Action::Update(update)))
        };
        let mut wrong = form.clone();
        wrong["lines"][0]["amount"] = json!(11);
        let refused = send(&mut book, &wrong).unwrap_err();
        let Rejection::Core(core::Rejection::Invalid(errors)) = refused else {
            panic!("no line had this amount: {refused:?}")
        };
        assert_eq!(errors[0].path, "/lines/0/amount");
        send(&mut book, &form).unwrap();
        assert_eq!(book.field(&id, "lines")[1]["amount"], 15);
        assert_eq!(book.field(&id, "subtotal"), 22);
        form["lines"][1]["quantity"] = json!(4);
        let stale = send(&mut book, &form).unwrap_err();
        let is_conflict = matches!(stale, Rejection::Core(core::Rejection::Conflict(_)));
        assert!(is_conflict, "a stale form is a conflict and not a wrong field: {stale:?}");
    }
}

#[test]
fn only_drafts_can_be_deleted() {
    for status in ALL {
        let (mut book, id) = book_with(status);
        let version = book.version(&id);
        let decided = book.run(delete(Kind::Invoice, &id, version));
        match *status {
            "draft" => drop(decided.unwrap()),
            _ => assert_eq!(
                decided,
                Err(Rejection::Billing(billing::Rejection::InvoiceImmutable { fields: vec![] }))
            ),
        }
        assert_holds(&book.world);
    }
}

#[test]
fn a_void_invoice_frees_its_period_and_only_then_another_is_made() {
    let mut book = Book::default();
    let (workspace, plan) = (book.workspace(), book.plan("p", json!({})));
    let id = book.subscription(&workspace, &plan, json!({}));
    assert_eq!(book.bill(&id, "2027-01-15T00:00:00Z"), (1, false));
    assert_eq!(book.bill(&id, "2027-01-15T00:00:00Z"), (0, false));
    let invoice = book.world.recurring(&id).next().unwrap().id.to_string();
    book.edit(&invoice, json!({"status": "uncollectible"})).unwrap();
    assert_eq!(book.bill(&id, "2027-01-15T00:00:00Z"), (0, false));
    book.now = at("2027-01-16T00:00:00Z");
    book.edit(&invoice, json!({"status": "void"})).unwrap();
    assert_eq!(book.field(&invoice, "voided_at"), json!(book.now));
    assert_eq!(book.bill(&id, "2027-01-15T00:00:00Z"), (1, false));
    assert_eq!(book.bill(&id, "2027-01-15T00:00:00Z"), (0, false));
    let bills = book.bills(&id);
    assert_eq!(bills, [("2027-01-01".to_owned(), "2027-02-01".to_owned(), 3000)]);
    assert_holds(&book.world);
}
