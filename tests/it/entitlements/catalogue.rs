//! Features: what can be granted, and what is frozen once a grant exists.

use crate::harness::{Server, both_databases, grant, id, members, unique, units, with};
use serde_json::json;

both_databases![
    an_unlimited_feature_takes_no_limit_from_a_package,
    a_feature_has_its_documented_members_and_defaults,
    a_taken_code_is_409_and_says_what_differs,
    the_same_feature_or_package_again_is_answered_with_the_first,
    a_feature_that_nothing_grants_may_change,
    a_granted_feature_is_frozen_and_cannot_be_deleted,
    a_boosted_feature_is_frozen_and_cannot_be_deleted,
    a_feature_that_others_draw_from_is_frozen_and_cannot_be_deleted,
    the_code_of_a_feature_is_set_once,
    a_stale_edit_of_a_feature_shows_the_winner,
    wrong_features_are_refused_naming_the_field,
    an_archived_feature_cannot_be_newly_granted,
    who_has_an_archived_feature_keeps_it,
];

async fn a_feature_has_its_documented_members_and_defaults(server: Server) {
    let api = server.api();
    let code = unique("api.calls");
    let body = json!({"code": code, "name": "Calls", "type": "limit"});
    let made = api.post("/v1/features", &body).await.is(201);
    assert_eq!(made.header("ETag"), Some("\"1\""));
    let path = format!("/v1/features/{}", id(&made.body));
    assert_eq!(made.header("Location"), Some(path.as_str()));
    let feature = made.body;
    assert!(id(&feature).starts_with("ftr_"), "{feature}");
    assert_eq!(
        members(&feature),
        [
            "code",
            "created_at",
            "id",
            "name",
            "parent_code",
            "releasable",
            "reset",
            "rolling_days",
            "status",
            "type",
            "updated_at",
            "updated_by",
            "version",
        ]
    );
    let expected = json!({"version": 1, "code": code, "name": "Calls", "type": "limit",
        "reset": "none", "rolling_days": null, "parent_code": null, "releasable": false,
        "status": "active"});
    assert_eq!(with(feature.clone(), &expected), feature);
    assert_eq!(api.get(&path).await.ok(200), feature);
    assert!(api.list("/v1/features").await.contains(&feature));
    assert_eq!(api.history(&path).await[0]["kind"], "created");
}

async fn a_taken_code_is_409_and_says_what_differs(server: Server) {
    let api = server.api();
    let body = json!({"code": unique("seats"), "name": "Seats", "type": "limit"});
    let first = api.post("/v1/features", &body).await.ok(201);
    let other = with(body.clone(), &json!({"type": "boolean"}));
    let problem = api.post("/v1/features", &other).await.problem(409, "ALREADY_EXISTS");
    assert_eq!(problem["existing_id"], first["id"]);
    assert!(problem["differing_fields"].to_string().contains("type"), "{problem}");

    let package = json!({"code": unique("pro"), "name": "Pro", "grants": []});
    let first = api.post("/v1/packages", &package).await.ok(201);
    let other = with(package, &json!({"is_base": true}));
    let problem = api.post("/v1/packages", &other).await.problem(409, "ALREADY_EXISTS");
    assert_eq!(problem["existing_id"], first["id"]);
    assert!(problem["differing_fields"].to_string().contains("is_base"), "{problem}");
}

async fn the_same_feature_or_package_again_is_answered_with_the_first(server: Server) {
    let api = server.api();
    let feature = json!({"code": unique("seats"), "name": "Seats", "type": "limit"});
    let package = json!({"code": unique("pro"), "name": "Pro", "grants": []});
    for (path, body) in [("/v1/features", feature), ("/v1/packages", package)] {
        let first = api.post(path, &body).await.ok(201);
        assert_eq!(api.post(path, &body).await.ok(200), first);
        assert_eq!(api.list(path).await, [first]);
    }
}

async fn a_feature_that_nothing_grants_may_change(server: Server) {
    let api = server.api();
    let body = json!({"code": unique("seats"), "name": "Seats", "type": "limit"});
    let feature = api.post("/v1/features", &body).await.ok(201);
    let path = format!("/v1/features/{}", id(&feature));
    let rolling = json!({"reset": "rolling", "rolling_days": 30});
    let changed = api.patch(&path, &rolling).if_match(1).await.ok(200);
    assert_eq!((&changed["reset"], &changed["rolling_days"]), (&json!("rolling"), &json!(30)));
    let replaced = with(body, &json!({"type": "boolean"}));
    let replaced = api.put(&path, &replaced).if_match(2).await.ok(200);
    assert_eq!((&replaced["type"], &replaced["reset"]), (&json!("boolean"), &json!("none")));
    api.delete(&path).if_match(3).await.ok(200);
    api.get(&path).await.problem(410, "DELETED");
}

