//! The pool that a feature draws from, and its limit.

use super::quota::{FULL, NOT_INCLUDED, Quota, denied};
use ifmatch_types::INTEGER_MAX;
use serde_json::{Value, json};

#[test]
fn a_feature_with_a_parent_draws_from_its_parents_pool() {
    let mut quota = Quota::of_calls(10);
    let (workspace, _) = quota.scopes();
    quota.feature("calls.fast", json!({"parent_code": "calls", "reset": "monthly"}));
    quota.feature("calls.slow", json!({"parent_code": "calls"}));
    for (feature, quantity, used) in [("calls", 3, 3), ("calls.fast", 3, 6), ("calls.slow", 4, 10)]
    {
        let recorded = quota.take(&workspace, feature, quantity).unwrap();
        assert_eq!((recorded.feature.as_str(), recorded.meter.used), (feature, used));
        assert_eq!(recorded.meter.remaining, Some(10 - used));
        assert_eq!(recorded.meter.resets_at, None, "counted like its parent");
    }
    for feature in ["calls", "calls.fast", "calls.slow"] {
        assert_eq!(denied(quota.take(&workspace, feature, 1)), FULL);
    }
    assert_eq!(quota.book.world.counters.len(), 1);
}

#[test]
fn a_grant_of_a_child_is_a_grant_of_the_pool() {
    let mut quota = Quota::default();
    let (workspace, _) = quota.scopes();
    quota.feature("calls", json!({}));
    quota.feature("calls.fast", json!({"parent_code": "calls"}));
    quota.package("p", json!({"is_stackable": true}), json!({"calls.fast": 4, "calls": 1}));
    quota.assign(&workspace, "p");
    assert_eq!(quota.calls(&workspace), (0, 0, Some(5), Some(5)));
    quota.assign(&workspace, "p");
    let boost = json!({"kind": "add_limit", "amount": 7, "duration": "permanent"});
    quota.boost(&workspace, "calls.fast", boost);
    assert_eq!(quota.calls(&workspace), (0, 0, Some(17), Some(17)));
}

/// Packages' grants of a pool, boosts, and the resulting limit.
///
/// `null` is no limit; a text is the code of a denial.
#[test]
fn limits_are_sums_and_the_greatest_grant_wins() {
    let add = |amount: i64| json!({"kind": "add_limit", "amount": amount, "duration": "permanent"});
    let burn =
        |amount: i64| json!({"kind": "add_limit", "amount": amount, "duration": "consumable"});
    let (on, all) = (
        json!({"kind": "enable", "duration": "permanent"}),
        json!({"kind": "unlimited", "duration": "permanent"}),
    );
    let cases: Vec<(Vec<Value>, Vec<Value>, Value)> = vec![
        (vec![], vec![], json!(NOT_INCLUDED)),
        (vec![json!(0)], vec![], json!(0)),
        (vec![json!(5)], vec![], json!(5)),
        (vec![json!(5), json!(7)], vec![], json!(12)),
        (vec![json!("enabled")], vec![], json!(0)),
        (vec![json!("enabled"), json!(4)], vec![add(2)], json!(6)),
        (vec![json!(5), json!("unlimited")], vec![add(2)], Value::Null),
        (vec![], vec![add(5)], json!(NOT_INCLUDED)),
        (vec![], vec![burn(5)], json!(NOT_INCLUDED)),
        (vec![], vec![add(5), burn(5)], json!(NOT_INCLUDED)),
        (vec![], vec![on.clone()], json!(0)),
        (vec![], vec![on.clone(), add(5), burn(3)], json!(8)),
        (vec![], vec![all.clone()], Value::Null),
        (vec![json!(5)], vec![all, add(1)], Value::Null),
        (vec![json!(5)], vec![add(1), add(2), burn(4), on], json!(12)),
    ];
    for (packages, boosts, expected) in cases {
        let mut quota = Quota::default();
        let (workspace, _) = quota.scopes();
        quota.feature("calls", json!({}));
        for (n, grant) in packages.iter().enumerate() {
            let code = format!("p{n}");
            quota.package(&code, json!({}), json!({"calls": grant}));
            quota.assign(&workspace, &code);
        }
        for boost in &boosts {
            quota.boost(&workspace, "calls", boost.clone());
        }
        let context = format!("{packages:?} {boosts:?}");
        let told = quota.look(&workspace, "calls");
        match expected.as_i64() {
            Some(limit) => {
                assert_eq!(told.allowed, limit > 0, "{context}");
                if limit > 0 {
                    let recorded = quota.take(&workspace, "calls", limit).unwrap();
                    assert_eq!(recorded.meter.limit, Some(limit), "{context}");
                }
                assert_eq!(quota.calls(&workspace), (limit, 0, Some(limit), Some(0)), "{context}");
                assert_eq!(denied(quota.take(&workspace, "calls", 1)), FULL, "{context}");
            }
            None if expected.is_null() => {
                assert!(told.allowed && told.meter.unlimited, "{context}");
                quota.take(&workspace, "calls", 1_000_000_000_000).unwrap();
                assert_eq!(quota.calls(&workspace), (1_000_000_000_000, 0, None, None));
            }
            None => {
                assert!(!told.allowed, "{context}");
                assert_eq!(denied(quota.take(&workspace, "calls", 1)), expected, "{context}");
            }
        }
    }
}

