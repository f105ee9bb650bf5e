//! Locks in the console: who holds them, for how long, and how an admin takes one away.

use super::NOTICE;
use crate::harness::{ADMIN_KEY, Api, Browser, Server, eventually, id, sqlite_only};
use serde_json::{Value, json};

sqlite_only![
    locks_are_shown_as_they_are_now,
    an_admin_takes_a_lock_from_its_holder_with_a_reason,
    what_cannot_be_forced_is_told_in_words,
];

const FORCE: &str = "form.card button.danger";

async fn acquire(api: &Api, key: &str, members: Value) -> Value {
    let body = crate::harness::with(json!({"ttl_ms": 600_000}), &members);
    api.post(&format!("/v1/locks/{key}/acquire"), &body).await.ok(201)
}

async fn release(api: &Api, grant: &Value) {
    let key = grant["key"].as_str().unwrap();
    let body = json!({"owner": grant["owner"]});
    api.post(&format!("/v1/locks/{key}/release"), &body).await.ok(200);
}

/// The text of a field in the row that shows `part`, as soon as there is one.
async fn cell(browser: &Browser, part: &str, field: &str) -> String {
    let script = "const row = [...document.querySelectorAll('main tbody tr')]\
        .find((row) => row.innerText.includes(arguments[0]));\
        return row?.querySelector(`[data-field=${arguments[1]}]`)?.innerText ?? null";
    let text: String = eventually(&format!("a row shows {part}"), async || {
        let found = browser.run(script, json!([part, field])).await;
        found.as_str().map(str::to_owned)
    })
    .await;
    text.trim().to_owned()
}

/// Waits until a field of a row has this text.
async fn shows(browser: &Browser, part: &str, field: &str, text: &str) {
    eventually(&format!("{field} of {part} is {text}"), async || {
        (cell(browser, part, field).await == text).then_some(())
    })
    .await;
}

async fn locks_are_shown_as_they_are_now(server: Server) {
    let api = server.api();
    let hostile = "<img src=x onerror='window.harm = 1'>";
    let workspace = api.make_workspace(json!({})).await;
    let held = acquire(&api, "nightly-bill", json!({"label": hostile})).await;
    let of_function = json!({"scope": "function", "function": "search", "label": "host 7"});
    acquire(&api, "rebuild", of_function).await;
    acquire(&api, "sync", json!({"workspace_id": id(&workspace), "label": "in a space"})).await;
    release(&api, &acquire(&api, "idle", json!({})).await).await;
    let waiter = api.clone();
    let waiter = tokio::spawn(async move {
        let wait = json!({"ttl_ms": 600_000, "wait_ms": 45_000, "label": "next in line"});
        waiter.post("/v1/locks/nightly-bill/acquire", &wait).await.ok(201)
    });

    let browser = Browser::open(&server).await;
    browser.sign_in(ADMIN_KEY).await;
    browser.click("nav.side a[href='#/locks']").await;
    browser.see("main table", hostile).await;
    browser.see("header.head .state", "Live").await;
    let fence = cell(&browser, hostile, "fence").await.replace(',', "");
    assert_eq!(fence, held["fence"].to_string());
    assert_eq!(cell(&browser, "host 7", "function").await, "search");
    assert_eq!(cell(&browser, "host 7", "waiters").await, "0");
    let space = cell(&browser, "in a space", "workspace_id").await;
    assert!(id(&workspace).ends_with(space.trim_start_matches("wsp_…")), "{space}");
    assert_eq!(cell(&browser, "idle", "locked").await, "No");
    assert_eq!(cell(&browser, "idle", "ttl_remaining_ms").await, "–");
    let first = cell(&browser, hostile, "ttl_remaining_ms").await;
    assert!(first.starts_with("9 min") || first == "10 min 0 s", "{first}");
    eventually("the time counts down", async || {
        (cell(&browser, hostile, "ttl_remaining_ms").await != first).then_some(())
    })
    .await;

    // The page reads again by itself.
    shows(&browser, hostile, "waiters", "1").await;
    release(&api, &held).await;
    let next = waiter.await.unwrap();
    shows(&browser, "next in line", "waiters", "0").await;
    let fence = cell(&browser, "next in line", "fence").await.replace(',', "");
    assert_eq!(fence, next["fence"].to_string());

    let page = browser.run("return document.documentElement.outerHTML", json!([])).await;
    for grant in [&held, &next] {
        assert!(!page.as_str().unwrap().contains(grant["owner"].as_str().unwrap()));
    }
    assert_eq!(browser.run("return window.harm ?? null", json!([])).await, Value::Null);
    assert_eq!(browser.run("return document.images.length", json!([])).await, 0);

    browser.choose("select[name=locked]", "true").await;
    eventually("only held locks are shown", async || {
        let table = browser.text("main table").await;
        (table.contains("host 7") && !table.contains("idle")).then_some(())
    })
    .await;
    assert_eq!(browser.place().await, "/locks?locked=true");
    browser.close().await;
}

