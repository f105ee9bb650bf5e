//! Keys of one workspace: what they see and change, and that nothing else exists for them.

use crate::harness::{Api, Call, EventStream, Server, both_databases, day, id, unique, units};
use serde_json::{Value, json};

both_databases![
    every_route_hides_what_is_foreign,
    lists_hold_what_is_the_keys_own,
    events_and_streams_tell_only_of_the_keys_own,
    a_body_that_names_a_foreign_object_is_told_that_there_is_none,
    a_transaction_reaches_nothing_foreign,
    what_only_other_keys_may_do_is_refused,
    a_booking_belongs_to_the_workspace_of_its_key,
    a_scoped_key_is_made_for_an_existing_workspace_and_never_for_an_admin,
];

/// A workspace with something of every kind, and the ids of it all.
struct Owned {
    workspace: String,
    namespace: String,
    subscription: String,
    invoice: String,
    payment: String,
    booking: String,
    reservation: String,
    server: String,
    feature: String,
    assignments: [String; 2],
    boosts: [String; 2],
    records: [String; 2],
    holds: [String; 2],
}

/// Objects of the catalogue, which every key may read.
struct Catalogue {
    plan: String,
    feature: String,
    package: String,
    bookable: String,
    product: String,
}

impl Owned {
    async fn make(api: &Api) -> Self {
        let post = async |path: &str, body: Value| {
            api.post(path, &body).key(&unique("make")).await.ok(201)
        };
        let workspace = id(&api.make_workspace(json!({"currency": "USD"})).await).to_owned();
        let body = json!({"workspace_id": workspace, "name": unique("space")});
        let namespace = id(&post("/v1/namespaces", body).await).to_owned();
        let plan = api.make_active_plan(json!({})).await;
        let body = json!({"workspace_id": workspace, "plan_id": id(&plan)});
        let subscription = id(&post("/v1/subscriptions", body).await).to_owned();
        let invoice = api.make_open_invoice(json!({ "workspace_id": workspace })).await;
        let payment = id(&api.pay(&invoice, 100).await.ok(201)).to_owned();
        let bookable = api.make_bookable(json!({})).await;
        let body = json!({"workspace_id": workspace, "bookable_id": id(&bookable),
            "start_date": day(30), "end_date": day(31), "quantity": 1});
        let booking = id(&post("/v1/bookings", body).await).to_owned();
        let reservation = id(&api.make_reservation(Some(&workspace)).await).to_owned();
        let server = id(&api.make_server(Some(&workspace)).await).to_owned();
        let feature = api.make_feature(json!({})).await;
        let mut of_scopes = Vec::new();
        for scope in [format!("workspaces/{workspace}"), format!("namespaces/{namespace}")] {
            let assignment = api.entitle(&scope, json!([units(&feature, 100)])).await;
            let body = json!({"feature": feature, "kind": "enable", "duration": "permanent"});
            let boost = post(&format!("/v1/{scope}/boosts"), body).await;
            let body = json!({"feature": feature, "quantity": 1});
            let record = post(&format!("/v1/{scope}/usage"), body).await;
            let body = json!({"feature": feature, "quantity": 1, "ttl_ms": 1_000_000});
            let hold = post(&format!("/v1/{scope}/usage/holds"), body).await;
            of_scopes.push([assignment, boost, record, hold].map(|made| id(&made).to_owned()));
        }
        let both = |n: usize| [of_scopes[0][n].clone(), of_scopes[1][n].clone()];
        Self {
            namespace,
            subscription,
            invoice: id(&invoice).to_owned(),
            payment,
            booking,
            reservation,
            server,
            feature,
            assignments: both(0),
            boosts: both(1),
            records: both(2),
            holds: both(3),
            workspace,
        }
    }

    /// Every id of something that hangs on the workspace.
    fn ids(&self) -> Vec<&str> {
        let single = [
            &self.workspace,
            &self.namespace,
            &self.subscription,
            &self.invoice,
            &self.payment,
            &self.booking,
            &self.reservation,
            &self.server,
        ];
        let pairs = [&self.assignments, &self.boosts, &self.records, &self.holds];
        single.into_iter().chain(pairs.into_iter().flatten()).map(String::as_str).collect()
    }

