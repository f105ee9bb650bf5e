//! Subscriptions: their statuses, what each transition sets, and their plan.

use crate::{
    book::Book,
    commands::{at, create, delete, patch},
    invariants::assert_holds,
};
use ifmatch_domain::{Rejection, billing, core};
use ifmatch_types::{Kind, SubscriptionStatus};
use serde_json::{Value, json};

const ALL: &[&str] = &["trialing", "active", "past_due", "paused", "canceled"];

/// A book on 10 January with a subscription since 1 January, now in this status.
fn book_with(status: &str) -> (Book, String) {
    let mut book = Book::default();
    let workspace = book.workspace();
    let trial_days = if status == "trialing" { 14 } else { 0 };
    let plan = book.plan("p", json!({"trial_days": trial_days}));
    let id = book.subscription(&workspace, &plan, json!({}));
    book.now = at("2027-01-10T00:00:00Z");
    if !["trialing", "active"].contains(&status) {
        book.edit(&id, json!({"status": status})).unwrap();
    }
    assert_eq!(book.field(&id, "status"), status);
    (book, id)
}

#[test]
fn a_status_follows_only_those_that_allow_it() {
    let allowed: &[(&str, &[&str])] = &[
        ("trialing", &["active", "past_due", "paused", "canceled"]),
        ("active", &["past_due", "paused", "canceled"]),
        ("past_due", &["active", "paused", "canceled"]),
        ("paused", &["active", "canceled"]),
        ("canceled", &[]),
    ];
    assert_eq!(allowed.len(), SubscriptionStatus::ALL.len());
    for (from, allowed) in allowed {
        for to in ALL {
            let (mut book, id) = book_with(from);
            let before = book.version(&id);
            match book.edit(&id, json!({"status": to})) {
                Ok(_) => {
                    assert!(from == to || allowed.contains(to), "{from} → {to}");
                    assert_eq!(book.field(&id, "status"), *to);
                    assert_eq!(book.version(&id), before + i64::from(from != to));
                }
                Err(Rejection::Core(core::Rejection::InvalidTransition {
                    from: was,
                    to: wanted,
                    allowed: named,
                })) => {
                    assert!(from != to && !allowed.contains(to), "{from} → {to}");
                    assert_eq!((was, wanted, named.as_slice()), (*from, *to, *allowed));
                }
                Err(Rejection::Billing(billing::Rejection::SubscriptionEnded {
                    fields, ..
                })) => {
                    assert_eq!((*from, fields.as_slice()), ("canceled", &["status"][..]));
                    assert_ne!(*to, "canceled");
                }
                Err(other) => panic!("{from} → {to}: {other:?}"),
            }
            assert_holds(&book.world);
        }
    }
}

#[test]
fn a_new_one_is_trialing_or_active_by_its_plan() {
    for (trial_days, status, expected) in [
        (0, Value::Null, Some("active")),
        (0, json!("active"), Some("active")),
        (0, json!("trialing"), None),
        (14, Value::Null, Some("trialing")),
        (14, json!("trialing"), Some("trialing")),
        (14, json!("active"), Some("active")),
        (14, json!("paused"), None),
        (0, json!("past_due"), None),
        (0, json!("canceled"), None),
    ] {
        let mut book = Book::default();
        let (workspace, plan) =
            (book.workspace(), book.plan("p", json!({"trial_days": trial_days})));
        let body = json!({"workspace_id": workspace, "plan_id": plan, "status": status});
        match (book.run(create(Kind::Subscription, body)), expected) {
            (Ok(_), Some(expected)) => {
                let id = book.world.subscriptions.keys().next().unwrap().clone();
                let end = if expected == "trialing" { "2027-01-15" } else { "2027-02-01" };
                let trial_end = if expected == "trialing" {
                    json!(at("2027-01-15T00:00:00Z"))
                } else {
                    Value::Null
                };
                let fields = book.fields(&id, &["status", "current_period_end", "trial_end"]);
                let end = at(&format!("{end}T00:00:00Z"));
                let wanted =
                    json!({"status": expected, "current_period_end": end, "trial_end": trial_end});
                assert_eq!(fields, wanted);
            }
            (Err(Rejection::Core(core::Rejection::Invalid(errors))), None) => {
                assert_eq!(errors[0].path, "/status")
            }
            (other, _) => panic!("{trial_days} {status}: {other:?}"),
        }
    }
}

