//! Every route, taken from the OpenAPI document, so that none escapes these tests.

use crate::harness::{Api, Call, Server, both_databases, id, unique, version};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Paths that need no key.
const OPEN: [&str; 6] = ["/healthz", "/readyz", "/metrics", "/openapi.json", "/docs", "/console"];
/// Operations that only an admin may do, by path and method.
const ADMIN_ONLY: [(&str, &str); 10] = [
    ("/v1/api-keys", "get"),
    ("/v1/api-keys", "post"),
    ("/v1/api-keys/{}", "delete"),
    ("/v1/api-keys/{}/rotate", "post"),
    ("/v1/audit", "get"),
    ("/v1/locks/{}/force-release", "post"),
    ("/v1/servers/{}/resolve", "post"),
    ("/v1/workspaces/{}/credits/topups", "post"),
    ("/v1/workspaces/{}/credits/adjustments", "post"),
    ("/v1/workspaces/{}/balance/adjustments", "post"),
];
/// Routes with PATCH, PUT or DELETE that name no version.
const VERSIONLESS: [&str; 1] = ["/v1/api-keys/{}"];
const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

both_databases![
    every_route_asks_for_a_key_and_for_the_role_it_needs,
    every_versioned_route_checks_key_role_version_and_replay,
    every_documented_path_exists_with_exactly_its_methods,
    no_route_forgets_idempotency,
    no_route_ignores_a_condition_or_a_doubled_header,
];

/// Every path and method of the document, with parameter names removed.
async fn operations(server: &Server) -> Vec<(String, String)> {
    let document = server.api().without_key().get("/openapi.json").await.ok(200);
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().expect("it lists paths") {
        let plain: Vec<_> =
            path.split('/').map(|part| if part.starts_with('{') { "{}" } else { part }).collect();
        for method in METHODS.iter().filter(|method| item.get(**method).is_some()) {
            operations.push((plain.join("/"), (*method).to_owned()));
        }
    }
    assert!(operations.len() > 30, "the document lists the API: {operations:?}");
    operations
}

fn is_open(path: &str) -> bool {
    OPEN.iter().any(|open| path == *open || path.starts_with(&format!("{open}/")))
}

/// Whether the role `usage` may do this: record usage, hold, settle, release, reverse, and read what
/// may be used.
fn is_for_usage(path: &str, method: &str) -> bool {
    let below = path
        .strip_prefix("/v1/workspaces/{}/")
        .or_else(|| path.strip_prefix("/v1/namespaces/{}/"))
        .unwrap_or_default();
    match method {
        "get" => ["entitlements", "entitlements/{}"].contains(&below),
        "post" => below.starts_with("usage"),
        _ => false,
    }
}

/// A path filled with ids of the right type that name no object.
fn filled(path: &str) -> String {
    let mut filled = Vec::new();
    let mut previous = "";
    let is_of_scope = path.contains("/{}/packages");
    for part in path.split('/') {
        let prefix = match previous {
            "plans" => "pln_",
            "workspaces" => "wsp_",
            "namespaces" => "nsp_",
            "subscriptions" => "sub_",
            "invoices" => "inv_",
            "payments" => "pay_",
            "features" => "ftr_",
            "packages" if is_of_scope => "asg_",
            "packages" => "pkg_",
            "boosts" => "bst_",
            "usage" => "usg_",
            "holds" => "hld_",
            "bookables" => "bkb_",
            "bookings" => "bkg_",
            "transfers" | "reservations" => "trf_",
            "products" => "prd_",
            "servers" => "srv_",
            "api-keys" => "key_",
            _ => "",
        };
        filled.push(match (part, prefix) {
            ("{}", "") => "1".to_owned(),
            ("{}", prefix) => format!("{prefix}0193f0c0a1b27c3d8e4f5a6b7c8d9e0f"),
            (part, _) => part.to_owned(),
        });
        previous = part;
    }
    filled.join("/")
}

