//! Advisory reads: what a scope may use, and the instant that the answer is valid for.

use crate::harness::{Server, both_databases, grant, instant, members, unique, units, with};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

both_databases![
    advice_has_its_documented_members,
    advice_agrees_with_what_is_then_admitted,
    advice_says_when_it_was_true,
    an_unknown_feature_has_no_advice,
    what_is_not_granted_is_not_allowed,
    advice_is_listed_by_code_page_by_page,
    advice_changes_nothing,
];

async fn advice_has_its_documented_members(server: Server) {
    let api = server.api();
    let (scope, feature) = api.make_entitled(10).await;
    api.spend(&scope, &feature, 3).await.ok(201);
    api.hold(&scope, &feature, 2, 600_000).await.ok(201);
    let advice = api.entitlement(&scope, &feature).await;
    assert_eq!(
        members(&advice),
        [
            "allowed",
            "as_of",
            "charged_scope",
            "feature",
            "held",
            "limit",
            "remaining",
            "resets_at",
            "unlimited",
            "used",
        ]
    );
    let expected = json!({"feature": feature, "allowed": true, "limit": 10, "used": 3, "held": 2,
        "remaining": 5, "unlimited": false, "resets_at": null, "charged_scope": scope});
    assert_eq!(with(advice.clone(), &expected), advice);
}

async fn advice_agrees_with_what_is_then_admitted(server: Server) {
    let api = server.api();
    let (workspace, feature) = api.make_entitled(10).await;
    let namespace = api.make_scope_in(&workspace).await;
    let mut wanted = 7;
    for scope in [&workspace, &namespace, &workspace, &namespace] {
        let advice = api.entitlement(scope, &feature).await;
        let remaining = advice["remaining"].as_i64().unwrap();
        assert_eq!(advice["allowed"], remaining > 0);
        let denied = api.spend(scope, &feature, remaining + 1).await.exceeded();
        for member in ["limit", "used", "held", "remaining", "charged_scope", "resets_at"] {
            assert_eq!(denied[member], advice[member], "{member}");
        }
        wanted = remaining.min(wanted - 2).max(1).min(remaining);
        if wanted > 0 {
            api.spend(scope, &feature, wanted).await.ok(201);
        }
    }
    let remaining = api.entitlement(&namespace, &feature).await["remaining"].as_i64().unwrap();
    if remaining > 0 {
        api.spend(&namespace, &feature, remaining).await.ok(201);
    }
    assert_eq!(api.entitlement(&workspace, &feature).await["allowed"], false);
    api.spend(&workspace, &feature, 1).await.exceeded();
}

async fn advice_says_when_it_was_true(server: Server) {
    let (apis, _siblings) = super::clients(&server).await;
    let (scope, feature) = apis[0].make_entitled(10).await;
    for used in 1..=5 {
        apis[0].spend(&scope, &feature, 1).await.ok(201);
        let recorded_at = Timestamp::now();
        for api in &apis {
            let path = format!("/v1/{scope}/entitlements/{feature}");
            let advice = api.get(&path).await.ok(200);
            let as_of = instant(&advice["as_of"]);
            assert!(as_of <= Timestamp::now() + SignedDuration::from_millis(5), "{advice}");
            let age = Timestamp::now().duration_since(as_of);
            assert!(age < SignedDuration::from_secs(30), "advice may be old, not ancient: {age}");
            let told = advice["used"].as_i64().unwrap();
            assert!(told <= used, "{advice}");
            assert!(told == used || as_of <= recorded_at, "its as_of is too new: {advice}");
        }
    }
}

async fn an_unknown_feature_has_no_advice(server: Server) {
    let api = server.api();
    let (workspace, _) = api.make_entitled(10).await;
    let namespace = api.make_scope_in(&workspace).await;
    for scope in [workspace, namespace] {
        let path = format!("/v1/{scope}/entitlements/{}", unique("nothing"));
        api.get(&path).await.problem(404, "NOT_FOUND");
    }
}

async fn what_is_not_granted_is_not_allowed(server: Server) {
    let api = server.api();
    let (scope, feature) = (api.make_scope().await, api.make_feature(json!({})).await);
    let advice = api.entitlement(&scope, &feature).await;
    assert_eq!((&advice["allowed"], &advice["unlimited"]), (&json!(false), &json!(false)));
    assert_eq!((&advice["used"], &advice["held"]), (&json!(0), &json!(0)));
    api.spend(&scope, &feature, 1).await.problem(403, "FEATURE_NOT_INCLUDED");
}

async fn advice_is_listed_by_code_page_by_page(server: Server) {
    let api = server.api();
    let scope = api.make_scope().await;
    let mut grants = Vec::new();
    for code in ["mail.sent", "api.calls", "zone", "seats", "disk.bytes"] {
        let code = api.make_feature(json!({"code": code})).await;
        grants.push(units(&code, 5));
    }
    grants
        .push(grant(&api.make_feature(json!({"code": "sso", "type": "boolean"})).await, "enabled"));
    api.entitle(&scope, json!(grants)).await;
    let namespace = api.make_scope_in(&scope).await;
    api.spend(&namespace, "seats", 2).await.ok(201);
    for of in [&scope, &namespace] {
        let (mut listed, mut next) = (Vec::new(), format!("/v1/{of}/entitlements?limit=2"));
        loop {
            let page = api.get(&next).await.ok(200);
            let items = page["items"].as_array().unwrap();
            assert!(items.len() <= 2, "{page}");
            listed.extend(items.iter().cloned());
            let Some(cursor) = page["next_cursor"].as_str() else { break };
            next = format!("/v1/{of}/entitlements?limit=2&cursor={cursor}");
        }
        let codes: Vec<_> =
            listed.iter().map(|advice| advice["feature"].as_str().unwrap()).collect();
        assert_eq!(codes, ["api.calls", "disk.bytes", "mail.sent", "seats", "sso", "zone"]);
        for advice in &listed {
            assert_eq!(
                (&advice["allowed"], &advice["charged_scope"]),
                (&json!(true), &json!(scope))
            );
        }
        let one = api.entitlement(of, "seats").await;
        let same = |advice: &Value| with(advice.clone(), &json!({"as_of": null}));
        crate::harness::eventually("the list is as new as the single read", async || {
            let page = api.get(&format!("/v1/{of}/entitlements?limit=200")).await.ok(200);
            let found = page["items"].as_array().unwrap().iter().any(|a| same(a) == same(&one));
            found.then_some(())
        })
        .await;
    }
}

async fn advice_changes_nothing(server: Server) {
    let api = server.api();
    let (scope, feature) = api.make_entitled(10).await;
    let events = async || api.get("/v1/events?after=0&limit=200").await.ok(200)["items"].clone();
    let before = events().await;
    for _ in 0..3 {
        api.entitlement(&scope, &feature).await;
        api.get(&format!("/v1/{scope}/entitlements")).await.ok(200);
    }
    assert_eq!(events().await, before);
    let log = api.list(&format!("/v1/{scope}/entitlement-log")).await;
    assert!(log.iter().all(|line| line["type"] != "usage.denied"), "{log:?}");
}
