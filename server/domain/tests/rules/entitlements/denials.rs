//! Refusals: wrong bodies by field, and denials, which write a line to the log.

use super::quota::{FULL, HOUR_MS, NOT_INCLUDED, Quota, wrong};
use crate::commands::{command, key};
use ifmatch_domain::{
    Action, Rejection,
    entitlement::{self, CheckAndRecord},
};
use ifmatch_types::EntitlementLogEntry;
use serde_json::{Value, json};

/// The denials in the log, each with its scope.
fn denials(quota: &Quota) -> Vec<(String, EntitlementLogEntry)> {
    let lines = quota.book.world.log.iter();
    let denials = lines.filter(|line| line.entry.log_type == "usage.denied");
    denials.map(|line| (line.scope.clone(), line.entry.clone())).collect()
}

#[test]
fn a_denial_leaves_its_line_and_nothing_else() {
    let mut quota = Quota::of_calls(10);
    let (workspace, one) = quota.scopes();
    quota.feature("other", json!({}));
    quota.take(&workspace, "calls", 5).unwrap();
    let hold = quota.hold(&workspace, 3, HOUR_MS).unwrap();
    let item = |feature: &str, quantity: i64| json!({"feature": feature, "quantity": quantity});
    // The book asserts for every refused command that nothing else changed.
    quota.take(&one, "calls", 3).unwrap_err();
    quota.hold(&one, 4, HOUR_MS).unwrap_err();
    quota.settle(&hold, 6).unwrap_err();
    quota.take(&one, "other", 1).unwrap_err();
    quota.try_use(&one, vec![item("calls", 2), item("other", 7)], true).unwrap_err();
    let lines = denials(&quota);
    let told = |(of, entry): &(String, EntitlementLogEntry)| {
        let details = &entry.details;
        (of.clone(), details["reason"].as_str().unwrap().to_owned(), details["requested"].clone())
    };
    let (workspace, one) = (workspace.to_string(), one.to_string());
    let expected = [
        (one.clone(), FULL.to_owned(), json!(3)),
        (one.clone(), FULL.to_owned(), json!(4)),
        (workspace.clone(), FULL.to_owned(), json!(6)),
        (one.clone(), NOT_INCLUDED.to_owned(), json!(1)),
        (one, NOT_INCLUDED.to_owned(), json!(7)),
    ];
    assert_eq!(lines.iter().map(told).collect::<Vec<_>>(), expected);
    let first = &lines[0].1;
    assert_eq!((first.by.actor.as_str(), first.request_id.as_str()), ("alice", "req"));
    assert_eq!(
        first.details,
        json!({"reason": FULL, "feature": "calls", "requested": 3, "used": 5, "held": 3,
            "limit": 10, "charged_scope": workspace})
    );
}

/// A denied batch records nothing. Its denial reports the unchanged pool and the total requested.
#[test]
fn the_denial_of_a_batch_tells_what_stays_and_what_it_wanted_in_all() {
    let mut quota = Quota::of_calls(10);
    let (workspace, one) = quota.scopes();
    quota.feature("calls.fast", json!({"parent_code": "calls"}));
    quota.feature("own", json!({}));
    quota.feature("week", json!({"reset": "rolling", "rolling_days": 7}));
    quota.package("more", json!({}), json!({"week": 5}));
    quota.assign(&workspace, "more");
    quota.package("ours", json!({}), json!({"own": 3}));
    quota.assign(&one, "ours");
    let boost = quota.consumable(&workspace, 4, json!({}));
    quota.take(&workspace, "calls", 8).unwrap();
    quota.take(&workspace, "week", 1).unwrap();
    quota.hold(&workspace, 1, HOUR_MS).unwrap();
    let item =
        |(feature, quantity): &(&str, i64)| json!({"feature": feature, "quantity": quantity});
    for (items, requested, quantity, used, held, limit) in [
        (vec![("calls", 2), ("calls", 1), ("calls", 3)], 6, 3, 8, 1, 14),
        (vec![("calls", 6)], 6, 6, 8, 1, 14),
        (vec![("calls", 4), ("calls.fast", 2)], 6, 2, 8, 1, 14),
        (vec![("calls", 5), ("own", 2), ("week", 1), ("own", 2)], 4, 2, 0, 0, 3),
        (vec![("own", 3), ("week", 2), ("calls", 1), ("week", 3)], 5, 3, 1, 0, 5),
    ] {
        let failed = items.len() - 1;
        let refused = quota.try_use(&one, items.iter().map(item).collect(), true).unwrap_err();
        let Rejection::Operation { failed_index, rejection } = &refused else {
            panic!("the failing item is named: {refused:?}")
        };
        assert_eq!(*failed_index, failed, "{items:?}");
        let denial = rejection.denial().unwrap();
        let meter = &denial.meter;
        assert_eq!((denial.requested, denial.quantity), (requested, quantity), "{items:?}");
        assert_eq!((meter.used, meter.held, meter.limit), (used, held, Some(limit)), "{items:?}");
        assert_eq!(meter.remaining, Some(limit - used - held), "{items:?}");
        assert!(Some(requested) > meter.remaining, "{items:?}");
        assert_eq!(quota.look(&one, items[failed].0).meter, denial.meter, "{items:?}");
        let line = &denials(&quota).pop().unwrap().1.details;
        assert_eq!((&line["requested"], &line["used"]), (&json!(requested), &json!(used)));
        assert_eq!(quota.burnt(&boost), 0, "{items:?}");
    }
}