    #[track_caller]
    fn is_hidden_in(&self, text: &str) {
        for id in self.ids() {
            assert!(!text.contains(id), "{id} is told in {text}");
        }
    }

    /// A path of the document with the ids of these objects; without them, of none.
    fn fill(of: Option<&Self>, catalogue: &Catalogue, path: &str) -> String {
        let place = usize::from(path.starts_with("/v1/namespaces/"));
        let none = |prefix: &str| format!("{prefix}0193f0c0a1b27c3d8e4f5a6b7c8d9e0f");
        let is_of_scope = path.contains("/{}/packages");
        let mut filled = Vec::new();
        let mut previous = "";
        for part in path.split('/') {
            let own = |prefix: &str, id: fn(&Self, usize) -> &String| {
                of.map_or_else(|| none(prefix), |of| id(of, place).clone())
            };
            filled.push(match (part, previous) {
                ("{}", "workspaces") => own("wsp_", |of, _| &of.workspace),
                ("{}", "namespaces") => own("nsp_", |of, _| &of.namespace),
                ("{}", "subscriptions") => own("sub_", |of, _| &of.subscription),
                ("{}", "invoices") => own("inv_", |of, _| &of.invoice),
                ("{}", "payments") => own("pay_", |of, _| &of.payment),
                ("{}", "bookings") => own("bkg_", |of, _| &of.booking),
                ("{}", "reservations" | "transfers") => own("trf_", |of, _| &of.reservation),
                ("{}", "servers") => own("srv_", |of, _| &of.server),
                ("{}", "packages") if is_of_scope => own("asg_", |of, n| &of.assignments[n]),
                ("{}", "boosts") => own("bst_", |of, n| &of.boosts[n]),
                ("{}", "usage") => own("usg_", |of, n| &of.records[n]),
                ("{}", "holds") => own("hld_", |of, n| &of.holds[n]),
                ("{}", "entitlements") => own("", |of, _| &of.feature),
                ("{}", "plans") => catalogue.plan.clone(),
                ("{}", "features") => catalogue.feature.clone(),
                ("{}", "packages") => catalogue.package.clone(),
                ("{}", "bookables") => catalogue.bookable.clone(),
                ("{}", "products") => catalogue.product.clone(),
                ("{}", "api-keys") => none("key_"),
                ("{}", _) => "1".to_owned(),
                (part, _) => part.to_owned(),
            });
            previous = part;
        }
        filled.join("/")
    }
}

impl Catalogue {
    async fn make(api: &Api) -> Self {
        let made = |object: Value| id(&object).to_owned();
        let body = json!({"code": unique("feature"), "type": "limit"});
        Self {
            plan: made(api.make_plan(json!({})).await),
            feature: made(api.post("/v1/features", &body).await.ok(201)),
            package: made(api.make_package(json!([]), json!({})).await),
            bookable: made(api.make_bookable(json!({})).await),
            product: made(api.make_product(json!({})).await),
        }
    }
}

/// A client with a new key of this role for a workspace.
async fn scoped(api: &Api, role: &str, workspace: &str) -> Api {
    let body = json!({"name": unique(role), "role": role, "workspace_id": workspace});
    let made = api.post("/v1/api-keys", &body).await.ok(201);
    assert_eq!(made["workspace_id"], workspace);
    api.with_key(made["key"].as_str().unwrap())
}

/// Every path and method with a key, whether scoped keys may call it, and the roles.
async fn operations(api: &Api) -> Vec<(String, String, bool, String)> {
    let document = api.without_key().get("/openapi.json").await.ok(200);
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        let plain: Vec<_> =
            path.split('/').map(|part| if part.starts_with('{') { "{}" } else { part }).collect();
        for (method, operation) in item.as_object().unwrap() {
            let Some(role) = operation["x-role"].as_str() else { continue };
            let is_scoped = operation["x-scoped-keys"].as_bool().unwrap();
            operations.push((plain.join("/"), method.clone(), is_scoped, role.to_owned()));
        }
    }
    assert!(operations.len() > 80, "the document lists the API");
    operations
}

