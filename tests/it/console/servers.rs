//! Products and servers in the console: orders, timelines, and what only a person can decide.
//!
//! The panel is a closed port: servers are ordered, and nothing is ever made of them. What workers
//! would write is written into the database while no server runs.

use super::{NOTICE, Place, SAVE};
use crate::harness::{ADMIN_KEY, Api, Browser, Server, Settings, eventually, id, sqlite_only};
use serde_json::{Value, json};

sqlite_only![
    a_product_is_made_and_edited_member_by_member,
    a_server_is_ordered_from_its_workspace_and_reserves_its_credits,
    a_server_and_its_timeline_follow_what_others_do,
    a_timeline_shows_what_the_panel_told_oldest_first_as_text,
    an_admin_adopts_a_server_after_seeing_what_changed,
    a_server_that_is_being_deleted_is_not_shown_as_deleted,
];

const SERVERS: &str = "section[aria-label='Servers']";
const CREDITS: &str = "section[aria-label='Credits']";
const PENDING: &str = "section[aria-label='Credits / reservations']";
const TIMELINE: &str = "section[aria-label='Timeline']";
const STATUS: &str = "header.object .badge";

/// The same server with a panel that nothing listens for.
async fn with_panel(mut server: Server) -> Server {
    server.stop().await;
    // Port 9 is "discard", which nothing serves.
    let env = [("URL", "http://127.0.0.1:9"), ("KEY", "ptla_test")];
    let env = env.map(|(name, value)| (format!("IFMATCH_PANEL_{name}"), value.to_owned())).to_vec();
    Server::start_with(server.database().clone(), Settings { env, ..Settings::default() }).await
}

/// A product of 30 credits, and a workspace that can pay for some.
async fn shop(api: &Api) -> (Value, String) {
    let product = json!({
        "name": "Small", "price_credits": 30, "egg": 15, "docker_image": "debian", "startup": "run",
        "environment": {"MODE": "test"}, "limits": {"memory": 1024, "disk": 5000}, "deploy": {},
    });
    let product = api.post("/v1/products", &product).await.ok(201);
    let workspace = api.make_workspace(json!({"name": "Acme"})).await;
    let path = format!("/workspaces/{}", id(&workspace));
    let body = json!({"amount": 100, "reason": "bought"});
    api.post(&format!("/v1{path}/credits/topups"), &body).await.ok(201);
    (product, path)
}

async fn order(api: &Api, name: &str) -> Place {
    let (product, workspace) = shop(api).await;
    let workspace_id = workspace.trim_start_matches("/workspaces/");
    let body = json!({
        "workspace_id": workspace_id, "product_id": id(&product), "name": name, "panel_user": 1234,
    });
    Place::of("servers", api.post("/v1/servers", &body).await.ok(202))
}

/// Not due in this century, so that no worker writes beside the scenario.
const LATER: &str =
    "lease_until = NULL, next_check_at = 4000000000000000, due_at = 4000000000000000";
/// Not due at all.
const NEVER: &str = "lease_until = NULL, next_check_at = NULL, due_at = NULL";
/// What has happened to a server that was only ordered.
const ORDERED: i64 = 1;

/// Writes into the database what workers would, while no server runs.
async fn as_workers(server: &mut Server, place: &Place, due: &str, changes: &str) {
    server.stop().await;
    let id = id(&place.object);
    server.database().execute(&format!("UPDATE servers SET {due}, {changes} WHERE id = '{id}'"));
    server.restart().await;
}

/// Writes these observations of a call into the timeline of a server that was only ordered.
async fn observed(server: &mut Server, place: &Place, told: &[(&str, &str, &str)]) {
    server.stop().await;
    let (database, id) = (server.database(), id(&place.object));
    database.execute(&format!(
        "DELETE FROM server_entries WHERE server_id = '{id}' AND seq > {ORDERED}"
    ));
    for (seq, (observation, verdict, detail)) in (ORDERED + 1..).zip(told) {
        database.execute(&format!(
            "INSERT INTO server_entries (id, server_id, seq, at, step, panel_call, observation, \
             verdict, detail, status, generation, actor) VALUES ('{id}/{seq}', '{id}', {seq}, \
             1700000000000000, 'observed', 'create', '{observation}', '{verdict}', '{detail}', \
             'provisioning', 3, 'worker')"
        ));
    }
    server.restart().await;
    let entries = format!("entries = {}", ORDERED + i64::try_from(told.len()).expect("few"));
    as_workers(server, place, LATER, &entries).await;
}

