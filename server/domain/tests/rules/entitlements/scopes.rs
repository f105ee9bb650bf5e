//! Which counter is charged: the namespace's own or its workspace's.

use super::quota::{FULL, HOUR_MS, NOT_INCLUDED, Quota, denied, object_id};
use crate::commands::delete;
use ifmatch_domain::{Rejection, core, entitlement::ScopeRef};
use ifmatch_types::Kind;
use serde_json::json;

#[test]
fn namespaces_without_a_grant_share_the_workspaces_pool() {
    let mut quota = Quota::of_calls(10);
    let scopes = [quota.one.clone(), quota.two.clone(), quota.workspace.clone()];
    for (scope, quantity, used) in [(0, 4, 4), (1, 3, 7), (2, 3, 10)] {
        let recorded = quota.take(&scopes[scope], "calls", quantity).unwrap();
        assert_eq!(recorded.meter.charged_scope, quota.workspace.to_string());
        assert_eq!(recorded.meter.used, used);
    }
    for scope in &scopes {
        assert_eq!(denied(quota.take(scope, "calls", 1)), FULL);
        assert_eq!(quota.calls(scope), (10, 0, Some(10), Some(0)));
        assert_eq!(quota.look(scope, "calls").meter.charged_scope, quota.workspace.to_string());
    }
}

#[test]
fn a_namespace_with_a_grant_is_charged_on_its_own_counter() {
    let mut quota = Quota::of_calls(10);
    let (workspace, one) = quota.scopes();
    quota.package("own", json!({}), json!({"calls": 2}));
    let fallen_back = quota.take(&one, "calls", 3).unwrap();
    assert_eq!(fallen_back.meter.charged_scope, workspace.to_string());
    let assignment = quota.assign(&one, "own");
    let recorded = quota.take(&one, "calls", 2).unwrap();
    assert_eq!(recorded.meter.charged_scope, one.to_string());
    assert_eq!(denied(quota.take(&one, "calls", 1)), FULL, "it does not fall back when it is full");
    assert_eq!(quota.calls(&workspace), (3, 0, Some(10), Some(7)));
    assert_eq!(quota.calls(&quota.two), (3, 0, Some(10), Some(7)));
    // Each unit is returned to the counter that it was charged to.
    let back = quota.reverse(&fallen_back, 3).unwrap();
    assert_eq!((back.meter.charged_scope, back.meter.used), (workspace.to_string(), 0));
    let back = quota.reverse(&recorded, 1).unwrap();
    assert_eq!((back.meter.charged_scope, back.meter.used), (one.to_string(), 1));
    assert_eq!(quota.calls(&one), (1, 0, Some(2), Some(1)));
    // Without its own grant it uses the workspace's again.
    quota.book.edit(&assignment, json!({"status": "cancelled"})).unwrap();
    assert_eq!(quota.calls(&one), (0, 0, Some(10), Some(10)));
}

/// Suspending a package never gives a namespace access to its workspace's pool.
#[test]
fn a_namespace_with_a_suspended_package_is_denied_and_does_not_fall_back() {
    for grant in [json!(2), json!("unlimited"), json!("enabled")] {
        let mut quota = Quota::of_calls(10);
        let (workspace, one) = quota.scopes();
        quota.feature("other", json!({}));
        quota.package("own", json!({}), json!({"calls": grant}));
        quota.package("others", json!({"is_base": true}), json!({"other": 1}));
        let assignment = quota.assign(&one, "own");
        let others = quota.assign(&one, "others");
        let held = quota.hold(&workspace, 1, HOUR_MS).unwrap();
        quota.book.edit(&assignment, json!({"status": "suspended"})).unwrap();
        quota.book.edit(&others, json!({"status": "suspended"})).unwrap();
        assert_eq!(denied(quota.take(&one, "calls", 1)), NOT_INCLUDED, "{grant}");
        assert_eq!(denied(quota.hold(&one, 1, HOUR_MS)), NOT_INCLUDED, "{grant}");
        let told = quota.look(&one, "calls");
        assert_eq!((told.allowed, told.meter.limit), (false, Some(0)), "{grant}");
        assert_eq!(told.meter.charged_scope, one.to_string(), "{grant}");
        let add = json!({"kind": "add_limit", "amount": 5, "duration": "permanent"});
        let boost = quota.try_boost(&one, "calls", add).unwrap();
        assert!(!boost.effective, "it waits until the package is active again: {grant}");
        assert_eq!(denied(quota.take(&one, "calls", 1)), NOT_INCLUDED, "{grant}");
        // The other namespace and the workspace notice nothing.
        assert_eq!(quota.calls(&quota.two), (0, 1, Some(10), Some(9)), "{grant}");
        quota.release(&held).unwrap();
        // A boost of its own is a grant, with or without the package.
        quota.boost(&one, "calls", json!({"kind": "enable", "duration": "permanent"}));
        assert_eq!(quota.calls(&one), (0, 0, Some(5), Some(5)), "{grant}");
    }
}