#[test]
fn canceling_ends_it_now_and_bills_the_period_that_began() {
    for status in ["trialing", "active", "past_due", "paused"] {
        let (mut book, id) = book_with(status);
        book.edit(&id, json!({"status": "canceled"})).unwrap();
        let ended = book.fields(&id, &["canceled_at", "ended_at"]);
        assert_eq!(ended, json!({"canceled_at": book.now, "ended_at": book.now}), "{status}");
        assert_eq!(book.bill(&id, "2030-01-01T00:00:00Z"), (0, false));
        let bill = ("2027-01-01".to_owned(), "2027-02-01".to_owned(), 3000);
        let expected = if status == "trialing" { vec![] } else { vec![bill] };
        assert_eq!(book.bills(&id), expected, "{status}");
    }
}

#[test]
fn leaving_a_trial_early_begins_the_first_paid_period() {
    for status in ["active", "past_due"] {
        let (mut book, id) = book_with("trialing");
        book.edit(&id, json!({"status": status})).unwrap();
        let names = ["trial_end", "current_period_start", "current_period_end"];
        let expected = json!({"trial_end": book.now, "current_period_start": book.now,
            "current_period_end": at("2027-02-10T00:00:00Z")});
        assert_eq!(book.fields(&id, &names), expected, "{status}");
        assert_eq!(book.bill(&id, "2027-01-31T00:00:00Z"), (1, false));
        let bills = book.bills(&id);
        assert_eq!(bills, [("2027-01-10".to_owned(), "2027-02-10".to_owned(), 3000)]);
        assert_holds(&book.world);
    }
}

#[test]
fn a_trial_that_ended_while_paused_is_over() {
    let (mut book, id) = book_with("trialing");
    book.edit(&id, json!({"status": "paused"})).unwrap();
    book.now = at("2027-03-20T00:00:00Z");
    book.edit(&id, json!({"status": "active"})).unwrap();
    let names = ["trial_end", "current_period_start", "current_period_end"];
    let expected = json!({"trial_end": at("2027-01-15T00:00:00Z"),
        "current_period_start": book.now,
        "current_period_end": at("2027-04-20T00:00:00Z")});
    assert_eq!(book.fields(&id, &names), expected);
}

#[test]
fn a_resume_begins_a_period_unless_one_runs() {
    // (resumed on, the period that then runs); the paused one is January.
    for (resumed, start, end) in [
        ("2027-01-20", "2027-01-01", "2027-02-01"),
        ("2027-01-31", "2027-01-01", "2027-02-01"),
        ("2027-02-01", "2027-02-01", "2027-03-01"),
        ("2027-02-02", "2027-02-02", "2027-03-02"),
        ("2028-02-29", "2028-02-29", "2028-03-29"),
    ] {
        let (mut book, id) = book_with("paused");
        book.now = at(&format!("{resumed}T00:00:00Z"));
        book.edit(&id, json!({"status": "active"})).unwrap();
        let period = book.fields(&id, &["current_period_start", "current_period_end"]);
        let expected = json!({"current_period_start": at(&format!("{start}T00:00:00Z")),
            "current_period_end": at(&format!("{end}T00:00:00Z"))});
        assert_eq!(period, expected, "{resumed}");
    }
}

#[test]
fn resuming_after_ages_is_quick_and_right() {
    // The paused year is still running.
    let now = "2027-06-15T12:00:00Z";
    for (interval, start) in
        [("day", now), ("month", now), ("week", now), ("year", "2026-09-30T00:00:00Z")]
    {
        let mut book = Book::default();
        let (workspace, plan) = (book.workspace(), book.plan("p", json!({"interval": interval})));
        let long_ago = json!({"start_at": "1970-09-30T00:00:00Z"});
        let id = book.subscription(&workspace, &plan, long_ago);
        book.edit(&id, json!({"status": "paused"})).unwrap();
        book.now = at(now);
        let began = std::time::Instant::now();
        book.edit(&id, json!({"status": "active"})).unwrap();
        assert!(began.elapsed().as_secs() < 3, "the lane waits for it");
        assert_eq!(book.field(&id, "current_period_start"), json!(at(start)), "{interval}");
    }
}