/// An ordered server that no worker takes, and whose fate is unknown if `status` says so.
async fn ordered(server: &mut Server, status: &str) -> Place {
    let place = order(&server.api(), "game").await;
    as_workers(server, &place, LATER, &format!("status = '{status}'")).await;
    place
}

async fn a_product_is_made_and_edited_member_by_member(server: Server) {
    let api = server.api();
    let browser = Browser::open(&server).await;
    browser.sign_in(ADMIN_KEY).await;
    browser.see("nav.side", "Products").await;
    browser.see("nav.side", "Servers").await;
    browser.visit("/products?view=new").await;
    browser.see("main h1", "New product").await;
    for (field, text) in [
        ("name", "Small"),
        ("price_credits", "30"),
        ("egg", "15000"),
        ("docker_image", "debian"),
        ("startup", "run"),
        ("environment", "{\"MODE\": \"test\"}"),
        ("limits/memory", "1024"),
        ("limits/disk", "-5"),
        ("deploy/locations", "[1, 20000]"),
    ] {
        browser.fill(&format!("[name='{field}']"), text).await;
    }
    browser.click(SAVE).await;
    browser.see("[data-code=VALIDATION_FAILED]", "Nothing was saved").await;
    browser.text("[id='error-limits/disk']").await;
    assert_eq!(browser.value("[name='limits/memory']").await, "1024", "the input is kept");
    browser.fill("[name='limits/disk']", "5000").await;
    browser.click(SAVE).await;
    browser.see(NOTICE, "Created").await;
    assert_eq!(browser.text("[data-field=egg]").await, "15000", "an id is not a quantity");
    browser.see("[data-field=limits]", "5,000").await;
    browser.see("[data-field=environment]", "MODE").await;
    browser.see("[data-field=deploy]", "1, 20000").await;

    let products = api.list("/v1/products").await;
    let [product] = &products[..] else { panic!("one product: {products:?}") };
    assert_eq!(product["limits"]["memory"], 1024);
    assert_eq!(product["limits"]["io"], 500, "what is left empty has its default");
    assert_eq!(product["deploy"]["locations"], json!([1, 20000]));

    let place = Place::of("products", product.clone());
    browser.fill("#jump", id(product)).await;
    browser.run("document.querySelector('form.jump').requestSubmit()", json!([])).await;
    browser.click("article > .bar a.primary").await;
    browser.fill("[name='limits/memory']", "2048").await;
    browser.click(SAVE).await;
    browser.see(NOTICE, "This is version 2").await;
    let history = api.history(&place.path).await;
    let changes = json!([{"path": "/limits/memory", "from": 1024, "to": 2048}]);
    assert_eq!(history[1]["changes"], changes, "only changed members are sent");
    browser.close().await;
}

async fn a_server_is_ordered_from_its_workspace_and_reserves_its_credits(server: Server) {
    let server = with_panel(server).await;
    let api = server.api();
    let (product, workspace) = shop(&api).await;
    let browser = Browser::open(&server).await;
    browser.sign_in(ADMIN_KEY).await;
    browser.visit(&workspace).await;
    browser.see(SERVERS, "nothing here yet").await;
    browser.see(&format!("{CREDITS} [data-field=available]"), "100").await;
    browser.click(&format!("{SERVERS} header a")).await;
    browser.see("main h1", "New server").await;
    assert_eq!(format!("/workspaces/{}", browser.value("#field-workspace_id").await), workspace);
    browser.fill("#field-product_id", id(&product)).await;
    browser.fill("#field-name", "game").await;
    browser.fill("#field-panel_user", "1234").await;
    browser.click(SAVE).await;
    browser.see(NOTICE, "Accepted. It is being made").await;
    browser.see(STATUS, "provisioning").await;
    assert_eq!(browser.text("[data-field=panel_user]").await, "1234");
    browser.see(&format!("{TIMELINE} [data-field=step]"), "requested").await;
    assert!(!browser.has("article > .bar a[href*=resolve]").await, "its fate is not unknown");

    // Its reservation belongs to it, and nobody else resolves it.
    browser.click("[data-field=reservation_id] a").await;
    browser.see("[data-field=age]", "s").await;
    browser.click("article > .bar a[href*=void]").await;
    browser.click(SAVE).await;
    browser.see("[data-code=RESERVATION_OWNED]", "It belongs to a server").await;
    let reservation = browser.place().await;
    let reservation = reservation.trim_start_matches("/reservations/").split('/').next();
    browser.visit(&workspace).await;
    browser.see(&format!("{SERVERS} tbody"), "game").await;
    browser.see(&format!("{SERVERS} .badge.open"), "provisioning").await;
    browser.see(&format!("{CREDITS} [data-field=reserved]"), "30").await;
    browser.click(&format!("{PENDING} [data-field=ref] a")).await;
    browser.see("main h1", "game").await;
    browser.fill("#jump", reservation.expect("an id")).await;
    browser.run("document.querySelector('form.jump').requestSubmit()", json!([])).await;
    browser.see(STATUS, "pending").await;
    browser.close().await;
}

