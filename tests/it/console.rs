//! The console in a real browser: what operators and agents do, and that no input is lost.

use crate::harness::{
    ADMIN_KEY, Api, Browser, Server, both_databases, eventually, id,
    proxy::{Fault, Proxy},
    sqlite_only, version,
};
use serde_json::{Value, json};

mod billing;
mod credits;
mod locks;
mod servers;

both_databases![a_plan_is_created_found_and_edited, changes_of_different_fields_are_both_kept,];

// The page sees the API only.
sqlite_only![
    the_same_field_is_a_persons_decision_for_each_path,
    an_admin_forces_after_seeing_what_that_overwrites,
];
sqlite_only![
    a_bad_key_is_refused_and_a_good_one_is_forgotten_at_sign_out,
    a_viewer_is_told_what_it_may_not_do,
    a_key_that_ends_takes_nothing_with_it_that_was_typed,
    what_people_wrote_is_text_everywhere,
    leaving_what_was_typed_asks_and_an_old_version_comes_back_into_the_form,
    a_save_without_an_answer_is_sent_again_as_it_was,
    a_delete_names_its_version_and_a_changed_object_stays,
    keys_are_shown_once_and_every_collection_opens,
    the_logic_of_the_page_holds,
];

const SAVE: &str = "form.card button.primary";
const NOTICE: &str = ".notice.good";

/// An object, with its path in the API and its address in the console.
struct Place {
    object: Value,
    path: String,
    console: String,
}

impl Place {
    fn of(collection: &str, object: Value) -> Self {
        let console = format!("/{collection}/{}", id(&object));
        Self { path: format!("/v1{console}"), console, object }
    }

    async fn subscription(api: &Api) -> Self {
        Self::of("subscriptions", api.make_subscription(json!({"quantity": 5})).await)
    }

    async fn now(&self, api: &Api) -> Value {
        api.get(&self.path).await.ok(200)
    }

    fn edit(&self) -> String {
        format!("{}?view=edit", self.console)
    }
}

/// Opens the form of an object and waits until it is there.
async fn open_form(browser: &Browser, place: &Place) {
    browser.visit(&place.edit()).await;
    browser.see("header.object", "From version").await;
    browser.text(SAVE).await;
}

async fn a_bad_key_is_refused_and_a_good_one_is_forgotten_at_sign_out(server: Server) {
    let browser = Browser::open(&server).await;
    browser.see(".ready", "Ready").await;
    browser.fill("#key", "not a key").await;
    browser.click("form.sign-in button").await;
    let refused = browser.see("[data-code=UNAUTHENTICATED]", "Request ID").await;
    assert!(refused.contains("does not accept this API key"), "{refused}");
    assert!(!browser.has("nav.side").await);

    browser.sign_in(ADMIN_KEY).await;
    browser.see("nav.side", "Audit").await;
    let everywhere = "return [location.href, document.cookie, JSON.stringify(localStorage)].join()";
    let everywhere = browser.run(everywhere, json!([])).await;
    assert!(!everywhere.to_string().contains(ADMIN_KEY), "{everywhere}");
    browser.click("[name=sign-out]").await;
    browser.see("form.sign-in", "API key").await;
    assert_eq!(browser.run("return sessionStorage.length", json!([])).await, 0);
    browser.close().await;
}