#[test]
fn a_suspended_package_claims_its_pool_until_it_ends() {
    for end in ["cancelled", "expires_at", "cancel_at"] {
        let mut quota = Quota::of_calls(10);
        let (_, one) = quota.scopes();
        quota.package("own", json!({}), json!({"calls": 2}));
        let soon = json!("2027-01-02T00:00:00Z");
        let body = match end {
            "expires_at" => json!({"package": "own", "expires_at": soon}),
            _ => json!({"package": "own"}),
        };
        let assignment = object_id(quota.try_assign(&one, body));
        let mut wish = json!({"status": "suspended"});
        if end == "cancel_at" {
            wish["cancel_at"] = soon;
        }
        quota.book.edit(&assignment, wish).unwrap();
        assert_eq!(denied(quota.take(&one, "calls", 1)), NOT_INCLUDED, "{end}");
        match end {
            "cancelled" => {
                quota.book.edit(&assignment, json!({"status": "cancelled"})).unwrap();
            }
            _ => quota.until("2027-01-02T00:00:00Z"),
        }
        assert_eq!(quota.calls(&one), (0, 0, Some(10), Some(10)), "{end}: its end is no pause");
        quota.take(&one, "calls", 3).unwrap();
    }
}

#[test]
fn a_grant_of_zero_units_is_a_grant() {
    let mut quota = Quota::of_calls(10);
    let one = quota.one.clone();
    quota.boost(&one, "calls", json!({"kind": "enable", "duration": "permanent"}));
    assert_eq!(denied(quota.take(&one, "calls", 1)), FULL);
    assert_eq!(quota.calls(&one), (0, 0, Some(0), Some(0)));
}

#[test]
fn an_add_limit_boost_waits_until_its_scope_has_a_package_for_the_pool() {
    let mut quota = Quota::of_calls(10);
    let (workspace, one) = quota.scopes();
    for duration in ["permanent", "consumable"] {
        let boost = json!({"kind": "add_limit", "amount": 5, "duration": duration});
        let answer = quota.try_boost(&one, "calls", boost).unwrap();
        assert!(!answer.effective, "{duration}");
    }
    assert_eq!(
        quota.calls(&one),
        (0, 0, Some(10), Some(10)),
        "it does not raise the workspace's limit"
    );
    let recorded = quota.take(&one, "calls", 1).unwrap();
    assert_eq!(recorded.meter.charged_scope, workspace.to_string());
    quota.feature("other", json!({}));
    quota.package("other", json!({}), json!({"other": 1}));
    quota.assign(&one, "other");
    assert_eq!(
        quota.calls(&one),
        (1, 0, Some(10), Some(9)),
        "a package for another pool is no grant"
    );
    quota.package("own", json!({}), json!({"calls": 2}));
    quota.assign(&one, "own");
    assert_eq!(quota.calls(&one), (0, 0, Some(12), Some(12)));
    let boost = json!({"kind": "add_limit", "amount": 1, "duration": "permanent"});
    assert!(quota.try_boost(&one, "calls", boost).unwrap().effective);
}

