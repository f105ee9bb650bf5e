//! Assignments: a package of a scope, from its start to its end.

use crate::harness::{
    Server, both_databases, eventually, id, in_ms, instant, members, unique, units, version, with,
};
use jiff::Timestamp;
use serde_json::{Value, json};

both_databases![
    an_assignment_has_its_documented_members,
    the_months_of_a_scope_begin_with_its_first_package,
    a_suspended_package_grants_nothing_until_it_is_active_again,
    a_cancelled_package_grants_nothing_for_ever,
    a_package_to_be_cancelled_grants_until_then,
    a_package_ends_on_its_date_without_anybody_doing_anything,
    an_expired_package_is_over_for_ever,
    a_stale_change_of_an_assignment_shows_the_winner,
    what_changes_nothing_makes_no_version,
    a_stackable_package_counts_as_often_as_it_is_assigned,
    packages_of_a_scope_add_up,
    the_same_external_service_again_is_answered_with_the_first_assignment,
    an_external_service_with_other_content_is_409,
    an_assignment_is_found_in_its_own_scope_only,
    a_forced_change_of_an_assignment_is_on_record,
    wrong_assignments_are_refused_naming_the_field,
];

async fn an_assignment_has_its_documented_members(server: Server) {
    let api = server.api();
    let (agent, key) = api.make_named_key("agent").await;
    let workspace = api.make_scope().await;
    let namespace = api.make_scope_in(&workspace).await;
    for scope in [workspace, namespace] {
        let package = api.make_package(json!([]), json!({})).await;
        let before = Timestamp::now();
        let made = agent.assign(&scope, &package, json!({})).await.is(201);
        assert_eq!(made.header("ETag"), Some("\"1\""));
        let path = format!("/v1/{scope}/packages/{}", id(&made.body));
        assert_eq!(made.header("Location"), Some(path.as_str()));
        let assignment = made.body;
        assert!(id(&assignment).starts_with("asg_"), "{assignment}");
        assert_eq!(
            members(&assignment),
            [
                "anchor_at",
                "cancel_at",
                "created_at",
                "ended_at",
                "expires_at",
                "external_service_id",
                "id",
                "is_base",
                "package",
                "scope",
                "starts_at",
                "status",
                "updated_at",
                "updated_by",
                "version",
            ]
        );
        let expected = json!({"version": 1, "scope": scope, "package": package["code"],
            "status": "active", "is_base": false, "expires_at": null, "cancel_at": null,
            "ended_at": null, "external_service_id": null, "updated_by": key["name"]});
        assert_eq!(with(assignment.clone(), &expected), assignment);
        let starts_at = instant(&assignment["starts_at"]);
        assert!(before <= starts_at && starts_at <= Timestamp::now(), "{assignment}");
        let read = api.get(&path).await.is(200);
        assert_eq!((read.header("ETag"), &read.body), (Some("\"1\""), &assignment));
        api.get(&path).header("If-None-Match", "\"1\"").await.is(304);
        assert_eq!(
            api.list(&format!("/v1/{scope}/packages")).await,
            std::slice::from_ref(&assignment)
        );
        assert_eq!(api.history(&path).await[0]["kind"], "created");
        let events = api.events_of("assignment.created").await;
        assert_eq!(events.last().unwrap()["state"], assignment);
    }
}

async fn the_months_of_a_scope_begin_with_its_first_package(server: Server) {
    let api = server.api();
    let workspace = api.make_scope().await;
    let namespace = api.make_scope_in(&workspace).await;
    let first = api.entitle(&workspace, json!([])).await;
    let second = api.entitle(&workspace, json!([])).await;
    assert_eq!(first["anchor_at"], first["starts_at"]);
    assert_eq!(second["anchor_at"], first["anchor_at"]);
    api.reassign(&workspace, &first, json!({"status": "cancelled"})).await.ok(200);
    let third = api.entitle(&workspace, json!([])).await;
    assert_eq!(third["anchor_at"], first["anchor_at"], "for ever");
    let own = api.entitle(&namespace, json!([])).await;
    assert!(instant(&own["anchor_at"]) > instant(&first["anchor_at"]), "each scope has its own");
}

