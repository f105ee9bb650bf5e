//! Payments: counted once, reversed once, and their effects on the invoice.

use crate::{
    book::Book,
    commands::{at, delete},
    invariants::assert_holds,
    world::Decided,
};
use ifmatch_domain::{
    Action, Outcome, Rejection,
    billing::{self, RecordPayment, ReversePayment},
    core,
};
use ifmatch_types::{Kind, Payment, PaymentStatus};
use serde_json::{Value, json};

/// A book with an open invoice over USD 10.00.
fn book() -> (Book, String) {
    let mut book = Book::default();
    let workspace = book.workspace();
    let id = book.invoice(&workspace, json!({"status": "open"}));
    (book, id)
}

#[track_caller]
fn paid(decided: Decided) -> (Payment, bool) {
    match decided.unwrap() {
        Outcome::Billing(billing::Outcome::Payment { payment, first }) => (payment, first),
        other => panic!("a payment was expected: {other:?}"),
    }
}

fn sums(book: &Book, id: &str) -> (Value, i64, i64, bool) {
    let invoice = &book.world.invoices[id].record;
    let status = json!(invoice.status);
    (status, invoice.amount_paid, invoice.amount_due, invoice.paid_at.is_some())
}

#[test]
fn an_invoice_is_paid_when_nothing_is_due_and_open_again_when_a_payment_is_reversed() {
    let (mut book, id) = book();
    let (first, _) = paid(book.pay(&id, 400, "a"));
    assert_eq!(sums(&book, &id), (json!("open"), 400, 600, false));
    let (second, _) = paid(book.pay(&id, 600, "b"));
    assert_eq!(sums(&book, &id), (json!("paid"), 1000, 0, true));
    book.reverse(&id, first.id.as_str()).unwrap();
    assert_eq!(sums(&book, &id), (json!("open"), 600, 400, false));
    book.reverse(&id, second.id.as_str()).unwrap();
    assert_eq!(sums(&book, &id), (json!("open"), 0, 1000, false));
    assert_eq!(book.version(&id), 5);
    book.edit(&id, json!({"status": "void"})).unwrap();
    assert_holds(&book.world);
}

#[test]
fn a_payment_is_known_by_its_reference_for_ever() {
    let (mut book, id) = book();
    let workspace = book.field(&id, "workspace_id");
    let other = book.invoice(workspace.as_str().unwrap(), json!({"status": "open"}));
    let (first, is_first) = paid(book.pay(&id, 400, "a"));
    assert!(is_first);
    let before = book.world.clone();
    assert_eq!(paid(book.pay(&id, 400, "a")), (first.clone(), false));
    assert_eq!(book.world, before, "delivered twice, it counts once");
    for (invoice, amount, differing) in [
        (&id, 401, vec!["/amount"]),
        (&other, 400, vec!["/invoice_id"]),
        (&other, 5, vec!["/invoice_id", "/amount"]),
    ] {
        let expected = Rejection::Core(core::Rejection::AlreadyExists {
            what: "payment",
            existing_id: first.id.to_string(),
            differing_fields: differing.into_iter().map(str::to_owned).collect(),
        });
        assert_eq!(book.pay(invoice, amount, "a"), Err(expected));
    }
    book.reverse(&id, first.id.as_str()).unwrap();
    let Err(Rejection::Billing(billing::Rejection::PaymentReversed(again))) =
        book.pay(&id, 400, "a")
    else {
        panic!("it was reversed")
    };
    assert_eq!((again.id, again.status), (first.id, PaymentStatus::Reversed));
    assert_eq!(sums(&book, &id), (json!("open"), 0, 1000, false));
}

#[test]
fn no_more_than_is_due_is_taken() {
    let (mut book, id) = book();
    let too_much =
        Rejection::Billing(billing::Rejection::ExceedsAmountDue { amount_due: 1000, amount: 1001 });
    assert_eq!(book.pay(&id, 1001, "a"), Err(too_much));
    book.pay(&id, 1000, "a").unwrap();
    let nothing_due =
        Rejection::Billing(billing::Rejection::ExceedsAmountDue { amount_due: 0, amount: 1 });
    assert_eq!(book.pay(&id, 1, "b"), Err(nothing_due));
}

