//! How a write names the version that it was computed from, and the refusal without it.

use crate::harness::{Call, Server, both_databases, id, version};
use serde_json::json;

/// The UUID part of an id that names no object, for any type.
const UUID: &str = "0193f0c0a1b27c3d8e4f5a6b7c8d9e0f";

both_databases![
    the_named_version_may_be_in_the_header_or_in_the_body,
    a_version_stale_in_the_body_is_409_and_in_the_header_412,
    a_write_that_names_no_version_is_428,
    an_asterisk_names_no_version,
    a_malformed_if_match_is_400,
    what_intermediaries_make_of_a_tag_names_the_version,
    one_matching_tag_of_a_list_is_enough,
    header_and_body_that_disagree_are_400,
    a_version_that_never_existed_is_a_conflict_with_an_unknown_base,
    a_missing_object_is_404_whatever_version_is_named,
    a_deleted_object_is_410_and_says_who_and_when,
    checks_are_made_in_the_documented_order,
    what_is_not_there_is_told_before_what_is_wrong,
    a_tag_of_no_version_has_no_base,
    a_patch_that_changes_nothing_says_so_and_records_nothing,
    a_stale_patch_that_changes_nothing_is_still_checked,
    versions_count_effective_changes,
];

async fn the_named_version_may_be_in_the_header_or_in_the_body(server: Server) {
    let api = server.api();
    let workspace = api.make_workspace(json!({})).await;
    let path = format!("/v1/workspaces/{}", id(&workspace));
    let answer = api.patch(&path, &json!({"name": "two", "version": 1})).await.is(200);
    assert_eq!(answer.header("ETag"), Some("\"2\""));
    assert_eq!((version(&answer.body), &answer.body["name"]), (2, &json!("two")));
    let answer = api.patch(&path, &json!({"name": "three"})).if_match(2).await.is(200);
    assert_eq!(answer.header("ETag"), Some("\"3\""));
    let both = json!({"name": "four", "version": 3});
    assert_eq!(version(&api.patch(&path, &both).if_match(3).await.ok(200)), 4);
    assert_eq!(version(&api.put(&path, &json!({"name": "five"})).if_match(4).await.ok(200)), 5);
    let put = json!({"name": "six", "version": 5});
    assert_eq!(version(&api.put(&path, &put).await.ok(200)), 6);
    api.delete(&format!("{path}?version=6")).await.ok(200);

    let other = api.make_workspace(json!({})).await;
    api.delete(&format!("/v1/workspaces/{}", id(&other))).if_match(1).await.ok(200);
}

async fn a_version_stale_in_the_body_is_409_and_in_the_header_412(server: Server) {
    let api = server.api();
    let workspace = api.make_workspace(json!({})).await;
    let path = format!("/v1/workspaces/{}", id(&workspace));
    api.patch(&path, &json!({"name": "winner"})).if_match(1).await.ok(200);

    api.patch(&path, &json!({"name": "late", "version": 1})).await.conflict(409);
    api.patch(&path, &json!({"name": "late"})).if_match(1).await.conflict(412);
    api.put(&path, &json!({"name": "late", "version": 1})).await.conflict(409);
    api.put(&path, &json!({"name": "late"})).if_match(1).await.conflict(412);
    api.delete(&format!("{path}?version=1")).await.conflict(409);
    api.delete(&path).if_match(1).await.conflict(412);
    assert_eq!(api.read("workspaces", &workspace).await["name"], "winner");
}

async fn a_write_that_names_no_version_is_428(server: Server) {
    let api = server.api();
    let workspace = api.make_workspace(json!({})).await;
    let path = format!("/v1/workspaces/{}", id(&workspace));
    api.patch(&path, &json!({"name": "x"})).await.problem(428, "PRECONDITION_REQUIRED");
    api.put(&path, &json!({"name": "x"})).await.problem(428, "PRECONDITION_REQUIRED");
    api.delete(&path).await.problem(428, "PRECONDITION_REQUIRED");
    assert_eq!(api.read("workspaces", &workspace).await, workspace);
}

