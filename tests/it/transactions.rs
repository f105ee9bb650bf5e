//! Transactions: several operations in one commit, or none of them.

use crate::harness::{Server, both_databases, id, together, unique, version};
use serde_json::{Value, json};

both_databases![
    all_operations_happen_in_one_commit,
    one_failing_operation_undoes_all,
    a_check_only_asserts_a_version,
    each_operation_keeps_its_own_rules,
    what_is_wrong_in_an_operation_is_named,
    zero_or_more_than_fifty_operations_are_refused,
    fifty_operations_are_accepted,
    a_transaction_is_replayed_as_a_whole,
    transactions_over_the_same_objects_never_mix,
];

fn patch(kind: &str, object: &Value, body: Value) -> Value {
    json!({"op": "patch", "type": kind, "id": id(object), "version": version(object), "body": body})
}

fn operations(operations: &[Value]) -> Value {
    json!({"operations": operations})
}

async fn what_is_wrong_in_an_operation_is_named(server: Server) {
    let api = server.api();
    let workspace = api.make_workspace(json!({})).await;
    let good = json!({"op": "check", "type": "workspace", "id": id(&workspace), "version": 1});
    for (path, wrong) in [
        ("/operations/1", json!(5)),
        ("/operations/1/op", json!({"type": "workspace"})),
        ("/operations/1/op", json!({"op": "upsert", "type": "workspace"})),
        ("/operations/1/type", json!({"op": "check"})),
        ("/operations/1/type", json!({"op": "check", "type": "workspaces"})),
        ("/operations/1/id", json!({"op": "check", "type": "workspace", "version": 1})),
        ("/operations/1/id", json!({"op": "check", "type": "workspace", "id": 5})),
        ("/operations/1/version", json!({"op": "check", "type": "workspace", "version": "1"})),
        ("/operations/1/body", json!({"op": "patch", "type": "workspace", "body": []})),
        ("/operations/1/zz", json!({"op": "check", "type": "workspace", "zz": 1})),
    ] {
        let body = operations(&[good.clone(), wrong]);
        let problem = api.post("/v1/transactions", &body).await.invalid(path);
        assert_eq!(problem["failed_index"], 1, "{problem}");
    }
    let unnamed = json!({"op": "check", "type": "workspace", "id": id(&workspace)});
    let refused = api.post("/v1/transactions", &operations(&[unnamed])).await;
    assert_eq!(refused.problem(428, "PRECONDITION_REQUIRED")["failed_index"], 0);
}

async fn all_operations_happen_in_one_commit(server: Server) {
    let api = server.api();
    let kept = api.make_workspace(json!({})).await;
    let gone = api.make_workspace(json!({})).await;
    let subscription = api.make_subscription(json!({})).await;
    let code = unique("made");
    let plan =
        json!({"code": code, "name": "P", "currency": "USD", "amount": 1, "interval": "day"});
    let body = operations(&[
        json!({"op": "check", "type": "workspace", "id": id(&kept), "version": 1}),
        patch("subscription", &subscription, json!({"quantity": 5})),
        json!({"op": "create", "type": "plan", "body": plan}),
        json!({"op": "delete", "type": "workspace", "id": id(&gone), "version": 1}),
    ]);
    let answer = api.post("/v1/transactions", &body).await.ok(200);
    assert_eq!(answer["results"].as_array().unwrap().len(), 4, "{answer}");
    let changed = api.read("subscriptions", &subscription).await;
    assert_eq!((version(&changed), &changed["quantity"]), (2, &json!(5)));
    assert_eq!(api.list(&format!("/v1/plans?code={code}")).await.len(), 1);
    api.get(&format!("/v1/workspaces/{}", id(&gone))).await.problem(410, "DELETED");
    assert_eq!(api.read("workspaces", &kept).await, kept);
    let history = api.history(&format!("/v1/subscriptions/{}", id(&subscription))).await;
    assert_eq!(history[1]["kind"], "updated");
}

async fn one_failing_operation_undoes_all(server: Server) {
    let api = server.api();
    let first = api.make_workspace(json!({})).await;
    let second = api.make_workspace(json!({})).await;
    api.change("workspaces", &second, json!({"name": "newer"})).await;
    let missing = json!({"op": "patch", "type": "workspace", "version": 1, "body": {"name": "x"},
        "id": "wsp_0193f0c0a1b27c3d8e4f5a6b7c8d9e0f"});
    let unnamed = json!({"op": "patch", "type": "workspace", "id": id(&second),
        "body": {"name": "x"}});
    let created = json!({"op": "create", "type": "workspace", "body": {"name": "created"}});
    for (failing, status, code) in [
        (patch("workspace", &second, json!({"name": "x"})), 409, "CONFLICT_VERSION_MISMATCH"),
        (missing, 404, "NOT_FOUND"),
        (unnamed, 428, "PRECONDITION_REQUIRED"),
    ] {
        let edit = patch("workspace", &first, json!({"name": "edited"}));
        let body = operations(&[created.clone(), edit, failing, created.clone()]);
        let problem = api.post("/v1/transactions", &body).await.problem(status, code);
        assert_eq!(problem["failed_index"], 2, "{problem}");
        assert_eq!(api.read("workspaces", &first).await, first);
        assert_eq!(api.list("/v1/workspaces").await.len(), 2);
    }
    let stale = operations(&[patch("workspace", &second, json!({"name": "mine"}))]);
    let conflict = api.post("/v1/transactions", &stale).await.conflict(409);
    assert_eq!(conflict["current"]["name"], "newer", "with everything a conflict has");
    assert_eq!(conflict["merge"]["verdict"], "overlap");
    assert_eq!(api.history(&format!("/v1/workspaces/{}", id(&first))).await.len(), 1);
}

