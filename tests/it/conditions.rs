//! `If-Match` and `If-None-Match` on every kind of request: each is evaluated or refused.

use crate::harness::{Server, both_databases, id, unique, version};
use serde_json::json;

both_databases![
    a_read_honours_both_headers,
    an_excluded_version_refuses_a_write,
    below_an_object_a_condition_is_about_that_object,
    where_nothing_can_be_compared_a_condition_is_refused,
    a_condition_is_part_of_the_request,
    a_removal_of_a_key_that_somebody_added_is_an_overlap,
];

async fn a_read_honours_both_headers(server: Server) {
    let api = server.api();
    let workspace = api.make_workspace(json!({})).await;
    let path = format!("/v1/workspaces/{}", id(&workspace));
    api.patch(&path, &json!({"name": "two"})).if_match(1).await.ok(200);

    let viewer = api.make_key("viewer").await;
    let stale = viewer.get(&path).if_match(1).await.conflict(412);
    assert_eq!((&stale["expected_version"], &stale["current_version"]), (&json!(1), &json!(2)));
    assert_eq!(stale["current"]["name"], "two");
    assert_eq!(stale["changes"][0]["path"], "/name");
    assert_eq!(stale["attempted"], json!([]));
    let unknown = api.get(&path).header("If-Match", "\"x\"").await.conflict(412);
    assert_eq!(unknown["merge"]["verdict"], "unknown_base");
    assert_eq!(api.call("HEAD", &path).if_match(1).await.status, 412);
    for current in ["\"2\"", "*", "\"1\", \"2\""] {
        api.get(&path).header("If-Match", current).await.ok(200);
        let known = api.get(&path).header("If-None-Match", current).await.is(304);
        assert_eq!(known.header("ETag"), Some("\"2\""));
    }
    api.get(&path).header("If-None-Match", "\"1\"").await.ok(200);
    for malformed in ["2", "\"2", "2-gzip", "*, \"2\""] {
        for header in ["If-Match", "If-None-Match"] {
            let answer = api.get(&path).header(header, malformed).await;
            answer.problem(400, "MALFORMED_PRECONDITION");
        }
    }
    let missing = "/v1/workspaces/wsp_0193f0c0a1b27c3d8e4f5a6b7c8d9e0f";
    api.get(missing).if_match(1).await.problem(404, "NOT_FOUND");
    let old = format!("{path}/versions/1");
    api.get(&old).header("If-None-Match", "\"1\"").await.is(304);
    api.get(&old).header("If-None-Match", "\"2\"").await.ok(200);
    for untagged in ["/v1/workspaces", "/v1/events", &format!("{path}/history"), &old] {
        let refused = api.get(untagged).if_match(1).await;
        refused.problem(400, "MALFORMED_PRECONDITION");
    }
}

async fn an_excluded_version_refuses_a_write(server: Server) {
    let api = server.api();
    let workspace = api.make_workspace(json!({})).await;
    let path = format!("/v1/workspaces/{}", id(&workspace));
    let body = json!({"name": "x", "version": 1});
    for excluded in ["*", "\"1\"", "W/\"1-gzip\"", "\"9\", \"1\""] {
        for call in [
            api.patch(&path, &body),
            api.put(&path, &body),
            api.delete(&path).if_match(1),
            api.patch(&format!("{path}?on_conflict=merge"), &body),
            api.patch(&format!("{path}?force=true"), &body).header("X-Force-Reason", "test"),
            api.patch(&path, &json!({"name": "x"})),
        ] {
            let refused = call.header("If-None-Match", excluded).await.conflict(412);
            assert_eq!(refused["current"], workspace, "{excluded}");
            assert_eq!(refused["expected_version"], json!(null));
            assert_eq!(refused["changes"], json!([]));
            let detail = refused["detail"].as_str().unwrap();
            assert!(detail.ends_with("at version 1, which If-None-Match excludes"), "{detail}");
        }
    }
    assert_eq!(api.read("workspaces", &workspace).await, workspace);
    let wrong = api.patch(&path, &json!({"name": ""})).header("If-None-Match", "*").await;
    wrong.invalid("/name");
    let missing = "/v1/workspaces/wsp_0193f0c0a1b27c3d8e4f5a6b7c8d9e0f";
    api.patch(missing, &body).header("If-None-Match", "*").await.problem(404, "NOT_FOUND");
    let unversioned =
        api.patch(&path, &json!({"name": "x"})).header("If-None-Match", "\"5\"").await;
    unversioned.problem(428, "PRECONDITION_REQUIRED");
    let stale = json!({"name": "x", "version": 7});
    api.patch(&path, &stale).header("If-None-Match", "\"5\"").await.conflict(409);
    let changed = api.patch(&path, &body).header("If-None-Match", "\"5\"").await.ok(200);
    assert_eq!(version(&changed), 2);
}