async fn a_plan_is_created_found_and_edited(server: Server) {
    let api = server.api();
    let browser = Browser::open(&server).await;
    browser.fill("#on_behalf_of", "Zoë").await;
    browser.sign_in(ADMIN_KEY).await;
    browser.visit("/plans?view=new").await;
    for (field, text) in
        [("code", "gold"), ("name", "Gold"), ("currency", "JPY"), ("amount", "much")]
    {
        browser.fill(&format!("#field-{field}"), text).await;
    }
    browser.choose("#field-interval", "month").await;
    browser.click(SAVE).await;
    browser.see("#error-amount", "must be a whole number").await;
    browser.fill("#field-amount", "-1").await;
    browser.click(SAVE).await;
    browser.see("[data-code=VALIDATION_FAILED]", "Nothing was saved").await;
    browser.see("#error-amount", "-1").await;
    assert_eq!(browser.value("#field-name").await, "Gold", "the input is kept");
    browser.fill("#field-amount", "1200").await;
    browser.click(SAVE).await;
    browser.see(NOTICE, "Created").await;
    browser.see("[data-field=amount]", "JPY 1,200").await;

    let plans = api.list("/v1/plans?status=draft").await;
    let [plan] = &plans[..] else { panic!("one plan: {plans:?}") };
    let place = Place::of("plans", plan.clone());
    browser.visit("/workspaces").await;
    browser.see("main h1", "Workspaces").await;
    browser.fill("#jump", id(plan)).await;
    browser.click("#jump").await;
    browser.run("document.querySelector('form.jump').requestSubmit()", json!([])).await;
    browser.see("main h1", "Gold").await;
    assert_eq!(browser.place().await, place.console);

    open_form(&browser, &place).await;
    assert!(!browser.has("#field-code").await, "a field set at creation is not in the form");
    browser.fill("#field-name", "Golden").await;
    browser.click(SAVE).await;
    browser.see(NOTICE, "This is version 2").await;
    let history = api.history(&place.path).await;
    let changes = json!([{"path": "/name", "from": "Gold", "to": "Golden"}]);
    assert_eq!(history[1]["changes"], changes, "only changed fields are sent");
    assert_eq!(history[1]["by"]["on_behalf_of"], "Zoë");
    open_form(&browser, &place).await;
    browser.click(SAVE).await;
    browser.see("main", "You have not changed anything").await;
    browser.close().await;
}

async fn changes_of_different_fields_are_both_kept(server: Server) {
    let api = server.api();
    let (billing, key) = api.make_named_key("agent").await;
    let place = Place::subscription(&api).await;
    let browser = Browser::open(&server).await;
    browser.sign_in(ADMIN_KEY).await;
    open_form(&browser, &place).await;
    browser.fill("#field-notes", "Called back at noon").await;

    // The open form shows the other writer's change.
    let other = billing.patch(&place.path, &json!({"quantity": 7})).if_match(1);
    other.header("X-On-Behalf-Of", "maria").await.ok(200);
    let news = browser.see(".notice.news", "Changed to version 2").await;
    assert!(news.contains(&format!("{} for maria", key["name"].as_str().unwrap())), "{news}");
    browser.click(".notice.news button").await;
    browser.see(".differences", "Quantity").await;

    browser.click(SAVE).await;
    browser.see(".conflict[data-verdict=clean]", "different fields").await;
    assert_eq!(place.now(&api).await["version"], 2, "nothing was sent yet");
    browser.see("[data-path='/quantity']", "changed by them").await;
    browser.see("[data-path='/quantity']", "maria, version 2").await;
    browser.see("[data-path='/notes']", "Called back at noon").await;
    // Another writer changes a third field before the conflict is resolved.
    billing.patch(&place.path, &json!({"metadata": {"team": "north"}})).if_match(2).await.ok(200);
    browser.click("[name=resolve]").await;
    browser.see(NOTICE, "Merged with what others changed since version 1").await;
    let now = place.now(&api).await;
    assert_eq!(
        (&now["notes"], &now["quantity"], &now["metadata"]["team"], version(&now)),
        (&json!("Called back at noon"), &json!(7), &json!("north"), 4)
    );
    assert_eq!(api.history(&place.path).await[3]["kind"], "merged");
    browser.close().await;
}

