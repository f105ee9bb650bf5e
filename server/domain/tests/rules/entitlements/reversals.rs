//! Reversals: never more than was recorded, and on the counter that was charged.

use super::quota::{FULL, HOUR_MS, Quota, denied, wrong};
use crate::commands::{at, members};
use ifmatch_domain::{
    Action, Rejection, core,
    entitlement::{self, ReverseUsage},
};
use serde_json::json;

#[test]
fn reversals_never_exceed_the_record() {
    let mut quota = Quota::of_calls(10);
    let (workspace, one) = quota.scopes();
    let recorded = quota.take(&one, "calls", 8).unwrap();
    quota.take(&workspace, "calls", 2).unwrap();
    for (quantity, expected) in
        [(9, Err(8)), (3, Ok(3)), (6, Err(5)), (1_000_000_000_000, Err(5)), (5, Ok(8)), (1, Err(0))]
    {
        match (quota.reverse(&recorded, quantity), expected) {
            (Ok(reversed), Ok(so_far)) => {
                assert_eq!((reversed.quantity, reversed.reversed), (8, so_far));
                assert_eq!(reversed.meter.used, 10 - so_far);
            }
            (Err(rejection), Err(left)) => {
                let expected =
                    Rejection::Entitlement(entitlement::Rejection::ReversalExceedsRecord {
                        requested: quantity,
                        left,
                    });
                assert_eq!(rejection, expected);
            }
            other => panic!("{quantity}: {other:?}"),
        }
    }
    assert_eq!(quota.calls(&workspace), (2, 0, Some(10), Some(8)));
    assert_eq!(denied(quota.take(&one, "calls", 9)), FULL);
    quota.take(&one, "calls", 8).unwrap();
}

#[test]
fn what_is_given_back_of_a_past_month_is_no_room_in_this_one() {
    let mut quota = Quota::default();
    let (workspace, _) = quota.scopes();
    quota.feature("calls", json!({"reset": "monthly"}));
    quota.package("base", json!({"is_base": true}), json!({"calls": 10}));
    quota.assign(&workspace, "base");
    let recorded = quota.take(&workspace, "calls", 10).unwrap();
    quota.until("2027-02-01T00:00:00Z");
    quota.take(&workspace, "calls", 10).unwrap();
    let reversed = quota.reverse(&recorded, 6).unwrap();
    assert_eq!((reversed.meter.used, reversed.meter.remaining), (4, Some(6)));
    assert_eq!(quota.calls(&workspace), (10, 0, Some(10), Some(0)));
    assert!(matches!(
        quota.reverse(&recorded, 5).unwrap_err(),
        Rejection::Entitlement(entitlement::Rejection::ReversalExceedsRecord { left: 4, .. })
    ));
}

#[test]
fn what_has_left_a_rolling_window_makes_no_room_when_it_is_reversed() {
    let mut quota = Quota::default();
    let (workspace, _) = quota.scopes();
    quota.feature("calls", json!({"reset": "rolling", "rolling_days": 7}));
    quota.package("base", json!({"is_base": true}), json!({"calls": 10}));
    quota.assign(&workspace, "base");
    let first = quota.take(&workspace, "calls", 6).unwrap();
    quota.pass_days(3);
    let second = quota.take(&workspace, "calls", 4).unwrap();
    quota.reverse(&first, 1).unwrap();
    assert_eq!(quota.calls(&workspace), (9, 0, Some(10), Some(1)));
    quota.pass_days(4);
    // The first record has left the window. The counter may or may not have been read since.
    let reversed = quota.reverse(&first, 5).unwrap();
    assert_eq!((reversed.reversed, reversed.meter.used), (6, 4));
    assert_eq!(quota.calls(&workspace), (4, 0, Some(10), Some(6)));
    assert!(quota.reverse(&first, 1).is_err());
    quota.reverse(&second, 4).unwrap();
    assert_eq!(quota.calls(&workspace), (0, 0, Some(10), Some(10)));
    quota.pass_days(3);
    assert_eq!(quota.calls(&workspace), (0, 0, Some(10), Some(10)), "it leaves the window once");
}

/// Seats come back; calls do not. A feature may become one or the other at any time.
#[test]
fn usage_of_a_feature_that_is_not_releasable_cannot_be_given_back() {
    let mut quota = Quota::of_calls(10);
    let (workspace, _) = quota.scopes();
    let child = json!({"parent_code": "calls", "releasable": false});
    let child = quota.feature("calls.fast", child);
    let recorded = quota.take(&workspace, "calls.fast", 4).unwrap();
    let hold = quota
        .try_hold(&workspace, json!({"feature": "calls.fast", "quantity": 2, "ttl_ms": 1_000}))
        .unwrap();
    quota.release(&hold).unwrap();
    for quantity in [1, 5] {
        assert_eq!(
            quota.reverse(&recorded, quantity).unwrap_err(),
            Rejection::Entitlement(entitlement::Rejection::FeatureNotReleasable {
                feature: "calls.fast".to_owned()
            })
        );
    }
    assert_eq!(wrong(quota.reverse(&recorded, 0)), ["/quantity"], "fields come first");
    assert_eq!(quota.calls(&workspace), (4, 0, Some(10), Some(6)));
    quota.book.edit(&child, json!({"releasable": true})).unwrap();
    quota.reverse(&recorded, 1).unwrap();
    assert_eq!(quota.calls(&workspace), (3, 0, Some(10), Some(7)));
}

#[test]
fn a_window_that_has_ended_does_not_say_when_it_resets() {
    let mut quota = Quota::default();
    let (workspace, _) = quota.scopes();
    quota.feature("calls", json!({"reset": "monthly"}));
    quota.package("base", json!({"is_base": true}), json!({"calls": 10}));
    quota.assign(&workspace, "base");
    let recorded = quota.take(&workspace, "calls", 4).unwrap();
    let hold = quota.hold(&workspace, 2, 24 * HOUR_MS).unwrap();
    let end = Some(at("2027-02-01T00:00:00Z"));
    assert_eq!(quota.reverse(&recorded, 1).unwrap().meter.resets_at, end);
    quota.until("2027-01-31T23:59:59Z");
    let late = quota.hold(&workspace, 2, 24 * HOUR_MS).unwrap();
    assert_eq!(late.meter.resets_at, end);
    assert!(quota.settle(&hold, 1).is_err());
    quota.until("2027-02-01T00:00:00Z");
    assert_eq!(quota.reverse(&recorded, 1).unwrap().meter.resets_at, None);
    assert_eq!(denied(quota.settle(&late, 20)), FULL);
    assert_eq!(quota.settle(&late, 1).unwrap().meter.resets_at, None);
}

#[test]
fn a_record_is_found_by_its_own_scope_only() {
    let mut quota = Quota::of_calls(10);
    let (workspace, one) = quota.scopes();
    let recorded = quota.take(&one, "calls", 4).unwrap();
    for (scope, id) in [(workspace, recorded.id.as_str()), (one, "usg_nothing")] {
        let body = members(json!({"quantity": 0}));
        let record_id = id.to_owned();
        let action = Action::Entitlement(entitlement::Action::ReverseUsage(ReverseUsage {
            scope,
            record_id,
            body,
        }));
        let what = "usage record";
        assert_eq!(
            quota.book.refused(action),
            Rejection::Core(core::Rejection::NotFound { what, id: id.to_owned() })
        );
    }
    for quantity in [0, -1, i64::MIN, i64::MAX] {
        assert_eq!(wrong(quota.reverse(&recorded, quantity)), ["/quantity"]);
    }
}
