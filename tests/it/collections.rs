//! What all collections share: create, read, list, replace, delete and field limits.

use crate::harness::{Server, both_databases, day, id, unique, version};
use serde_json::{Value, json};
use std::collections::BTreeSet;

both_databases![
    a_created_object_is_where_its_location_says,
    what_a_client_leaves_out_takes_its_default,
    a_list_is_read_page_by_page,
    a_page_boundary_survives_inserts,
    a_list_can_be_sorted_both_ways,
    a_list_can_be_filtered_by_fields,
    a_filter_by_an_id_of_another_type_is_refused,
    deleted_objects_are_not_listed,
    a_replace_sets_what_it_leaves_out_to_its_default,
    a_replace_accepts_the_read_only_fields_it_was_given,
    a_null_in_a_patch_takes_the_value_away,
    a_taken_code_is_409_and_says_what_differs,
    the_same_create_again_is_answered_with_the_first,
    fields_out_of_their_limits_are_named,
    metadata_has_limits,
    references_must_exist,
    a_workspace_in_use_cannot_be_deleted,
    a_write_is_read_by_whoever_asks_next,
];

async fn a_created_object_is_where_its_location_says(server: Server) {
    let api = server.api();
    let (agent, key) = api.make_named_key("agent").await;
    let workspace = api.make_workspace(json!({})).await;
    let plan = api.make_active_plan(json!({})).await;
    let room = api.make_bookable(json!({})).await;
    let owner = id(&workspace);
    let creates = [
        (
            "plans",
            "pln_",
            json!({"code": unique("p"), "name": "P", "currency": "USD", "amount": 1,
            "interval": "year"}),
        ),
        ("workspaces", "wsp_", json!({"name": "W"})),
        ("namespaces", "nsp_", json!({"workspace_id": owner, "name": "N"})),
        ("subscriptions", "sub_", json!({"workspace_id": owner, "plan_id": id(&plan)})),
        ("invoices", "inv_", json!({"workspace_id": owner, "currency": "USD", "lines": []})),
        ("features", "ftr_", json!({"code": unique("f"), "type": "boolean", "releasable": true})),
        ("packages", "pkg_", json!({"code": unique("p"), "is_base": true, "grants": []})),
        ("bookables", "bkb_", json!({"name": "Room", "capacity": 3, "range_mode": "nights"})),
        (
            "bookings",
            "bkg_",
            json!({"bookable_id": id(&room), "start_date": day(3), "end_date": day(5),
            "quantity": 2, "user_id": "ann", "notes": "late"}),
        ),
        (
            "products",
            "prd_",
            json!({"name": "Game", "price_credits": 7, "egg": 5, "docker_image": "image",
            "startup": "./run", "environment": {"A": "b"}, "max_per_workspace": 3,
            "limits": {"memory": 1, "swap": -1, "disk": 2, "io": 500, "cpu": 100},
            "feature_limits": {"databases": 1, "allocations": 2, "backups": 3},
            "deploy": {"locations": [1, 2], "dedicated_ip": false, "port_range": ["25565-25570"]}}),
        ),
    ];
    for (collection, prefix, body) in creates {
        let path = format!("/v1/{collection}");
        let answer = agent.post(&path, &body).await.is(201);
        let object = &answer.body;
        assert!(id(object).starts_with(prefix), "{object}");
        assert_eq!(answer.header("ETag"), Some("\"1\""), "{collection}");
        assert_eq!((version(object), &object["updated_by"]), (1, &key["name"]), "{object}");
        assert_eq!(object["created_at"], object["updated_at"], "{object}");
        let location = answer.header("Location").unwrap_or_default();
        assert!(location.ends_with(&format!("{path}/{}", id(object))), "{location}");
        let read = agent.get(&format!("{path}/{}", id(object))).await.is(200);
        assert_eq!(read.header("ETag"), Some("\"1\""));
        assert_eq!(&read.body, object);
        for (field, value) in body.as_object().unwrap() {
            assert_eq!(&object[field], value, "{collection}.{field}");
        }
    }
}

