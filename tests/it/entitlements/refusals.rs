//! Permissions and addresses: roles, missing scopes, ids of another type.

use crate::harness::{Server, both_databases, id, unique, units, with};
use serde_json::{Value, json};

both_databases![
    a_viewer_reads_and_writes_nothing,
    an_agent_does_everything_under_its_own_name,
    without_a_key_nothing_is_told,
    a_scope_that_is_not_there_is_404,
    a_deleted_workspace_uses_nothing,
    an_id_of_another_type_is_named_as_such,
    wrong_methods_name_the_right_ones,
    packages_and_boosts_are_made_once_for_a_key,
    a_transaction_can_make_features_and_packages_together,
];

const UUID: &str = "0193f0c0a1b27c3d8e4f5a6b7c8d9e0f";

/// Every write of a scope: its path and a valid body.
fn writes(
    scope: &str,
    feature: &str,
    package: &str,
    hold: &str,
    record: &str,
) -> Vec<(String, Value)> {
    let usage = json!({"feature": feature, "quantity": 1});
    let boost = json!({"feature": feature, "kind": "add_limit", "amount": 1,
        "duration": "permanent"});
    [
        ("packages".to_owned(), json!({"package": package})),
        ("boosts".to_owned(), boost),
        ("usage".to_owned(), usage.clone()),
        ("usage/batch".to_owned(), json!({"items": [usage]})),
        ("usage/holds".to_owned(), with(usage, &json!({"ttl_ms": 60_000}))),
        (format!("usage/holds/{hold}/settle"), json!({"quantity": 1})),
        (format!("usage/holds/{hold}/release"), json!({})),
        (format!("usage/{record}/reversals"), json!({"quantity": 1})),
    ]
    .map(|(path, body)| (format!("/v1/{scope}/{path}"), body))
    .into()
}

/// Every read of a scope that needs no other object.
fn reads(scope: &str) -> Vec<String> {
    let paths = ["packages", "boosts", "entitlements", "usage", "entitlement-log"];
    paths.map(|path| format!("/v1/{scope}/{path}")).into()
}

async fn a_viewer_reads_and_writes_nothing(server: Server) {
    let api = server.api();
    let viewer = api.make_key("viewer").await;
    let (workspace, feature) = (api.make_scope().await, api.make_feature(json!({})).await);
    let namespace = api.make_scope_in(&workspace).await;
    let package = api.make_package(json!([units(&feature, 10)]), json!({})).await;
    for scope in [workspace, namespace] {
        let assignment = api.assign(&scope, &package, json!({})).await.ok(201);
        let boost = api.boost(&scope, &feature, json!({})).await.ok(201);
        let record = api.spend(&scope, &feature, 2).await.ok(201);
        let hold = api.hold(&scope, &feature, 2, 600_000).await.ok(201);
        let code = package["code"].as_str().unwrap();
        for (path, body) in writes(&scope, &feature, code, id(&hold), id(&record)) {
            let answer = viewer.post(&path, &body).key(&unique("viewer")).await;
            answer.problem(403, "FORBIDDEN");
        }
        let path = format!("/v1/{scope}/packages/{}", id(&assignment));
        let suspend = json!({"status": "suspended"});
        viewer.patch(&path, &suspend).if_match(1).await.problem(403, "FORBIDDEN");
        let mut paths = reads(&scope);
        paths.extend([
            path,
            format!("/v1/{scope}/packages/{}/history", id(&assignment)),
            format!("/v1/{scope}/boosts/{}", id(&boost)),
            format!("/v1/{scope}/entitlements/{feature}"),
            format!("/v1/{scope}/usage/{}", id(&record)),
            format!("/v1/{scope}/usage/holds/{}", id(&hold)),
        ]);
        for path in paths {
            viewer.get(&path).await.ok(200);
            assert_eq!(viewer.call("HEAD", &path).await.is(200).text, "", "{path}");
        }
        assert_eq!(api.counted(&scope, &feature).await, (2, 2));
    }
    for collection in ["features", "packages"] {
        let path = format!("/v1/{collection}");
        let body = json!({"code": unique("x"), "name": "X", "type": "limit"});
        viewer.post(&path, &body).await.problem(403, "FORBIDDEN");
        viewer.get(&path).await.ok(200);
    }
}

