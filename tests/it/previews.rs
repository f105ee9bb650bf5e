//! Previews: what a write would do, decided by the write's own rules, and nothing written.

use crate::{
    harness::{Api, Server, both_databases, id, version},
    surface::make,
};
use serde_json::{Value, json};

both_databases![
    a_preview_says_what_the_write_would_do_and_writes_nothing,
    a_stale_preview_says_what_is_in_the_way,
    a_forced_preview_is_for_admins_and_leaves_no_record,
    a_preview_names_the_rule_that_would_refuse,
    a_preview_heeds_every_precondition,
    a_preview_needs_an_object_a_version_valid_fields_and_the_right_to_write,
    every_object_that_can_be_patched_has_a_preview,
    dry_run_is_an_unknown_parameter,
];

/// A subscription at version 2, and its path.
async fn moved_on(api: &Api) -> (Value, String) {
    let subscription = api.make_subscription(json!({"notes": "old"})).await;
    let path = format!("/v1/subscriptions/{}", id(&subscription));
    let now = api.patch(&path, &json!({"notes": "theirs", "quantity": 4})).if_match(1).await;
    (now.ok(200), path)
}

fn preview(path: &str) -> String {
    format!("{path}/preview")
}

async fn a_preview_says_what_the_write_would_do_and_writes_nothing(server: Server) {
    let api = server.api();
    let agent = api.make_key("agent").await;
    let (subscription, path) = moved_on(&api).await;
    let body = json!({"status": "canceled", "version": 2});
    let seen = agent.post(&preview(&path), &body).await.ok(200);
    assert_eq!((&seen["current_version"], &seen["verdict"]), (&json!(2), &json!("clean")));
    assert_eq!((&seen["would_overwrite"], &seen["would_refuse"]), (&json!([]), &json!(null)));
    assert_eq!(seen.as_object().unwrap().len(), 5, "{seen}");
    let changes = seen["would_change"].as_array().unwrap();
    let status = json!({"path": "/status", "from": "active", "to": "canceled"});
    assert!(changes.contains(&status), "{seen}");
    assert!(changes.iter().any(|change| change["path"] == "/canceled_at"), "{seen}");

    // A merge patch has its own content type, and the version may be in the header.
    let patch = agent
        .call("POST", &preview(&path))
        .body("application/merge-patch+json", json!({"notes": null}).to_string());
    patch.if_match(2).await.ok(200);
    // It is no write, so an Idempotency-Key binds nothing.
    for quantity in [5, 6] {
        let body = json!({"quantity": quantity, "version": 2});
        let seen = agent.post(&preview(&path), &body).key("one").await.is(200);
        assert_eq!(seen.header("Idempotency-Replayed"), None);
        assert_eq!(seen.body["would_change"][0]["to"], quantity);
    }
    assert_eq!(api.read("subscriptions", &subscription).await, subscription);
    assert_eq!(api.history(&path).await.len(), 2);
    assert_eq!(api.patch(&path, &body).await.ok(200)["status"], "canceled");
}

async fn a_stale_preview_says_what_is_in_the_way(server: Server) {
    let api = server.api();
    let (_, path) = moved_on(&api).await;
    let body = json!({"notes": "mine", "cancel_at_period_end": true});
    let overwritten = json!([{"path": "/notes", "from": "theirs", "to": "mine"}]);
    let answer = api.post(&preview(&path), &body).if_match(1).await.is(200);
    let seen = &answer.body;
    assert_eq!((&seen["verdict"], &seen["would_overwrite"]), (&json!("overlap"), &overwritten));
    assert_eq!(seen["would_change"].as_array().unwrap().len(), 2, "{seen}");
    let refusal = &seen["would_refuse"];
    assert_eq!(refusal["code"], "CONFLICT_VERSION_MISMATCH");
    assert_eq!(refusal["status"], 412, "as for the same write");
    assert_eq!(refusal["expected_version"], 1);
    assert_eq!(refusal["request_id"].as_str(), answer.header("X-Request-Id"));

    let mut in_body = body.clone();
    in_body["version"] = json!(1);
    let seen = api.post(&preview(&path), &in_body).await.ok(200);
    assert_eq!(seen["would_refuse"]["status"], 409);
    let merge = format!("{}?on_conflict=merge", preview(&path));
    let disjoint = json!({"cancel_at_period_end": true, "version": 1});
    let seen = api.post(&merge, &disjoint).await.ok(200);
    assert_eq!((&seen["verdict"], &seen["would_refuse"]), (&json!("clean"), &json!(null)));
    assert_eq!(seen["would_overwrite"], json!([]));
    let seen = api.post(&preview(&path), &disjoint).await.ok(200);
    assert_eq!(seen["would_refuse"]["merge"]["verdict"], "clean");
}

