//! Servers: ordered here, made on a panel, charged exactly if they exist there.

use crate::harness::{
    Api, Database, Server, Settings, both_databases, eventually, id,
    panel::{Kind, On, Panel, Remote, Told, Trouble},
    postgres_only, run_to_end, together, unique, version,
};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};

both_databases![
    a_server_is_ordered_made_and_charged,
    a_server_is_suspended_renamed_and_deleted,
    wrong_orders_are_refused_and_cost_nothing,
    a_limit_is_exact_for_orders_at_the_same_time,
    a_repeated_order_is_one_server,
    a_server_makes_and_resolves_its_own_reservation,
    a_refused_server_is_looked_up_once_and_given_back,
    a_create_in_doubt_is_never_sent_again,
    one_wrong_404_fails_nobody,
    a_server_of_somebody_else_waits_for_an_admin,
    an_admin_decides_what_the_panel_does_not_tell,
    one_that_appears_after_its_failure_is_deleted_and_audited,
    a_refused_key_fails_nobody,
    a_panel_that_is_away_blocks_nothing,
    calls_that_are_due_together_begin_one_after_the_other,
    the_next_process_goes_on_after_a_kill,
    a_server_process_stops_with_calls_in_flight,
    what_the_other_panel_calls_differently_is_refused,
    the_timeline_tells_each_step,
];

/// Windows so short that a scenario can wait for them.
const WINDOWS: [(&str, &str); 4] = [
    ("IFMATCH_PANEL_TIMEOUT_MS", "400"),
    ("IFMATCH_SETTLE_MS", "300"),
    ("IFMATCH_ABSENT_GAP_MS", "200"),
    ("IFMATCH_RECONCILE_MS", "100"),
];

/// The settings of a server that uses this panel, with short windows.
pub fn settings(panel: &Panel) -> Settings {
    settings_with(panel, WINDOWS)
}

/// The settings of a server that uses this panel.
pub fn settings_with(panel: &Panel, windows: [(&str, &str); 4]) -> Settings {
    let kind = match panel.kind() {
        Kind::Pterodactyl => "pterodactyl",
        Kind::Pelican => "pelican",
    };
    let mut env: Vec<(String, String)> =
        windows.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    for (name, value) in [
        ("IFMATCH_PANEL_URL", panel.url()),
        ("IFMATCH_PANEL_KEY", Panel::KEY.to_owned()),
        ("IFMATCH_PANEL_KIND", kind.to_owned()),
    ] {
        env.push((name.to_owned(), value));
    }
    Settings { env, ..Settings::default() }
}

/// A server that uses a panel of its own, on the scenario's database.
async fn with_panel(server: Server, kind: Kind) -> (Panel, Server) {
    on(alone(server), kind).await
}

/// The scenario's database, without the server that has another panel.
pub fn alone(server: Server) -> Arc<Database> {
    server.database().clone()
}

async fn on(database: Arc<Database>, kind: Kind) -> (Panel, Server) {
    let panel = Panel::start(kind).await;
    panel.set_calls_per_minute(None);
    let settings = settings(&panel);
    (panel, Server::start_with(database, settings).await)
}

/// A workspace with credits and a product at a price.
pub struct Shop {
    pub workspace: String,
    pub product: String,
}

impl Shop {
    pub async fn open(api: &Api, panel: &Panel, credits: i64, price: i64) -> Self {
        let workspace = id(&api.make_workspace(json!({})).await).to_owned();
        let body = json!({"amount": credits, "reason": "bought"});
        api.post(&format!("/v1/workspaces/{workspace}/credits/topups"), &body).await.ok(201);
        let deploy = match panel.kind() {
            Kind::Pterodactyl => json!({"locations": [1]}),
            Kind::Pelican => json!({"tags": ["eu"]}),
        };
        let product = api.make_product(json!({"price_credits": price, "deploy": deploy})).await;
        Self { workspace, product: id(&product).to_owned() }
    }

    pub fn order(&self) -> Value {
        json!({"workspace_id": self.workspace, "product_id": self.product, "name": "Castle",
            "panel_user": 7})
    }

    /// Orders a server.
    pub async fn buy(&self, api: &Api) -> Value {
        api.post("/v1/servers", &self.order()).key(&unique("server")).await.ok(202)
    }