/// A request that is refused for its body if it passes the checks before.
fn probe(api: &Api, path: &str, method: &str) -> Call {
    let call = api.call(&method.to_uppercase(), &filled(path));
    if ["post", "put", "patch"].contains(&method) {
        call.body("application/json", "{\"no such field\":1}".to_owned())
    } else {
        call
    }
}

async fn every_route_asks_for_a_key_and_for_the_role_it_needs(server: Server) {
    let admin = server.api();
    let anonymous = admin.without_key();
    let (viewer, agent) = (admin.make_key("viewer").await, admin.make_key("agent").await);
    let usage = admin.make_key("usage").await;
    for (path, method) in operations(&server).await {
        let status = async |api: &Api| probe(api, &path, &method).open().await.status().as_u16();
        let route = format!("{method} {path}");
        if is_open(&path) {
            assert!(![401, 403].contains(&status(&anonymous).await), "{route} is open");
            continue;
        }
        assert_eq!(status(&anonymous).await, 401, "{route} needs a key");
        let admin_only =
            ADMIN_ONLY.contains(&(path.as_str(), method.as_str())) || path.ends_with("/redact");
        let write = method != "get";
        let refusal = |refused: bool, status: u16| (status == 403) == refused && status != 401;
        let as_viewer = status(&viewer).await;
        assert!(refusal(admin_only || write, as_viewer), "{route} as viewer: {as_viewer}");
        let as_agent = status(&agent).await;
        assert!(refusal(admin_only, as_agent), "{route} as agent: {as_agent}");
        let as_usage = status(&usage).await;
        assert!(refusal(!is_for_usage(&path, &method), as_usage), "{route} as usage: {as_usage}");
        let as_admin = status(&admin).await;
        assert!(refusal(false, as_admin), "{route} as admin: {as_admin}");
        for status in [as_viewer, as_agent, as_admin] {
            assert_ne!(status, 500, "{route}");
        }
    }
    let routes: BTreeSet<_> = operations(&server).await.into_iter().collect();
    for (path, method) in &ADMIN_ONLY {
        assert!(routes.contains(&((*path).to_owned(), (*method).to_owned())), "{method} {path}");
    }
}

/// A fresh object of a collection, and a valid edit of it.
pub async fn make(api: &Api, collection: &str) -> (Value, Value) {
    match collection {
        "plans" => (api.make_plan(json!({})).await, json!({"name": "edited"})),
        "workspaces" => (api.make_workspace(json!({})).await, json!({"name": "edited"})),
        "namespaces" => (api.make_namespace(json!({})).await, json!({"name": "edited"})),
        "subscriptions" => (api.make_subscription(json!({})).await, json!({"notes": "edited"})),
        "invoices" => (api.make_invoice(json!({})).await, json!({"notes": "edited"})),
        "features" => {
            let body = json!({"code": unique("feature"), "type": "limit"});
            (api.post("/v1/features", &body).await.ok(201), json!({"name": "edited"}))
        }
        "packages" => {
            let body = json!({"code": unique("package")});
            (api.post("/v1/packages", &body).await.ok(201), json!({"name": "edited"}))
        }
        "workspaces/{}/packages" | "namespaces/{}/packages" => {
            let (package, _) = Box::pin(make(api, "packages")).await;
            let scopes = collection.strip_suffix("/{}/packages").unwrap();
            let (scope, _) = Box::pin(make(api, scopes)).await;
            let path = format!("/v1/{scopes}/{}/packages", id(&scope));
            let body = json!({"package": package["code"]});
            (api.post(&path, &body).await.ok(201), json!({"status": "suspended"}))
        }
        // A boost is not edited, only revoked.
        "workspaces/{}/boosts" | "namespaces/{}/boosts" => {
            let scopes = collection.strip_suffix("/{}/boosts").unwrap();
            let (scope, _) = Box::pin(make(api, scopes)).await;
            let feature = api.make_feature(json!({})).await;
            let of = format!("{scopes}/{}", id(&scope));
            let made = api.boost(&of, &feature, json!({})).await.ok(201);
            let path = format!("/v1/{of}/boosts/{}", id(&made));
            (api.get(&path).await.ok(200), json!({}))
        }
        "bookables" => (api.make_bookable(json!({})).await, json!({"name": "edited"})),
        "bookings" => (api.make_booking(json!({})).await, json!({"notes": "edited"})),
        "products" => (api.make_product(json!({})).await, json!({"name": "edited"})),
        "servers" => (api.make_server(None).await, json!({"name": "edited"})),
        // Locks are no objects; any name is one of a lock.
        "locks" => (json!({"id": unique("lock")}), json!({})),
        "reservations" => (api.make_reservation(None).await, json!({})),
        other => panic!("say here how a test makes one of the {other}"),
    }
}

