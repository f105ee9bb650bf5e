//! The rest of the surface: setup, reads, creates, lists, payments, transactions, events.

use crate::fake::{Fake, KEY, id, problem};
use futures::TryStreamExt;
use ifmatch::{
    Client, Code, Error, Invoice, InvoiceId, NewApiKey, NewPayment, PaymentId, Role, Workspace,
    WorkspaceFields,
};
use serde_json::{Value, json};
use wiremock::{
    Mock, MockServer, ResponseTemplate,
    matchers::{body_json, header_exists, method, path, query_param, query_param_is_missing},
};

const AT: &str = "2026-11-22T01:06:00.000000Z";

fn client(server: &MockServer) -> Client {
    Client::builder(server.uri()).key(KEY).build().expect("a client")
}

fn workspace(number: i64) -> Value {
    json!({"id": format!("wsp_{number}"), "version": 1, "name": "Acme", "email": null,
        "currency": null, "metadata": {}, "created_at": AT, "updated_at": AT, "updated_by": "me"})
}

fn ok(body: Value) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(body)
}

#[tokio::test]
async fn the_key_is_in_no_debug_output_and_no_error() {
    let builder = Client::builder("http://127.0.0.1:9").key(KEY);
    let shown = format!("{builder:?}");
    let billing = builder.deadline(std::time::Duration::from_millis(50)).build().expect("a client");
    let error = billing.subscriptions().get(&id()).await.expect_err("no server answers");
    let update = billing.subscriptions().update(&id(), |s| s.quantity += 1);
    let call = billing.run_billing(ifmatch::Timestamp::now());
    for text in [
        shown,
        format!("{billing:?} {:?} {:?}", billing.subscriptions(), billing.conflicts()),
        format!("{update:?} {call:?} {error:?} {error}"),
        format!("{:?}", billing.transaction()),
    ] {
        assert!(!text.contains("CANARY"), "{text}");
    }
}

#[test]
fn tls_needs_no_choice_of_the_host_app() {
    Client::builder("https://billing.test").key(KEY).build().expect("a client");
    assert!(rustls::crypto::CryptoProvider::get_default().is_some());
}

#[test]
fn what_cannot_work_is_refused_before_anything_is_sent() {
    let build = |url: &str, key: &str| Client::builder(url).key(key).build();
    for (url, key) in [
        ("not a URL", KEY),
        ("ftp://host", KEY),
        ("http://user:CANARY@host", KEY),
        ("http://host?key=CANARY", KEY),
        ("http://localhost", ""),
        ("http://localhost", "CANARY\n"),
    ] {
        let error = build(url, key).expect_err(url);
        assert!(matches!(error, Error::Setup(_)), "{error}");
        assert!(!error.to_string().contains("CANARY"), "{error}");
    }
}

#[tokio::test]
async fn absence_is_an_error_or_none() {
    let fake = Fake::start().await;
    let nobody = ifmatch::SubscriptionId::from_unchecked("sub_x");
    let subs = fake.client().subscriptions();
    let error = subs.get(&nobody).await.expect_err("absent");
    assert!(error.is_not_found() && error.code() == Some(Code::NotFound));
    assert!(subs.get_opt(&nobody).await.expect("an answer").is_none());
    assert!(subs.get_opt(&id()).await.expect("an answer").is_some());
}

#[tokio::test]
async fn wrong_fields_are_named() {
    let server = MockServer::start().await;
    let errors = json!({"errors": [{"path": "/name", "message": "is empty"}]});
    let refusal = problem(422, "VALIDATION_FAILED", errors);
    Mock::given(method("POST")).respond_with(refusal).expect(1).mount(&server).await;
    let error = client(&server).workspaces().create(WorkspaceFields::default()).await;
    let error = error.expect_err("refused");
    let wrong = error.problem().and_then(|problem| problem.errors.first());
    assert_eq!(wrong.map(|field| field.path.as_str()), Some("/name"));
    assert!(!error.is_conflict() && !error.is_retryable() && !error.maybe_applied());
}

#[tokio::test]
async fn a_create_carries_a_key_of_its_own() {
    let server = MockServer::start().await;
    Mock::given(method("POST"))
        .and(path("/v1/workspaces"))
        .and(header_exists("idempotency-key"))
        .and(body_json(json!({"name": "Acme", "email": null, "currency": null, "metadata": {}})))
        .respond_with(ResponseTemplate::new(201).set_body_json(workspace(1)))
        .expect(1)
        .mount(&server)
        .await;
    let fields = WorkspaceFields { name: "Acme".into(), ..WorkspaceFields::default() };
    let made = client(&server).workspaces().create(fields).await.expect("made");
    assert_eq!((made.id.as_str(), made.version()), ("wsp_1", 1));
}