    /// Orders a server and waits until it is active.
    async fn get(&self, api: &Api) -> Value {
        let call = api.post("/v1/servers?wait_ms=30000", &self.order());
        call.key(&unique("server")).await.ok(201)
    }

    /// The credits that are available, and those that are reserved.
    pub async fn credits(&self, api: &Api) -> (i64, i64) {
        let now = api.get(&format!("/v1/workspaces/{}/credits", self.workspace)).await.ok(200);
        (now["available"].as_i64().unwrap(), now["reserved"].as_i64().unwrap())
    }
}

/// A server as it is now.
async fn now(api: &Api, server: &Value) -> Value {
    api.read("servers", server).await
}

/// Waits until a server is in a status.
async fn in_status(api: &Api, server: &Value, status: &str) -> Value {
    let what = format!("{} becomes {status}", id(server));
    eventually(&what, async || {
        let now = now(api, server).await;
        let is_failed = now["status"] == "failed" && status != "failed";
        assert!(!is_failed, "{now} {:?}", timeline(api, server).await);
        (now["status"] == status).then_some(now)
    })
    .await
}

pub async fn timeline(api: &Api, server: &Value) -> Vec<Value> {
    api.list(&format!("/v1/servers/{}/timeline", id(server))).await
}

/// Asserts that the database is sound.
pub async fn verify(server: &Server) {
    let url = [("IFMATCH_DATABASE_URL", server.database().url())];
    run_to_end(server.database(), &["verify"], &url).await.succeeded();
}

async fn a_server_is_ordered_made_and_charged(server: Server) {
    let database = alone(server);
    for kind in [Kind::Pterodactyl, Kind::Pelican] {
        let (panel, server) = on(database.clone(), kind).await;
        let api = server.api();
        let shop = Shop::open(&api, &panel, 10, 3).await;
        panel.set_latency(Duration::from_millis(100));
        let ordered = api.post("/v1/servers", &shop.order()).key(&unique("order")).await.is(202);
        let made = &ordered.body;
        assert_eq!(ordered.header("ETag"), Some("\"1\""));
        let path = format!("/v1/servers/{}", id(made));
        assert!(ordered.header("Location").unwrap().ends_with(&path));
        assert_eq!(made["status"], "provisioning");
        assert_eq!((&made["external_id"], &made["attempts"]), (&made["id"], &json!(0)));
        assert_eq!(shop.credits(&api).await, (7, 3));
        let active = in_status(&api, made, "active").await;
        assert_eq!(shop.credits(&api).await, (7, 0));
        let remote = panel.server(id(made)).unwrap();
        assert_eq!(active["remote_id"], remote.id);
        assert_eq!(active["last_observation"], "created");
        assert_eq!((&active["attempts"], &active["next_check_at"]), (&json!(1), &Value::Null));
        let reservation = made["reservation_id"].as_str().unwrap();
        let reservation = api.get(&format!("/v1/reservations/{reservation}")).await.ok(200);
        assert_eq!((&reservation["status"], &reservation["posted"]), (&json!("posted"), &json!(3)));
        let call = panel.calls_of(On::Create).remove(0);
        assert_eq!(call.dropped, Vec::<String>::new(), "the panel knows every field");
        assert_eq!(panel.creates_of(id(made)), 1);
        verify(&server).await;
    }
}

