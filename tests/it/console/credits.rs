//! Credits in the console: balances, transfers, and reservations that wait for a person.

use super::{NOTICE, SAVE};
use crate::harness::{ADMIN_KEY, Api, Browser, Server, eventually, id, sqlite_only};
use serde_json::{Value, json};

sqlite_only![
    an_operator_sees_balances_and_transfers_newest_first,
    pending_reservations_are_listed_oldest_first_with_their_age,
    an_admin_tops_up_and_adjusts_with_a_reason,
    a_reservation_is_posted_in_part_and_another_is_voided,
    a_refusal_is_told_in_words_and_keeps_what_was_typed,
    what_callers_wrote_about_credits_is_text,
    a_viewer_is_offered_no_action,
];

const CREDITS: &str = "section[aria-label='Credits']";
const PENDING: &str = "section[aria-label='Credits / reservations']";
const TRANSFERS: &str = "section[aria-label='Credits / transfers']";
const NOW: &str = "section[aria-label='As it is now']";

/// A workspace with these credits, as `/workspaces/wsp_…`. The API has it below `/v1`.
async fn rich(api: &Api, credits: i64) -> String {
    let workspace = api.make_workspace(json!({})).await;
    let path = format!("/workspaces/{}", id(&workspace));
    let body = json!({"amount": credits, "reason": "bought"});
    api.post(&format!("/v1{path}/credits/topups"), &body).await.ok(201);
    path
}

async fn reserve(api: &Api, workspace: &str, amount: i64, what: &str) -> Value {
    let body = json!({"amount": amount, "ref": what});
    api.post(&format!("/v1{workspace}/credits/reservations"), &body).await.ok(201)
}

/// What is available and what is reserved.
async fn credits(api: &Api, workspace: &str) -> (i64, i64) {
    let now = api.get(&format!("/v1{workspace}/credits")).await.ok(200);
    (now["available"].as_i64().unwrap(), now["reserved"].as_i64().unwrap())
}

/// The texts of a field in all rows below `css`, as soon as there are rows.
async fn column(browser: &Browser, css: &str, field: &str) -> Vec<String> {
    let script = "return [...document.querySelectorAll(`${arguments[0]} tbody tr`)]\
        .map((row) => row.querySelector(`[data-field=${arguments[1]}]`).innerText.trim())";
    eventually(&format!("{css} has rows"), async || {
        let texts = browser.run(script, json!([css, field])).await;
        let texts: Vec<String> = serde_json::from_value(texts).expect("texts");
        (!texts.is_empty()).then_some(texts)
    })
    .await
}

async fn an_operator_sees_balances_and_transfers_newest_first(server: Server) {
    let api = server.api();
    let workspace = rich(&api, 12_345).await;
    let first = reserve(&api, &workspace, 1_000, "job 1").await;
    reserve(&api, &workspace, 345, "job 2").await;
    let path = format!("/v1/reservations/{}/post", id(&first));
    api.post(&path, &json!({"amount": 600})).await.ok(200);

    let browser = Browser::open(&server).await;
    browser.sign_in(ADMIN_KEY).await;
    browser.visit(&workspace).await;
    browser.see(&format!("{CREDITS} [data-field=available]"), "11,400").await;
    browser.see(&format!("{CREDITS} [data-field=reserved]"), "345").await;
    let kinds = column(&browser, TRANSFERS, "kind").await;
    assert_eq!(kinds, ["post", "reserve", "reserve", "topup"]);
    let amounts = column(&browser, TRANSFERS, "amount").await;
    assert_eq!(amounts, ["600", "345", "1,000", "12,345"]);
    let reasons = column(&browser, TRANSFERS, "reason").await;
    assert_eq!(reasons, ["–", "–", "–", "bought"]);
    assert_eq!(column(&browser, TRANSFERS, "by").await[0], "admin");
    assert!(column(&browser, TRANSFERS, "at").await[0].ends_with("UTC"));

    // A transfer leads to its reservation.
    browser.click(&format!("{TRANSFERS} tbody tr:first-child [data-field=reservation_id] a")).await;
    browser.see("header.object .badge", "posted").await;
    browser.see("[data-field=posted]", "600").await;
    assert_eq!(browser.place().await, format!("/reservations/{}", id(&first)));
    assert!(!browser.has("article > .bar a").await, "it is resolved only once");

    // The credits have a page of their own, and lists have pages.
    browser.visit(&workspace).await;
    browser.click(&format!("{CREDITS} h2 a")).await;
    browser.see("main h1", "Credits").await;
    browser.see("[data-field=available]", "11,400").await;
    browser.visit(&format!("{workspace}/credits/transfers?limit=3")).await;
    assert_eq!(column(&browser, "main", "kind").await, kinds[..3]);
    browser.click("a[rel=next]").await;
    browser.see("main table", "bought").await;
    assert_eq!(column(&browser, "main", "kind").await, kinds[3..]);
    browser.close().await;
}

