//! When a counter resets: never, monthly from the anchor, or continuously.

use super::{
    ledger::months_after,
    quota::{FULL, Quota, denied},
};
use crate::commands::at;
use ifmatch_types::Timestamp;
use serde_json::{Value, json};

/// A workspace that has 10 calls with this kind of reset since an instant.
fn since(instant: &str, reset: Value) -> Quota {
    let mut quota = Quota::at(instant);
    quota.feature("calls", reset);
    quota.package("base", json!({"is_base": true}), json!({"calls": 10}));
    quota.assign(&quota.workspace.clone(), "base");
    quota
}

fn monthly() -> Value {
    json!({"reset": "monthly"})
}

#[test]
fn without_a_reset_there_is_one_window_for_ever() {
    let mut quota = since("2027-01-31T00:00:00Z", json!({}));
    let (workspace, _) = quota.scopes();
    assert_eq!(quota.take(&workspace, "calls", 10).unwrap().meter.resets_at, None);
    quota.until("2099-01-01T00:00:00Z");
    assert_eq!(denied(quota.take(&workspace, "calls", 1)), FULL);
}

/// The instants at which months begin for a scope with this anchor.
#[test]
fn months_are_counted_from_the_anchor_and_clamped() {
    for (anchor, boundaries) in [
        (
            "2027-01-31T10:00:00Z",
            vec!["2027-02-28T10:00:00Z", "2027-03-31T10:00:00Z", "2027-04-30T10:00:00Z"],
        ),
        ("2028-01-31T00:00:00Z", vec!["2028-02-29T00:00:00Z", "2028-03-31T00:00:00Z"]),
        ("2028-02-29T23:59:59.999999Z", vec!["2028-03-29T23:59:59.999999Z"]),
        ("2027-12-30T00:00:00Z", vec!["2028-01-30T00:00:00Z", "2028-02-29T00:00:00Z"]),
        ("2027-01-15T12:00:00Z", vec!["2027-02-15T12:00:00Z", "2027-03-15T12:00:00Z"]),
    ] {
        let mut quota = since(anchor, monthly());
        let (workspace, one) = quota.scopes();
        for boundary in boundaries {
            assert_eq!(quota.look(&one, "calls").meter.resets_at, Some(at(boundary)), "{anchor}");
            let before = at(boundary).as_micros() - 1;
            quota.book.now = Timestamp::from_micros(before).unwrap();
            quota.take(&workspace, "calls", 10).unwrap();
            assert_eq!(denied(quota.take(&one, "calls", 1)), FULL, "{anchor}: not yet {boundary}");
            quota.until(boundary);
            assert_eq!(quota.calls(&workspace), (0, 0, Some(10), Some(10)), "{boundary}");
        }
    }
}

#[test]
fn months_of_late_anchors_are_right_for_years() {
    for anchor in [
        "2027-01-29T06:30:00Z",
        "2027-01-30T06:30:00Z",
        "2027-01-31T06:30:00Z",
        "2027-10-31T06:30:00Z",
        "2027-08-30T06:30:00Z",
        "2027-03-31T06:30:00Z",
        "2028-02-29T06:30:00Z",
        "2099-12-31T06:30:00Z",
    ] {
        let mut quota = since(anchor, monthly());
        let (workspace, _) = quota.scopes();
        for months in 0..62 {
            let (from, to) =
                (months_after(at(anchor), months), months_after(at(anchor), months + 1));
            assert!(from < to);
            let middle = from.as_micros() / 2 + to.as_micros() / 2;
            for instant in [from.as_micros(), middle, to.as_micros() - 1] {
                quota.book.now = Timestamp::from_micros(instant).unwrap();
                let recorded = quota.take(&workspace, "calls", 3).unwrap();
                assert_eq!(recorded.meter.resets_at, Some(to));
                let counter = &quota.book.world.records[recorded.id.as_str()].counter_id;
                let window = quota.book.world.counters[counter].window_start;
                assert_eq!(window, Some(from), "{anchor} {months}");
            }
            assert_eq!(quota.calls(&workspace), (9, 0, Some(10), Some(1)), "{anchor} {months}");
        }
    }
}