async fn a_check_only_asserts_a_version(server: Server) {
    let api = server.api();
    let checked = api.make_workspace(json!({})).await;
    let edited = api.make_workspace(json!({})).await;
    let check = |version: i64| json!({"op": "check", "type": "workspace", "id": id(&checked), "version": version});
    let edit = patch("workspace", &edited, json!({"name": "edited"}));
    let stale = operations(&[check(7), edit.clone()]);
    let conflict = api.post("/v1/transactions", &stale).await.conflict(409);
    assert_eq!((&conflict["failed_index"], &conflict["current_version"]), (&json!(0), &json!(1)));
    assert_eq!(api.read("workspaces", &edited).await, edited);
    api.post("/v1/transactions", &operations(&[check(1), edit])).await.ok(200);
    assert_eq!(api.read("workspaces", &checked).await, checked);
    assert_eq!(version(&api.read("workspaces", &edited).await), 2);
}

async fn each_operation_keeps_its_own_rules(server: Server) {
    let api = server.api();
    let plan = api.make_active_plan(json!({})).await;
    let subscription = api.make_subscription(json!({})).await;
    for (operation, status, code) in [
        (patch("plan", &plan, json!({"amount": 1})), 409, "PLAN_PRICE_FROZEN"),
        (patch("subscription", &subscription, json!({"quantity": 0})), 422, "VALIDATION_FAILED"),
        (
            patch("subscription", &subscription, json!({"status": "trialing"})),
            409,
            "INVALID_STATE_TRANSITION",
        ),
    ] {
        let body = operations(&[operation]);
        let problem = api.post("/v1/transactions", &body).await.problem(status, code);
        assert_eq!(problem["failed_index"], 0, "{problem}");
    }
    assert_eq!(api.read("plans", &plan).await, plan);
    assert_eq!(api.read("subscriptions", &subscription).await, subscription);
}

fn creates(count: usize) -> Value {
    let create = json!({"op": "create", "type": "workspace", "body": {"name": "made"}});
    operations(&vec![create; count])
}

async fn zero_or_more_than_fifty_operations_are_refused(server: Server) {
    let api = server.api();
    for count in [0, 51] {
        api.post("/v1/transactions", &creates(count)).await.problem(422, "VALIDATION_FAILED");
    }
    api.post("/v1/transactions", &json!({})).await.problem(422, "VALIDATION_FAILED");
    assert!(api.list("/v1/workspaces").await.is_empty());
}

async fn fifty_operations_are_accepted(server: Server) {
    let api = server.api();
    api.post("/v1/transactions", &creates(50)).await.ok(200);
    assert_eq!(api.list("/v1/workspaces").await.len(), 50);
}

async fn a_transaction_is_replayed_as_a_whole(server: Server) {
    let api = server.api();
    let first = api.post("/v1/transactions", &creates(3)).key("t").await.ok(200);
    let again = api.post("/v1/transactions", &creates(3)).key("t").await.is(200);
    assert_eq!(again.header("Idempotency-Replayed"), Some("true"));
    assert_eq!(again.body, first);
    assert_eq!(api.list("/v1/workspaces").await.len(), 3);
    api.post("/v1/transactions", &creates(2)).key("t").await.problem(422, "IDEMPOTENCY_KEY_REUSED");
}

async fn transactions_over_the_same_objects_never_mix(server: Server) {
    let api = server.api();
    let pair = [api.make_workspace(json!({})).await, api.make_workspace(json!({})).await];
    let committed: usize = together(8, |n| {
        let (api, pair) = (api.clone(), pair.clone());
        async move {
            let mut committed = 0;
            for k in 0..15 {
                let mut edits = Vec::new();
                for object in &pair {
                    let now = api.read("workspaces", object).await;
                    edits.push(patch("workspace", &now, json!({"name": format!("{n}.{k}")})));
                }
                // Half of the transactions name the objects in reverse order.
                if n % 2 == 1 {
                    edits.reverse();
                }
                let answer = api.post("/v1/transactions", &operations(&edits)).await;
                assert!([200, 409].contains(&answer.status), "{}", answer.text);
                committed += usize::from(answer.status == 200);
            }
            committed
        }
    })
    .await
    .into_iter()
    .sum();
    let now = [api.read("workspaces", &pair[0]).await, api.read("workspaces", &pair[1]).await];
    assert_eq!(now[0]["name"], now[1]["name"], "both were last written by one transaction");
    assert_eq!(usize::try_from(version(&now[0])).unwrap(), committed + 1);
    assert_eq!(version(&now[0]), version(&now[1]));
}