async fn an_asterisk_names_no_version(server: Server) {
    let api = server.api();
    let workspace = api.make_workspace(json!({})).await;
    let path = format!("/v1/workspaces/{}", id(&workspace));
    let patch = api.patch(&path, &json!({"name": "x"})).header("If-Match", "*").await;
    patch.problem(428, "PRECONDITION_REQUIRED");
    let delete = api.delete(&path).header("If-Match", "*").await;
    delete.problem(428, "PRECONDITION_REQUIRED");
    assert_eq!(api.read("workspaces", &workspace).await, workspace);
}

async fn a_malformed_if_match_is_400(server: Server) {
    let api = server.api();
    let workspace = api.make_workspace(json!({})).await;
    let path = format!("/v1/workspaces/{}", id(&workspace));
    for malformed in ["1", "\"1", "1\"", "'1'", "\"1\" \"2\"", "\"1\", 2", "*, \"1\"", "w/\"1\""] {
        let patch = api.patch(&path, &json!({"name": "x"})).header("If-Match", malformed).await;
        assert_eq!(patch.status, 400, "If-Match: {malformed}: {}", patch.text);
        patch.problem(400, "MALFORMED_PRECONDITION");
        let delete = api.delete(&path).header("If-Match", malformed).await;
        delete.problem(400, "MALFORMED_PRECONDITION");
    }
    assert_eq!(api.read("workspaces", &workspace).await, workspace);
}

async fn what_intermediaries_make_of_a_tag_names_the_version(server: Server) {
    let api = server.api();
    let workspace = api.make_workspace(json!({})).await;
    let path = format!("/v1/workspaces/{}", id(&workspace));
    let mut now = 1;
    for form in ["W/\"#\"", "\"#-gzip\"", "\"#--gzip\"", "\"#-br\"", "\"#-zstd\"", "W/\"#-gzip\""] {
        let (stale, current) = (now.to_string(), (now + 1).to_string());
        api.patch(&path, &json!({"name": format!("first {form}")})).if_match(now).await.ok(200);
        now += 1;
        let tag = |version: &str| form.replace('#', version);
        api.get(&path).header("If-None-Match", tag(&current)).await.is(304);
        api.get(&path).header("If-Match", tag(&stale)).await.conflict(412);
        let body = json!({"name": format!("second {form}")});
        let late = api.patch(&path, &body).header("If-Match", tag(&stale)).await.conflict(412);
        assert_eq!(late["expected_version"], now - 1, "{form}");
        let merge = format!("{path}?on_conflict=merge");
        let answer = api.patch(&merge, &body).header("If-Match", tag(&current)).await.is(200);
        assert_eq!(answer.header("X-Merged-From"), None, "{form}");
        let force = format!("{path}?force=true");
        let forced = api.patch(&force, &json!({"email": format!("{now}@acme.example")}));
        let forced = forced.header("X-Force-Reason", "test");
        let answer = forced.header("If-Match", tag(&(now + 1).to_string())).await.is(200);
        assert_eq!(answer.header("X-Forced"), None, "{form}: it names the current version");
        now += 2;
    }
    for entry in &api.history(&path).await[1..] {
        assert_eq!(entry["kind"], "updated", "{entry}");
    }
    assert!(api.audit("forced_write", id(&workspace)).await.is_empty());
    let foreign = api.patch(&path, &json!({"name": "x"})).header("If-Match", "\"no-number\"").await;
    foreign.conflict(412);
    api.delete(&path).header("If-Match", format!("W/\"{now}-gzip\"")).await.ok(200);
}