async fn what_a_client_leaves_out_takes_its_default(server: Server) {
    let api = server.api();
    let plan = api.make_plan(json!({})).await;
    let defaults = json!({"status": "draft", "interval_count": 1, "trial_days": 0,
        "description": "", "metadata": {}});
    for (field, value) in defaults.as_object().unwrap() {
        assert_eq!(&plan[field], value, "plan.{field}");
    }
    let subscription = api.make_subscription(json!({})).await;
    let defaults = json!({"status": "active", "quantity": 1, "notes": "",
        "cancel_at_period_end": false, "canceled_at": null, "ended_at": null, "metadata": {}});
    for (field, value) in defaults.as_object().unwrap() {
        assert_eq!(&subscription[field], value, "subscription.{field}");
    }
    let invoice = api.make_invoice(json!({})).await;
    let defaults = json!({"status": "draft", "tax": 0, "number": null, "subscription_id": null,
        "amount_paid": 0, "finalized_at": null, "notes": "", "metadata": {}});
    for (field, value) in defaults.as_object().unwrap() {
        assert_eq!(&invoice[field], value, "invoice.{field}");
    }
}

async fn a_list_is_read_page_by_page(server: Server) {
    let api = server.api();
    let mut made = BTreeSet::new();
    for _ in 0..7 {
        made.insert(id(&api.make_workspace(json!({})).await).to_owned());
    }
    let (mut seen, mut sizes) = (Vec::new(), Vec::new());
    let mut next = "/v1/workspaces?limit=3".to_owned();
    loop {
        let page = api.get(&next).await.ok(200);
        let items = page["items"].as_array().unwrap();
        sizes.push(items.len());
        assert!(items.iter().all(|item| version(item) == 1));
        seen.extend(items.iter().map(|item| id(item).to_owned()));
        match &page["next_cursor"] {
            Value::String(cursor) => next = format!("/v1/workspaces?limit=3&cursor={cursor}"),
            other => {
                assert!(other.is_null() && page.get("next_cursor").is_some(), "{page}");
                break;
            }
        }
    }
    assert_eq!(sizes, [3, 3, 1]);
    assert_eq!(seen.len(), 7);
    assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), made);
    let wrong = api.get("/v1/workspaces?cursor=nonsense").await;
    assert!((400..500).contains(&wrong.status), "{}", wrong.text);

    for _ in 7..52 {
        api.make_workspace(json!({})).await;
    }
    let page = api.get("/v1/workspaces").await.ok(200);
    assert_eq!(page["items"].as_array().unwrap().len(), 50, "the default page");
}

async fn a_page_boundary_survives_inserts(server: Server) {
    let api = server.api();
    for _ in 0..6 {
        api.make_workspace(json!({})).await;
    }
    for sort in ["created_at", "-created_at"] {
        let before: Vec<_> = api.list(&format!("/v1/workspaces?sort={sort}")).await;
        let first = api.get(&format!("/v1/workspaces?sort={sort}&limit=4")).await.ok(200);
        api.make_workspace(json!({})).await;
        let cursor = first["next_cursor"].as_str().unwrap();
        let path = format!("/v1/workspaces?sort={sort}&limit=200&cursor={cursor}");
        let second = api.get(&path).await.ok(200);
        let seen = [&first, &second].map(|page| page["items"].as_array().unwrap().clone()).concat();
        for object in &before {
            let times = seen.iter().filter(|item| id(item) == id(object)).count();
            assert_eq!(times, 1, "sort={sort}: {object}");
        }
    }
}

