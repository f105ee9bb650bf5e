//! Plans: which fields can change in which status.

use crate::harness::{Api, Server, both_databases, id};
use serde_json::{Value, json};

both_databases![
    a_plan_moves_only_along_its_allowed_transitions,
    a_draft_may_change_in_everything_but_its_code,
    the_price_of_a_plan_that_was_active_once_is_frozen,
    only_a_draft_can_be_deleted,
    only_an_active_plan_can_be_subscribed_to,
];

async fn plan_in(api: &Api, status: &str) -> Value {
    match status {
        "draft" => api.make_plan(json!({})).await,
        "active" => api.make_active_plan(json!({})).await,
        _ => {
            let plan = api.make_active_plan(json!({})).await;
            api.change("plans", &plan, json!({"status": status})).await
        }
    }
}

async fn a_plan_moves_only_along_its_allowed_transitions(server: Server) {
    let api = server.api();
    for (from, allowed) in
        [("draft", &["active"][..]), ("active", &["archived"]), ("archived", &["active"])]
    {
        for to in ["draft", "active", "archived"].into_iter().filter(|to| *to != from) {
            let plan = plan_in(&api, from).await;
            let path = format!("/v1/plans/{}", id(&plan));
            let body = json!({"status": to, "version": plan["version"]});
            let answer = api.patch(&path, &body).await;
            if allowed.contains(&to) {
                assert_eq!(answer.ok(200)["status"], to, "{from} to {to}");
                continue;
            }
            let problem = answer.problem(409, "INVALID_STATE_TRANSITION");
            assert_eq!((&problem["from"], &problem["to"]), (&json!(from), &json!(to)));
            assert_eq!(problem["allowed"], json!(allowed));
            assert_eq!(api.read("plans", &plan).await, plan);
        }
    }
}

async fn a_draft_may_change_in_everything_but_its_code(server: Server) {
    let api = server.api();
    let plan = api.make_plan(json!({})).await;
    let edit = json!({"name": "Pro", "description": "More", "currency": "EUR", "amount": 5,
        "interval": "year", "interval_count": 2, "trial_days": 30, "metadata": {"a": "b"}});
    let changed = api.change("plans", &plan, edit.clone()).await;
    for (field, value) in edit.as_object().unwrap() {
        assert_eq!(&changed[field], value, "{field}");
    }
}

async fn the_price_of_a_plan_that_was_active_once_is_frozen(server: Server) {
    let api = server.api();
    for status in ["active", "archived"] {
        let plan = plan_in(&api, status).await;
        let path = format!("/v1/plans/{}", id(&plan));
        for (field, value) in [
            ("currency", json!("EUR")),
            ("amount", json!(1)),
            ("interval", json!("year")),
            ("interval_count", json!(2)),
            ("trial_days", json!(3)),
        ] {
            let body = json!({(field): value, "version": plan["version"]});
            api.patch(&path, &body).await.problem(409, "PLAN_PRICE_FROZEN");
        }
        assert_eq!(api.read("plans", &plan).await, plan);
        let echo = json!({"name": "New name", "amount": plan["amount"], "description": "New"});
        let renamed = api.change("plans", &plan, echo).await;
        assert_eq!(renamed["name"], "New name");
    }
}

async fn only_a_draft_can_be_deleted(server: Server) {
    let api = server.api();
    for status in ["active", "archived"] {
        let plan = plan_in(&api, status).await;
        let path = format!("/v1/plans/{}?version={}", id(&plan), plan["version"]);
        api.delete(&path).await.problem(409, "PLAN_IN_USE");
        assert_eq!(api.read("plans", &plan).await, plan);
    }
    let draft = plan_in(&api, "draft").await;
    api.delete(&format!("/v1/plans/{}", id(&draft))).if_match(1).await.ok(200);
}

async fn only_an_active_plan_can_be_subscribed_to(server: Server) {
    let api = server.api();
    let workspace = api.make_workspace(json!({})).await;
    let running = api.make_subscription(json!({})).await;
    for status in ["draft", "archived"] {
        let plan = plan_in(&api, status).await;
        let body = json!({"workspace_id": id(&workspace), "plan_id": id(&plan)});
        api.post("/v1/subscriptions", &body).await.problem(409, "PLAN_INACTIVE");
        let path = format!("/v1/subscriptions/{}", id(&running));
        let change = api.patch(&path, &json!({"plan_id": id(&plan)})).if_match(1).await;
        change.problem(409, "PLAN_INACTIVE");
    }
    assert_eq!(api.list("/v1/subscriptions").await, [running]);
}
