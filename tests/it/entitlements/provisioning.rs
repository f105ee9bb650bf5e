//! Packages and boosts under races: each is provisioned exactly once.

use crate::harness::{Answer, Api, Server, both_databases, id, together, unique, units, with};
use serde_json::{Value, json};

both_databases![
    of_racing_identical_external_services_one_is_assigned,
    of_racing_external_services_with_other_content_one_is_assigned,
    of_racing_identical_add_ons_one_is_granted,
    of_racing_add_ons_with_other_content_one_is_granted,
    racing_base_packages_leave_exactly_one,
    a_reactivation_and_a_new_base_package_race_to_one_base,
    of_racing_changes_of_one_assignment_exactly_one_wins,
];

/// The answers, split into those with status `won` and the rest.
fn split(answers: Vec<Answer>, won: u16) -> (Vec<Answer>, Vec<Answer>) {
    answers.into_iter().partition(|answer| answer.status == won)
}

/// A workspace, a namespace in it, a feature, and a package of 5 units for both scopes.
async fn scopes(api: &Api) -> (String, String, String, Value) {
    let workspace = api.make_scope().await;
    let namespace = api.make_scope_in(&workspace).await;
    let feature = api.make_feature(json!({})).await;
    let members = json!({"is_stackable": true});
    let package = api.make_package(json!([units(&feature, 5)]), members).await;
    (workspace, namespace, feature, package)
}

async fn of_racing_identical_external_services_one_is_assigned(server: Server) {
    let (apis, _siblings) = super::clients(&server).await;
    for _ in 0..4 {
        let (workspace, namespace, feature, package) = scopes(&apis[0]).await;
        for scope in [workspace, namespace] {
            let external = json!({"external_service_id": unique("svc")});
            let answers = together(16, |n| {
                let (api, scope) = (apis[n % apis.len()].clone(), scope.clone());
                let (package, external) = (package.clone(), external.clone());
                async move { api.assign(&scope, &package, external).await }
            })
            .await;
            let (won, others) = split(answers, 201);
            assert_eq!(won.len(), 1, "{won:?}");
            for other in others {
                assert_eq!(other.ok(200)["id"], won[0].body["id"]);
            }
            assert_eq!(apis[0].list(&format!("/v1/{scope}/packages")).await.len(), 1);
            assert_eq!(apis[0].entitlement(&scope, &feature).await["limit"], 5);
        }
    }
}

async fn of_racing_external_services_with_other_content_one_is_assigned(server: Server) {
    let (apis, _siblings) = super::clients(&server).await;
    for _ in 0..4 {
        let (workspace, namespace, _, package) = scopes(&apis[0]).await;
        let external = json!({"external_service_id": unique("svc")});
        let both = [workspace, namespace];
        let answers = together(12, |n| {
            let (api, scope) = (apis[n % apis.len()].clone(), both[n / 2 % 2].clone());
            let (package, external) = (package.clone(), external.clone());
            async move { api.assign(&scope, &package, external).await }
        })
        .await;
        let (won, others) = split(answers, 201);
        assert_eq!(won.len(), 1, "{won:?}");
        let (same, refused) = split(others, 200);
        assert_eq!((same.len(), refused.len()), (5, 6));
        for answer in same {
            assert_eq!(answer.body["id"], won[0].body["id"]);
        }
        for answer in refused {
            let problem = answer.problem(409, "DUPLICATE_EXTERNAL_SERVICE");
            assert_eq!(problem["existing_id"], won[0].body["id"]);
        }
    }
}

async fn of_racing_identical_add_ons_one_is_granted(server: Server) {
    let (apis, _siblings) = super::clients(&server).await;
    for round in 0..4 {
        let (workspace, namespace, feature, package) = scopes(&apis[0]).await;
        for scope in [workspace, namespace] {
            apis[0].assign(&scope, &package, json!({})).await.ok(201);
            let source = if round % 2 == 0 { json!("shop") } else { Value::Null };
            let add_on = json!({"external_addon_id": unique("addon"), "source": source});
            let answers = together(16, |n| {
                let (api, scope) = (apis[n % apis.len()].clone(), scope.clone());
                let (feature, add_on) = (feature.clone(), add_on.clone());
                async move { api.boost(&scope, &feature, add_on).await }
            })
            .await;
            let (won, others) = split(answers, 201);
            assert_eq!(won.len(), 1, "{won:?}");
            for other in others {
                let other = other.ok(200);
                assert_eq!((&other["id"], &other["duplicate"]), (&won[0].body["id"], &json!(true)));
            }
            assert_eq!(apis[0].list(&format!("/v1/{scope}/boosts")).await.len(), 1);
            assert_eq!(apis[0].entitlement(&scope, &feature).await["limit"], 10);
        }
    }
}