async fn a_server_is_suspended_renamed_and_deleted(server: Server) {
    let (panel, server) = with_panel(server, Kind::Pterodactyl).await;
    let api = server.api();
    let shop = Shop::open(&api, &panel, 10, 3).await;
    let made = shop.get(&api).await;
    let path = format!("/v1/servers/{}", id(&made));
    let renamed = api.patch(&path, &json!({"name": "Keep"})).if_match(version(&made)).await.ok(200);
    assert_eq!((&renamed["name"], &renamed["status"]), (&json!("Keep"), &json!("active")));
    for (suspended, call) in [(true, On::Suspend), (false, On::Unsuspend)] {
        panel.script(call, Trouble::NodeAway { after: Duration::ZERO, told: Told::After });
        api.change("servers", &made, json!({ "suspended": suspended })).await;
        eventually("the panel follows", async || {
            let now = now(&api, &made).await;
            (now["suspended_on_panel"] == suspended).then_some(())
        })
        .await;
        assert_eq!(panel.server(id(&made)).unwrap().suspended(), suspended);
        assert_eq!(panel.calls_of(call).len(), 2, "the first one failed on the node");
    }
    let before = now(&api, &made).await;
    api.delete(&path).await.problem(428, "PRECONDITION_REQUIRED");
    panel.script(On::Delete, Trouble::NodeAway { after: Duration::ZERO, told: Told::After });
    let deleted = api.delete(&format!("{path}?version={}", version(&before))).await.is(202);
    assert_eq!(deleted.body["status"], "deprovisioning");
    let gone = in_status(&api, &made, "deleted").await;
    assert!(panel.servers().is_empty());
    assert_eq!(shop.credits(&api).await, (7, 0), "nothing is refunded");
    let refused = api.patch(&path, &json!({"name": "x"})).if_match(version(&gone)).await;
    let refused = refused.problem(410, "DELETED");
    assert_eq!(refused["last_version"], version(&gone) - 1);
    api.delete(&format!("{path}?version={}", version(&gone))).await.problem(410, "DELETED");
    let workspace = api.read("workspaces", &json!({"id": shop.workspace})).await;
    let path = format!("/v1/workspaces/{}?version={}", shop.workspace, version(&workspace));
    api.delete(&path).await.problem(409, "WORKSPACE_IN_USE");
    let path = format!("/v1/products/{}?version=1", shop.product);
    api.delete(&path).await.problem(409, "PRODUCT_IN_USE");
    verify(&server).await;
}

async fn wrong_orders_are_refused_and_cost_nothing(server: Server) {
    let (panel, server) = with_panel(server, Kind::Pterodactyl).await;
    let api = server.api();
    let shop = Shop::open(&api, &panel, 2, 3).await;
    let order = |members: Value| {
        let body = crate::harness::with(shop.order(), &members);
        api.post("/v1/servers", &body).key(&unique("wrong"))
    };
    let refused = order(json!({})).await.problem(422, "INSUFFICIENT_CREDITS");
    assert_eq!((&refused["required"], &refused["available"]), (&json!(3), &json!(2)));
    order(json!({"panel_user": 0})).await.invalid("/panel_user");
    order(json!({"name": ""})).await.invalid("/name");
    order(json!({"status": "active"})).await.invalid("/status");
    order(json!({"product_id": "wsp_0193f0c0a1b27c3d8e4f5a6b7c8d9e0f"}))
        .await
        .problem(400, "WRONG_ID_TYPE");
    order(json!({"product_id": "prd_0193f0c0a1b27c3d8e4f5a6b7c8d9e0f"}))
        .await
        .invalid("/product_id");
    api.post("/v1/servers", &shop.order())
        .without_idempotency_key()
        .await
        .problem(400, "IDEMPOTENCY_KEY_REQUIRED");
    api.post("/v1/servers?wait_ms=45001", &shop.order()).key("long").await.invalid("?wait_ms");
    api.change("products", &json!({"id": shop.product}), json!({"status": "archived"})).await;
    let refused = order(json!({})).await.problem(409, "PRODUCT_UNAVAILABLE");
    assert_eq!(refused["product_status"], "archived");
    let wrong = [
        ("/limits/io", json!({"limits": {"memory": 1, "disk": 1, "io": 5}})),
        ("/price_credits", json!({"price_credits": -1})),
        ("/egg", json!({"egg": 0})),
        ("/deploy/port_range/0", json!({"deploy": {"locations": [1], "port_range": ["9-1"]}})),
        ("/deploy/tags", json!({"deploy": {"tags": ["eu"]}})),
        ("/max_per_workspace", json!({"max_per_workspace": 0})),
        ("/environment/A", json!({"environment": {"A": "x".repeat(2_001)}})),
    ];
    for (path, members) in wrong {
        let product = json!({"name": "p", "price_credits": 1, "egg": 1, "docker_image": "i",
            "startup": "s", "limits": {"memory": 1, "disk": 1}, "deploy": {"locations": [1]}});
        let body = crate::harness::with(product, &members);
        api.post("/v1/products", &body).await.invalid(path);
    }
    assert_eq!(shop.credits(&api).await, (2, 0));
    assert_eq!(panel.calls().len(), 0);
    assert_eq!(api.list("/v1/servers").await.len(), 0);
    verify(&server).await;
}