async fn a_suspended_package_grants_nothing_until_it_is_active_again(server: Server) {
    let api = server.api();
    let (scope, feature) = (api.make_scope().await, api.make_feature(json!({})).await);
    let assignment = api.entitle(&scope, json!([units(&feature, 5)])).await;
    api.spend(&scope, &feature, 3).await.ok(201);
    let suspended = api.reassign(&scope, &assignment, json!({"status": "suspended"})).await;
    let suspended = suspended.ok(200);
    assert_eq!((version(&suspended), &suspended["status"]), (2, &json!("suspended")));
    assert_eq!(suspended["ended_at"], Value::Null);
    api.spend(&scope, &feature, 1).await.problem(403, "FEATURE_NOT_INCLUDED");
    assert_eq!(api.entitlement(&scope, &feature).await["allowed"], false);
    let active = api.reassign(&scope, &assignment, json!({"status": "active"})).await.ok(200);
    assert_eq!((version(&active), &active["status"]), (3, &json!("active")));
    let recorded = api.spend(&scope, &feature, 2).await.ok(201);
    assert_eq!(recorded["used"], 5, "earlier usage still counts");
    api.spend(&scope, &feature, 1).await.exceeded();
    let path = format!("/v1/{scope}/packages/{}", id(&assignment));
    assert_eq!(api.history(&path).await.len(), 3);
}

async fn a_cancelled_package_grants_nothing_for_ever(server: Server) {
    let api = server.api();
    let (scope, feature) = (api.make_scope().await, api.make_feature(json!({})).await);
    for first in [None, Some("suspended")] {
        let assignment = api.entitle(&scope, json!([units(&feature, 5)])).await;
        if let Some(status) = first {
            api.reassign(&scope, &assignment, json!({"status": status})).await.ok(200);
        }
        let end = api.reassign(&scope, &assignment, json!({"status": "cancelled"})).await.ok(200);
        assert_eq!(end["status"], "cancelled");
        assert!(end["ended_at"].is_string(), "{end}");
        api.spend(&scope, &feature, 1).await.problem(403, "FEATURE_NOT_INCLUDED");
        for status in ["active", "suspended"] {
            let refused = api.reassign(&scope, &end, json!({"status": status})).await;
            let refused = refused.problem(409, "INVALID_STATE_TRANSITION");
            assert_eq!((&refused["from"], &refused["to"]), (&json!("cancelled"), &json!(status)));
            assert_eq!(refused["allowed"], json!([]));
        }
        let path = format!("/v1/{scope}/packages/{}", id(&assignment));
        assert_eq!(api.get(&path).await.ok(200), end);
    }
}

async fn a_package_to_be_cancelled_grants_until_then(server: Server) {
    let api = server.api();
    let (scope, feature) = (api.make_scope().await, api.make_feature(json!({})).await);
    let assignment = api.entitle(&scope, json!([units(&feature, 1_000_000)])).await;
    let cancel_at = json!({"cancel_at": in_ms(3_600_000)});
    let planned = api.reassign(&scope, &assignment, cancel_at.clone()).await.ok(200);
    assert_eq!(planned["status"], "active");
    assert_eq!(instant(&planned["cancel_at"]), instant(&cancel_at["cancel_at"]));
    let undone = api.reassign(&scope, &assignment, json!({"cancel_at": null})).await.ok(200);
    assert_eq!(undone["cancel_at"], Value::Null);

    let end = in_ms(2_000);
    api.reassign(&scope, &assignment, json!({"cancel_at": end})).await.ok(200);
    let end: Timestamp = end.parse().unwrap();
    let asked_at = eventually("the package is over", async || {
        let asked_at = Timestamp::now();
        let answer = api.spend(&scope, &feature, 1).await;
        assert!(answer.status == 403 || asked_at < end, "admitted after its end");
        (answer.status == 403).then(|| {
            answer.problem(403, "FEATURE_NOT_INCLUDED");
            Timestamp::now()
        })
    })
    .await;
    assert!(asked_at >= end, "it granted units until then");
    let path = format!("/v1/{scope}/packages/{}", id(&assignment));
    eventually("it is shown as cancelled", async || {
        (api.get(&path).await.ok(200)["status"] == "cancelled").then_some(())
    })
    .await;
}

