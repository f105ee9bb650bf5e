//! Features and packages: validation, and what is frozen once something relies on it.

use super::quota::{Quota, listed, wrong};
use crate::commands::{create, delete};
use ifmatch_domain::{Rejection, entitlement};
use ifmatch_types::Kind;
use serde_json::{Value, json};

/// The fields named in a granted feature's refusal of a change.
fn frozen(quota: &mut Quota, id: &str, wish: Value) -> Vec<&'static str> {
    match quota.book.edit(id, wish).unwrap_err() {
        Rejection::Entitlement(entitlement::Rejection::FeatureInUse { fields }) => fields,
        other => panic!("it is frozen: {other:?}"),
    }
}

#[test]
fn a_feature_is_frozen_by_whatever_relies_on_it() {
    for reason in ["package", "boost", "child"] {
        let mut quota = Quota::default();
        let (workspace, _) = quota.scopes();
        let id = quota.feature("calls", json!({}));
        quota.book.edit(&id, json!({"reset": "rolling", "rolling_days": 3})).unwrap();
        quota.book.edit(&id, json!({"type": "unlimited"})).unwrap();
        quota.book.edit(&id, json!({"type": "limit"})).unwrap();
        let version = quota.book.version(&id);
        match reason {
            "package" => drop(quota.package("p", json!({}), json!({"calls": 1}))),
            "child" => drop(quota.feature("calls.fast", json!({"parent_code": "calls"}))),
            _ => {
                let boost = json!({"kind": "enable", "duration": "permanent"});
                quota.boost(&workspace, "calls", boost);
            }
        }
        assert_eq!(quota.book.version(&id), version, "freezing makes no version");
        quota.feature("other", json!({}));
        for (wish, fields) in [
            (json!({"type": "boolean"}), vec!["type"]),
            // A package may grant a limit of it, which an unlimited feature does not take.
            (json!({"type": "unlimited"}), vec!["type"]),
            (json!({"reset": "none", "rolling_days": null}), vec!["reset", "rolling_days"]),
            (json!({"rolling_days": 4}), vec!["rolling_days"]),
            (json!({"parent_code": "other"}), vec!["parent_code"]),
        ] {
            assert_eq!(frozen(&mut quota, &id, wish), fields, "{reason}");
        }
        let gone = quota.book.refused(delete(Kind::Feature, &id, version));
        assert_eq!(
            gone,
            Rejection::Entitlement(entitlement::Rejection::FeatureInUse { fields: vec![] })
        );
        for wish in
            [json!({"name": "Calls"}), json!({"releasable": true}), json!({"status": "archived"})]
        {
            quota.book.edit(&id, wish).unwrap();
        }
    }
}

#[test]
fn a_child_follows_its_own_fields_until_it_is_granted() {
    let mut quota = Quota::of_calls(10);
    quota.feature("other", json!({"reset": "monthly"}));
    let id = quota.feature("calls.fast", json!({"parent_code": "calls"}));
    // A patch that keeps the parent is also checked against the parent.
    quota.book.edit(&id, json!({"reset": "monthly"})).unwrap();
    let (workspace, _) = quota.scopes();
    quota.take(&workspace, "calls.fast", 4).unwrap();
    quota.book.edit(&id, json!({"parent_code": "other"})).unwrap();
    let boost = json!({"kind": "enable", "duration": "permanent"});
    quota.boost(&workspace, "other", boost);
    assert_eq!(quota.look(&workspace, "calls.fast").meter.limit, Some(0));
    assert_eq!(quota.calls(&workspace), (4, 0, Some(10), Some(6)));
    let version = quota.book.version(&id);
    quota.book.run(delete(Kind::Feature, &id, version)).unwrap();
    quota.feature("calls.fast", json!({}));
}