async fn a_list_can_be_sorted_both_ways(server: Server) {
    let api = server.api();
    let mut made = Vec::new();
    for _ in 0..5 {
        made.push(id(&api.make_workspace(json!({})).await).to_owned());
    }
    let ids = |items: Vec<Value>| items.iter().map(|i| id(i).to_owned()).collect::<Vec<_>>();
    assert_eq!(ids(api.list("/v1/workspaces?sort=created_at").await), made);
    made.reverse();
    assert_eq!(ids(api.list("/v1/workspaces?sort=-created_at").await), made);
    let wrong = api.get("/v1/workspaces?sort=nonsense").await;
    assert!((400..500).contains(&wrong.status), "{}", wrong.text);
}

async fn a_list_can_be_filtered_by_fields(server: Server) {
    let api = server.api();
    let (first, second) =
        (api.make_subscription(json!({})).await, api.make_subscription(json!({})).await);
    api.change("subscriptions", &second, json!({"status": "paused"})).await;
    let filters = [
        format!("workspace_id={}", first["workspace_id"].as_str().unwrap()),
        format!("plan_id={}", first["plan_id"].as_str().unwrap()),
        "status=active".to_owned(),
    ];
    for filter in filters {
        let found = api.list(&format!("/v1/subscriptions?{filter}")).await;
        assert_eq!(found, std::slice::from_ref(&first), "{filter}");
    }
    let plan = api.make_plan(json!({})).await;
    let code = plan["code"].as_str().unwrap();
    assert_eq!(api.list(&format!("/v1/plans?code={code}")).await, std::slice::from_ref(&plan));
    assert_eq!(api.list("/v1/plans?status=draft").await, [plan]);
}

async fn a_filter_by_an_id_of_another_type_is_refused(server: Server) {
    let api = server.api();
    let workspace = api.make_workspace(json!({})).await;
    for list in ["subscriptions?plan_id", "bookings?bookable_id", "invoices?subscription_id"] {
        let path = format!("/v1/{list}={}", id(&workspace));
        api.get(&path).await.problem(400, "WRONG_ID_TYPE");
    }
    api.get(&format!("/v1/namespaces?workspace_id={}", id(&workspace))).await.ok(200);
    api.get("/v1/bookings?user_id=anybody").await.ok(200);
}

async fn deleted_objects_are_not_listed(server: Server) {
    let api = server.api();
    let (kept, gone) = (api.make_workspace(json!({})).await, api.make_workspace(json!({})).await);
    api.delete(&format!("/v1/workspaces/{}", id(&gone))).if_match(1).await.ok(200);
    assert_eq!(api.list("/v1/workspaces").await, [kept]);
}

async fn a_replace_sets_what_it_leaves_out_to_its_default(server: Server) {
    let api = server.api();
    let full = json!({"email": "a@b.example", "currency": "EUR", "metadata": {"k": "v"}});
    let workspace = api.make_workspace(full).await;
    let path = format!("/v1/workspaces/{}", id(&workspace));
    let replaced = api.put(&path, &json!({"name": "Only"})).if_match(1).await.ok(200);
    assert_eq!(replaced["name"], "Only");
    assert_eq!((&replaced["email"], &replaced["currency"]), (&Value::Null, &Value::Null));
    assert_eq!(replaced["metadata"], json!({}));
    assert_eq!(replaced["created_at"], workspace["created_at"]);
    assert_eq!(version(&replaced), 2);
    api.put(&path, &json!({"email": "a@b.example"})).if_match(2).await.invalid("/name");
}

async fn a_replace_accepts_the_read_only_fields_it_was_given(server: Server) {
    let api = server.api();
    let objects = [
        ("plans", api.make_plan(json!({})).await, "name"),
        ("workspaces", api.make_workspace(json!({})).await, "name"),
        ("namespaces", api.make_namespace(json!({})).await, "name"),
        ("subscriptions", api.make_subscription(json!({})).await, "notes"),
        ("invoices", api.make_invoice(json!({})).await, "notes"),
    ];
    for (collection, object, field) in objects {
        let path = format!("/v1/{collection}/{}", id(&object));
        let mut edited = object.clone();
        edited[field] = json!("edited");
        let saved = api.put(&path, &edited).await.ok(200);
        assert_eq!((version(&saved), &saved[field]), (2, &json!("edited")), "{collection}");
        let unchanged = api.put(&path, &saved).await.is(200);
        assert_eq!(unchanged.header("X-Changed"), Some("false"), "{collection}");
        assert_eq!(unchanged.body, saved);
    }
}

