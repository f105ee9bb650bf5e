//! `?on_conflict=merge`: the server applies a stale, disjoint edit to the current state.

use crate::harness::{Api, Server, both_databases, id, version};
use serde_json::{Value, json};

both_databases![
    a_clean_edit_is_merged_and_says_from_which_version,
    what_a_form_merely_echoed_stays_as_it_is_now,
    an_identical_edit_changes_nothing,
    an_overlap_is_still_a_conflict,
    a_split_group_is_still_a_conflict,
    nobody_freezes_by_a_merge_what_they_have_not_seen,
    an_unknown_base_is_still_a_conflict,
    a_merge_at_the_current_version_is_an_ordinary_update,
    a_merge_obeys_the_rules_of_the_current_state,
    a_replacement_is_never_merged,
    without_the_parameter_nothing_is_merged,
    concurrent_disjoint_merges_all_get_through,
];

/// A subscription at version 2, after another writer changed its notes, and its path.
async fn moved_on(api: &Api) -> (Value, String) {
    let subscription = api.make_subscription(json!({"notes": "old", "quantity": 3})).await;
    let path = format!("/v1/subscriptions/{}", id(&subscription));
    api.patch(&path, &json!({"notes": "theirs"})).if_match(1).await.ok(200);
    (subscription, path)
}

fn merge(path: &str) -> String {
    format!("{path}?on_conflict=merge")
}

async fn a_clean_edit_is_merged_and_says_from_which_version(server: Server) {
    let api = server.api();
    let (agent, key) = api.make_named_key("agent").await;
    let (subscription, path) = moved_on(&api).await;
    let answer = agent.patch(&merge(&path), &json!({"quantity": 8, "version": 1})).await.is(200);
    assert_eq!(answer.header("X-Merged-From"), Some("1"));
    assert_eq!(answer.header("ETag"), Some("\"3\""));
    assert_eq!(answer.body["notes"], "theirs");
    assert_eq!(answer.body["quantity"], 8);
    assert_eq!(answer.body, api.read("subscriptions", &subscription).await);

    let history = api.history(&path).await;
    let entry = history.last().unwrap();
    assert_eq!((version(entry), &entry["kind"]), (3, &json!("merged")));
    assert_eq!(entry["by"]["actor"], key["name"]);
    assert_eq!(entry["changes"], json!([{"path": "/quantity", "from": 3, "to": 8}]));

    let answer = api.patch(&merge(&path), &json!({"metadata": {"a": "1"}})).if_match(1).await;
    assert_eq!(answer.is(200).header("X-Merged-From"), Some("1"));
}

async fn what_a_form_merely_echoed_stays_as_it_is_now(server: Server) {
    let api = server.api();
    let (_, path) = moved_on(&api).await;
    let form = json!({"notes": "old", "quantity": 8, "cancel_at_period_end": false, "version": 1});
    let merged = api.patch(&merge(&path), &form).await.ok(200);
    assert_eq!((&merged["notes"], &merged["quantity"]), (&json!("theirs"), &json!(8)));
}

async fn an_identical_edit_changes_nothing(server: Server) {
    let api = server.api();
    let (subscription, path) = moved_on(&api).await;
    let answer = api.patch(&merge(&path), &json!({"notes": "theirs", "version": 1})).await.is(200);
    assert_eq!(answer.header("X-Changed"), Some("false"));
    assert_eq!(answer.body, api.read("subscriptions", &subscription).await);
    assert_eq!(api.history(&path).await.len(), 2);
}

async fn an_overlap_is_still_a_conflict(server: Server) {
    let api = server.api();
    let (_, path) = moved_on(&api).await;
    let body = json!({"notes": "mine", "quantity": 8, "version": 1});
    let conflict = api.patch(&merge(&path), &body).await.conflict(409);
    assert_eq!(conflict["merge"]["verdict"], "overlap");
    let body = json!({"notes": "mine"});
    api.patch(&merge(&path), &body).if_match(1).await.conflict(412);
    assert_eq!(api.history(&path).await.len(), 2);
}

async fn a_split_group_is_still_a_conflict(server: Server) {
    let api = server.api();
    let plan = api.make_plan(json!({})).await;
    let path = format!("/v1/plans/{}", id(&plan));
    api.patch(&path, &json!({"currency": "JPY"})).if_match(1).await.ok(200);
    let body = json!({"amount": 7, "version": 1});
    let conflict = api.patch(&merge(&path), &body).await.conflict(409);
    assert_eq!(conflict["merge"]["verdict"], "group_overlap");
    assert_eq!(api.read("plans", &plan).await["amount"], 1000);
}

