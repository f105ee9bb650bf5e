//! Packages: bundles of grants, validated at creation; their current grants count.

use crate::harness::{Server, both_databases, grant, id, members, unique, units, version, with};
use serde_json::json;

both_databases![
    a_package_has_its_documented_members_and_defaults,
    wrong_grants_are_refused_naming_them,
    wrong_packages_are_refused_naming_the_field,
    an_archived_package_cannot_be_newly_assigned,
    who_has_an_archived_package_keeps_it,
    an_assigned_package_cannot_be_deleted,
    a_change_of_grants_counts_at_once_for_everybody_who_has_the_package,
    a_replaced_package_takes_defaults_for_what_is_left_out,
    the_history_of_a_package_shows_what_it_granted,
    a_limit_of_zero_is_included_and_admits_nothing,
];

async fn a_package_has_its_documented_members_and_defaults(server: Server) {
    let api = server.api();
    let (code, feature) = (unique("pro"), api.make_feature(json!({})).await);
    let grants = json!([units(&feature, 10)]);
    let body = json!({"code": code, "name": "Pro", "grants": grants});
    let made = api.post("/v1/packages", &body).await.is(201);
    assert_eq!(made.header("ETag"), Some("\"1\""));
    let path = format!("/v1/packages/{}", id(&made.body));
    assert_eq!(made.header("Location"), Some(path.as_str()));
    let package = made.body;
    assert!(id(&package).starts_with("pkg_"), "{package}");
    assert_eq!(
        members(&package),
        [
            "code",
            "created_at",
            "grants",
            "id",
            "is_base",
            "is_stackable",
            "name",
            "status",
            "updated_at",
            "updated_by",
            "version",
        ]
    );
    let expected = json!({"version": 1, "code": code, "name": "Pro", "is_base": false,
        "is_stackable": false, "grants": grants, "status": "active"});
    assert_eq!(with(package.clone(), &expected), package);
    assert_eq!(api.get(&path).await.ok(200), package);
    assert!(api.list("/v1/packages").await.contains(&package));
    let unchanged = api.patch(&path, &json!({"name": "Pro"})).if_match(1).await.is(200);
    assert_eq!(unchanged.header("X-Changed"), Some("false"));
    assert_eq!(unchanged.body, package);
}

async fn wrong_grants_are_refused_naming_them(server: Server) {
    let api = server.api();
    let feature = api.make_feature(json!({})).await;
    let package = api.make_package(json!([units(&feature, 1)]), json!({})).await;
    let path = format!("/v1/packages/{}", id(&package));
    for grants in [
        json!([units(&unique("nothing"), 1)]),
        json!([units("", 1)]),
        json!([{"grant": "enabled"}]),
        json!([{"feature": feature}]),
        json!([{"feature": feature, "grant": "some"}]),
        json!([{"feature": feature, "grant": "limit"}]),
        json!([{"feature": feature, "grant": "limit", "limit": null}]),
        json!([{"feature": feature, "grant": "limit", "limit": "1"}]),
        json!([{"feature": feature, "grant": "limit", "limit": 1.5}]),
        json!([{"feature": feature, "grant": "limit", "limit": 9_223_372_036_854_775_808_u64}]),
        json!([units(&feature, -1)]),
        json!([{"feature": feature, "grant": "enabled", "limit": 1}]),
        json!([{"feature": feature, "grant": "unlimited", "limit": 1}]),
        json!([units(&feature, 1), units(&feature, 2)]),
        json!([units(&feature, 1), grant(&feature, "enabled")]),
        json!([with(units(&feature, 1), &json!({"colour": "red"}))]),
        json!([7]),
        json!({"feature": feature}),
    ] {
        let body = json!({"code": unique("pro"), "name": "Pro", "grants": grants});
        api.post("/v1/packages", &body).await.invalid_within("/grants");
        let edit = json!({"grants": grants});
        api.patch(&path, &edit).if_match(1).await.invalid_within("/grants");
    }
    assert_eq!(api.list("/v1/packages").await, [package]);
}

async fn wrong_packages_are_refused_naming_the_field(server: Server) {
    let api = server.api();
    for (field, wrong) in [
        ("/code", json!({"code": ""})),
        ("/code", json!({"code": "x".repeat(101)})),
        ("/name", json!({"name": "x".repeat(201)})),
        ("/is_base", json!({"is_base": "yes"})),
        ("/is_stackable", json!({"is_stackable": 1})),
        ("/status", json!({"status": "draft"})),
        ("/id", json!({"id": "pkg_1"})),
        ("/colour", json!({"colour": "red"})),
    ] {
        let body = json!({"code": unique("pro"), "name": "Pro", "grants": []});
        api.post("/v1/packages", &with(body, &wrong)).await.invalid(field);
    }
    let no_code = json!({"name": "Pro", "grants": []});
    api.post("/v1/packages", &no_code).await.invalid("/code");
    assert!(api.list("/v1/packages").await.is_empty());
}

async fn an_archived_package_cannot_be_newly_assigned(server: Server) {
    let api = server.api();
    let (scope, package) =
        (api.make_scope().await, api.make_package(json!([]), json!({"status": "archived"})).await);
    let namespace = api.make_scope_in(&scope).await;
    for scope in [scope, namespace] {
        api.assign(&scope, &package, json!({})).await.problem(409, "PACKAGE_INACTIVE");
        assert!(api.list(&format!("/v1/{scope}/packages")).await.is_empty());
        api.change("packages", &package, json!({"status": "active"})).await;
        api.assign(&scope, &package, json!({})).await.ok(201);
        api.change("packages", &package, json!({"status": "archived"})).await;
    }
}