async fn one_matching_tag_of_a_list_is_enough(server: Server) {
    let api = server.api();
    let workspace = api.make_workspace(json!({})).await;
    let path = format!("/v1/workspaces/{}", id(&workspace));
    let body = json!({"name": "x"});
    let late = api.patch(&path, &body).header("If-Match", "\"7\", \"9\"").await.conflict(412);
    assert_eq!(late["expected_version"], 9, "of several stale ones the highest counts");
    let changed = api.patch(&path, &body).header("If-Match", "\"9\", \"1\"").await.ok(200);
    assert_eq!(version(&changed), 2);
    // Several lines are one list.
    let lines = api.patch(&path, &json!({"name": "y"})).if_match(9).header("If-Match", "W/\"2\"");
    assert_eq!(version(&lines.await.ok(200)), 3);
    let mut form = api.read("workspaces", &workspace).await;
    form["created_at"] = json!("2020-01-01T00:00:00Z");
    form.as_object_mut().unwrap().remove("version");
    // The own version is the base, so what a form echoes is compared with it.
    api.put(&path, &form).header("If-Match", "\"9\", \"3\"").await.invalid("/created_at");
}

async fn header_and_body_that_disagree_are_400(server: Server) {
    let api = server.api();
    let workspace = api.make_workspace(json!({})).await;
    let path = format!("/v1/workspaces/{}", id(&workspace));
    let body = json!({"name": "x", "version": 1});
    api.patch(&path, &body).if_match(2).await.problem(400, "MALFORMED_PRECONDITION");
    let body = json!({"name": "x", "version": 2});
    api.put(&path, &body).if_match(1).await.problem(400, "MALFORMED_PRECONDITION");
    assert_eq!(api.read("workspaces", &workspace).await, workspace);
}

async fn a_version_that_never_existed_is_a_conflict_with_an_unknown_base(server: Server) {
    let api = server.api();
    let workspace = api.make_workspace(json!({})).await;
    let path = format!("/v1/workspaces/{}", id(&workspace));
    let conflict = api.patch(&path, &json!({"name": "x", "version": 99})).await.conflict(409);
    assert_eq!(conflict["expected_version"], 99);
    assert_eq!(conflict["current_version"], 1);
    assert_eq!(conflict["merge"]["verdict"], "unknown_base");
    let conflict = api.patch(&path, &json!({"name": "x"})).if_match(99).await.conflict(412);
    assert_eq!(conflict["merge"]["verdict"], "unknown_base");
}

async fn a_missing_object_is_404_whatever_version_is_named(server: Server) {
    let api = server.api();
    let path = "/v1/workspaces/wsp_0193f0c0a1b27c3d8e4f5a6b7c8d9e0f";
    api.get(path).await.problem(404, "NOT_FOUND");
    api.patch(path, &json!({"name": "x"})).if_match(1).await.problem(404, "NOT_FOUND");
    api.patch(path, &json!({"name": "x"})).await.problem(404, "NOT_FOUND");
    api.put(path, &json!({"name": "x", "version": 1})).await.problem(404, "NOT_FOUND");
    api.delete(path).if_match(1).await.problem(404, "NOT_FOUND");
    api.get(&format!("{path}/history")).await.problem(404, "NOT_FOUND");
    api.get(&format!("{path}/versions/1")).await.problem(404, "NOT_FOUND");
}

async fn a_deleted_object_is_410_and_says_who_and_when(server: Server) {
    let api = server.api();
    let (agent, key) = api.make_named_key("agent").await;
    let workspace = api.make_workspace(json!({})).await;
    let path = format!("/v1/workspaces/{}", id(&workspace));
    api.patch(&path, &json!({"name": "x"})).if_match(1).await.ok(200);
    let tombstone = agent.delete(&path).if_match(2).await.ok(200);
    assert_eq!(tombstone["id"], workspace["id"]);
    assert_eq!(tombstone["deleted_by"], key["name"]);
    assert_eq!(tombstone["last_version"], 2);
    assert!(tombstone["deleted_at"].is_string(), "{tombstone}");

    let answers = [
        api.get(&path).await,
        api.patch(&path, &json!({"name": "y"})).if_match(2).await,
        api.patch(&path, &json!({"name": "y", "version": 1})).await,
        api.put(&path, &json!({"name": "y", "version": 2})).await,
        api.delete(&path).if_match(2).await,
    ];
    for answer in answers {
        let gone = answer.problem(410, "DELETED");
        for member in ["deleted_at", "deleted_by", "last_version"] {
            assert_eq!(gone[member], tombstone[member], "{gone}");
        }
    }
}

