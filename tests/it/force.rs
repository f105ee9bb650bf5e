//! `?force=true`: skips only the version check, for admins, with a reason, and audited.

use crate::harness::{Api, Call, Server, both_databases, id, unique, version};
use serde_json::{Value, json};

both_databases![
    an_admin_may_overwrite_a_newer_version_with_a_reason,
    the_audit_record_has_every_overwritten_field,
    only_an_admin_may_force_and_the_attempt_is_on_record,
    a_force_without_the_role_is_told_before_everything_else,
    a_force_needs_a_reason,
    a_contradiction_is_told_before_a_missing_reason,
    only_the_word_true_forces,
    a_force_without_a_version_is_recorded_as_blind,
    a_force_at_the_current_version_is_an_ordinary_update,
    a_force_that_a_rule_refuses_leaves_no_record,
    a_delete_may_be_forced,
    a_forced_write_is_replayed_and_not_repeated,
    a_conflict_after_a_force_shows_that_it_was_forced,
];

fn reason(call: Call, reason: &str) -> Call {
    call.header("X-Force-Reason", reason)
}

/// A subscription at version 2, and its path.
async fn moved_on(api: &Api) -> (Value, String) {
    let subscription = api.make_subscription(json!({"notes": "old"})).await;
    let path = format!("/v1/subscriptions/{}", id(&subscription));
    let now = api.patch(&path, &json!({"notes": "theirs", "quantity": 4})).if_match(1).await;
    (now.ok(200), path)
}

fn force(path: &str) -> String {
    format!("{path}?force=true")
}

async fn an_admin_may_overwrite_a_newer_version_with_a_reason(server: Server) {
    let api = server.api();
    let (subscription, path) = moved_on(&api).await;
    let body = json!({"notes": "forced", "version": 1});
    let answer = reason(api.patch(&force(&path), &body), "chargeback 8812").await.is(200);
    assert_eq!(answer.header("X-Forced"), Some("true"));
    assert_eq!(answer.header("ETag"), Some("\"3\""));
    assert_eq!(answer.body["notes"], "forced");
    assert_eq!(answer.body["quantity"], 4, "only what the body names is written");
    assert_eq!(answer.body, api.read("subscriptions", &subscription).await);
    let entry = api.history(&path).await.pop().unwrap();
    assert_eq!((version(&entry), &entry["kind"]), (3, &json!("forced")));
    assert_eq!(entry["reason"], "chargeback 8812");
    assert_eq!(entry["by"]["forced"], true);

    let header = api.patch(&force(&path), &json!({"notes": "again"})).if_match(2);
    assert_eq!(version(&reason(header, "again").await.ok(200)), 4);
}

async fn the_audit_record_has_every_overwritten_field(server: Server) {
    let api = server.api();
    let (admin, key) = api.make_named_key("admin").await;
    let (subscription, path) = moved_on(&api).await;
    let body = json!({"notes": "forced", "quantity": 9, "version": 1});
    let call = reason(admin.patch(&force(&path), &body), "dispute");
    let answer = call.header("X-On-Behalf-Of", "dana").await.is(200);

    let records = api.audit("forced_write", id(&subscription)).await;
    assert_eq!(records.len(), 1, "{records:?}");
    let record = &records[0];
    assert!(record["id"].is_string() && record["at"].is_string(), "{record}");
    assert_eq!(record["type"], "forced_write");
    assert_eq!(record["actor"], key["name"]);
    assert_eq!(record["on_behalf_of"], "dana");
    assert_eq!(record["reason"], "dispute");
    assert_eq!(record["request_id"].as_str(), answer.header("X-Request-Id"));
    assert_eq!(record["resource"], json!({"type": "subscription", "id": id(&subscription)}));
    assert_eq!(record["expected_version"], 1);
    assert_eq!(record["overwritten_version"], 2);
    let mut changes = record["changes"].as_array().unwrap().clone();
    changes.sort_by_key(|change| change["path"].to_string());
    let expected = [
        json!({"path": "/notes", "from": "theirs", "to": "forced"}),
        json!({"path": "/quantity", "from": 4, "to": 9}),
    ];
    assert_eq!(changes, expected);
}