async fn who_has_an_archived_package_keeps_it(server: Server) {
    let api = server.api();
    let (scope, feature) = (api.make_scope().await, api.make_feature(json!({})).await);
    let package = api.make_package(json!([units(&feature, 5)]), json!({})).await;
    let external = json!({"external_service_id": unique("svc")});
    let first = api.assign(&scope, &package, external.clone()).await.ok(201);
    api.change("packages", &package, json!({"status": "archived"})).await;
    assert_eq!(api.spend(&scope, &feature, 5).await.ok(201)["remaining"], 0);
    let again = api.assign(&scope, &package, external).await.ok(200);
    assert_eq!(again["id"], first["id"], "a repeat gets the first assignment");
    let suspended = api.reassign(&scope, &first, json!({"status": "suspended"})).await.ok(200);
    api.reassign(&scope, &suspended, json!({"status": "active"})).await.ok(200);
}

async fn an_assigned_package_cannot_be_deleted(server: Server) {
    let api = server.api();
    let scope = api.make_scope().await;
    let package = api.make_package(json!([]), json!({})).await;
    let path = format!("/v1/packages/{}", id(&package));
    let assignment = api.assign(&scope, &package, json!({})).await.ok(201);
    api.delete(&path).if_match(1).await.problem(409, "PACKAGE_IN_USE");
    api.reassign(&scope, &assignment, json!({"status": "cancelled"})).await.ok(200);
    api.delete(&path).if_match(1).await.problem(409, "PACKAGE_IN_USE");
    assert_eq!(api.get(&path).await.ok(200), package);

    let unused = api.make_package(json!([]), json!({})).await;
    let path = format!("/v1/packages/{}", id(&unused));
    api.delete(&path).if_match(1).await.ok(200);
    api.get(&path).await.problem(410, "DELETED");
    assert!(api.assign(&scope, &unused, json!({})).await.invalid("/package").is_object());
}

async fn a_change_of_grants_counts_at_once_for_everybody_who_has_the_package(server: Server) {
    let api = server.api();
    let (feature, other) = (api.make_feature(json!({})).await, api.make_feature(json!({})).await);
    let package = api.make_package(json!([units(&feature, 5)]), json!({})).await;
    let (first, second) = (api.make_scope().await, api.make_scope().await);
    for scope in [&first, &second] {
        api.assign(scope, &package, json!({})).await.ok(201);
        api.spend(scope, &feature, 5).await.ok(201);
        api.spend(scope, &feature, 1).await.exceeded();
        api.spend(scope, &other, 1).await.problem(403, "FEATURE_NOT_INCLUDED");
    }
    let more = json!({"grants": [units(&feature, 8), units(&other, 2)]});
    api.change("packages", &package, more).await;
    for scope in [&first, &second] {
        assert_eq!(api.spend(scope, &feature, 3).await.ok(201)["limit"], 8);
        assert_eq!(api.spend(scope, &other, 2).await.ok(201)["remaining"], 0);
    }
    api.change("packages", &package, json!({"grants": [units(&feature, 6)]})).await;
    for scope in [&first, &second] {
        let denied = api.spend(scope, &feature, 1).await.exceeded();
        assert_eq!((&denied["limit"], &denied["used"]), (&json!(6), &json!(8)));
        assert_eq!(denied["remaining"], 0, "never below 0");
        api.spend(scope, &other, 1).await.problem(403, "FEATURE_NOT_INCLUDED");
    }
}

async fn a_replaced_package_takes_defaults_for_what_is_left_out(server: Server) {
    let api = server.api();
    let feature = api.make_feature(json!({})).await;
    let grants = json!([units(&feature, 5)]);
    let package = api.make_package(grants.clone(), json!({"is_stackable": true})).await;
    let path = format!("/v1/packages/{}", id(&package));
    let body = json!({"code": package["code"], "name": "New"});
    api.put(&path, &body).if_match(7).await.conflict(412);
    let replaced = api.put(&path, &body).if_match(1).await.ok(200);
    assert_eq!((version(&replaced), &replaced["name"]), (2, &json!("New")));
    assert_eq!((&replaced["grants"], &replaced["is_stackable"]), (&json!([]), &json!(false)));
    assert_eq!(replaced["status"], "active", "unchanged in a replace");
    let first = api.get(&format!("{path}/versions/1")).await.ok(200);
    assert_eq!(first["grants"], grants);
}

async fn the_history_of_a_package_shows_what_it_granted(server: Server) {
    let api = server.api();
    let feature = api.make_feature(json!({})).await;
    let package = api.make_package(json!([units(&feature, 5)]), json!({})).await;
    let path = format!("/v1/packages/{}", id(&package));
    let edit = json!({"grants": [units(&feature, 6)]});
    api.patch(&path, &edit).if_match(1).await.ok(200);
    let history = api.history(&path).await;
    assert_eq!(history.len(), 2);
    let change = json!([{"path": "/grants", "from": [units(&feature, 5)],
        "to": [units(&feature, 6)]}]);
    assert_eq!(history[1]["changes"], change, "a list is one path");
    let events = api.events_of("package.updated").await;
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["state"], api.get(&path).await.ok(200));
}

async fn a_limit_of_zero_is_included_and_admits_nothing(server: Server) {
    let api = server.api();
    let (scope, feature) = api.make_entitled(0).await;
    let denied = api.spend(&scope, &feature, 1).await.exceeded();
    assert_eq!((&denied["limit"], &denied["remaining"]), (&json!(0), &json!(0)));
    assert_eq!(api.entitlement(&scope, &feature).await["allowed"], false);
    api.boost(&scope, &feature, json!({"amount": 2})).await.ok(201);
    assert_eq!(api.spend(&scope, &feature, 2).await.ok(201)["limit"], 2);
}
