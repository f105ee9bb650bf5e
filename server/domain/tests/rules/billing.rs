//! The billing run: what it bills, when, and what it leaves alone.

use crate::{
    book::Book,
    commands::{at, create, delete},
    invariants::assert_holds,
};
use ifmatch_domain::{
    Action, Rejection,
    billing::{self, BillSubscription},
    core,
};
use ifmatch_types::{INTEGER_MAX, Kind};
use serde_json::{Value, json};

/// A book with a subscription to a plan of USD 30.00 a month, each with changes.
fn book(plan: Value, subscription: Value) -> (Book, String) {
    let mut book = Book::default();
    let workspace = book.workspace();
    let plan = book.plan("p", plan);
    let id = book.subscription(&workspace, &plan, subscription);
    (book, id)
}

fn bill(start: &str, end: &str, total: i64) -> (String, String, i64) {
    (start.to_owned(), end.to_owned(), total)
}

#[test]
fn a_period_is_billed_when_it_begins_and_once() {
    let (mut book, id) = book(json!({}), json!({"quantity": 3}));
    assert_eq!(book.bill(&id, "2026-12-31T23:59:59.999999Z"), (0, false));
    assert_eq!(book.bill(&id, "2027-01-01T00:00:00Z"), (1, false));
    assert_eq!(book.bill(&id, "2027-01-31T23:59:59.999999Z"), (0, false));
    let before = book.version(&id);
    assert_eq!(book.bill(&id, "2027-02-01T00:00:00Z"), (1, false));
    assert_eq!(book.version(&id), before + 1, "the period moved on");
    assert_eq!(
        book.bills(&id),
        [bill("2027-01-01", "2027-02-01", 9000), bill("2027-02-01", "2027-03-01", 9000),]
    );
    assert_eq!(book.last_lines(&id), [("p × 3".to_owned(), 9000)]);
    assert_holds(&book.world);
}

#[test]
fn a_trial_is_free_and_the_first_period_begins_where_it_ends() {
    let (mut book, id) = book(json!({"trial_days": 14}), json!({}));
    assert_eq!(book.bill(&id, "2027-01-14T23:00:00Z"), (0, false));
    assert_eq!(book.field(&id, "status"), "trialing");
    assert_eq!(book.bill(&id, "2027-01-15T00:00:00Z"), (1, false));
    assert_eq!(book.field(&id, "status"), "active");
    assert_eq!(book.bill(&id, "2027-02-20T00:00:00Z"), (1, false));
    assert_eq!(
        book.bills(&id),
        [bill("2027-01-15", "2027-02-15", 3000), bill("2027-02-15", "2027-03-15", 3000),]
    );
    assert_holds(&book.world);
}

#[test]
fn cancel_at_period_end_ends_it_at_the_boundary() {
    // (trial days, previous statuses, invoices before the end, end)
    for (trial_days, statuses, invoices, end) in [
        (0, vec![], 1, "2027-02-01T00:00:00Z"),
        (0, vec!["past_due"], 1, "2027-02-01T00:00:00Z"),
        (14, vec![], 0, "2027-01-15T00:00:00Z"),
        (0, vec!["paused"], 1, "2027-02-01T00:00:00Z"),
    ] {
        let (mut book, id) =
            book(json!({"trial_days": trial_days}), json!({"cancel_at_period_end": true}));
        for status in &statuses {
            book.edit(&id, json!({"status": status})).unwrap();
        }
        assert_eq!(book.bill(&id, "2027-05-01T00:00:00Z"), (invoices, false), "{statuses:?}");
        let expected = json!({"status": "canceled", "canceled_at": at(end), "ended_at": at(end)});
        assert_eq!(book.fields(&id, &["status", "canceled_at", "ended_at"]), expected);
        assert_eq!(book.bill(&id, "2028-05-01T00:00:00Z"), (0, false));
        assert_holds(&book.world);
    }
}