async fn an_agent_does_everything_under_its_own_name(server: Server) {
    let api = server.api();
    let (agent, key) = api.make_named_key("agent").await;
    let feature = agent.make_feature(json!({})).await;
    let package = agent.make_package(json!([units(&feature, 10)]), json!({})).await;
    assert_eq!(package["updated_by"], key["name"]);
    let scope = agent.make_scope().await;
    let assignment = agent.assign(&scope, &package, json!({})).await.ok(201);
    assert_eq!(assignment["updated_by"], key["name"]);
    agent.boost(&scope, &feature, json!({})).await.ok(201);
    let record = agent.spend(&scope, &feature, 2).await.ok(201);
    agent.reverse(&scope, &record, 1).await.done();
    let hold = agent.hold(&scope, &feature, 2, 600_000).await.ok(201);
    agent.settle(&scope, &hold, 1).await.done();
    let hold = agent.hold(&scope, &feature, 2, 600_000).await.ok(201);
    agent.release(&scope, &hold).await.done();
    agent.reassign(&scope, &assignment, json!({"status": "suspended"})).await.ok(200);
    for record in api.list(&format!("/v1/{scope}/usage")).await {
        assert_eq!(record["by"]["actor"], key["name"]);
    }
}

async fn without_a_key_nothing_is_told(server: Server) {
    let api = server.api();
    let (scope, feature) = api.make_entitled(10).await;
    let anonymous = api.without_key();
    let (hold, record) = (format!("hld_{UUID}"), format!("usg_{UUID}"));
    for (path, body) in writes(&scope, &feature, "p", &hold, &record) {
        anonymous.post(&path, &body).key("k").await.problem(401, "UNAUTHENTICATED");
    }
    for path in reads(&scope) {
        anonymous.get(&path).await.problem(401, "UNAUTHENTICATED");
    }
    assert_eq!(api.counted(&scope, &feature).await, (0, 0));
}

async fn a_scope_that_is_not_there_is_404(server: Server) {
    let api = server.api();
    let (_, feature) = api.make_entitled(10).await;
    let package = api.make_package(json!([]), json!({})).await;
    let code = package["code"].as_str().unwrap();
    let (hold, record) = (format!("hld_{UUID}"), format!("usg_{UUID}"));
    for scope in [format!("workspaces/wsp_{UUID}"), format!("namespaces/nsp_{UUID}")] {
        for (path, body) in writes(&scope, &feature, code, &hold, &record) {
            api.post(&path, &body).key(&unique("nowhere")).await.problem(404, "NOT_FOUND");
        }
        for path in reads(&scope) {
            api.get(&path).await.problem(404, "NOT_FOUND");
        }
    }
}

async fn a_deleted_workspace_uses_nothing(server: Server) {
    let api = server.api();
    let feature = api.make_feature(json!({})).await;
    let workspace = api.make_workspace(json!({})).await;
    let path = format!("/v1/workspaces/{}", id(&workspace));
    api.delete(&path).if_match(1).await.ok(200);
    let scope = crate::harness::scope(&workspace);
    let usage = api.spend(&scope, &feature, 1).await;
    assert!([404, 410].contains(&usage.status), "{}", usage.text);
    let package = api.make_package(json!([units(&feature, 10)]), json!({})).await;
    let assigned = api.assign(&scope, &package, json!({})).await;
    assert!([404, 410].contains(&assigned.status), "{}", assigned.text);
}

