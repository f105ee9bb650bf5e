//! Billing in odd corners: many changes on one day, same instants, voids before a preview.

use crate::{book::Book, commands::at, invariants::assert_holds};
use ifmatch_domain::{
    Outcome,
    billing::{self, PreviewBilling, SettleSubscription},
    core::Precondition,
};
use ifmatch_types::{Invoice, InvoicePreview, InvoiceStatus};
use serde_json::json;

/// A subscription to a plan of 31.00 a month from 1 January 2027, and the ids of further plans.
fn book(plans: &[(&str, &str, i64)]) -> (Book, String, Vec<String>) {
    let mut book = Book::default();
    let workspace = book.workspace();
    let first = book.plan("first", json!({"amount": 3100}));
    let make = |(code, interval, amount): &(&str, &str, i64)| {
        book.plan(code, json!({"interval": interval, "amount": amount}))
    };
    let ids = std::iter::once(first).chain(plans.iter().map(make).collect::<Vec<_>>());
    let ids: Vec<String> = ids.collect();
    let id = book.subscription(&workspace, &ids[0], json!({}));
    (book, id, ids)
}

fn run(book: &mut Book, id: &str) {
    let now = book.now.to_string();
    let mut steps = 0;
    while book.bill(id, &now).1 {
        steps += 1;
        assert!(steps < 10, "a run comes to an end");
    }
}

fn settle(book: &mut Book, id: &str) -> Option<Invoice> {
    let precondition = Precondition::Version(book.version(id));
    let settle = SettleSubscription { subscription_id: id.to_owned(), precondition };
    match book.run(billing::Action::SettleSubscription(settle).into()).unwrap() {
        Outcome::Billing(billing::Outcome::Settled(newest)) => newest,
        other => panic!("a settlement was expected: {other:?}"),
    }
}

fn preview(book: &mut Book, id: &str, until: &str) -> Vec<InvoicePreview> {
    let preview = PreviewBilling { subscription_ids: vec![id.to_owned()], as_of: at(until) };
    match book.run(billing::Action::PreviewBilling(preview).into()).unwrap() {
        Outcome::Billing(billing::Outcome::BillingPreviewed(invoices)) => invoices,
        other => panic!("a preview was expected: {other:?}"),
    }
}

/// The totals of the living invoices, in the order of their numbers.
fn totals(book: &Book, id: &str) -> Vec<i64> {
    let of = book.world.invoices_of(id).filter(|i| i.status != InvoiceStatus::Void);
    let mut living: Vec<_> = of.map(|i| (i.number.clone(), i.total)).collect();
    living.sort();
    living.into_iter().map(|(_, total)| total).collect()
}

#[test]
fn any_number_of_changes_of_interval_on_one_day_are_billed() {
    for ends in ["run", "settle", "canceled"] {
        let (mut book, id, plans) = book(&[("week", "week", 700)]);
        run(&mut book, &id);
        for n in 0i64..61 {
            book.now = at(&format!("2027-01-01T{:02}:{:02}:00Z", 1 + n / 60, n % 60));
            let plan = if n % 2 == 0 { &plans[1] } else { &plans[0] };
            book.edit(&id, json!({"plan_id": plan})).unwrap();
        }
        match ends {
            "run" => run(&mut book, &id),
            "settle" => drop(settle(&mut book, &id)),
            _ => drop(book.edit(&id, json!({"status": "canceled"})).unwrap()),
        }
        settle(&mut book, &id);
        assert_eq!(totals(&book, &id).iter().sum::<i64>(), 700, "{ends}");
        assert_holds(&book.world);
    }
}

#[test]
fn a_preview_makes_a_voided_invoice_again_first() {
    let (mut book, id, _) = book(&[]);
    run(&mut book, &id);
    book.now = at("2027-01-20T00:00:00Z");
    let january = book.world.recurring(&id).next().unwrap().id.to_string();
    book.edit(&january, json!({"status": "void"})).unwrap();
    let previews = preview(&mut book, &id, "2027-02-01T00:00:00Z");
    assert_eq!(previews.iter().map(|preview| preview.total).collect::<Vec<_>>(), [3100, 3100]);
    run(&mut book, &id);
    book.now = at("2027-02-01T00:00:00Z");
    run(&mut book, &id);
    assert_eq!(totals(&book, &id), [3100, 3100]);
}

#[test]
fn what_changes_no_cost_makes_no_line_and_no_invoice() {
    let (mut book, id, plans) = book(&[("other", "month", 6200)]);
    run(&mut book, &id);
    book.now = at("2027-01-11T00:00:00Z");
    book.edit(&id, json!({"status": "past_due"})).unwrap();
    book.edit(&id, json!({"plan_id": plans[1]})).unwrap();
    book.edit(&id, json!({"plan_id": plans[0]})).unwrap();
    book.edit(&id, json!({"status": "paused"})).unwrap();
    book.now = at("2027-01-12T00:00:00Z");
    book.edit(&id, json!({"status": "active"})).unwrap();
    assert_eq!(settle(&mut book, &id), None);
    book.now = at("2027-02-01T00:00:00Z");
    run(&mut book, &id);
    assert_eq!(book.last_lines(&id), [("first × 1".to_owned(), 3100)]);
}

