//! The form of requests and answers: methods, types, sizes, ids, caching, request ids.

use crate::harness::{Server, both_databases, id, unique};
use serde_json::{Value, json};

/// The UUID part of an id that names no object, for any type.
const UUID: &str = "0193f0c0a1b27c3d8e4f5a6b7c8d9e0f";

both_databases![
    an_unchanged_object_is_304,
    head_is_get_without_the_body,
    a_wrong_method_is_405_and_names_the_right_ones,
    an_unknown_path_is_404,
    a_wrong_content_type_is_415,
    a_body_over_64_kib_is_413,
    a_body_that_is_not_json_is_400,
    unknown_fields_are_named,
    read_only_fields_are_named,
    fields_that_are_set_once_are_named,
    an_id_of_another_type_is_named_as_such,
    an_id_of_a_type_that_is_no_collection_is_named_as_such,
    a_request_id_is_kept_if_it_is_sane,
    instants_have_microseconds_in_utc,
    an_instant_is_rfc_3339_and_can_be_stored,
    every_problem_has_the_same_shape,
];

async fn an_unchanged_object_is_304(server: Server) {
    let api = server.api();
    let workspace = api.make_workspace(json!({})).await;
    let path = format!("/v1/workspaces/{}", id(&workspace));
    for current in ["\"1\"", "W/\"1\"", "\"7\", \"1\""] {
        let answer = api.get(&path).header("If-None-Match", current).await.is(304);
        assert_eq!(answer.text, "", "{current}");
        assert_eq!(answer.header("ETag"), Some("\"1\""));
    }
    api.get(&path).header("If-None-Match", "\"2\"").await.ok(200);
    api.patch(&path, &json!({"name": "x"})).if_match(1).await.ok(200);
    let answer = api.get(&path).header("If-None-Match", "\"1\"").await.is(200);
    assert_eq!(answer.header("ETag"), Some("\"2\""));
    assert_eq!(answer.body["name"], "x");
}

async fn head_is_get_without_the_body(server: Server) {
    let api = server.api();
    let workspace = api.make_workspace(json!({})).await;
    let path = format!("/v1/workspaces/{}", id(&workspace));
    let head = api.call("HEAD", &path).await.is(200);
    assert_eq!((head.header("ETag"), head.text.as_str()), (Some("\"1\""), ""));
    for path in ["/v1/workspaces", "/healthz", &format!("{path}/history")] {
        assert_eq!(api.call("HEAD", path).await.is(200).text, "", "{path}");
    }
    api.call("HEAD", &format!("/v1/workspaces/wsp_{UUID}")).await.is(404);
    api.without_key().call("HEAD", &path).await.is(401);
}

async fn a_wrong_method_is_405_and_names_the_right_ones(server: Server) {
    let api = server.api();
    let one = format!("/v1/plans/pln_{UUID}");
    for (method, path, allowed) in [
        ("DELETE", "/v1/plans", &["GET", "POST"][..]),
        ("PUT", "/v1/subscriptions", &["GET", "POST"]),
        ("POST", &one, &["GET", "PATCH", "PUT", "DELETE"]),
        ("POST", "/v1/events", &["GET"]),
        ("GET", "/v1/transactions", &["POST"]),
        ("POST", "/healthz", &["GET"]),
    ] {
        let answer = api.call(method, path).await;
        let allow = answer.header("Allow").unwrap_or_default().to_owned();
        answer.problem(405, "METHOD_NOT_ALLOWED");
        let allow: Vec<_> = allow.split(',').map(str::trim).collect();
        for wanted in allowed {
            assert!(allow.contains(wanted), "{method} {path}: Allow: {allow:?}");
        }
        assert!(!allow.contains(&method), "{method} {path}: Allow: {allow:?}");
    }
}

async fn an_unknown_path_is_404(server: Server) {
    let api = server.api();
    for path in ["/v1/nothing", "/nothing", "/v1", "/v1/plans/a/b/c/d"] {
        api.get(path).await.problem(404, "NOT_FOUND");
    }
}