async fn below_an_object_a_condition_is_about_that_object(server: Server) {
    let api = server.api();
    let invoice = api.make_open_invoice(json!({})).await;
    let now = version(&invoice);
    let payments = format!("/v1/invoices/{}/payments", id(&invoice));
    let pay = || api.post(&payments, &json!({"amount": 10, "provider_ref": unique("ref")}));
    let stale = pay().if_match(now - 1).await.conflict(412);
    assert_eq!(
        (&stale["expected_version"], &stale["current_version"]),
        (&json!(now - 1), &json!(now))
    );
    assert_eq!(stale["resource"]["id"], invoice["id"]);
    pay().header("If-None-Match", "*").await.conflict(412);
    pay().header("If-None-Match", format!("\"{now}\"")).await.conflict(412);
    pay().header("If-Match", now).await.problem(400, "MALFORMED_PRECONDITION");
    let wrong = api.post(&payments, &json!({"amount": 0, "provider_ref": "x"})).if_match(1).await;
    wrong.invalid("/amount");
    assert_eq!(api.read("invoices", &invoice).await, invoice);
    let paid = pay().if_match(now).await.ok(201);
    let reverse = format!("{payments}/{}/reverse", id(&paid));
    let reason = json!({"reason": "bounced"});
    api.post(&reverse, &reason).if_match(now).await.conflict(412);
    api.post(&reverse, &reason).header("If-Match", "*").await.ok(200);

    let (scope, feature) = api.make_entitled(10).await;
    let object = api.get(&format!("/v1/{scope}")).await.ok(200);
    let at = version(&object);
    let one = json!({"feature": feature, "quantity": 1});
    for (below, body) in [
        ("usage", one.clone()),
        ("usage/batch", json!({"items": [one]})),
        ("usage/holds", json!({"feature": feature, "quantity": 1, "ttl_ms": 60_000})),
    ] {
        let path = format!("/v1/{scope}/{below}");
        api.post(&path, &body).if_match(at + 1).await.conflict(412);
        api.post(&path, &body).header("If-None-Match", "*").await.conflict(412);
        api.post(&path, &body).if_match(at).await.ok(201);
    }
    assert_eq!(api.counted(&scope, &feature).await, (2, 1), "nothing refused was counted");
    let deleted = api.make_workspace(json!({})).await;
    let path = format!("/v1/workspaces/{}", id(&deleted));
    api.delete(&path).if_match(1).await.ok(200);
    let gone = api.post(&format!("{path}/usage"), &one).if_match(1).await;
    gone.problem(410, "DELETED");
}

async fn where_nothing_can_be_compared_a_condition_is_refused(server: Server) {
    let api = server.api();
    let (_, key) = api.make_named_key("viewer").await;
    let revoke = format!("/v1/api-keys/{}", id(&key));
    let check =
        json!({"operations": [{"op": "create", "type": "workspace", "body": {"name": "x"}}]});
    for header in ["If-Match", "If-None-Match"] {
        for value in ["*", "\"1\""] {
            for call in [
                api.post("/v1/workspaces", &json!({"name": "x"})),
                api.post("/v1/subscriptions", &json!({})),
                api.post("/v1/transactions", &check),
                api.post("/v1/billing-runs", &json!({})),
                api.post("/v1/api-keys", &json!({"name": "x", "role": "viewer"})),
                api.delete(&revoke),
            ] {
                let refused = call.header(header, value).await;
                refused.problem(400, "MALFORMED_PRECONDITION");
            }
        }
    }
    assert!(api.list("/v1/workspaces").await.is_empty());
}

async fn a_condition_is_part_of_the_request(server: Server) {
    let api = server.api();
    let workspace = api.make_workspace(json!({})).await;
    let path = format!("/v1/workspaces/{}", id(&workspace));
    let send = |excluded: &str| {
        let call = api.patch(&path, &json!({"name": "x"})).if_match(1).key("k");
        call.header("If-None-Match", excluded)
    };
    send("\"7\"").await.ok(200);
    assert_eq!(send("\"7\"").await.is(200).header("Idempotency-Replayed"), Some("true"));
    send("\"8\"").await.problem(422, "IDEMPOTENCY_KEY_REUSED");
    let reused = api.patch(&path, &json!({"name": "x"})).if_match(1).key("k").await;
    reused.problem(422, "IDEMPOTENCY_KEY_REUSED");
}

async fn a_removal_of_a_key_that_somebody_added_is_an_overlap(server: Server) {
    let api = server.api();
    let workspace = api.make_workspace(json!({"metadata": {"a": "1"}})).await;
    let path = format!("/v1/workspaces/{}", id(&workspace));
    let merge = format!("{path}?on_conflict=merge");
    let added = json!({"metadata": {"b": "2"}});
    api.patch(&path, &added).if_match(1).await.ok(200);
    let removal = json!({"version": 1, "metadata": {"b": null}});
    let refused = api.patch(&merge, &removal).await.conflict(409);
    assert_eq!(refused["attempted"], json!(["/metadata/b"]));
    assert_eq!(refused["merge"]["verdict"], "overlap");
    assert_eq!(refused["merge"]["overlap"], json!(["/metadata/b"]));
    let other = json!({"version": 1, "metadata": {"c": null}});
    let same = api.patch(&merge, &other).await.is(200);
    assert_eq!(same.header("X-Changed"), Some("false"));
    assert_eq!(same.body["metadata"], json!({"a": "1", "b": "2"}));
    let removal = json!({"version": 2, "metadata": {"b": null}});
    assert_eq!(api.patch(&merge, &removal).await.ok(200)["metadata"], json!({"a": "1"}));
}
