//! Billing as a function of the terms, over HTTP: settling, previews, balances, and ends.

use crate::harness::{
    Api, Server, Settings, both_databases, id, in_ms, run_to_end, unique, version,
};
use serde_json::{Value, json};

both_databases![
    a_change_is_settled_at_once_and_once,
    what_no_invoice_could_hold_is_refused,
    a_preview_says_what_the_next_runs_make,
    a_credit_goes_onto_the_balance_and_later_invoices_take_from_it,
    a_balance_is_corrected_by_admins_and_never_below_zero,
    a_negative_total_is_finalized_by_admins_only,
    what_has_ended_keeps_its_terms,
    a_run_does_not_look_ahead,
    the_server_runs_billing_by_itself,
    a_draft_that_was_taken_off_counts_as_an_invoice,
];

/// Five days ago, within a period of ten days.
fn started() -> Value {
    json!({"start_at": in_ms(-5 * 86_400_000)})
}

/// An active plan of USD 10.00 for ten days, and a subscription to it since five days.
async fn subscribed(api: &Api) -> Value {
    let terms = json!({"amount": 1000, "currency": "USD", "interval": "day", "interval_count": 10});
    let plan = api.make_active_plan(terms).await;
    api.subscribe(&plan, started()).await
}

async fn run(api: &Api) -> Value {
    api.post("/v1/billing-runs", &json!({})).await.ok(200)
}

async fn settle(api: &Api, subscription: &Value) -> crate::harness::Call {
    let version = version(&api.read("subscriptions", subscription).await);
    let path = format!("/v1/subscriptions/{}/settle", id(subscription));
    api.post(&path, &json!({"version": version})).key(&unique("settle"))
}

/// The price of all units is an integer of the API. Otherwise nothing could ever bill it.
async fn what_no_invoice_could_hold_is_refused(server: Server) {
    let api = server.api();
    let most = ifmatch::INTEGER_MAX;
    let dear = api.make_active_plan(json!({"amount": most})).await;
    let workspace = api.make_workspace(json!({})).await;
    let body = |quantity: i64| {
        json!({"workspace_id": id(&workspace), "plan_id": id(&dear),
        "quantity": quantity})
    };
    let create =
        async |quantity| api.post("/v1/subscriptions", &body(quantity)).key(&unique("key")).await;
    create(2).await.problem(422, "AMOUNT_OVERFLOW");
    let one = create(1).await.ok(201);
    let path = format!("/v1/subscriptions/{}", id(&one));
    let patch = async |path: &str, members: Value| api.patch(path, &members).if_match(1).await;
    let refused = patch(&path, json!({"quantity": 2})).await.problem(422, "AMOUNT_OVERFLOW");
    assert!(refused.to_string().contains("/quantity"), "{refused}");
    assert_eq!(api.list(&format!("{path}/periods")).await[0]["cost"], most);

    let cheap = api.make_active_plan(json!({"amount": 9_007_199_254_i64})).await;
    let many = api.subscribe(&cheap, json!({"quantity": 1_000_000})).await;
    let path = format!("/v1/subscriptions/{}", id(&many));
    patch(&path, json!({"plan_id": id(&dear)})).await.problem(422, "AMOUNT_OVERFLOW");
    let both = json!({"plan_id": id(&dear), "quantity": 1});
    let moved = patch(&path, both).await.ok(200);
    assert_eq!((&moved["quantity"], version(&moved)), (&json!(1), 2));
    let more = api.patch(&path, &json!({"quantity": 2})).if_match(2).await;
    more.problem(422, "AMOUNT_OVERFLOW");
    let free = api.make_active_plan(json!({"amount": 0})).await;
    api.subscribe(&free, json!({"quantity": 1_000_000})).await;
}

async fn invoices(api: &Api, subscription: &Value) -> Vec<Value> {
    api.list(&format!("/v1/invoices?subscription_id={}", id(subscription))).await
}

fn balance_of(subscription: &Value) -> String {
    format!("/v1/workspaces/{}/balance", subscription["workspace_id"].as_str().unwrap())
}

async fn verify(server: &Server) {
    let url = [("IFMATCH_DATABASE_URL", server.database().url())];
    run_to_end(server.database(), &["verify"], &url).await.succeeded();
}

