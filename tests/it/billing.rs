//! Billing runs: one invoice per subscription and period, however many runs race.

use crate::harness::{Api, Server, both_databases, id, in_ms, postgres_only, together, version};
use serde_json::{Value, json};
use std::collections::BTreeSet;

both_databases![
    a_run_bills_each_period_from_the_anchor_to_the_ends_of_months,
    in_a_leap_year_february_has_its_29th,
    a_second_run_finds_nothing_to_do,
    racing_runs_make_one_invoice_per_subscription_and_period,
    a_subscription_that_should_end_ends_at_the_boundary,
    a_paused_or_canceled_subscription_is_billed_for_what_had_begun,
    a_recurring_invoice_is_over_the_price_of_the_period,
];
postgres_only![runs_racing_on_several_servers_make_one_invoice_each];

async fn run(api: &Api, as_of: &str) -> Value {
    let answer = api.post("/v1/billing-runs", &json!({"as_of": as_of})).await;
    assert!((200..300).contains(&answer.status), "{}", answer.text);
    for count in ["made", "skipped", "failed", "remaining"] {
        assert!(answer.body[count].is_u64(), "{}", answer.text);
    }
    answer.body
}

/// Repeats billing runs until nothing is due.
async fn run_out(api: &Api, as_of: &str) {
    for _ in 0..50 {
        if run(api, as_of).await["made"] == 0 {
            return;
        }
    }
    panic!("a billing run never ends");
}

/// The periods for which a subscription has an invoice, in order.
async fn periods(api: &Api, subscription: &Value) -> Vec<(String, String)> {
    let path = format!("/v1/invoices?subscription_id={}", id(subscription));
    let day = |instant: &Value| instant.as_str().unwrap().split('T').next().unwrap().to_owned();
    let invoices = api.list(&path).await;
    let mut periods: Vec<_> = invoices
        .iter()
        .map(|invoice| (day(&invoice["period_start"]), day(&invoice["period_end"])))
        .collect();
    periods.sort();
    periods
}

async fn assert_periods(server: &Server, start: &str, as_of: &str, boundaries: &[&str]) {
    let api = server.api();
    let plan = api.make_active_plan(json!({})).await;
    let subscription = api.subscribe(&plan, json!({"start_at": start})).await;
    run_out(&api, as_of).await;
    let billed = periods(&api, &subscription).await;
    let expected: Vec<_> =
        boundaries.windows(2).map(|pair| (pair[0].to_owned(), pair[1].to_owned())).collect();
    // The last expected period contains `as_of`. It is billed only if periods are billed in
    // advance.
    assert!(billed.len() + 1 >= expected.len(), "too few: {billed:?}");
    assert_eq!(billed, expected[..billed.len().min(expected.len())]);
    let now = api.read("subscriptions", &subscription).await;
    let end = now["current_period_end"].as_str().unwrap();
    assert!(end.starts_with(boundaries.last().unwrap()), "the running period: {now}");
}

async fn a_run_bills_each_period_from_the_anchor_to_the_ends_of_months(server: Server) {
    let ends = ["2023-01-31", "2023-02-28", "2023-03-31", "2023-04-30", "2023-05-31"];
    assert_periods(&server, "2023-01-31T00:00:00Z", "2023-05-05T00:00:00Z", &ends).await;
}

async fn in_a_leap_year_february_has_its_29th(server: Server) {
    let ends = ["2024-01-31", "2024-02-29", "2024-03-31", "2024-04-30"];
    assert_periods(&server, "2024-01-31T00:00:00Z", "2024-04-10T00:00:00Z", &ends).await;
}

async fn overdue(api: &Api, count: usize) -> Vec<Value> {
    let plan = api.make_active_plan(json!({})).await;
    let mut subscriptions = Vec::new();
    for _ in 0..count {
        let start = json!({"start_at": "2024-01-10T00:00:00Z"});
        subscriptions.push(api.subscribe(&plan, start).await);
    }
    subscriptions
}

async fn a_second_run_finds_nothing_to_do(server: Server) {
    let api = server.api();
    let subscription = overdue(&api, 1).await.remove(0);
    run_out(&api, "2024-04-15T00:00:00Z").await;
    let billed = periods(&api, &subscription).await;
    assert!(billed.len() >= 3, "{billed:?}");
    let now = api.read("subscriptions", &subscription).await;
    assert_eq!(run(&api, "2024-04-15T00:00:00Z").await["made"], 0);
    assert_eq!(
        run(&api, "2024-02-15T00:00:00Z").await["made"],
        0,
        "an earlier one does not either"
    );
    assert_eq!(periods(&api, &subscription).await, billed);
    assert_eq!(api.read("subscriptions", &subscription).await, now);
}