async fn a_server_and_its_timeline_follow_what_others_do(server: Server) {
    let mut server = with_panel(server).await;
    let place = ordered(&mut server, "provisioning").await;
    let api = server.api();
    let workspace =
        format!("/workspaces/{}", place.object["workspace_id"].as_str().expect("an id"));
    let browser = Browser::open(&server).await;
    browser.sign_in(ADMIN_KEY).await;
    browser.visit(&place.console).await;
    browser.see("main h1", "game").await;
    browser.see("header.object .state", "Live").await;
    // The page changes by itself, without a notice that asks for it.
    let version = place.now(&api).await["version"].as_i64().expect("a version");
    api.patch(&place.path, &json!({"name": "renamed"})).if_match(version).await.ok(200);
    browser.see("main h1", "renamed").await;
    eventually("no notice is left", async || (!browser.has(".notice.news").await).then_some(()))
        .await;
    // The switch is a field like any other.
    browser.click("article > .bar a.primary").await;
    browser.choose("#field-suspended", "true").await;
    browser.click(SAVE).await;
    browser.see(NOTICE, "This is version").await;
    browser.see("[data-field=suspended]", "Yes").await;
    browser.see("[data-field=suspended_on_panel]", "No").await;
    browser.see(TIMELINE, "switched").await;

    // So do credits and servers on the workspace's page.
    browser.visit(&workspace).await;
    browser.see(&format!("{CREDITS} [data-field=available]"), "70").await;
    browser.see(&format!("{CREDITS} .state"), "Live").await;
    let body = json!({"amount": 5000, "reason": "bought again"});
    api.post(&format!("/v1{workspace}/credits/topups"), &body).await.ok(201);
    browser.see(&format!("{CREDITS} [data-field=available]"), "5,070").await;
    browser.see("section[aria-label='Credits / transfers']", "bought again").await;
    browser.close().await;
}

async fn a_timeline_shows_what_the_panel_told_oldest_first_as_text(server: Server) {
    let mut server = with_panel(server).await;
    let place = order(&server.api(), "game").await;
    let hostile = "<script>window.harm = 1</script><img src=x onerror=\"window.harm = 2\">";
    let mut told = vec![("not_connected", "repeat", ""); 59];
    told[2] = ("unclear", "in_doubt", hostile);
    observed(&mut server, &place, &told).await;
    as_workers(&mut server, &place, LATER, "panel_status = '<b>installing</b>'").await;

    let browser = Browser::open(&server).await;
    browser.sign_in(ADMIN_KEY).await;
    browser.visit(&place.console).await;
    browser.see(TIMELINE, hostile).await;
    browser.see("[data-field=panel_status]", "<b>installing</b>").await;
    let heads =
        "return [...document.querySelectorAll(`${arguments[0]} th`)].map((th) => th.innerText)";
    let heads = browser.run(heads, json!([TIMELINE])).await;
    let expected =
        ["Time", "Step", "Call", "Observation", "Verdict", "Detail", "Status", "Generation", "By"];
    assert_eq!(heads, json!(expected));
    let cell = |entry: u32, field: &str| {
        format!("{TIMELINE} tr[data-entry='{entry}'] [data-field={field}]")
    };
    assert_eq!(browser.text(&cell(1, "step")).await, "requested");
    assert_eq!(browser.text(&cell(4, "observation")).await, "unclear");
    assert_eq!(browser.text(&cell(4, "verdict")).await, "in doubt");
    assert_eq!(browser.text(&cell(4, "by")).await, "worker");
    browser.text(&cell(50, "step")).await;
    assert!(!browser.has(&cell(51, "step")).await, "one page at a time");
    browser.click(&format!("{TIMELINE} button[name=more]")).await;
    browser.text(&cell(60, "step")).await;
    browser.text(&cell(1, "step")).await;
    assert!(!browser.has(&format!("{TIMELINE} button[name=more]")).await);
    assert_eq!(browser.run("return window.harm ?? null", json!([])).await, Value::Null);
    assert_eq!(browser.run("return document.images.length", json!([])).await, 0);
    browser.close().await;
}