async fn a_change_is_settled_at_once_and_once(server: Server) {
    let api = server.api();
    let subscription = subscribed(&api).await;
    assert_eq!(run(&api).await["made"], 1);
    let nothing = settle(&api, &subscription).await.await.ok(200);
    assert_eq!(nothing, json!({"invoice": null}));
    api.change("subscriptions", &subscription, json!({"quantity": 3})).await;
    let path = format!("/v1/subscriptions/{}/settle", id(&subscription));
    let stale = api.post(&path, &json!({"version": 1})).key(&unique("settle")).await;
    assert_eq!(stale.problem(409, "CONFLICT_VERSION_MISMATCH")["current_version"], 2);
    let missing = api.post(&path, &json!({})).key(&unique("settle")).await;
    missing.problem(428, "PRECONDITION_REQUIRED");
    let invoice = settle(&api, &subscription).await.await.ok(201)["invoice"].clone();
    // Half of the days for two more.
    assert_eq!(invoice["total"], 1000);
    assert_eq!((&invoice["period_start"], &invoice["status"]), (&Value::Null, &json!("open")));
    let line = &invoice["lines"][1];
    let start = &api.read("subscriptions", &subscription).await["current_period_start"];
    assert_eq!(&line["period_start"], start);
    assert!(line["segment_start"].is_string() && line["segment_start"] != *start, "{line}");
    assert_eq!(settle(&api, &subscription).await.await.ok(200)["invoice"], Value::Null);
    // A copy of its lines does not pass for a line of billing.
    let copied = json!({"workspace_id": subscription["workspace_id"], "currency": "USD",
        "lines": invoice["lines"]});
    api.post("/v1/invoices", &copied).key(&unique("copy")).await.problem(422, "VALIDATION_FAILED");
    let periods = api.list(&format!("/v1/subscriptions/{}/periods", id(&subscription))).await;
    assert_eq!(periods.len(), 1);
    assert_eq!((&periods[0]["cost"], &periods[0]["charged"]), (&json!(2000), &json!(2000)));
    let segments = periods[0]["segments"].as_array().unwrap();
    let costs: Vec<_> = segments.iter().map(|segment| segment["cost"].clone()).collect();
    assert_eq!(costs, [500, 1500]);
    verify(&server).await;
}

async fn a_preview_says_what_the_next_runs_make(server: Server) {
    let api = server.api();
    let subscription = subscribed(&api).await;
    let other = subscribed(&api).await;
    let preview = async |body: Value| {
        api.post("/v1/billing-runs/preview", &body).await.ok(200)["invoices"]
            .as_array()
            .unwrap()
            .clone()
    };
    assert_eq!(preview(json!({})).await.len(), 2);
    let of_one = preview(json!({"subscription_id": subscription["id"]})).await;
    assert_eq!(of_one.len(), 1);
    assert_eq!(invoices(&api, &subscription).await, Vec::<Value>::new(), "nothing is written");
    run(&api).await;
    let made = invoices(&api, &subscription).await;
    for field in ["lines", "total", "period_start", "period_end", "amount_due", "currency"] {
        assert_eq!(of_one[0][field], made[0][field], "{field}");
    }
    let ahead = in_ms(400 * 86_400_000);
    let later = preview(json!({"as_of": ahead, "subscription_id": other["id"]})).await;
    assert_eq!(later.len(), 24, "at most 24");
    let unknown = json!({"subscription_id": "sub_01a22935ebfe70ebae68b10c9dff74ca"});
    let unknown = api.post("/v1/billing-runs/preview", &unknown).await;
    unknown.invalid("/subscription_id");
    let plan = json!({"subscription_id": "pln_01a22935ebfe70ebae68b10c9dff74ca"});
    let plan = api.post("/v1/billing-runs/preview", &plan).await;
    plan.problem(400, "WRONG_ID_TYPE");
}

async fn a_credit_goes_onto_the_balance_and_later_invoices_take_from_it(server: Server) {
    let api = server.api();
    let subscription = subscribed(&api).await;
    run(&api).await;
    let small = json!({"amount": 100, "currency": "USD", "interval": "day", "interval_count": 3});
    let small = api.make_active_plan(small).await;
    // Another interval: the running period ends, and a new one begins.
    api.change("subscriptions", &subscription, json!({"plan_id": small["id"]})).await;
    assert_eq!(run(&api).await["made"], 1);
    let newest = invoices(&api, &subscription).await;
    let newest = newest.iter().find(|invoice| invoice["total"].as_i64() < Some(0)).unwrap();
    assert_eq!(newest["total"], 100 - 500);
    assert_eq!((&newest["status"], &newest["amount_due"]), (&json!("paid"), &json!(0)));
    assert_eq!(newest["balance_applied"], -400);
    let path = balance_of(&subscription);
    let items = json!({"items": [{"currency": "USD", "amount": 400}]});
    assert_eq!(api.get(&path).await.ok(200), items);
    let lines = json!([{"description": "Work", "quantity": 1, "unit_amount": 150}]);
    let manual = json!({"workspace_id": subscription["workspace_id"], "currency": "USD",
        "status": "open", "lines": lines});
    let manual = api.post("/v1/invoices", &manual).key(&unique("manual")).await.ok(201);
    assert_eq!((&manual["balance_applied"], &manual["amount_due"]), (&json!(150), &json!(0)));
    let void = json!({"status": "void", "version": newest["version"]});
    let refused = api.patch(&format!("/v1/invoices/{}", id(newest)), &void).await;
    let refused = refused.problem(409, "BALANCE_SPENT");
    assert_eq!((&refused["required"], &refused["available"]), (&json!(400), &json!(250)));
    let void = json!({"status": "void", "version": manual["version"]});
    let voided = api.patch(&format!("/v1/invoices/{}", id(&manual)), &void).await.ok(200);
    assert_eq!(voided["balance_applied"], 0);
    let transactions = api.list(&format!("{path}/transactions")).await;
    let told: Vec<_> =
        transactions.iter().map(|t| (t["kind"].clone(), t["amount"].clone())).collect();
    let expected = [("void", 150), ("invoice", -150), ("invoice", 400)];
    assert_eq!(told, expected.map(|(kind, amount)| (json!(kind), json!(amount))));
    assert_eq!(transactions[0]["invoice_id"], manual["id"]);
    verify(&server).await;
}

