//! Headers and bodies that two readers could read in two ways are refused.

use crate::harness::{Server, both_databases, id, unique};
use ifmatch::INTEGER_MAX;
use serde_json::{Value, json};

both_databases![
    a_header_that_stands_twice_is_named,
    a_member_that_stands_twice_is_named,
    a_compressed_body_is_refused,
    objects_and_names_have_one_spelling,
    an_integer_may_be_written_with_a_point,
    integers_that_a_reader_would_round_are_refused,
    the_document_bounds_what_requests_set,
    a_form_may_echo_the_amounts_of_lines,
    how_long_to_wait_makes_no_other_request,
];

async fn a_header_that_stands_twice_is_named(server: Server) {
    let api = server.api();
    let workspace = api.make_workspace(json!({})).await;
    let path = format!("/v1/workspaces/{}", id(&workspace));
    for (name, value) in [
        ("authorization", "Bearer x"),
        ("idempotency-key", "a"),
        ("x-on-behalf-of", "ann"),
        ("x-force-reason", "reason"),
        ("content-type", "application/json"),
        ("last-event-id", "1"),
        ("x-lock", "global//a"),
        ("x-lock-fence", "1"),
        ("x-lock-workspace", "wsp_x"),
    ] {
        let twice = || {
            let call = api.patch(&path, &json!({"name": "x"})).if_match(1);
            call.header(name, value).header(name, value)
        };
        let refused = twice().await.problem(400, "MALFORMED_REQUEST");
        assert!(refused["detail"].as_str().unwrap().contains(name), "{refused}");
        let read = api.get("/v1/workspaces").header(name, value).header(name, value).await;
        read.problem(400, "MALFORMED_REQUEST");
    }
    // A key that is not accepted, and one that may not write, are told first.
    let twice = |call: crate::harness::Call| call.header("X-Lock", "a").header("X-Lock", "b");
    twice(api.with_key("ifm_nobody").get(&path)).await.problem(401, "UNAUTHENTICATED");
    let viewer = api.make_key("viewer").await;
    twice(viewer.post("/v1/workspaces", &json!({}))).await.problem(403, "FORBIDDEN");
    let sane = api.get(&path).header("X-Request-Id", "a").header("X-Request-Id", "b").await;
    assert_eq!(sane.status, 200);
    assert_eq!(api.read("workspaces", &workspace).await, workspace);
}

