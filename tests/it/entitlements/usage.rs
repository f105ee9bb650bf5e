//! Usage: checked and recorded in one step, once per key, denied with a reason.

use crate::harness::{Answer, Server, both_databases, id, members, together, unique, units, with};
use serde_json::{Value, json};

both_databases![
    recorded_usage_has_its_documented_members,
    a_record_is_stored_as_it_was_recorded,
    a_denial_says_exactly_why,
    what_nothing_grants_is_not_included,
    a_denial_records_nothing,
    the_last_unit_is_admitted_and_no_more,
    the_same_key_again_is_the_same_record_counted_once,
    a_key_cannot_be_used_for_other_usage,
    concurrent_sends_of_one_key_are_counted_once,
    a_denial_is_not_kept_under_its_key,
    a_replay_shows_the_first_answer_also_when_the_grant_is_gone,
    usage_needs_a_key,
    a_record_is_found_in_its_own_scope_only,
    records_are_listed_page_by_page,
];

/// The members of a refusal beyond those that every refusal has.
fn own_members(problem: &Value) -> Vec<&str> {
    let common = ["type", "title", "status", "detail", "code", "request_id", "retry"];
    members(problem).into_iter().filter(|name| !common.contains(name)).collect()
}

async fn recorded_usage_has_its_documented_members(server: Server) {
    let api = server.api();
    let (scope, feature) = api.make_entitled(10).await;
    let recorded = api.spend(&scope, &feature, 4).await.ok(201);
    assert!(id(&recorded).starts_with("usg_"), "{recorded}");
    assert_eq!(
        members(&recorded),
        [
            "charged_scope",
            "feature",
            "held",
            "id",
            "limit",
            "quantity",
            "remaining",
            "resets_at",
            "unlimited",
            "used",
        ]
    );
    let expected = json!({"feature": feature, "quantity": 4, "used": 4, "held": 0, "limit": 10,
        "remaining": 6, "unlimited": false, "resets_at": null, "charged_scope": scope});
    assert_eq!(with(recorded.clone(), &expected), recorded);
    let more = api.spend(&scope, &feature, 3).await.ok(201);
    assert_eq!((&more["used"], &more["remaining"]), (&json!(7), &json!(3)));
    assert_ne!(more["id"], recorded["id"]);
}

async fn a_record_is_stored_as_it_was_recorded(server: Server) {
    let api = server.api();
    let (workspace, feature) = api.make_entitled(10).await;
    let (agent, key) = api.make_named_key("agent").await;
    let namespace = api.make_scope_in(&workspace).await;
    let body = json!({"feature": feature, "quantity": 2, "metadata": {"job": "nightly"}});
    let path = format!("/v1/{namespace}/usage");
    let call = agent.post(&path, &body).key("k").header("X-Request-Id", "req-1");
    let recorded = call.header("X-On-Behalf-Of", "ann").await.ok(201);
    let record = api.get(&format!("{path}/{}", id(&recorded))).await.ok(200);
    assert_eq!(
        members(&record),
        [
            "at",
            "by",
            "charged_scope",
            "feature",
            "id",
            "metadata",
            "quantity",
            "request_id",
            "reversed",
            "scope",
        ]
    );
    let expected = json!({"id": recorded["id"], "scope": namespace, "charged_scope": workspace,
        "feature": feature, "quantity": 2, "reversed": 0, "metadata": {"job": "nightly"},
        "request_id": "req-1"});
    assert_eq!(with(record.clone(), &expected), record);
    assert_eq!(
        (&record["by"]["actor"], &record["by"]["on_behalf_of"]),
        (&key["name"], &json!("ann"))
    );
    assert_eq!(api.list(&path).await, [record]);
}

async fn a_denial_says_exactly_why(server: Server) {
    let api = server.api();
    let scope = api.make_scope().await;
    for reset in ["none", "monthly"] {
        let feature = api.make_feature(json!({"reset": reset})).await;
        api.entitle(&scope, json!([units(&feature, 10)])).await;
        let used = api.spend(&scope, &feature, 6).await.ok(201);
        api.hold(&scope, &feature, 3, 60_000).await.ok(201);
        let denied = api.spend(&scope, &feature, 2).await.exceeded();
        let mut named = own_members(&denied);
        named.retain(|name| *name != "feature");
        assert_eq!(
            named,
            ["charged_scope", "held", "limit", "remaining", "requested", "resets_at", "used"]
        );
        let expected = json!({"limit": 10, "used": 6, "held": 3, "remaining": 1, "requested": 2,
            "charged_scope": scope, "resets_at": used["resets_at"]});
        assert_eq!(with(denied.clone(), &expected), denied);
        assert_eq!(denied["resets_at"].is_null(), reset == "none");
        let hold = api.hold(&scope, &feature, 2, 60_000).await.exceeded();
        assert_eq!(with(hold.clone(), &expected), hold, "a hold is denied alike");
    }
}

