//! Quantities: integers from 1 to 10¹², and the windows in which they count.

use crate::harness::{Answer, Api, Server, both_databases, id, instant, unique, units, with};
use jiff::{SignedDuration, ToSpan, tz::TimeZone};
use serde_json::{Value, json};

both_databases![
    a_wrong_quantity_is_refused_naming_the_field_and_changes_nothing,
    an_unknown_feature_is_refused_naming_the_field_and_changes_nothing,
    wrong_members_of_usage_are_refused_naming_them,
    the_largest_quantity_is_admitted_where_there_is_room,
    limits_that_add_up_to_too_much_are_no_accident,
    a_monthly_window_resets_one_month_after_the_anchor,
    a_feature_that_never_resets_says_so,
    a_rolling_window_gives_units_back_after_its_days,
];

/// Every invalid quantity.
fn wrong_quantities() -> Vec<Value> {
    vec![
        json!(0),
        json!(-1),
        json!(1.5),
        json!("1"),
        Value::Null,
        json!(true),
        json!([1]),
        json!(1e30),
        json!(-1e30),
        json!(9_223_372_036_854_775_807_i64),
        json!(9_223_372_036_854_775_808_u64),
        json!(-9_223_372_036_854_775_808_i64),
        json!(1_000_000_000_001_i64),
    ]
}

/// Everything that a write in a scope could have changed.
async fn everything(api: &Api, scope: &str, feature: &str) -> (Value, usize, (i64, i64)) {
    let events = api.get("/v1/events?after=0&limit=200").await.ok(200)["items"].clone();
    let records = api.list(&format!("/v1/{scope}/usage")).await.len();
    (events, records, api.counted(scope, feature).await)
}

async fn a_wrong_quantity_is_refused_naming_the_field_and_changes_nothing(server: Server) {
    let api = server.api();
    let (workspace, feature) = api.make_entitled(10).await;
    let free = api.make_feature(json!({})).await;
    api.entitle(&workspace, json!([{"feature": free, "grant": "unlimited"}])).await;
    let namespace = api.make_scope_in(&workspace).await;
    for scope in [&workspace, &namespace] {
        let hold = api.hold(scope, &feature, 2, 600_000).await.ok(201);
        let before = everything(&api, scope, &feature).await;
        let path = format!("/v1/{scope}/usage");
        let send = async |path: String, body: Value| -> Answer {
            api.post(&path, &body).key(&unique("wrong")).await
        };
        for feature in [&feature, &free] {
            let without = json!({"feature": feature});
            for quantity in wrong_quantities() {
                let body = with(without.clone(), &json!({"quantity": quantity}));
                send(path.clone(), body.clone()).await.invalid("/quantity");
                let batch = json!({"items": [body]});
                send(format!("{path}/batch"), batch).await.invalid("/items/0/quantity");
                let hold = with(body, &json!({"ttl_ms": 60_000}));
                send(format!("{path}/holds"), hold).await.invalid("/quantity");
            }
            send(path.clone(), without.clone()).await.invalid("/quantity");
            let batch = json!({"items": [without.clone()]});
            send(format!("{path}/batch"), batch).await.invalid("/items/0/quantity");
            let hold = with(without, &json!({"ttl_ms": 60_000}));
            send(format!("{path}/holds"), hold).await.invalid("/quantity");
        }
        let settle = format!("{path}/holds/{}/settle", id(&hold));
        for quantity in wrong_quantities() {
            send(settle.clone(), json!({"quantity": quantity})).await.invalid("/quantity");
        }
        send(settle, json!({})).await.invalid("/quantity");
        assert_eq!(everything(&api, scope, &feature).await, before);
        api.release(scope, &hold).await.done();
    }
    let log = api.list(&format!("/v1/{workspace}/entitlement-log")).await;
    assert!(log.iter().all(|line| line["type"] != "usage.denied"), "that is no denial: {log:?}");
}

async fn an_unknown_feature_is_refused_naming_the_field_and_changes_nothing(server: Server) {
    let api = server.api();
    let (workspace, feature) = api.make_entitled(10).await;
    let namespace = api.make_scope_in(&workspace).await;
    for scope in [workspace, namespace] {
        let before = everything(&api, &scope, &feature).await;
        for wrong in [json!(unique("nothing")), json!(""), json!(7), Value::Null] {
            let body = json!({"feature": wrong, "quantity": 1});
            let path = format!("/v1/{scope}/usage");
            let send = |path: &str, body: &Value| api.post(path, body).key(&unique("wrong"));
            send(&path, &body).await.invalid("/feature");
            let batch = json!({"items": [body]});
            send(&format!("{path}/batch"), &batch).await.invalid("/items/0/feature");
            let hold = with(body, &json!({"ttl_ms": 60_000}));
            send(&format!("{path}/holds"), &hold).await.invalid("/feature");
        }
        assert_eq!(everything(&api, &scope, &feature).await, before);
    }
}