async fn of_racing_add_ons_with_other_content_one_is_granted(server: Server) {
    let (apis, _siblings) = super::clients(&server).await;
    for _ in 0..4 {
        let (scope, feature) = apis[0].make_entitled(10).await;
        let addon = unique("addon");
        let answers = together(12, |n| {
            let (api, scope) = (apis[n % apis.len()].clone(), scope.clone());
            let (feature, amount) = (feature.clone(), 1 + n / 2 % 2);
            let members = json!({"external_addon_id": addon, "amount": amount});
            async move { api.boost(&scope, &feature, members).await }
        })
        .await;
        let (won, others) = split(answers, 201);
        assert_eq!(won.len(), 1, "{won:?}");
        let (same, refused) = split(others, 200);
        assert_eq!((same.len(), refused.len()), (5, 6));
        for answer in refused {
            let problem = answer.problem(409, "DUPLICATE_ADDON");
            assert_eq!(problem["existing_id"], won[0].body["id"]);
            assert!(problem["differing_fields"].to_string().contains("amount"), "{problem}");
        }
        let limit = 10 + won[0].body["amount"].as_i64().unwrap();
        assert_eq!(apis[0].entitlement(&scope, &feature).await["limit"], limit);
    }
}

/// The base-package assignments of a scope that have not ended.
async fn bases(api: &Api, scope: &str) -> Vec<Value> {
    let mut all = api.list(&format!("/v1/{scope}/packages")).await;
    all.retain(|one| {
        one["is_base"] == true && ["active", "suspended"].iter().any(|s| one["status"] == *s)
    });
    all
}

async fn racing_base_packages_leave_exactly_one(server: Server) {
    let (apis, _siblings) = super::clients(&server).await;
    let feature = apis[0].make_feature(json!({})).await;
    let mut packages = Vec::new();
    for limit in 1..=12 {
        let base = json!({"is_base": true});
        packages.push(apis[0].make_package(json!([units(&feature, limit)]), base).await);
    }
    for _ in 0..3 {
        let workspace = apis[0].make_scope().await;
        let namespace = apis[0].make_scope_in(&workspace).await;
        for scope in [workspace, namespace] {
            let answers = together(12, |n| {
                let (api, scope) = (apis[n % apis.len()].clone(), scope.clone());
                let package = packages[n].clone();
                async move { api.assign(&scope, &package, json!({})).await }
            })
            .await;
            let made: Vec<_> = answers.into_iter().map(|answer| answer.ok(201)).collect();
            let left = bases(&apis[0], &scope).await;
            assert_eq!(left.len(), 1, "{left:?}");
            assert!(made.iter().any(|one| one["id"] == left[0]["id"]));
            let all = apis[0].list(&format!("/v1/{scope}/packages")).await;
            let cancelled = all.iter().filter(|one| one["status"] == "cancelled").count();
            assert_eq!((all.len(), cancelled), (12, 11), "each was replaced once");
            let package = packages.iter().find(|p| p["code"] == left[0]["package"]).unwrap();
            let limit = &apis[0].entitlement(&scope, &feature).await["limit"];
            assert_eq!(*limit, package["grants"][0]["limit"]);
        }
    }
}

async fn a_reactivation_and_a_new_base_package_race_to_one_base(server: Server) {
    let (apis, _siblings) = super::clients(&server).await;
    let base = json!({"is_base": true});
    let (old, new) = (
        apis[0].make_package(json!([]), base.clone()).await,
        apis[0].make_package(json!([]), base).await,
    );
    for _ in 0..10 {
        let scope = apis[0].make_scope().await;
        let assignment = apis[0].assign(&scope, &old, json!({})).await.ok(201);
        let suspend = json!({"status": "suspended"});
        apis[0].reassign(&scope, &assignment, suspend).await.ok(200);
        let path = format!("/v1/{scope}/packages/{}", id(&assignment));
        let answers = together(2, |n| {
            let (api, scope) = (apis[n % apis.len()].clone(), scope.clone());
            let (path, new) = (path.clone(), new.clone());
            async move {
                match n {
                    0 => api.patch(&path, &json!({"status": "active"})).if_match(2).await,
                    _ => api.assign(&scope, &new, json!({})).await,
                }
            }
        })
        .await;
        let made = answers[1].clone().ok(201);
        assert!([200, 409, 412].contains(&answers[0].status), "{}", answers[0].text);
        let left = bases(&apis[0], &scope).await;
        assert_eq!(left.len(), 1, "{left:?}");
        assert_eq!(left[0]["id"], made["id"], "the new one replaces the old one either way");
    }
}

async fn of_racing_changes_of_one_assignment_exactly_one_wins(server: Server) {
    let (apis, _siblings) = super::clients(&server).await;
    let scope = apis[0].make_scope().await;
    let assignment = apis[0].entitle(&scope, json!([])).await;
    let path = format!("/v1/{scope}/packages/{}", id(&assignment));
    for round in 1..=6 {
        let status = if round % 2 == 1 { "suspended" } else { "active" };
        let body = with(json!({"status": status}), &json!({"version": round}));
        let answers = together(8, |n| {
            let (api, path, body) = (apis[n % apis.len()].clone(), path.clone(), body.clone());
            async move { api.patch(&path, &body).await }
        })
        .await;
        let (won, lost) = split(answers, 200);
        assert_eq!(won.len(), 1, "round {round}");
        for answer in lost {
            assert_eq!(answer.conflict(409)["current_version"], round + 1);
        }
    }
    assert_eq!(apis[0].history(&path).await.len(), 7);
}
