//! Thresholds: one event each at 80, 90 and 100 % of a limit.

use crate::harness::{Server, both_databases, grant, instant, members, together, units};
use serde_json::{Value, json};

both_databases![
    each_threshold_is_told_once,
    a_threshold_event_has_its_documented_members,
    one_large_usage_passes_every_threshold_at_once,
    a_namespace_that_falls_back_tells_of_the_workspace,
    passing_a_threshold_again_in_one_window_is_not_told_again,
    a_raised_limit_does_not_repeat_a_threshold_of_the_window,
    what_is_denied_or_unlimited_passes_no_threshold,
    racing_usage_passes_each_threshold_once,
];

const THRESHOLD: &str = "usage.threshold_reached";

/// The thresholds reported by these events, in order.
fn told(events: &[Value]) -> Vec<i64> {
    events.iter().map(|event| event["state"]["threshold"].as_i64().unwrap()).collect()
}

async fn each_threshold_is_told_once(server: Server) {
    let api = server.api();
    let (scope, feature) = api.make_entitled(10).await;
    let mut expected = Vec::new();
    for used in 1..=10 {
        api.spend(&scope, &feature, 1).await.ok(201);
        if used >= 8 {
            expected.push(used * 10);
        }
        assert_eq!(told(&api.events_of(THRESHOLD).await), expected, "after {used} of 10");
    }
    api.spend(&scope, &feature, 1).await.exceeded();
    assert_eq!(told(&api.events_of(THRESHOLD).await), [80, 90, 100]);
}

async fn a_threshold_event_has_its_documented_members(server: Server) {
    let api = server.api();
    let scope = api.make_scope().await;
    let feature = api.make_feature(json!({"reset": "monthly"})).await;
    let assignment = api.entitle(&scope, json!([units(&feature, 20)])).await;
    api.spend(&scope, &feature, 17).await.ok(201);
    let events = api.events_of(THRESHOLD).await;
    assert_eq!(events.len(), 1, "{events:?}");
    let event = &events[0];
    assert_eq!((&event["type"], &event["kind"]), (&json!(THRESHOLD), &json!("threshold_reached")));
    assert!(event["request_id"].is_string() && event["at"].is_string(), "{event}");
    let state = &event["state"];
    let documented = ["feature", "limit", "scope", "threshold", "used", "window_start"];
    assert_eq!(members(state), documented);
    let expected = json!({"scope": scope, "feature": feature, "threshold": 80, "used": 17,
        "limit": 20});
    assert_eq!(crate::harness::with(state.clone(), &expected), *state);
    assert_eq!(instant(&state["window_start"]), instant(&assignment["anchor_at"]));
}

async fn one_large_usage_passes_every_threshold_at_once(server: Server) {
    let api = server.api();
    let (scope, feature) = api.make_entitled(3).await;
    let batch = json!({"items": [{"feature": feature, "quantity": 1},
        {"feature": feature, "quantity": 2}]});
    api.post(&format!("/v1/{scope}/usage/batch"), &batch).key("b").await.ok(201);
    let mut thresholds = told(&api.events_of(THRESHOLD).await);
    thresholds.sort_unstable();
    assert_eq!(thresholds, [80, 90, 100]);

    let (scope, feature) = api.make_entitled(10).await;
    let hold = api.hold(&scope, &feature, 1, 600_000).await.ok(201);
    api.settle(&scope, &hold, 9).await.done();
    let events = api.events_of(THRESHOLD).await;
    let mut thresholds = told(&events[3..]);
    thresholds.sort_unstable();
    assert_eq!(thresholds, [80, 90], "settling is usage too");
}

async fn a_namespace_that_falls_back_tells_of_the_workspace(server: Server) {
    let api = server.api();
    let (workspace, feature) = api.make_entitled(10).await;
    let namespace = api.make_scope_in(&workspace).await;
    api.spend(&namespace, &feature, 8).await.ok(201);
    let own = api.make_scope_in(&workspace).await;
    api.entitle(&own, json!([units(&feature, 5)])).await;
    api.spend(&own, &feature, 4).await.ok(201);
    let events = api.events_of(THRESHOLD).await;
    let scopes: Vec<_> = events.iter().map(|event| &event["state"]["scope"]).collect();
    assert_eq!(scopes, [&json!(workspace), &json!(own)], "the scope of the counter");
    assert_eq!(told(&events), [80, 80]);
}

async fn passing_a_threshold_again_in_one_window_is_not_told_again(server: Server) {
    let api = server.api();
    let (scope, feature) = api.make_entitled(10).await;
    for _ in 0..3 {
        let record = api.spend(&scope, &feature, 8).await.ok(201);
        api.reverse(&scope, &record, 8).await.done();
    }
    assert_eq!(told(&api.events_of(THRESHOLD).await), [80]);
    api.spend(&scope, &feature, 10).await.ok(201);
    let mut thresholds = told(&api.events_of(THRESHOLD).await);
    thresholds.sort_unstable();
    assert_eq!(thresholds, [80, 90, 100]);
}

async fn a_raised_limit_does_not_repeat_a_threshold_of_the_window(server: Server) {
    let api = server.api();
    let (scope, feature) = api.make_entitled(10).await;
    api.spend(&scope, &feature, 9).await.ok(201);
    api.boost(&scope, &feature, json!({"amount": 10})).await.ok(201);
    for quantity in [7, 2, 2] {
        api.spend(&scope, &feature, quantity).await.ok(201);
    }
    let events = api.events_of(THRESHOLD).await;
    assert_eq!(told(&events), [80, 90, 100], "one each per window");
    let limits: Vec<_> = events.iter().map(|event| event["state"]["limit"].as_i64()).collect();
    assert_eq!(limits, [Some(10), Some(10), Some(20)]);
}

async fn what_is_denied_or_unlimited_passes_no_threshold(server: Server) {
    let api = server.api();
    let (scope, feature) = api.make_entitled(10).await;
    api.spend(&scope, &feature, 11).await.exceeded();
    let free = api.make_feature(json!({})).await;
    api.entitle(&scope, json!([grant(&free, "unlimited")])).await;
    api.spend(&scope, &free, 1_000).await.ok(201);
    assert_eq!(api.events_of(THRESHOLD).await, Vec::<Value>::new());
}

async fn racing_usage_passes_each_threshold_once(server: Server) {
    let (apis, _siblings) = super::clients(&server).await;
    for round in 1..=3 {
        let (scope, feature) = apis[0].make_entitled(40).await;
        together(16, |n| {
            let (api, scope) = (apis[n % apis.len()].clone(), scope.clone());
            let feature = feature.clone();
            async move {
                for _ in 0..3 {
                    api.spend(&scope, &feature, 1).await;
                }
            }
        })
        .await;
        let events = apis[0].events_of(THRESHOLD).await;
        assert_eq!(events.len(), 3 * round);
        assert_eq!(told(&events[3 * (round - 1)..]), [80, 90, 100], "in their order");
    }
}
