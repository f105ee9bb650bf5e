//! Assigned packages: from start to end, and at most one base package per scope.

use super::quota::{FULL, NOT_INCLUDED, Quota, denied, object_id, wrong};
use crate::commands::{create, delete, patch};
use ifmatch_domain::{
    Outcome, Rejection,
    core::{self, How},
    entitlement,
};
use ifmatch_types::Kind;
use serde_json::{Value, json};

/// The current limit of `calls`; `null` if the feature is not included.
fn limit(quota: &Quota) -> Value {
    let told = quota.look(&quota.workspace, "calls");
    let is_included = quota.is_included(&quota.workspace);
    if is_included { json!(told.meter.limit) } else { Value::Null }
}

impl Quota {
    /// Whether a request above every limit is denied for its size, not for a missing grant.
    fn is_included(&self, scope: &entitlement::ScopeRef) -> bool {
        let book = crate::book::Book {
            world: self.book.world.clone(),
            now: self.book.now,
            seed: self.book.seed + (1 << 96),
        };
        let (workspace, one, two) = (self.workspace.clone(), self.one.clone(), self.two.clone());
        let mut probe = Self { book, workspace, one, two };
        denied(probe.take(scope, "calls", 1_000_000_000_000)) == FULL
    }
}

#[test]
fn an_assignment_counts_from_its_start_to_its_end() {
    let mut quota = Quota::default();
    let (workspace, _) = quota.scopes();
    quota.feature("calls", json!({}));
    quota.package("p", json!({}), json!({"calls": 10}));
    let end = json!({"package": "p", "expires_at": "2027-01-10T00:00:00Z"});
    let id = object_id(quota.try_assign(&workspace, end));
    assert_eq!(quota.book.field(&id, "starts_at"), "2027-01-01T00:00:00.000000Z");
    assert_eq!(limit(&quota), 10, "active from its start");
    quota.until("2027-01-09T23:59:59.999999Z");
    assert_eq!(limit(&quota), 10);
    quota.until("2027-01-10T00:00:00Z");
    assert_eq!(limit(&quota), Value::Null, "no longer active at its end");
    assert_eq!(denied(quota.take(&workspace, "calls", 1)), NOT_INCLUDED);
    assert_eq!(quota.status(&id), "active", "its end is not stored yet");
    quota.sweep(&workspace);
    assert_eq!(
        quota.book.fields(&id, &["status", "ended_at", "updated_by"]),
        json!({"status": "expired", "ended_at": "2027-01-10T00:00:00.000000Z", "updated_by": "expiry"})
    );
}

#[test]
fn a_suspended_assignment_grants_nothing() {
    let mut quota = Quota::of_calls(10);
    let id = quota.book.world.assignments.keys().next().unwrap().clone();
    for (status, expected) in
        [("suspended", Value::Null), ("active", json!(10)), ("cancelled", Value::Null)]
    {
        quota.book.edit(&id, json!({"status": status})).unwrap();
        assert_eq!(limit(&quota), expected, "{status}");
    }
}

/// From a status to another: allowed, or the statuses allowed instead.
#[test]
fn assignments_move_between_their_statuses_as_the_table_says() {
    let (active, suspended, nothing) = (&["suspended", "cancelled"], &["active", "cancelled"], &[]);
    let cases: [(&str, &[&str]); 4] = [
        ("active", active),
        ("suspended", suspended),
        ("cancelled", nothing),
        ("expired", nothing),
    ];
    for (from, allowed) in cases {
        for to in ["active", "suspended", "cancelled", "expired"] {
            let mut quota = Quota::of_calls(10);
            let (workspace, _) = quota.scopes();
            quota.package("p", json!({}), json!({"calls": 1}));
            let body = json!({"package": "p", "expires_at": "2027-01-10T00:00:00Z"});
            let id = object_id(quota.try_assign(&workspace, body));
            match from {
                "active" => {}
                "expired" => {
                    quota.until("2027-01-10T00:00:00Z");
                    quota.sweep(&workspace);
                }
                status => drop(quota.book.edit(&id, json!({"status": status})).unwrap()),
            }
            let decided = quota.book.edit(&id, json!({"status": to}));
            match decided {
                Ok(Outcome::Core(core::Outcome::Object(object))) if to == from => {
                    assert_eq!(object.how, How::Unchanged)
                }
                Ok(_) => assert!(allowed.contains(&to), "{from} to {to}"),
                Err(rejection) => {
                    let allowed = allowed.to_vec();
                    let expected =
                        Rejection::Core(core::Rejection::InvalidTransition { from, to, allowed });
                    assert_eq!(rejection, expected);
                }
            }
            let is_over = matches!(quota.status(&id).as_str(), "cancelled" | "expired");
            assert_eq!(quota.book.field(&id, "ended_at").is_null(), !is_over, "{from} to {to}");
        }
    }
}