#[test]
fn drafts_and_void_invoices_take_no_payment() {
    let (mut book, id) = book();
    let workspace = book.field(&id, "workspace_id");
    let draft = book.invoice(workspace.as_str().unwrap(), json!({}));
    book.edit(&id, json!({"status": "void"})).unwrap();
    for (invoice, from, allowed) in [(&draft, "draft", vec!["open"]), (&id, "void", vec![])] {
        let expected =
            Rejection::Core(core::Rejection::InvalidTransition { from, to: "paid", allowed });
        assert_eq!(book.pay(invoice, 1, "a"), Err(expected));
    }
    book.run(delete(Kind::Invoice, &draft, 1)).unwrap();
    assert!(matches!(
        book.pay(&draft, 1, "a"),
        Err(Rejection::Core(core::Rejection::Deleted(Kind::Invoice, _)))
    ));
    assert!(matches!(
        book.pay("inv_0", 1, "a"),
        Err(Rejection::Core(core::Rejection::NotFound { what: "invoice", .. }))
    ));
}

#[test]
fn an_uncollectible_invoice_may_still_be_paid() {
    let (mut book, id) = book();
    book.edit(&id, json!({"status": "uncollectible"})).unwrap();
    let (part, _) = paid(book.pay(&id, 300, "a"));
    assert_eq!(sums(&book, &id), (json!("uncollectible"), 300, 700, false));
    let has_payments =
        Rejection::Billing(billing::Rejection::InvoiceHasPayments { amount_paid: 300 });
    assert_eq!(book.edit(&id, json!({"status": "void"})), Err(has_payments));
    book.reverse(&id, part.id.as_str()).unwrap();
    assert_eq!(sums(&book, &id), (json!("uncollectible"), 0, 1000, false));
    book.pay(&id, 1000, "b").unwrap();
    assert_eq!(sums(&book, &id), (json!("paid"), 1000, 0, true));
    assert_holds(&book.world);
}

#[test]
fn a_payment_is_reversed_once() {
    let (mut book, id) = book();
    let (payment, _) = paid(book.pay(&id, 400, "a"));
    book.now = at("2027-02-01T00:00:00Z");
    let Outcome::Billing(billing::Outcome::PaymentTurned(reversed)) =
        book.reverse(&id, payment.id.as_str()).unwrap()
    else {
        panic!("it is reversed")
    };
    assert_eq!(reversed.reversed_at, Some(book.now));
    assert_eq!(reversed.reversal_reason.as_deref(), Some("bounced"));
    let before = book.world.clone();
    book.now = at("2027-03-01T00:00:00Z");
    assert_eq!(
        book.reverse(&id, payment.id.as_str()),
        Ok(Outcome::Billing(billing::Outcome::PaymentTurned(reversed)))
    );
    assert_eq!(book.world, before);
}

#[test]
fn a_reversal_names_a_payment_of_that_invoice_and_a_reason() {
    let (mut book, id) = book();
    let workspace = book.field(&id, "workspace_id");
    let other = book.invoice(workspace.as_str().unwrap(), json!({"status": "open"}));
    let (payment, _) = paid(book.pay(&id, 400, "a"));
    for (invoice, payment) in [(&other, payment.id.as_str()), (&id, "pay_0")] {
        let expected =
            Rejection::Core(core::Rejection::NotFound { what: "payment", id: payment.to_owned() });
        assert_eq!(book.reverse(invoice, payment), Err(expected));
    }
    let reverse = |reason: String| {
        let (invoice_id, payment_id) = (id.clone(), payment.id.to_string());
        Action::Billing(billing::Action::ReversePayment(ReversePayment {
            invoice_id,
            payment_id,
            reason,
        }))
    };
    for reason in [String::new(), "x".repeat(501), "a\u{0}".to_owned()] {
        let refused = book.refused(reverse(reason));
        assert!(
            matches!(refused, Rejection::Core(core::Rejection::Invalid(errors)) if errors[0].path == "/reason")
        );
    }
    book.run(reverse("x".repeat(500))).unwrap();
}

