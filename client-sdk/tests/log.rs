//! The client's logs. In a binary of its own, because tests without a subscriber would switch
//! logging off for the whole process.

use ifmatch::{Client, Decision, LockEnd, SubscriptionId, Ttl};
use serde_json::{Value, json};
use std::{
    io::{self, Write},
    sync::{Arc, Mutex},
};
use wiremock::{
    Mock, MockServer, ResponseTemplate,
    matchers::{method, path},
};

const KEY: &str = "ifm_test_CANARY0123456789";
const AT: &str = "2026-11-22T01:06:00.000000Z";

/// The log as text.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Logs everything of this thread until the guard is dropped.
    fn start() -> (Self, tracing::subscriber::DefaultGuard) {
        let log = Self::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().expect("no panic").clone()).expect("text")
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn subscription(version: i64, quantity: i64) -> Value {
    json!({"id": "sub_1", "version": version, "workspace_id": "wsp_1", "plan_id": "pln_1",
        "quantity": quantity, "status": "active", "notes": "", "cancel_at_period_end": false,
        "start_at": AT, "current_period_start": AT, "current_period_end": AT, "trial_end": null,
        "canceled_at": null, "ended_at": null, "metadata": {}, "created_at": AT, "updated_at": AT,
        "updated_by": "somebody"})
}

fn conflict() -> Value {
    json!({"type": "/problems/version-conflict", "title": "Version conflict", "status": 409,
        "detail": "stale", "code": "CONFLICT_VERSION_MISMATCH", "request_id": "req_1",
        "retry": {"action": "reapply", "after_ms": 0}, "conflict_id": "cfl_1",
        "resource": {"type": "subscription", "id": "sub_1"}, "expected_version": 1,
        "current_version": 2, "current": subscription(2, 9), "changes": [],
        "attempted": ["/quantity"],
        "merge": {"verdict": "overlap", "overlap": ["/quantity"], "groups_split": [],
            "preview": null}})
}

#[tokio::test]
async fn the_log_tells_the_course_of_an_edit_and_no_secret() {
    let (log, _logging) = Log::start();
    let server = MockServer::start().await;
    let answer = |status, body| ResponseTemplate::new(status).set_body_json(body);
    Mock::given(method("GET")).respond_with(answer(200, subscription(1, 5))).mount(&server).await;
    for reply in [ResponseTemplate::new(502), answer(409, conflict())] {
        Mock::given(method("PATCH")).respond_with(reply).up_to_n_times(1).mount(&server).await;
    }
    Mock::given(method("PATCH")).respond_with(answer(200, subscription(3, 6))).mount(&server).await;

    let billing = Client::builder(server.uri()).key(KEY).build().expect("a client");
    let id = SubscriptionId::from_unchecked("sub_1");
    let update = billing.subscriptions().update(&id, |s| s.quantity += 1);
    update.on_conflict(|_| async { Decision::Park }).await.expect_err("parked");
    for parked in billing.conflicts().list() {
        parked.resolve(Decision::Reapply).await.expect("resolved");
    }

    let text = log.text();
    for message in ["attempt", "send failed", "conflict", "parked", "resolving", "resolved"] {
        assert!(text.contains(message), "{message} in {text}");
    }
    assert!(!text.contains("CANARY"), "{text}");
}

#[tokio::test]
async fn the_log_tells_how_a_lock_was_lost_and_not_its_owner_token() {
    let (log, _logging) = Log::start();
    let server = MockServer::start().await;
    let answer = |status, body| ResponseTemplate::new(status).set_body_json(body);
    let grant = json!({"workspace_id": null, "key": "k", "scope": "global", "function": null,
        "owner": "own_CANARY0123456789", "fence": 7, "acquired_at": AT, "expires_at": AT,
        "ttl_remaining_ms": 3000, "waited_ms": 0});
    Mock::given(path("/v1/locks/k/acquire")).respond_with(answer(201, grant)).mount(&server).await;
    for (status, code) in [(403, "FORBIDDEN"), (409, "LOCK_LOST")] {
        let refusal = json!({"type": "/problems/x", "title": "x", "status": status, "detail": "x",
            "code": code, "request_id": "r", "retry": {"action": "none", "after_ms": 0}});
        Mock::given(path("/v1/locks/k/renew"))
            .respond_with(answer(status, refusal))
            .up_to_n_times(1)
            .mount(&server)
            .await;
    }
    let billing = Client::builder(server.uri()).key(KEY).build().expect("a client");
    let lock = billing.locks().acquire("k", Ttl::secs(3)).await.expect("acquired");
    assert_eq!(lock.lost().await, LockEnd::TakenAway);
    drop(lock);
    let text = log.text();
    for message in ["renewal failed", "lock lost", "lock=global//k", "fence=7"] {
        assert!(text.contains(message), "{message} in {text}");
    }
    assert!(!text.contains("CANARY"), "{text}");
}