async fn the_same_field_is_a_persons_decision_for_each_path(server: Server) {
    let api = server.api();
    let agent = api.make_key("agent").await;
    let place = Place::subscription(&api).await;
    let browser = Browser::open(&server).await;
    browser.sign_in(agent.key()).await;
    open_form(&browser, &place).await;
    browser.fill("#field-quantity", "6").await;
    browser.fill("#field-notes", "mine").await;
    browser.fill("#field-metadata", "{\"mine\": \"yes\"}").await;
    api.patch(&place.path, &json!({"quantity": 9, "notes": "theirs"})).if_match(1).await.ok(200);
    browser.click(SAVE).await;
    browser.see(".conflict[data-verdict=overlap]", "the same field").await;
    browser.see("[data-path='/notes']", "needs a decision").await;
    browser.see("[data-path='/metadata/mine']", "changed by you").await;
    assert!(!browser.has(".force").await, "force is for admins");
    browser.click("[data-path='/quantity'] input[value=mine]").await;
    browser.see("[name=resolve]:disabled", "Choose first").await;
    browser.click("[data-path='/notes'] input[value=theirs]").await;

    // Another write wins again, and the same view opens with the newer state.
    api.patch(&place.path, &json!({"quantity": 10})).if_match(2).await.ok(200);
    browser.click("[name=resolve]").await;
    browser.see("[data-current]", "3").await;
    browser.see("[data-path='/quantity']", "needs a decision").await;
    assert!(!browser.has("[data-path='/notes']").await, "their value was chosen");
    assert_eq!(place.now(&api).await["version"], 3);
    browser.click("[data-path='/quantity'] input[value=mine]").await;
    browser.click("[name=resolve]").await;
    browser.see(NOTICE, "This is version 4").await;
    let now = place.now(&api).await;
    assert_eq!(
        (&now["quantity"], &now["notes"], &now["metadata"]),
        (&json!(6), &json!("theirs"), &json!({"mine": "yes"}))
    );

    // An open conflict can also be taken back into the form.
    open_form(&browser, &place).await;
    browser.fill("#field-notes", "both").await;
    api.patch(&place.path, &json!({"notes": "they again", "quantity": 11}))
        .if_match(4)
        .await
        .ok(200);
    browser.click(SAVE).await;
    browser.click("[data-path='/notes'] input[value=mine]").await;
    browser.click(".conflict .bar button:nth-of-type(2)").await;
    browser.see("header.object", "From version 5").await;
    assert_eq!(browser.value("#field-notes").await, "both");
    assert_eq!(browser.value("#field-quantity").await, "11");
    browser.click(SAVE).await;
    browser.see(NOTICE, "This is version 6").await;
    assert_eq!(place.now(&api).await["notes"], "both");
    browser.close().await;
}

async fn an_admin_forces_after_seeing_what_that_overwrites(server: Server) {
    let api = server.api();
    let place = Place::subscription(&api).await;
    let browser = Browser::open(&server).await;
    browser.sign_in(ADMIN_KEY).await;
    open_form(&browser, &place).await;
    browser.fill("#field-quantity", "6").await;
    api.patch(&place.path, &json!({"quantity": 9})).if_match(1).await.ok(200);
    browser.click(SAVE).await;
    browser.click(".force summary").await;
    assert!(!browser.has("[name=force]").await, "the preview comes first");
    browser.fill("#force-reason", "Chargeback 8812 – Zoë").await;
    browser.click("[name=preview]").await;
    let preview = browser.see(".preview", "At version 2 this would overwrite").await;
    assert!(preview.contains('9') && preview.contains('6'), "{preview}");
    assert_eq!(place.now(&api).await["version"], 2, "a preview writes nothing");
    assert!(api.audit("forced_write", id(&place.object)).await.is_empty());
    browser.click("[name=force]").await;
    browser.see(NOTICE, "Forced").await;
    assert_eq!(place.now(&api).await["quantity"], 6);
    let audit = api.audit("forced_write", id(&place.object)).await;
    let [record] = &audit[..] else { panic!("one record: {audit:?}") };
    assert_eq!(record["reason"], "Chargeback 8812 – Zoë");
    assert_eq!(record["expected_version"], 1);
    assert_eq!(record["changes"], json!([{"path": "/quantity", "from": 9, "to": 6}]));
    browser.visit("/audit?type=forced_write").await;
    browser.see("main table", "Chargeback 8812 – Zoë").await;
    browser.visit(&format!("{}/history", place.console)).await;
    browser.see("[data-version='3']", "Reason: ").await;
    browser.close().await;
}

async fn a_viewer_is_told_what_it_may_not_do(server: Server) {
    let api = server.api();
    let viewer = api.make_key("viewer").await;
    let place = Place::subscription(&api).await;
    let browser = Browser::open(&server).await;
    browser.sign_in(viewer.key()).await;
    assert!(!browser.text("nav.side").await.contains("Audit"));
    open_form(&browser, &place).await;
    browser.fill("#field-notes", "typed at length").await;
    browser.click(SAVE).await;
    let refused = browser.see("[data-code=FORBIDDEN]", "Request ID").await;
    assert!(refused.contains("role agent, the key has viewer"), "{refused}");
    assert_eq!(browser.value("#field-notes").await, "typed at length");
    assert_eq!(place.now(&api).await, place.object);
    browser.close().await;
}