async fn what_nothing_grants_is_not_included(server: Server) {
    let api = server.api();
    let (workspace, _) = api.make_entitled(10).await;
    let namespace = api.make_scope_in(&workspace).await;
    let other = api.make_feature(json!({})).await;
    for scope in [workspace, namespace] {
        api.spend(&scope, &other, 1).await.problem(403, "FEATURE_NOT_INCLUDED");
        api.hold(&scope, &other, 1, 60_000).await.problem(403, "FEATURE_NOT_INCLUDED");
        let items = json!({"items": [{"feature": other, "quantity": 1}]});
        let batch = api.post(&format!("/v1/{scope}/usage/batch"), &items).key(&unique("b")).await;
        batch.problem(403, "FEATURE_NOT_INCLUDED");
        assert!(api.list(&format!("/v1/{scope}/usage")).await.is_empty());
    }
}

async fn a_denial_records_nothing(server: Server) {
    let api = server.api();
    let (scope, feature) = api.make_entitled(10).await;
    api.spend(&scope, &feature, 8).await.ok(201);
    for _ in 0..3 {
        api.spend(&scope, &feature, 3).await.exceeded();
    }
    assert_eq!(api.counted(&scope, &feature).await, (8, 0));
    assert_eq!(api.list(&format!("/v1/{scope}/usage")).await.len(), 1);
    assert_eq!(api.spend(&scope, &feature, 2).await.ok(201)["remaining"], 0);
}

async fn the_last_unit_is_admitted_and_no_more(server: Server) {
    let api = server.api();
    for (limit, quantity) in [(1, 1), (10, 10), (10, 3), (10, 4), (2, 3)] {
        let (scope, feature) = api.make_entitled(limit).await;
        for _ in 0..limit / quantity {
            api.spend(&scope, &feature, quantity).await.ok(201);
        }
        let denied = api.spend(&scope, &feature, quantity).await.exceeded();
        assert_eq!(denied["used"], limit / quantity * quantity, "⌊{limit}/{quantity}⌋·{quantity}");
        assert_eq!(api.recorded(&scope, &feature).await, limit / quantity * quantity);
    }
}

async fn the_same_key_again_is_the_same_record_counted_once(server: Server) {
    let api = server.api();
    let (scope, feature) = api.make_entitled(10).await;
    let path = format!("/v1/{scope}/usage");
    let body = json!({"feature": feature, "quantity": 4});
    let send = || api.post(&path, &body).key("once");
    let first = send().await.is(201);
    assert_ne!(first.header("Idempotency-Replayed"), Some("true"));
    api.spend(&scope, &feature, 1).await.ok(201);
    for _ in 0..3 {
        let again = send().await.is(201);
        assert_eq!(again.header("Idempotency-Replayed"), Some("true"));
        assert_eq!(again.header("Location"), first.header("Location"));
        assert_eq!(again.body, first.body, "the first answer, unchanged");
    }
    assert_eq!(api.counted(&scope, &feature).await, (5, 0));
    assert_eq!(api.list(&path).await.len(), 2);
}

async fn a_key_cannot_be_used_for_other_usage(server: Server) {
    let api = server.api();
    let (scope, feature) = api.make_entitled(10).await;
    let namespace = api.make_scope_in(&scope).await;
    let path = format!("/v1/{scope}/usage");
    let body = json!({"feature": feature, "quantity": 4});
    api.post(&path, &body).key("once").await.ok(201);
    let hold = with(body.clone(), &json!({"ttl_ms": 60_000}));
    for (path, body) in [
        (path.clone(), json!({"feature": feature, "quantity": 5})),
        (path.clone(), with(body.clone(), &json!({"metadata": {"a": "b"}}))),
        (format!("/v1/{namespace}/usage"), body.clone()),
        (format!("{path}/batch"), json!({"items": [body]})),
        (format!("{path}/holds"), hold),
    ] {
        api.post(&path, &body).key("once").await.problem(422, "IDEMPOTENCY_KEY_REUSED");
    }
    assert_eq!(api.counted(&scope, &feature).await, (4, 0));
}