async fn a_package_ends_on_its_date_without_anybody_doing_anything(server: Server) {
    let api = server.api();
    let (scope, feature) = (api.make_scope().await, api.make_feature(json!({})).await);
    let grants = json!([units(&feature, 1_000_000)]);
    let package = api.make_package(grants, json!({})).await;
    let end = in_ms(2_000);
    let expires = json!({"expires_at": end});
    let assignment = api.assign(&scope, &package, expires).await.ok(201);
    let end: Timestamp = end.parse().unwrap();
    assert_eq!(instant(&assignment["expires_at"]), end);
    let answered_at = eventually("the package is over", async || {
        let asked_at = Timestamp::now();
        let answer = api.spend(&scope, &feature, 1).await;
        assert!(answer.status == 403 || asked_at < end, "admitted after its end");
        (answer.status == 403).then(|| {
            answer.problem(403, "FEATURE_NOT_INCLUDED");
            Timestamp::now()
        })
    })
    .await;
    assert!(answered_at >= end, "it granted units until then");
    assert_eq!(api.entitlement(&scope, &feature).await["allowed"], false);
}

async fn an_expired_package_is_over_for_ever(server: Server) {
    let api = server.api();
    let scope = api.make_scope().await;
    let package = api.make_package(json!([]), json!({})).await;
    let expires = json!({"expires_at": in_ms(300)});
    let assignment = api.assign(&scope, &package, expires).await.ok(201);
    let path = format!("/v1/{scope}/packages/{}", id(&assignment));
    let expired = eventually("it is shown as expired", async || {
        let now = api.get(&path).await.ok(200);
        (now["status"] == "expired").then_some(now)
    })
    .await;
    assert!(expired["ended_at"].is_string(), "{expired}");
    for status in ["active", "suspended", "cancelled"] {
        let refused = api.reassign(&scope, &assignment, json!({"status": status})).await;
        let refused = refused.problem(409, "INVALID_STATE_TRANSITION");
        assert_eq!((&refused["from"], &refused["to"]), (&json!("expired"), &json!(status)));
    }
}

async fn a_stale_change_of_an_assignment_shows_the_winner(server: Server) {
    let api = server.api();
    let scope = api.make_scope().await;
    let assignment = api.entitle(&scope, json!([])).await;
    let path = format!("/v1/{scope}/packages/{}", id(&assignment));
    let suspend = json!({"status": "suspended"});
    api.patch(&path, &suspend).await.problem(428, "PRECONDITION_REQUIRED");
    let winner = api.patch(&path, &suspend).if_match(1).await.ok(200);
    let cancel = json!({"status": "cancelled", "version": 1});
    let conflict = api.patch(&path, &cancel).await.conflict(409);
    assert_eq!(conflict["resource"], json!({"type": "assignment", "id": assignment["id"]}));
    assert_eq!(
        (&conflict["expected_version"], &conflict["current_version"]),
        (&json!(1), &json!(2))
    );
    assert_eq!(conflict["current"], winner);
    let change = &conflict["changes"][0];
    assert_eq!((&change["path"], &change["base"]), (&json!("/status"), &json!("active")));
    assert_eq!((&change["current"], &change["version"]), (&json!("suspended"), &json!(2)));
    assert_eq!(conflict["attempted"], json!(["/status"]));
    assert_eq!(conflict["merge"]["verdict"], "overlap");
    let in_header = api.patch(&path, &json!({"status": "cancelled"})).if_match(1).await;
    assert_eq!(in_header.conflict(412)["current"], winner);
    assert_eq!(api.get(&path).await.ok(200), winner, "nothing happened");
}

async fn what_changes_nothing_makes_no_version(server: Server) {
    let api = server.api();
    let scope = api.make_scope().await;
    let assignment = api.entitle(&scope, json!([])).await;
    let path = format!("/v1/{scope}/packages/{}", id(&assignment));
    let same = api.patch(&path, &json!({"status": "active"})).if_match(1).await.is(200);
    assert_eq!(same.header("X-Changed"), Some("false"));
    assert_eq!(same.body, assignment);
    let key = |call: crate::harness::Call| call.if_match(1).key("suspend");
    let suspend = json!({"status": "suspended"});
    let first = key(api.patch(&path, &suspend)).await.is(200);
    let again = key(api.patch(&path, &suspend)).await.is(200);
    assert_eq!(again.header("Idempotency-Replayed"), Some("true"));
    assert_eq!((again.body, api.history(&path).await.len()), (first.body, 2));
}