async fn a_forced_preview_is_for_admins_and_leaves_no_record(server: Server) {
    let api = server.api();
    let (subscription, path) = moved_on(&api).await;
    let forced = format!("{}?force=true", preview(&path));
    let body = json!({"notes": "forced", "version": 1});
    let seen = api.post(&forced, &body).await.ok(200);
    let overwritten = json!([{"path": "/notes", "from": "theirs", "to": "forced"}]);
    assert_eq!((&seen["current_version"], &seen["would_overwrite"]), (&json!(2), &overwritten));
    assert_eq!((&seen["verdict"], &seen["would_refuse"]), (&json!("overlap"), &json!(null)));
    let blind = api.post(&forced, &json!({"notes": "forced"})).await.ok(200);
    assert_eq!(
        (&blind["verdict"], &blind["would_overwrite"]),
        (&json!("unknown_base"), &overwritten)
    );
    for role in ["viewer", "agent"] {
        let caller = api.make_key(role).await;
        caller.post(&forced, &body).await.problem(403, "FORCE_FORBIDDEN");
    }
    assert_eq!(api.read("subscriptions", &subscription).await, subscription);
    assert_eq!(api.history(&path).await.len(), 2);
    assert!(api.audit("forced_write", id(&subscription)).await.is_empty());
}

async fn a_preview_heeds_every_precondition(server: Server) {
    let api = server.api();
    let workspace = api.make_workspace(json!({})).await;
    let path = format!("/v1/workspaces/{}", id(&workspace));
    let body = json!({"version": 1, "name": "x"});
    for excluded in ["*", "\"1\"", "\"7\", \"1\""] {
        let write = api.patch(&path, &body).header("If-None-Match", excluded).await;
        write.problem(412, "CONFLICT_VERSION_MISMATCH");
        let seen = api.post(&preview(&path), &body).header("If-None-Match", excluded).await.ok(200);
        let refusal = &seen["would_refuse"];
        assert_eq!(refusal["code"], "CONFLICT_VERSION_MISMATCH", "{excluded}: {seen}");
        assert_eq!((&refusal["status"], &refusal["current_version"]), (&json!(412), &json!(1)));
        assert_eq!(seen["would_change"][0]["to"], "x");
    }
    let seen = api.post(&preview(&path), &body).header("If-None-Match", "\"2\"").await.ok(200);
    assert_eq!(seen["would_refuse"], json!(null));
    // Force skips the version that was named, also in the header.
    let forced = format!("{}?force=true", preview(&path));
    let name = json!({"name": "x"});
    let seen = api.post(&forced, &name).if_match(7).header("If-None-Match", "\"2\"").await.ok(200);
    assert_eq!(seen["would_refuse"], json!(null));
    // Wrong fields are told before.
    let wrong = json!({"version": 1, "name": 5});
    let refused = api.post(&preview(&path), &wrong).header("If-None-Match", "*").await;
    refused.invalid("/name");
}

async fn a_preview_names_the_rule_that_would_refuse(server: Server) {
    let api = server.api();
    let (subscription, path) = moved_on(&api).await;
    api.change("subscriptions", &subscription, json!({"status": "canceled"})).await;
    let back = json!({"status": "active", "version": 3});
    let forced = format!("{}?force=true", preview(&path));
    for path in [&preview(&path), &forced] {
        let seen = api.post(path, &back).await.ok(200);
        assert_eq!(seen["would_refuse"]["code"], "INVALID_STATE_TRANSITION");
        assert_eq!(seen["would_refuse"]["from"], "canceled");
        let asked = json!([{"path": "/status", "from": "canceled", "to": "active"}]);
        assert_eq!(seen["would_change"], asked);
    }
    let plan = api.make_active_plan(json!({})).await;
    let path = format!("/v1/plans/{}", id(&plan));
    let cheaper = api.post(&preview(&path), &json!({"amount": 1})).if_match(version(&plan));
    assert_eq!(cheaper.await.ok(200)["would_refuse"]["code"], "PLAN_PRICE_FROZEN");
    // Finalizing takes a number, and a preview of it takes none.
    let invoice = api.make_invoice(json!({})).await;
    let path = format!("/v1/invoices/{}", id(&invoice));
    let open = json!({"status": "open", "version": version(&invoice)});
    let seen = api.post(&preview(&path), &open).await.ok(200);
    let number = |seen: &Value| {
        let changes = seen["would_change"].as_array().unwrap().iter();
        changes.clone().find(|change| change["path"] == "/number").unwrap()["to"].clone()
    };
    let again = api.post(&preview(&path), &open).await.ok(200);
    assert_eq!(number(&seen), number(&again));
    assert_eq!(api.patch(&path, &open).await.ok(200)["number"], number(&seen));
}