async fn pending_reservations_are_listed_oldest_first_with_their_age(mut server: Server) {
    let api = server.api();
    let workspace = rich(&api, 1_000).await;
    let forgotten = reserve(&api, &workspace, 40, "forgotten").await;
    let over_two_days = 2 * 24 * 60 * 60 + 3 * 60 * 60 + 30;
    let then = ifmatch::Timestamp::now().as_micros() - over_two_days * 1_000_000;
    server.stop().await;
    server.database().execute(&format!("UPDATE reservations SET created_at = {then}"));
    server.restart().await;
    let api = server.api();
    let resolved = reserve(&api, &workspace, 50, "resolved").await;
    api.post(&format!("/v1/reservations/{}/void", id(&resolved)), &json!({})).await.ok(200);
    for n in 1..=10 {
        reserve(&api, &workspace, n, &format!("job {n}")).await;
    }

    let browser = Browser::open(&server).await;
    browser.sign_in(ADMIN_KEY).await;
    // The age counts from the server's clock. This machine's may be wrong.
    let wrong_clock = "const now = Date.now; Date.now = () => now() + 1e10";
    browser.run(wrong_clock, json!([])).await;
    browser.visit(&workspace).await;
    let pending = column(&browser, PENDING, "ref").await;
    assert_eq!(pending.len(), 10);
    assert_eq!(pending[..3], ["forgotten", "job 1", "job 2"]);
    let ages = column(&browser, PENDING, "age").await;
    assert!(ages[0].starts_with("2 d 3 h "), "{ages:?}");
    assert!(ages[1].ends_with(" s") && !ages[1].contains('h'), "{ages:?}");

    // All of them are on a page of their own, which reads again by itself.
    browser.click(&format!("{PENDING} > p:first-of-type a")).await;
    browser.see("main h1", "Reservations").await;
    browser.see("header.head .state", "Live").await;
    assert_eq!(browser.place().await, format!("{workspace}/credits/reservations?status=pending"));
    assert_eq!(column(&browser, "main", "ref").await.len(), 11);
    let first = column(&browser, "main", "age").await.remove(1);
    eventually("the age counts up", async || {
        (column(&browser, "main", "age").await[1] != first).then_some(())
    })
    .await;
    api.post(&format!("/v1/reservations/{}/void", id(&forgotten)), &json!({})).await.ok(200);
    eventually("a resolved one is gone", async || {
        (column(&browser, "main", "ref").await[0] == "job 1").then_some(())
    })
    .await;
    browser.visit(&format!("{workspace}/credits/reservations?status=pending&limit=9")).await;
    browser.click("a[rel=next]").await;
    browser.see("main table", "job 10").await;
    assert_eq!(column(&browser, "main", "ref").await, ["job 10"]);

    // The resolved ones can be looked up. They have no age and no action.
    browser.choose("select[name=status]", "voided").await;
    browser.see("main table", "resolved").await;
    assert_eq!(column(&browser, "main", "age").await, ["–", "–"]);
    assert!(!browser.has("td.actions a").await, "they are resolved only once");
    browser.close().await;
}

