//! Consumable boosts: burnt after other units, in order, once, and returned.

use super::quota::{FULL, HOUR_MS, Quota, denied};
use serde_json::json;

/// The burnt units of each boost.
fn burnt(quota: &Quota, boosts: &[String]) -> Vec<i64> {
    boosts.iter().map(|boost| quota.burnt(boost)).collect()
}

#[test]
fn consumables_are_burnt_when_all_else_is_used_up() {
    let mut quota = Quota::of_calls(10);
    let (workspace, _) = quota.scopes();
    let boost = quota.consumable(&workspace, 5, json!({}));
    quota.boost(
        &workspace,
        "calls",
        json!({"kind": "add_limit", "amount": 2, "duration": "permanent"}),
    );
    for (quantity, expected) in [(12, 0), (1, 1), (3, 4)] {
        quota.take(&workspace, "calls", quantity).unwrap();
        assert_eq!(quota.burnt(&boost), expected);
        assert_eq!(
            quota.look(&workspace, "calls").meter.limit,
            Some(17),
            "burnt units still count"
        );
    }
    assert_eq!(denied(quota.take(&workspace, "calls", 2)), FULL);
    quota.take(&workspace, "calls", 1).unwrap();
    assert_eq!((quota.burnt(&boost), quota.calls(&workspace)), (5, (17, 0, Some(17), Some(0))));
    assert_eq!(quota.book.version(&boost), 4, "each burn is a version");
}

/// Order: priority, then the earliest expiry, then age. No expiry counts as the latest.
#[test]
fn consumables_burn_by_priority_then_expiry_then_age() {
    let mut quota = Quota::of_calls(0);
    let (workspace, _) = quota.scopes();
    let soon = json!("2027-02-01T00:00:00Z");
    let bodies = [
        (json!({"priority": 200, "expires_at": soon}), 6),
        (json!({}), 4),
        (json!({"expires_at": "2027-03-01T00:00:00Z"}), 3),
        (json!({"expires_at": soon}), 1),
        (json!({"expires_at": soon}), 2),
        (json!({"priority": 99}), 0),
        (json!({}), 5),
    ];
    let mut ordered = vec![String::new(); bodies.len()];
    for (body, place) in bodies {
        quota.pass_ms(1);
        ordered[place] = quota.consumable(&workspace, 2, body);
    }
    for taken in 1..=14 {
        quota.take(&workspace, "calls", 1).unwrap();
        let expected: Vec<i64> = (0..7).map(|n| (taken - 2 * n).clamp(0, 2)).collect();
        assert_eq!(burnt(&quota, &ordered), expected);
    }
    assert_eq!(denied(quota.take(&workspace, "calls", 1)), FULL);
}

#[test]
fn what_is_given_back_makes_the_last_burnt_whole_again_first() {
    let mut quota = Quota::of_calls(10);
    let (workspace, _) = quota.scopes();
    let boosts = [3, 3].map(|amount| quota.consumable(&workspace, amount, json!({})));
    let recorded = quota.take(&workspace, "calls", 15).unwrap();
    assert_eq!(burnt(&quota, &boosts), [3, 2]);
    for (quantity, expected) in [(1, [3, 1]), (2, [2, 0]), (2, [0, 0]), (4, [0, 0])] {
        quota.reverse(&recorded, quantity).unwrap();
        assert_eq!(burnt(&quota, &boosts), expected);
    }
    assert_eq!(quota.calls(&workspace), (6, 0, Some(16), Some(10)));
}

#[test]
fn a_hold_burns_and_gives_back_however_it_ends() {
    for ending in ["settled less", "settled", "settled more", "released", "expired", "swept"] {
        let mut quota = Quota::of_calls(10);
        let (workspace, _) = quota.scopes();
        let boost = quota.consumable(&workspace, 5, json!({}));
        quota.take(&workspace, "calls", 8).unwrap();
        let hold = quota.hold(&workspace, 5, HOUR_MS).unwrap();
        assert_eq!(quota.burnt(&boost), 3, "held units are taken");
        assert_eq!(quota.calls(&workspace), (8, 5, Some(15), Some(2)));
        let expected = match ending {
            "settled less" => {
                quota.settle(&hold, 3).map(|_| (1, (11, 0, Some(15), Some(4)))).unwrap()
            }
            "settled" => quota.settle(&hold, 5).map(|_| (3, (13, 0, Some(15), Some(2)))).unwrap(),
            "settled more" => {
                quota.settle(&hold, 7).map(|_| (5, (15, 0, Some(15), Some(0)))).unwrap()
            }
            "released" => quota.release(&hold).map(|_| (0, (8, 0, Some(15), Some(7)))).unwrap(),
            ending => {
                quota.pass_ms(HOUR_MS);
                if ending == "swept" {
                    quota.sweep(&workspace);
                }
                quota.take(&workspace, "calls", 4).unwrap();
                (2, (12, 0, Some(15), Some(3)))
            }
        };
        assert_eq!((quota.burnt(&boost), quota.calls(&workspace)), expected, "{ending}");
    }
}