#[test]
fn a_cancellation_at_the_instant_of_a_boundary_pays_for_the_period_that_began() {
    // With a run at that instant or without, with a flag or without.
    for (is_run, body) in [
        (true, json!({"status": "canceled"})),
        (false, json!({"status": "canceled"})),
        (true, json!({"status": "canceled", "cancel_at_period_end": true})),
        (false, json!({"status": "canceled", "cancel_at_period_end": true})),
    ] {
        let (mut book, id, _) = book(&[]);
        run(&mut book, &id);
        book.now = at("2027-02-01T00:00:00Z");
        if is_run {
            run(&mut book, &id);
        }
        book.edit(&id, body.clone()).unwrap();
        assert_eq!(totals(&book, &id), [3100, 3100], "{is_run} {body}");
        // What is voided then is due again.
        let february = book.world.recurring(&id).max_by_key(|i| i.period_start).unwrap();
        let february = february.id.to_string();
        book.edit(&february, json!({"status": "void"})).unwrap();
        assert_eq!(settle(&mut book, &id).map(|invoice| invoice.total), Some(3100), "{body}");
        assert_eq!(settle(&mut book, &id), None);
    }
}

#[test]
fn an_invoice_of_hundreds_of_lines_can_be_voided() {
    let (mut book, id, plans) = book(&[("year", "year", 36_500)]);
    book.edit(&id, json!({"plan_id": plans[1]})).unwrap();
    run(&mut book, &id);
    for n in 0..205i64 {
        let (month, day) = (1 + n / 28, 1 + n % 28);
        book.now = at(&format!("2027-{month:02}-{day:02}T01:00:00Z"));
        book.edit(&id, json!({"quantity": 2 + n})).unwrap();
    }
    let invoice = settle(&mut book, &id).unwrap();
    assert!(invoice.lines.len() > 200, "{}", invoice.lines.len());
    let invoice = invoice.id.to_string();
    book.edit(&invoice, json!({"notes": "too many"})).unwrap();
    book.edit(&invoice, json!({"status": "void"})).unwrap();
    assert!(settle(&mut book, &id).is_some());
}

#[test]
fn the_largest_prices_are_refused_and_never_panic() {
    for (quantity, amount, start) in [
        (1_000_000, ifmatch_types::INTEGER_MAX, "1970-01-01T00:00:00Z"),
        (1_000_000, ifmatch_types::INTEGER_MAX, "2199-12-31T23:59:59Z"),
        (1, ifmatch_types::INTEGER_MAX, "2026-12-31T23:59:59.999999Z"),
    ] {
        let mut book = Book::default();
        let workspace = book.workspace();
        let most = book.plan("most", json!({"amount": amount, "interval": "year"}));
        let least = book.plan("least", json!({"amount": 0, "interval": "year"}));
        let id = book.subscription(&workspace, &most, json!({"start_at": start}));
        if quantity > 1 {
            book.store_quantity(&id, quantity);
        }
        for now in ["2027-01-01T00:00:00Z", "2027-03-01T00:00:00Z", "2200-03-01T00:00:00Z"] {
            book.now = at(now);
            let (_, _, _) = (
                book.edit(&id, json!({"plan_id": least})),
                book.edit(&id, json!({"plan_id": most, "quantity": 1})),
                book.edit(&id, json!({"quantity": quantity})),
            );
            for action in [
                billing::Action::PreviewBilling(PreviewBilling {
                    subscription_ids: vec![id.clone()],
                    as_of: at("9000-01-01T00:00:00Z"),
                }),
                billing::Action::SettleSubscription(SettleSubscription {
                    subscription_id: id.clone(),
                    precondition: Precondition::Version(book.version(&id)),
                }),
                billing::Action::BillSubscription(billing::BillSubscription {
                    subscription_id: id.clone(),
                    as_of: book.now,
                }),
            ] {
                let _ = book.run(action.into());
            }
        }
        let _ = book.edit(&id, json!({"status": "canceled"}));
        assert_holds(&book.world);
    }
}

#[test]
fn a_run_of_an_earlier_instant_leaves_what_is_due_now() {
    let (mut book, id, _) = book(&[]);
    run(&mut book, &id);
    book.now = at("2027-01-20T00:00:00Z");
    book.edit(&id, json!({"quantity": 2})).unwrap();
    let january = book.world.recurring(&id).next().unwrap().id.to_string();
    book.edit(&january, json!({"status": "void"})).unwrap();
    assert_eq!(book.bill(&id, "2027-01-10T00:00:00Z"), (0, false));
    assert_eq!(book.world.subscriptions[&id].record.due_at, Some(book.now), "a run will find it");
    run(&mut book, &id);
    assert_eq!(totals(&book, &id), [3100]);
}

#[test]
fn a_flagged_trial_ends_where_it_would_whatever_its_status() {
    for path in [vec![], vec!["paused"], vec!["paused", "active"]] {
        let mut book = Book::default();
        let workspace = book.workspace();
        let plan = book.plan("trial", json!({"trial_days": 14}));
        let start_at = json!({"start_at": "2027-03-01T00:00:00Z"});
        let id = book.subscription(&workspace, &plan, start_at);
        book.edit(&id, json!({"cancel_at_period_end": true})).unwrap();
        for status in &path {
            book.edit(&id, json!({"status": status})).unwrap();
        }
        book.now = at("2027-05-01T00:00:00Z");
        run(&mut book, &id);
        let expected = json!(at("2027-03-15T00:00:00Z"));
        assert_eq!(book.field(&id, "ended_at"), expected, "{path:?}");
        assert!(totals(&book, &id).is_empty());
    }
}