#[test]
fn the_plan_must_be_on_sale_and_of_the_same_currency() {
    let mut book = Book::default();
    let workspace = book.workspace();
    let (usd, eur) = (book.plan("usd", json!({})), book.plan("eur", json!({"currency": "EUR"})));
    let draft = book.plan("draft", json!({"status": "draft"}));
    let archived = book.plan("archived", json!({}));
    book.edit(&archived, json!({"status": "archived"})).unwrap();
    let id = book.subscription(&workspace, &usd, json!({}));
    for (plan, status) in [(&draft, "draft"), (&archived, "archived")] {
        let expected =
            Rejection::Billing(billing::Rejection::PlanInactive { plan_id: plan.clone(), status });
        assert_eq!(book.edit(&id, json!({"plan_id": plan})), Err(expected.clone()));
        let body = json!({"workspace_id": workspace, "plan_id": plan});
        assert_eq!(book.refused(create(Kind::Subscription, body)), expected);
    }
    let expected = Rejection::Billing(billing::Rejection::CurrencyMismatch {
        from: "USD".to_owned(),
        to: "EUR".to_owned(),
    });
    assert_eq!(book.edit(&id, json!({"plan_id": eur})), Err(expected));
    // Existing subscriptions keep an archived plan.
    book.edit(&usd, json!({"status": "archived"})).unwrap();
    book.edit(&id, json!({"quantity": 2, "plan_id": usd})).unwrap();
}

#[test]
fn what_is_set_once_stays() {
    let (mut book, id) = book_with("active");
    let other = book.workspace();
    for (name, value) in
        [("workspace_id", json!(other)), ("start_at", json!("2027-01-02T00:00:00Z"))]
    {
        let refused = book.edit(&id, json!({name: value})).unwrap_err();
        let Rejection::Core(core::Rejection::Invalid(errors)) = refused else {
            panic!("{name}: {refused:?}")
        };
        assert_eq!(errors[0].path, format!("/{name}"));
    }
    // The same instant in another notation is no change.
    book.edit(&id, json!({"start_at": "2027-01-01T02:00:00+02:00", "quantity": 2})).unwrap();
    let refused = book.edit(&id, json!({"start_at": null})).unwrap_err();
    assert!(matches!(refused, Rejection::Core(core::Rejection::Invalid(_))), "{refused:?}");
}

#[test]
fn cancel_at_period_end_can_be_undone() {
    let (mut book, id) = book_with("active");
    book.edit(&id, json!({"cancel_at_period_end": true})).unwrap();
    book.edit(&id, json!({"cancel_at_period_end": false})).unwrap();
    assert_eq!(book.bill(&id, "2027-02-01T00:00:00Z"), (2, false));
    assert_eq!(book.field(&id, "status"), "active");
}

#[test]
fn it_is_deletable_until_it_had_an_invoice() {
    let (mut book, id) = book_with("active");
    let workspace = book.field(&id, "workspace_id");
    let draft = book.invoice(workspace.as_str().unwrap(), json!({"subscription_id": id}));
    assert_eq!(
        book.refused(delete(Kind::Subscription, &id, 1)),
        Rejection::Billing(billing::Rejection::SubscriptionInUse)
    );
    book.run(delete(Kind::Invoice, &draft, 1)).unwrap();
    assert_eq!(
        book.refused(delete(Kind::Subscription, &id, 1)),
        Rejection::Billing(billing::Rejection::SubscriptionInUse)
    );
    let plan = book.field(&id, "plan_id");
    let other = book.subscription(workspace.as_str().unwrap(), plan.as_str().unwrap(), json!({}));
    book.run(delete(Kind::Subscription, &other, 1)).unwrap();
    let refused = book.refused(patch(Kind::Subscription, &other, 1, json!({"quantity": 2})));
    assert!(matches!(refused, Rejection::Core(core::Rejection::Deleted(Kind::Subscription, _))));
    assert_holds(&book.world);
}

#[test]
fn a_start_that_leads_past_the_calendar_is_refused() {
    let mut book = Book::default();
    let (workspace, plan) = (book.workspace(), book.plan("p", json!({"interval": "year"})));
    for start in ["9999-01-01T00:00:00Z", "9998-12-31T23:00:00Z"] {
        let body = json!({"workspace_id": workspace, "plan_id": plan, "start_at": start});
        let decided = book.run(create(Kind::Subscription, body));
        match start.starts_with("9999") {
            true => {
                assert!(
                    matches!(decided, Err(Rejection::Core(core::Rejection::Invalid(e))) if e[0].path == "/start_at")
                )
            }
            false => drop(decided),
        }
    }
}