/// An assignment that is over by the clock is over, whether or not that is stored.
#[test]
fn an_assignment_whose_time_is_over_does_not_come_back() {
    for (end, wish) in [
        ("expires_at", json!({"status": "active", "cancel_at": "2027-03-01T00:00:00Z"})),
        ("expires_at", json!({"status": "suspended"})),
        ("cancel_at", json!({"status": "suspended"})),
        ("cancel_at", json!({"cancel_at": null})),
        ("cancel_at", json!({"cancel_at": "2027-03-01T00:00:00Z"})),
    ] {
        let mut quota = Quota::of_calls(10);
        let (workspace, _) = quota.scopes();
        quota.package("p", json!({}), json!({"calls": 1}));
        let id = if end == "expires_at" {
            let body = json!({"package": "p", "expires_at": "2027-01-10T00:00:00Z"});
            object_id(quota.try_assign(&workspace, body))
        } else {
            let id = quota.assign(&workspace, "p");
            quota.book.edit(&id, json!({"cancel_at": "2027-01-10T00:00:00Z"})).unwrap();
            id
        };
        quota.until("2027-01-10T00:00:00Z");
        let refused = quota.book.edit(&id, wish.clone()).unwrap_err();
        assert!(
            matches!(refused, Rejection::Core(core::Rejection::InvalidTransition { .. })),
            "{wish}: {refused:?}"
        );
        assert_eq!(limit(&quota), 10);
    }
}

#[test]
fn storing_an_end_that_has_come_says_when() {
    let mut quota = Quota::of_calls(10);
    let (workspace, _) = quota.scopes();
    quota.package("p", json!({}), json!({"calls": 1}));
    let body = json!({"package": "p", "expires_at": "2027-01-10T00:00:00Z"});
    let id = object_id(quota.try_assign(&workspace, body));
    quota.until("2027-01-11T00:00:00Z");
    // Asking for the current status is not refused.
    quota.book.edit(&id, json!({"status": "expired"})).unwrap();
    let expected = json!({"status": "expired", "ended_at": "2027-01-11T00:00:00.000000Z"});
    assert_eq!(quota.book.fields(&id, &["status", "ended_at"]), expected);
}

#[test]
fn cancel_at_keeps_access_until_then() {
    for is_swept in [true, false] {
        let mut quota = Quota::of_calls(10);
        let (workspace, _) = quota.scopes();
        let id = quota.book.world.assignments.keys().next().unwrap().clone();
        for (cancel_at, error) in [("2027-01-01T00:00:00Z", true), ("2027-02-01T00:00:00Z", false)]
        {
            let decided = quota.book.edit(&id, json!({"cancel_at": cancel_at}));
            if error {
                assert_eq!(wrong(decided), ["/cancel_at"], "it is in the future");
            }
        }
        quota.until("2027-01-31T23:59:59.999999Z");
        assert_eq!((limit(&quota), quota.status(&id)), (json!(10), "active".to_owned()));
        quota.take(&workspace, "calls", 1).unwrap();
        quota.until("2027-02-01T00:00:00Z");
        if is_swept {
            quota.sweep(&workspace);
            assert_eq!(quota.status(&id), "cancelled");
        }
        assert_eq!(limit(&quota), Value::Null);
    }
    let mut quota = Quota::of_calls(10);
    let id = quota.book.world.assignments.keys().next().unwrap().clone();
    quota.book.edit(&id, json!({"cancel_at": "2027-02-01T00:00:00Z"})).unwrap();
    quota.book.edit(&id, json!({"cancel_at": null})).unwrap();
    quota.until("2027-02-02T00:00:00Z");
    assert_eq!(limit(&quota), 10, "it was taken back");
}