#[tokio::test]
async fn a_list_streams_over_its_pages() {
    let server = MockServer::start().await;
    let page = |items: Vec<Value>, next: Value| ok(json!({"items": items, "next_cursor": next}));
    Mock::given(path("/v1/workspaces"))
        .and(query_param("sort", "-created_at"))
        .and(query_param("limit", "2"))
        .and(query_param_is_missing("cursor"))
        .respond_with(page(vec![workspace(1), workspace(2)], json!("c/2")))
        .expect(1)
        .mount(&server)
        .await;
    Mock::given(path("/v1/workspaces"))
        .and(query_param("sort", "-created_at"))
        .and(query_param("cursor", "c/2"))
        .respond_with(page(vec![workspace(3)], Value::Null))
        .expect(1)
        .mount(&server)
        .await;
    let list = client(&server).workspaces().list().sort("-created_at").limit(2);
    let all: Vec<ifmatch::Versioned<Workspace>> = list.stream().try_collect().await.expect("all");
    let ids: Vec<&str> = all.iter().map(|workspace| workspace.id.as_str()).collect();
    assert_eq!(ids, ["wsp_1", "wsp_2", "wsp_3"]);
}

#[tokio::test]
async fn a_new_key_is_shown_once_and_never_by_accident() {
    let server = MockServer::start().await;
    let shown = json!({"id": "key_1", "name": "job", "role": "agent", "created_at": AT,
        "expires_at": null, "revoked_at": null});
    let mut once = shown.clone();
    once.as_object_mut().expect("an object").insert("key".into(), json!("ifm_CANARY"));
    Mock::given(method("POST"))
        .and(path("/v1/api-keys"))
        .and(body_json(json!({"name": "job", "role": "agent", "expires_at": null})))
        .respond_with(ok(once))
        .up_to_n_times(1)
        .mount(&server)
        .await;
    // A replayed answer has no secret: the server does not keep it.
    Mock::given(method("POST"))
        .and(path("/v1/api-keys"))
        .respond_with(ok(shown.clone()))
        .mount(&server)
        .await;
    Mock::given(method("DELETE"))
        .and(path("/v1/api-keys/key_1"))
        .and(header_exists("idempotency-key"))
        .respond_with(ok(shown))
        .expect(1)
        .mount(&server)
        .await;
    let keys = client(&server).api_keys();
    let job = || NewApiKey::new("job", Role::Agent);
    let issued = keys.create(job()).await.expect("made");
    assert_eq!(issued.secret.as_deref(), Some("ifm_CANARY"));
    assert!(!format!("{issued:?}").contains("CANARY"));
    assert_eq!(keys.create(job()).await.expect("made").secret, None);
    let revoked = keys.revoke(&issued.api_key.id).await.expect("revoked");
    assert_eq!(revoked.name, "job");
}

#[tokio::test]
async fn payments_are_recorded_listed_and_reversed() {
    let server = MockServer::start().await;
    let payment = json!({"id": "pay_1", "invoice_id": "inv_1", "amount": 5, "provider_ref": "ch_1",
        "status": "settled", "created_at": AT, "created_by": "me", "reversed_at": null,
        "reversal_reason": null});
    Mock::given(method("POST"))
        .and(path("/v1/invoices/inv_1/payments"))
        .and(header_exists("idempotency-key"))
        .and(body_json(json!({"amount": 5, "provider_ref": "ch_1"})))
        .respond_with(ok(payment.clone()))
        .expect(1)
        .mount(&server)
        .await;
    Mock::given(method("GET"))
        .and(path("/v1/invoices/inv_1/payments"))
        .respond_with(ok(json!({"items": [payment], "next_cursor": null})))
        .mount(&server)
        .await;
    Mock::given(method("POST"))
        .and(path("/v1/invoices/inv_1/payments/pay_1/reverse"))
        .and(body_json(json!({"reason": "chargeback"})))
        .respond_with(ok(payment.clone()))
        .expect(1)
        .mount(&server)
        .await;
    let invoices = client(&server).invoices();
    let (inv, pay) = (InvoiceId::from_unchecked("inv_1"), PaymentId::from_unchecked("pay_1"));
    let new = NewPayment { amount: 5, provider_ref: "ch_1".into() };
    assert_eq!(invoices.record_payment(&inv, new).await.expect("recorded").id, pay);
    assert_eq!(invoices.payments(&inv).await.expect("a page").items.len(), 1);
    invoices.reverse_payment(&inv, &pay, "chargeback").await.expect("reversed");
}