#[test]
fn a_payment_has_an_amount_and_a_reference_and_nothing_else() {
    let (mut book, id) = book();
    for (body, path) in [
        (json!({"amount": 0, "provider_ref": "a"}), "/amount"),
        (json!({"amount": -5, "provider_ref": "a"}), "/amount"),
        (json!({"amount": 1.5, "provider_ref": "a"}), "/amount"),
        (json!({"amount": "1", "provider_ref": "a"}), "/amount"),
        (json!({"provider_ref": "a"}), "/amount"),
        (json!({"amount": 1}), "/provider_ref"),
        (json!({"amount": 1, "provider_ref": ""}), "/provider_ref"),
        (json!({"amount": 1, "provider_ref": "x".repeat(256)}), "/provider_ref"),
        (json!({"amount": 1, "provider_ref": "a\u{0}"}), "/provider_ref"),
        (json!({"amount": 1, "provider_ref": null}), "/provider_ref"),
        (json!({"amount": 1, "provider_ref": "a", "status": "settled"}), "/status"),
        (json!([1, "a"]), ""),
        (json!(null), ""),
    ] {
        let record = RecordPayment { invoice_id: id.clone(), body: body.clone() };
        let refused = book.refused(Action::Billing(billing::Action::RecordPayment(record)));
        let Rejection::Core(core::Rejection::Invalid(errors)) = refused else {
            panic!("{body}: {refused:?}")
        };
        assert_eq!(errors[0].path, path, "{body}");
    }
}

#[test]
fn a_reinstated_payment_counts_again_if_so_much_is_still_due() {
    let (mut book, id) = book();
    let (payment, _) = paid(book.pay(&id, 400, "a"));
    let payment_id = payment.id.as_str();
    assert_eq!(turned(book.reinstate(&id, payment_id)), payment, "it was never reversed");
    book.reverse(&id, payment_id).unwrap();
    book.now = at("2027-02-01T00:00:00Z");
    let reinstated = turned(book.reinstate(&id, payment_id));
    assert_eq!(reinstated.status, PaymentStatus::Settled);
    assert_eq!(reinstated.reinstated_at, Some(book.now));
    assert_eq!(reinstated.reinstatement_reason.as_deref(), Some("dispute won"));
    assert!(reinstated.reversed_at.is_some(), "when and why it was reversed stays");
    assert_eq!(sums(&book, &id), (json!("open"), 400, 600, false));
    assert_eq!(paid(book.pay(&id, 400, "a")), (reinstated, false), "a repeat counts once");

    book.reverse(&id, payment_id).unwrap();
    book.pay(&id, 601, "b").unwrap();
    let too_much = billing::Rejection::ExceedsAmountDue { amount_due: 399, amount: 400 };
    assert_eq!(book.reinstate(&id, payment_id), Err(Rejection::Billing(too_much)));
    assert_eq!(sums(&book, &id), (json!("open"), 601, 399, false));
    let unknown = core::Rejection::NotFound { what: "payment", id: "pay_none".to_owned() };
    assert_eq!(book.reinstate(&id, "pay_none"), Err(Rejection::Core(unknown)));
    assert_holds(&book.world);
}

#[test]
fn a_void_invoice_takes_no_reinstated_payment() {
    let (mut book, id) = book();
    let (payment, _) = paid(book.pay(&id, 400, "a"));
    book.reverse(&id, payment.id.as_str()).unwrap();
    book.edit(&id, json!({"status": "void"})).unwrap();
    let refused = book.reinstate(&id, payment.id.as_str());
    let (from, to, allowed) = ("void", "paid", vec![]);
    let expected = core::Rejection::InvalidTransition { from, to, allowed };
    assert_eq!(refused, Err(Rejection::Core(expected)));
}

#[track_caller]
fn turned(decided: Decided) -> Payment {
    match decided.unwrap() {
        Outcome::Billing(billing::Outcome::PaymentTurned(payment)) => payment,
        other => panic!("a payment was expected: {other:?}"),
    }
}
