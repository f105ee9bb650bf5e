//! Plans: their statuses, the frozen price, and the code that is unique among living plans.

use crate::{
    book::{Book, with},
    commands::{create, delete, patch, put},
    invariants::assert_holds,
};
use ifmatch_domain::{
    Rejection, billing,
    core::{self, How},
};
use ifmatch_types::{INTEGER_MAX, Kind, PlanStatus};
use serde_json::{Value, json};

const ALL: &[&str] = &["draft", "active", "archived"];

fn book_with(status: &str) -> (Book, String) {
    let mut book = Book::default();
    let first = if status == "draft" { "draft" } else { "active" };
    let id = book.plan("gold", json!({"status": first}));
    if status == "archived" {
        book.edit(&id, json!({"status": status})).unwrap();
    }
    (book, id)
}

#[test]
fn a_status_follows_only_those_that_allow_it() {
    let allowed = [("draft", ["active"]), ("active", ["archived"]), ("archived", ["active"])];
    assert_eq!(allowed.len(), PlanStatus::ALL.len());
    for (from, allowed) in allowed {
        for to in ALL {
            let (mut book, id) = book_with(from);
            match book.edit(&id, json!({"status": to})) {
                Ok(_) => assert!(from == *to || allowed.contains(to), "{from} → {to}"),
                Err(Rejection::Core(core::Rejection::InvalidTransition {
                    from: was,
                    to: wanted,
                    allowed: named,
                })) => {
                    assert!(from != *to && !allowed.contains(to), "{from} → {to}");
                    assert_eq!((was, wanted, named.as_slice()), (from, *to, allowed.as_slice()));
                }
                Err(other) => panic!("{from} → {to}: {other:?}"),
            }
        }
    }
}

#[test]
fn a_new_plan_is_a_draft_or_active() {
    let body = |status: Value| {
        json!({"code": "c", "name": "n", "currency": "USD", "amount": 1, "interval": "day",
            "status": status})
    };
    for (status, expected) in
        [(Value::Null, "draft"), (json!("draft"), "draft"), (json!("active"), "active")]
    {
        let answer = Book::default().ok(create(Kind::Plan, body(status)));
        assert_eq!(answer.body["status"], expected);
    }
    let refused = Book::default().refused(create(Kind::Plan, body(json!("archived"))));
    assert!(
        matches!(refused, Rejection::Core(core::Rejection::Invalid(errors)) if errors[0].path == "/status")
    );
}

#[test]
fn a_price_freezes_when_the_plan_goes_on_sale_and_stays_frozen() {
    let price = json!({"currency": "EUR", "amount": 1, "interval": "year", "interval_count": 2,
        "trial_days": 3});
    for status in ALL {
        for (name, value) in price.as_object().unwrap() {
            let (mut book, id) = book_with(status);
            let decided = book.edit(&id, json!({name: value, "name": "New name"}));
            if *status == "draft" {
                decided.unwrap();
                assert_eq!(book.field(&id, name), *value);
            } else {
                let Err(Rejection::Billing(billing::Rejection::PlanPriceFrozen { fields })) =
                    decided
                else {
                    panic!("{status} {name}: {decided:?}")
                };
                assert_eq!(fields, [name.as_str()]);
            }
        }
        let (mut book, id) = book_with(status);
        book.edit(&id, json!({"name": "N", "description": "D", "metadata": {"a": "b"}})).unwrap();
    }
    let (mut book, id) = book_with("active");
    let Err(Rejection::Billing(billing::Rejection::PlanPriceFrozen { fields })) =
        book.edit(&id, price.clone())
    else {
        panic!("all of it is frozen")
    };
    assert_eq!(fields, ["currency", "amount", "interval", "interval_count", "trial_days"]);
    // Activation and a last price change can be in one write.
    let (mut book, id) = book_with("draft");
    book.edit(&id, with(price, json!({"status": "active"}))).unwrap();
}

#[test]
fn a_code_is_set_once_and_no_other_field_is() {
    for status in ALL {
        let (mut book, id) = book_with(status);
        let refused = book.edit(&id, json!({"code": "silver"})).unwrap_err();
        assert!(
            matches!(refused, Rejection::Core(core::Rejection::Invalid(e)) if e[0].path == "/code"),
            "{status}"
        );
        book.edit(&id, json!({"code": "gold", "name": "n"})).unwrap();
    }
}

#[test]
fn a_plan_is_deletable_as_a_draft_only() {
    for status in ALL {
        let (mut book, id) = book_with(status);
        let version = book.version(&id);
        match book.run(delete(Kind::Plan, &id, version)) {
            Ok(_) => assert_eq!(*status, "draft"),
            Err(rejection) => {
                assert_eq!(rejection, Rejection::Billing(billing::Rejection::PlanInUse));
                assert_ne!(*status, "draft");
            }
        }
    }
}