#[test]
fn only_periods_that_began_are_billed() {
    // The canceled one was billed when it ended.
    for (status, made) in [("past_due", 3), ("paused", 1), ("canceled", 0)] {
        let (mut book, id) = book(json!({}), json!({}));
        book.edit(&id, json!({"status": status})).unwrap();
        let before = book.world.clone();
        assert_eq!(book.bill(&id, "2027-03-15T00:00:00Z"), (made, false), "{status}");
        assert_eq!(book.world == before, made == 0);
        assert_eq!(book.bills(&id).len(), if status == "past_due" { 3 } else { 1 });
    }
    let (mut book, id) = book(json!({}), json!({"start_at": "2027-06-01T00:00:00Z"}));
    assert_eq!(book.bill(&id, "2027-05-31T00:00:00Z"), (0, false), "it has not begun");
    assert_eq!(book.bill(&id, "2027-06-01T00:00:00Z"), (1, false));
}

#[test]
fn the_time_after_the_paused_period_costs_nothing() {
    let (mut book, id) = book(json!({}), json!({}));
    book.bill(&id, "2027-01-01T00:00:00Z");
    book.edit(&id, json!({"status": "paused"})).unwrap();
    book.now = at("2027-05-20T00:00:00Z");
    book.edit(&id, json!({"status": "active"})).unwrap();
    book.bill(&id, "2027-05-20T00:00:00Z");
    assert_eq!(
        book.bills(&id),
        [bill("2027-01-01", "2027-02-01", 3000), bill("2027-05-20", "2027-06-20", 3000),]
    );
}

#[test]
fn a_pause_within_a_period_does_not_bill_it_twice() {
    let (mut book, id) = book(json!({}), json!({}));
    book.bill(&id, "2027-01-01T00:00:00Z");
    book.now = at("2027-01-10T00:00:00Z");
    book.edit(&id, json!({"status": "paused"})).unwrap();
    book.edit(&id, json!({"status": "active"})).unwrap();
    assert_eq!(book.bill(&id, "2027-01-20T00:00:00Z"), (0, false));
}

#[test]
fn periods_end_with_the_month_and_know_leap_years() {
    for (start, interval, count, boundaries) in [
        ("2027-01-31", "month", 1, ["2027-02-28", "2027-03-31", "2027-04-30", "2027-05-31"]),
        ("2028-01-30", "month", 1, ["2028-02-29", "2028-03-30", "2028-04-30", "2028-05-30"]),
        ("2027-11-30", "month", 3, ["2028-02-29", "2028-05-30", "2028-08-30", "2028-11-30"]),
        ("2028-02-29", "year", 1, ["2029-02-28", "2030-02-28", "2031-02-28", "2032-02-29"]),
        ("2096-02-29", "year", 2, ["2098-02-28", "2100-02-28", "2102-02-28", "2104-02-29"]),
        ("2027-12-20", "week", 2, ["2028-01-03", "2028-01-17", "2028-01-31", "2028-02-14"]),
        ("2028-02-27", "day", 1, ["2028-02-28", "2028-02-29", "2028-03-01", "2028-03-02"]),
    ] {
        let plan = json!({"interval": interval, "interval_count": count});
        let (mut book, id) = book(plan, json!({"start_at": format!("{start}T10:00:00Z")}));
        book.bill(&id, &format!("{start}T10:00:00Z"));
        for end in boundaries {
            assert_eq!(
                book.field(&id, "current_period_end"),
                json!(at(&format!("{end}T10:00:00Z")))
            );
            book.bill(&id, &format!("{end}T10:00:00Z"));
        }
        let ends: Vec<String> = book.bills(&id).into_iter().map(|(_, end, _)| end).collect();
        assert_eq!(ends[..4], boundaries);
    }
}

#[test]
fn what_is_far_behind_is_caught_up_in_steps() {
    let (mut book, id) = book(json!({}), json!({"start_at": "2022-01-01T00:00:00Z"}));
    let mut steps = vec![book.bill(&id, "2027-01-01T00:00:00Z")];
    while steps.last().unwrap().1 {
        steps.push(book.bill(&id, "2027-01-01T00:00:00Z"));
    }
    assert_eq!(steps, [(24, true), (24, true), (13, false)]);
    assert_eq!(book.bills(&id).len(), 61);
    assert_holds(&book.world);
}

