//! Idempotency-Key: one request, one effect, one answer, over any number of sends.

use crate::harness::{Server, both_databases, id, together, unique, version};
use serde_json::json;

both_databases![
    a_repeated_create_is_answered_with_the_first_answer,
    a_replay_shows_the_first_answer_also_when_the_object_moved_on,
    a_repeated_delete_is_answered_with_the_first_tombstone,
    a_merged_answer_is_replayed_with_its_headers,
    concurrent_sends_of_one_key_have_one_effect,
    concurrent_sends_of_one_versioned_write_have_one_effect,
    a_key_cannot_be_used_for_another_request,
    a_reused_key_is_told_before_what_is_wrong,
    the_body_is_compared_by_its_meaning,
    a_quoted_key_is_the_same_key,
    refusals_are_not_kept,
    keys_survive_a_restart_and_a_crash,
    a_key_belongs_to_one_api_key,
    what_costs_money_needs_a_key,
    a_key_has_1_to_255_characters,
];

async fn a_repeated_create_is_answered_with_the_first_answer(server: Server) {
    let api = server.api();
    let body = json!({"name": unique("Acme")});
    let send = || api.post("/v1/workspaces", &body).key("create-1");
    let first = send().await.is(201);
    assert_ne!(first.header("Idempotency-Replayed"), Some("true"));
    let again = send().await.is(201);
    assert_eq!(again.header("Idempotency-Replayed"), Some("true"));
    assert_eq!(again.body, first.body);
    assert_eq!(again.header("Location"), first.header("Location"));
    assert!(again.header("Location").is_some());
    assert_eq!(again.header("ETag"), Some("\"1\""));
    assert_eq!(api.list("/v1/workspaces").await.len(), 1);
}

async fn a_replay_shows_the_first_answer_also_when_the_object_moved_on(server: Server) {
    let api = server.api();
    let workspace = api.make_workspace(json!({})).await;
    let path = format!("/v1/workspaces/{}", id(&workspace));
    let send = || api.patch(&path, &json!({"name": "two"})).if_match(1).key("rename");
    let first = send().await.is(200);
    api.patch(&path, &json!({"name": "three"})).if_match(2).await.ok(200);
    let again = send().await.is(200);
    assert_eq!(again.header("Idempotency-Replayed"), Some("true"));
    assert_eq!(again.header("ETag"), Some("\"2\""));
    assert_eq!(again.body, first.body);
    assert_eq!(api.read("workspaces", &workspace).await["name"], "three");

    api.delete(&path).if_match(3).await.ok(200);
    assert_eq!(send().await.ok(200), first.body, "even after the object is deleted");
    assert_eq!(api.history(&path).await.len(), 4);
}

async fn a_repeated_delete_is_answered_with_the_first_tombstone(server: Server) {
    let api = server.api();
    let workspace = api.make_workspace(json!({})).await;
    let path = format!("/v1/workspaces/{}", id(&workspace));
    let first = api.delete(&path).if_match(1).key("delete").await.is(200);
    let again = api.delete(&path).if_match(1).key("delete").await.is(200);
    assert_eq!(again.header("Idempotency-Replayed"), Some("true"));
    assert_eq!(again.body, first.body);
}

async fn a_merged_answer_is_replayed_with_its_headers(server: Server) {
    let api = server.api();
    let workspace = api.make_workspace(json!({})).await;
    let path = format!("/v1/workspaces/{}", id(&workspace));
    api.patch(&path, &json!({"name": "two"})).if_match(1).await.ok(200);
    let merge = format!("{path}?on_conflict=merge");
    let body = json!({"metadata": {"a": "1"}, "version": 1});
    let first = api.patch(&merge, &body).key("merge").await.is(200);
    let again = api.patch(&merge, &body).key("merge").await.is(200);
    assert_eq!(again.header("Idempotency-Replayed"), Some("true"));
    assert_eq!(again.header("X-Merged-From"), Some("1"));
    assert_eq!(again.header("ETag"), Some("\"3\""));
    assert_eq!(again.body, first.body);
}

async fn concurrent_sends_of_one_key_have_one_effect(server: Server) {
    let api = server.api();
    for round in 0..5 {
        let answers = together(12, |_| {
            let api = api.clone();
            async move {
                let body = json!({"name": format!("round {round}")});
                api.post("/v1/workspaces", &body).key(&format!("round-{round}")).await
            }
        })
        .await;
        let first = answers[0].body.clone();
        let mut fresh = 0;
        for answer in answers {
            let answer = answer.is(201);
            assert_eq!(answer.body, first);
            fresh += usize::from(answer.header("Idempotency-Replayed") != Some("true"));
        }
        assert_eq!(fresh, 1, "one did the work, the others waited");
        assert_eq!(api.list("/v1/workspaces").await.len(), round + 1);
    }
}