async fn checks_are_made_in_the_documented_order(server: Server) {
    let api = server.api();
    let (viewer, agent) = (api.make_key("viewer").await, api.make_key("agent").await);
    let subscription = api.make_subscription(json!({})).await;
    let path = format!("/v1/subscriptions/{}", id(&subscription));
    let missing = "/v1/subscriptions/sub_0193f0c0a1b27c3d8e4f5a6b7c8d9e0f";
    api.patch(&path, &json!({"notes": "newer"})).if_match(1).await.ok(200);
    let not_json = || ("application/json", "{\"quantity\":".to_owned());

    let (kind, body) = not_json();
    let who = api.with_key("ifm_nobody").call("PATCH", &path).body(kind, body).await;
    who.problem(401, "UNAUTHENTICATED");
    let (kind, body) = not_json();
    viewer.call("PATCH", &path).body(kind, body).await.problem(403, "FORBIDDEN");
    let forced = agent.patch(&format!("{missing}?force=true"), &json!({"quantity": 2})).await;
    forced.problem(403, "FORCE_FORBIDDEN");
    let doubled = viewer.patch(&path, &json!({})).key("a").header("Idempotency-Key", "b");
    doubled.await.problem(403, "FORBIDDEN");
    let (kind, body) = not_json();
    api.call("PATCH", missing).body(kind, body).await.problem(400, "MALFORMED_REQUEST");
    let shape = api.patch(missing, &json!({"quantity": 2})).header("If-Match", "1").await;
    shape.problem(400, "MALFORMED_PRECONDITION");
    let plans = "/v1/subscriptions/pln_0193f0c0a1b27c3d8e4f5a6b7c8d9e0f";
    for wrong in [json!([]), json!({"quantity": 0}), json!({"version": "x"})] {
        api.patch(&format!("{plans}?x=1"), &wrong).await.problem(400, "WRONG_ID_TYPE");
    }
    let payment = format!("/v1/invoices/inv_{UUID}/payments/inv_{UUID}/reverse?x=1");
    api.post(&payment, &json!([])).await.problem(400, "WRONG_ID_TYPE");
    let fenced = |call: Call| call.header("X-Lock", "global//a").header("X-Lock-Fence", "1");
    let done = || api.patch(&path, &json!({"quantity": 4})).if_match(2).key("done");
    done().await.ok(200);
    fenced(api.patch(missing, &json!({"quantity": 0}))).await.problem(409, "STALE_FENCE");
    fenced(api.patch(&path, &json!([]))).await.problem(409, "STALE_FENCE");
    fenced(done()).await.problem(422, "IDEMPOTENCY_KEY_REUSED");
    assert_eq!(done().await.is(200).header("Idempotency-Replayed"), Some("true"));
    api.patch(missing, &json!({"quantity": 0, "version": 1})).await.problem(404, "NOT_FOUND");
    api.patch(&path, &json!({"quantity": 0, "version": 1})).await.invalid("/quantity");
    api.patch(&path, &json!({"quantity": 0})).await.invalid("/quantity");
    api.patch(&path, &json!({"status": "trialing", "version": 1})).await.conflict(409);
    let refused = api.patch(&path, &json!({"status": "trialing", "version": 3})).await;
    refused.problem(409, "INVALID_STATE_TRANSITION");
}