async fn concurrent_sends_of_one_key_are_counted_once(server: Server) {
    let (apis, _siblings) = super::clients(&server).await;
    let (scope, feature) = apis[0].make_entitled(1_000).await;
    for round in 1..=5 {
        let answers: Vec<Answer> = together(12, |n| {
            let (api, path) = (apis[n % apis.len()].clone(), format!("/v1/{scope}/usage"));
            let body = json!({"feature": feature, "quantity": 3});
            async move { api.post(&path, &body).key(&format!("round-{round}")).await }
        })
        .await;
        for answer in &answers {
            assert_eq!(answer.clone().ok(201), answers[0].body);
        }
        assert_eq!(apis[0].counted(&scope, &feature).await, (3 * round, 0));
    }
    assert_eq!(apis[0].list(&format!("/v1/{scope}/usage")).await.len(), 5);
}

async fn a_denial_is_not_kept_under_its_key(server: Server) {
    let api = server.api();
    let (scope, feature) = api.make_entitled(3).await;
    let path = format!("/v1/{scope}/usage");
    let body = json!({"feature": feature, "quantity": 4});
    for _ in 0..2 {
        let denied = api.post(&path, &body).key("later").await;
        assert_eq!(denied.header("Idempotency-Replayed"), None);
        denied.exceeded();
    }
    api.boost(&scope, &feature, json!({"amount": 1})).await.ok(201);
    assert_eq!(api.post(&path, &body).key("later").await.ok(201)["used"], 4);
    let again = api.post(&path, &body).key("later").await.is(201);
    assert_eq!(again.header("Idempotency-Replayed"), Some("true"));
}

async fn a_replay_shows_the_first_answer_also_when_the_grant_is_gone(server: Server) {
    let api = server.api();
    let (scope, feature) = (api.make_scope().await, api.make_feature(json!({})).await);
    let assignment = api.entitle(&scope, json!([units(&feature, 4)])).await;
    let path = format!("/v1/{scope}/usage");
    let body = json!({"feature": feature, "quantity": 4});
    let first = api.post(&path, &body).key("once").await.ok(201);
    api.reassign(&scope, &assignment, json!({"status": "cancelled"})).await.ok(200);
    assert_eq!(api.post(&path, &body).key("once").await.ok(201), first);
    api.post(&path, &body).key("twice").await.problem(403, "FEATURE_NOT_INCLUDED");
}

async fn usage_needs_a_key(server: Server) {
    let api = server.api();
    let (scope, feature) = api.make_entitled(10).await;
    let one = json!({"feature": feature, "quantity": 1});
    for (path, body) in [
        ("usage", one.clone()),
        ("usage/batch", json!({"items": [one]})),
        ("usage/holds", with(one.clone(), &json!({"ttl_ms": 60_000}))),
    ] {
        let usage = api.post(&format!("/v1/{scope}/{path}"), &body).without_idempotency_key();
        usage.await.problem(400, "IDEMPOTENCY_KEY_REQUIRED");
    }
    assert_eq!(api.counted(&scope, &feature).await, (0, 0));
}

async fn a_record_is_found_in_its_own_scope_only(server: Server) {
    let api = server.api();
    let (workspace, feature) = api.make_entitled(10).await;
    let namespace = api.make_scope_in(&workspace).await;
    let other = api.make_scope().await;
    let record = api.spend(&namespace, &feature, 1).await.ok(201);
    let path = |scope: &str| format!("/v1/{scope}/usage/{}", id(&record));
    api.get(&path(&namespace)).await.ok(200);
    api.get(&path(&other)).await.problem(404, "NOT_FOUND");
    assert!(api.list(&format!("/v1/{other}/usage")).await.is_empty());
}

async fn records_are_listed_page_by_page(server: Server) {
    let api = server.api();
    let (scope, feature) = api.make_entitled(10).await;
    let mut recorded = Vec::new();
    for _ in 0..7 {
        recorded.push(api.spend(&scope, &feature, 1).await.ok(201)["id"].clone());
    }
    let (mut listed, mut next) = (Vec::new(), format!("/v1/{scope}/usage?limit=3"));
    loop {
        let page = api.get(&next).await.ok(200);
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= 3, "{page}");
        listed.extend(items.iter().map(|record| record["id"].clone()));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        next = format!("/v1/{scope}/usage?limit=3&cursor={cursor}");
    }
    for list in [&mut listed, &mut recorded] {
        list.sort_by_key(Value::to_string);
    }
    assert_eq!(listed, recorded, "each once");
}