async fn a_limit_is_exact_for_orders_at_the_same_time(server: Server) {
    let (panel, server) = with_panel(server, Kind::Pelican).await;
    let api = server.api();
    let shop = Shop::open(&api, &panel, 100, 1).await;
    let limit = json!({"max_per_workspace": 3});
    api.change("products", &json!({"id": shop.product}), limit).await;
    let answers = together(12, |_| {
        let (api, body) = (api.clone(), shop.order());
        async move { api.post("/v1/servers", &body).key(&unique("race")).await }
    })
    .await;
    let (made, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|a| a.status == 202);
    assert_eq!(made.len(), 3);
    for answer in refused {
        let problem = answer.problem(422, "SERVER_LIMIT_REACHED");
        assert_eq!((&problem["limit"], &problem["used"]), (&json!(3), &json!(3)));
    }
    for answer in &made {
        in_status(&api, &answer.body, "active").await;
    }
    assert_eq!(shop.credits(&api).await, (97, 0));
    // A deleted server makes room for another.
    let first = now(&api, &made[0].body).await;
    let path = format!("/v1/servers/{}?version=1&force=true", id(&first));
    let forced = api.delete(&path).header("X-Force-Reason", "abuse").await.is(202);
    assert_eq!(forced.header("X-Forced"), Some("true"));
    let audit = api.audit("forced_write", id(&first)).await;
    assert_eq!((audit.len(), &audit[0]["reason"]), (1, &json!("abuse")));
    let changed = audit[0]["changes"].as_array().unwrap();
    assert!(changed.iter().any(|change| change["to"] == "deprovisioning"), "{changed:?}");
    in_status(&api, &first, "deleted").await;
    shop.get(&api).await;
    verify(&server).await;
}

async fn a_repeated_order_is_one_server(server: Server) {
    let (panel, server) = with_panel(server, Kind::Pterodactyl).await;
    let api = server.api();
    let shop = Shop::open(&api, &panel, 10, 3).await;
    let answers = together(6, |n| {
        let (api, body) = (api.clone(), shop.order());
        let path = if n % 2 == 0 { "/v1/servers" } else { "/v1/servers?wait_ms=30000" };
        async move { api.post(path, &body).key("same").await }
    })
    .await;
    let first = id(&answers[0].body).to_owned();
    for (n, answer) in answers.iter().enumerate() {
        assert_eq!(answer.status, if n % 2 == 0 { 202 } else { 201 }, "{}", answer.text);
        assert_eq!(id(&answer.body), first);
    }
    assert_eq!(panel.servers().len(), 1);
    assert_eq!(shop.credits(&api).await, (7, 0));
}

async fn a_server_makes_and_resolves_its_own_reservation(server: Server) {
    let (panel, server) = with_panel(server, Kind::Pterodactyl).await;
    let api = server.api();
    panel.always(On::Create, Some(Trouble::Hang));
    let shop = Shop::open(&api, &panel, 10, 3).await;
    let made = shop.buy(&api).await;
    let reservation = made["reservation_id"].as_str().unwrap();
    let shown = api.get(&format!("/v1/reservations/{reservation}")).await.ok(200);
    assert_eq!(shown["server_id"], made["id"]);
    let pending = format!("/v1/workspaces/{}/credits/reservations?status=pending", shop.workspace);
    assert_eq!(api.list(&pending).await, [shown]);
    for way in ["post", "void"] {
        let path = format!("/v1/reservations/{reservation}/{way}");
        let refused = api.post(&path, &json!({})).await.problem(409, "RESERVATION_OWNED");
        assert_eq!(refused["server_id"], made["id"]);
    }
    let failed = in_status(&api, &made, "failed").await;
    assert_eq!(failed["last_observation"], "absent");
    assert_eq!(shop.credits(&api).await, (10, 0));
    verify(&server).await;
}

async fn a_refused_server_is_looked_up_once_and_given_back(server: Server) {
    let database = alone(server);
    for trouble in [Trouble::Refuse422, Trouble::Refuse400] {
        let (panel, server) = on(database.clone(), Kind::Pterodactyl).await;
        let api = server.api();
        let shop = Shop::open(&api, &panel, 10, 3).await;
        panel.script(On::Create, trouble);
        let made = shop.buy(&api).await;
        in_status(&api, &made, "failed").await;
        assert_eq!(shop.credits(&api).await, (10, 0));
        let told = timeline(&api, &made).await;
        let verdicts: Vec<&Value> =
            told.iter().map(|entry| &entry["verdict"]).filter(|v| !v.is_null()).collect();
        assert_eq!(verdicts[..2], ["confirm", "failed"]);
        let detail = told.iter().find(|entry| entry["observation"] == "refused").unwrap();
        assert!(detail["detail"].is_string(), "the panel's own words: {detail}");
    }
}

