//! Taking units burns at most as many, and giving them back undoes it, whatever the limit did since.

use super::quota::{FULL, HOUR_MS, Quota, denied};
use ifmatch_domain::entitlement::ScopeRef;
use serde_json::{Value, json};

/// The limits that leave 30 used units where only 10 are covered.
const LOWERED: [&str; 4] =
    ["another base package", "an expired boost", "an hour of unlimited", "a suspended add-on"];

/// What is done with one unit and undone.
const UNDONE: [&str; 4] = ["released", "expired", "swept", "reversed"];

/// A workspace that used 30 of `calls` in a way after which its limit is 10.
fn lowered(by: &str, feature: Value) -> (Quota, ScopeRef) {
    let mut quota = Quota::default();
    let (workspace, _) = quota.scopes();
    quota.feature("calls", feature);
    quota.package("ten", json!({"is_base": true}), json!({"calls": 10}));
    quota.package("hundred", json!({"is_base": true}), json!({"calls": 100}));
    quota.package("more", json!({}), json!({"calls": 90}));
    let soon = json!("2027-01-01T01:00:00Z");
    quota.assign(&workspace, if by == LOWERED[0] { "hundred" } else { "ten" });
    let mut addon = None;
    if by == LOWERED[1] {
        let fixed =
            json!({"kind": "add_limit", "amount": 90, "duration": "fixed", "expires_at": soon});
        quota.boost(&workspace, "calls", fixed);
    } else if by == LOWERED[2] {
        let hour = json!({"kind": "unlimited", "duration": "fixed", "expires_at": soon});
        quota.boost(&workspace, "calls", hour);
    } else if by == LOWERED[3] {
        addon = Some(quota.assign(&workspace, "more"));
    }
    quota.take(&workspace, "calls", 30).unwrap();
    quota.until("2027-01-01T01:00:00Z");
    match addon {
        Some(addon) => drop(quota.book.edit(&addon, json!({"status": "suspended"})).unwrap()),
        None if by == LOWERED[0] => drop(quota.assign(&workspace, "ten")),
        None => {}
    }
    assert_eq!(quota.calls(&workspace), (30, 0, Some(10), Some(0)), "{by}");
    (quota, workspace)
}

#[test]
fn a_unit_burns_one_and_gives_it_back_after_the_limit_was_lowered() {
    for by in LOWERED {
        for undone in UNDONE {
            let context = format!("{by}, {undone}");
            let (mut quota, workspace) = lowered(by, json!({"reset": "monthly"}));
            assert_eq!(denied(quota.take(&workspace, "calls", 1)), FULL, "{context}");
            let boost = quota.consumable(&workspace, 50, json!({}));
            assert_eq!(quota.calls(&workspace), (30, 0, Some(60), Some(30)), "{context}");
            if undone == "reversed" {
                let recorded = quota.take(&workspace, "calls", 1).unwrap();
                let meter = &recorded.meter;
                assert_eq!((meter.limit, meter.remaining), (Some(60), Some(29)), "{context}");
                assert_eq!(quota.burnt(&boost), 1, "{context}");
                quota.reverse(&recorded, 1).unwrap();
            } else {
                let hold = quota.hold(&workspace, 1, HOUR_MS).unwrap();
                assert_eq!(quota.burnt(&boost), 1, "{context}");
                assert_eq!(quota.calls(&workspace), (30, 1, Some(60), Some(29)), "{context}");
                match undone {
                    "released" => drop(quota.release(&hold).unwrap()),
                    _ => quota.pass_ms(HOUR_MS),
                }
                match undone {
                    "swept" => quota.sweep(&workspace),
                    // The next command gives back what the hold burnt, and burns its own.
                    "expired" => {
                        let recorded = quota.take(&workspace, "calls", 2).unwrap();
                        assert_eq!(quota.burnt(&boost), 2, "{context}");
                        quota.reverse(&recorded, 2).unwrap();
                    }
                    _ => {}
                }
            }
            assert_eq!(quota.burnt(&boost), 0, "{context}");
            assert_eq!(quota.calls(&workspace), (30, 0, Some(60), Some(30)), "{context}");
            quota.until("2027-02-01T00:00:00Z");
            assert_eq!(quota.calls(&workspace), (0, 0, Some(60), Some(60)), "{context}");
        }
    }
}