async fn only_an_admin_may_force_and_the_attempt_is_on_record(server: Server) {
    let api = server.api();
    let (agent, key) = api.make_named_key("agent").await;
    let (subscription, path) = moved_on(&api).await;
    let body = json!({"notes": "forced", "version": 1});
    let refused = reason(agent.patch(&force(&path), &body), "please").await;
    refused.problem(403, "FORCE_FORBIDDEN");
    reason(agent.delete(&force(&path)), "please").await.problem(403, "FORCE_FORBIDDEN");
    assert_eq!(api.read("subscriptions", &subscription).await, subscription);
    assert!(api.audit("forced_write", id(&subscription)).await.is_empty());
    let name = key["name"].as_str().unwrap();
    let attempts = api.list(&format!("/v1/audit?actor={name}")).await;
    assert_eq!(attempts.len(), 2, "each denied attempt is on record: {attempts:?}");
    assert!(attempts.iter().all(|attempt| attempt["actor"] == name), "{attempts:?}");
}

async fn a_force_without_the_role_is_told_before_everything_else(server: Server) {
    let api = server.api();
    let (subscription, path) = moved_on(&api).await;
    let body = json!({"notes": "forced", "version": 1});
    for role in ["viewer", "agent"] {
        let (caller, key) = api.make_named_key(role).await;
        let large = format!("{{\"notes\":\"{}\"}}", "x".repeat(70_000));
        let calls = [
            caller.patch(&force(&path), &body),
            caller.put(&force(&path), &body),
            caller.delete(&force(&path)),
            caller.post(&force(&format!("{path}/preview")), &body),
            caller.call("PATCH", &force(&path)).body("text/plain", "?".to_owned()),
            caller.call("PATCH", &force(&path)).body("application/json", large),
            caller.patch(&force(&path), &body).key(" "),
            caller.patch(&force("/v1/plans/xx"), &body),
            caller.patch(&force(&path.replace("subscriptions", "plans")), &body),
            caller.post(&force("/v1/plans"), &body),
        ];
        let sent = calls.len();
        for call in calls {
            reason(call, "please").await.problem(403, "FORCE_FORBIDDEN");
        }
        let name = key["name"].as_str().unwrap();
        let attempts = api.list(&format!("/v1/audit?type=force_denied&actor={name}")).await;
        assert_eq!(attempts.len(), sent, "{role}: {attempts:?}");
        let aimed = json!({"type": "subscription", "id": id(&subscription)});
        let named = attempts.iter().filter(|attempt| attempt["resource"] == aimed).count();
        assert_eq!(named, sent - 2, "{role}: {attempts:?}");
        let on_read = caller.get(&force(&path)).await;
        assert_ne!(on_read.status, 403, "a read cannot be forced");
    }
    assert_eq!(api.read("subscriptions", &subscription).await, subscription);
}

async fn a_force_needs_a_reason(server: Server) {
    let api = server.api();
    let (subscription, path) = moved_on(&api).await;
    let body = json!({"notes": "forced", "version": 1});
    api.patch(&force(&path), &body).await.problem(422, "REASON_REQUIRED");
    api.delete(&force(&path)).await.problem(422, "REASON_REQUIRED");
    let long = reason(api.patch(&force(&path), &body), &"x".repeat(501)).await;
    assert_eq!(long.status, 422, "{}", long.text);
    assert_eq!(api.read("subscriptions", &subscription).await, subscription);
    reason(api.patch(&force(&path), &body), &"x".repeat(500)).await.ok(200);
}

async fn a_contradiction_is_told_before_a_missing_reason(server: Server) {
    let api = server.api();
    let (_, path) = moved_on(&api).await;
    let body = json!({"notes": "forced", "version": 1});
    let patch = api.patch(&force(&path), &body).if_match(2).await;
    patch.problem(400, "MALFORMED_PRECONDITION");
    let delete = api.delete(&format!("{path}?force=true&version=1")).if_match(2).await;
    delete.problem(400, "MALFORMED_PRECONDITION");
}

async fn only_the_word_true_forces(server: Server) {
    let api = server.api();
    let (subscription, path) = moved_on(&api).await;
    for word in ["1", "TRUE", "True", "yes", "false", ""] {
        let call = api.patch(&format!("{path}?force={word}"), &json!({"notes": "x", "version": 1}));
        let answer = reason(call, "no").await;
        assert!((400..500).contains(&answer.status), "force={word}: {}", answer.text);
    }
    assert_eq!(api.read("subscriptions", &subscription).await, subscription);
}