async fn concurrent_sends_of_one_versioned_write_have_one_effect(server: Server) {
    let api = server.api();
    let subscription = api.make_subscription(json!({})).await;
    let path = format!("/v1/subscriptions/{}", id(&subscription));
    let answers = together(12, |_| {
        let (api, path) = (api.clone(), path.clone());
        async move { api.patch(&path, &json!({"quantity": 2})).if_match(1).key("once").await }
    })
    .await;
    for answer in answers {
        assert_eq!(version(&answer.ok(200)), 2, "none conflicts with its own repeat");
    }
    assert_eq!(api.history(&path).await.len(), 2);
}

async fn a_key_cannot_be_used_for_another_request(server: Server) {
    let api = server.api();
    let workspace = api.make_workspace(json!({})).await;
    let other = api.make_workspace(json!({})).await;
    let path = format!("/v1/workspaces/{}", id(&workspace));
    let body = json!({"name": "x"});
    api.patch(&path, &body).if_match(1).key("k").await.ok(200);
    for spelled in ["W/\"1\"", "\"1-gzip\"", " \"1\" "] {
        // The repeat may take another way, on which a proxy rewrites the tag.
        let repeat = api.patch(&path, &body).header("If-Match", spelled).key("k").await.is(200);
        assert_eq!(repeat.header("Idempotency-Replayed"), Some("true"), "{spelled}");
    }
    let reuses = [
        api.patch(&path, &json!({"name": "y"})).if_match(1).key("k"),
        api.patch(&path, &body).if_match(2).key("k"),
        api.patch(&format!("{path}?on_conflict=merge"), &body).if_match(1).key("k"),
        api.patch(&format!("/v1/workspaces/{}", id(&other)), &body).if_match(1).key("k"),
        api.put(&path, &body).if_match(1).key("k"),
        api.delete(&path).if_match(1).key("k"),
        api.post("/v1/workspaces", &body).key("k"),
    ];
    for reuse in reuses {
        reuse.await.problem(422, "IDEMPOTENCY_KEY_REUSED");
    }
    assert_eq!(version(&api.read("workspaces", &workspace).await), 2);
    assert_eq!(api.list("/v1/workspaces").await.len(), 2);
}

async fn a_reused_key_is_told_before_what_is_wrong(server: Server) {
    let api = server.api();
    let workspace = api.make_workspace(json!({})).await;
    let path = format!("/v1/workspaces/{}", id(&workspace));
    let body = json!({"name": "x"});
    api.patch(&path, &body).if_match(1).key("k").await.ok(200);
    let usage = format!("{path}/usage");
    let batch = format!("{usage}/batch");
    let reuses = [
        api.post("/v1/workspaces?x=1", &body),
        api.post("/v1/workspaces", &json!([])),
        api.patch(&path, &json!({"version": "x"})),
        api.patch(&format!("{path}?force=true"), &body),
        api.patch("/v1/workspaces/xx", &body).if_match(1),
        api.post("/v1/transactions", &json!({"operations": []})),
        api.post("/v1/transactions", &json!({"operations": [{"op": "check"}]})),
        api.post("/v1/billing-runs", &json!({"as_of": "x"})),
        api.post("/v1/bookings", &json!({"confirm": "x"})),
        api.post("/v1/api-keys", &json!({"name": "x"})),
        api.post(&batch, &json!({"items": []})),
        api.post(&batch, &json!({})),
        api.post(&format!("{usage}?x=1"), &json!({"feature": "f", "quantity": 1})),
    ];
    for reuse in reuses {
        reuse.key("k").await.problem(422, "IDEMPOTENCY_KEY_REUSED");
    }
    api.post("/v1/workspaces?x=1", &body).key("fresh").await.invalid("?x");
    api.post("/v1/workspaces", &body).key("fresh").await.ok(201);
}