async fn an_id_of_another_type_is_named_as_such(server: Server) {
    let api = server.api();
    let (scope, feature) = api.make_entitled(10).await;
    let usage = json!({"feature": feature, "quantity": 1});
    for (path, prefix) in [
        (format!("/v1/workspaces/nsp_{UUID}/usage"), "wsp_"),
        (format!("/v1/namespaces/wsp_{UUID}/usage"), "nsp_"),
    ] {
        let problem = api.get(&path).await.problem(400, "WRONG_ID_TYPE");
        assert!(problem["detail"].to_string().contains(prefix), "{problem}");
        api.post(&path, &usage).key("k").await.problem(400, "WRONG_ID_TYPE");
    }
    for (path, prefix) in [
        (format!("/v1/{scope}/packages/pkg_{UUID}"), "asg_"),
        (format!("/v1/{scope}/boosts/asg_{UUID}"), "bst_"),
        (format!("/v1/{scope}/usage/hld_{UUID}"), "usg_"),
        (format!("/v1/{scope}/usage/holds/usg_{UUID}"), "hld_"),
        (format!("/v1/features/pkg_{UUID}"), "ftr_"),
        (format!("/v1/packages/asg_{UUID}"), "pkg_"),
    ] {
        let problem = api.get(&path).await.problem(400, "WRONG_ID_TYPE");
        assert!(problem["detail"].to_string().contains(prefix), "{problem}");
    }
}

async fn wrong_methods_name_the_right_ones(server: Server) {
    let api = server.api();
    let scope = api.make_scope().await;
    for (method, path, allowed) in [
        ("DELETE", "packages".to_owned(), &["GET", "POST"][..]),
        ("PUT", format!("packages/asg_{UUID}"), &["GET", "PATCH"]),
        ("PATCH", format!("boosts/bst_{UUID}"), &["GET"]),
        ("POST", "entitlements".to_owned(), &["GET"]),
        ("GET", "usage/batch".to_owned(), &["POST"]),
        ("DELETE", format!("usage/usg_{UUID}"), &["GET"]),
    ] {
        let answer = api.call(method, &format!("/v1/{scope}/{path}")).await;
        let allow = answer.header("Allow").unwrap_or_default().to_owned();
        answer.problem(405, "METHOD_NOT_ALLOWED");
        for wanted in allowed {
            assert!(allow.split(',').any(|one| one.trim() == *wanted), "{path}: Allow: {allow}");
        }
    }
}

async fn packages_and_boosts_are_made_once_for_a_key(server: Server) {
    let api = server.api();
    let (scope, feature) = api.make_entitled(10).await;
    let package = api.make_package(json!([]), json!({"is_stackable": true})).await;
    let boost = json!({"feature": feature, "kind": "add_limit", "amount": 1,
        "duration": "permanent"});
    for (path, body) in [("packages", json!({"package": package["code"]})), ("boosts", boost)] {
        let path = format!("/v1/{scope}/{path}");
        let before = api.list(&path).await.len();
        let first = api.post(&path, &body).key(&path).await.is(201);
        let again = api.post(&path, &body).key(&path).await.is(201);
        assert_eq!(again.header("Idempotency-Replayed"), Some("true"));
        assert_eq!(again.header("Location"), first.header("Location"));
        assert_eq!(again.body, first.body);
        assert_eq!(api.list(&path).await.len(), before + 1);
    }
}

async fn a_transaction_can_make_features_and_packages_together(server: Server) {
    let api = server.api();
    let feature = unique("seats");
    let package = json!({"code": unique("pro"), "name": "Pro", "grants": [units(&feature, 3)]});
    let body = json!({"operations": [
        {"op": "create", "type": "feature",
            "body": {"code": feature, "name": "Seats", "type": "limit"}},
        {"op": "create", "type": "package", "body": package},
    ]});
    api.post("/v1/transactions", &body).await.ok(200);
    let scope = api.make_scope().await;
    let made = api.list("/v1/packages").await;
    api.assign(&scope, &made[0], json!({})).await.ok(201);
    assert_eq!(api.spend(&scope, &feature, 3).await.ok(201)["remaining"], 0);
}