/// The versioned write `method` on an object, without naming a version.
fn write(api: &Api, method: &str, path: &str, object: &Value, edit: &Value) -> Call {
    match method {
        "patch" => api.patch(path, edit),
        "put" => {
            let settable = [
                "code",
                "name",
                "type",
                "currency",
                "amount",
                "interval",
                "workspace_id",
                "plan_id",
                "start_at",
                "capacity",
                "bookable_id",
                "start_date",
                "end_date",
                "quantity",
                "egg",
                "price_credits",
                "docker_image",
                "startup",
                "limits",
                "deploy",
                "product_id",
                "panel_user",
            ];
            let mut body = edit.clone();
            for field in settable.into_iter().filter(|field| !object[*field].is_null()) {
                if body.get(field).is_none() {
                    body[field] = object[field].clone();
                }
            }
            api.put(path, &body)
        }
        _ => api.delete(path),
    }
}

async fn every_versioned_route_checks_key_role_version_and_replay(server: Server) {
    let admin = server.api();
    let anonymous = admin.without_key();
    let viewer = admin.make_key("viewer").await;
    let mut checked = 0;
    for (path, method) in operations(&server).await {
        if !["patch", "put", "delete"].contains(&method.as_str())
            || VERSIONLESS.contains(&path.as_str())
        {
            continue;
        }
        let route = format!("{method} {path}");
        let collection = path.strip_prefix("/v1/").and_then(|rest| rest.strip_suffix("/{}"));
        let collection = collection.unwrap_or_else(|| panic!("say here how to test {route}"));
        let (mut object, edit) = make(&admin, collection).await;
        let collection = match object["scope"].as_str() {
            Some(scope) => format!("{scope}/{}", collection.rsplit('/').next().unwrap()),
            None => collection.to_owned(),
        };
        if (collection.as_str(), method.as_str()) == ("bookings", "delete") {
            // An active booking cannot be deleted.
            object = admin.make_cancelled_booking().await;
        }
        let path = format!("/v1/{collection}/{}", id(&object));
        let now = version(&object);
        let send = |api: &Api| write(api, &method, &path, &object, &edit);

        send(&anonymous).if_match(now).await.problem(401, "UNAUTHENTICATED");
        send(&viewer).if_match(now).await.problem(403, "FORBIDDEN");
        send(&admin).await.problem(428, "PRECONDITION_REQUIRED");
        send(&admin).if_match(now + 1).await.conflict(412);
        assert_eq!(admin.read(&collection, &object).await, object, "{route}: nothing happened");
        let key = unique("surface");
        // The deletion of a server goes on after its answer.
        let goes_on = (collection.as_str(), method.as_str()) == ("servers", "delete");
        let status = if goes_on { 202 } else { 200 };
        let first = send(&admin).if_match(now).key(&key).await.is(status);
        let again = send(&admin).if_match(now).key(&key).await.is(status);
        assert_eq!(again.header("Idempotency-Replayed"), Some("true"), "{route}");
        assert_eq!(again.body, first.body, "{route}");
        checked += 1;
        if goes_on {
            continue;
        }
        assert_eq!(
            i64::try_from(admin.history(&path).await.len()).unwrap(),
            now + 1,
            "{route}: it was applied once"
        );
        let stale = send(&admin).if_match(now).await;
        match method.as_str() {
            "delete" => stale.problem(410, "DELETED"),
            _ => stale.conflict(412),
        };
    }
    assert!(checked >= 35, "eleven collections have three such routes, two scopes one: {checked}");
}