async fn what_is_not_there_is_told_before_what_is_wrong(server: Server) {
    let api = server.api();
    let missing = "/v1/subscriptions/sub_0193f0c0a1b27c3d8e4f5a6b7c8d9e0f";
    let gone = api.make_workspace(json!({})).await;
    let gone = format!("/v1/workspaces/{}", id(&gone));
    api.delete(&gone).if_match(1).await.ok(200);
    for (path, status, code) in [(missing, 404, "NOT_FOUND"), (gone.as_str(), 410, "DELETED")] {
        let name = json!({"name": "x", "version": 1});
        api.patch(&format!("{path}?force=true"), &name).await.problem(status, code);
        api.patch(&format!("{path}?x=1"), &name).await.problem(status, code);
        api.patch(path, &json!({"version": "x"})).await.problem(status, code);
        api.patch(path, &json!([])).await.problem(status, code);
        api.delete(&format!("{path}?version=x")).await.problem(status, code);
        let malformed = api.patch(&format!("{path}?force=true"), &name).header("If-Match", "x");
        malformed.await.problem(400, "MALFORMED_PRECONDITION");
        for path in [path, &format!("{path}?force=true")] {
            let malformed = api.call("PATCH", path).body("application/json", "{".to_owned());
            malformed.await.problem(400, "MALFORMED_REQUEST");
        }
    }
    let malformed = api.call("PATCH", "/v1/plans/xx").body("application/json", "{".to_owned());
    malformed.await.problem(400, "MALFORMED_REQUEST");
    api.patch("/v1/plans/xx", &json!({"version": "x"})).await.problem(404, "NOT_FOUND");

    let usage = format!(
        "/v1{}/usage/holds/hld_0193f0c0a1b27c3d8e4f5a6b7c8d9e0f/release",
        "/namespaces/nsp_0193f0c0a1b27c3d8e4f5a6b7c8d9e0f"
    );
    api.post(&usage, &json!({"x": 1})).await.problem(404, "NOT_FOUND");
}

async fn a_tag_of_no_version_has_no_base(server: Server) {
    let api = server.api();
    let workspace = api.make_workspace(json!({})).await;
    let path = format!("/v1/workspaces/{}", id(&workspace));
    for tag in ["\"abc\"", "\"0\"", "\"01\"", "\"77\""] {
        let stale = api.patch(&path, &json!({"name": "x"})).header("If-Match", tag).await;
        let conflict = stale.conflict(412);
        assert_eq!(conflict["merge"]["verdict"], "unknown_base", "{tag}");
        assert_eq!(conflict["attempted"], json!([]), "{tag}");
    }
}

async fn a_patch_that_changes_nothing_says_so_and_records_nothing(server: Server) {
    let api = server.api();
    let workspace = api.make_workspace(json!({"metadata": {"team": "a"}})).await;
    let path = format!("/v1/workspaces/{}", id(&workspace));
    for nothing in [json!({}), json!({"name": "Acme"}), json!({"metadata": {"team": "a"}})] {
        let answer = api.patch(&path, &nothing).if_match(1).await.is(200);
        assert_eq!(answer.header("X-Changed"), Some("false"), "{nothing}");
        assert_eq!(answer.header("ETag"), Some("\"1\""));
        assert_eq!(answer.body, workspace);
    }
    assert_eq!(api.history(&path).await.len(), 1);
    let answer = api.patch(&path, &json!({"name": "Other"})).if_match(1).await.is(200);
    assert_ne!(answer.header("X-Changed"), Some("false"));
}

async fn a_stale_patch_that_changes_nothing_is_still_checked(server: Server) {
    let api = server.api();
    let workspace = api.make_workspace(json!({})).await;
    let path = format!("/v1/workspaces/{}", id(&workspace));
    api.patch(&path, &json!({"name": "x"})).if_match(1).await.ok(200);
    let conflict = api.patch(&path, &json!({"name": "x", "version": 1})).await.conflict(409);
    assert_eq!(conflict["merge"]["verdict"], "identical");
}

async fn versions_count_effective_changes(server: Server) {
    let api = server.api();
    let workspace = api.make_workspace(json!({})).await;
    let path = format!("/v1/workspaces/{}", id(&workspace));
    for expected in 2..=6 {
        let body = json!({"name": format!("name {expected}"), "version": expected - 1});
        let now = api.patch(&path, &body).await.ok(200);
        assert_eq!(version(&now), expected);
        api.patch(&path, &body).await.conflict(409);
    }
    let versions: Vec<_> = api.history(&path).await.iter().map(version).collect();
    assert_eq!(versions, [1, 2, 3, 4, 5, 6]);
}