#[test]
fn the_anchor_is_the_first_package_or_boost_for_ever() {
    let mut quota = Quota::at("2027-01-10T00:00:00Z");
    let (workspace, one) = quota.scopes();
    quota.feature("calls", monthly());
    quota.package("base", json!({"is_base": true}), json!({"calls": 10}));
    quota.package("own", json!({}), json!({"calls": 10}));
    quota.boost(&workspace, "calls", json!({"kind": "enable", "duration": "permanent"}));
    quota.until("2027-01-20T00:00:00Z");
    let id = quota.assign(&workspace, "base");
    assert_eq!(quota.book.field(&id, "anchor_at"), "2027-01-10T00:00:00.000000Z");
    quota.book.edit(&id, json!({"status": "cancelled"})).unwrap();
    quota.until("2027-02-05T00:00:00Z");
    let id = quota.assign(&workspace, "base");
    assert_eq!(quota.book.field(&id, "anchor_at"), "2027-01-10T00:00:00.000000Z");
    assert_eq!(quota.look(&workspace, "calls").meter.resets_at, Some(at("2027-02-10T00:00:00Z")));
    let id = quota.assign(&one, "own");
    assert_eq!(
        quota.book.field(&id, "anchor_at"),
        "2027-02-05T00:00:00.000000Z",
        "each has its own"
    );
}

#[test]
fn changing_the_base_package_keeps_the_running_window() {
    for (limit, remaining) in [(20, 13), (7, 0), (5, 0)] {
        let mut quota = since("2027-01-31T00:00:00Z", monthly());
        let (workspace, _) = quota.scopes();
        quota.until("2027-02-10T00:00:00Z");
        quota.take(&workspace, "calls", 7).unwrap();
        quota.until("2027-02-15T00:00:00Z");
        quota.package("other", json!({"is_base": true}), json!({"calls": limit}));
        quota.assign(&workspace, "other");
        assert_eq!(quota.calls(&workspace), (7, 0, Some(limit), Some(remaining)));
        let resets_at = quota.look(&workspace, "calls").meter.resets_at;
        assert_eq!(resets_at, Some(at("2027-02-28T00:00:00Z")));
        if remaining == 0 {
            assert!(!quota.look(&workspace, "calls").allowed);
            assert_eq!(denied(quota.take(&workspace, "calls", 1)), FULL, "used is above the limit");
        }
        quota.until("2027-02-28T00:00:00Z");
        quota.take(&workspace, "calls", limit).unwrap();
    }
}

#[test]
fn after_a_downgrade_room_comes_back_only_below_the_new_limit() {
    let mut quota = since("2027-01-01T00:00:00Z", json!({}));
    let (workspace, _) = quota.scopes();
    let recorded = quota.take(&workspace, "calls", 10).unwrap();
    quota.package("small", json!({"is_base": true}), json!({"calls": 4}));
    quota.assign(&workspace, "small");
    for (quantity, fits) in [(5, false), (1, false), (1, true)] {
        quota.reverse(&recorded, quantity).unwrap();
        assert_eq!(quota.take(&workspace, "calls", 1).is_ok(), fits);
    }
}