#[tokio::test]
async fn a_transaction_sends_what_changed_and_names_the_failed_operation() {
    let server = MockServer::start().await;
    let operations = json!({"operations": [
        {"op": "check", "type": "workspace", "id": "wsp_1", "version": 1},
        {"op": "patch", "type": "workspace", "id": "wsp_1", "version": 1, "body": {"name": "Zen"}},
        {"op": "delete", "type": "workspace", "id": "wsp_2", "version": 1}]});
    let tombstone = json!({"id": "wsp_2", "deleted_at": AT, "deleted_by": "me", "last_version": 1});
    Mock::given(path("/v1/transactions"))
        .and(body_json(&operations))
        .and(header_exists("idempotency-key"))
        .respond_with(ok(json!({"results": [
            {"type": "workspace", "id": "wsp_1", "version": 1},
            {"type": "workspace", "id": "wsp_1", "version": 1, "body": workspace(1),
                "changed": false},
            {"id": "wsp_2", "deleted": tombstone}]})))
        .up_to_n_times(1)
        .mount(&server)
        .await;
    let stale = problem(409, "CONFLICT_VERSION_MISMATCH", json!({"failed_index": 1}));
    Mock::given(path("/v1/transactions")).respond_with(stale).mount(&server).await;
    let entity = |number| serde_json::from_value::<Workspace>(workspace(number)).expect("one");
    let (one, two) = (entity(1).into(), entity(2).into());
    let billing = client(&server);
    let transaction = || {
        billing
            .transaction()
            .check::<Workspace>(&one)
            .update(&one, |w| w.name = "Zen".into())
            .delete::<Workspace>(&two)
    };
    let results = transaction().await.expect("committed");
    let object = results.object::<Workspace>(1).expect("a workspace");
    assert_eq!((object.version(), object.changed()), (1, false));
    assert_eq!(results.deleted(2).expect("a tombstone").id, "wsp_2");
    assert!(results.object::<Invoice>(7).is_err());
    let error = transaction().await.expect_err("stale");
    assert!(error.is_conflict() && error.failed_index() == Some(1), "{error}");
}

#[tokio::test]
async fn events_stream_from_where_the_last_look_ended() {
    let server = MockServer::start().await;
    let event = |seq: i64| {
        json!({"seq": seq, "type": "workspace.created",
            "resource": {"type": "workspace", "id": "wsp_1"}, "version": 1, "at": AT,
            "by": {"actor": "me", "on_behalf_of": null, "source": "api", "forced": false},
            "kind": "created", "changes": [], "request_id": "r", "state": workspace(1)})
    };
    // The filter left out the versions between 7 and 9.
    let second = ("9-5f0c", vec![event(10)], "10-5f0c");
    for (after, items, next) in [("4", vec![event(5), event(7)], "9-5f0c"), second] {
        Mock::given(path("/v1/events"))
            .and(query_param("after", after))
            .and(query_param("type", "workspace.created"))
            .and(query_param("wait_ms", "5000"))
            .respond_with(ok(json!({"items": items, "next_cursor": next})))
            .expect(1)
            .mount(&server)
            .await;
    }
    let mut events = client(&server).events(4).of_type("workspace.created").stream();
    for expected in [5, 7, 10] {
        let event = events.try_next().await.expect("an event").expect("no end");
        assert_eq!(event.seq, expected);
    }
}

#[tokio::test]
async fn a_follower_is_told_to_read_the_objects_anew() {
    let server = MockServer::start().await;
    let ends = json!({"oldest": "0-5f0c", "newest": "40-5f0c"});
    Mock::given(path("/v1/events"))
        .and(query_param("after", "50"))
        .respond_with(problem(410, "CURSOR_UNKNOWN", ends))
        .expect(1)
        .mount(&server)
        .await;
    let mut events = client(&server).events(50).stream();
    let error = events.try_next().await.expect_err("the log was replaced");
    assert!(error.is_cursor_unknown() && !error.is_retryable() && !error.is_not_found());
    assert_eq!(error.newest_cursor(), Some("40-5f0c".into()));
}

#[tokio::test]
async fn history_and_versions_are_read() {
    let server = MockServer::start().await;
    Mock::given(path("/v1/workspaces/wsp_1/versions/1"))
        .respond_with(ok(workspace(1)))
        .mount(&server)
        .await;
    Mock::given(path("/v1/workspaces/wsp_1/versions/2"))
        .respond_with(problem(410, "VERSION_PRUNED", json!({})))
        .mount(&server)
        .await;
    let entry = json!({"version": 1, "at": AT, "kind": "created", "changes": [],
        "by": {"actor": "me", "on_behalf_of": null, "source": "cli"}, "request_id": "r"});
    Mock::given(path("/v1/workspaces/wsp_1/history"))
        .respond_with(ok(json!({"items": [entry], "next_cursor": null})))
        .mount(&server)
        .await;
    let (workspaces, id) =
        (client(&server).workspaces(), ifmatch::WorkspaceId::from_unchecked("wsp_1"));
    assert_eq!(workspaces.version(&id, 1).await.expect("version 1").version(), 1);
    let pruned = workspaces.version(&id, 2).await.expect_err("pruned");
    assert_eq!(pruned.code(), Some(Code::VersionPruned));
    assert_eq!(workspaces.history(&id).await.expect("a page").items.len(), 1);
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let server = MockServer::start().await;
    let elsewhere = ResponseTemplate::new(307).insert_header("location", "/v1/elsewhere");
    Mock::given(path("/v1/subscriptions/sub_1")).respond_with(elsewhere).mount(&server).await;
    let subs = client(&server).subscriptions();
    let error = subs.get(&ifmatch::SubscriptionId::from_unchecked("sub_1")).await;
    assert!(matches!(error, Err(Error::UnexpectedAnswer { status: 307, .. })), "{error:?}");
    assert_eq!(server.received_requests().await.map(|requests| requests.len()), Some(1));
}
