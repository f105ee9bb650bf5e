//! Which counter is charged: the namespace's own or its workspace's.

use crate::harness::{Server, both_databases, grant, together, units};
use serde_json::{Value, json};

both_databases![
    without_a_grant_of_its_own_a_namespace_is_charged_on_the_workspace,
    with_a_grant_of_its_own_a_namespace_is_charged_on_its_own,
    all_namespaces_without_a_grant_share_the_pool_of_the_workspace,
    an_exhausted_namespace_does_not_fall_back,
    a_namespace_with_a_suspended_package_is_denied_and_does_not_fall_back,
    a_workspace_has_nothing_of_its_namespaces,
    the_workspace_next_door_is_not_charged,
    children_draw_from_the_pool_of_their_parent,
    grants_and_boosts_of_a_child_count_in_the_pool,
    a_grant_of_the_parent_at_a_namespace_takes_its_children_along,
    an_unlimited_feature_is_counted_and_never_denied,
    unlimited_beats_every_limit,
    a_feature_without_a_limit_is_counted_wherever_it_is_on,
    a_switch_is_on_or_off,
    enabled_grants_the_feature_and_no_units_of_it,
    racing_namespaces_share_exactly_the_pool_of_the_workspace,
];

async fn without_a_grant_of_its_own_a_namespace_is_charged_on_the_workspace(server: Server) {
    let api = server.api();
    let (workspace, feature) = api.make_entitled(10).await;
    let namespace = api.make_scope_in(&workspace).await;
    let recorded = api.spend(&namespace, &feature, 4).await.ok(201);
    assert_eq!((&recorded["limit"], &recorded["charged_scope"]), (&json!(10), &json!(workspace)));
    let recorded = api.spend(&workspace, &feature, 3).await.ok(201);
    assert_eq!((&recorded["used"], &recorded["remaining"]), (&json!(7), &json!(3)));
    for scope in [&namespace, &workspace] {
        let denied = api.spend(scope, &feature, 4).await.exceeded();
        assert_eq!((&denied["used"], &denied["charged_scope"]), (&json!(7), &json!(workspace)));
        assert_eq!(api.counted(scope, &feature).await, (7, 0));
    }
    let records = api.list(&format!("/v1/{namespace}/usage")).await;
    assert_eq!(records.len(), 1, "usage charged to the workspace does not count for the namespace");
    assert_eq!(
        (&records[0]["scope"], &records[0]["charged_scope"]),
        (&json!(namespace), &json!(workspace))
    );
}

async fn with_a_grant_of_its_own_a_namespace_is_charged_on_its_own(server: Server) {
    let api = server.api();
    let (workspace, feature) = api.make_entitled(10).await;
    let namespace = api.make_scope_in(&workspace).await;
    api.spend(&namespace, &feature, 9).await.ok(201);
    api.entitle(&namespace, json!([units(&feature, 3)])).await;
    let recorded = api.spend(&namespace, &feature, 3).await.ok(201);
    let expected = json!({"used": 3, "limit": 3, "remaining": 0, "charged_scope": namespace});
    assert_eq!(crate::harness::with(recorded.clone(), &expected), recorded);
    assert_eq!(api.counted(&workspace, &feature).await, (9, 0));
    assert_eq!(api.spend(&workspace, &feature, 1).await.ok(201)["used"], 10);
}

async fn all_namespaces_without_a_grant_share_the_pool_of_the_workspace(server: Server) {
    let api = server.api();
    let (workspace, feature) = api.make_entitled(10).await;
    for used in 1..=10 {
        let namespace = api.make_scope_in(&workspace).await;
        assert_eq!(api.spend(&namespace, &feature, 1).await.ok(201)["used"], used);
    }
    let namespace = api.make_scope_in(&workspace).await;
    let denied = api.spend(&namespace, &feature, 1).await.exceeded();
    assert_eq!((&denied["limit"], &denied["used"]), (&json!(10), &json!(10)));
}