#[test]
fn a_record_of_a_rolling_window_burns_its_own_units_and_gives_those_back() {
    for by in LOWERED {
        for undone in UNDONE {
            let context = format!("{by}, {undone}");
            let rolling = json!({"reset": "rolling", "rolling_days": 7});
            let (mut quota, workspace) = lowered(by, rolling);
            let boost = quota.consumable(&workspace, 50, json!({}));
            let recorded = quota.take(&workspace, "calls", 2).unwrap();
            let hold = quota.hold(&workspace, 1, HOUR_MS).unwrap();
            assert_eq!(quota.burnt(&boost), 3, "{context}");
            assert_eq!(quota.calls(&workspace), (32, 1, Some(60), Some(27)), "{context}");
            match undone {
                "released" => drop(quota.release(&hold).unwrap()),
                "reversed" => {
                    let settled = quota.settle(&hold, 3).unwrap();
                    assert_eq!(quota.burnt(&boost), 5, "{context}");
                    let record_id = settled.hold.record_id.unwrap();
                    let settled = ifmatch_types::Recorded { id: record_id, ..recorded.clone() };
                    quota.reverse(&settled, 3).unwrap();
                }
                _ => quota.pass_ms(HOUR_MS),
            }
            quota.sweep(&workspace);
            assert_eq!(quota.burnt(&boost), 2, "{context}");
            // The 30 leave the window. The 2 stay in it with what they burnt.
            quota.until("2027-01-08T00:00:00Z");
            assert_eq!(quota.calls(&workspace), (2, 0, Some(60), Some(58)), "{context}");
            quota.until("2027-01-08T01:00:00Z");
            assert_eq!(quota.calls(&workspace), (0, 0, Some(58), Some(58)), "{context}");
            // Outside the window there is no room to give back, but a boost to make whole.
            quota.reverse(&recorded, 2).unwrap();
            assert_eq!(quota.burnt(&boost), 0, "{context}");
            assert_eq!(quota.calls(&workspace), (0, 0, Some(60), Some(60)), "{context}");
        }
    }
}

/// A boost that is granted later and burns earlier is the last one burnt.
#[test]
fn the_last_burnt_unit_is_the_first_to_be_whole_again_whatever_the_priorities() {
    for feature in [json!({}), json!({"reset": "rolling", "rolling_days": 7})] {
        let mut quota = Quota::default();
        let (workspace, _) = quota.scopes();
        quota.feature("calls", feature);
        quota.package("base", json!({"is_base": true}), json!({"calls": 0}));
        quota.assign(&workspace, "base");
        let late = quota.consumable(&workspace, 5, json!({"priority": 200}));
        quota.take(&workspace, "calls", 2).unwrap();
        let early = quota.consumable(&workspace, 5, json!({"priority": 1}));
        let hold = quota.hold(&workspace, 3, HOUR_MS).unwrap();
        assert_eq!((quota.burnt(&late), quota.burnt(&early)), (2, 3));
        quota.release(&hold).unwrap();
        assert_eq!((quota.burnt(&late), quota.burnt(&early)), (2, 0));
    }
}

#[test]
fn what_the_limit_covers_again_is_not_burnt_any_longer() {
    let mut quota = Quota::of_calls(10);
    let (workspace, _) = quota.scopes();
    let boost = quota.consumable(&workspace, 50, json!({}));
    let recorded = quota.take(&workspace, "calls", 15).unwrap();
    assert_eq!(quota.burnt(&boost), 5);
    quota.package("hundred", json!({"is_base": true}), json!({"calls": 100}));
    quota.assign(&workspace, "hundred");
    quota.reverse(&recorded, 3).unwrap();
    assert_eq!(quota.burnt(&boost), 2, "as many as were given back");
    let hold = quota.hold(&workspace, 4, HOUR_MS).unwrap();
    assert_eq!(quota.burnt(&boost), 2, "the new limit covers it");
    quota.release(&hold).unwrap();
    assert_eq!(quota.burnt(&boost), 0);
}