async fn every_documented_path_exists_with_exactly_its_methods(server: Server) {
    let api = server.api();
    let operations = operations(&server).await;
    let paths: BTreeSet<_> = operations.iter().map(|(path, _)| path).collect();
    for path in paths {
        let documented: BTreeSet<_> = operations
            .iter()
            .filter(|(other, _)| other == path)
            .map(|(_, method)| method.to_uppercase())
            .collect();
        let answer = api.call("TRACE", &filled(path)).await;
        let allow = answer.header("Allow").unwrap_or_default().to_owned();
        assert_eq!(answer.status, 405, "{path} exists: {}", answer.text);
        let allowed: BTreeSet<_> = allow
            .split(',')
            .map(|method| method.trim().to_owned())
            .filter(|method| !["HEAD", "OPTIONS", ""].contains(&method.as_str()))
            .collect();
        assert_eq!(allowed, documented, "{path} has the documented answers");
    }
}

async fn no_route_forgets_idempotency(server: Server) {
    let api = server.api();
    let collections = [
        "plans",
        "workspaces",
        "namespaces",
        "subscriptions",
        "invoices",
        "features",
        "packages",
        "bookables",
        "bookings",
        "products",
        "servers",
    ];
    for collection in collections {
        let (object, _) = make(&api, collection).await;
        let fields = [
            "code",
            "name",
            "type",
            "currency",
            "amount",
            "interval",
            "workspace_id",
            "plan_id",
            "capacity",
            "bookable_id",
            "start_date",
            "end_date",
            "quantity",
            "egg",
            "price_credits",
            "docker_image",
            "startup",
            "limits",
            "deploy",
            "product_id",
            "panel_user",
        ];
        let mut body = json!({});
        for field in fields.iter().filter(|field| !object[**field].is_null()) {
            body[*field] = object[*field].clone();
        }
        if !object["code"].is_null() {
            body["code"] = json!(unique("again"));
        }
        if collection == "servers" {
            // The price is the product's.
            body.as_object_mut().unwrap().remove("price_credits");
        }
        let path = format!("/v1/{collection}");
        let before = api.list(&path).await.len();
        let key = unique("create");
        let status = if collection == "servers" { 202 } else { 201 };
        let first = api.post(&path, &body).key(&key).await.is(status);
        let again = api.post(&path, &body).key(&key).await.is(status);
        assert_eq!(again.header("Idempotency-Replayed"), Some("true"), "{collection}");
        assert_eq!(again.body, first.body);
        assert_eq!(api.list(&path).await.len(), before + 1, "{collection}");
        assert_eq!(version(&again.body), 1);
    }
    let run = json!({"as_of": "2024-01-01T00:00:00Z"});
    let first = api.post("/v1/billing-runs", &run).key("run").await;
    let again = api.post("/v1/billing-runs", &run).key("run").await;
    assert_eq!(again.header("Idempotency-Replayed"), Some("true"), "{}", again.text);
    assert_eq!((again.status, again.body), (first.status, first.body));
}

async fn no_route_ignores_a_condition_or_a_doubled_header(server: Server) {
    let api = server.api();
    for (path, method) in operations(&server).await {
        if is_open(&path) {
            continue;
        }
        let header = if method == "get" { "If-Match" } else { "If-None-Match" };
        let malformed = probe(&api, &path, &method).header(header, "7").await;
        malformed.problem(400, "MALFORMED_PRECONDITION");
        let doubled = probe(&api, &path, &method).header("X-Lock", "a").header("X-Lock", "a").await;
        doubled.problem(400, "MALFORMED_REQUEST");
    }
}