async fn the_body_is_compared_by_its_meaning(server: Server) {
    let api = server.api();
    let send = |text: &str| {
        let call = api.call("POST", "/v1/workspaces").key("meaning");
        call.body("application/json", text.to_owned())
    };
    let first = send(r#"{"name":"Acme","currency":"EUR"}"#).await.ok(201);
    let again = send("{ \"currency\": \"EUR\",\n  \"name\": \"\\u0041cme\" }").await.ok(201);
    assert_eq!(again, first);
    assert_eq!(api.list("/v1/workspaces").await.len(), 1);
}

async fn a_quoted_key_is_the_same_key(server: Server) {
    let api = server.api();
    let body = json!({"name": "Acme"});
    let first = api.post("/v1/workspaces", &body).key("bare").await.ok(201);
    let again = api.post("/v1/workspaces", &body).key("\"bare\"").await.is(201);
    assert_eq!(again.header("Idempotency-Replayed"), Some("true"));
    assert_eq!(again.body, first);
}

async fn refusals_are_not_kept(server: Server) {
    let api = server.api();
    api.post("/v1/workspaces", &json!({"name": ""})).key("k1").await.invalid("/name");
    let made = api.post("/v1/workspaces", &json!({"name": "Acme"})).key("k1").await.ok(201);

    let path = format!("/v1/workspaces/{}", id(&made));
    let send = || api.patch(&path, &json!({"email": "a@b.example"})).if_match(2).key("k2");
    send().await.conflict(412);
    api.patch(&path, &json!({"name": "two"})).if_match(1).await.ok(200);
    let now = send().await.is(200);
    assert_ne!(now.header("Idempotency-Replayed"), Some("true"));
    assert_eq!(version(&now.body), 3);
}

async fn keys_survive_a_restart_and_a_crash(mut server: Server) {
    let body = json!({"name": "Acme"});
    let first = server.api().post("/v1/workspaces", &body).key("k").await.ok(201);
    server.stop().await;
    server.restart().await;
    let again = server.api().post("/v1/workspaces", &body).key("k").await.is(201);
    assert_eq!(again.header("Idempotency-Replayed"), Some("true"));
    assert_eq!(again.body, first);

    let second = server.api().post("/v1/workspaces", &body).key("k2").await.ok(201);
    server.kill9().await;
    server.restart().await;
    let again = server.api().post("/v1/workspaces", &body).key("k2").await.ok(201);
    assert_eq!(again, second);
    assert_eq!(server.api().list("/v1/workspaces").await.len(), 2);
}

async fn a_key_belongs_to_one_api_key(server: Server) {
    let api = server.api();
    let agent = api.make_key("agent").await;
    let body = json!({"name": "Acme"});
    let mine = api.post("/v1/workspaces", &body).key("shared").await.ok(201);
    let theirs = agent.post("/v1/workspaces", &body).key("shared").await.is(201);
    assert_ne!(theirs.header("Idempotency-Replayed"), Some("true"));
    assert_ne!(theirs.body["id"], mine["id"]);
}

async fn what_costs_money_needs_a_key(server: Server) {
    let api = server.api();
    let invoice = api.make_open_invoice(json!({})).await;
    let paid = api.pay(&invoice, 50).await.ok(201);
    let subscription = api.make_subscription(json!({})).await;
    let booking = api.make_booking(json!({})).await;
    let (invoices, workspace) = ("/v1/invoices", subscription["workspace_id"].as_str().unwrap());
    let fields = json!({"workspace_id": workspace, "plan_id": subscription["plan_id"]});
    let lines = json!([{"description": "Seats", "quantity": 1, "unit_amount": 5}]);
    let bill = json!({"workspace_id": workspace, "currency": "USD", "lines": lines});
    let stay = json!({"bookable_id": booking["bookable_id"], "start_date": booking["start_date"],
        "end_date": booking["end_date"], "quantity": 1});
    let operation = |kind: &str, body: &serde_json::Value| json!({"operations": [{"op": "create", "type": kind, "body": body}]});
    let payments = format!("{invoices}/{}/payments", id(&invoice));
    let reverse = format!("{payments}/{}/reverse", id(&paid));
    let costly = [
        ("/v1/subscriptions", fields.clone()),
        (invoices, bill.clone()),
        ("/v1/bookings", stay.clone()),
        (&payments, json!({"amount": 100, "provider_ref": unique("ref")})),
        (&reverse, json!({"reason": "mistake"})),
        ("/v1/transactions", operation("subscription", &fields)),
        ("/v1/transactions", operation("invoice", &bill)),
    ];
    let first_of = async |path: &str, body: &serde_json::Value, key: &str| {
        let sent = api.post(path, body).key(key).await;
        assert!((200..300).contains(&sent.status), "{path}: {}", sent.text);
        sent
    };
    for (path, body) in costly {
        let refused = api.post(path, &body).without_idempotency_key().await;
        refused.problem(400, "IDEMPOTENCY_KEY_REQUIRED");
        let key = unique("costly");
        let first = first_of(path, &body, &key).await;
        let again = first_of(path, &body, &key).await;
        assert_eq!(again.header("Idempotency-Replayed"), Some("true"), "{path}");
        assert_eq!(again.body, first.body, "{path}");
    }
    let plain = operation("workspace", &json!({"name": "free"}));
    api.post("/v1/transactions", &plain).without_idempotency_key().await.ok(200);
    for path in ["/v1/subscriptions", invoices, "/v1/bookings"] {
        // A missing key is told before wrong fields.
        let wrong = api.post(path, &json!({"nonsense": 1})).without_idempotency_key().await;
        wrong.problem(400, "IDEMPOTENCY_KEY_REQUIRED");
    }
    assert_eq!(api.read("invoices", &invoice).await["amount_paid"], 100);
}

async fn a_key_has_1_to_255_characters(server: Server) {
    let api = server.api();
    let body = json!({"name": "Acme"});
    for wrong in [String::new(), "k".repeat(256), "two words".to_owned()] {
        let answer = api.post("/v1/workspaces", &body).key(&wrong).await;
        assert!((400..500).contains(&answer.status), "{wrong:?}: {}", answer.text);
    }
    assert!(api.list("/v1/workspaces").await.is_empty());
    api.post("/v1/workspaces", &body).key(&"k".repeat(255)).await.ok(201);
}