/// A boost that was used up long ago is not loaded with what its scope has.
#[test]
fn a_boost_that_was_used_up_long_ago_is_made_whole_again() {
    for feature in [
        json!({}),
        json!({"reset": "monthly"}),
        json!({"reset": "rolling", "rolling_days": 366}),
        json!({"reset": "rolling", "rolling_days": 1}),
    ] {
        let mut quota = Quota::default();
        let (workspace, _) = quota.scopes();
        quota.feature("calls", feature.clone());
        quota.package("base", json!({"is_base": true}), json!({"calls": 0}));
        quota.assign(&workspace, "base");
        let boost = quota.consumable(&workspace, 5, json!({}));
        let recorded = quota.take(&workspace, "calls", 5).unwrap();
        quota.pass_days(70);
        quota.sweep(&workspace);
        assert!(quota.book.world.boosts[&boost].record.is_over, "{feature}");
        quota.reverse(&recorded, 4).unwrap();
        assert_eq!(quota.burnt(&boost), 1, "{feature}");
        quota.take(&workspace, "calls", 4).unwrap();
        assert_eq!(quota.burnt(&boost), 5, "{feature}");
        assert_eq!(denied(quota.take(&workspace, "calls", 1)), FULL, "{feature}");
    }
}

#[test]
fn a_revoked_boost_counts_no_more_and_what_it_burnt_stays_burnt() {
    for feature in [json!({"reset": "monthly"}), json!({"reset": "rolling", "rolling_days": 20})] {
        let mut quota = Quota::default();
        let (workspace, _) = quota.scopes();
        quota.feature("calls", feature.clone());
        quota.package("base", json!({"is_base": true}), json!({"calls": 10}));
        quota.assign(&workspace, "base");
        let boost = quota.consumable(&workspace, 8, json!({}));
        let recorded = quota.take(&workspace, "calls", 13).unwrap();
        quota.revoke(&boost).unwrap();
        assert_eq!(quota.burnt(&boost), 3, "{feature}");
        assert_eq!(quota.calls(&workspace), (13, 0, Some(13), Some(0)), "{feature}");
        assert_eq!(denied(quota.take(&workspace, "calls", 1)), FULL, "{feature}");
        quota.reverse(&recorded, 4).unwrap();
        assert_eq!(quota.burnt(&boost), 3, "{feature}");
        assert_eq!(quota.calls(&workspace), (9, 0, Some(13), Some(4)), "{feature}");
        quota.until("2027-02-01T00:00:00Z");
        assert_eq!(quota.calls(&workspace), (0, 0, Some(10), Some(10)), "{feature}");
    }
}

#[test]
fn any_boost_can_be_revoked_once() {
    let mut quota = Quota::of_calls(10);
    let (workspace, _) = quota.scopes();
    for (body, limit) in [
        (json!({"kind": "add_limit", "amount": 5, "duration": "permanent"}), Some(15)),
        (json!({"kind": "add_limit", "amount": 5, "duration": "cycle_bound"}), Some(15)),
        (json!({"kind": "unlimited", "duration": "permanent"}), None),
    ] {
        let boost = quota.boost(&workspace, "calls", body);
        assert_eq!(quota.look(&workspace, "calls").meter.limit, limit);
        quota.revoke(&boost).unwrap();
        assert_eq!(quota.look(&workspace, "calls").meter.limit, Some(10));
        assert!(quota.revoke(&boost).is_err());
        quota.sweep(&workspace);
        let log = quota.book.world.log.iter().filter(|l| l.entry.log_type == "boost.revoked");
        assert_eq!(log.filter(|line| line.entry.details["boost_id"] == boost.as_str()).count(), 1);
    }
}

#[test]
fn an_addon_that_is_delivered_after_its_boost_was_revoked_gets_that_boost() {
    let mut quota = Quota::of_calls(10);
    let (workspace, _) = quota.scopes();
    let addon = json!({
        "kind": "add_limit", "amount": 5, "duration": "permanent", "source": "shop",
        "external_addon_id": "a1",
    });
    let boost = quota.boost(&workspace, "calls", addon.clone());
    quota.revoke(&boost).unwrap();
    let again = quota.try_boost(&workspace, "calls", addon).unwrap();
    assert_eq!((again.boost.id.as_str(), again.duplicate), (boost.as_str(), true));
    assert!(!again.effective);
    assert_eq!(quota.calls(&workspace), (0, 0, Some(10), Some(10)), "it stays revoked");
}