async fn an_admin_adopts_a_server_after_seeing_what_changed(server: Server) {
    let mut server = with_panel(server).await;
    let place = ordered(&mut server, "pending_reconciliation").await;
    let api = server.api();
    let agent = api.make_key("agent").await;
    let browser = Browser::open(&server).await;
    browser.sign_in(agent.key()).await;
    browser.visit(&place.console).await;
    browser.see(&format!("{STATUS}.open"), "pending reconciliation").await;
    browser.text("article > .bar a.primary").await;
    assert!(!browser.has("article > .bar a[href*=resolve]").await, "this is for admins");
    browser.close().await;

    let browser = Browser::open(&server).await;
    browser.sign_in(ADMIN_KEY).await;
    browser.visit(&place.console).await;
    browser.click("article > .bar a[href*=resolve]").await;
    browser.see("main h1", "Resolve a server").await;
    browser.choose("#field-verdict", "adopt").await;
    browser.fill("#field-reason", "It runs – Zoë").await;
    let version = place.now(&api).await["version"].as_i64().expect("a version");
    api.patch(&place.path, &json!({"name": "renamed"})).if_match(version).await.ok(200);
    // A refusal for another reason does not move the decision to the newer version.
    browser.click(SAVE).await;
    browser.see("#error-remote_id", "is required to adopt").await;
    browser.fill("#field-remote_id", "4711").await;
    browser.click(SAVE).await;
    let told = format!("is now at version {}. Nothing was done", version + 1);
    browser.see("main .notice.bad", &told).await;
    browser.see("main .differences", "renamed").await;
    assert_eq!(place.now(&api).await["status"], "pending_reconciliation");
    assert_eq!(browser.value("#field-reason").await, "It runs – Zoë");
    browser.click(SAVE).await;
    browser.see(NOTICE, &format!("This is version {}", version + 2)).await;
    browser.see(&format!("{STATUS}.good"), "active").await;
    assert_eq!(browser.text("[data-field=remote_id]").await, "4711");
    browser.see(TIMELINE, "It runs – Zoë").await;
    assert!(!browser.has("article > .bar a[href*=resolve]").await, "it is decided");
    let audit = api.audit("server_resolved", id(&place.object)).await;
    assert_eq!(audit[0]["reason"], "It runs – Zoë");
    browser.close().await;
}

async fn a_server_that_is_being_deleted_is_not_shown_as_deleted(server: Server) {
    let mut server = with_panel(server).await;
    let place = ordered(&mut server, "pending_reconciliation").await;
    let api = server.api();
    let version = place.now(&api).await["version"].as_i64().expect("a version");
    let body = json!({"verdict": "adopt", "remote_id": 4711, "reason": "it runs"});
    api.post(&format!("{}/resolve", place.path), &body).if_match(version).await.ok(200);

    let browser = Browser::open(&server).await;
    browser.sign_in(ADMIN_KEY).await;
    browser.visit(&format!("{}?view=delete", place.console)).await;
    browser.click("button.danger.primary").await;
    browser.see(NOTICE, "is being deleted").await;
    browser.see(&format!("{STATUS}.open"), "deprovisioning").await;
    assert_eq!(browser.place().await, place.console);
    browser.see(TIMELINE, "deprovisioned").await;

    browser.close().await;

    // Once it is deleted, it can be read as before, and nothing can be done with it.
    let changes = "status = 'deleted', unsettled_since = NULL";
    as_workers(&mut server, &place, NEVER, changes).await;
    let browser = Browser::open(&server).await;
    browser.sign_in(ADMIN_KEY).await;
    browser.visit(&place.console).await;
    browser.see("main h1", "game").await;
    browser.see(&format!("{STATUS}.bad"), "deleted").await;
    assert_eq!(browser.text("[data-field=remote_id]").await, "4711");
    browser.see(TIMELINE, "deprovisioned").await;
    assert!(!browser.has("article > .bar a.primary, article > .bar a.danger").await);
    browser.close().await;
}
