//! Base packages: at most one per scope, replaced in one commit.

use crate::harness::{Api, Server, both_databases, id, instant, units};
use serde_json::{Value, json};

both_databases![
    a_new_base_package_replaces_the_old_one,
    a_new_base_package_replaces_a_suspended_one,
    other_packages_stay_when_the_base_is_replaced,
    the_base_of_a_namespace_is_not_the_base_of_its_workspace,
    a_replaced_base_package_does_not_come_back,
    a_downgrade_below_what_is_used_admits_nothing,
    a_refused_base_package_replaces_nothing,
    a_repeated_external_service_replaces_nothing,
];

/// A new base package that grants `limit` units of a feature.
async fn base(api: &Api, feature: &str, limit: i64) -> Value {
    api.make_package(json!([units(feature, limit)]), json!({"is_base": true})).await
}

/// The base-package assignments that have not ended.
async fn bases(api: &Api, scope: &str) -> Vec<Value> {
    let mut assignments = api.list(&format!("/v1/{scope}/packages")).await;
    let over = |assignment: &Value| assignment["ended_at"].is_string();
    assignments.retain(|assignment| assignment["is_base"] == true && !over(assignment));
    assignments
}

async fn a_new_base_package_replaces_the_old_one(server: Server) {
    let api = server.api();
    let feature = api.make_feature(json!({"reset": "monthly"})).await;
    let (small, large) = (base(&api, &feature, 5).await, base(&api, &feature, 20).await);
    let workspace = api.make_scope().await;
    let namespace = api.make_scope_in(&workspace).await;
    for scope in [workspace, namespace] {
        let old = api.assign(&scope, &small, json!({})).await.ok(201);
        assert_eq!(old["is_base"], true);
        let before = api.spend(&scope, &feature, 4).await.ok(201);
        let new = api.assign(&scope, &large, json!({})).await.ok(201);
        assert_eq!(bases(&api, &scope).await, std::slice::from_ref(&new));
        let path = format!("/v1/{scope}/packages/{}", id(&old));
        let replaced = api.get(&path).await.ok(200);
        assert_eq!((&replaced["status"], &replaced["version"]), (&json!("cancelled"), &json!(2)));
        assert_eq!(replaced["ended_at"], new["starts_at"], "at the same instant");
        assert_eq!(new["anchor_at"], old["anchor_at"]);
        let after = api.spend(&scope, &feature, 1).await.ok(201);
        assert_eq!((&after["used"], &after["limit"]), (&json!(5), &json!(20)));
        assert_eq!(after["resets_at"], before["resets_at"], "the running window goes on");
        // One commit: the two changes are adjacent in the event stream.
        let events = api.get("/v1/events?after=0&limit=200").await.ok(200);
        let events = events["items"].as_array().unwrap();
        let of = |assignment: &Value, kind: &str| {
            events
                .iter()
                .find(|e| e["resource"]["id"] == assignment["id"] && e["kind"] == kind)
                .unwrap_or_else(|| panic!("no event says {kind}"))
        };
        let (ended, made) = (of(&old, "updated"), of(&new, "created"));
        assert_eq!(ended["at"], made["at"]);
        assert_eq!(ended["request_id"], made["request_id"]);
    }
}

async fn a_new_base_package_replaces_a_suspended_one(server: Server) {
    let api = server.api();
    let feature = api.make_feature(json!({})).await;
    let scope = api.make_scope().await;
    let old = api.assign(&scope, &base(&api, &feature, 5).await, json!({})).await.ok(201);
    api.reassign(&scope, &old, json!({"status": "suspended"})).await.ok(200);
    let new = api.assign(&scope, &base(&api, &feature, 7).await, json!({})).await.ok(201);
    assert_eq!(bases(&api, &scope).await, [new]);
    let replaced = api.get(&format!("/v1/{scope}/packages/{}", id(&old))).await.ok(200);
    assert_eq!((&replaced["status"], &replaced["version"]), (&json!("cancelled"), &json!(3)));
    assert_eq!(api.entitlement(&scope, &feature).await["limit"], 7);
}

async fn other_packages_stay_when_the_base_is_replaced(server: Server) {
    let api = server.api();
    let (scope, feature) = api.make_entitled(100).await;
    for limit in [5, 7] {
        api.assign(&scope, &base(&api, &feature, limit).await, json!({})).await.ok(201);
        assert_eq!(api.entitlement(&scope, &feature).await["limit"], 100 + limit);
    }
}