#[test]
fn a_denial_is_not_kept_as_an_answer() {
    let mut quota = Quota::of_calls(1);
    let (scope, _) = quota.scopes();
    let items = vec![crate::commands::members(json!({"feature": "calls", "quantity": 2}))];
    let action = Action::Entitlement(entitlement::Action::CheckAndRecord(CheckAndRecord {
        scope: scope.clone(),
        items,
        is_batch: false,
    }));
    for n in 1..=2 {
        let mut again = command(quota.book.fresh_seed(), action.clone());
        again.idempotency = Some(key("k", "print"));
        let decided = quota.book.world.carry_out(&[again], quota.book.now).remove(0);
        assert!(matches!(decided, Err(Rejection::Entitlement(entitlement::Rejection::Denied(_)))));
        assert_eq!(denials(&quota).len(), n);
    }
    quota.boost(&scope, "calls", json!({"kind": "unlimited", "duration": "permanent"}));
    let mut again = command(quota.book.fresh_seed(), action);
    again.idempotency = Some(key("k", "print"));
    assert!(quota.book.world.carry_out(&[again], quota.book.now).remove(0).is_ok());
}

/// Bodies of usage requests, each with its wrong fields.
#[test]
fn wrong_usage_is_refused_by_field() {
    let mut quota = Quota::of_calls(10);
    let (workspace, _) = quota.scopes();
    quota.feature("sso", json!({"type": "boolean"}));
    let of = |quantity: Value| json!({"feature": "calls", "quantity": quantity});
    let long = "x".repeat(501);
    for (body, fields) in [
        (of(json!(0)), vec!["/quantity"]),
        (of(json!(-1)), vec!["/quantity"]),
        (of(json!(i64::MIN)), vec!["/quantity"]),
        (of(json!(1_000_000_000_001i64)), vec!["/quantity"]),
        (of(json!(i64::MAX)), vec!["/quantity"]),
        (of(json!(u64::MAX)), vec!["/quantity"]),
        (of(json!(1.5)), vec!["/quantity"]),
        (of(json!(1e300)), vec!["/quantity"]),
        (of(json!("1")), vec!["/quantity"]),
        (of(json!(true)), vec!["/quantity"]),
        (of(Value::Null), vec!["/quantity"]),
        (of(json!([1])), vec!["/quantity"]),
        (json!({"feature": "calls"}), vec!["/quantity"]),
        (json!({"quantity": 1}), vec!["/feature"]),
        (json!({"feature": 7, "quantity": 1}), vec!["/feature"]),
        (json!({"feature": "nothing", "quantity": 1}), vec!["/feature"]),
        (json!({"feature": "sso", "quantity": 1}), vec!["/feature"]),
        (json!({"feature": "calls", "quantity": 1, "unit": 1}), vec!["/unit"]),
        (json!({"feature": "calls", "quantity": 1, "metadata": {"a": long}}), vec!["/metadata/a"]),
        (
            json!({"feature": "calls", "quantity": 1, "metadata": {"a/~": 1}}),
            vec!["/metadata/a~1~0"],
        ),
        (json!({"feature": "calls", "quantity": 1, "a/b": 1}), vec!["/a~1b"]),
    ] {
        let context = body.to_string();
        assert_eq!(
            wrong(quota.try_use(&workspace, vec![body.clone()], false)),
            fields,
            "{context}"
        );
        // A wrong item is reported before an item that does not fit.
        let fields: Vec<String> = fields.iter().map(|field| format!("/items/1{field}")).collect();
        for before in [1, 11] {
            let batch = vec![of(json!(before)), body.clone()];
            assert_eq!(wrong(quota.try_use(&workspace, batch, true)), fields, "{context}");
        }
    }
    assert!(quota.book.world.records.is_empty() && denials(&quota).is_empty());
    let metadata = json!({"feature": "calls", "quantity": 10, "metadata": {"job": "7"}});
    let recorded = quota.try_use(&workspace, vec![metadata], false).unwrap().remove(0);
    let record = &quota.book.world.records[recorded.id.as_str()].record;
    assert_eq!(record.metadata["job"], "7");
}