async fn race(apis: &[Api]) {
    let subscriptions = overdue(&apis[0], 6).await;
    let runs = together(8, |n| {
        let api = apis[n % apis.len()].clone();
        async move {
            let mut made = 0;
            for _ in 0..6 {
                made += run(&api, "2024-04-15T00:00:00Z").await["made"].as_u64().unwrap();
            }
            made
        }
    })
    .await;
    run_out(&apis[0], "2024-04-15T00:00:00Z").await;
    let mut invoices = 0;
    for subscription in &subscriptions {
        let billed = periods(&apis[0], subscription).await;
        let starts: BTreeSet<_> = billed.iter().map(|(start, _)| start).collect();
        assert_eq!(starts.len(), billed.len(), "one invoice a period: {billed:?}");
        assert!(billed.len() >= 3, "{billed:?}");
        assert!(billed.windows(2).all(|pair| pair[0].1 == pair[1].0), "no gap: {billed:?}");
        invoices += billed.len();
    }
    let made: u64 = runs.iter().sum();
    assert_eq!(usize::try_from(made).unwrap(), invoices, "each was made by exactly one run");
}

async fn racing_runs_make_one_invoice_per_subscription_and_period(server: Server) {
    race(&[server.api()]).await;
}

async fn runs_racing_on_several_servers_make_one_invoice_each(server: Server) {
    let sibling = server.sibling().await;
    race(&[server.api(), sibling.api()]).await;
}

async fn a_subscription_that_should_end_ends_at_the_boundary(server: Server) {
    let api = server.api();
    let plan = api.make_active_plan(json!({})).await;
    let flagged = json!({"start_at": "2024-01-10T00:00:00Z", "cancel_at_period_end": true});
    let subscription = api.subscribe(&plan, flagged).await;
    run_out(&api, "2024-04-15T00:00:00Z").await;
    let ended = api.read("subscriptions", &subscription).await;
    assert_eq!(ended["status"], "canceled");
    assert_eq!(ended["canceled_at"], "2024-02-10T00:00:00.000000Z");
    assert_eq!(ended["ended_at"], ended["canceled_at"]);
    let billed = [("2024-01-10".to_owned(), "2024-02-10".to_owned())];
    assert_eq!(periods(&api, &subscription).await, billed, "it is not billed after its end");
}

/// What has begun is charged, although the subscription was paused or canceled before a run came.
async fn a_paused_or_canceled_subscription_is_billed_for_what_had_begun(server: Server) {
    let api = server.api();
    let plan = api.make_active_plan(json!({"interval": "day"})).await;
    // Two days and a half ago, so that three periods have begun.
    let start = json!({"start_at": in_ms(-60 * 3_600_000)});
    let paused = api.subscribe(&plan, start.clone()).await;
    let canceled = api.subscribe(&plan, start).await;
    api.change("subscriptions", &canceled, json!({"status": "canceled"})).await;
    assert_eq!(periods(&api, &canceled).await.len(), 3, "in the commit that ended it");
    api.change("subscriptions", &paused, json!({"status": "paused"})).await;
    assert_eq!(api.post("/v1/billing-runs", &json!({})).await.ok(200)["made"], 3);
    assert_eq!(periods(&api, &paused).await.len(), 3);
    assert_eq!(api.post("/v1/billing-runs", &json!({})).await.ok(200)["made"], 0);
    let long_ago = overdue(&api, 1).await.remove(0);
    let version = version(&long_ago);
    let path = format!("/v1/subscriptions/{}", id(&long_ago));
    let end = json!({"status": "canceled", "version": version});
    api.patch(&path, &end).await.problem(409, "BILLING_BEHIND");
}

async fn a_recurring_invoice_is_over_the_price_of_the_period(server: Server) {
    let api = server.api();
    let plan = api.make_active_plan(json!({"amount": 1999, "currency": "EUR"})).await;
    let edit = json!({"quantity": 3, "start_at": "2024-01-10T00:00:00Z"});
    let subscription = api.subscribe(&plan, edit).await;
    run_out(&api, "2024-03-15T00:00:00Z").await;
    let invoices = api.list("/v1/invoices").await;
    assert!(!invoices.is_empty());
    for invoice in invoices {
        assert_eq!(invoice["subtotal"], 5997, "{invoice}");
        assert_eq!(invoice["currency"], "EUR");
        assert_eq!(invoice["subscription_id"], subscription["id"]);
        assert_eq!(invoice["workspace_id"], subscription["workspace_id"]);
    }
}
