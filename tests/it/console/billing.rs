//! Billing in the console: what periods cost and were charged, what comes next, and balances.

use super::{NOTICE, SAVE};
use crate::harness::{
    ADMIN_KEY, Api, Browser, Server, eventually, id, in_ms, sqlite_only, unique, version,
};
use serde_json::{Value, json};

sqlite_only![
    an_operator_sees_what_each_period_cost_and_was_charged,
    the_next_invoices_are_those_that_billing_then_makes,
    a_subscription_is_settled_as_it_was_seen,
    a_workspace_shows_its_balances_and_what_moved_them,
    an_admin_corrects_a_balance_with_a_reason,
    what_callers_wrote_about_billing_is_text,
    only_those_who_may_act_are_offered_to,
];

const PERIODS: &str = "section[aria-label='Periods']";
const NEXT: &str = "section[aria-label='Next invoices']";
const BALANCE: &str = "section[aria-label='Balance']";
const TRANSACTIONS: &str = "section[aria-label='Balance / transactions']";
const NOW: &str = "section[aria-label='As it is now']";
const DAY_MS: i64 = 86_400_000;

/// An active plan for ten days.
async fn plan(api: &Api, name: &str, amount: i64) -> Value {
    let code = unique(name);
    let terms = json!({"code": code, "name": name, "currency": "USD", "amount": amount,
        "interval": "day", "interval_count": 10});
    api.make_active_plan(terms).await
}

/// A subscription for USD 10.00 in ten days, which began this many days ago.
async fn subscribed(api: &Api, days_ago: i64) -> Value {
    let gold = plan(api, "Gold", 1000).await;
    api.subscribe(&gold, json!({"start_at": in_ms(-days_ago * DAY_MS)})).await
}

/// From now on, two units for USD 30.00 in ten days.
async fn upgrade(api: &Api, subscription: &Value) {
    let platinum = plan(api, "Platinum", 1500).await;
    let terms = json!({"plan_id": id(&platinum), "quantity": 2});
    api.change("subscriptions", subscription, terms).await;
}

async fn run(api: &Api) -> Value {
    api.post("/v1/billing-runs", &json!({})).await.ok(200)
}

async fn invoices(api: &Api, subscription: &Value) -> Vec<Value> {
    api.list(&format!("/v1/invoices?subscription_id={}", id(subscription))).await
}

fn page(subscription: &Value) -> String {
    format!("/subscriptions/{}", id(subscription))
}

fn workspace(subscription: &Value) -> String {
    format!("/workspaces/{}", subscription["workspace_id"].as_str().unwrap())
}

/// The texts of these fields in all rows below `css`, as soon as there are rows.
async fn rows(browser: &Browser, css: &str, fields: &[&str]) -> Vec<Vec<String>> {
    let script = "const text = (row, field) => row.querySelector(`[data-field=${field}]`);\
        return [...document.querySelectorAll(`${arguments[0]} tbody tr`)]\
        .map((row) => arguments[1].map((field) => text(row, field).innerText.trim()))";
    eventually(&format!("{css} has rows"), async || {
        let texts = browser.run(script, json!([css, fields])).await;
        let texts: Vec<Vec<String>> = serde_json::from_value(texts).expect("texts");
        (!texts.is_empty()).then_some(texts)
    })
    .await
}

/// An amount as people read it.
fn dollars(amount: &Value) -> String {
    let cents = amount.as_i64().expect("an amount");
    let sign = if cents < 0 { "-" } else { "" };
    format!("{sign}USD {}.{:02}", cents.abs() / 100, cents.abs() % 100)
}