async fn a_force_without_a_version_is_recorded_as_blind(server: Server) {
    let api = server.api();
    let (subscription, path) = moved_on(&api).await;
    let answer = reason(api.patch(&force(&path), &json!({"notes": "one"})), "blind one").await;
    assert_eq!(answer.is(200).header("X-Forced"), Some("true"));
    let star = api.patch(&force(&path), &json!({"notes": "two"})).header("If-Match", "*");
    assert_eq!(version(&reason(star, "blind two").await.ok(200)), 4);
    let records = api.audit("forced_write", id(&subscription)).await;
    assert_eq!(records.len(), 2);
    for record in records {
        assert!(!record["expected_version"].is_number(), "{record}");
        assert!(record.to_string().contains("\"blind\""), "{record}");
    }
    let history = api.history(&path).await;
    assert_eq!((&history[2]["kind"], &history[3]["kind"]), (&json!("forced"), &json!("forced")));
}

async fn a_force_at_the_current_version_is_an_ordinary_update(server: Server) {
    let api = server.api();
    let (subscription, path) = moved_on(&api).await;
    let call = api.patch(&force(&path), &json!({"notes": "mine", "version": 2}));
    assert_eq!(version(&reason(call, "not needed").await.ok(200)), 3);
    let entry = api.history(&path).await.pop().unwrap();
    assert_eq!((&entry["kind"], &entry["by"]["forced"]), (&json!("updated"), &json!(false)));
    assert!(api.audit("forced_write", id(&subscription)).await.is_empty());
}

async fn a_force_that_a_rule_refuses_leaves_no_record(server: Server) {
    let api = server.api();
    let (subscription, path) = moved_on(&api).await;
    let canceled = api.change("subscriptions", &subscription, json!({"status": "canceled"})).await;
    let back = api.patch(&force(&path), &json!({"status": "active", "version": 1}));
    reason(back, "back").await.problem(409, "INVALID_STATE_TRANSITION");
    let wrong = api.patch(&force(&path), &json!({"quantity": 0, "version": 1}));
    reason(wrong, "none").await.invalid("/quantity");
    assert_eq!(api.read("subscriptions", &subscription).await, canceled);
    assert!(api.audit("forced_write", id(&subscription)).await.is_empty());

    let plan = api.make_active_plan(json!({})).await;
    let cheaper = api.patch(&force(&format!("/v1/plans/{}", id(&plan))), &json!({"amount": 1}));
    reason(cheaper, "cheaper").await.problem(409, "PLAN_PRICE_FROZEN");
    assert!(api.audit("forced_write", id(&plan)).await.is_empty());
}

async fn a_delete_may_be_forced(server: Server) {
    let api = server.api();
    let (subscription, path) = moved_on(&api).await;
    let answer = reason(api.delete(&format!("{}&version=1", force(&path))), "gone").await.is(200);
    assert_eq!(answer.body["last_version"], 2);
    api.get(&path).await.problem(410, "DELETED");
    let records = api.audit("forced_write", id(&subscription)).await;
    assert_eq!(records.len(), 1);
    assert_eq!(records[0]["expected_version"], 1);
    assert_eq!(records[0]["overwritten_version"], 2);
    assert_eq!(records[0]["reason"], "gone");

    let other = api.make_workspace(json!({})).await;
    let path = format!("/v1/workspaces/{}", id(&other));
    reason(api.delete(&force(&path)), "blind").await.ok(200);
    assert_eq!(api.audit("forced_write", id(&other)).await.len(), 1);
}

async fn a_forced_write_is_replayed_and_not_repeated(server: Server) {
    let api = server.api();
    let (subscription, path) = moved_on(&api).await;
    let key = unique("force");
    let send = || {
        let body = json!({"notes": "forced", "version": 1});
        reason(api.patch(&force(&path), &body), "once").key(&key)
    };
    let first = send().await.is(200);
    let second = send().await.is(200);
    assert_eq!(second.header("Idempotency-Replayed"), Some("true"));
    assert_eq!(second.header("X-Forced"), Some("true"));
    assert_eq!(second.body, first.body);
    assert_eq!(api.audit("forced_write", id(&subscription)).await.len(), 1);
}

async fn a_conflict_after_a_force_shows_that_it_was_forced(server: Server) {
    let api = server.api();
    let (_, path) = moved_on(&api).await;
    let call = api.patch(&force(&path), &json!({"notes": "forced", "version": 1}));
    reason(call, "dispute").await.ok(200);
    let conflict = api.patch(&path, &json!({"notes": "mine", "version": 2})).await.conflict(409);
    assert_eq!(conflict["changes"][0]["by"]["forced"], true);
}