/// The earlier end applies, whether a sweep or another base package applies it.
#[test]
fn what_comes_first_ends_it_and_at_that_instant() {
    let (early, late) = ("2027-01-10T00:00:00.000000Z", "2027-01-20T00:00:00.000000Z");
    for (expires_at, cancel_at, status) in
        [(early, late, "expired"), (late, early, "cancelled"), (early, early, "cancelled")]
    {
        for is_swept in [true, false] {
            let mut quota = Quota::of_calls(10);
            let (workspace, _) = quota.scopes();
            let body = json!({"package": "base", "expires_at": expires_at});
            let id = object_id(quota.try_assign(&workspace, body));
            quota.book.edit(&id, json!({"cancel_at": cancel_at})).unwrap();
            quota.until("2027-01-21T00:00:00Z");
            match is_swept {
                true => quota.sweep(&workspace),
                false => drop(quota.assign(&workspace, "base")),
            }
            let expected = json!({"status": status, "ended_at": early});
            assert_eq!(quota.book.fields(&id, &["status", "ended_at"]), expected);
        }
    }
}

#[test]
fn another_base_package_replaces_the_active_or_suspended_one_in_the_same_commit() {
    for before in ["active", "suspended"] {
        let mut quota = Quota::of_calls(10);
        let (workspace, one) = quota.scopes();
        let old = quota.book.world.assignments.keys().next().unwrap().clone();
        quota.package("own", json!({"is_base": true}), json!({"calls": 1}));
        let others = quota.assign(&one, "own");
        quota.package("addon", json!({}), json!({"calls": 100}));
        let addon = quota.assign(&workspace, "addon");
        quota.book.edit(&old, json!({"status": before})).unwrap();
        quota.package("big", json!({"is_base": true}), json!({"calls": 20}));
        let events = quota.book.world.events.len();
        let new = quota.assign(&workspace, "big");
        assert_eq!(quota.book.world.events.len(), events + 2, "one ends and one begins");
        assert_eq!(quota.status(&old), "cancelled", "{before}");
        assert_eq!(quota.book.field(&old, "ended_at"), "2027-01-01T00:00:00.000000Z");
        assert_eq!(limit(&quota), 120);
        for other in [&others, &addon, &new] {
            assert_eq!(quota.status(other), "active", "other assignments are unchanged");
        }
        let refused = quota.book.edit(&old, json!({"status": "active"})).unwrap_err();
        assert_eq!(
            refused,
            Rejection::Entitlement(entitlement::Rejection::BasePackageConflict {
                existing_id: new.clone()
            })
        );
        quota.book.edit(&new, json!({"status": "suspended"})).unwrap();
        let refused = quota.book.edit(&old, json!({"status": "active"})).unwrap_err();
        assert_eq!(
            refused,
            Rejection::Entitlement(entitlement::Rejection::BasePackageConflict {
                existing_id: new.clone()
            })
        );
        quota.book.edit(&new, json!({"status": "cancelled"})).unwrap();
        let refused = quota.book.edit(&old, json!({"status": "active"})).unwrap_err();
        assert!(
            matches!(refused, Rejection::Core(core::Rejection::InvalidTransition { .. })),
            "it stays over"
        );
    }
}

#[test]
fn the_same_base_package_again_replaces_itself_and_another_package_does_not_come_twice() {
    let mut quota = Quota::of_calls(10);
    let (workspace, one) = quota.scopes();
    quota.assign(&workspace, "base");
    assert_eq!(limit(&quota), 10);
    quota.package("once", json!({}), json!({"calls": 1}));
    quota.package("often", json!({"is_stackable": true}), json!({"calls": 1}));
    let id = quota.assign(&workspace, "once");
    let refused = quota.try_assign(&workspace, json!({"package": "once"})).unwrap_err();
    assert!(
        matches!(refused, Rejection::Core(core::Rejection::AlreadyExists { existing_id, .. }) if existing_id == id)
    );
    quota.assign(&one, "once");
    quota.book.edit(&id, json!({"status": "cancelled"})).unwrap();
    quota.assign(&workspace, "once");
    (0..3).for_each(|_| drop(quota.assign(&workspace, "often")));
    assert_eq!(limit(&quota), 14);
}