/// What a create in doubt may have left, and what becomes of the server.
async fn a_create_in_doubt_is_never_sent_again(server: Server) {
    let database = alone(server);
    let soon = Duration::from_millis(50);
    let late = Duration::from_millis(550);
    for kind in [Kind::Pterodactyl, Kind::Pelican] {
        let (panel, server) = on(database.clone(), kind).await;
        let api = server.api();
        let shop = Shop::open(&api, &panel, 1_000, 3).await;
        let is_pelican = kind == Kind::Pelican;
        let cases = [
            (Trouble::NodeAway { after: soon, told: Told::After }, "failed"),
            (Trouble::NodeAway { after: late, told: Told::Before }, "failed"),
            (Trouble::NodeAway { after: late, told: Told::Never }, "failed"),
            (
                Trouble::NodeError { status: 422, after: soon },
                if is_pelican { "active" } else { "failed" },
            ),
            (Trouble::LateSuccess { after: late }, "active"),
            (Trouble::Hang, "failed"),
            (Trouble::LoseRequest, "failed"),
            (Trouble::LoseAnswer, "active"),
            (Trouble::Twice, "active"),
            (Trouble::TwiceAtOnce, "active"),
            (Trouble::Malformed, "active"),
            (Trouble::MissingFields, "active"),
            (Trouble::OtherId, "active"),
            (Trouble::Huge, "active"),
            (Trouble::Slow { per_chunk: Duration::from_millis(300) }, "active"),
            (Trouble::Gateway { status: 502, done: true }, "active"),
            (Trouble::Gateway { status: 404, done: false }, "failed"),
            (Trouble::Status(409, "ConflictHttpException"), "failed"),
            (Trouble::Redirect, "failed"),
        ];
        let mut spent = 0;
        for (trouble, expected) in cases {
            panel.script(On::Create, trouble);
            let made = shop.buy(&api).await;
            let ended = eventually(&format!("{trouble:?} ends"), async || {
                let now = now(&api, &made).await;
                ["active", "failed"].contains(&now["status"].as_str().unwrap()).then_some(now)
            })
            .await;
            assert_eq!(
                ended["status"],
                expected,
                "{kind:?} {trouble:?}: {:?}",
                timeline(&api, &made).await
            );
            assert_eq!(panel.server(id(&made)).is_some(), expected == "active", "{trouble:?}");
            assert_eq!(panel.creates_of(id(&made)), 1, "{trouble:?}");
            spent += if expected == "active" { 3 } else { 0 };
            assert_eq!(shop.credits(&api).await, (1_000 - spent, 0), "{trouble:?}");
        }
        assert!(panel.most_rows_made() <= 1);
        verify(&server).await;
    }
}

async fn one_wrong_404_fails_nobody(server: Server) {
    let (panel, server) = with_panel(server, Kind::Pelican).await;
    let api = server.api();
    let shop = Shop::open(&api, &panel, 10, 3).await;
    panel.script(On::Create, Trouble::LoseAnswer);
    panel.script(On::LookUp, Trouble::Status(404, "NotFoundHttpException"));
    let made = shop.buy(&api).await;
    in_status(&api, &made, "active").await;
    let told = timeline(&api, &made).await;
    assert!(told.iter().any(|entry| entry["verdict"] == "absent_once"), "{told:?}");
    assert_eq!(shop.credits(&api).await, (7, 0));
}