async fn a_key_that_ends_takes_nothing_with_it_that_was_typed(server: Server) {
    let api = server.api();
    let (agent, key) = api.make_named_key("agent").await;
    let place = Place::subscription(&api).await;
    let browser = Browser::open(&server).await;
    browser.sign_in(agent.key()).await;
    open_form(&browser, &place).await;
    browser.fill("#field-notes", "typed at length").await;
    api.delete(&format!("/v1/api-keys/{}", id(&key))).await.ok(200);
    browser.click(SAVE).await;
    browser.see("[data-code=UNAUTHENTICATED]", "Request ID").await;
    browser.fill("#key", ADMIN_KEY).await;
    browser.click("form.sign-in button").await;
    browser.see("nav.side", "Audit").await;
    assert_eq!(browser.value("#field-notes").await, "typed at length");
    browser.click(SAVE).await;
    browser.see(NOTICE, "This is version 2").await;
    assert_eq!(place.now(&api).await["notes"], "typed at length");
    browser.close().await;
}

async fn what_people_wrote_is_text_everywhere(server: Server) {
    let api = server.api();
    let hostile = "<script>window.harm = 1</script><img src=x onerror='window.harm = 2'>";
    let place = Place::of("workspaces", api.make_workspace(json!({"name": hostile})).await);
    let metadata = json!({"metadata": {hostile[..8]: hostile}});
    api.patch(&place.path, &metadata).if_match(1).await.ok(200);
    let browser = Browser::open(&server).await;
    browser.sign_in(ADMIN_KEY).await;
    browser.visit("/workspaces").await;
    browser.see("main table", "<script>").await;
    browser.visit(&place.console).await;
    browser.see("main h1", hostile).await;
    browser.see("[data-field=metadata]", hostile).await;
    open_form(&browser, &place).await;
    assert_eq!(browser.value("#field-name").await, hostile);
    browser.visit(&format!("{}/history", place.console)).await;
    browser.see("[data-version='2']", hostile).await;
    browser.visit("/events?type=workspace").await;
    browser.see(".state", "Live").await;
    browser.see("main", id(&place.object)).await;
    browser.click("summary").await;
    browser.see("main", hostile).await;
    assert_eq!(browser.run("return window.harm ?? null", json!([])).await, Value::Null);
    assert_eq!(browser.run("return document.images.length", json!([])).await, 0);
    browser.close().await;
}

async fn leaving_what_was_typed_asks_and_an_old_version_comes_back_into_the_form(server: Server) {
    let api = server.api();
    let place = Place::of("workspaces", api.make_workspace(json!({"name": "Acme"})).await);
    api.patch(&place.path, &json!({"name": "Oops"})).if_match(1).await.ok(200);
    let browser = Browser::open(&server).await;
    browser.sign_in(ADMIN_KEY).await;
    open_form(&browser, &place).await;
    browser.fill("#field-name", "half a thou").await;
    browser.visit("/plans").await;
    assert!(browser.answer_dialog(false).await.contains("not saved"));
    assert_eq!(browser.value("#field-name").await, "half a thou");
    assert_eq!(browser.place().await, place.edit());
    browser.visit(&format!("{}/history", place.console)).await;
    browser.answer_dialog(true).await;
    browser.see("[data-version='2']", "Oops").await;
    browser.click("[data-version='1'] .bar a:first-child").await;
    browser.see("main h1", "As it was at version 1").await;
    browser.click("main .bar a").await;
    browser.see("header.object", "filled with version 1").await;
    assert_eq!(browser.value("#field-name").await, "Acme");
    browser.click(SAVE).await;
    browser.see(NOTICE, "This is version 3").await;
    assert_eq!(place.now(&api).await["name"], "Acme");
    browser.close().await;
}

async fn a_save_without_an_answer_is_sent_again_as_it_was(server: Server) {
    let api = server.api();
    let place = Place::subscription(&api).await;
    let proxy = Proxy::before(server.url()).await;
    let browser = Browser::open_at(proxy.url()).await;
    browser.sign_in(ADMIN_KEY).await;
    open_form(&browser, &place).await;
    browser.fill("#field-quantity", "6").await;
    // A browser may repeat a request on its own.
    for _ in 0..4 {
        proxy.next("PATCH", Fault::LoseAnswer);
    }
    browser.click(SAVE).await;
    browser.see("main", "It is unknown whether your change was saved").await;
    browser.text(&format!("{SAVE}:disabled")).await;
    proxy.heal();
    browser.click("article > .bar button.primary").await;
    browser.see(NOTICE, "nothing was applied twice").await;
    let sent = proxy.seen("PATCH");
    let keys: Vec<_> = sent.iter().map(|seen| seen.header("Idempotency-Key")).collect();
    assert!(keys.len() > 1 && keys[0].is_some(), "{keys:?}");
    assert!(keys.iter().all(|key| *key == keys[0]), "{keys:?}");
    assert!(sent.iter().all(|seen| seen.body == "{\"quantity\":6}"), "{sent:?}");
    assert!(sent.iter().all(|seen| seen.header("If-Match") == Some("\"1\"")), "{sent:?}");
    assert_eq!(place.now(&api).await["version"], 2);
    browser.close().await;
}