/// A request that is refused for its body only after the object was looked for.
fn probe(api: &Api, method: &str, path: &str) -> Call {
    let call = api.call(&method.to_uppercase(), path);
    match method {
        "get" if path.ends_with("/availability") => {
            api.get(&format!("{path}?from={}&to={}", day(1), day(2)))
        }
        "get" => call,
        "post" => {
            let body = "{\"no such field\":1}".to_owned();
            call.key(&unique("probe")).body("application/json", body)
        }
        "delete" => call.if_match(99),
        _ => call.if_match(99).body("application/json", "{\"no such field\":1}".to_owned()),
    }
}

/// An answer without what differs between two objects.
fn told(status: u16, text: &str, path: &str) -> Value {
    let mut text = text.to_owned();
    for part in path.split('/').filter(|part| part.len() == 36) {
        text = text.replace(part, "ID");
    }
    let mut body: Value = serde_json::from_str(&text).unwrap_or_default();
    body["request_id"].take();
    json!([status, body])
}

async fn every_route_hides_what_is_foreign(server: Server) {
    let api = server.api();
    let catalogue = Catalogue::make(&api).await;
    let (own, foreign) = (Owned::make(&api).await, Owned::make(&api).await);
    let agent = scoped(&api, "agent", &own.workspace).await;
    let owned = [
        "workspaces",
        "namespaces",
        "subscriptions",
        "invoices",
        "bookings",
        "reservations",
        "servers",
    ];
    let mut hidden = 0;
    for (path, method, is_scoped, role) in operations(&api).await {
        if path.ends_with("/stream") {
            continue;
        }
        let route = format!("{method} {path}");
        let of_own = Owned::fill(Some(&own), &catalogue, &path);
        let of_foreign = Owned::fill(Some(&foreign), &catalogue, &path);
        let answer = probe(&agent, &method, &of_foreign).await;
        // The caller's own path may be repeated to it.
        let echoed = of_foreign.split('/').filter(|part| part.len() == 36);
        foreign.is_hidden_in(&echoed.fold(answer.text.clone(), |text, id| text.replace(id, "")));
        if role == "admin" || !is_scoped {
            answer.problem(403, "FORBIDDEN");
            probe(&agent, &method, &of_own).await.problem(403, "FORBIDDEN");
            continue;
        }
        let collection = path.split('/').nth(2).unwrap_or_default();
        if owned.contains(&collection) && path.contains("{}") {
            let of_none = Owned::fill(None, &catalogue, &path);
            let none = probe(&agent, &method, &of_none).await;
            assert_eq!(none.status, 404, "{route}: {}", none.text);
            assert_eq!(
                told(answer.status, &answer.text, &of_foreign),
                told(none.status, &none.text, &of_none),
                "{route}: a foreign object is as one that does not exist"
            );
            hidden += 1;
        } else if method == "get" {
            assert_eq!(answer.status, 200, "{route} reads the catalogue: {}", answer.text);
        }
        let answer = probe(&agent, &method, &of_own).await;
        if method == "get" {
            assert_eq!(answer.status, 200, "{route} of its own: {}", answer.text);
        } else {
            let status = answer.status;
            assert!(![401, 403, 404, 500].contains(&status), "{route}: {}", answer.text);
        }
        let head = agent.call("HEAD", &of_foreign).await;
        if method == "get" && owned.contains(&collection) && path.contains("{}") {
            assert_eq!(head.status, 404, "HEAD {path}");
        }
    }
    assert!(hidden >= 60, "so many routes are about what hangs on a workspace: {hidden}");
}