async fn a_member_that_stands_twice_is_named(server: Server) {
    let api = server.api();
    let workspace = api.make_workspace(json!({})).await;
    let path = format!("/v1/workspaces/{}", id(&workspace));
    for (text, place) in [
        (r#"{"name": "a", "name": "b", "version": 1}"#, "/name"),
        (r#"{"version": 1, "version": 1, "name": "a"}"#, "/version"),
        (r#"{"version": 1, "metadata": {"k": "1", "\u006b": "2"}}"#, "/metadata/k"),
        (r#"{"version": 1, "nonsense": [{"a/b": 1, "a/b": 1}]}"#, "/nonsense/0/a~1b"),
    ] {
        for method in ["PATCH", "PUT"] {
            let call = api.call(method, &path).body("application/json", text.to_owned());
            let refused = call.await.problem(400, "MALFORMED_REQUEST");
            assert!(refused["detail"].as_str().unwrap().contains(place), "{text}: {refused}");
        }
    }
    assert_eq!(api.read("workspaces", &workspace).await, workspace);
}

/// A list of an object's values, or an object with one member for a name, would slip past whatever
/// looks at the body before it is read.
async fn objects_and_names_have_one_spelling(server: Server) {
    let api = server.api();
    let feature = api.make_feature(json!({"type": "limit", "reset": "monthly"})).await;
    let package = json!({"code": unique("p"), "name": "n", "is_base": false,
        "grants": [[feature, "limit", 5]]});
    api.post("/v1/packages", &package).await.invalid("/grants/0");
    let unknown = json!({"code": unique("p"), "name": "n", "is_base": false,
        "grants": [["none", "enabled", null]]});
    api.post("/v1/packages", &unknown).await.invalid("/grants/0");
    let create = json!({"operations": [{"op": "create", "type": "package", "body": package}]});
    let refused = api.post("/v1/transactions", &create).await.problem(422, "VALIDATION_FAILED");
    assert!(refused.to_string().contains("/grants/0"), "{refused}");
    let kept = json!([{"feature": feature, "grant": "limit", "limit": 5}]);
    let package = api.make_package(kept, json!({})).await;
    let path = format!("/v1/packages/{}", id(&package));
    let patch = json!({"version": 1, "grants": [[feature, "limit", 6]]});
    api.patch(&path, &patch).await.invalid("/grants/0");
    api.post(&format!("{path}/preview"), &patch).await.invalid("/grants/0");

    let workspace = api.make_workspace(json!({})).await;
    let lines =
        json!({"workspace_id": id(&workspace), "currency": "USD", "lines": [["d", 2, 500]]});
    api.post("/v1/invoices", &lines).key(&unique("key")).await.invalid("/lines/0");
    let product = api.make_product(json!({})).await;
    let path = format!("/v1/products/{}", id(&product));
    for (patch, place) in [
        (json!({"version": 1, "limits": [1, 0, 1, 500, 1]}), "/limits"),
        (json!({"version": 1, "feature_limits": []}), "/feature_limits"),
        (json!({"version": 1, "deploy": []}), "/deploy"),
    ] {
        let text = api.patch(&path, &patch).await.invalid(place).to_string();
        assert!(text.contains("expected an object"), "{text}");
    }

    let body = json!({"workspace_id": id(&workspace), "currency": "USD"});
    for (op, name, place) in [
        (json!({"create": null}), json!("invoice"), "/operations/0/op"),
        (json!("create"), json!({"invoice": null}), "/operations/0/type"),
    ] {
        let operations = json!({"operations": [{"op": op, "type": name, "body": body}]});
        let keyless = api.post("/v1/transactions", &operations).without_idempotency_key().await;
        keyless.invalid(place);
    }
    let operations = json!({"operations": [{"op": "create", "type": "invoice", "body": body}]});
    let keyless = api.post("/v1/transactions", &operations).without_idempotency_key().await;
    keyless.problem(400, "IDEMPOTENCY_KEY_REQUIRED");
}

async fn a_compressed_body_is_refused(server: Server) {
    let api = server.api();
    for encoding in ["gzip", "br", "identity, gzip", "x"] {
        let call = api.post("/v1/workspaces", &json!({"name": "x"}));
        let answer = call.header("Content-Encoding", encoding).await;
        assert_eq!(answer.header("Accept-Encoding"), Some("identity"), "{}", answer.text);
        answer.problem(415, "UNSUPPORTED_MEDIA_TYPE");
    }
    let call = api.post("/v1/workspaces", &json!({"name": "x"}));
    call.header("Content-Encoding", "Identity").await.ok(201);
    let other = api.call("POST", "/v1/workspaces").body("text/plain", "{}".to_owned()).await;
    assert_eq!(other.header("Accept-Encoding"), None);
}

async fn an_integer_may_be_written_with_a_point(server: Server) {
    let api = server.api();
    let subscription = api.make_subscription(json!({})).await;
    let path = format!("/v1/subscriptions/{}", id(&subscription));
    let send = |text: &str| {
        let call = api.call("PATCH", &path).key(&unique("number"));
        call.body("application/json", text.to_owned())
    };
    for (now, text, quantity) in [
        (1, r#"{"version": 1.0, "quantity": 5.0}"#, 5),
        (2, r#"{"version": 2e0, "quantity": 6e0}"#, 6),
        (3, r#"{"version": 3, "quantity": 0.7e1}"#, 7),
    ] {
        let changed = send(text).await.ok(200);
        assert_eq!(
            (&changed["quantity"], &changed["version"]),
            (&json!(quantity), &json!(now + 1))
        );
    }
    for (value, named) in [
        ("5.5", "integer"),
        ("1e30", "integer"),
        ("-1", "1"),
        ("\"5\"", "integer"),
        ("4.99999999999999999999", "rounded"),
    ] {
        let text = format!(r#"{{"version": 4, "quantity": {value}}}"#);
        let refused = send(&text).await.invalid("/quantity");
        let message = refused["errors"][0]["message"].as_str().unwrap().to_owned();
        assert!(message.contains(named), "{value}: {message}");
        assert!(!message.contains("i64"), "{value}: {message}");
    }
    let plans = api.post(
        "/v1/transactions",
        &json!({"operations": [{"op": "check",
        "type": "plan", "id": "pln_0193f0c0a1b27c3d8e4f5a6b7c8d9e0f", "version": 1.5}]}),
    );
    let refused = plans.await.invalid("/operations/0/version").to_string();
    assert!(!refused.contains("i64"), "{refused}");
    let create = |days: &str| {
        let text = format!(
            r#"{{"code": "same", "name": "x", "currency": "USD", "amount": 1,
                "interval": "month", "trial_days": {days}}}"#
        );
        api.call("POST", "/v1/plans").key("same").body("application/json", text)
    };
    create("5").await.ok(201);
    let again = create("5.0").await.is(201);
    assert_eq!(again.header("Idempotency-Replayed"), Some("true"), "it is the same request");
}

async fn integers_that_a_reader_would_round_are_refused(server: Server) {
    let api = server.api();
    let beyond = INTEGER_MAX + 1;
    let plan = |amount: Value| {
        json!({"code": unique("plan"), "name": "Plan", "currency": "USD", "interval": "month",
            "amount": amount})
    };
    let made = api.post("/v1/plans", &plan(json!(INTEGER_MAX))).await.ok(201);
    assert_eq!(made["amount"], INTEGER_MAX);
    for amount in [json!(beyond), json!(u64::MAX), json!(1e30), json!(-beyond)] {
        api.post("/v1/plans", &plan(amount)).await.invalid("/amount");
    }
    let line = |unit: i64| json!({"description": "x", "quantity": 1, "unit_amount": unit});
    let invoice = api.make_invoice(json!({"lines": [line(INTEGER_MAX), line(-INTEGER_MAX)]})).await;
    let path = format!("/v1/invoices/{}", id(&invoice));
    let patch = |lines: Value| api.patch(&path, &json!({"lines": lines})).if_match(1);
    patch(json!([line(1), line(beyond)])).await.invalid("/lines/1/unit_amount");
    patch(json!([line(-beyond)])).await.invalid("/lines/0/unit_amount");
    let sum = patch(json!([line(INTEGER_MAX), line(1)])).await.problem(422, "AMOUNT_OVERFLOW");
    assert!(sum["detail"].as_str().unwrap().contains("9007199254740991"), "{sum}");
    let double = json!([{"description": "x", "quantity": 2, "unit_amount": INTEGER_MAX}]);
    patch(double).await.problem(422, "AMOUNT_OVERFLOW");
    assert_eq!(api.read("invoices", &invoice).await, invoice);
}

async fn the_document_bounds_what_requests_set(server: Server) {
    let document = server.api().without_key().get("/openapi.json").await.ok(200);
    let schemas = &document["components"]["schemas"];
    for (schema, field, least, most) in [
        ("PlanFields", "amount", -INTEGER_MAX, INTEGER_MAX),
        ("PlanPatch", "amount", -INTEGER_MAX, INTEGER_MAX),
        ("InvoiceLineFields", "unit_amount", -INTEGER_MAX, INTEGER_MAX),
        ("InvoiceReplacement", "tax", -INTEGER_MAX, INTEGER_MAX),
        ("InvoicePatch", "version", 1, INTEGER_MAX),
        ("PaymentInput", "amount", -INTEGER_MAX, INTEGER_MAX),
    ] {
        let field = &schemas[schema]["properties"][field];
        assert_eq!(field["minimum"], least, "{schema}: {field}");
        assert_eq!(field["maximum"], most, "{schema}: {field}");
    }
}

async fn a_form_may_echo_the_amounts_of_lines(server: Server) {
    let api = server.api();
    let lines = json!([{"description": "a", "quantity": 2, "unit_amount": 5},
        {"description": "b", "quantity": 1, "unit_amount": 7}]);
    let invoice = api.make_invoice(json!({"lines": lines})).await;
    let path = format!("/v1/invoices/{}", id(&invoice));
    let mut form = invoice.clone();
    form["lines"][0]["quantity"] = json!(3);
    let mut wrong = form.clone();
    wrong["lines"][1]["amount"] = json!(8);
    api.put(&path, &wrong).await.invalid("/lines/1/amount");
    let saved = api.put(&path, &form).await.ok(200);
    assert_eq!((&saved["lines"][0]["amount"], &saved["subtotal"]), (&json!(15), &json!(22)));
    // The same form again is stale: a conflict and not a wrong field.
    form["lines"][0]["quantity"] = json!(4);
    let conflict = api.put(&path, &form).await.conflict(409);
    assert_eq!(conflict["attempted"], json!(["/lines"]));
}

async fn how_long_to_wait_makes_no_other_request(server: Server) {
    let api = server.api();
    let body = json!({"name": "Acme"});
    // The path has no such parameter, but a kept answer takes precedence over that.
    let first = api.post("/v1/workspaces", &body).key("k").await.ok(201);
    let again = api.post("/v1/workspaces?wait_ms=5", &body).key("k").await.is(201);
    assert_eq!(again.header("Idempotency-Replayed"), Some("true"));
    assert_eq!(again.body, first);
}