async fn a_stackable_package_counts_as_often_as_it_is_assigned(server: Server) {
    let api = server.api();
    let (scope, feature) = (api.make_scope().await, api.make_feature(json!({})).await);
    let grants = json!([units(&feature, 5)]);
    let stackable = api.make_package(grants.clone(), json!({"is_stackable": true})).await;
    for _ in 0..3 {
        api.assign(&scope, &stackable, json!({})).await.ok(201);
    }
    assert_eq!(api.entitlement(&scope, &feature).await["limit"], 15);
    let single = api.make_package(grants, json!({})).await;
    api.assign(&scope, &single, json!({})).await.ok(201);
    let refused = api.assign(&scope, &single, json!({})).await;
    assert_eq!(refused.status, 409, "it is already assigned: {}", refused.text);
    assert_eq!(api.entitlement(&scope, &feature).await["limit"], 20);
}

async fn packages_of_a_scope_add_up(server: Server) {
    let api = server.api();
    let (scope, feature) = api.make_entitled(5).await;
    let second = api.entitle(&scope, json!([units(&feature, 7)])).await;
    assert_eq!(api.spend(&scope, &feature, 12).await.ok(201)["limit"], 12);
    api.spend(&scope, &feature, 1).await.exceeded();
    api.reassign(&scope, &second, json!({"status": "suspended"})).await.ok(200);
    let denied = api.spend(&scope, &feature, 1).await.exceeded();
    assert_eq!((&denied["limit"], &denied["used"]), (&json!(5), &json!(12)));
}

async fn the_same_external_service_again_is_answered_with_the_first_assignment(server: Server) {
    let api = server.api();
    let feature = api.make_feature(json!({})).await;
    let workspace = api.make_scope().await;
    let namespace = api.make_scope_in(&workspace).await;
    for scope in [workspace, namespace] {
        let stackable = json!({"is_stackable": true});
        let package = api.make_package(json!([units(&feature, 5)]), stackable).await;
        let external =
            json!({"external_service_id": unique("svc"), "expires_at": in_ms(3_600_000)});
        let first = api.assign(&scope, &package, external.clone()).await.ok(201);
        assert_eq!(first["external_service_id"], external["external_service_id"]);
        assert_eq!(api.assign(&scope, &package, external.clone()).await.ok(200), first);
        assert_eq!(api.entitlement(&scope, &feature).await["limit"], 5, "it counts once");
        let end = api.reassign(&scope, &first, json!({"status": "cancelled"})).await.ok(200);
        let late = api.assign(&scope, &package, external).await.ok(200);
        assert_eq!(late["id"], end["id"], "even after its end");
        assert_eq!(api.list(&format!("/v1/{scope}/packages")).await.len(), 1);
    }
}

async fn an_external_service_with_other_content_is_409(server: Server) {
    let api = server.api();
    let workspace = api.make_scope().await;
    let namespace = api.make_scope_in(&workspace).await;
    let (package, other) = (
        api.make_package(json!([]), json!({})).await,
        api.make_package(json!([]), json!({})).await,
    );
    let service = unique("svc");
    let external = json!({"external_service_id": service});
    let first = api.assign(&workspace, &package, external.clone()).await.ok(201);
    let dated = with(external.clone(), &json!({"expires_at": in_ms(3_600_000)}));
    for (scope, package, members, differs) in [
        (&workspace, &other, &external, "package"),
        (&namespace, &package, &external, "scope"),
        (&workspace, &package, &dated, "expires_at"),
    ] {
        let refused = api.assign(scope, package, members.clone()).await;
        let refused = refused.problem(409, "DUPLICATE_EXTERNAL_SERVICE");
        assert_eq!(refused["existing_id"], first["id"]);
        let differing = refused["differing_fields"].to_string();
        assert!(differing.contains(differs), "{differs} is not in {differing}");
    }
    assert_eq!(api.list(&format!("/v1/{workspace}/packages")).await, [first]);
    assert!(api.list(&format!("/v1/{namespace}/packages")).await.is_empty());
}