async fn an_admin_takes_a_lock_from_its_holder_with_a_reason(server: Server) {
    let api = server.api();
    acquire(&api, "rebuild", json!({"label": "the global one"})).await;
    let of_function = json!({"scope": "function", "function": "search", "label": "host 7"});
    let held = acquire(&api, "rebuild", of_function).await;
    let browser = Browser::open(&server).await;
    browser.sign_in(ADMIN_KEY).await;
    browser.visit("/locks").await;
    browser.see("main table", "host 7").await;
    browser.click("a.danger[href*='rebuild/force-release?scope=function&function=search']").await;
    browser.see("section.card [data-field=label]", "host 7").await;
    browser.text(&format!("{FORCE}:disabled")).await;
    browser.fill("#field-reason", "Host 7 is on fire – Zoë").await;
    browser.fill("#field-cooldown_ms", "a minute").await;
    browser.click(FORCE).await;
    browser.see("#error-cooldown_ms", "must be a whole number").await;
    browser.fill("#field-cooldown_ms", "-1").await;
    browser.click(FORCE).await;
    browser.see("[data-code=VALIDATION_FAILED]", "Nothing was saved").await;
    browser.fill("#field-cooldown_ms", "600000").await;
    browser.click(FORCE).await;
    browser.see(NOTICE, "Done").await;

    let path = "/v1/locks/rebuild?scope=function&function=search";
    let now = api.get(path).await.ok(200);
    assert_eq!(now["locked"], false);
    assert!(now["fence"].as_i64() > held["fence"].as_i64(), "{now}");
    assert!(now["cooldown_until"].is_string(), "{now}");
    assert_eq!(api.get("/v1/locks/rebuild").await.ok(200)["locked"], true, "another lock");
    let audit = api.list("/v1/audit?type=force_release").await;
    let [record] = &audit[..] else { panic!("one record: {audit:?}") };
    assert_eq!(record["reason"], "Host 7 is on fire – Zoë");

    browser.click("article > p.bar a").await;
    browser.see("main table", "the global one").await;
    assert_eq!(browser.place().await, "/locks");
    let page = browser.run("return document.documentElement.outerHTML", json!([])).await;
    assert!(!page.as_str().unwrap().contains(held["owner"].as_str().unwrap()));
    assert!(!browser.has("a.danger[href*='function=search']").await, "nobody holds it now");
    assert!(cell(&browser, "search", "cooldown_until").await.ends_with("UTC"));
    browser.close().await;
}

async fn what_cannot_be_forced_is_told_in_words(server: Server) {
    let api = server.api();
    let agent = api.make_key("agent").await;
    let held = acquire(&api, "rebuild", json!({"label": "host 7"})).await;
    let browser = Browser::open(&server).await;
    browser.sign_in(agent.key()).await;
    browser.visit("/locks").await;
    browser.see("main table", "host 7").await;
    assert!(!browser.has("main td.actions a").await, "others do not see the button");

    // The address can be typed all the same.
    let form = "/locks/rebuild/force-release?view=new";
    browser.visit(form).await;
    browser.fill("#field-reason", "impatience").await;
    browser.click(FORCE).await;
    browser.see("[data-code=FORBIDDEN]", "does not allow this").await;
    assert_eq!(browser.value("#field-reason").await, "impatience", "the input is kept");
    assert_eq!(api.get("/v1/locks/rebuild").await.ok(200)["locked"], true);
    browser.close().await;

    let browser = Browser::open(&server).await;
    browser.sign_in(ADMIN_KEY).await;
    browser.visit(form).await;
    browser.see("section.card [data-field=locked]", "Yes").await;
    release(&api, &held).await;
    browser.see("section.card [data-field=locked]", "No").await;
    browser.fill("#field-reason", "it hangs").await;
    browser.click(FORCE).await;
    browser.see("[data-code=LOCK_NOT_FOUND]", "Nobody holds it any more").await;
    browser.close().await;
}