async fn a_server_of_somebody_else_waits_for_an_admin(server: Server) {
    let (panel, server) = with_panel(server, Kind::Pterodactyl).await;
    let api = server.api();
    let shop = Shop::open(&api, &panel, 10, 3).await;
    panel.always(On::Create, Some(Trouble::Hang));
    let made = shop.buy(&api).await;
    panel.plant(Remote::new(id(&made), 999, 5));
    eventually("the mismatch is told", async || {
        let told = timeline(&api, &made).await;
        told.iter().any(|entry| entry["verdict"] == "mismatch").then_some(())
    })
    .await;
    let doubtful = now(&api, &made).await;
    assert_eq!(doubtful["status"], "pending_reconciliation");
    assert_eq!(shop.credits(&api).await, (7, 3), "neither charged nor given back");
    assert_eq!(panel.servers().len(), 1, "it is not deleted");
    let agent = api.make_key("agent").await;
    let path = format!("/v1/servers/{}/resolve", id(&made));
    let body = json!({"verdict": "fail", "reason": "theirs", "version": 1});
    agent.post(&path, &body).await.problem(403, "FORBIDDEN");
    api.post(&path, &body).await.conflict(409);
    api.post(&path, &json!({"verdict": "fail", "reason": "x"}))
        .await
        .problem(428, "PRECONDITION_REQUIRED");
    api.post(&path, &json!({"verdict": "adopt", "reason": "x", "version": 1}))
        .await
        .invalid("/remote_id");
    api.post(&path, &json!({"verdict": "fail", "version": 1})).await.invalid("/reason");
    let resolved = eventually("the version is met", async || {
        let version = version(&now(&api, &made).await);
        let body = json!({"verdict": "fail", "reason": "theirs", "version": version});
        let answer = api.post(&path, &body).await;
        (answer.status == 200).then_some(answer.body)
    })
    .await;
    assert_eq!(resolved["status"], "failed");
    assert_eq!(shop.credits(&api).await, (10, 0));
    let audit = api.list("/v1/audit?type=server_resolved").await;
    assert_eq!(audit[0]["reason"], "theirs");
    assert_eq!(audit[0]["resource"]["id"], made["id"]);
    verify(&server).await;
}

async fn an_admin_decides_what_the_panel_does_not_tell(server: Server) {
    let (panel, server) = with_panel(server, Kind::Pelican).await;
    let api = server.api();
    let shop = Shop::open(&api, &panel, 13, 3).await;
    let other = shop.buy(&api).await;
    in_status(&api, &other, "active").await;
    panel.always(On::Create, Some(Trouble::LoseAnswer));
    panel.always(On::LookUp, Some(Trouble::Status(500, "HttpException")));
    let made = shop.buy(&api).await;
    in_status(&api, &made, "pending_reconciliation").await;
    let remote = panel.server(id(&made)).unwrap();
    let path = format!("/v1/servers/{}/resolve", id(&made));
    let taken = panel.server(id(&other)).unwrap().id;
    let refused = eventually("the version is met", async || {
        let version = version(&now(&api, &made).await);
        let body = json!({"verdict": "adopt", "remote_id": taken, "reason": "a typing error"});
        let answer = api.post(&path, &body).if_match(version).await;
        (answer.status != 409).then_some(answer)
    })
    .await;
    let refused = refused.invalid("/remote_id");
    assert!(refused.to_string().contains(id(&other)), "it names the one that has it: {refused}");
    let resolved = eventually("the version is met", async || {
        let version = version(&now(&api, &made).await);
        let body = json!({"verdict": "adopt", "remote_id": remote.id, "reason": "seen there"});
        let answer = api.post(&path, &body).if_match(version).await;
        (answer.status == 200).then_some(answer.body)
    })
    .await;
    assert_eq!(
        (&resolved["status"], &resolved["remote_id"]),
        (&json!("active"), &json!(remote.id))
    );
    assert_eq!(shop.credits(&api).await, (7, 0));
    let again = json!({"verdict": "fail", "reason": "no", "version": version(&resolved)});
    api.post(&path, &again).await.problem(409, "INVALID_STATE_TRANSITION");
    verify(&server).await;
}

async fn one_that_appears_after_its_failure_is_deleted_and_audited(server: Server) {
    let (panel, server) = with_panel(server, Kind::Pterodactyl).await;
    let api = server.api();
    let shop = Shop::open(&api, &panel, 10, 3).await;
    panel.script(On::Create, Trouble::LateSuccess { after: Duration::from_secs(3) });
    let made = shop.buy(&api).await;
    in_status(&api, &made, "failed").await;
    eventually("the late server is deleted", async || {
        let audit = api.list("/v1/audit?type=orphan_deleted").await;
        audit.iter().any(|record| record["resource"]["id"] == made["id"]).then_some(())
    })
    .await;
    assert!(panel.servers().is_empty());
    assert_eq!(panel.rows_made_of(id(&made)), 1);
    assert_eq!(shop.credits(&api).await, (10, 0));
    assert_eq!(now(&api, &made).await["status"], "failed");
}

