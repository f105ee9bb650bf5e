//! Subscriptions: their statuses, trials, plan changes and endings.

use crate::harness::{Api, Server, both_databases, id};
use jiff::{Timestamp, ToSpan};
use serde_json::{Value, json};

both_databases![
    a_subscription_moves_only_along_its_allowed_transitions,
    a_trial_lasts_as_long_as_the_plan_says,
    canceling_sets_when_it_ended,
    a_canceled_subscription_stays_canceled,
    cancel_at_period_end_can_be_undone,
    the_plan_may_change_to_one_of_the_same_currency,
    a_subscription_that_had_an_invoice_cannot_be_deleted,
    a_period_is_as_long_as_the_plan_says,
];

/// The contract's table of transitions, row by row.
const TRANSITIONS: [(&str, &[&str]); 5] = [
    ("trialing", &["active", "past_due", "paused", "canceled"]),
    ("active", &["past_due", "paused", "canceled"]),
    ("past_due", &["active", "paused", "canceled"]),
    ("paused", &["active", "canceled"]),
    ("canceled", &[]),
];

async fn subscription_in(api: &Api, status: &str) -> Value {
    let trial_days = if status == "trialing" { 14 } else { 0 };
    let plan = api.make_active_plan(json!({"trial_days": trial_days})).await;
    let subscription = api.subscribe(&plan, json!({})).await;
    if ["trialing", "active"].contains(&status) {
        assert_eq!(subscription["status"], status);
        return subscription;
    }
    api.change("subscriptions", &subscription, json!({"status": status})).await
}

async fn a_subscription_moves_only_along_its_allowed_transitions(server: Server) {
    let api = server.api();
    for (from, allowed) in TRANSITIONS {
        for (to, _) in TRANSITIONS.iter().filter(|(to, _)| *to != from) {
            let subscription = subscription_in(&api, from).await;
            let path = format!("/v1/subscriptions/{}", id(&subscription));
            let body = json!({"status": to, "version": subscription["version"]});
            let answer = api.patch(&path, &body).await;
            if allowed.contains(to) {
                assert_eq!(&answer.ok(200)["status"], to, "{from} to {to}");
                continue;
            }
            let problem = answer.problem(409, "INVALID_STATE_TRANSITION");
            assert_eq!((&problem["from"], &problem["to"]), (&json!(from), &json!(to)));
            let mut listed: Vec<_> = problem["allowed"]
                .as_array()
                .unwrap()
                .iter()
                .map(|s| s.as_str().unwrap())
                .collect();
            let mut expected = allowed.to_vec();
            listed.sort_unstable();
            expected.sort_unstable();
            assert_eq!(listed, expected, "{from} to {to}");
            assert_eq!(api.read("subscriptions", &subscription).await, subscription);
        }
    }
}

async fn a_trial_lasts_as_long_as_the_plan_says(server: Server) {
    let api = server.api();
    let trial = subscription_in(&api, "trialing").await;
    let instant = |field: &str| trial[field].as_str().unwrap().parse::<Timestamp>().unwrap();
    assert_eq!(instant("trial_end"), instant("start_at") + (14 * 24).hours());
    let without = subscription_in(&api, "active").await;
    assert_eq!(without["trial_end"], Value::Null);
}

async fn canceling_sets_when_it_ended(server: Server) {
    let api = server.api();
    for (from, _) in TRANSITIONS.iter().filter(|(from, _)| *from != "canceled") {
        let subscription = subscription_in(&api, from).await;
        assert_eq!(subscription["canceled_at"], Value::Null);
        let edit = json!({"status": "canceled"});
        let canceled = api.change("subscriptions", &subscription, edit).await;
        assert!(canceled["canceled_at"].is_string(), "{canceled}");
        assert!(canceled["ended_at"].is_string(), "{canceled}");
    }
}

async fn a_canceled_subscription_stays_canceled(server: Server) {
    let api = server.api();
    let canceled = subscription_in(&api, "canceled").await;
    let path = format!("/v1/subscriptions/{}", id(&canceled));
    let same = json!({"status": "canceled", "version": canceled["version"]});
    let answer = api.patch(&path, &same).await.is(200);
    assert_eq!(answer.header("X-Changed"), Some("false"));
    assert_eq!(answer.body, canceled);
}

async fn cancel_at_period_end_can_be_undone(server: Server) {
    let api = server.api();
    let subscription = api.make_subscription(json!({})).await;
    let edit = json!({"cancel_at_period_end": true});
    let ending = api.change("subscriptions", &subscription, edit).await;
    assert_eq!((&ending["status"], &ending["ended_at"]), (&json!("active"), &Value::Null));
    let edit = json!({"cancel_at_period_end": false});
    let undone = api.change("subscriptions", &subscription, edit).await;
    assert_eq!(undone["cancel_at_period_end"], false);
    assert_eq!(undone["canceled_at"], Value::Null);
}

async fn the_plan_may_change_to_one_of_the_same_currency(server: Server) {
    let api = server.api();
    let subscription = api.make_subscription(json!({})).await;
    let pro = api.make_active_plan(json!({"amount": 5000})).await;
    let euro = api.make_active_plan(json!({"currency": "EUR"})).await;
    let path = format!("/v1/subscriptions/{}", id(&subscription));
    let answer = api.patch(&path, &json!({"plan_id": id(&euro)})).if_match(1).await;
    answer.problem(422, "CURRENCY_MISMATCH");
    assert_eq!(api.read("subscriptions", &subscription).await, subscription);
    let changed = api.change("subscriptions", &subscription, json!({"plan_id": id(&pro)})).await;
    assert_eq!(changed["plan_id"], pro["id"]);
}

async fn a_subscription_that_had_an_invoice_cannot_be_deleted(server: Server) {
    let api = server.api();
    let fresh = api.make_subscription(json!({})).await;
    api.delete(&format!("/v1/subscriptions/{}", id(&fresh))).if_match(1).await.ok(200);

    let billed = api.make_subscription(json!({})).await;
    let invoice = json!({"workspace_id": billed["workspace_id"], "subscription_id": id(&billed),
        "currency": "USD", "lines": []});
    api.post("/v1/invoices", &invoice).await.ok(201);
    let now = api.read("subscriptions", &billed).await;
    let path = format!("/v1/subscriptions/{}?version={}", id(&billed), now["version"]);
    api.delete(&path).await.problem(409, "SUBSCRIPTION_IN_USE");
}

async fn a_period_is_as_long_as_the_plan_says(server: Server) {
    let api = server.api();
    for (interval, count, end) in [
        ("day", 10, "2024-02-10T00:00:00.000000Z"),
        ("week", 1, "2024-02-07T00:00:00.000000Z"),
        ("month", 1, "2024-02-29T00:00:00.000000Z"),
        ("month", 2, "2024-03-31T00:00:00.000000Z"),
        ("year", 1, "2025-01-31T00:00:00.000000Z"),
    ] {
        let plan = json!({"interval": interval, "interval_count": count});
        let plan = api.make_active_plan(plan).await;
        let start = json!({"start_at": "2024-01-31T00:00:00Z"});
        let subscription = api.subscribe(&plan, start).await;
        let start = "2024-01-31T00:00:00.000000Z";
        assert_eq!(subscription["start_at"], start);
        assert_eq!(subscription["current_period_start"], start);
        assert_eq!(subscription["current_period_end"], end, "{count} {interval}");
    }
}
