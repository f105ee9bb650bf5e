//! Assignments of packages are made, suspended and cancelled; boosts are granted.

use crate::fake::{KEY, problem};
use crate::meter::{AT, RESETS_AT, workspace};
use ifmatch::{
    AssignmentId, AssignmentStatus, BoostDuration, BoostKind, Client, Decision, Error,
    FeatureFields, NamespaceId, NewBoost, Reset, Resolution, Scope,
};
use serde_json::{Value, json};
use wiremock::{
    Mock, MockServer, ResponseTemplate,
    matchers::{body_json, header_exists, method, path},
};

const PACKAGES: &str = "/v1/workspaces/wsp_1/packages";
const ASSIGNMENT: &str = "/v1/workspaces/wsp_1/packages/asg_1";

fn client(server: &MockServer) -> Client {
    Client::builder(server.uri()).key(KEY).build().expect("a client")
}

fn id() -> AssignmentId {
    AssignmentId::from_unchecked("asg_1")
}

fn assignment(version: i64, status: &str, cancel_at: Option<&str>) -> Value {
    json!({"id": "asg_1", "version": version, "scope": "workspaces/wsp_1", "package": "pro",
        "status": status, "is_base": true, "starts_at": AT, "expires_at": null,
        "cancel_at": cancel_at, "ended_at": null, "anchor_at": AT,
        "external_service_id": "order-1", "created_at": AT, "updated_at": AT, "updated_by": "me"})
}

fn ok(body: Value) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(body)
}

fn conflict(expected: i64, current: Value) -> ResponseTemplate {
    let version = current.get("version");
    let report = json!({"conflict_id": "cfl_1",
        "resource": {"type": "assignment", "id": "asg_1"}, "expected_version": expected,
        "current_version": version, "current": current, "changes": [],
        "attempted": ["/status"],
        "merge": {"verdict": "clean", "overlap": [], "groups_split": [], "preview": null}});
    problem(409, "CONFLICT_VERSION_MISMATCH", report)
}

async fn answer(server: &MockServer, verb: &str, at: &str, body: Value, with: ResponseTemplate) {
    Mock::given(method(verb))
        .and(path(at))
        .and(header_exists("idempotency-key"))
        .and(body_json(body))
        .respond_with(with)
        .expect(1)
        .mount(server)
        .await;
}

#[tokio::test]
async fn a_package_is_assigned_under_its_scope() {
    let server = MockServer::start().await;
    let body = json!({"package": "pro", "external_service_id": "order-1", "expires_at": RESETS_AT});
    answer(&server, "POST", PACKAGES, body, ok(assignment(1, "active", None))).await;
    let expires_at = serde_json::from_value(json!(RESETS_AT)).expect("an instant");
    let made = client(&server)
        .assignments(workspace())
        .assign("pro")
        .external_service_id("order-1")
        .expires_at(expires_at)
        .await
        .expect("assigned");
    assert_eq!((made.version(), made.status), (1, AssignmentStatus::Active));

    let body = json!({"package": "pro", "external_service_id": null, "expires_at": null});
    let taken = problem(409, "BASE_PACKAGE_CONFLICT", json!({"existing_id": "asg_9"}));
    answer(&server, "POST", "/v1/namespaces/nsp_1/packages", body, taken).await;
    let namespace = NamespaceId::from_unchecked("nsp_1");
    let refused = client(&server).assignments(namespace).assign("pro").await.expect_err("refused");
    assert_eq!(refused.existing_id(), Some("asg_9"));
}

#[tokio::test]
async fn a_suspension_is_made_again_on_what_others_did() {
    let server = MockServer::start().await;
    Mock::given(method("GET"))
        .and(path(ASSIGNMENT))
        .respond_with(ok(assignment(1, "active", None)))
        .mount(&server)
        .await;
    let meanwhile = assignment(2, "active", Some(RESETS_AT));
    let stale = json!({"status": "suspended", "version": 1});
    answer(&server, "PATCH", ASSIGNMENT, stale, conflict(1, meanwhile)).await;
    let fresh = json!({"status": "suspended", "version": 2});
    let suspended = assignment(3, "suspended", Some(RESETS_AT));
    answer(&server, "PATCH", ASSIGNMENT, fresh, ok(suspended)).await;
    let suspended = client(&server).assignments(workspace()).suspend(&id()).await.expect("done");
    assert_eq!((suspended.version(), suspended.conflicts()), (3, 1));
    assert!(suspended.cancel_at.is_some(), "the other writer's change is kept");
}