async fn a_refused_key_fails_nobody(server: Server) {
    let (panel, server) = with_panel(server, Kind::Pterodactyl).await;
    let api = server.api();
    let shop = Shop::open(&api, &panel, 100, 3).await;
    let calls = |panel: &Panel| panel.calls().len();
    for trouble in
        [Trouble::Unauthorized, Trouble::Forbidden, Trouble::Throttle { retry_after_s: 1 }]
    {
        panel.always(On::Any, Some(trouble));
        let before = calls(&panel);
        let mut made = Vec::new();
        for _ in 0..5 {
            made.push(shop.buy(&api).await);
        }
        eventually("the panel was called", async || (calls(&panel) > before + 1).then_some(()))
            .await;
        for server in &made {
            assert_eq!(now(&api, server).await["status"], "provisioning");
        }
        panel.heal();
        panel.set_calls_per_minute(None);
        for server in &made {
            in_status(&api, server, "active").await;
        }
    }
    assert_eq!(shop.credits(&api).await, (55, 0));
    assert!(server.log().contains("panel.circuit_opened"));
    assert!(!server.log().contains(Panel::KEY), "the key is nowhere");
}

async fn a_panel_that_is_away_blocks_nothing(server: Server) {
    let (panel, server) = with_panel(server, Kind::Pterodactyl).await;
    let api = server.api();
    let shop = Shop::open(&api, &panel, 10, 3).await;
    panel.go_down().await;
    let made = shop.buy(&api).await;
    eventually("a call was tried", async || {
        let now = now(&api, &made).await;
        (now["last_observation"] == "not_connected").then_some(())
    })
    .await;
    assert_eq!(now(&api, &made).await["status"], "provisioning");
    api.make_plan(json!({})).await;
    panel.come_up().await;
    in_status(&api, &made, "active").await;
    assert_eq!(panel.creates_of(id(&made)), 1);
}

async fn calls_that_are_due_together_begin_one_after_the_other(server: Server) {
    let panel = Panel::start(Kind::Pterodactyl).await;
    let database = server.database().clone();
    drop(server);
    // The first call that fails keeps this process from the panel for a minute.
    let mut windows = WINDOWS;
    windows[3].1 = "60000";
    let server = Server::start_with(database.clone(), settings_with(&panel, windows)).await;
    let api = server.api();
    let shop = Shop::open(&api, &panel, 100, 1).await;
    panel.go_down().await;
    for _ in 0..100 {
        shop.buy(&api).await;
    }
    drop(server);
    panel.come_up().await;
    let server = Server::start_with(database, settings(&panel)).await;
    let mut begun = Vec::new();
    eventually("most of them are created", async || {
        begun = panel.calls_of(On::Create).iter().map(|call| call.at).collect();
        (begun.len() >= 80).then_some(())
    })
    .await;
    // Four at once, every 20 ms or later.
    let span = begun[79].duration_since(begun[0]);
    assert!(span >= Duration::from_millis(300), "{span:?}");
    drop(server);
}

async fn the_next_process_goes_on_after_a_kill(server: Server) {
    let (panel, mut server) = with_panel(server, Kind::Pterodactyl).await;
    let api = server.api();
    let shop = Shop::open(&api, &panel, 10, 3).await;
    panel.set_latency(Duration::from_millis(300));
    let made = shop.buy(&api).await;
    eventually("the call began", async || (panel.creates_of(id(&made)) > 0).then_some(())).await;
    server.kill9().await;
    panel.set_latency(Duration::ZERO);
    server.restart().await;
    let api = server.api();
    let active = in_status(&api, &made, "active").await;
    assert_eq!(panel.creates_of(id(&made)), 1, "it is not created twice");
    assert_eq!(shop.credits(&api).await, (7, 0));
    let told = timeline(&api, &made).await;
    assert!(told.iter().any(|entry| entry["observation"] == "lost"), "{active} {told:?}");
    verify(&server).await;
}