async fn an_exhausted_namespace_does_not_fall_back(server: Server) {
    let api = server.api();
    let (workspace, feature) = api.make_entitled(1_000).await;
    let namespace = api.make_scope_in(&workspace).await;
    api.entitle(&namespace, json!([units(&feature, 2)])).await;
    api.spend(&namespace, &feature, 2).await.ok(201);
    let denied = api.spend(&namespace, &feature, 1).await.exceeded();
    assert_eq!((&denied["limit"], &denied["charged_scope"]), (&json!(2), &json!(namespace)));
    assert_eq!(api.counted(&workspace, &feature).await, (0, 0));
}

async fn a_namespace_with_a_suspended_package_is_denied_and_does_not_fall_back(server: Server) {
    let api = server.api();
    let (workspace, feature) = api.make_entitled(10).await;
    let namespace = api.make_scope_in(&workspace).await;
    let own = api.entitle(&namespace, json!([units(&feature, 5)])).await;
    api.spend(&namespace, &feature, 4).await.ok(201);
    api.reassign(&namespace, &own, json!({"status": "suspended"})).await.ok(200);
    let denied = api.spend(&namespace, &feature, 1).await.problem(403, "FEATURE_NOT_INCLUDED");
    assert_eq!(denied["charged_scope"], namespace);
    api.hold(&namespace, &feature, 1, 1_000).await.problem(403, "FEATURE_NOT_INCLUDED");
    assert_eq!(api.entitlement(&namespace, &feature).await["allowed"], false);
    api.reassign(&namespace, &own, json!({"status": "active"})).await.ok(200);
    let back = api.spend(&namespace, &feature, 1).await.ok(201);
    assert_eq!((&back["used"], &back["charged_scope"]), (&json!(5), &json!(namespace)));
    assert_eq!(api.counted(&workspace, &feature).await, (0, 0));
    api.reassign(&namespace, &own, json!({"status": "cancelled"})).await.ok(200);
    let shared = api.spend(&namespace, &feature, 6).await.ok(201);
    assert_eq!((&shared["used"], &shared["charged_scope"]), (&json!(6), &json!(workspace)));
}

async fn a_workspace_has_nothing_of_its_namespaces(server: Server) {
    let api = server.api();
    let (workspace, feature) = (api.make_scope().await, api.make_feature(json!({})).await);
    let (first, second) =
        (api.make_scope_in(&workspace).await, api.make_scope_in(&workspace).await);
    api.entitle(&first, json!([units(&feature, 5)])).await;
    api.spend(&first, &feature, 1).await.ok(201);
    for scope in [&workspace, &second] {
        api.spend(scope, &feature, 1).await.problem(403, "FEATURE_NOT_INCLUDED");
    }
}

async fn the_workspace_next_door_is_not_charged(server: Server) {
    let api = server.api();
    let feature = api.make_feature(json!({})).await;
    let package = api.make_package(json!([units(&feature, 5)]), json!({})).await;
    let (first, second) = (api.make_scope().await, api.make_scope().await);
    for scope in [&first, &second] {
        api.assign(scope, &package, json!({})).await.ok(201);
    }
    let namespace = api.make_scope_in(&first).await;
    api.spend(&namespace, &feature, 5).await.ok(201);
    api.spend(&first, &feature, 1).await.exceeded();
    assert_eq!(api.spend(&second, &feature, 5).await.ok(201)["used"], 5);
}

async fn children_draw_from_the_pool_of_their_parent(server: Server) {
    let api = server.api();
    let (scope, parent) = api.make_entitled(10).await;
    let child = json!({"parent_code": parent});
    let (first, second) = (api.make_feature(child.clone()).await, api.make_feature(child).await);
    let recorded = api.spend(&scope, &first, 4).await.ok(201);
    assert_eq!((&recorded["feature"], &recorded["used"]), (&json!(first), &json!(4)));
    assert_eq!(api.spend(&scope, &second, 3).await.ok(201)["used"], 7);
    assert_eq!(api.spend(&scope, &parent, 2).await.ok(201)["used"], 9);
    for feature in [&first, &second, &parent] {
        let denied = api.spend(&scope, feature, 2).await.exceeded();
        assert_eq!((&denied["limit"], &denied["used"]), (&json!(10), &json!(9)));
        assert_eq!(api.entitlement(&scope, feature).await["remaining"], 1);
    }
    assert_eq!(api.recorded(&scope, &first).await, 4);
    assert_eq!(api.recorded(&scope, &parent).await, 2);
}