async fn a_wrong_content_type_is_415(server: Server) {
    let api = server.api();
    let workspace = api.make_workspace(json!({})).await;
    let path = format!("/v1/workspaces/{}", id(&workspace));
    let body = || r#"{"name":"x","version":1}"#.to_owned();
    for wrong in ["text/plain", "application/xml", "application/x-www-form-urlencoded"] {
        for method in ["PATCH", "PUT"] {
            let answer = api.call(method, &path).body(wrong, body()).await;
            answer.problem(415, "UNSUPPORTED_MEDIA_TYPE");
        }
        let answer = api.call("POST", "/v1/workspaces").body(wrong, body()).await;
        answer.problem(415, "UNSUPPORTED_MEDIA_TYPE");
    }
    let json = "application/json; charset=utf-8";
    api.call("PATCH", &path).body(json, body()).await.ok(200);
}

async fn a_body_over_64_kib_is_413(server: Server) {
    let api = server.api();
    let big = json!({"name": "x", "metadata": {"k": "v".repeat(70_000)}});
    api.post("/v1/workspaces", &big).await.problem(413, "PAYLOAD_TOO_LARGE");
    let workspace = api.make_workspace(json!({})).await;
    let path = format!("/v1/workspaces/{}", id(&workspace));
    api.patch(&path, &big).if_match(1).await.problem(413, "PAYLOAD_TOO_LARGE");
    let padded = format!("{}{}", r#"{"name":"x"}"#, " ".repeat(60_000));
    let call = api.call("POST", "/v1/workspaces").body("application/json", padded);
    call.await.ok(201);
}

async fn a_body_that_is_not_json_is_400(server: Server) {
    let api = server.api();
    let workspace = api.make_workspace(json!({})).await;
    let path = format!("/v1/workspaces/{}", id(&workspace));
    for broken in ["", "{", "{\"name\": \"x\",}", "name=x", "{\"name\":\"x\"} {}"] {
        for (method, path) in [("POST", "/v1/workspaces"), ("PATCH", &path), ("PUT", &path)] {
            let call = api.call(method, path).if_match(1);
            let answer = call.body("application/json", broken.to_owned()).await;
            assert_eq!(answer.status, 400, "{method} {broken:?}: {}", answer.text);
            answer.problem(400, "MALFORMED_REQUEST");
        }
    }
    assert_eq!(api.list("/v1/workspaces").await, [workspace]);
}

async fn unknown_fields_are_named(server: Server) {
    let api = server.api();
    let workspace = api.make_workspace(json!({})).await;
    let path = format!("/v1/workspaces/{}", id(&workspace));
    let body = json!({"name": "x", "nonsense": 1});
    api.post("/v1/workspaces", &body).await.invalid("/nonsense");
    api.patch(&path, &body).if_match(1).await.invalid("/nonsense");
    api.put(&path, &body).if_match(1).await.invalid("/nonsense");
    assert_eq!(api.list("/v1/workspaces").await, [workspace]);
}

async fn read_only_fields_are_named(server: Server) {
    let api = server.api();
    let subscription = api.make_subscription(json!({})).await;
    let path = format!("/v1/subscriptions/{}", id(&subscription));
    let instant = json!("2020-01-01T00:00:00.000000Z");
    for (field, value) in [
        ("id", json!(format!("sub_{UUID}"))),
        ("created_at", instant.clone()),
        ("updated_at", instant.clone()),
        ("updated_by", json!("me")),
        ("current_period_start", instant.clone()),
        ("current_period_end", instant.clone()),
        ("trial_end", instant.clone()),
        ("canceled_at", instant.clone()),
        ("ended_at", instant),
    ] {
        let patch = api.patch(&path, &json!({(field): value.clone()})).if_match(1).await;
        patch.invalid(&format!("/{field}"));
        let mut put = subscription.clone();
        put[field] = value.clone();
        api.put(&path, &put).await.invalid(&format!("/{field}"));
        let mut create = json!({"name": "x"});
        create[field] = value;
        api.post("/v1/workspaces", &create).await.invalid(&format!("/{field}"));
    }
    let create = json!({"name": "x", "version": 3});
    api.post("/v1/workspaces", &create).await.invalid("/version");
    assert_eq!(api.read("subscriptions", &subscription).await, subscription);

    let invoice = api.make_invoice(json!({})).await;
    let path = format!("/v1/invoices/{}", id(&invoice));
    for field in ["subtotal", "total", "amount_paid", "amount_due"] {
        api.patch(&path, &json!({(field): 5})).if_match(1).await.invalid(&format!("/{field}"));
    }
    let number = api.patch(&path, &json!({"number": "INV-999999"})).if_match(1).await;
    number.invalid("/number");
}

async fn fields_that_are_set_once_are_named(server: Server) {
    let api = server.api();
    let plan = api.make_plan(json!({})).await;
    let path = format!("/v1/plans/{}", id(&plan));
    api.patch(&path, &json!({"code": unique("other")})).if_match(1).await.invalid("/code");
    let same = json!({"code": plan["code"], "name": "Renamed"});
    api.patch(&path, &same).if_match(1).await.ok(200);

    let namespace = api.make_namespace(json!({})).await;
    let other = api.make_workspace(json!({})).await;
    let path = format!("/v1/namespaces/{}", id(&namespace));
    let body = json!({"workspace_id": id(&other)});
    api.patch(&path, &body).if_match(1).await.invalid("/workspace_id");
    let put = json!({"workspace_id": id(&other), "name": "eu"});
    api.put(&path, &put).if_match(1).await.invalid("/workspace_id");

    let subscription = api.make_subscription(json!({})).await;
    let path = format!("/v1/subscriptions/{}", id(&subscription));
    let body = json!({"start_at": "2020-01-01T00:00:00Z"});
    api.patch(&path, &body).if_match(1).await.invalid("/start_at");
}

async fn an_id_of_a_type_that_is_no_collection_is_named_as_such(server: Server) {
    let api = server.api();
    let invoice = api.make_invoice(json!({})).await;
    let invoice = format!("/v1/invoices/{}", id(&invoice));
    for prefix in ["srv_", "key_", "pay_", "cfl_", "xyz_"] {
        let one = format!("/v1/subscriptions/{prefix}{UUID}");
        api.get(&one).await.problem(400, "WRONG_ID_TYPE");
        api.delete(&one).await.problem(400, "WRONG_ID_TYPE");
    }
    let reverse = format!("{invoice}/payments/inv_{UUID}/reverse");
    let reverse = api.post(&reverse, &json!({"reason": "x"})).key("reverse");
    reverse.await.problem(400, "WRONG_ID_TYPE");
    api.get(&format!("{invoice}/payments/inv_{UUID}")).await.problem(400, "WRONG_ID_TYPE");
    api.delete(&format!("/v1/api-keys/pln_{UUID}")).await.problem(400, "WRONG_ID_TYPE");
    api.get(&format!("/v1/subscriptions/SRV_{UUID}")).await.problem(404, "NOT_FOUND");
}

async fn an_id_of_another_type_is_named_as_such(server: Server) {
    let api = server.api();
    for (collection, prefix, wrong) in [
        ("plans", "pln_", "sub_"),
        ("workspaces", "wsp_", "pln_"),
        ("namespaces", "nsp_", "wsp_"),
        ("subscriptions", "sub_", "inv_"),
        ("invoices", "inv_", "nsp_"),
        ("features", "ftr_", "pkg_"),
        ("packages", "pkg_", "asg_"),
        ("bookables", "bkb_", "bkg_"),
        ("bookings", "bkg_", "bkb_"),
        ("products", "prd_", "srv_"),
        ("servers", "srv_", "prd_"),
    ] {
        let path = format!("/v1/{collection}/{wrong}{UUID}");
        let problems = [
            api.get(&path).await,
            api.patch(&path, &json!({"name": "x"})).if_match(1).await,
            api.delete(&path).if_match(1).await,
        ];
        for answer in problems {
            let problem = answer.problem(400, "WRONG_ID_TYPE");
            assert!(problem.to_string().contains(prefix), "{prefix} is expected: {problem}");
        }
    }
}

async fn a_request_id_is_kept_if_it_is_sane(server: Server) {
    let api = server.api();
    let path = "/v1/plans";
    let kept = api.get(path).header("X-Request-Id", "caller-7f3a").await;
    assert_eq!(kept.header("X-Request-Id"), Some("caller-7f3a"));
    let long = "x".repeat(2_000);
    let replaced = api.get(path).header("X-Request-Id", &long).await;
    assert_ne!(replaced.header("X-Request-Id"), Some(long.as_str()));
    let first = api.get(path).await;
    let second = api.get(path).await;
    assert_ne!(first.header("X-Request-Id"), second.header("X-Request-Id"));

    let call = api.get(&format!("/v1/plans/pln_{UUID}")).header("X-Request-Id", "lost-one");
    assert_eq!(call.await.problem(404, "NOT_FOUND")["request_id"], "lost-one");
}

async fn instants_have_microseconds_in_utc(server: Server) {
    let subscription = server.api().make_subscription(json!({})).await;
    for field in ["created_at", "updated_at", "start_at", "current_period_end"] {
        let text = subscription[field].as_str().unwrap();
        text.parse::<jiff::Timestamp>().unwrap();
        let (_, fraction) = text.split_once('.').unwrap_or_else(|| panic!("{field}: {text}"));
        assert!(fraction.len() == 7 && fraction.ends_with('Z'), "{field}: {text}");
    }
}

async fn an_instant_is_rfc_3339_and_can_be_stored(server: Server) {
    let api = server.api();
    let plan = api.make_active_plan(json!({})).await;
    let workspace = api.make_workspace(json!({})).await;
    let send = async |start_at: &str| {
        let body = json!({"workspace_id": id(&workspace), "plan_id": id(&plan),
            "start_at": start_at});
        api.post("/v1/subscriptions", &body).await
    };
    let message = |problem: &Value| problem["errors"][0]["message"].as_str().unwrap().to_owned();
    let (beyond, latest) = ("9999-12-31T23:59:59Z", "9999-12-30T22:00:00.000000Z");
    for (text, told) in [
        ("2026-11-22T00:00Z", "RFC 3339"),
        ("2026-11-22T00:00:00,5Z", "RFC 3339"),
        ("2026-11-22T00:00:00+24:00", "RFC 3339"),
        (beyond, latest),
    ] {
        let refused = send(text).await.invalid("/start_at");
        assert!(message(&refused).contains(told), "{text}: {refused}");
        let refused = api.post("/v1/billing-runs", &json!({"as_of": text})).await;
        let refused = refused.invalid("/as_of");
        assert!(message(&refused).contains(told), "{text}: {refused}");
        let query = format!("/v1/audit?since={}", text.replace('+', "%2B"));
        let refused = api.get(&query).await.invalid("?since");
        assert!(message(&refused).contains(told), "{text}: {refused}");
    }
    for (text, same) in [
        ("2026-11-22t01:06:00z", "2026-11-22T01:06:00.000000Z"),
        ("2026-11-22T01:06:00.5+02:30", "2026-11-21T22:36:00.500000Z"),
    ] {
        assert_eq!(send(text).await.ok(201)["start_at"], same, "{text}");
    }
}

async fn every_problem_has_the_same_shape(server: Server) {
    let api = server.api();
    let unknown = format!("/v1/plans/pln_{UUID}");
    let problems: [Value; 4] = [
        api.get(&unknown).await.problem(404, "NOT_FOUND"),
        api.without_key().get(&unknown).await.problem(401, "UNAUTHENTICATED"),
        api.call("TRACE", &unknown).await.problem(405, "METHOD_NOT_ALLOWED"),
        api.post("/v1/plans", &json!({})).await.problem(422, "VALIDATION_FAILED"),
    ];
    let errors = problems[3]["errors"].as_array().unwrap();
    assert!(!errors.is_empty());
    for error in errors {
        assert!(error["path"].is_string() && error["message"].is_string(), "{error}");
    }
}