#[tokio::test]
async fn a_clash_over_an_assignment_is_parked_and_resolved_under_its_scope() {
    let server = MockServer::start().await;
    Mock::given(method("GET"))
        .and(path(ASSIGNMENT))
        .respond_with(ok(assignment(1, "active", None)))
        .mount(&server)
        .await;
    let stale = json!({"status": "cancelled", "version": 1});
    let meanwhile = assignment(2, "suspended", None);
    answer(&server, "PATCH", ASSIGNMENT, stale, conflict(1, meanwhile)).await;
    let billing = client(&server);
    let cancelling = billing.assignments(workspace()).cancel(&id());
    let parked = cancelling.on_conflict(|_| async { Decision::Park }).await.expect_err("parked");
    assert!(matches!(parked, Error::Unresolved(_)), "{parked}");
    let forced = json!({"status": "cancelled", "version": 2});
    answer(&server, "PATCH", ASSIGNMENT, forced, ok(assignment(3, "cancelled", None))).await;
    for parked in billing.conflicts().list() {
        let resolved = parked.resolve(Decision::Reapply).await.expect("resolved");
        assert!(matches!(resolved, Resolution::Written(_)), "{resolved:?}");
    }
}

#[tokio::test]
async fn a_cancellation_is_planned_and_taken_back() {
    let server = MockServer::start().await;
    let now = |body| Mock::given(method("GET")).and(path(ASSIGNMENT)).respond_with(ok(body));
    now(assignment(1, "active", None)).up_to_n_times(1).mount(&server).await;
    now(assignment(2, "active", Some(RESETS_AT))).mount(&server).await;
    let planned = json!({"cancel_at": RESETS_AT, "version": 1});
    let with = ok(assignment(2, "active", Some(RESETS_AT)));
    answer(&server, "PATCH", ASSIGNMENT, planned, with).await;
    let taken_back = json!({"cancel_at": null, "version": 2});
    answer(&server, "PATCH", ASSIGNMENT, taken_back, ok(assignment(3, "active", None))).await;
    let assignments = client(&server).assignments(workspace());
    let at = serde_json::from_value(json!(RESETS_AT)).expect("an instant");
    assignments.cancel_at(&id(), at).await.expect("planned");
    let kept = assignments.update(&id(), |a| a.cancel_at = None).await.expect("taken back");
    assert_eq!((kept.version(), kept.cancel_at), (3, None));
    // An edit to the current values writes nothing.
    let active = assignments.reactivate(&id()).await.expect("active");
    assert!(!active.changed());
}

#[tokio::test]
async fn a_boost_is_granted_once() {
    let server = MockServer::start().await;
    let boost = json!({"id": "bst_1", "version": 1, "scope": "workspaces/wsp_1",
        "feature": "api.calls", "kind": "add_limit", "duration": "consumable", "amount": 5,
        "consumed": 0, "priority": 100, "expires_at": null, "source": null,
        "external_addon_id": "order-1", "created_at": AT, "updated_at": AT, "updated_by": "me"});
    let mut granted = boost.clone();
    granted["effective"] = json!(false);
    granted["duplicate"] = json!(true);
    let body = json!({"feature": "api.calls", "kind": "add_limit", "amount": 5,
        "duration": "consumable", "expires_at": null, "priority": 100, "source": null,
        "external_addon_id": "order-1"});
    answer(&server, "POST", "/v1/workspaces/wsp_1/boosts", body, ok(granted)).await;
    Mock::given(path("/v1/workspaces/wsp_1/boosts/bst_1"))
        .respond_with(ok(boost.clone()))
        .mount(&server)
        .await;
    Mock::given(path("/v1/workspaces/wsp_1/boosts"))
        .respond_with(ok(json!({"items": [boost], "next_cursor": null})))
        .mount(&server)
        .await;
    let boosts = client(&server).boosts(workspace());
    let new = NewBoost {
        feature: "api.calls".into(),
        kind: BoostKind::AddLimit,
        amount: Some(5),
        duration: BoostDuration::Consumable,
        expires_at: None,
        priority: 100,
        source: None,
        external_addon_id: Some("order-1".into()),
    };
    let answer = boosts.grant(new).await.expect("granted");
    assert!(answer.duplicate && !answer.effective);
    assert_eq!(boosts.get(&answer.boost.id).await.expect("a boost"), answer.boost);
    assert_eq!(boosts.list().await.expect("a page").items, [answer.boost]);
}