async fn grants_and_boosts_of_a_child_count_in_the_pool(server: Server) {
    let api = server.api();
    let (scope, parent) = api.make_entitled(10).await;
    let child = api.make_feature(json!({"parent_code": parent, "reset": "monthly"})).await;
    api.entitle(&scope, json!([units(&child, 7)])).await;
    api.boost(&scope, &child, json!({"amount": 2})).await.ok(201);
    let recorded = api.spend(&scope, &parent, 12).await.ok(201);
    assert_eq!((&recorded["limit"], &recorded["remaining"]), (&json!(19), &json!(7)));
    let recorded = api.spend(&scope, &child, 7).await.ok(201);
    assert_eq!(recorded["resets_at"], Value::Null, "it is counted by its parent's counter");
    api.spend(&scope, &child, 1).await.exceeded();
}

async fn a_grant_of_the_parent_at_a_namespace_takes_its_children_along(server: Server) {
    let api = server.api();
    let (workspace, parent) = api.make_entitled(10).await;
    let child = api.make_feature(json!({"parent_code": parent})).await;
    let namespace = api.make_scope_in(&workspace).await;
    let shared = api.spend(&namespace, &child, 1).await.ok(201);
    assert_eq!(shared["charged_scope"], json!(workspace));
    api.entitle(&namespace, json!([units(&parent, 3)])).await;
    let own = api.spend(&namespace, &child, 3).await.ok(201);
    assert_eq!((&own["charged_scope"], &own["limit"]), (&json!(namespace), &json!(3)));
    api.spend(&namespace, &parent, 1).await.exceeded();
    assert_eq!(api.counted(&workspace, &parent).await, (1, 0));
}

async fn an_unlimited_feature_is_counted_and_never_denied(server: Server) {
    let api = server.api();
    let workspace = api.make_scope().await;
    let namespace = api.make_scope_in(&workspace).await;
    let feature = api.make_feature(json!({})).await;
    api.entitle(&workspace, json!([grant(&feature, "unlimited")])).await;
    let mut used = 0;
    for (scope, quantity) in [(&workspace, 1), (&namespace, 1_000_000_000_000), (&workspace, 5)] {
        used += quantity;
        let recorded = api.spend(scope, &feature, quantity).await.ok(201);
        let expected = json!({"used": used, "limit": null, "remaining": null, "unlimited": true,
            "charged_scope": workspace});
        assert_eq!(crate::harness::with(recorded.clone(), &expected), recorded);
    }
    let advice = api.entitlement(&workspace, &feature).await;
    assert_eq!((&advice["allowed"], &advice["unlimited"]), (&json!(true), &json!(true)));
    assert_eq!((&advice["limit"], &advice["remaining"]), (&Value::Null, &Value::Null));
    let hold = api.hold(&namespace, &feature, 1_000, 60_000).await.ok(201);
    assert_eq!(hold["held"], 1_000);
}

async fn unlimited_beats_every_limit(server: Server) {
    let api = server.api();
    let (scope, feature) = api.make_entitled(1).await;
    let unlimited = api.entitle(&scope, json!([grant(&feature, "unlimited")])).await;
    api.spend(&scope, &feature, 50).await.ok(201);
    api.reassign(&scope, &unlimited, json!({"status": "cancelled"})).await.ok(200);
    let denied = api.spend(&scope, &feature, 1).await.exceeded();
    assert_eq!((&denied["limit"], &denied["used"]), (&json!(1), &json!(50)));
}