async fn an_admin_tops_up_and_adjusts_with_a_reason(server: Server) {
    let api = server.api();
    let workspace = rich(&api, 100).await;
    let browser = Browser::open(&server).await;
    browser.sign_in(ADMIN_KEY).await;
    browser.visit(&workspace).await;
    browser.click(&format!("{CREDITS} a[href*=topups]")).await;
    browser.see("main h1", "Add credits to a workspace").await;
    browser.see(&format!("{NOW} [data-field=available]"), "100").await;
    browser.fill("#field-amount", "1000").await;
    browser.fill("#field-reason", "Invoice 8812 – Zoë").await;
    browser.click(SAVE).await;
    browser.see(NOTICE, "Done").await;
    browser.see(&format!("{NOW} [data-field=available]"), "1,100").await;
    browser.click("article > p.bar a").await;
    browser.see("[data-field=available]", "1,100").await;
    assert_eq!(browser.place().await, format!("{workspace}/credits"));

    browser.click("article > .bar a[href*=adjustments]").await;
    browser.fill("#field-amount", "-250").await;
    browser.fill("#field-reason", "counted again").await;
    browser.click(SAVE).await;
    browser.see(NOTICE, "Done").await;
    browser.see(&format!("{NOW} [data-field=available]"), "850").await;

    assert_eq!(credits(&api, &workspace).await, (850, 0));
    let transfers = api.list(&format!("/v1{workspace}/credits/transfers")).await;
    let told: Vec<_> = transfers.iter().map(|one| (&one["amount"], &one["reason"])).collect();
    let expected = [
        (&json!(-250), &json!("counted again")),
        (&json!(1000), &json!("Invoice 8812 – Zoë")),
        (&json!(100), &json!("bought")),
    ];
    assert_eq!(told, expected);
    browser.close().await;
}

async fn a_reservation_is_posted_in_part_and_another_is_voided(server: Server) {
    let api = server.api();
    let agent = api.make_key("agent").await;
    let workspace = rich(&api, 100).await;
    let posted = reserve(&api, &workspace, 30, "job 1").await;
    let voided = reserve(&api, &workspace, 20, "job 2").await;
    let browser = Browser::open(&server).await;
    browser.sign_in(agent.key()).await;
    browser.visit(&workspace).await;
    browser.click(&format!("{PENDING} a[href*='{}/post']", id(&posted))).await;
    browser.see("main h1", "Post a reservation").await;
    browser.see(&format!("{NOW} [data-field=amount]"), "30").await;
    let told = "Charge all of it, or a part and give the rest back. This cannot be undone.";
    browser.see("article > p", told).await;
    assert_eq!(credits(&api, &workspace).await, (50, 50), "nothing was sent yet");
    browser.fill("#field-amount", "12").await;
    browser.click(SAVE).await;
    browser.see(NOTICE, "Done").await;
    browser.see(&format!("{NOW} [data-field=status]"), "posted").await;
    browser.see(&format!("{NOW} [data-field=posted]"), "12").await;
    assert_eq!(credits(&api, &workspace).await, (68, 20));

    browser.visit(&format!("/reservations/{}", id(&voided))).await;
    browser.click("article > .bar a[href*=void]").await;
    browser.see("main h1", "Void a reservation").await;
    let told = "Make all its credits available again. This cannot be undone.";
    browser.see("article > p", told).await;
    browser.click(SAVE).await;
    browser.see(NOTICE, "Done").await;
    browser.see(&format!("{NOW} [data-field=status]"), "voided").await;
    assert_eq!(credits(&api, &workspace).await, (88, 0));
    browser.visit(&workspace).await;
    browser.see(PENDING, "Nothing is pending").await;
    browser.close().await;
}

async fn a_refusal_is_told_in_words_and_keeps_what_was_typed(server: Server) {
    let api = server.api();
    let workspace = rich(&api, 100).await;
    let reserved = reserve(&api, &workspace, 30, "job 1").await;
    let browser = Browser::open(&server).await;
    browser.sign_in(ADMIN_KEY).await;
    browser.visit(&format!("{workspace}/credits/adjustments?view=new")).await;
    browser.fill("#field-amount", "-71").await;
    browser.fill("#field-reason", "typed at length").await;
    browser.click(SAVE).await;
    let refused = browser.see("[data-code=INSUFFICIENT_CREDITS]", "Request ID").await;
    assert!(refused.contains("What is reserved cannot be spent either"), "{refused}");
    assert!(refused.contains("71 credits are needed and 70 are available"), "{refused}");
    assert_eq!(browser.value("#field-amount").await, "-71");
    assert_eq!(browser.value("#field-reason").await, "typed at length");
    browser.fill("#field-amount", "-70").await;
    browser.click(SAVE).await;
    browser.see(NOTICE, "Done").await;
    assert_eq!(credits(&api, &workspace).await, (0, 30));

    browser.visit(&format!("/reservations/{}/post?view=new", id(&reserved))).await;
    browser.see(&format!("{NOW} [data-field=status]"), "pending").await;
    browser.fill("#field-amount", "31").await;
    browser.click(SAVE).await;
    let refused = browser.see("[data-code=EXCEEDS_RESERVATION]", "Request ID").await;
    assert!(refused.contains("Nothing was charged"), "{refused}");
    assert_eq!(browser.value("#field-amount").await, "31");

    // Meanwhile somebody else resolves it.
    api.post(&format!("/v1/reservations/{}/post", id(&reserved)), &json!({})).await.ok(200);
    browser.fill("#field-amount", "29").await;
    browser.click(SAVE).await;
    let refused = browser.see("[data-code=RESERVATION_ALREADY_POSTED]", "Request ID").await;
    assert!(refused.contains("A reservation is resolved only once"), "{refused}");
    assert_eq!(browser.value("#field-amount").await, "29");
    browser.see(&format!("{NOW} [data-field=status]"), "posted").await;
    assert_eq!(credits(&api, &workspace).await, (0, 0));
    // What was typed is not sent, so leaving asks.
    browser.visit(&workspace).await;
    assert!(browser.answer_dialog(true).await.contains("not saved"));
    browser.see(CREDITS, "Available").await;
    browser.close().await;
}

