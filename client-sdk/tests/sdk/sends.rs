//! Sends: lost answers, busy servers, and outcomes that stay unknown.

use crate::fake::{Fake, Fault, KEY, id, problem};
use ifmatch::{Error, OutcomeUnknown, SendBudget, Subscription};
use serde_json::json;
use std::{
    env,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use wiremock::{Mock, MockServer, ResponseTemplate, matchers::any};

#[tokio::test]
async fn a_lost_answer_is_asked_for_again_and_never_reapplied() {
    let fake = Fake::start().await;
    fake.fault(Fault::LoseAnswer);
    let sub = fake.client().subscriptions().update(&id(), |s| s.quantity += 5).await.expect("ok");
    assert!(sub.replayed());
    assert_eq!((fake.field("quantity"), fake.applied()), (json!(10), 1));
    assert_eq!(fake.methods(), ["GET", "PATCH", "PATCH"]);
    let patches = fake.patches();
    let sent: Vec<_> =
        patches.iter().map(|p| (&p.key, &p.bytes, p.headers.get("x-request-id"))).collect();
    assert!(sent.len() == 2 && sent.first() == sent.last());
}

/// A proxy that delivers PATCHes and then breaks the connection, a given number of times.
async fn breaking_proxy(to: String, breaks: Arc<AtomicUsize>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let to = to.trim_start_matches("http://").to_owned();
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            tokio::spawn(carry(near, to.clone(), breaks.clone()));
        }
    });
    format!("http://{address}")
}

async fn carry(mut near: TcpStream, to: String, breaks: Arc<AtomicUsize>) -> std::io::Result<()> {
    let mut far = TcpStream::connect(to).await?;
    loop {
        let request = message(&mut near).await?;
        far.write_all(&request).await?;
        let answer = message(&mut far).await?;
        let one_less = |left: usize| left.checked_sub(1);
        if request.starts_with(b"PATCH")
            && breaks.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less).is_ok()
        {
            return Ok(());
        }
        near.write_all(&answer).await?;
    }
}

/// One HTTP message with a `Content-Length`.
async fn message(from: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    loop {
        if from.read_buf(&mut bytes).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let text = String::from_utf8_lossy(&bytes).to_lowercase();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.split_once("content-length: ").map_or("0", |(_, rest)| rest);
        let length = length.lines().next().and_then(|length| length.parse().ok()).unwrap_or(0);
        if body.len() >= length {
            return Ok(bytes);
        }
    }
}

#[tokio::test]
async fn a_connection_that_breaks_after_delivery_applies_the_edit_once() {
    let fake = Fake::start().await;
    let breaks = Arc::new(AtomicUsize::new(2));
    let proxy = breaking_proxy(fake.url(), breaks.clone()).await;
    let billing = ifmatch::Client::builder(proxy).key(KEY).build().expect("a client");
    let sub = billing.subscriptions().update(&id(), |s| s.quantity += 5).await.expect("ok");
    assert_eq!((sub.quantity, fake.applied()), (10, 1));
    assert_eq!(breaks.load(Ordering::SeqCst), 0, "it did break");
    let mut keys: Vec<_> = fake.patches().into_iter().map(|patch| patch.key).collect();
    assert_eq!(keys.len(), 3, "one layer retries");
    keys.dedup();
    assert_eq!(keys.len(), 1);
}

#[tokio::test]
async fn a_busy_server_is_asked_again() {
    let fake = Fake::start().await;
    fake.fault(Fault::Intercept(problem(503, "TRY_AGAIN", json!({}))));
    fake.fault(Fault::Intercept(problem(429, "RATE_LIMITED", json!({}))));
    fake.fault(Fault::Intercept(ResponseTemplate::new(429).insert_header("retry-after", "0")));
    let sub = fake.client().subscriptions().update(&id(), |s| s.quantity += 5).await.expect("ok");
    assert_eq!((sub.quantity, fake.patches().len()), (10, 4));
}

/// The error of an update whose answers are all lost.
async fn lost(fake: &Fake) -> Box<OutcomeUnknown> {
    let none = SendBudget { capacity: 0, refill_per_second: 0 };
    let impatient = fake.builder().send_budget(none).build().expect("a client");
    let update = impatient.subscriptions().update(&id(), |s| s.quantity += 5);
    match update.await.expect_err("lost") {
        Error::OutcomeUnknown(unknown) => unknown,
        other => unreachable!("{other}"),
    }
}

