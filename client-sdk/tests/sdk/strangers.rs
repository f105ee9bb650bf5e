//! Answers of proxies: the client finds out the outcome and applies nothing twice.

use crate::fake::{Fake, Fault, ID, id};
use ifmatch::{Decision, Error, GaveUp, OutcomeUnknown, Subscription, Versioned};
use serde_json::json;
use std::time::Duration;
use wiremock::ResponseTemplate;

fn bare(status: u16) -> ResponseTemplate {
    ResponseTemplate::new(status).set_body_string("<html>no</html>")
}

#[tokio::test]
async fn an_edit_that_was_delivered_and_contradicted_on_its_way_back_is_made_once() {
    for status in [409, 412] {
        let fake = Fake::start().await;
        fake.fault(Fault::Replace(bare(status)));
        let sub = fake.client().subscriptions().update(&id(), |s| s.quantity += 5).await;
        let sub = sub.expect("applied");
        assert_eq!((sub.quantity, sub.version(), sub.replayed()), (10, 2, true));
        assert_eq!((fake.applied(), fake.field("quantity")), (1, json!(10)));
    }
}

#[tokio::test]
async fn an_edit_is_known_by_its_key_also_if_the_key_is_quoted_or_padded() {
    for key in ["\"job-1\"", " job-1 ", " \"job-1\"\t", "\"job-1"] {
        let fake = Fake::start().await;
        fake.fault(Fault::Replace(bare(409)));
        let subs = fake.client().subscriptions();
        let update = subs.update(&id(), |s| s.quantity += 5).idempotency_key(key);
        let sub = update.await.expect("applied");
        assert_eq!((sub.quantity, sub.replayed(), fake.applied()), (10, true, 1), "{key:?}");
    }
}

#[tokio::test]
async fn a_deletion_that_was_delivered_and_contradicted_is_done() {
    for status in [409, 410, 412] {
        let fake = Fake::start().await;
        fake.fault(Fault::Replace(bare(status)));
        let deleted = fake.client().subscriptions().delete_at(&id(), 1).await.expect("deleted");
        assert_eq!((deleted.id.as_str(), deleted.last_version, fake.applied()), (ID, 1, 1));
    }
}

#[tokio::test]
async fn a_write_without_version_that_was_contradicted_by_a_stranger_is_unknown() {
    let fake = Fake::start().await;
    fake.fault(Fault::Intercept(bare(409)));
    let run = fake.client().run_billing(ifmatch::Timestamp::now()).await;
    let error = run.expect_err("the outcome is unknown");
    assert!(error.maybe_applied() && matches!(error, Error::OutcomeUnknown(_)), "{error}");
}

#[tokio::test]
async fn what_a_stranger_says_is_told() {
    let fake = Fake::start().await;
    fake.fault(Fault::Intercept(bare(418)));
    let error = fake.client().run_billing(ifmatch::Timestamp::now()).await.expect_err("refused");
    assert!(error.to_string().contains("<html>no</html>") && !error.maybe_applied(), "{error}");
}

#[tokio::test]
async fn a_write_whose_answer_cannot_be_read_is_settled_by_its_key() {
    let fake = Fake::start().await;
    let page = ResponseTemplate::new(200).set_body_json(json!({"status": "maintenance"}));
    fake.fault(Fault::Replace(page));
    let billing = fake.client();
    let error = billing.subscriptions().update(&id(), |s| s.quantity += 5).await;
    let Err(Error::OutcomeUnknown(unknown)) = error else { unreachable!("{error:?}") };
    assert_eq!(unknown.why(), GaveUp::Unreadable);
    let settled = billing.resume(*unknown).await.expect("settled");
    let sub: Versioned<Subscription> = settled.versioned().expect("a subscription");
    assert_eq!((sub.quantity, fake.applied()), (10, 1));
}

/// The outcome of a lost update by a client with another key.
async fn lost(fake: &Fake) -> OutcomeUnknown {
    fake.fault(Fault::LoseAnswer);
    let budget = ifmatch::SendBudget { capacity: 0, refill_per_second: 0 };
    let billing = fake.builder().key("another-key").send_budget(budget).build().expect("a client");
    let error = billing.subscriptions().update(&id(), |s| s.quantity += 5).await;
    let Err(Error::OutcomeUnknown(unknown)) = error else { unreachable!("{error:?}") };
    *unknown
}