#[test]
fn a_bill_that_does_not_fit_is_refused_and_leaves_no_trace() {
    let (mut book, id) = book(json!({"amount": INTEGER_MAX}), json!({}));
    book.store_quantity(&id, 2);
    let bill = BillSubscription { subscription_id: id.clone(), as_of: book.now };
    let refused = book.refused(Action::Billing(billing::Action::BillSubscription(bill)));
    assert!(matches!(refused, Rejection::Core(core::Rejection::AmountOverflow { .. })));
    book.edit(&id, json!({"quantity": 1})).unwrap();
    assert_eq!(book.bill(&id, "2027-01-01T00:00:00Z"), (1, false));
    assert_eq!(book.bills(&id)[0].2, INTEGER_MAX);
}

#[test]
fn a_bill_needs_a_living_subscription() {
    let (mut book, id) = book(json!({}), json!({}));
    book.run(delete(Kind::Subscription, &id, 1)).unwrap();
    for (id, is_deleted) in [(id.as_str(), true), ("sub_0", false)] {
        let bill = BillSubscription { subscription_id: id.to_owned(), as_of: book.now };
        match book.refused(Action::Billing(billing::Action::BillSubscription(bill))) {
            Rejection::Core(core::Rejection::Deleted(Kind::Subscription, _)) => assert!(is_deleted),
            Rejection::Core(core::Rejection::NotFound { what: "subscription", .. }) => {
                assert!(!is_deleted)
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_free_plan_makes_paid_invoices() {
    let (mut book, id) = book(json!({"amount": 0}), json!({}));
    book.bill(&id, "2027-01-01T00:00:00Z");
    let invoice = book.world.recurring(&id).next().unwrap().id.to_string();
    assert_eq!(
        book.fields(&invoice, &["status", "number"]),
        json!({"status": "paid", "number": "INV-000001"})
    );
}

#[test]
fn an_invoice_made_by_hand_stands_for_no_period() {
    let (mut book, id) = book(json!({}), json!({}));
    let workspace = book.field(&id, "workspace_id");
    let body =
        json!({"workspace_id": workspace, "subscription_id": id, "status": "open", "tax": 1});
    book.ok(create(Kind::Invoice, body));
    assert_eq!(book.bill(&id, "2027-01-01T00:00:00Z"), (1, false));
}

#[test]
fn what_changes_before_the_first_period_begins_is_no_change_within_it() {
    for day in ["2026-12-20", "2027-01-01"] {
        let start_at = json!({"start_at": "2027-01-01T00:00:00Z"});
        let mut book = Book::at(&format!("{day}T00:00:00Z"));
        let workspace = book.workspace();
        let plan = book.plan("p", json!({}));
        let year = book.plan("year", json!({"amount": 36_500, "interval": "year"}));
        let id = book.subscription(&workspace, &plan, start_at);
        book.edit(&id, json!({"plan_id": year, "quantity": 2})).unwrap();
        book.bill(&id, "2027-05-01T00:00:00Z");
        assert_eq!(book.bills(&id), [bill("2027-01-01", "2028-01-01", 73_000)]);
    }
}

#[test]
fn a_trial_that_no_run_has_ended_is_not_ended_again() {
    let changed = json!({"start_at": "2026-10-29T00:00:00Z"});
    let (mut book, id) = book(json!({"trial_days": 10}), changed);
    book.edit(&id, json!({"status": "active", "quantity": 2})).unwrap();
    assert_eq!(book.field(&id, "trial_end"), json!(at("2026-11-08T00:00:00Z")));
    book.bill(&id, "2027-01-01T00:00:00Z");
    assert_eq!(
        book.bills(&id),
        [bill("2026-11-08", "2026-12-08", 3000), bill("2026-12-08", "2027-01-08", 3000)]
    );
}