async fn nobody_freezes_by_a_merge_what_they_have_not_seen(server: Server) {
    let api = server.api();
    let plan = api.make_plan(json!({"amount": 500})).await;
    let path = format!("/v1/plans/{}", id(&plan));
    for (change, at) in [(json!({"amount": 999_999}), 1), (json!({"interval": "year"}), 2)] {
        api.patch(&path, &change).if_match(at).await.ok(200);
        let activation = json!({"status": "active", "version": at});
        let conflict = api.patch(&merge(&path), &activation).await.conflict(409);
        assert_eq!(conflict["merge"]["verdict"], "group_overlap", "{change}");
    }
    let workspace = api.make_workspace(json!({})).await;
    let line = |amount| json!([{"description": "d", "quantity": 1, "unit_amount": amount}]);
    let invoice = json!({"workspace_id": workspace["id"], "currency": "USD", "lines": line(5)});
    let invoice = api.post("/v1/invoices", &invoice).await.ok(201);
    let path = format!("/v1/invoices/{}", id(&invoice));
    api.patch(&path, &json!({"lines": line(900)})).if_match(1).await.ok(200);
    let conflict = api.patch(&merge(&path), &json!({"status": "open", "version": 1})).await;
    assert_eq!(conflict.conflict(409)["merge"]["verdict"], "group_overlap");
    assert_eq!(api.read("invoices", &invoice).await["status"], "draft");
}

async fn an_unknown_base_is_still_a_conflict(server: Server) {
    let api = server.api();
    let (_, path) = moved_on(&api).await;
    let conflict = api.patch(&merge(&path), &json!({"quantity": 8, "version": 50})).await;
    assert_eq!(conflict.conflict(409)["merge"]["verdict"], "unknown_base");
}

async fn a_merge_at_the_current_version_is_an_ordinary_update(server: Server) {
    let api = server.api();
    let (_, path) = moved_on(&api).await;
    let answer = api.patch(&merge(&path), &json!({"notes": "mine", "version": 2})).await.is(200);
    assert_eq!(answer.header("X-Merged-From"), None);
    assert_eq!(api.history(&path).await.last().unwrap()["kind"], "updated");
}

async fn a_merge_obeys_the_rules_of_the_current_state(server: Server) {
    let api = server.api();
    let plan = api.make_plan(json!({})).await;
    let path = format!("/v1/plans/{}", id(&plan));
    let active = api.patch(&path, &json!({"status": "active"})).if_match(1).await.ok(200);
    // The paths are disjoint, but the price was frozen in between.
    let answer = api.patch(&merge(&path), &json!({"amount": 7, "version": 1})).await;
    assert_eq!(answer.status, 409, "{}", answer.text);
    assert_eq!(api.read("plans", &plan).await, active);
}

async fn a_replacement_is_never_merged(server: Server) {
    let api = server.api();
    let workspace = api.make_workspace(json!({})).await;
    let path = format!("/v1/workspaces/{}", id(&workspace));
    api.patch(&path, &json!({"email": "a@b.example"})).if_match(1).await.ok(200);
    let replacement = json!({"name": "New", "version": 1});
    api.put(&merge(&path), &replacement).await.invalid("?on_conflict");
    api.put(&path, &replacement).await.conflict(409);
}

async fn without_the_parameter_nothing_is_merged(server: Server) {
    let api = server.api();
    let (_, path) = moved_on(&api).await;
    let conflict = api.patch(&path, &json!({"quantity": 8, "version": 1})).await.conflict(409);
    assert_eq!(conflict["merge"]["verdict"], "clean");
    assert_eq!(api.history(&path).await.len(), 2);
}

async fn concurrent_disjoint_merges_all_get_through(server: Server) {
    let api = server.api();
    let workspace = api.make_workspace(json!({})).await;
    let path = format!("/v1/workspaces/{}", id(&workspace));
    let answers = crate::harness::together(16, |n| {
        let (api, path) = (api.clone(), merge(&path));
        async move {
            let body = json!({"metadata": {(format!("k{n}")): "v"}, "version": 1});
            api.patch(&path, &body).await.status
        }
    })
    .await;
    assert_eq!(answers, [200; 16]);
    let now = api.read("workspaces", &workspace).await;
    assert_eq!(now["metadata"].as_object().unwrap().len(), 16);
    assert_eq!(version(&now), 17);
    let kinds: Vec<_> = api.history(&path).await.iter().map(|e| e["kind"].clone()).collect();
    assert_eq!(kinds[..2], ["created", "updated"]);
    assert!(kinds[2..].iter().all(|kind| kind == "merged"), "{kinds:?}");
}