#[tokio::test]
async fn with_another_key_an_edit_is_settled_by_the_history() {
    let fake = Fake::start().await;
    let unknown = lost(&fake).await;
    // Answers are kept per API key. This key has none.
    fake.forget_answers();
    let settled = fake.client().resume(unknown).await.expect("settled");
    let sub: Versioned<Subscription> = settled.versioned().expect("a subscription");
    assert_eq!((sub.quantity, sub.replayed(), fake.applied()), (10, true, 1));
}

#[tokio::test]
async fn with_another_key_what_names_no_version_is_not_sent() {
    let fake = Fake::start().await;
    let budget = ifmatch::SendBudget { capacity: 0, refill_per_second: 0 };
    let billing = fake.builder().key("another-key").send_budget(budget).build().expect("a client");
    fake.fault(Fault::Intercept(bare(502)));
    let error = billing.run_billing(ifmatch::Timestamp::now()).await;
    let Err(Error::OutcomeUnknown(unknown)) = error else { unreachable!("{error:?}") };
    let saved = serde_json::to_string(&unknown).expect("JSON");
    assert!(!saved.contains("another-key"), "{saved}");
    let unknown: OutcomeUnknown = serde_json::from_str(&saved).expect("an outcome");
    let sends = fake.seen().len();
    let error = fake.client().resume(unknown).await;
    let Err(Error::OutcomeUnknown(unknown)) = error else { unreachable!("{error:?}") };
    assert_eq!((unknown.why(), fake.seen().len()), (GaveUp::OtherKey, sends));
    // The client with the original key can settle it.
    fake.fault(Fault::Intercept(ResponseTemplate::new(200).set_body_json(json!({"done": 1}))));
    billing.resume(*unknown).await.expect("settled");
}

#[tokio::test]
async fn merging_an_increment_is_never_content_with_somebody_elses() {
    let fake = Fake::start().await;
    fake.fault(Fault::Rival(json!({"quantity": 6})));
    let billing = fake.client();
    let update = billing.subscriptions().update(&id(), |s| s.quantity += 1);
    let error = update.on_conflict(|_| async { Decision::Merge }).await.expect_err("parked");
    let Error::Unresolved(parked) = error else { unreachable!("{error}") };
    let parked = billing.conflicts().get(&parked).expect("open");
    assert!(parked.conflict.is_relative);
    let error = parked.resolve(Decision::Merge).await.expect_err("both changed it");
    assert!(error.is_conflict(), "{error}");
    assert_eq!(billing.conflicts().list().len(), 1, "it stays open");
}

#[tokio::test]
async fn a_preview_keeps_to_its_deadline() {
    let billing = ifmatch::Client::builder(silent_server().await).key("k").build().expect("one");
    let began = std::time::Instant::now();
    let update = billing.subscriptions().update(&id(), |s| s.quantity = 1);
    let preview = update.deadline(Duration::from_millis(200)).force("why not").preview().await;
    assert!(preview.expect_err("silence").is_deadline());
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

/// The URL of a server that accepts connections and never answers.
async fn silent_server() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let url = format!("http://{}", listener.local_addr().expect("it has an address"));
    tokio::spawn(async move {
        let mut taken = Vec::new();
        while let Ok(connection) = listener.accept().await {
            taken.push(connection);
        }
    });
    url
}

#[test]
fn a_key_goes_over_plain_http_to_this_host_only() {
    let build = |url: &str| ifmatch::Client::builder(url).key("k").build();
    for url in [
        "http://127.0.0.1:1",
        "http://127.9.9.9",
        "http://[::1]:1",
        "http://[::ffff:127.0.0.1]",
        "http://localhost:1",
        "http://LOCALHOST.",
        "http://billing.localhost",
        "https://billing.example.com",
    ] {
        assert!(build(url).is_ok(), "{url}");
    }
    for (url, name) in [
        ("http://billing.example.com:8080", "billing.example.com"),
        ("http://10.0.0.7", "10.0.0.7"),
        ("http://[fe80::1]", "[fe80::1]"),
        ("http://0.0.0.0", "0.0.0.0"),
        ("http://localhost.example.com", "localhost.example.com"),
        ("http://127.0.0.1.example.com", "127.0.0.1.example.com"),
    ] {
        let refused = build(url);
        let is_refused = matches!(&refused, Err(Error::PlainHttp { host }) if host == name);
        assert!(is_refused, "{url}: {refused:?}");
        assert!(ifmatch::Client::builder(url).key("k").allow_plain_http().build().is_ok());
    }
}

#[tokio::test]
async fn a_base_url_has_no_version_of_the_api() {
    let built = ifmatch::Client::builder("http://127.0.0.1:1/prefix/v1/").key("k").build();
    assert!(matches!(&built, Err(Error::Setup(why)) if why.contains("/v1")), "{built:?}");
}
