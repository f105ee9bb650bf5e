//! What is refused: wrong bodies by field, and denials, which leave a line in the log.

use super::quota::{FULL, HOUR_MS, NOT_INCLUDED, Quota, wrong};
use crate::commands::{command, key};
use ifmatch_domain::{Action, CheckAndRecord, Rejection};
use ifmatch_types::EntitlementLogEntry;
use serde_json::{Value, json};

/// The denials in the log, with whose log it is.
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
    // That nothing else is left is what the book asserts of every refused command.
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

#[test]
fn a_denial_is_not_kept_as_an_answer() {
    let mut quota = Quota::of_calls(1);
    let (scope, _) = quota.scopes();
    let items = vec![crate::commands::members(json!({"feature": "calls", "quantity": 2}))];
    let action =
        Action::CheckAndRecord(CheckAndRecord { scope: scope.clone(), items, is_batch: false });
    for n in 1..=2 {
        let mut again = command(quota.book.fresh_seed(), action.clone());
        again.idempotency = Some(key("k", "print"));
        let decided = quota.book.world.carry_out(&[again], quota.book.now).remove(0);
        assert!(matches!(decided, Err(Rejection::Denied(_))));
        assert_eq!(denials(&quota).len(), n);
    }
    quota.boost(&scope, "calls", json!({"kind": "unlimited", "duration": "permanent"}));
    let mut again = command(quota.book.fresh_seed(), action);
    again.idempotency = Some(key("k", "print"));
    assert!(quota.book.world.carry_out(&[again], quota.book.now).remove(0).is_ok());
}

/// Each body of a usage with the fields that are wrong.
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
    ] {
        let context = body.to_string();
        assert_eq!(
            wrong(quota.try_use(&workspace, vec![body.clone()], false)),
            fields,
            "{context}"
        );
        let batch = vec![of(json!(1)), body];
        assert_eq!(wrong(quota.try_use(&workspace, batch, true)), fields, "{context}");
    }
    assert!(quota.book.world.records.is_empty() && denials(&quota).is_empty());
    let metadata = json!({"feature": "calls", "quantity": 10, "metadata": {"job": "7"}});
    let recorded = quota.try_use(&workspace, vec![metadata], false).unwrap().remove(0);
    let record = &quota.book.world.records[recorded.id.as_str()].record;
    assert_eq!(record.metadata["job"], "7");
}