async fn lists_hold_what_is_the_keys_own(server: Server) {
    let api = server.api();
    let (own, foreign) = (Owned::make(&api).await, Owned::make(&api).await);
    let nobodys = api.make_booking(json!({})).await;
    let viewer = scoped(&api, "viewer", &own.workspace).await;
    for (collection, expected) in [
        ("workspaces", &own.workspace),
        ("namespaces", &own.namespace),
        ("subscriptions", &own.subscription),
        ("invoices", &own.invoice),
        ("bookings", &own.booking),
        ("servers", &own.server),
    ] {
        for query in ["", "?sort=-created_at", "?limit=1"] {
            let page = viewer.get(&format!("/v1/{collection}{query}")).await.ok(200);
            let ids: Vec<_> = page["items"].as_array().unwrap().iter().map(id).collect();
            assert_eq!(ids, [expected], "{collection}{query}");
            assert_eq!(page["next_cursor"], json!(null), "nothing more is hinted at");
        }
        if collection != "workspaces" {
            let path = format!("/v1/{collection}?workspace_id={}", foreign.workspace);
            assert_eq!(viewer.get(&path).await.ok(200)["items"], json!([]), "{collection}");
        }
    }
    viewer.get(&format!("/v1/bookings/{}", id(&nobodys))).await.problem(404, "NOT_FOUND");
    assert!(viewer.list("/v1/plans").await.len() >= 2, "the catalogue is there");
}

async fn events_and_streams_tell_only_of_the_keys_own(server: Server) {
    let api = server.api();
    let (own, foreign) = (Owned::make(&api).await, Owned::make(&api).await);
    api.make_booking(json!({})).await;
    let viewer = scoped(&api, "viewer", &own.workspace).await;
    let page = viewer.get("/v1/events?after=0&limit=200").await.is(200);
    foreign.is_hidden_in(&page.text);
    let events = page.body["items"].as_array().unwrap();
    let told = |wanted: &str| events.iter().any(|event| event["resource"]["id"] == wanted);
    for wanted in [&own.workspace, &own.namespace, &own.subscription, &own.invoice, &own.booking] {
        assert!(told(wanted), "{wanted} is told");
    }
    for wanted in own.assignments.iter().chain(&own.boosts) {
        assert!(told(wanted), "{wanted} is told");
    }
    assert!(events.iter().all(|event| event["workspace_id"] == own.workspace.as_str()));
    let workspaces = viewer.get("/v1/events?after=0&type=workspace").await.ok(200);
    assert_eq!(workspaces["items"].as_array().unwrap().len(), 1);

    let last = page.body["next_cursor"].as_str().unwrap().to_owned();
    let open = viewer.get(&format!("/v1/events/stream?after={last}")).open().await;
    let mut stream = EventStream::new(open);
    let waiting = {
        let viewer = viewer.clone();
        let path = format!("/v1/events?after={last}&wait_ms=20000");
        tokio::spawn(async move { viewer.get(&path).await.ok(200) })
    };
    let rename = async |workspace: &str, n: i64| {
        let path = format!("/v1/workspaces/{workspace}");
        api.patch(&path, &json!({"name": unique("name")})).if_match(n).await.ok(200);
    };
    for n in 1..6 {
        rename(&foreign.workspace, n).await;
    }
    rename(&own.workspace, 1).await;
    let (_, event) = stream.next().await;
    assert_eq!(event["resource"]["id"], own.workspace.as_str(), "nothing foreign came before");
    let waited = waiting.await.unwrap();
    let ids: Vec<_> = waited["items"].as_array().unwrap().iter().collect();
    assert!(ids.iter().all(|event| event["resource"]["id"] == own.workspace.as_str()), "{ids:?}");
}