async fn a_null_in_a_patch_takes_the_value_away(server: Server) {
    let api = server.api();
    let full = json!({"email": "a@b.example", "metadata": {"keep": "1", "drop": "2"}});
    let workspace = api.make_workspace(full).await;
    let path = format!("/v1/workspaces/{}", id(&workspace));
    let patch = json!({"email": null, "metadata": {"drop": null, "new": "3"}});
    let now = api.patch(&path, &patch).if_match(1).await.ok(200);
    assert_eq!(now["email"], Value::Null);
    assert_eq!(now["metadata"], json!({"keep": "1", "new": "3"}));
    assert_eq!(now["name"], "Acme");
}

async fn a_taken_code_is_409_and_says_what_differs(server: Server) {
    let api = server.api();
    let plan = api.make_plan(json!({})).await;
    let other = json!({"code": plan["code"], "name": "Basic", "currency": "USD", "amount": 7,
        "interval": "month"});
    let problem = api.post("/v1/plans", &other).await.problem(409, "ALREADY_EXISTS");
    assert_eq!(problem["existing_id"], plan["id"]);
    let differing = problem["differing_fields"].as_array().unwrap();
    assert_eq!(differing.len(), 1, "{problem}");
    assert!(differing[0].as_str().unwrap().contains("amount"), "{problem}");
    assert_eq!(api.list("/v1/plans").await, [plan]);
}

async fn the_same_create_again_is_answered_with_the_first(server: Server) {
    let api = server.api();
    let body = json!({"code": "same", "name": "Basic", "currency": "USD", "amount": 1000,
        "interval": "month"});
    let first = api.post("/v1/plans", &body).await.ok(201);
    let again = api.post("/v1/plans", &body).await;
    assert!((200..300).contains(&again.status), "{}", again.text);
    assert_eq!(again.body["id"], first["id"]);
    assert_eq!(api.list("/v1/plans").await.len(), 1);
}

async fn fields_out_of_their_limits_are_named(server: Server) {
    let api = server.api();
    let plan = json!({"code": unique("p"), "name": "P", "currency": "USD", "amount": 1,
        "interval": "month"});
    for (field, values) in [
        ("amount", vec![json!(-1), json!(1.5), json!("1")]),
        ("interval", vec![json!("hour"), json!(1)]),
        ("interval_count", vec![json!(0), json!(37)]),
        ("trial_days", vec![json!(-1), json!(731)]),
        ("currency", vec![json!("usd"), json!("EURO"), json!("")]),
        ("status", vec![json!("retired")]),
        ("name", vec![json!(""), json!(7)]),
    ] {
        for value in values {
            let body = crate::harness::with(plan.clone(), &json!({(field): value}));
            api.post("/v1/plans", &body).await.invalid(&format!("/{field}"));
        }
    }
    for field in ["code", "name", "currency", "amount", "interval"] {
        let mut body = plan.clone();
        body.as_object_mut().unwrap().remove(field);
        api.post("/v1/plans", &body).await.invalid(&format!("/{field}"));
    }
    let edges = json!({"interval_count": 36, "trial_days": 730, "amount": 0});
    api.make_plan(edges).await;

    let subscription = api.make_subscription(json!({})).await;
    let path = format!("/v1/subscriptions/{}", id(&subscription));
    for (field, value) in [
        ("quantity", json!(0)),
        ("quantity", json!(1_000_001)),
        ("notes", json!("x".repeat(10_001))),
        ("cancel_at_period_end", json!("yes")),
    ] {
        let patch = api.patch(&path, &json!({(field): value})).if_match(1).await;
        patch.invalid(&format!("/{field}"));
    }
    let edges = json!({"quantity": 1_000_000, "notes": "é".repeat(10_000)});
    api.patch(&path, &edges).if_match(1).await.ok(200);
}