#[test]
fn wrong_features_are_refused_by_field() {
    let mut quota = Quota::of_calls(10);
    quota.feature("child", json!({"parent_code": "calls"}));
    quota.feature("sso", json!({"type": "boolean"}));
    for (body, fields) in [
        (json!({"type": "limit"}), vec!["/code"]),
        (json!({"code": "x"}), vec!["/type"]),
        (json!({"code": "", "type": "limit"}), vec!["/code"]),
        (json!({"code": "a b", "type": "limit"}), vec!["/code"]),
        (json!({"code": "x".repeat(101), "type": "limit"}), vec!["/code"]),
        (json!({"code": "x", "type": "other"}), vec!["/type"]),
        (json!({"code": "x", "type": "limit", "reset": "daily"}), vec!["/reset"]),
        (json!({"code": "x", "type": "limit", "reset": "rolling"}), vec!["/rolling_days"]),
        (json!({"code": "x", "type": "limit", "rolling_days": 1}), vec!["/rolling_days"]),
        (
            json!({"code": "x", "type": "limit", "reset": "rolling", "rolling_days": 367}),
            vec!["/rolling_days"],
        ),
        (
            json!({"code": "x", "type": "limit", "reset": "rolling", "rolling_days": 0}),
            vec!["/rolling_days"],
        ),
        (json!({"code": "x", "type": "limit", "parent_code": "nothing"}), vec!["/parent_code"]),
        (json!({"code": "x", "type": "limit", "parent_code": "child"}), vec!["/parent_code"]),
        (json!({"code": "x", "type": "limit", "parent_code": "sso"}), vec!["/parent_code"]),
        (json!({"code": "x", "type": "limit", "parent_code": "x"}), vec!["/parent_code"]),
        (json!({"code": "x", "type": "boolean", "parent_code": "calls"}), vec!["/parent_code"]),
    ] {
        let context = body.to_string();
        assert_eq!(wrong(quota.book.run(create(Kind::Feature, body))), fields, "{context}");
    }
}

#[test]
fn wrong_packages_are_refused_by_field() {
    let mut quota = Quota::of_calls(10);
    quota.feature("sso", json!({"type": "boolean"}));
    quota.feature("exports", json!({"type": "unlimited"}));
    let old = quota.feature("old", json!({"status": "archived"}));
    let grant =
        |grant: &str, limit: Value| json!([{"feature": "calls", "grant": grant, "limit": limit}]);
    for (grants, fields) in [
        (listed(json!({"nothing": 1})), vec!["/grants/0/feature"]),
        (
            listed(json!({"calls": 1, "nothing": 1, "nor this": 2})),
            vec!["/grants/1/feature", "/grants/2/feature"],
        ),
        (listed(json!({"calls": -1})), vec!["/grants/0/limit"]),
        (listed(json!({"calls": i64::MAX})), vec!["/grants/0/limit"]),
        (listed(json!({"sso": 1})), vec!["/grants/0/grant"]),
        (listed(json!({"sso": "unlimited"})), vec!["/grants/0/grant"]),
        (listed(json!({"calls": 1, "exports": 1})), vec!["/grants/1/grant"]),
        (listed(json!({"old": 1})), vec!["/grants/0/feature"]),
        (grant("limit", Value::Null), vec!["/grants/0/limit"]),
        (grant("limit", json!(1.5)), vec!["/grants/0/limit"]),
        (grant("enabled", json!(1)), vec!["/grants/0/limit"]),
        (grant("free", Value::Null), vec!["/grants/0/grant"]),
        (
            json!([{"feature": "calls", "grant": "enabled"}, {"feature": "calls", "grant": "enabled"}]),
            vec!["/grants/1/feature"],
        ),
    ] {
        let body = json!({"code": "x", "grants": grants});
        let context = body.to_string();
        assert_eq!(wrong(quota.book.run(create(Kind::Package, body))), fields, "{context}");
    }
    assert!(!quota.book.world.features[&old].record.granted, "a refused package freezes nothing");
}

#[test]
fn a_change_of_a_package_counts_at_once_for_everybody_who_has_it() {
    let mut quota = Quota::of_calls(10);
    let (workspace, one) = quota.scopes();
    let id = quota.book.world.packages.keys().next().unwrap().clone();
    quota.take(&workspace, "calls", 6).unwrap();
    quota.book.edit(&id, json!({"grants": listed(json!({"calls": 5}))})).unwrap();
    assert_eq!(quota.calls(&one), (6, 0, Some(5), Some(0)));
    quota.book.edit(&id, json!({"grants": []})).unwrap();
    assert!(!quota.look(&one, "calls").allowed);
    let refused = quota.book.refused(delete(Kind::Package, &id, 3));
    assert_eq!(refused, Rejection::Entitlement(entitlement::Rejection::PackageInUse));
    let assignment = quota.book.world.assignments.keys().next().unwrap().clone();
    quota.book.edit(&assignment, json!({"status": "cancelled"})).unwrap();
    assert_eq!(
        quota.book.refused(delete(Kind::Package, &id, 3)),
        Rejection::Entitlement(entitlement::Rejection::PackageInUse)
    );
    let unused = quota.package("unused", json!({}), json!({"calls": 1}));
    quota.book.run(delete(Kind::Package, &unused, 1)).unwrap();
    quota.package("unused", json!({}), json!({}));
}