#[tokio::test]
async fn advice_records_and_the_log_are_read() {
    let server = MockServer::start().await;
    let by = json!({"actor": "me", "on_behalf_of": null, "source": "api", "forced": false});
    let advice = json!({"feature": "api.calls", "allowed": false, "used": 3, "held": 0,
        "limit": 3, "remaining": 0, "unlimited": false, "resets_at": null,
        "charged_scope": "workspaces/wsp_1", "as_of": AT});
    let record = json!({"id": "usg_1", "scope": "namespaces/nsp_1",
        "charged_scope": "workspaces/wsp_1", "feature": "api.calls", "quantity": 3, "reversed": 0,
        "metadata": {}, "at": AT, "by": by, "request_id": "r"});
    let entry = json!({"id": "elg_1", "type": "usage.denied", "at": AT, "by": by,
        "request_id": "r", "details": {}});
    for (at, body) in [
        ("entitlements/api.calls", advice.clone()),
        ("entitlements", json!({"items": [advice], "next_cursor": null})),
        ("usage", json!({"items": [record], "next_cursor": null})),
        ("entitlement-log", json!({"items": [entry], "next_cursor": null})),
    ] {
        let at = format!("/v1/namespaces/nsp_1/{at}");
        Mock::given(method("GET")).and(path(at)).respond_with(ok(body)).mount(&server).await;
    }
    let scope = Scope::from(NamespaceId::from_unchecked("nsp_1"));
    let usage = client(&server).usage(&scope);
    assert!(!usage.can("api.calls").await.expect("an advice"));
    assert_eq!(usage.entitlement("api.calls").await.expect("an advice").meter.used, 3);
    assert_eq!(usage.entitlements().await.expect("a page").items.len(), 1);
    assert_eq!(usage.records().await.expect("a page").items.len(), 1);
    assert_eq!(usage.log().await.expect("a page").items.len(), 1);
}

#[tokio::test]
async fn features_and_packages_are_collections() {
    let server = MockServer::start().await;
    let body = json!({"code": "api.calls", "name": "", "type": "limit", "reset": "monthly",
        "rolling_days": null, "parent_code": null, "releasable": false, "status": null});
    let mut feature = body.clone();
    for (name, value) in
        [("id", json!("ftr_1")), ("version", json!(1)), ("status", json!("active"))]
    {
        feature[name] = value;
    }
    for name in ["created_at", "updated_at"] {
        feature[name] = json!(AT);
    }
    feature["updated_by"] = json!("me");
    answer(&server, "POST", "/v1/features", body, ok(feature)).await;
    let fields = FeatureFields {
        code: "api.calls".into(),
        reset: Reset::Monthly,
        ..FeatureFields::default()
    };
    let made = client(&server).features().create(fields).await.expect("made");
    assert_eq!((made.id.as_str(), made.reset), ("ftr_1", Reset::Monthly));
    let package = json!({"id": "pkg_1", "version": 1, "code": "pro", "name": "", "is_base": true,
        "is_stackable": false, "grants": [{"feature": "api.calls", "grant": "limit", "limit": 3}],
        "status": "active", "created_at": AT, "updated_at": AT, "updated_by": "me"});
    Mock::given(path("/v1/packages/pkg_1")).respond_with(ok(package)).mount(&server).await;
    let id = ifmatch::PackageId::from_unchecked("pkg_1");
    let package = client(&server).packages().get(&id).await.expect("a package");
    assert_eq!(package.grants.first().and_then(|grant| grant.limit), Some(3));
}