/// What an invoice's lines say and come to.
fn lines(invoice: &Value) -> Vec<Vec<String>> {
    let lines = invoice["lines"].as_array().expect("lines").iter();
    lines.map(|line| vec![text(&line["description"]), dollars(&line["amount"])]).collect()
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

/// Opens a page, also if it is open: it is read anew.
async fn open(browser: &Browser, page: &str) {
    browser.visit("/plans").await;
    browser.see("main h1", "Plans").await;
    browser.visit(page).await;
}

async fn an_operator_sees_what_each_period_cost_and_was_charged(server: Server) {
    let api = server.api();
    let subscription = subscribed(&api, 15).await;
    assert_eq!(run(&api).await["made"], 2);
    upgrade(&api, &subscription).await;
    let browser = Browser::open(&server).await;
    browser.sign_in(ADMIN_KEY).await;
    open(&browser, &page(&subscription)).await;
    let told = ["plan_id", "quantity", "cost", "charged", "difference"];
    let earlier = ["Gold", "1", "USD 10.00", "USD 10.00", "–"];
    // Newest first. What changed within the period stands below it.
    let expected = [
        ["", "", "USD 20.00", "USD 10.00", "USD 10.00 to charge"],
        ["Gold", "1", "USD 5.00", "", ""],
        ["Platinum", "2", "USD 15.00", "", ""],
        earlier,
    ];
    assert_eq!(rows(&browser, PERIODS, &told).await, expected);
    let times = rows(&browser, PERIODS, &["start", "end"]).await;
    assert!(times[0][0].ends_with("UTC"), "{times:?}");
    // Terms last until the next ones, or until the period ends.
    let ends = [&times[1][0], &times[1][1], &times[2][1], &times[3][1]];
    assert_eq!(ends, [&times[0][0], &times[2][0], &times[0][1], &times[0][0]]);

    let path = format!("/v1{}/settle", page(&subscription));
    let now = version(&api.read("subscriptions", &subscription).await);
    api.post(&path, &json!({"version": now})).key(&unique("settle")).await.ok(201);
    open(&browser, &page(&subscription)).await;
    let settled = ["", "", "USD 20.00", "USD 20.00", "–"];
    assert_eq!(rows(&browser, PERIODS, &told).await[0], settled);
    let lowered = json!({"quantity": 1});
    api.change("subscriptions", &subscription, lowered).await;
    open(&browser, &page(&subscription)).await;
    // The day of a change belongs to the new terms.
    let lowered = ["", "", "USD 12.50", "USD 20.00", "USD 7.50 to give back"];
    assert_eq!(rows(&browser, PERIODS, &told).await[0], lowered);

    // The periods have a page of their own, and a plan's name leads to the plan.
    browser.visit(&format!("{}/periods", page(&subscription))).await;
    browser.see("main h1", "Periods").await;
    assert_eq!(rows(&browser, PERIODS, &told).await.last().unwrap()[..], earlier);
    browser.click(&format!("{PERIODS} tbody tr:last-child [data-field=plan_id] a")).await;
    browser.see("main h1", "Gold").await;

    // A long life is read in pages.
    let daily = json!({"amount": 100, "currency": "USD", "interval": "day", "interval_count": 1});
    let daily = api.make_active_plan(daily).await;
    let daily = api.subscribe(&daily, json!({"start_at": in_ms(-14 * DAY_MS)})).await;
    run(&api).await;
    browser.visit(&page(&daily)).await;
    assert_eq!(rows(&browser, PERIODS, &["cost"]).await.len(), 12);
    browser.click(&format!("{PERIODS} [name=more]")).await;
    eventually("older periods are shown", async || {
        (rows(&browser, PERIODS, &["cost"]).await.len() == 15).then_some(())
    })
    .await;
    browser.close().await;
}

async fn the_next_invoices_are_those_that_billing_then_makes(server: Server) {
    let api = server.api();
    let subscription = subscribed(&api, 5).await;
    let browser = Browser::open(&server).await;
    browser.sign_in(ADMIN_KEY).await;
    let line = ["description", "amount"];
    let first = format!("{NEXT} .next:nth-of-type(1)");
    open(&browser, &page(&subscription)).await;
    browser.see(NEXT, "nothing is written").await;
    let whole = browser.text(&first).await;
    assert!(whole.find("Period start") < whole.find("Period end"), "{whole}");
    browser.see(&format!("{first} [data-field=balance_applied]"), "USD 0.00").await;
    let told = rows(&browser, &first, &line).await;
    let total = browser.text(&format!("{first} [data-field=total]")).await;
    let period = browser.text(&format!("{first} [data-field=period_start]")).await;
    assert_eq!(invoices(&api, &subscription).await, Vec::<Value>::new(), "it is only a preview");
    assert_eq!(api.read("subscriptions", &subscription).await, subscription);

    assert_eq!(run(&api).await["made"], 1);
    let made = invoices(&api, &subscription).await.remove(0);
    assert_eq!((told, total), (lines(&made), dollars(&made["total"])));
    browser.visit(&format!("/invoices/{}", id(&made))).await;
    browser.see("[data-field=period_start]", &period).await;

    // Then only the next period is left, and what an upgrade changes comes with it.
    open(&browser, &page(&subscription)).await;
    let next = rows(&browser, &first, &line).await;
    assert_eq!(next, lines(&made), "the same terms again");
    assert!(!browser.has(&format!("{NEXT} .next:nth-of-type(2)")).await);
    upgrade(&api, &subscription).await;
    open(&browser, &page(&subscription)).await;
    browser.see(&format!("{first} [data-field=total]"), "USD 40.00").await;
    let told = rows(&browser, &first, &line).await;
    let amounts: Vec<_> = told.iter().map(|line| line[1].as_str()).collect();
    assert_eq!(amounts, ["USD 30.00", "-USD 5.00", "USD 15.00"]);
    let path = format!("/v1{}/settle", page(&subscription));
    let now = version(&api.read("subscriptions", &subscription).await);
    let settled = api.post(&path, &json!({"version": now})).key(&unique("settle")).await.ok(201);
    assert_eq!(told[1..], lines(&settled["invoice"]), "the differences are settled");
    open(&browser, &page(&subscription)).await;
    browser.see(&format!("{first} [data-field=total]"), "USD 30.00").await;
    assert_eq!(rows(&browser, &first, &line).await, told[..1]);

    // What is to end at the end of its period is not invoiced any more.
    let flag = json!({"cancel_at_period_end": true});
    api.change("subscriptions", &subscription, flag).await;
    open(&browser, &page(&subscription)).await;
    browser.see(NEXT, "Nothing would be made").await;
    browser.close().await;
}

async fn a_subscription_is_settled_as_it_was_seen(server: Server) {
    let api = server.api();
    let agent = api.make_key("agent").await;
    let subscription = subscribed(&api, 5).await;
    run(&api).await;
    upgrade(&api, &subscription).await;
    let browser = Browser::open(&server).await;
    browser.sign_in(agent.key()).await;
    browser.visit(&page(&subscription)).await;
    browser.click("article > .bar a[href*=settle]").await;
    browser.see("section[aria-label='As it is now'] h2", "As it is at version 2").await;
    assert_eq!(invoices(&api, &subscription).await.len(), 1, "nothing was sent yet");

    // Another writer changes what it would charge.
    api.change("subscriptions", &subscription, json!({"quantity": 4})).await;
    browser.click(SAVE).await;
    let refused = browser.see("main .notice.bad", "was changed in the meantime").await;
    assert!(refused.contains("version 3") && refused.contains("Nothing was done"), "{refused}");
    browser.see(".differences", "Quantity").await;
    assert_eq!(invoices(&api, &subscription).await.len(), 1);
    browser.click(SAVE).await;
    let told = browser.see(NOTICE, "This made the invoice").await;
    let made = invoices(&api, &subscription).await.pop().expect("an invoice");
    assert!(told.contains(made["number"].as_str().unwrap()), "{told}");
    assert_eq!(browser.place().await, page(&subscription));
    let period = rows(&browser, PERIODS, &["cost", "charged", "difference"]).await.remove(0);
    assert_eq!(period, ["USD 35.00", "USD 35.00", "–"]);

    browser.click(&format!("{NOTICE} a")).await;
    browser.see("main h1", made["number"].as_str().unwrap()).await;
    browser.see("[data-field=total]", &dollars(&made["total"])).await;
    browser.visit(&format!("{}/settle?view=new", page(&subscription))).await;
    browser.see("main h2", "As it is at version").await;
    browser.click(SAVE).await;
    browser.see(NOTICE, "There was no invoice to make").await;
    assert_eq!(invoices(&api, &subscription).await.len(), 2);
    browser.close().await;
}

/// A workspace with USD 4.00, from an invoice below zero: its plan became a smaller one.
async fn credited(api: &Api) -> (String, Value) {
    let subscription = subscribed(api, 5).await;
    run(api).await;
    let small = json!({"amount": 100, "currency": "USD", "interval": "day", "interval_count": 3});
    let small = api.make_active_plan(small).await;
    api.change("subscriptions", &subscription, json!({"plan_id": id(&small)})).await;
    run(api).await;
    let made = invoices(api, &subscription).await;
    let negative = made.into_iter().find(|invoice| invoice["total"].as_i64() < Some(0));
    (workspace(&subscription), negative.expect("an invoice below zero"))
}

async fn adjust(api: &Api, workspace: &str, amount: i64, reason: &str) {
    let body = json!({"currency": "EUR", "amount": amount, "reason": reason});
    let path = format!("/v1{workspace}/balance/adjustments");
    api.post(&path, &body).key(&unique("adjust")).await.ok(201);
}

async fn a_workspace_shows_its_balances_and_what_moved_them(server: Server) {
    let api = server.api();
    let (workspace, negative) = credited(&api).await;
    adjust(&api, &workspace, 700, "downtime").await;
    adjust(&api, &workspace, -50, "counted again").await;
    let browser = Browser::open(&server).await;
    browser.sign_in(ADMIN_KEY).await;
    browser.visit(&workspace).await;
    let mut balances = rows(&browser, BALANCE, &["currency", "amount"]).await;
    balances.sort();
    assert_eq!(balances, [["EUR", "EUR 6.50"], ["USD", "USD 4.00"]]);
    // Newest first.
    let expected = [
        ["adjustment", "-EUR 0.50", "counted again", "admin"],
        ["adjustment", "EUR 7.00", "downtime", "admin"],
        ["invoice", "USD 4.00", "–", "admin"],
    ];
    let told = ["kind", "amount", "reason", "by"];
    assert_eq!(rows(&browser, TRANSACTIONS, &told).await, expected);
    let of_invoice = format!("{TRANSACTIONS} tbody tr:last-child [data-field=invoice_id] a");
    browser.click(&of_invoice).await;
    browser.see("main h1", negative["number"].as_str().unwrap()).await;
    browser.see("[data-field=balance_applied]", "-USD 4.00").await;

    // The balance and its transactions have pages of their own, which lead to each other.
    browser.visit(&workspace).await;
    browser.click(&format!("{BALANCE} h2 a")).await;
    browser.see("main h1", "Balance").await;
    assert_eq!(browser.place().await, format!("{workspace}/balance"));
    assert_eq!(rows(&browser, "section[aria-label='Transactions']", &told).await, expected);
    browser.visit(&format!("{workspace}/balance/transactions?currency=EUR&limit=1")).await;
    assert_eq!(rows(&browser, "main", &told).await, expected[..1]);
    browser.click("a[rel=next]").await;
    browser.see("main table", "downtime").await;
    assert_eq!(rows(&browser, "main", &told).await, expected[1..2]);
    browser.click("main .kind a").await;
    browser.see("main h1", "Balance").await;
    browser.close().await;
}

async fn an_admin_corrects_a_balance_with_a_reason(server: Server) {
    let api = server.api();
    let workspace = format!("/workspaces/{}", id(&api.make_workspace(json!({})).await));
    let browser = Browser::open(&server).await;
    browser.sign_in(ADMIN_KEY).await;
    browser.visit(&workspace).await;
    browser.see(TRANSACTIONS, "There is nothing here yet").await;
    browser.click(&format!("{BALANCE} a[href*=adjustments]")).await;
    browser.fill("#field-currency", "EUR").await;
    browser.fill("#field-amount", "700").await;
    browser.see("#hint-amount", "EUR 7.00").await;
    browser.fill("#field-reason", "Downtime 8812 – Zoë").await;
    browser.click(SAVE).await;
    browser.see(NOTICE, "Done").await;
    assert_eq!(rows(&browser, NOW, &["amount"]).await, [["EUR 7.00"]]);
    browser.click("article > p.bar a").await;
    browser.see("main table.list", "Downtime 8812 – Zoë").await;
    assert_eq!(browser.place().await, format!("{workspace}/balance"));

    browser.click("article > .bar a[href*=adjustments]").await;
    browser.fill("#field-currency", "EUR").await;
    browser.fill("#field-amount", "-701").await;
    browser.fill("#field-reason", "typed at length").await;
    browser.click(SAVE).await;
    let refused = browser.see("[data-code=INSUFFICIENT_BALANCE]", "Request ID").await;
    assert!(refused.contains("A balance cannot go below zero. Nothing was moved"), "{refused}");
    assert_eq!(browser.value("#field-reason").await, "typed at length");
    browser.fill("#field-amount", "-700").await;
    browser.click(SAVE).await;
    browser.see(NOTICE, "Done").await;
    assert_eq!(rows(&browser, NOW, &["amount"]).await, [["EUR 0.00"]]);
    let transactions = api.list(&format!("/v1{workspace}/balance/transactions")).await;
    let told: Vec<_> = transactions.iter().map(|one| (&one["amount"], &one["reason"])).collect();
    let (down, up) = (json!(-700), json!(700));
    let reasons = (json!("typed at length"), json!("Downtime 8812 – Zoë"));
    assert_eq!(told, [(&down, &reasons.0), (&up, &reasons.1)]);
    browser.close().await;
}

async fn what_callers_wrote_about_billing_is_text(server: Server) {
    let api = server.api();
    let hostile = "<script>window.harm = 1</script><img src=x onerror='window.harm = 2'>";
    let plan = plan(&api, "Gold", 1000).await;
    let plan = api.change("plans", &plan, json!({"name": hostile})).await;
    let subscription = api.subscribe(&plan, json!({})).await;
    let members = json!({"workspace_id": subscription["workspace_id"],
        "subscription_id": subscription["id"],
        "lines": [{"description": hostile, "quantity": 1, "unit_amount": 5}]});
    let invoice = api.make_invoice(members).await;
    run(&api).await;
    adjust(&api, &workspace(&subscription), 1, hostile).await;
    let browser = Browser::open(&server).await;
    browser.sign_in(ADMIN_KEY).await;
    browser.visit(&page(&subscription)).await;
    assert_eq!(rows(&browser, PERIODS, &["plan_id"]).await, [[hostile]]);
    browser.see(NEXT, "nothing is written").await;
    browser.visit(&workspace(&subscription)).await;
    assert_eq!(rows(&browser, TRANSACTIONS, &["reason"]).await, [[hostile]]);
    browser.visit(&format!("/invoices/{}", id(&invoice))).await;
    assert_eq!(rows(&browser, "[data-field=lines]", &["description"]).await, [[hostile]]);
    let by_hand = browser.text("[data-field=lines]").await;
    assert!(!by_hand.contains("Segment start"), "it has no period: {by_hand}");
    assert_eq!(browser.run("return window.harm ?? null", json!([])).await, Value::Null);
    assert_eq!(browser.run("return document.images.length", json!([])).await, 0);
    browser.close().await;
}

async fn only_those_who_may_act_are_offered_to(server: Server) {
    let api = server.api();
    let (agent, viewer) = (api.make_key("agent").await, api.make_key("viewer").await);
    let subscription = subscribed(&api, 5).await;
    run(&api).await;
    let workspace = workspace(&subscription);
    adjust(&api, &workspace, 700, "downtime").await;
    let actions =
        "main a[href*='view=new'], main a[href*='view=edit'], main a[href*='view=delete']";
    let browser = Browser::open(&server).await;
    browser.sign_in(viewer.key()).await;
    for (place, told) in [
        (page(&subscription), "Gold"),
        (format!("{}/periods", page(&subscription)), "Gold"),
        (workspace.clone(), "downtime"),
        (format!("{workspace}/balance"), "downtime"),
        (format!("{workspace}/balance/transactions"), "downtime"),
    ] {
        browser.visit(&place).await;
        browser.see("main", told).await;
        assert!(!browser.has(actions).await, "{place}");
        assert!(!browser.has(NEXT).await, "a preview is for those who may bill");
    }
    // The address can be typed all the same.
    browser.visit(&format!("{}/settle?view=new", page(&subscription))).await;
    browser.see(NOW, "As it is at version 1").await;
    browser.click(SAVE).await;
    browser.see("[data-code=FORBIDDEN]", "does not allow this").await;
    browser.close().await;

    let browser = Browser::open(&server).await;
    browser.sign_in(agent.key()).await;
    browser.visit(&page(&subscription)).await;
    browser.see(NEXT, "nothing is written").await;
    browser.text("article > .bar a[href*=settle]").await;
    browser.visit(&workspace).await;
    browser.see(TRANSACTIONS, "downtime").await;
    assert!(!browser.has(&format!("{BALANCE} .bar a")).await, "adjustments are for admins");
    browser.close().await;

    // A key of one workspace may see its periods and settle. It may not ask for previews.
    let body = json!({"name": unique("scoped"), "role": "agent",
        "workspace_id": subscription["workspace_id"]});
    let scoped = api.post("/v1/api-keys", &body).await.ok(201);
    let browser = Browser::open(&server).await;
    browser.sign_in(scoped["key"].as_str().unwrap()).await;
    browser.visit(&page(&subscription)).await;
    browser.see(PERIODS, "Gold").await;
    assert!(!browser.has(NEXT).await && !browser.has("main .notice.bad").await);
    browser.text("article > .bar a[href*=settle]").await;
    browser.close().await;
}