#[test]
fn units_that_were_burnt_in_one_month_are_gone_in_the_next() {
    let mut quota = Quota::default();
    let (workspace, _) = quota.scopes();
    quota.feature("calls", json!({"reset": "monthly"}));
    quota.package("base", json!({"is_base": true}), json!({"calls": 10}));
    quota.assign(&workspace, "base");
    let boost = quota.consumable(&workspace, 5, json!({}));
    let recorded = quota.take(&workspace, "calls", 13).unwrap();
    quota.until("2027-02-01T00:00:00Z");
    assert_eq!(quota.calls(&workspace), (0, 0, Some(12), Some(12)));
    quota.take(&workspace, "calls", 11).unwrap();
    assert_eq!(quota.burnt(&boost), 4);
    // Units that last month burnt are returned to the boost, whatever this month does.
    quota.reverse(&recorded, 13).unwrap();
    assert_eq!(quota.burnt(&boost), 1);
    assert_eq!(quota.calls(&workspace), (11, 0, Some(15), Some(4)));
}

#[test]
fn units_that_were_burnt_leave_a_rolling_window_with_what_they_were_burnt_for() {
    let mut quota = Quota::default();
    let (workspace, _) = quota.scopes();
    quota.feature("calls", json!({"reset": "rolling", "rolling_days": 7}));
    quota.package("base", json!({"is_base": true}), json!({"calls": 10}));
    quota.assign(&workspace, "base");
    let boost = quota.consumable(&workspace, 5, json!({}));
    quota.take(&workspace, "calls", 9).unwrap();
    quota.pass_days(1);
    quota.take(&workspace, "calls", 6).unwrap();
    assert_eq!((quota.burnt(&boost), quota.calls(&workspace)), (5, (15, 0, Some(15), Some(0))));
    quota.pass_days(6);
    assert_eq!(quota.calls(&workspace), (6, 0, Some(15), Some(9)), "5 of the 6 were burnt");
    quota.take(&workspace, "calls", 9).unwrap();
    assert_eq!(denied(quota.take(&workspace, "calls", 1)), FULL);
    quota.pass_days(1);
    assert_eq!(quota.calls(&workspace), (9, 0, Some(10), Some(1)), "what was burnt left with them");
    quota.pass_days(6);
    assert_eq!(quota.calls(&workspace), (0, 0, Some(10), Some(10)));
    assert_eq!(denied(quota.take(&workspace, "calls", 11)), FULL);
    assert_eq!(quota.burnt(&boost), 5);
}

#[test]
fn a_consumable_that_is_over_gets_nothing_back_swept_or_not() {
    for is_swept in [true, false] {
        let mut quota = Quota::of_calls(10);
        let (workspace, _) = quota.scopes();
        let end = json!({"expires_at": "2027-01-10T00:00:00Z"});
        let boost = quota.consumable(&workspace, 5, end);
        let recorded = quota.take(&workspace, "calls", 13).unwrap();
        quota.until("2027-01-10T00:00:00Z");
        assert_eq!(
            quota.calls(&workspace),
            (13, 0, Some(13), Some(0)),
            "its remaining units are gone"
        );
        if is_swept {
            quota.sweep(&workspace);
        }
        quota.reverse(&recorded, 4).unwrap();
        assert_eq!(quota.burnt(&boost), 3, "swept: {is_swept}");
        assert_eq!(quota.calls(&workspace), (9, 0, Some(13), Some(4)), "swept: {is_swept}");
    }
}

#[test]
fn a_consumable_of_a_namespace_is_burnt_by_that_namespace_only() {
    let mut quota = Quota::of_calls(10);
    let (workspace, one) = quota.scopes();
    quota.package("own", json!({}), json!({"calls": 1}));
    quota.assign(&one, "own");
    let own = quota.consumable(&one, 5, json!({}));
    let shared = quota.consumable(&workspace, 5, json!({}));
    quota.take(&one, "calls", 3).unwrap();
    let two = quota.two.clone();
    quota.take(&two, "calls", 14).unwrap();
    assert_eq!((quota.burnt(&own), quota.burnt(&shared)), (2, 4));
}