async fn a_server_process_stops_with_calls_in_flight(server: Server) {
    let (panel, mut server) = with_panel(server, Kind::Pterodactyl).await;
    let api = server.api();
    let shop = Shop::open(&api, &panel, 10, 3).await;
    panel.set_latency(Duration::from_secs(60));
    let made = shop.buy(&api).await;
    eventually("the call began", async || {
        let told = timeline(&api, &made).await;
        told.iter().any(|entry| entry["step"] == "called").then_some(())
    })
    .await;
    server.stop().await;
    panel.set_latency(Duration::ZERO);
    server.restart().await;
    let api = server.api();
    eventually("the server ends", async || {
        let now = now(&api, &made).await;
        ["active", "failed"].contains(&now["status"].as_str().unwrap()).then_some(())
    })
    .await;
    verify(&server).await;
}

async fn what_the_other_panel_calls_differently_is_refused(server: Server) {
    let (panel, server) = with_panel(server, Kind::Pterodactyl).await;
    let api = server.api();
    let shop = Shop::open(&api, &panel, 10, 3).await;
    let database = server.database().clone();
    drop(server);
    let pelican = Panel::start(Kind::Pelican).await;
    let server = Server::start_with(database, settings(&pelican)).await;
    let api = server.api();
    let refused = api.post("/v1/servers", &shop.order()).key("other").await;
    refused.problem(409, "PRODUCT_UNAVAILABLE");
    let product = json!({"id": shop.product});
    // Other fields can still be edited.
    api.change("products", &product, json!({"name": "edited"})).await;
    let path = format!("/v1/products/{}", shop.product);
    let body = json!({"deploy": {"locations": [2]}, "version": 2});
    api.patch(&path, &body).await.invalid("/deploy/locations");
    let deploy = json!({"deploy": {"locations": null, "tags": ["eu"]}});
    api.change("products", &product, deploy).await;
    shop.get(&api).await;
    assert_eq!(pelican.servers().len(), 1);
}

async fn the_timeline_tells_each_step(server: Server) {
    let (panel, server) = with_panel(server, Kind::Pterodactyl).await;
    let api = server.api();
    let shop = Shop::open(&api, &panel, 10, 3).await;
    let made = shop.get(&api).await;
    let told = timeline(&api, &made).await;
    let steps: Vec<&Value> = told.iter().map(|entry| &entry["step"]).collect();
    assert_eq!(steps, ["requested", "claimed", "called", "observed"]);
    let last = &told[3];
    assert_eq!((&last["call"], &last["observation"]), (&json!("create"), &json!("created")));
    assert_eq!((&last["verdict"], &last["status"]), (&json!("active"), &json!("active")));
    assert_eq!((&told[0]["by"], &last["by"]), (&json!("admin"), &json!("provisioning")));
    let path = format!("/v1/servers/{}/timeline", id(&made));
    let page = api.get(&format!("{path}?limit=3")).await.ok(200);
    let cursor = page["next_cursor"].as_str().unwrap();
    let rest = api.get(&format!("{path}?limit=3&cursor={cursor}")).await.ok(200);
    assert_eq!(rest["items"], json!([last]));
    assert_eq!(rest["next_cursor"], Value::Null);
}

postgres_only![several_processes_make_each_server_once];

async fn several_processes_make_each_server_once(server: Server) {
    let panel = Panel::start(Kind::Pterodactyl).await;
    panel.set_calls_per_minute(None);
    // On a busy machine, the panel must not come to a create after its settle window.
    let mut settings = settings(&panel);
    settings.env.push(("IFMATCH_PANEL_TIMEOUT_MS".to_owned(), "10000".to_owned()));
    let server = Server::start_with(alone(server), settings).await;
    let others = [server.sibling().await, server.sibling().await];
    let api = server.api();
    let shop = Shop::open(&api, &panel, 1_000, 3).await;
    panel.set_latency(Duration::from_millis(50));
    let apis = [api.clone(), others[0].api(), others[1].api()];
    let made = together(60, |n| {
        let (api, body) = (apis[n % 3].clone(), shop.order());
        async move { api.post("/v1/servers", &body).key(&unique("many")).await.ok(202) }
    })
    .await;
    for server in &made {
        in_status(&api, server, "active").await;
    }
    assert!(made.iter().all(|server| panel.creates_of(id(server)) == 1));
    assert_eq!(shop.credits(&api).await, (1_000 - 180, 0));
    verify(&server).await;
}