async fn what_callers_wrote_about_credits_is_text(server: Server) {
    let api = server.api();
    let hostile = "<script>window.harm = 1</script><img src=x onerror='window.harm = 2'>";
    let workspace = rich(&api, 100).await;
    let body = json!({"amount": 1, "reason": hostile});
    let topup = api.post(&format!("/v1{workspace}/credits/topups"), &body).await.ok(201);
    let reserved = reserve(&api, &workspace, 30, hostile).await;
    let browser = Browser::open(&server).await;
    browser.sign_in(ADMIN_KEY).await;
    browser.visit(&workspace).await;
    assert_eq!(column(&browser, PENDING, "ref").await, [hostile]);
    assert_eq!(column(&browser, TRANSFERS, "ref").await[0], hostile);
    assert_eq!(column(&browser, TRANSFERS, "reason").await[1], hostile);
    let reservation = format!("/reservations/{}", id(&reserved));
    browser.visit(&reservation).await;
    browser.see("[data-field=ref]", hostile).await;
    browser.visit(&format!("{workspace}/credits/transfers/{}", id(&topup))).await;
    browser.see("[data-field=reason]", hostile).await;
    browser.visit(&format!("{reservation}/void?view=new")).await;
    browser.see(&format!("{NOW} [data-field=ref]"), hostile).await;
    browser.click(SAVE).await;
    browser.see(NOTICE, "Done").await;
    browser.see("article > .card [data-field=ref]", hostile).await;
    assert_eq!(browser.run("return window.harm ?? null", json!([])).await, Value::Null);
    assert_eq!(browser.run("return document.images.length", json!([])).await, 0);
    browser.close().await;
}

async fn a_viewer_is_offered_no_action(server: Server) {
    let api = server.api();
    let (agent, viewer) = (api.make_key("agent").await, api.make_key("viewer").await);
    let workspace = rich(&api, 100).await;
    let reserved = reserve(&api, &workspace, 30, "job 1").await;
    let actions =
        "main a[href*='view=new'], main a[href*='view=edit'], main a[href*='view=delete']";
    let browser = Browser::open(&server).await;
    browser.sign_in(viewer.key()).await;
    for place in [
        workspace.clone(),
        format!("{workspace}/credits"),
        format!("{workspace}/credits/reservations"),
        format!("/reservations/{}", id(&reserved)),
    ] {
        browser.visit(&place).await;
        browser.see("main", "job 1").await;
        assert!(!browser.has(actions).await, "{place}");
    }
    // The address can be typed all the same.
    browser.visit(&format!("/reservations/{}/post?view=new", id(&reserved))).await;
    browser.fill("#field-amount", "12").await;
    browser.click(SAVE).await;
    browser.see("[data-code=FORBIDDEN]", "does not allow this").await;
    assert_eq!(browser.value("#field-amount").await, "12");
    browser.close().await;

    let browser = Browser::open(&server).await;
    browser.sign_in(agent.key()).await;
    browser.visit(&workspace).await;
    browser.text(&format!("{PENDING} td.actions a")).await;
    assert!(!browser.has(&format!("{CREDITS} .bar a")).await, "these are for admins");
    assert_eq!(credits(&api, &workspace).await, (70, 30));
    browser.close().await;
}