async fn metadata_has_limits(server: Server) {
    let api = server.api();
    let many = |n: usize| (0..n).map(|k| (format!("k{k}"), json!("v"))).collect::<Value>();
    let long = "k".repeat(41);
    for (metadata, path) in [
        (many(51), "/metadata"),
        (json!({long.clone(): "v"}), &*format!("/metadata/{long}")),
        (json!({"k": "v".repeat(501)}), "/metadata/k"),
        (json!({"k": 1}), "/metadata/k"),
        (json!({"a/b": 1}), "/metadata/a~1b"),
        (json!({"a/b": "v".repeat(501)}), "/metadata/a~1b"),
        (json!({"~1": {}}), "/metadata/~01"),
        (json!({"a/b": "\u{0}"}), "/metadata/a~1b"),
        (json!(["k"]), "/metadata"),
    ] {
        let body = json!({"name": "x", "metadata": metadata});
        api.post("/v1/workspaces", &body).await.invalid(path);
    }
    let unknown = json!({"name": "x", "a/b": 1});
    api.post("/v1/workspaces", &unknown).await.invalid("/a~1b");
    let mut most = many(49);
    most["k".repeat(40)] = json!("v".repeat(500));
    let workspace = api.make_workspace(json!({"metadata": most})).await;
    let path = format!("/v1/workspaces/{}", id(&workspace));
    let one_more = json!({"metadata": {"one": "more"}});
    api.patch(&path, &one_more).if_match(1).await.problem(422, "VALIDATION_FAILED");
    api.patch(&path, &json!({"a/b": 1})).if_match(1).await.invalid("/a~1b");
    api.put(&path, &unknown).if_match(1).await.invalid("/a~1b");
}

async fn references_must_exist(server: Server) {
    let api = server.api();
    let workspace = api.make_workspace(json!({})).await;
    let nobody = "wsp_0193f0c0a1b27c3d8e4f5a6b7c8d9e0f";
    let nothing = "pln_0193f0c0a1b27c3d8e4f5a6b7c8d9e0f";
    let plan = api.make_active_plan(json!({})).await;
    for (collection, body) in [
        ("subscriptions", json!({"workspace_id": nobody, "plan_id": id(&plan)})),
        ("subscriptions", json!({"workspace_id": id(&workspace), "plan_id": nothing})),
        ("namespaces", json!({"workspace_id": nobody, "name": "eu"})),
        ("invoices", json!({"workspace_id": nobody, "currency": "USD", "lines": []})),
    ] {
        let answer = api.post(&format!("/v1/{collection}"), &body).await;
        assert!((400..500).contains(&answer.status), "{collection}: {}", answer.text);
        assert!(api.list(&format!("/v1/{collection}")).await.is_empty(), "{collection}");
    }
}

async fn a_workspace_in_use_cannot_be_deleted(server: Server) {
    let api = server.api();
    let subscription = api.make_subscription(json!({})).await;
    let namespace = api.make_namespace(json!({})).await;
    for child in [subscription, namespace] {
        let path = format!("/v1/workspaces/{}", child["workspace_id"].as_str().unwrap());
        api.delete(&path).if_match(1).await.problem(409, "WORKSPACE_IN_USE");
        api.get(&path).await.ok(200);
    }
}

async fn a_write_is_read_by_whoever_asks_next(server: Server) {
    let (api, viewer) = (server.api(), server.api().make_key("viewer").await);
    let workspace = api.make_workspace(json!({})).await;
    let path = format!("/v1/workspaces/{}", id(&workspace));
    for n in 1..30 {
        let written = api.patch(&path, &json!({"name": format!("{n}")})).if_match(n).await.ok(200);
        assert_eq!(viewer.get(&path).await.ok(200), written);
        assert_eq!(viewer.list("/v1/workspaces").await, [written]);
    }
}