async fn a_preview_needs_an_object_a_version_valid_fields_and_the_right_to_write(server: Server) {
    let api = server.api();
    let (subscription, path) = moved_on(&api).await;
    let body = json!({"notes": "x", "version": 2});
    let send = |path: &str, body: &Value| api.post(&preview(path), body);
    let viewer = api.make_key("viewer").await;
    viewer.post(&preview(&path), &body).await.problem(403, "FORBIDDEN");
    let anonymous = api.without_key();
    anonymous.post(&preview(&path), &body).await.problem(401, "UNAUTHENTICATED");
    send(&path, &json!({"notes": "x"})).await.problem(428, "PRECONDITION_REQUIRED");
    send(&path, &body).if_match(1).await.problem(400, "MALFORMED_PRECONDITION");
    send(&path, &json!({"quantity": 0, "version": 2})).await.invalid("/quantity");
    send(&path, &json!({"color": "red", "version": 2})).await.invalid("/color");
    let unknown = "/v1/subscriptions/sub_0193f0c0a1b27c3d8e4f5a6b7c8d9e0f";
    send(unknown, &body).await.problem(404, "NOT_FOUND");
    let plan = path.replace("subscriptions", "plans");
    send(&plan, &body).await.problem(400, "WRONG_ID_TYPE");
    let with = format!("{}?dry_run=true", preview(&path));
    api.post(&with, &body).await.invalid("?dry_run");
    api.delete(&path).if_match(2).await.ok(200);
    send(&path, &body).await.problem(410, "DELETED");
    assert_eq!(id(&subscription), path.rsplit('/').next().unwrap());
}

async fn every_object_that_can_be_patched_has_a_preview(server: Server) {
    let api = server.api();
    let document = api.without_key().get("/openapi.json").await.ok(200);
    let mut checked = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        if !item["patch"].is_object() {
            continue;
        }
        let operation = &document["paths"][format!("{path}/preview")]["post"];
        assert!(operation.is_object(), "{path} has no preview");
        let answer = &operation["responses"]["200"]["content"]["application/json"]["schema"];
        assert_eq!(answer["$ref"], "#/components/schemas/Preview", "one answer of one shape");
        let segments: Vec<_> =
            path.split('/').map(|part| if part.starts_with('{') { "{}" } else { part }).collect();
        let plain = segments.join("/");
        let collection = plain.trim_start_matches("/v1/").trim_end_matches("/{}");
        let (object, edit) = make(&api, collection).await;
        let path = match object["scope"].as_str() {
            Some(scope) => format!("/v1/{scope}/packages/{}", id(&object)),
            None => format!("/v1/{collection}/{}", id(&object)),
        };
        let told = api.post(&preview(&path), &edit).if_match(version(&object)).await.ok(200);
        assert_eq!(told["would_refuse"], json!(null), "{path}");
        assert_eq!(api.get(&path).await.ok(200), object, "{path}: nothing was written");
        api.patch(&path, &edit).if_match(version(&object)).await.ok(200);
        let entry = api.history(&path).await.pop().unwrap();
        assert_eq!(entry["changes"], told["would_change"], "{path}");
        checked += 1;
    }
    assert!(checked >= 11, "{checked}");
}

async fn dry_run_is_an_unknown_parameter(server: Server) {
    let api = server.api();
    let (subscription, path) = moved_on(&api).await;
    let body = json!({"notes": "x", "version": 2});
    for query in ["dry_run=true", "force=true&dry_run=true"] {
        let with = format!("{path}?{query}");
        let reason = |call: crate::harness::Call| call.header("X-Force-Reason", "looking");
        reason(api.patch(&with, &body)).await.invalid("?dry_run");
        reason(api.put(&with, &body)).await.invalid("?dry_run");
        reason(api.delete(&with)).if_match(2).await.invalid("?dry_run");
    }
    assert_eq!(api.read("subscriptions", &subscription).await, subscription);
}