#[test]
fn enable_and_unlimited_boosts_alone_are_grants() {
    for (kind, limit) in [("enable", Some(0)), ("unlimited", None)] {
        let mut quota = Quota::of_calls(10);
        let (workspace, one) = quota.scopes();
        let boost = json!({"kind": kind, "duration": "permanent"});
        assert!(quota.try_boost(&one, "calls", boost).unwrap().effective);
        let told = quota.look(&one, "calls").meter;
        assert_eq!((told.limit, told.charged_scope), (limit, one.to_string()));
        assert_eq!(quota.calls(&workspace), (0, 0, Some(10), Some(10)));
        assert_eq!(quota.calls(&quota.two), (0, 0, Some(10), Some(10)));
    }
}

#[test]
fn boosts_of_a_namespace_never_raise_the_workspaces_limit() {
    let mut quota = Quota::of_calls(10);
    let (workspace, one) = quota.scopes();
    quota.package("own", json!({}), json!({"calls": 2}));
    quota.assign(&one, "own");
    for body in [
        json!({"kind": "add_limit", "amount": 5, "duration": "permanent"}),
        json!({"kind": "add_limit", "amount": 5, "duration": "consumable"}),
        json!({"kind": "unlimited", "duration": "permanent"}),
    ] {
        quota.boost(&one, "calls", body);
        assert_eq!(quota.calls(&workspace), (0, 0, Some(10), Some(10)));
        assert_eq!(quota.calls(&quota.two), (0, 0, Some(10), Some(10)));
    }
    let boost = json!({"kind": "add_limit", "amount": 5, "duration": "permanent"});
    quota.boost(&workspace, "calls", boost);
    assert_eq!(quota.calls(&quota.two), (0, 0, Some(15), Some(15)), "the workspace's own do");
}

#[test]
fn what_nobody_grants_is_not_included_anywhere() {
    let mut quota = Quota::default();
    let (workspace, one) = quota.scopes();
    quota.feature("calls", json!({"reset": "monthly"}));
    for scope in [&workspace, &one] {
        let rejection = quota.take(scope, "calls", 1).unwrap_err();
        let denial = rejection.denial().unwrap();
        assert_eq!(denial.reason.code().name(), NOT_INCLUDED);
        assert_eq!(denial.scope, scope.to_string());
        assert!(!quota.look(scope, "calls").allowed);
        assert_eq!(denied(quota.hold(scope, 1, 1)), NOT_INCLUDED);
    }
    assert!(quota.book.world.counters.is_empty());
}

#[test]
fn a_scope_that_is_not_there_is_told_before_what_is_wrong_with_the_body() {
    let mut quota = Quota::of_calls(10);
    let unknown = ScopeRef::workspace("wsp_ffffffffffffffffffffffffffffffff");
    let namespace = quota.two.clone();
    quota.book.run(delete(Kind::Namespace, &namespace.id, 1)).unwrap();
    let body = || json!({"feature": 1, "quantity": 0, "package": 2});
    for (scope, is_deleted) in [(unknown, false), (namespace, true)] {
        let rejections = [
            quota.try_use(&scope, vec![body()], false).unwrap_err(),
            quota.try_use(&scope, vec![body()], true).unwrap_err(),
            quota.try_hold(&scope, body()).unwrap_err(),
            quota.try_assign(&scope, body()).unwrap_err(),
            quota.try_boost(&scope, "calls", body()).unwrap_err(),
        ];
        for rejection in rejections {
            match rejection {
                Rejection::Core(core::Rejection::NotFound { .. }) => assert!(!is_deleted),
                Rejection::Core(core::Rejection::Deleted(Kind::Namespace, _)) => {
                    assert!(is_deleted)
                }
                other => panic!("it does not exist: {other:?}"),
            }
        }
    }
}