#[test]
fn an_external_service_id_is_unique_for_ever_and_at_both_scopes() {
    let mut quota = Quota::of_calls(10);
    let (workspace, one) = quota.scopes();
    quota.package("often", json!({"is_stackable": true}), json!({"calls": 1}));
    quota.package("p", json!({}), json!({"calls": 1}));
    let end = "2027-01-10T00:00:00Z";
    let body = json!({"package": "often", "external_service_id": "s", "expires_at": end});
    let id = object_id(quota.try_assign(&workspace, body.clone()));
    for is_over in [false, true] {
        let before = quota.book.world.clone();
        match quota.try_assign(&workspace, body.clone()).unwrap() {
            Outcome::Core(core::Outcome::Object(object)) => {
                assert_eq!((&object.id, object.how), (&id, How::Existed))
            }
            other => panic!("the first assignment: {other:?}"),
        }
        assert_eq!(quota.book.world, before, "a repeat changes nothing");
        for (scope, package, expires_at, differing) in [
            (&one, "often", json!(end), vec!["/scope"]),
            (&workspace, "p", json!(end), vec!["/package"]),
            (&workspace, "often", Value::Null, vec!["/expires_at"]),
            (&one, "p", json!("2027-01-20T00:00:00Z"), vec!["/scope", "/package", "/expires_at"]),
            (&workspace, "nothing", json!(end), vec!["/package"]),
        ] {
            let body =
                json!({"package": package, "external_service_id": "s", "expires_at": expires_at});
            let refused = quota.try_assign(scope, body).unwrap_err();
            let expected =
                Rejection::Entitlement(entitlement::Rejection::DuplicateExternalService {
                    existing_id: id.clone(),
                    differing_fields: differing.into_iter().map(str::to_owned).collect(),
                });
            assert_eq!(refused, expected, "over: {is_over}");
        }
        quota.until("2027-01-10T00:00:00Z");
        quota.sweep(&workspace);
    }
}

#[test]
fn an_assignment_is_cancelled_now_or_later_and_not_both() {
    let mut quota = Quota::of_calls(10);
    let id = quota.book.world.assignments.keys().next().unwrap().clone();
    let later = "2027-02-01T00:00:00Z";
    let both = json!({"status": "cancelled", "cancel_at": later});
    assert_eq!(wrong(quota.book.edit(&id, both)), ["/cancel_at"]);
    // A cancellation planned for later can be done now.
    quota.book.edit(&id, json!({"cancel_at": later})).unwrap();
    quota.book.edit(&id, json!({"status": "cancelled"})).unwrap();
    assert_eq!(quota.status(&id), "cancelled");
}

#[test]
fn wrong_assignments_are_refused_by_field() {
    let mut quota = Quota::of_calls(10);
    let (workspace, _) = quota.scopes();
    for (body, fields) in [
        (json!({}), vec!["/package"]),
        (json!({"package": "nothing"}), vec!["/package"]),
        (json!({"package": "base", "expires_at": "2027-01-01T00:00:00Z"}), vec!["/expires_at"]),
        (json!({"package": "base", "expires_at": "soon"}), vec!["/expires_at"]),
        (json!({"package": "base", "external_service_id": ""}), vec!["/external_service_id"]),
        (
            json!({"package": "base", "external_service_id": "x".repeat(201)}),
            vec!["/external_service_id"],
        ),
        (json!({"package": "base", "status": "active"}), vec!["/status"]),
    ] {
        assert_eq!(wrong(quota.try_assign(&workspace, body.clone())), fields, "{body}");
    }
    let id = quota.book.world.packages.keys().next().unwrap().clone();
    quota.book.edit(&id, json!({"status": "archived"})).unwrap();
    let refused = quota.try_assign(&workspace, json!({"package": "base"})).unwrap_err();
    assert_eq!(
        refused,
        Rejection::Entitlement(entitlement::Rejection::PackageInactive {
            package: "base".to_owned()
        })
    );
    assert_eq!(limit(&quota), 10, "existing assignments stay");
}

#[test]
fn assignments_and_boosts_are_not_made_as_objects_and_assignments_not_deleted() {
    let mut quota = Quota::of_calls(10);
    let (workspace, _) = quota.scopes();
    let assignment = quota.book.world.assignments.keys().next().unwrap().clone();
    let boost = quota.consumable(&workspace, 1, json!({}));
    let fields = json!({"feature": "calls", "kind": "enable", "duration": "permanent"});
    for action in [
        create(Kind::Assignment, json!({})),
        create(Kind::Assignment, json!({"status": "active"})),
        create(Kind::Boost, fields),
        delete(Kind::Assignment, &assignment, 1),
        patch(Kind::Boost, &boost, 1, json!({"amount": 9})),
        patch(Kind::Assignment, &assignment, 1, json!({"package": "other"})),
    ] {
        let context = format!("{action:?}");
        let refused = quota.book.refused(action);
        assert!(
            matches!(refused, Rejection::Core(core::Rejection::Invalid(_))),
            "{context}: {refused:?}"
        );
    }
}