#[test]
fn a_taken_code_is_the_same_plan_or_a_refusal() {
    let same = json!({"code": "gold", "name": "Plan", "currency": "USD", "amount": 3000,
        "interval": "month"});
    for (changed, differing) in [
        (json!({}), vec![]),
        (json!({"status": "active"}), vec![]),
        (json!({"trial_days": 0, "interval_count": 1, "metadata": {}}), vec![]),
        (json!({"status": "draft"}), vec!["/status"]),
        (json!({"amount": 1, "name": "Other"}), vec!["/name", "/amount"]),
        (json!({"metadata": {"a": "b"}}), vec!["/metadata/a"]),
    ] {
        let (mut book, id) = book_with("active");
        let action = create(Kind::Plan, with(same.clone(), changed.clone()));
        if differing.is_empty() {
            let answer = book.ok(action);
            assert_eq!(
                (answer.how, answer.id.as_str(), answer.version),
                (How::Existed, id.as_str(), 1)
            );
            assert_eq!(book.world.events.len(), 1, "nothing was written: {changed}");
        } else {
            let Rejection::Core(core::Rejection::AlreadyExists {
                what,
                existing_id,
                mut differing_fields,
            }) = book.refused(action)
            else {
                panic!("{changed} differs")
            };
            differing_fields.sort();
            let mut expected = differing;
            expected.sort_unstable();
            assert_eq!((what, existing_id), ("plan", id));
            assert_eq!(differing_fields, expected);
        }
    }
}

#[test]
fn a_deleted_draft_gives_its_code_back() {
    let (mut book, id) = book_with("draft");
    book.run(delete(Kind::Plan, &id, 1)).unwrap();
    let again = book.plan("gold", json!({"amount": 1}));
    assert_ne!(id, again);
    let Rejection::Core(core::Rejection::Deleted(kind, deleted)) =
        book.refused(patch(Kind::Plan, &id, 1, json!({})))
    else {
        panic!("it is gone")
    };
    assert_eq!((kind, deleted.id.as_str(), deleted.last_version), (Kind::Plan, id.as_str(), 1));
    assert_eq!((deleted.deleted_by.as_str(), deleted.deleted_at), ("alice", book.now));
    assert_holds(&book.world);
}

#[test]
fn each_field_has_its_bounds() {
    let good = json!({"code": "c", "name": "n", "currency": "USD", "amount": 0, "interval": "day"});
    let long = |n: usize| json!("é".repeat(n));
    for (name, fine, wrong) in [
        (
            "code",
            vec![json!("a.b_c:d-9"), json!("x".repeat(100))],
            vec![
                json!(""),
                json!("a b"),
                json!("é"),
                json!("x".repeat(101)),
                json!(null),
                json!(1),
            ],
        ),
        (
            "name",
            vec![long(200), json!("a\tb")],
            vec![json!(""), long(201), json!("a\u{0}"), json!(null)],
        ),
        ("description", vec![json!(""), long(2_000)], vec![long(2_001), json!("\u{85}")]),
        ("currency", vec![json!("JPY")], vec![json!("usd"), json!("XXXX"), json!("")]),
        (
            "amount",
            vec![json!(0), json!(INTEGER_MAX)],
            vec![json!(-1), json!(INTEGER_MAX + 1), json!(1.5), json!(u64::MAX), json!("1")],
        ),
        (
            "interval",
            vec![json!("year")],
            vec![json!("Month"), json!(null), json!({"day": null}), json!(["day"])],
        ),
        ("interval_count", vec![json!(1), json!(36)], vec![json!(0), json!(37), json!(null)]),
        ("trial_days", vec![json!(0), json!(730)], vec![json!(-1), json!(731)]),
        (
            "metadata",
            vec![json!({}), json!({"k": ""}), json!({"k".repeat(40): "v".repeat(500)})],
            vec![
                json!({"": "v"}),
                json!({"k".repeat(41): "v"}),
                json!({"k": "v".repeat(501)}),
                json!({"k": 1}),
                json!({"k": null}),
                json!([]),
                json!(null),
            ],
        ),
        ("id", vec![], vec![json!("pln_1")]),
        ("version", vec![], vec![json!(1)]),
        ("color", vec![], vec![json!("red")]),
    ] {
        for value in fine {
            Book::default().ok(create(Kind::Plan, with(good.clone(), json!({name: value}))));
        }
        for value in wrong {
            let body = with(good.clone(), json!({name: value}));
            let Rejection::Core(core::Rejection::Invalid(errors)) =
                Book::default().refused(create(Kind::Plan, body))
            else {
                panic!("{name} = {value} is a wrong field")
            };
            let path = format!("/{name}");
            assert!(errors.iter().all(|error| error.path.starts_with(&path)), "{errors:?}");
        }
    }
    let many: serde_json::Map<String, Value> =
        (0..51).map(|n| (n.to_string(), json!("v"))).collect();
    Book::default().refused(create(Kind::Plan, with(good, json!({"metadata": many}))));
}

#[test]
fn every_wrong_field_is_named_at_once() {
    let mut book = Book::default();
    let body = json!({"code": " ", "name": "", "currency": "?", "amount": -1, "interval": "day",
        "interval_count": 0, "trial_days": -1});
    let Rejection::Core(core::Rejection::Invalid(errors)) = book.refused(create(Kind::Plan, body))
    else {
        panic!("wrong")
    };
    let paths: Vec<&str> = errors.iter().map(|error| error.path.as_str()).collect();
    assert_eq!(paths, ["/code", "/name", "/currency", "/amount", "/interval_count", "/trial_days"]);
    let id = book.plan("p", json!({}));
    let Rejection::Core(core::Rejection::Invalid(errors)) =
        book.refused(put(Kind::Plan, &id, 1, json!({"code": "p"})))
    else {
        panic!("required fields are missing")
    };
    assert_eq!(errors[0].message, "is required");
}