async fn the_base_of_a_namespace_is_not_the_base_of_its_workspace(server: Server) {
    let api = server.api();
    let feature = api.make_feature(json!({})).await;
    let workspace = api.make_scope().await;
    let (first, second) =
        (api.make_scope_in(&workspace).await, api.make_scope_in(&workspace).await);
    for (scope, limit) in [(&workspace, 5), (&first, 6), (&second, 7)] {
        api.assign(scope, &base(&api, &feature, limit).await, json!({})).await.ok(201);
    }
    for (scope, limit) in [(&workspace, 5), (&first, 6), (&second, 7)] {
        assert_eq!(bases(&api, scope).await.len(), 1);
        assert_eq!(api.entitlement(scope, &feature).await["limit"], limit);
    }
}

async fn a_replaced_base_package_does_not_come_back(server: Server) {
    let api = server.api();
    let feature = api.make_feature(json!({})).await;
    let scope = api.make_scope().await;
    let old = api.assign(&scope, &base(&api, &feature, 5).await, json!({})).await.ok(201);
    api.reassign(&scope, &old, json!({"status": "suspended"})).await.ok(200);
    let new = api.assign(&scope, &base(&api, &feature, 7).await, json!({})).await.ok(201);
    let refused = api.reassign(&scope, &old, json!({"status": "active"})).await.is(409);
    let code = refused.body["code"].as_str().unwrap().to_owned();
    assert!(
        ["BASE_PACKAGE_CONFLICT", "INVALID_STATE_TRANSITION"].contains(&code.as_str()),
        "{}",
        refused.text
    );
    refused.problem(409, &code);
    assert_eq!(bases(&api, &scope).await, [new]);
}

async fn a_downgrade_below_what_is_used_admits_nothing(server: Server) {
    let api = server.api();
    let feature = api.make_feature(json!({})).await;
    let scope = api.make_scope().await;
    let large = base(&api, &feature, 20).await;
    api.assign(&scope, &large, json!({})).await.ok(201);
    let record = api.spend(&scope, &feature, 15).await.ok(201);
    api.assign(&scope, &base(&api, &feature, 10).await, json!({})).await.ok(201);
    let denied = api.spend(&scope, &feature, 1).await.exceeded();
    assert_eq!((&denied["limit"], &denied["used"]), (&json!(10), &json!(15)));
    assert_eq!(denied["remaining"], 0);
    api.reverse(&scope, &record, 6).await.done();
    let after = api.spend(&scope, &feature, 1).await.ok(201);
    assert_eq!((&after["used"], &after["remaining"]), (&json!(10), &json!(0)));
}

async fn a_refused_base_package_replaces_nothing(server: Server) {
    let api = server.api();
    let feature = api.make_feature(json!({})).await;
    let scope = api.make_scope().await;
    let old = api.assign(&scope, &base(&api, &feature, 5).await, json!({})).await.ok(201);
    let new = base(&api, &feature, 9).await;
    let past = json!({"expires_at": crate::harness::in_ms(-1_000)});
    api.assign(&scope, &new, past).await.invalid("/expires_at");
    api.change("packages", &new, json!({"status": "archived"})).await;
    api.assign(&scope, &new, json!({})).await.problem(409, "PACKAGE_INACTIVE");
    assert_eq!(bases(&api, &scope).await, [old]);
    assert_eq!(api.entitlement(&scope, &feature).await["limit"], 5);
}

async fn a_repeated_external_service_replaces_nothing(server: Server) {
    let api = server.api();
    let feature = api.make_feature(json!({})).await;
    let scope = api.make_scope().await;
    let (small, large) = (base(&api, &feature, 5).await, base(&api, &feature, 9).await);
    let external = json!({"external_service_id": crate::harness::unique("svc")});
    let first = api.assign(&scope, &small, external.clone()).await.ok(201);
    let second = api.assign(&scope, &large, json!({})).await.ok(201);
    assert!(instant(&second["starts_at"]) >= instant(&first["starts_at"]));
    let late = api.assign(&scope, &small, external).await.ok(200);
    assert_eq!((&late["id"], &late["status"]), (&first["id"], &json!("cancelled")));
    assert_eq!(bases(&api, &scope).await, [second]);
    assert_eq!(api.entitlement(&scope, &feature).await["limit"], 9);
}
