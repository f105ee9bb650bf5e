//! 80, 90 and 100 % of a limit: one event each per window, in order.

use super::quota::{HOUR_MS, Quota};
use serde_json::{Value, json};

/// The threshold events: the threshold and the used count at that moment.
fn told(quota: &Quota) -> Vec<(i64, i64)> {
    let events = quota.book.world.events.iter().filter(|event| event.resource_type == "usage");
    let number = |state: &Value, field: &str| state[field].as_i64().unwrap();
    events.map(|e| (number(&e.state, "threshold"), number(&e.state, "used"))).collect()
}

#[test]
fn each_threshold_is_told_once_and_in_order() {
    for (limit, steps, expected) in [
        (10, vec![7, 1, 1, 1], vec![(80, 8), (90, 9), (100, 10)]),
        (10, vec![7], vec![]),
        (10, vec![10], vec![(80, 10), (90, 10), (100, 10)]),
        (10, vec![9, 1], vec![(80, 9), (90, 9), (100, 10)]),
        (1_000, vec![799, 1, 99, 1, 99, 1], vec![(80, 800), (90, 900), (100, 1_000)]),
        (3, vec![2, 1], vec![(80, 3), (90, 3), (100, 3)]),
        (1_000_000_000_000_000, vec![1_000_000_000_000; 3], vec![]),
    ] {
        let mut quota = Quota::of_calls(limit);
        let (workspace, one) = quota.scopes();
        for (n, quantity) in steps.iter().enumerate() {
            let scope = if n.is_multiple_of(2) { &workspace } else { &one };
            quota.take(scope, "calls", *quantity).unwrap();
        }
        assert_eq!(told(&quota), expected, "{limit} {steps:?}");
    }
}

#[test]
fn an_event_says_whose_pool_it_is_about() {
    let mut quota = Quota::default();
    let (workspace, one) = quota.scopes();
    quota.feature("calls", json!({"reset": "monthly"}));
    quota.feature("calls.fast", json!({"parent_code": "calls"}));
    quota.package("base", json!({"is_base": true}), json!({"calls": 10}));
    quota.assign(&workspace, "base");
    quota.until("2027-02-11T00:00:00Z");
    quota.take(&one, "calls.fast", 8).unwrap();
    let event = quota.book.world.events.last().unwrap();
    assert_eq!(
        **event.state,
        json!({"scope": workspace.to_string(), "feature": "calls", "threshold": 80, "used": 8,
            "limit": 10, "window_start": "2027-02-01T00:00:00.000000Z"})
    );
    assert_eq!(event.resource_type, "usage");
    assert_eq!(event.entry.kind.name(), "threshold_reached");
}

/// The limit shrank in between, so that a smaller count is a larger share of it.
#[test]
fn giving_back_tells_nothing_of_a_past_window_or_of_this_one() {
    for is_past in [true, false] {
        let mut quota = Quota::default();
        let (workspace, _) = quota.scopes();
        quota.feature("calls", json!({"reset": "monthly"}));
        quota.package("base", json!({"is_base": true}), json!({"calls": 10}));
        quota.package("small", json!({"is_base": true}), json!({"calls": 4}));
        quota.assign(&workspace, "base");
        let recorded = quota.take(&workspace, "calls", 5).unwrap();
        let hold = quota.hold(&workspace, 1, HOUR_MS).unwrap();
        quota.assign(&workspace, "small");
        if !is_past {
            quota.release(&hold).unwrap();
        } else {
            quota.until("2027-02-11T00:00:00Z");
        }
        quota.reverse(&recorded, 1).unwrap();
        assert_eq!(told(&quota), [], "past: {is_past}");
    }
}

#[test]
fn giving_back_and_using_again_tells_nothing_again_in_the_same_window() {
    let mut quota = Quota::of_calls(10);
    let (workspace, _) = quota.scopes();
    let recorded = quota.take(&workspace, "calls", 9).unwrap();
    quota.reverse(&recorded, 9).unwrap();
    quota.take(&workspace, "calls", 9).unwrap();
    assert_eq!(told(&quota), [(80, 9), (90, 9)]);
    quota.take(&workspace, "calls", 1).unwrap();
    assert_eq!(told(&quota).last(), Some(&(100, 10)));
}

#[test]
fn each_window_tells_its_own() {
    let mut quota = Quota::default();
    let (workspace, _) = quota.scopes();
    quota.feature("calls", json!({"reset": "monthly"}));
    quota.package("base", json!({"is_base": true}), json!({"calls": 10}));
    quota.assign(&workspace, "base");
    for month in 1..=3 {
        quota.take(&workspace, "calls", 8).unwrap();
        assert_eq!(told(&quota).len(), month);
        quota.pass_days(31);
    }
}

#[test]
fn a_rolling_window_tells_again_after_it_was_below() {
    let mut quota = Quota::default();
    let (workspace, _) = quota.scopes();
    quota.feature("calls", json!({"reset": "rolling", "rolling_days": 2}));
    quota.package("base", json!({"is_base": true}), json!({"calls": 10}));
    quota.assign(&workspace, "base");
    quota.take(&workspace, "calls", 8).unwrap();
    quota.pass_days(2);
    quota.take(&workspace, "calls", 1).unwrap();
    assert_eq!(told(&quota), [(80, 8)]);
    quota.take(&workspace, "calls", 8).unwrap();
    assert_eq!(told(&quota), [(80, 8), (80, 9), (90, 9)]);
}

#[test]
fn what_is_held_reaches_no_threshold_before_it_is_settled() {
    let mut quota = Quota::of_calls(10);
    let (workspace, _) = quota.scopes();
    let hold = quota.hold(&workspace, 10, HOUR_MS).unwrap();
    assert_eq!(told(&quota), []);
    quota.settle(&hold, 8).unwrap();
    assert_eq!(told(&quota), [(80, 8)]);
}

#[test]
fn the_limit_of_a_threshold_counts_consumables() {
    let mut quota = Quota::of_calls(10);
    let (workspace, _) = quota.scopes();
    quota.consumable(&workspace, 10, json!({}));
    quota.take(&workspace, "calls", 15).unwrap();
    assert_eq!(told(&quota), []);
    quota.take(&workspace, "calls", 1).unwrap();
    assert_eq!(told(&quota), [(80, 16)]);
}

#[test]
fn without_a_limit_there_are_no_thresholds() {
    let mut quota = Quota::of_calls(0);
    let (workspace, _) = quota.scopes();
    quota.boost(&workspace, "calls", json!({"kind": "unlimited", "duration": "permanent"}));
    quota.take(&workspace, "calls", 1_000).unwrap();
    assert_eq!(told(&quota), []);
}