async fn an_assignment_is_found_in_its_own_scope_only(server: Server) {
    let api = server.api();
    let (scope, other) = (api.make_scope().await, api.make_scope().await);
    let namespace = api.make_scope_in(&scope).await;
    let assignment = api.entitle(&scope, json!([])).await;
    for elsewhere in [&other, &namespace] {
        let path = format!("/v1/{elsewhere}/packages/{}", id(&assignment));
        api.get(&path).await.problem(404, "NOT_FOUND");
        let cancel = json!({"status": "cancelled"});
        api.patch(&path, &cancel).if_match(1).await.problem(404, "NOT_FOUND");
        api.get(&format!("{path}/history")).await.problem(404, "NOT_FOUND");
        assert!(api.list(&format!("/v1/{elsewhere}/packages")).await.is_empty());
    }
    let path = format!("/v1/{scope}/packages/{}", id(&assignment));
    assert_eq!(api.get(&path).await.ok(200), assignment);
}

async fn a_forced_change_of_an_assignment_is_on_record(server: Server) {
    let api = server.api();
    let agent = api.make_key("agent").await;
    let scope = api.make_scope().await;
    let assignment = api.entitle(&scope, json!([])).await;
    let path = format!("/v1/{scope}/packages/{}", id(&assignment));
    api.patch(&path, &json!({"status": "suspended"})).if_match(1).await.ok(200);
    let (forced, body) = (format!("{path}?force=true"), json!({"status": "active", "version": 1}));
    let reason = "chargeback was a mistake";
    let as_agent = agent.patch(&forced, &body).header("X-Force-Reason", reason).await;
    as_agent.problem(403, "FORCE_FORBIDDEN");
    api.patch(&forced, &body).await.problem(422, "REASON_REQUIRED");
    let done = api.patch(&forced, &body).header("X-Force-Reason", reason).await.is(200);
    assert_eq!(done.header("X-Forced"), Some("true"));
    assert_eq!((version(&done.body), &done.body["status"]), (3, &json!("active")));
    let records = api.audit("forced_write", id(&assignment)).await;
    assert_eq!(records.len(), 1, "{records:?}");
    assert_eq!(records[0]["reason"], reason);
    assert_eq!(api.history(&path).await[2]["kind"], "forced");
    let end = json!({"status": "cancelled", "version": 3});
    api.patch(&path, &end).await.ok(200);
    let revive = api.patch(&forced, &body).header("X-Force-Reason", reason).await;
    revive.problem(409, "INVALID_STATE_TRANSITION");
}

async fn wrong_assignments_are_refused_naming_the_field(server: Server) {
    let api = server.api();
    let scope = api.make_scope().await;
    let package = api.make_package(json!([]), json!({})).await;
    let path = format!("/v1/{scope}/packages");
    for (field, wrong) in [
        ("/package", json!({"package": unique("nothing")})),
        ("/package", json!({"package": null})),
        ("/package", json!({"package": 7})),
        ("/expires_at", json!({"expires_at": in_ms(-1_000)})),
        ("/expires_at", json!({"expires_at": "tomorrow"})),
        ("/external_service_id", json!({"external_service_id": ""})),
        ("/external_service_id", json!({"external_service_id": "x".repeat(201)})),
        ("/status", json!({"status": "suspended"})),
        ("/colour", json!({"colour": "red"})),
    ] {
        let body = with(json!({"package": package["code"]}), &wrong);
        api.post(&path, &body).await.invalid(field);
    }
    assert!(api.list(&path).await.is_empty());
    let assignment = api.assign(&scope, &package, json!({})).await.ok(201);
    let path = format!("{path}/{}", id(&assignment));
    for (field, wrong) in [
        ("/status", json!({"status": "paused"})),
        ("/cancel_at", json!({"cancel_at": in_ms(-1_000)})),
        ("/cancel_at", json!({"cancel_at": "tomorrow"})),
        ("/package", json!({"package": "other"})),
        ("/expires_at", json!({"expires_at": in_ms(3_600_000)})),
    ] {
        api.patch(&path, &wrong).if_match(1).await.invalid(field);
    }
    let expire = api.patch(&path, &json!({"status": "expired"})).if_match(1).await;
    let refused = expire.problem(409, "INVALID_STATE_TRANSITION");
    assert_eq!((&refused["from"], &refused["to"]), (&json!("active"), &json!("expired")));
    assert_eq!(api.get(&path).await.ok(200), assignment);
    let unknown = format!("workspaces/wsp_{}", "0193f0c0a1b27c3d8e4f5a6b7c8d9e0f");
    api.assign(&unknown, &package, json!({})).await.problem(404, "NOT_FOUND");
}