async fn a_balance_is_corrected_by_admins_and_never_below_zero(server: Server) {
    let api = server.api();
    let workspace = api.make_workspace(json!({})).await;
    let path = format!("/v1/workspaces/{}/balance", id(&workspace));
    assert_eq!(api.get(&path).await.ok(200), json!({"items": []}));
    let adjust = |amount: i64| {
        let body = json!({"currency": "EUR", "amount": amount, "reason": "downtime"});
        api.post(&format!("{path}/adjustments"), &body).key(&unique("adjust"))
    };
    let made = adjust(700).await.ok(201);
    assert_eq!((&made["kind"], &made["amount"]), (&json!("adjustment"), &json!(700)));
    let refused = adjust(-701).await.problem(422, "INSUFFICIENT_BALANCE");
    assert_eq!((&refused["required"], &refused["available"]), (&json!(701), &json!(700)));
    adjust(0).await.invalid("/amount");
    let bad = json!({"currency": "credits", "amount": 1, "reason": "x"});
    let bad = api.post(&format!("{path}/adjustments"), &bad).key(&unique("adjust")).await;
    bad.invalid("/currency");
    let records = api.list("/v1/audit?type=balance_adjustment").await;
    assert_eq!(records.len(), 1);
    verify(&server).await;
}

async fn a_negative_total_is_finalized_by_admins_only(server: Server) {
    let api = server.api();
    let key = json!({"name": unique("agent"), "role": "agent"});
    let key = api.post("/v1/api-keys", &key).await.ok(201);
    let agent = api.with_key(key["key"].as_str().unwrap());
    let lines = json!([{"description": "Back", "quantity": 1, "unit_amount": -100}]);
    let draft = api.make_invoice(json!({"lines": lines})).await;
    let open = json!({"status": "open", "version": 1});
    let path = format!("/v1/invoices/{}", id(&draft));
    agent.patch(&path, &open).await.problem(403, "FORBIDDEN");
    let paid = api.patch(&path, &open).await.ok(200);
    assert_eq!((&paid["status"], &paid["balance_applied"]), (&json!("paid"), &json!(-100)));
}

async fn what_has_ended_keeps_its_terms(server: Server) {
    let api = server.api();
    let subscription = subscribed(&api).await;
    run(&api).await;
    api.change("subscriptions", &subscription, json!({"quantity": 2})).await;
    let ended = api.change("subscriptions", &subscription, json!({"status": "canceled"})).await;
    let totals: Vec<_> =
        invoices(&api, &subscription).await.iter().map(|i| i["total"].clone()).collect();
    assert_eq!(totals, [1000, 500], "the final invoice is made in the commit that ends it");
    let path = format!("/v1/subscriptions/{}", id(&subscription));
    for (edit, field) in [
        (json!({"quantity": 3}), "quantity"),
        (json!({"cancel_at_period_end": true}), "cancel_at_period_end"),
    ] {
        let mut body = edit;
        body["version"] = ended["version"].clone();
        let refused = api.patch(&path, &body).await.problem(409, "SUBSCRIPTION_ENDED");
        assert_eq!(refused["fields"], json!([field]));
        assert_eq!(refused["ended_at"], ended["ended_at"]);
    }
    let notes = api.change("subscriptions", &subscription, json!({"notes": "they left"})).await;
    assert_eq!(notes["notes"], "they left");
    verify(&server).await;
}

async fn a_run_does_not_look_ahead(server: Server) {
    let api = server.api();
    let ahead = json!({"as_of": in_ms(60_000)});
    api.post("/v1/billing-runs", &ahead).await.invalid("/as_of");
}

async fn the_server_runs_billing_by_itself(server: Server) {
    let database = server.database().clone();
    drop(server);
    let settings = Settings::args(&["--billing-interval-ms", "50"]);
    let server = Server::start_with(database, settings).await;
    let api = server.api();
    let subscription = subscribed(&api).await;
    crate::harness::eventually("the period is billed", async || {
        (invoices(&api, &subscription).await.len() == 1).then_some(())
    })
    .await;
}

async fn a_draft_that_was_taken_off_counts_as_an_invoice(server: Server) {
    let api = server.api();
    let subscription = subscribed(&api).await;
    let workspace_id = &subscription["workspace_id"];
    let members = json!({"workspace_id": workspace_id, "subscription_id": subscription["id"]});
    let draft = api.make_invoice(members).await;
    api.change("invoices", &draft, json!({"subscription_id": null})).await;
    let path = format!("/v1/subscriptions/{}?version=1", id(&subscription));
    api.delete(&path).await.problem(409, "SUBSCRIPTION_IN_USE");
}