async fn a_granted_feature_is_frozen_and_cannot_be_deleted(server: Server) {
    let api = server.api();
    let body = json!({"code": unique("seats"), "name": "Seats", "type": "limit"});
    let feature = api.post("/v1/features", &body).await.ok(201);
    let parent = api.make_feature(json!({})).await;
    api.make_package(json!([units(feature["code"].as_str().unwrap(), 5)]), json!({})).await;
    let path = format!("/v1/features/{}", id(&feature));
    for edit in [
        json!({"type": "boolean"}),
        json!({"reset": "monthly"}),
        json!({"reset": "rolling", "rolling_days": 7}),
        json!({"parent_code": parent}),
    ] {
        api.patch(&path, &edit).if_match(1).await.problem(409, "FEATURE_IN_USE");
    }
    api.delete(&path).if_match(1).await.problem(409, "FEATURE_IN_USE");
    assert_eq!(api.get(&path).await.ok(200), feature, "nothing happened");
    let free = json!({"name": "People", "releasable": true});
    let changed = api.patch(&path, &free).if_match(1).await.ok(200);
    assert_eq!((&changed["name"], &changed["releasable"]), (&json!("People"), &json!(true)));
}

async fn a_boosted_feature_is_frozen_and_cannot_be_deleted(server: Server) {
    let api = server.api();
    let (scope, feature) = (api.make_scope().await, api.make_feature(json!({})).await);
    api.boost(&scope, &feature, json!({"kind": "unlimited", "amount": null})).await.ok(201);
    let features = api.list("/v1/features").await;
    let path = format!("/v1/features/{}", id(&features[0]));
    let edit = json!({"reset": "monthly"});
    let refused = api.patch(&path, &edit).if_match(1).await.problem(409, "FEATURE_IN_USE");
    assert!(refused["fields"].to_string().contains("reset"), "{refused}");
    api.delete(&path).if_match(1).await.problem(409, "FEATURE_IN_USE");
    assert_eq!(api.list("/v1/features").await, features);
}

async fn a_feature_that_others_draw_from_is_frozen_and_cannot_be_deleted(server: Server) {
    let api = server.api();
    let body = json!({"code": unique("tokens"), "name": "Tokens", "type": "limit"});
    let parent = api.post("/v1/features", &body).await.ok(201);
    api.make_feature(json!({"parent_code": parent["code"]})).await;
    let path = format!("/v1/features/{}", id(&parent));
    let edit = json!({"type": "boolean"});
    api.patch(&path, &edit).if_match(1).await.problem(409, "FEATURE_IN_USE");
    api.delete(&path).if_match(1).await.problem(409, "FEATURE_IN_USE");
    assert_eq!(api.get(&path).await.ok(200), parent);
}

async fn the_code_of_a_feature_is_set_once(server: Server) {
    let api = server.api();
    let code = api.make_feature(json!({})).await;
    let features = api.list("/v1/features").await;
    let path = format!("/v1/features/{}", id(&features[0]));
    assert_eq!(features[0]["code"], code);
    api.patch(&path, &json!({"code": unique("x")})).if_match(1).await.invalid("/code");
    let package = api.make_package(json!([]), json!({})).await;
    let path = format!("/v1/packages/{}", id(&package));
    api.patch(&path, &json!({"code": unique("x")})).if_match(1).await.invalid("/code");
    assert_eq!(api.get(&path).await.ok(200), package);
}

async fn a_stale_edit_of_a_feature_shows_the_winner(server: Server) {
    let api = server.api();
    let body = json!({"code": unique("seats"), "name": "Seats", "type": "limit"});
    let feature = api.post("/v1/features", &body).await.ok(201);
    let path = format!("/v1/features/{}", id(&feature));
    let winner = api.patch(&path, &json!({"name": "two"})).if_match(1).await.ok(200);
    let late = json!({"name": "three", "version": 1});
    let conflict = api.patch(&path, &late).await.conflict(409);
    assert_eq!(conflict["current"], winner);
    assert_eq!(conflict["resource"], json!({"type": "feature", "id": feature["id"]}));
    assert_eq!(conflict["merge"]["verdict"], "overlap");
    api.patch(&path, &json!({"name": "three"})).if_match(1).await.conflict(412);
    api.patch(&path, &json!({"name": "three"})).await.problem(428, "PRECONDITION_REQUIRED");
    let merge = api.patch(&format!("{path}?on_conflict=merge"), &json!({"releasable": true}));
    let merged = merge.if_match(1).await.is(200);
    assert_eq!(merged.header("X-Merged-From"), Some("1"));
    assert_eq!((&merged.body["name"], &merged.body["releasable"]), (&json!("two"), &json!(true)));
}