/// A rolling window is a number of days of 24 hours. A record of exactly that age is outside.
#[test]
fn a_rolling_window_moves_on_all_the_time() {
    let mut quota = since("2027-03-01T00:00:00Z", json!({"reset": "rolling", "rolling_days": 2}));
    let (workspace, one) = quota.scopes();
    for (instant, quantity) in
        [("2027-03-01T00:00:00Z", 4), ("2027-03-01T12:00:00Z", 3), ("2027-03-02T00:00:00Z", 3)]
    {
        quota.until(instant);
        quota.take(&one, "calls", quantity).unwrap();
    }
    for (instant, used, resets_at) in [
        ("2027-03-02T23:59:59.999999Z", 10, "2027-03-03T00:00:00Z"),
        ("2027-03-03T00:00:00Z", 6, "2027-03-03T12:00:00Z"),
        ("2027-03-03T11:59:59.999999Z", 6, "2027-03-03T12:00:00Z"),
        ("2027-03-03T12:00:00Z", 3, "2027-03-04T00:00:00Z"),
    ] {
        quota.until(instant);
        assert_eq!(quota.calls(&workspace), (used, 0, Some(10), Some(10 - used)), "{instant}");
        assert_eq!(quota.look(&one, "calls").meter.resets_at, Some(at(resets_at)), "{instant}");
        assert_eq!(denied(quota.take(&workspace, "calls", 11 - used)), FULL, "{instant}");
    }
    quota.take(&workspace, "calls", 7).unwrap();
    assert_eq!(denied(quota.take(&workspace, "calls", 1)), FULL);
    quota.until("2027-03-04T00:00:00Z");
    quota.take(&workspace, "calls", 3).unwrap();
    quota.until("2027-06-01T00:00:00Z");
    assert_eq!(quota.calls(&workspace), (0, 0, Some(10), Some(10)));
    assert_eq!(quota.look(&workspace, "calls").meter.resets_at, None);
}

/// `resets_at` is the first instant at which units return.
#[test]
fn what_was_reversed_completely_brings_nothing_back() {
    let mut quota = since("2027-03-01T00:00:00Z", json!({"reset": "rolling", "rolling_days": 2}));
    let (workspace, _) = quota.scopes();
    let first = quota.take(&workspace, "calls", 10).unwrap();
    quota.reverse(&first, 9).unwrap();
    let resets_at = |quota: &Quota| quota.look(&workspace, "calls").meter.resets_at;
    assert_eq!(
        resets_at(&quota),
        Some(at("2027-03-03T00:00:00Z")),
        "one of its units is not reversed"
    );
    quota.reverse(&first, 1).unwrap();
    assert_eq!(resets_at(&quota), None);
    quota.until("2027-03-01T06:00:00Z");
    let second = quota.take(&workspace, "calls", 10).unwrap();
    assert_eq!(second.meter.resets_at, Some(at("2027-03-03T06:00:00Z")));
    assert_eq!(resets_at(&quota), Some(at("2027-03-03T06:00:00Z")));
    let denied = quota.take(&workspace, "calls", 1).unwrap_err();
    let meter = &denied.denial().unwrap().meter;
    assert_eq!(meter.resets_at, Some(at("2027-03-03T06:00:00Z")));
    quota.until("2027-03-03T06:00:00Z");
    assert_eq!((resets_at(&quota), quota.calls(&workspace).0), (None, 0));
}

#[test]
fn cycle_bound_boosts_last_until_the_running_month_ends() {
    let mut quota = since("2027-01-31T00:00:00Z", json!({}));
    let (workspace, one) = quota.scopes();
    quota.until("2027-02-10T00:00:00Z");
    let boost = json!({"kind": "add_limit", "amount": 5, "duration": "cycle_bound"});
    let id = quota.boost(&workspace, "calls", boost.clone());
    assert_eq!(quota.book.field(&id, "expires_at"), "2027-02-28T00:00:00.000000Z");
    let id = quota.boost(&one, "calls", boost);
    assert_eq!(
        quota.book.field(&id, "expires_at"),
        "2027-03-10T00:00:00.000000Z",
        "its first month"
    );
    quota.until("2027-02-27T23:59:59.999999Z");
    assert_eq!(quota.calls(&workspace).2, Some(15));
    quota.until("2027-02-28T00:00:00Z");
    assert_eq!(quota.calls(&workspace).2, Some(10));
}