async fn a_body_that_names_a_foreign_object_is_told_that_there_is_none(server: Server) {
    let api = server.api();
    let (own, foreign) = (Owned::make(&api).await, Owned::make(&api).await);
    let agent = scoped(&api, "agent", &own.workspace).await;
    let plan = api.make_active_plan(json!({})).await;
    let bookable = api.make_bookable(json!({})).await;
    let send = async |path: &str, body: &Value| agent.post(path, body).key(&unique("key")).await;
    let none = format!("wsp_{}", "0".repeat(32));
    for workspace in [&foreign.workspace, &none] {
        for (path, body) in [
            ("/v1/namespaces", json!({"workspace_id": workspace, "name": "x"})),
            ("/v1/subscriptions", json!({"workspace_id": workspace, "plan_id": id(&plan)})),
            ("/v1/invoices", json!({"workspace_id": workspace, "tax": -1})),
            (
                "/v1/bookings",
                json!({"workspace_id": workspace, "bookable_id": id(&bookable),
                    "start_date": day(3), "end_date": day(3), "quantity": 1}),
            ),
        ] {
            let problem = send(path, &body).await.problem(404, "NOT_FOUND");
            let detail = problem["detail"].as_str().unwrap();
            assert_eq!(detail, format!("there is no workspace {workspace}"), "{path}");
        }
    }
    let body = json!({"workspace_id": own.workspace, "subscription_id": foreign.subscription});
    send("/v1/invoices", &body).await.problem(404, "NOT_FOUND");
    let body = json!({"workspace_id": own.workspace, "subscription_id": own.subscription});
    send("/v1/invoices", &body).await.ok(201);
    let body = json!({"workspace_id": own.workspace, "name": "mine"});
    let made = send("/v1/namespaces", &body).await.ok(201);
    let path = format!("/v1/namespaces/{}", id(&made));
    agent.patch(&path, &json!({"name": "still mine"})).if_match(1).await.ok(200);
    let conflict = agent.patch(&path, &json!({"name": "late"})).if_match(1).await.conflict(412);
    foreign.is_hidden_in(&conflict.to_string());
    let usage = json!({"feature": own.feature, "quantity": 1});
    send(&format!("/v1/namespaces/{}/usage", own.namespace), &usage).await.ok(201);
    let path = format!("/v1/namespaces/{}/usage", foreign.namespace);
    send(&path, &usage).await.problem(404, "NOT_FOUND");
}

async fn a_transaction_reaches_nothing_foreign(server: Server) {
    let api = server.api();
    let (own, foreign) = (Owned::make(&api).await, Owned::make(&api).await);
    let agent = scoped(&api, "agent", &own.workspace).await;
    let first = json!({"op": "patch", "type": "subscription", "id": own.subscription,
        "version": 1, "body": {"notes": "x"}});
    for second in [
        json!({"op": "patch", "type": "namespace", "id": foreign.namespace, "version": 1,
            "body": {"name": "x"}}),
        json!({"op": "delete", "type": "namespace", "id": foreign.namespace, "version": 1}),
        json!({"op": "check", "type": "subscription", "id": foreign.subscription, "version": 1}),
        json!({"op": "check", "type": "invoice", "id": foreign.invoice, "version": 1}),
        json!({"op": "create", "type": "namespace",
            "body": {"workspace_id": foreign.workspace, "name": "x"}}),
    ] {
        let body = json!({"operations": [first, second]});
        let answer = agent.post("/v1/transactions", &body).key(&unique("key")).await;
        let mut problem = answer.problem(404, "NOT_FOUND");
        // It repeats the id that the request named.
        problem["detail"].take();
        foreign.is_hidden_in(&problem.to_string());
        assert_eq!(problem["failed_index"], 1);
    }
    let plan = json!({"op": "create", "type": "plan", "body": {"code": unique("p"), "name": "n",
        "currency": "USD", "amount": 1, "interval": "month"}});
    let body = json!({"operations": [first, plan]});
    let problem = agent.post("/v1/transactions", &body).key(&unique("key")).await;
    assert_eq!(problem.problem(403, "FORBIDDEN")["failed_index"], 1);
    assert_eq!(
        api.get(&format!("/v1/subscriptions/{}", own.subscription)).await.ok(200)["version"],
        1
    );
    let body = json!({ "operations": [first] });
    agent.post("/v1/transactions", &body).key(&unique("key")).await.ok(200);
}