#[tokio::test]
async fn an_unknown_outcome_is_settled_by_the_same_bytes_and_key_after_a_restart() {
    let fake = Fake::start().await;
    fake.fault(Fault::LoseAnswer);
    let unknown = lost(&fake).await;
    let saved = serde_json::to_string(&unknown).expect("JSON");
    assert!(!saved.contains("CANARY") && !saved.contains("authorization"), "no credentials");
    fake.rival(json!({"notes": "meanwhile"}));

    let unknown: OutcomeUnknown = serde_json::from_str(&saved).expect("an outcome");
    let settled = fake.client().resume(unknown).await.expect("settled");
    assert!(settled.info().replayed);
    let sub = settled.versioned::<Subscription>().expect("a subscription");
    assert_eq!((sub.quantity, sub.version(), fake.applied()), (10, 2, 1));
    let patches = fake.patches();
    let sent: Vec<_> = patches.iter().map(|patch| (&patch.key, &patch.bytes)).collect();
    assert_eq!(sent.len(), 2);
    assert_eq!(sent.first(), sent.last());
}

#[tokio::test]
async fn an_unknown_outcome_that_never_arrived_is_applied_or_a_conflict() {
    let fake = Fake::start().await;
    fake.fault(Fault::Intercept(ResponseTemplate::new(504)));
    let settled = fake.client().resume(*lost(&fake).await).await.expect("settled");
    assert!(!settled.info().replayed);
    assert_eq!((fake.field("quantity"), fake.applied()), (json!(10), 1));

    fake.fault(Fault::Intercept(ResponseTemplate::new(504)));
    let unknown = lost(&fake).await;
    fake.rival(json!({"quantity": 50}));
    let error = fake.client().resume(*unknown).await.expect_err("moved");
    let Error::Conflict(conflict) = &error else { unreachable!("{error}") };
    assert_eq!(conflict.local.get("quantity"), Some(&json!(15)));
    assert_eq!(fake.applied(), 1, "a resume never reapplies");
}

#[tokio::test]
async fn an_outcome_that_stays_unknown_can_be_resumed_again() {
    let fake = Fake::start().await;
    fake.fault(Fault::LoseAnswer);
    let unknown = lost(&fake).await;
    let key = unknown.idempotency_key().to_owned();
    fake.fault(Fault::Intercept(ResponseTemplate::new(504)));
    let none = SendBudget { capacity: 0, refill_per_second: 0 };
    let impatient = fake.builder().send_budget(none).build().expect("a client");
    let error = impatient.resume(*unknown).await.expect_err("lost again");
    let Error::OutcomeUnknown(again) = error else { unreachable!("{error}") };
    assert_eq!(again.idempotency_key(), key);
    impatient.resume(*again).await.expect("settled");
    assert_eq!(fake.applied(), 1);
}

#[tokio::test]
async fn a_key_of_the_callers_own_is_sent_and_a_user_is_named() {
    let fake = Fake::start().await;
    let ann = fake.client().acting_for("ann");
    let subs = ann.subscriptions();
    subs.update(&id(), |s| s.quantity += 5).idempotency_key("job-1").await.expect("ok");
    let patch = fake.patches().pop().expect("a patch");
    assert_eq!(patch.key.as_deref(), Some("job-1"));
    assert_eq!(patch.headers.get("x-on-behalf-of").map(String::as_str), Some("ann"));
    assert_eq!(patch.headers.get("authorization"), Some(&format!("Bearer {KEY}")));
}

/// The name of the variable that tells the child process where the server is.
const SERVER: &str = "IFMATCH_TEST_SERVER";

/// Only a child process can be given another environment.
#[tokio::test]
async fn a_proxy_of_the_environment_does_not_get_a_key_that_stays_on_this_host() {
    if let Ok(server) = env::var(SERVER) {
        let billing = ifmatch::Client::builder(server).key(KEY).build().expect("a client");
        billing.subscriptions().get(&id()).await.expect("the server's answer");
        return;
    }
    let fake = Fake::start().await;
    let proxy = MockServer::start().await;
    Mock::given(any()).respond_with(ResponseTemplate::new(403)).mount(&proxy).await;
    let mut child = Command::new(env::current_exe().expect("this test"));
    child.arg("a_proxy_of_the_environment_does_not_get_a_key_that_stays_on_this_host");
    child.env(SERVER, fake.url()).env_remove("NO_PROXY").env_remove("no_proxy");
    for name in ["HTTP_PROXY", "http_proxy", "ALL_PROXY"] {
        child.env(name, proxy.uri());
    }
    let output = child.output().expect("it runs");
    assert_eq!(proxy.received_requests().await.map(|seen| seen.len()), Some(0));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(fake.methods(), ["GET"]);
}