async fn wrong_members_of_usage_are_refused_naming_them(server: Server) {
    let api = server.api();
    let (scope, feature) = api.make_entitled(10).await;
    for (field, wrong) in [
        ("/colour", json!({"colour": "red"})),
        ("/ttl_ms", json!({"ttl_ms": 1})),
        ("/metadata", json!({"metadata": "x"})),
        ("/metadata/n", json!({"metadata": {"n": 1}})),
        ("/metadata/a~1b", json!({"metadata": {"a/b": 1}})),
        ("/metadata", json!({"metadata": {"": "x"}})),
        ("/metadata", json!({"metadata": {"k": "x".repeat(501)}})),
    ] {
        let body = with(json!({"feature": feature, "quantity": 1}), &wrong);
        let answer = api.post(&format!("/v1/{scope}/usage"), &body).key(&unique("wrong")).await;
        answer.invalid_within(field);
    }
    let raw = |body: &str| {
        let call = api.call("POST", &format!("/v1/{scope}/usage")).key(&unique("raw"));
        call.body("application/json", body.to_owned())
    };
    raw("{").await.problem(400, "MALFORMED_REQUEST");
    assert_eq!(raw("[]").await.status, 422);
    assert_eq!(api.counted(&scope, &feature).await, (0, 0));
}

async fn the_largest_quantity_is_admitted_where_there_is_room(server: Server) {
    let api = server.api();
    let largest = 1_000_000_000_000;
    let (scope, feature) = api.make_entitled(3 * largest).await;
    for used in 1..=3 {
        let recorded = api.spend(&scope, &feature, largest).await.ok(201);
        assert_eq!(recorded["used"], used * largest);
    }
    assert_eq!(api.spend(&scope, &feature, 1).await.exceeded()["remaining"], 0);
}

async fn limits_that_add_up_to_too_much_are_no_accident(server: Server) {
    let api = server.api();
    let (scope, feature) = (api.make_scope().await, api.make_feature(json!({})).await);
    for _ in 0..2 {
        let grants = json!([units(&feature, i64::MAX)]);
        let body = json!({"code": unique("huge"), "name": "Huge", "grants": grants});
        let made = api.post("/v1/packages", &body).await;
        if made.status != 201 {
            made.invalid_within("/grants");
            return;
        }
        // Two of these exceed an i64. The server refuses the second or saturates the sum.
        let assigned = api.assign(&scope, &made.body, json!({})).await;
        assert!([201, 422].contains(&assigned.status), "{}", assigned.text);
    }
    let spent = api.spend(&scope, &feature, 5).await;
    assert!([201, 422].contains(&spent.status), "{}", spent.text);
    api.get(&format!("/v1/{scope}/entitlements/{feature}")).await.ok(200);
}

async fn a_monthly_window_resets_one_month_after_the_anchor(server: Server) {
    let api = server.api();
    let workspace = api.make_scope().await;
    let namespace = api.make_scope_in(&workspace).await;
    let feature = api.make_feature(json!({"reset": "monthly"})).await;
    for scope in [workspace, namespace] {
        let assignment = api.entitle(&scope, json!([units(&feature, 3)])).await;
        let anchor = instant(&assignment["anchor_at"]).to_zoned(TimeZone::UTC);
        let month = anchor.checked_add(1.month()).unwrap().timestamp();
        let recorded = api.spend(&scope, &feature, 3).await.ok(201);
        assert_eq!(instant(&recorded["resets_at"]), month);
        let denied = api.spend(&scope, &feature, 1).await.exceeded();
        assert_eq!(instant(&denied["resets_at"]), month);
        let advice = api.entitlement(&scope, &feature).await;
        assert_eq!(instant(&advice["resets_at"]), month);
    }
}

async fn a_feature_that_never_resets_says_so(server: Server) {
    let api = server.api();
    let (scope, feature) = api.make_entitled(3).await;
    assert_eq!(api.spend(&scope, &feature, 3).await.ok(201)["resets_at"], Value::Null);
    assert_eq!(api.spend(&scope, &feature, 1).await.exceeded()["resets_at"], Value::Null);
    assert_eq!(api.entitlement(&scope, &feature).await["resets_at"], Value::Null);
}

async fn a_rolling_window_gives_units_back_after_its_days(server: Server) {
    let api = server.api();
    let scope = api.make_scope().await;
    let feature = api.make_feature(json!({"reset": "rolling", "rolling_days": 7})).await;
    api.entitle(&scope, json!([units(&feature, 5)])).await;
    let advice = api.entitlement(&scope, &feature).await;
    assert_eq!(advice["resets_at"], Value::Null, "no units can come back");
    let first = api.spend(&scope, &feature, 3).await.ok(201);
    api.spend(&scope, &feature, 2).await.ok(201);
    let at = instant(&api.get(&format!("/v1/{scope}/usage/{}", id(&first))).await.ok(200)["at"]);
    let denied = api.spend(&scope, &feature, 1).await.exceeded();
    let back = instant(&denied["resets_at"]).duration_since(at);
    let week = SignedDuration::from_hours(7 * 24);
    assert!(back >= week, "not before they are out of the window: {back}");
    assert!(back <= week + SignedDuration::from_hours(1), "and soon after: {back}");
    api.reverse(&scope, &first, 3).await.done();
    assert_eq!(api.spend(&scope, &feature, 3).await.ok(201)["used"], 5);
    api.spend(&scope, &feature, 1).await.exceeded();
}