async fn what_only_other_keys_may_do_is_refused(server: Server) {
    let api = server.api();
    let own = Owned::make(&api).await;
    let agent = scoped(&api, "agent", &own.workspace).await;
    let workspace = format!("/v1/workspaces/{}", own.workspace);
    let currency = agent.patch(&workspace, &json!({"currency": "EUR"})).if_match(1).await;
    currency.problem(403, "FORBIDDEN");
    let put = agent.put(&workspace, &json!({"name": "without a currency"})).if_match(1).await;
    put.problem(403, "FORBIDDEN");
    let kept = json!({"name": "Acme & Sons", "currency": "USD"});
    agent.put(&workspace, &kept).if_match(1).await.ok(200);
    let lines = json!([{"description": "x", "quantity": 1, "unit_amount": 1}]);
    let open = json!({"workspace_id": own.workspace, "status": "open", "lines": lines});
    agent.post("/v1/invoices", &open).key(&unique("key")).await.problem(403, "FORBIDDEN");
    let draft = json!({"workspace_id": own.workspace, "lines": lines});
    let draft = agent.post("/v1/invoices", &draft).key(&unique("key")).await.ok(201);
    let path = format!("/v1/invoices/{}", id(&draft));
    agent.patch(&path, &json!({"status": "open"})).if_match(1).await.problem(403, "FORBIDDEN");
    agent.delete(&path).if_match(1).await.problem(403, "FORBIDDEN");
    agent.post("/v1/billing-runs", &json!({})).key("run").await.problem(403, "FORBIDDEN");
    // What the terms of its own subscription already owe may be invoiced.
    let settle = format!("/v1/subscriptions/{}/settle", own.subscription);
    agent.post(&settle, &json!({"version": 1})).key("settle").await.ok(201);
    let forced = agent.patch(&format!("{path}?force=true"), &json!({"notes": "x"}));
    forced.header("X-Force-Reason", "why").await.problem(403, "FORCE_FORBIDDEN");
}

async fn a_booking_belongs_to_the_workspace_of_its_key(server: Server) {
    let api = server.api();
    let workspace = api.make_workspace(json!({})).await;
    let agent = scoped(&api, "agent", id(&workspace)).await;
    let bookable = api.make_bookable(json!({"capacity": 9})).await;
    let days = json!({"bookable_id": id(&bookable), "start_date": day(3), "end_date": day(4),
        "quantity": 1});
    let booking = agent.post("/v1/bookings", &days).key(&unique("key")).await.ok(201);
    assert_eq!(booking["workspace_id"], workspace["id"]);
    let path = format!("/v1/bookings/{}", id(&booking));
    let moved = json!({"workspace_id": id(&api.make_workspace(json!({})).await)});
    api.patch(&path, &moved).if_match(1).await.invalid("/workspace_id");
    agent.patch(&path, &json!({"status": "confirmed"})).if_match(1).await.ok(200);
    let operation = json!({"op": "create", "type": "booking", "body": days});
    let body = json!({ "operations": [operation] });
    let made = agent.post("/v1/transactions", &body).key(&unique("key")).await.ok(200);
    assert_eq!(made["results"][0]["body"]["workspace_id"], workspace["id"], "{made}");
    let nobodys = api.post("/v1/bookings", &days).key(&unique("key")).await.ok(201);
    assert_eq!(nobodys["workspace_id"], json!(null));
    assert_eq!(agent.list("/v1/bookings").await.len(), 2);
    let mut body = days.clone();
    body["workspace_id"] = json!(format!("wsp_{}", "0".repeat(32)));
    api.post("/v1/bookings", &body).key(&unique("key")).await.invalid("/workspace_id");
}

async fn a_scoped_key_is_made_for_an_existing_workspace_and_never_for_an_admin(server: Server) {
    let api = server.api();
    let workspace = api.make_workspace(json!({})).await;
    let key = |role: &str, workspace: &str| json!({"name": unique("key"), "role": role, "workspace_id": workspace});
    api.post("/v1/api-keys", &key("admin", id(&workspace))).await.invalid("/role");
    let none = format!("wsp_{}", "0".repeat(32));
    api.post("/v1/api-keys", &key("agent", &none)).await.invalid("/workspace_id");
    let plan = api.make_plan(json!({})).await;
    let wrong = api.post("/v1/api-keys", &key("agent", id(&plan))).await;
    wrong.problem(400, "WRONG_ID_TYPE");
    let usage = scoped(&api, "usage", id(&workspace)).await;
    let path = format!("/v1/workspaces/{}", id(&workspace));
    usage.get(&format!("{path}/entitlements")).await.ok(200);
    usage.get(&path).await.problem(403, "FORBIDDEN");
}