#[test]
fn an_add_on_is_unique_within_its_source_for_ever_and_at_both_scopes() {
    let mut quota = Quota::of_calls(10);
    let (workspace, one) = quota.scopes();
    let boost = |amount: i64, source: Value| {
        json!({"kind": "add_limit", "amount": amount, "duration": "fixed", "source": source,
            "expires_at": "2027-01-10T00:00:00Z", "external_addon_id": "a"})
    };
    let first = quota.try_boost(&workspace, "calls", boost(1, json!("shop"))).unwrap();
    assert!(first.effective && !first.duplicate);
    let other = quota.try_boost(&one, "calls", boost(2, Value::Null)).unwrap();
    assert!(!other.duplicate, "another source is another add-on");
    for is_over in [false, true] {
        let before = quota.book.world.clone();
        let again = quota.try_boost(&workspace, "calls", boost(1, json!("shop"))).unwrap();
        assert!(again.duplicate && again.boost.id == first.boost.id);
        assert_eq!(again.effective, !is_over);
        assert_eq!(quota.book.world, before);
        for (scope, amount, differing) in [
            (&one, 1, vec!["/scope"]),
            (&workspace, 2, vec!["/amount"]),
            (&one, 3, vec!["/amount", "/scope"]),
        ] {
            let refused =
                quota.try_boost(scope, "calls", boost(amount, json!("shop"))).unwrap_err();
            let expected = Rejection::Entitlement(entitlement::Rejection::DuplicateAddon {
                existing_id: first.boost.id.to_string(),
                differing_fields: differing.into_iter().map(str::to_owned).collect(),
            });
            assert_eq!(refused, expected);
        }
        quota.until("2027-02-10T00:00:00Z");
        quota.sweep(&workspace);
    }
    assert_eq!(quota.calls(&workspace).2, Some(10), "it is over");
}

#[test]
fn wrong_boosts_are_refused_by_field() {
    let mut quota = Quota::of_calls(10);
    let (workspace, _) = quota.scopes();
    quota.feature("sso", json!({"type": "boolean"}));
    quota.feature("old", json!({"status": "archived"}));
    let add = |duration: &str, amount: Value| json!({"kind": "add_limit", "amount": amount, "duration": duration});
    let on = json!({"kind": "enable", "duration": "permanent"});
    let with = |changed: Value| crate::book::with(add("consumable", json!(1)), changed);
    for (feature, body, fields) in [
        ("nothing", on.clone(), vec!["/feature"]),
        ("old", on.clone(), vec!["/feature"]),
        ("sso", add("permanent", json!(1)), vec!["/kind"]),
        ("sso", json!({"kind": "unlimited", "duration": "permanent"}), vec!["/kind"]),
        ("calls", add("permanent", json!(0)), vec!["/amount"]),
        ("calls", add("permanent", json!(-1)), vec!["/amount"]),
        ("calls", add("permanent", json!(1_000_000_000_000_001i64)), vec!["/amount"]),
        ("calls", add("permanent", json!(1.5)), vec!["/amount"]),
        ("calls", add("permanent", Value::Null), vec!["/amount"]),
        ("calls", json!({"kind": "enable", "amount": 1, "duration": "permanent"}), vec!["/amount"]),
        ("calls", json!({"kind": "enable", "duration": "consumable"}), vec!["/duration"]),
        ("calls", add("fixed", json!(1)), vec!["/expires_at"]),
        (
            "calls",
            with(json!({"duration": "permanent", "expires_at": "2028-01-01T00:00:00Z"})),
            vec!["/expires_at"],
        ),
        (
            "calls",
            with(json!({"duration": "cycle_bound", "expires_at": "2028-01-01T00:00:00Z"})),
            vec!["/expires_at"],
        ),
        ("calls", with(json!({"expires_at": "2027-01-01T00:00:00Z"})), vec!["/expires_at"]),
        ("calls", with(json!({"priority": -1})), vec!["/priority"]),
        ("calls", with(json!({"priority": 1_001})), vec!["/priority"]),
        ("calls", with(json!({"source": ""})), vec!["/source"]),
        ("calls", with(json!({"external_addon_id": "x".repeat(201)})), vec!["/external_addon_id"]),
        ("calls", json!({"kind": "free", "duration": "permanent"}), vec!["/kind"]),
        ("calls", json!({"kind": "enable", "duration": "long"}), vec!["/duration"]),
        ("calls", with(json!({"consumed": 1})), vec!["/consumed"]),
    ] {
        let context = format!("{feature} {body}");
        assert_eq!(wrong(quota.try_boost(&workspace, feature, body)), fields, "{context}");
    }
}