#[test]
fn a_switch_is_on_or_off_and_has_no_units() {
    let mut quota = Quota::default();
    let (workspace, one) = quota.scopes();
    quota.feature("sso", json!({"type": "boolean"}));
    assert!(!quota.look(&workspace, "sso").allowed);
    quota.package("p", json!({}), json!({"sso": "enabled"}));
    let id = quota.assign(&workspace, "p");
    for scope in [&workspace, &one] {
        let told = quota.look(scope, "sso");
        assert!(told.allowed && !told.meter.unlimited && told.meter.limit.is_none());
    }
    quota.book.edit(&id, json!({"status": "suspended"})).unwrap();
    assert!(!quota.look(&one, "sso").allowed);
    quota.boost(&one, "sso", json!({"kind": "enable", "duration": "permanent"}));
    assert!(quota.look(&one, "sso").allowed && !quota.look(&workspace, "sso").allowed);
}

#[test]
fn an_unlimited_feature_has_no_limit_however_it_is_granted() {
    let add = json!({"kind": "add_limit", "amount": 3, "duration": "permanent"});
    for grant in ["enabled", "unlimited", "boost"] {
        let mut quota = Quota::default();
        let (workspace, _) = quota.scopes();
        quota.feature("logs", json!({"type": "unlimited"}));
        quota.boost(&workspace, "logs", add.clone());
        assert_eq!(denied(quota.take(&workspace, "logs", 1)), NOT_INCLUDED);
        if grant == "boost" {
            quota.boost(&workspace, "logs", json!({"kind": "enable", "duration": "permanent"}));
        } else {
            quota.package("p", json!({}), json!({"logs": grant}));
            quota.assign(&workspace, "p");
        }
        let recorded = quota.take(&workspace, "logs", 1_000).unwrap();
        assert!(recorded.meter.unlimited && recorded.meter.limit.is_none(), "{grant}");
        assert!(quota.look(&workspace, "logs").meter.unlimited, "{grant}");
        assert!(quota.reverse(&recorded, 999).unwrap().meter.unlimited, "{grant}");
    }
}

/// With a limit L and a demand of q each, ⌊L/q⌋ are admitted, whatever happens in between.
#[test]
fn exactly_as_much_is_admitted_as_fits() {
    for (limit, quantity) in [(10, 3), (10, 1), (10, 10), (9, 10), (0, 1), (100, 7)] {
        let mut quota = Quota::of_calls(limit);
        let scopes = [quota.one.clone(), quota.workspace.clone(), quota.two.clone()];
        let mut admitted = 0;
        for n in 0..(limit / quantity + 4) {
            let scope = &scopes[usize::try_from(n).unwrap() % 3];
            match quota.take(scope, "calls", quantity) {
                Ok(recorded) => admitted += recorded.quantity,
                rejected => assert_eq!(denied(rejected), FULL),
            }
        }
        assert_eq!(admitted, limit / quantity * quantity, "{limit} by {quantity}");
    }
}

#[test]
fn a_batch_is_admitted_as_a_whole_or_not_at_all() {
    let mut quota = Quota::of_calls(10);
    let (workspace, _) = quota.scopes();
    let item = |quantity: i64| json!({"feature": "calls", "quantity": quantity});
    let recorded = quota.try_use(&workspace, vec![item(4), item(3)], true).unwrap();
    assert_eq!(recorded.iter().map(|r| r.meter.used).collect::<Vec<_>>(), [4, 7]);
    let rejection = quota.try_use(&workspace, vec![item(3), item(1)], true).unwrap_err();
    let ifmatch_domain::Rejection::Operation { failed_index, rejection } = rejection else {
        panic!("the failing item is named: {rejection:?}")
    };
    assert_eq!((failed_index, rejection.denial().unwrap().requested), (1, 4));
    assert_eq!(quota.calls(&workspace), (7, 0, Some(10), Some(3)));
    assert_eq!(quota.book.world.records.len(), 2);
}

#[test]
fn no_sum_of_grants_is_beyond_the_largest_integer() {
    let most = 1_000_000_000_000_000;
    let mut quota = Quota::of_calls(most);
    let (workspace, _) = quota.scopes();
    for _ in 0..9 {
        quota.consumable(&workspace, most, json!({}));
    }
    assert_eq!(quota.calls(&workspace), (0, 0, Some(INTEGER_MAX), Some(INTEGER_MAX)));
    quota.take(&workspace, "calls", 5).unwrap();
    let (used, _, limit, remaining) = quota.calls(&workspace);
    assert_eq!((used, limit, remaining), (5, Some(INTEGER_MAX), Some(INTEGER_MAX - 5)));
}

#[test]
fn a_counter_beyond_the_largest_integer_is_an_overflow() {
    let mut quota = Quota::default();
    let (workspace, _) = quota.scopes();
    quota.feature("calls", json!({}));
    quota.boost(&workspace, "calls", json!({"kind": "unlimited", "duration": "permanent"}));
    quota.take(&workspace, "calls", 1).unwrap();
    let before = quota.book.world.clone();
    quota.book.world.counters.values_mut().for_each(|counter| counter.used = INTEGER_MAX - 5);
    let overflow = quota.take(&workspace, "calls", 6).unwrap_err();
    assert!(matches!(
        overflow,
        ifmatch_domain::Rejection::Core(ifmatch_domain::core::Rejection::AmountOverflow { .. })
    ));
    quota.take(&workspace, "calls", 5).unwrap();
    quota.book.world = before;
}