async fn a_delete_names_its_version_and_a_changed_object_stays(server: Server) {
    let api = server.api();
    let place = Place::of("workspaces", api.make_workspace(json!({"name": "Acme"})).await);
    let browser = Browser::open(&server).await;
    browser.sign_in(ADMIN_KEY).await;
    browser.visit(&format!("{}?view=delete", place.console)).await;
    browser.see("main h1", "Delete Acme?").await;
    api.patch(&place.path, &json!({"name": "Acme & Sons"})).if_match(1).await.ok(200);
    browser.click("button.danger.primary").await;
    browser.see("main .notice.bad", "is now at version 2").await;
    browser.see("main .differences", "Acme & Sons").await;
    assert_eq!(place.now(&api).await["version"], 2, "it is still there");
    browser.see("button.danger.primary", "Delete version 2").await;
    browser.click("button.danger.primary").await;
    browser.see(NOTICE, "last at version 2").await;
    browser.see("[data-version='3']", "deleted").await;
    browser.visit(&place.console).await;
    browser.see("[data-code=DELETED]", "was deleted by").await;
    browser.close().await;
}

async fn keys_are_shown_once_and_every_collection_opens(server: Server) {
    let api = server.api();
    let invoice = api.make_open_invoice(json!({})).await;
    api.pay(&invoice, 300).await.is(201);
    let booking = api.make_booking(json!({"quantity": 2})).await;
    let browser = Browser::open(&server).await;
    browser.sign_in(ADMIN_KEY).await;
    browser.visit("/api-keys?view=new").await;
    browser.fill("#field-name", "support").await;
    browser.choose("#field-role", "agent").await;
    browser.click(SAVE).await;
    let key = browser.text("[data-secret]").await;
    let made = api.with_key(key.trim());
    made.get("/v1/plans").await.ok(200);
    browser.visit("/api-keys").await;
    let listed = browser.see("main table", "support").await;
    assert!(!listed.contains(key.trim()));
    browser.click("main tbody tr:last-child button.danger").await;
    assert!(browser.answer_dialog(true).await.contains("support"));
    browser.see(NOTICE, "Done").await;
    eventually("the key is revoked", async || {
        (made.get("/v1/plans").await.status == 401).then_some(())
    })
    .await;

    browser.visit(&format!("/invoices/{}", id(&invoice))).await;
    browser.see("[data-field=amount_due]", "USD 7.00").await;
    browser.see("section[aria-label=Payments] table", "USD 3.00").await;
    browser.visit(&format!("/bookables/{}", booking["bookable_id"].as_str().unwrap())).await;
    browser.see("section[aria-label=Availability] table", "Reserved").await;
    browser.click(".references a").await;
    browser.see("main table", "held").await;

    // The page lists the collections that the document declares.
    let document = api.get("/openapi.json").await.ok(200);
    let collections = document["paths"].as_object().unwrap().keys().filter_map(|path| {
        let collection = path.strip_prefix("/v1/")?.strip_suffix("/{id}/history")?;
        (!collection.contains('/')).then_some(collection)
    });
    for collection in collections {
        browser.click(&format!("nav.side a[href='#/{collection}']")).await;
        eventually(&format!("the list of {collection} is shown"), async || {
            let there = browser.has("main table").await || browser.has("main .empty").await;
            (there && browser.place().await == format!("/{collection}")).then_some(())
        })
        .await;
        assert!(!browser.has("main .notice.bad").await, "{collection}");
    }
    browser.close().await;
}

/// Checks of the page's modules that need no page. `console/logic.js` returns the failures.
async fn the_logic_of_the_page_holds(server: Server) {
    let browser = Browser::open(&server).await;
    let failures = browser.run(include_str!("console/logic.js"), json!([])).await;
    assert_eq!(failures, json!([]));
    browser.close().await;
}