async fn wrong_features_are_refused_naming_the_field(server: Server) {
    let api = server.api();
    let parent = api.make_feature(json!({})).await;
    let child = api.make_feature(json!({"parent_code": parent})).await;
    let switch = api.make_feature(json!({"type": "boolean"})).await;
    let before = api.list("/v1/features").await.len();
    for (field, wrong) in [
        ("/code", json!({"code": ""})),
        ("/code", json!({"code": "two words"})),
        ("/code", json!({"code": ".."})),
        ("/code", json!({"code": "x".repeat(101)})),
        ("/code", json!({"code": 7})),
        ("/type", json!({"type": "counter"})),
        ("/type", json!({"type": null})),
        ("/reset", json!({"reset": "daily"})),
        ("/rolling_days", json!({"reset": "rolling"})),
        ("/rolling_days", json!({"rolling_days": 7})),
        ("/rolling_days", json!({"reset": "rolling", "rolling_days": 0})),
        ("/rolling_days", json!({"reset": "rolling", "rolling_days": 367})),
        ("/parent_code", json!({"parent_code": unique("nothing")})),
        ("/parent_code", json!({"parent_code": child})),
        ("/parent_code", json!({"parent_code": switch})),
        ("/status", json!({"status": "draft"})),
        ("/colour", json!({"colour": "red"})),
    ] {
        let body = json!({"code": unique("api.calls"), "name": "Calls", "type": "limit"});
        let answer = api.post("/v1/features", &with(body, &wrong)).await;
        answer.invalid(field);
    }
    assert_eq!(api.list("/v1/features").await.len(), before);
}

async fn an_archived_feature_cannot_be_newly_granted(server: Server) {
    let api = server.api();
    let feature = api.make_feature(json!({"status": "archived"})).await;
    let grants = json!([grant(&feature, "unlimited")]);
    let body = json!({"code": unique("pro"), "name": "Pro", "grants": grants});
    let refused = api.post("/v1/packages", &body).await;
    assert!([409, 422].contains(&refused.status), "{}", refused.text);
    assert!(api.list("/v1/packages").await.is_empty());
    let workspace = api.make_scope().await;
    let refused = api.boost(&workspace, &feature, json!({})).await;
    assert!([409, 422].contains(&refused.status), "{}", refused.text);
    assert!(api.list(&format!("/v1/{workspace}/boosts")).await.is_empty());
}

async fn who_has_an_archived_feature_keeps_it(server: Server) {
    let api = server.api();
    let (scope, feature) = api.make_entitled(5).await;
    let features = api.list("/v1/features").await;
    let path = format!("/v1/features/{}", id(&features[0]));
    api.patch(&path, &json!({"status": "archived"})).if_match(1).await.ok(200);
    assert_eq!(api.spend(&scope, &feature, 5).await.ok(201)["used"], 5);
    api.spend(&scope, &feature, 1).await.exceeded();
}

async fn an_unlimited_feature_takes_no_limit_from_a_package(server: Server) {
    let api = server.api();
    let free = api.make_feature(json!({"type": "unlimited"})).await;
    let counted = api.make_feature(json!({})).await;
    let limited = |feature: &str| json!({"feature": feature, "grant": "limit", "limit": 5});
    let body =
        json!({"code": unique("p"), "name": "P", "grants": [limited(&counted), limited(&free)]});
    let refused = api.post("/v1/packages", &body).await.problem(422, "VALIDATION_FAILED");
    assert_eq!(refused["errors"][0]["path"], "/grants/1/grant");
    let grants = json!([{"feature": free, "grant": "unlimited"}, limited(&counted)]);
    let package = api.make_package(grants, json!({})).await;
    let path = format!("/v1/packages/{}", id(&package));
    let wish = json!({"version": 1, "grants": [limited(&free)]});
    let refused = api.patch(&path, &wish).await.problem(422, "VALIDATION_FAILED");
    assert_eq!(refused["errors"][0]["path"], "/grants/0/grant");
    // What is limited by a package does not become unlimited.
    let feature = api.list(&format!("/v1/features?code={counted}")).await.remove(0);
    let path = format!("/v1/features/{}", id(&feature));
    api.patch(&path, &json!({"version": 1, "type": "unlimited"}))
        .await
        .problem(409, "FEATURE_IN_USE");
}