async fn a_feature_without_a_limit_is_counted_wherever_it_is_on(server: Server) {
    let api = server.api();
    let (scope, other) = (api.make_scope().await, api.make_scope().await);
    let feature = api.make_feature(json!({"type": "unlimited"})).await;
    api.entitle(&scope, json!([grant(&feature, "enabled")])).await;
    api.spend(&other, &feature, 1).await.problem(403, "FEATURE_NOT_INCLUDED");
    for used in [50, 100] {
        let recorded = api.spend(&scope, &feature, 50).await.ok(201);
        assert_eq!((&recorded["used"], &recorded["unlimited"]), (&json!(used), &json!(true)));
    }
}

async fn a_switch_is_on_or_off(server: Server) {
    let api = server.api();
    let workspace = api.make_scope().await;
    let namespace = api.make_scope_in(&workspace).await;
    let switch = api.make_feature(json!({"type": "boolean"})).await;
    for scope in [&workspace, &namespace] {
        assert_eq!(api.entitlement(scope, &switch).await["allowed"], false);
    }
    let assignment = api.entitle(&workspace, json!([grant(&switch, "enabled")])).await;
    for scope in [&workspace, &namespace] {
        let advice = api.entitlement(scope, &switch).await;
        assert_eq!(
            (&advice["allowed"], &advice["charged_scope"]),
            (&json!(true), &json!(workspace))
        );
        let refused = api.spend(scope, &switch, 1).await;
        assert!([403, 422].contains(&refused.status), "a switch has no units: {}", refused.text);
        assert!(api.list(&format!("/v1/{scope}/usage")).await.is_empty());
    }
    api.reassign(&workspace, &assignment, json!({"status": "suspended"})).await.ok(200);
    assert_eq!(api.entitlement(&namespace, &switch).await["allowed"], false);
}

async fn enabled_grants_the_feature_and_no_units_of_it(server: Server) {
    let api = server.api();
    let (scope, feature) = (api.make_scope().await, api.make_feature(json!({})).await);
    api.entitle(&scope, json!([grant(&feature, "enabled")])).await;
    assert_eq!(api.spend(&scope, &feature, 1).await.exceeded()["limit"], 0);
    api.entitle(&scope, json!([units(&feature, 3)])).await;
    assert_eq!(api.spend(&scope, &feature, 3).await.ok(201)["limit"], 3);
}

async fn racing_namespaces_share_exactly_the_pool_of_the_workspace(server: Server) {
    let (apis, _siblings) = super::clients(&server).await;
    let (workspace, feature) = apis[0].make_entitled(50).await;
    let mut namespaces = Vec::new();
    for _ in 0..16 {
        namespaces.push(apis[0].make_scope_in(&workspace).await);
    }
    let own = namespaces[0].clone();
    apis[0].entitle(&own, json!([units(&feature, 4)])).await;
    let charged = together(16, |n| {
        let (api, scope) = (apis[n % apis.len()].clone(), namespaces[n].clone());
        let feature = feature.clone();
        async move {
            let mut charged = Vec::new();
            for _ in 0..8 {
                match api.spend(&scope, &feature, 1).await {
                    answer if answer.status == 201 => {
                        charged.push(answer.body["charged_scope"].clone());
                    }
                    answer => drop(answer.exceeded()),
                }
            }
            charged
        }
    })
    .await;
    assert_eq!(charged[0], vec![json!(own); 4], "its own counter, and only that");
    let shared: Vec<_> = charged[1..].iter().flatten().collect();
    assert_eq!(shared.len(), 50);
    assert!(shared.iter().all(|scope| **scope == json!(workspace)), "{shared:?}");
    let mut sum = 0;
    for namespace in &namespaces[1..] {
        sum += apis[0].recorded(namespace, &feature).await;
    }
    assert_eq!(sum, 50);
    assert_eq!(apis[0].counted(&workspace, &feature).await, (50, 0));
    assert_eq!(apis[0].counted(&own, &feature).await, (4, 0));
}
