//! Tests of time: a client on a wire that answers from a script, under a paused clock.

use crate::{
    Client, Decision, Error, GaveUp, Policy, SendBudget, Subscription, SubscriptionId,
    client::{Settings, Shared},
    open::OpenConflicts,
    pace::Bucket,
    request::{Request, Verb},
    wire::{Answer, Wire, WireError},
    with_conflict_resolution,
};
use futures::{FutureExt, StreamExt, future::BoxFuture};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::time::Instant;

mod acquiring;
mod billing;
mod fences;
mod locks;
mod own_writes;
mod servers;
mod turns;

const ID: &str = "sub_0193f0c0a1b27c3d8e4f5a6b7c8d9e0f";

const SETTINGS: Settings = Settings {
    send_timeout: Duration::from_secs(10),
    deadline: Duration::from_secs(30),
    attempts_max: 3,
};

enum ScriptStep {
    Answer(u16, Vec<(&'static str, String)>, Value),
    Broken,
    NotConnected,
    Silence,
    /// Another step, after some time.
    After(Duration, Box<ScriptStep>),
    /// The history of an object whose version was made by the request sent second. A gateway
    /// replaced its request id.
    OwnHistory(i64),
}

#[derive(Default)]
struct Script {
    steps: Mutex<VecDeque<ScriptStep>>,
    sent: Mutex<Vec<(Duration, Request)>>,
}

struct Scripted(Arc<Script>, Instant);

impl Wire for Scripted {
    fn exchange<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Answer, WireError>> {
        self.0.sent.lock().expect("no panic").push((self.1.elapsed(), request.clone()));
        let step = self.0.steps.lock().expect("no panic").pop_front();
        let step = match step.expect("the script covers every request") {
            ScriptStep::OwnHistory(version) => {
                let digest = self.0.at(1).1.key_digest();
                history(version, "rewritten", json!(["/quantity"]), digest)
            }
            step => step,
        };
        async move {
            let step = match step {
                ScriptStep::After(wait, step) => {
                    tokio::time::sleep(wait).await;
                    *step
                }
                step => step,
            };
            match step {
                ScriptStep::Answer(status, headers, body) => {
                    let headers: HeaderMap = headers
                        .into_iter()
                        .map(|(name, value)| {
                            let value = HeaderValue::from_str(&value).expect("a header");
                            (HeaderName::from_static(name), value)
                        })
                        .collect();
                    // `null` stands for an answer without a body.
                    let body = match body {
                        Value::Null => Vec::new(),
                        body => body.to_string().into_bytes(),
                    };
                    Ok(Answer { status, headers, body })
                }
                ScriptStep::Broken => Err(WireError::Broken("reset".into())),
                ScriptStep::NotConnected => Err(WireError::NotConnected("refused".into())),
                ScriptStep::Silence | ScriptStep::OwnHistory(_) | ScriptStep::After(..) => {
                    std::future::pending().await
                }
            }
        }
        .boxed()
    }
}

fn client_with(budget: SendBudget, steps: Vec<ScriptStep>) -> (Client, Arc<Script>) {
    client_at(Arc::new(crate::locks::SystemClock), budget, steps)
}

fn client_at(
    clock: Arc<dyn crate::locks::Clock>,
    budget: SendBudget,
    steps: Vec<ScriptStep>,
) -> (Client, Arc<Script>) {
    client_set(clock, budget, SETTINGS, steps)
}

/// A client with settings of its own.
fn client_of(settings: Settings, steps: Vec<ScriptStep>) -> (Client, Arc<Script>) {
    client_set(Arc::new(crate::locks::SystemClock), SendBudget::default(), settings, steps)
}

fn client_set(
    clock: Arc<dyn crate::locks::Clock>,
    budget: SendBudget,
    settings: Settings,
    steps: Vec<ScriptStep>,
) -> (Client, Arc<Script>) {
    let script = Arc::new(Script { steps: Mutex::new(steps.into()), ..Script::default() });
    let shared = Shared {
        sender: crate::request::KeyMark::of("scripted"),
        clock,
        failed_releases: Default::default(),
        wire: Box::new(Scripted(script.clone(), Instant::now())),
        bucket: Bucket::new(budget),
        settings,
        store: Arc::new(OpenConflicts::load(None, 10).expect("an empty store")),
    };
    (Client::new(shared, None), script)
}

fn client(steps: Vec<ScriptStep>) -> (Client, Arc<Script>) {
    client_with(SendBudget::default(), steps)
}

impl Script {
    fn sent(&self) -> Vec<(Duration, Request)> {
        self.sent.lock().expect("no panic").clone()
    }

    fn verbs(&self) -> Vec<Verb> {
        self.sent().iter().map(|(_, request)| request.verb).collect()
    }

    fn at(&self, index: usize) -> (Duration, Request) {
        self.sent().get(index).cloned().expect("the request was sent")
    }

    fn version_sent(&self, index: usize) -> Option<i64> {
        let body: Value = serde_json::from_str(self.at(index).1.body_text()?).ok()?;
        body.get("version")?.as_i64()
    }
}

fn answer(status: u16, body: Value) -> ScriptStep {
    ScriptStep::Answer(status, Vec::new(), body)
}

fn url(script: &Script, index: usize) -> String {
    let base = reqwest::Url::parse("http://billing.test").expect("a URL");
    script.at(index).1.url(&base).expect("a URL").to_string()
}

fn body(script: &Script, index: usize) -> Value {
    serde_json::from_str(script.at(index).1.body_text().expect("a body")).expect("JSON")
}

fn subscription(version: i64, quantity: i64) -> Value {
    let at = "2026-11-22T01:06:00Z";
    json!({"id": ID, "version": version, "workspace_id": "wsp_1", "plan_id": "pln_1",
        "quantity": quantity, "status": "active", "notes": "", "cancel_at_period_end": false,
        "start_at": at, "current_period_start": at, "current_period_end": at, "trial_end": null,
        "canceled_at": null, "ended_at": null, "metadata": {}, "created_at": at, "updated_at": at,
        "updated_by": "somebody"})
}

fn problem(status: u16, code: &str, action: &str, after_ms: u64, rest: Value) -> ScriptStep {
    let mut body = json!({"type": "/problems/x", "title": "x", "status": status, "detail": "x",
        "code": code, "request_id": "r", "retry": {"action": action, "after_ms": after_ms}});
    if let (Value::Object(body), Value::Object(rest)) = (&mut body, rest) {
        body.extend(rest);
    }
    ScriptStep::Answer(status, Vec::new(), body)
}

fn conflict(expected: i64, version: i64, quantity: i64) -> ScriptStep {
    let rest = json!({"conflict_id": "cfl_1", "resource": {"type": "subscription", "id": ID},
        "expected_version": expected, "current_version": version,
        "current": subscription(version, quantity), "changes": [], "attempted": ["/quantity"],
        "merge": {"verdict": "overlap", "overlap": ["/quantity"], "groups_split": [],
            "preview": null}});
    problem(409, "CONFLICT_VERSION_MISMATCH", "reapply", 0, rest)
}

fn ok(body: Value) -> ScriptStep {
    ScriptStep::Answer(200, Vec::new(), body)
}

fn bare(status: u16) -> ScriptStep {
    ScriptStep::Answer(status, Vec::new(), Value::Null)
}

fn id() -> SubscriptionId {
    SubscriptionId::from_unchecked(ID)
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A history with one change of these paths.
fn history(version: i64, request_id: &str, paths: Value, digest: Option<String>) -> ScriptStep {
    let change = |path: &Value| json!({"path": path, "from": 1, "to": 2});
    let changes: Vec<Value> = paths.as_array().into_iter().flatten().map(change).collect();
    let mut entry = json!({"version": version, "at": "2026-11-22T01:06:00Z",
        "by": {"actor": "me", "on_behalf_of": null, "source": "api", "forced": false},
        "kind": "updated", "changes": changes, "request_id": request_id});
    if let (Value::Object(entry), Some(digest)) = (&mut entry, digest) {
        entry.insert("key_digest".to_owned(), digest.into());
    }
    ok(json!({"next_cursor": null, "items": [entry]}))
}

#[tokio::test(start_paused = true)]
async fn first_retry_is_immediate_later_ones_sleep_and_then_look() {
    let (billing, script) = client(vec![
        ok(subscription(1, 5)),
        conflict(1, 2, 6),
        conflict(2, 3, 7),
        ok(subscription(4, 8)),
        ok(subscription(5, 13)),
    ]);
    let sub = billing.subscriptions().update(&id(), |s| s.quantity += 5).await.expect("applied");
    assert_eq!(sub.version(), 5);
    assert_eq!(script.verbs(), [Verb::Get, Verb::Patch, Verb::Patch, Verb::Get, Verb::Patch]);
    let versions = [1, 2, 4].map(|index| script.version_sent(index));
    assert_eq!(versions, [Some(1), Some(2), Some(4)]);
    assert_eq!(script.at(2).0, Duration::ZERO, "the 409 said what to reapply to");
    let (looked, sent) = (script.at(3).0, script.at(4).0);
    assert!(looked > Duration::ZERO && looked <= Duration::from_millis(51), "{looked:?}");
    assert_eq!(looked, sent, "a base must not get old in a sleep");
    let bodies = [1, 2, 4].map(|index| script.at(index).1);
    let [first, second, third] = bodies.map(|request| request.idempotency_key);
    assert!(first != second && second != third, "an attempt has its own key");
}

#[tokio::test(start_paused = true)]
async fn ambiguous_failures_repeat_the_same_bytes_with_the_same_key() {
    let (billing, script) = client(vec![
        ok(subscription(1, 5)),
        ScriptStep::Broken,
        bare(502),
        ScriptStep::Silence,
        problem(500, "INTERNAL", "resend", 0, json!({})),
        ok(subscription(2, 6)),
    ]);
    let mut runs = 0;
    let edit = |s: &mut Subscription| {
        runs += 1;
        s.quantity += 1;
    };
    billing.subscriptions().update(&id(), edit).await.expect("applied");
    assert_eq!(runs, 1, "the edit is not made again");
    // A preference is no part of the request. It depends on the time that is left.
    let request = |(_, mut sent): (Duration, Request)| {
        sent.turn_wait = None;
        sent
    };
    let sends: Vec<Request> = script.sent().into_iter().skip(1).map(request).collect();
    assert_eq!(sends.len(), 5);
    assert!(sends.iter().all(|send| Some(send) == sends.first()));
    assert!(script.at(4).0 >= secs(10), "silence ends with the send timeout");
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_obeyed_as_seconds_date_and_milliseconds() {
    let header = |value: String| ScriptStep::Answer(429, vec![("retry-after", value)], Value::Null);
    let date = (jiff::Timestamp::now() + secs(20)).to_zoned(jiff::tz::TimeZone::UTC);
    let date = date.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    for (step, least) in [
        (header("7".into()), secs(7)),
        (header(date), secs(18)),
        (problem(503, "TRY_AGAIN", "resend", 300, json!({})), Duration::from_millis(300)),
    ] {
        let (billing, script) = client(vec![step, ok(subscription(1, 5))]);
        billing.subscriptions().get(&id()).await.expect("an answer in the end");
        let waited = script.at(1).0;
        assert!(waited >= least && waited < least + secs(3), "{waited:?} for {least:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_retry_after_beyond_the_deadline_fails_at_once() {
    let began = Instant::now();
    let (billing, _) = client(vec![problem(503, "TRY_AGAIN", "resend", 60_000, json!({}))]);
    let error = billing.run_billing(crate::Timestamp::now()).await.expect_err("no time");
    assert!(error.is_deadline() && error.is_retryable() && !error.maybe_applied(), "{error}");
    assert_eq!(error.code(), Some(crate::Code::TryAgain));
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_ends_silence_and_says_what_is_known() {
    let silence = || (0..3).map(|_| ScriptStep::Silence).collect();
    let began = Instant::now();
    let (billing, _) = client(silence());
    let read = billing.subscriptions().get(&id()).await.expect_err("silence");
    assert!(read.is_deadline() && !read.maybe_applied(), "{read}");
    assert!(began.elapsed() <= secs(30));

    let (billing, script) = client(silence());
    let call = billing.subscriptions().settle(&id(), 1).deadline(secs(15));
    let written = call.await.expect_err("silence");
    assert!(written.is_deadline() && written.maybe_applied(), "{written}");
    assert_eq!(script.sent().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_never_opened_applied_nothing() {
    let steps = (0..100).map(|_| ScriptStep::NotConnected).collect();
    let (billing, _) = client(steps);
    let error = billing.run_billing(crate::Timestamp::now()).await.expect_err("no server answers");
    assert!(matches!(error, Error::Unavailable(_)) && error.is_retryable(), "{error}");
}

#[tokio::test(start_paused = true)]
async fn an_empty_budget_stops_sends_of_all_calls() {
    let budget = SendBudget { capacity: 1, refill_per_second: 0 };
    let (billing, script) =
        client_with(budget, vec![ScriptStep::Broken, ScriptStep::Broken, ScriptStep::Broken]);
    let error = billing.run_billing(crate::Timestamp::now()).await.expect_err("broken");
    let Error::OutcomeUnknown(unknown) = error else { unreachable!("{error}") };
    assert_eq!((unknown.why(), script.sent().len()), (GaveUp::SendBudget, 2));
    billing.run_billing(crate::Timestamp::now()).await.expect_err("broken");
    assert_eq!(script.sent().len(), 3, "the bucket belongs to the client, first sends are free");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_the_key_does_not_settle_an_earlier_send() {
    let unauthenticated = || problem(401, "UNAUTHENTICATED", "none", 0, json!({}));
    let (billing, _) = client(vec![ScriptStep::Broken, unauthenticated()]);
    let error = billing.run_billing(crate::Timestamp::now()).await.expect_err("refused");
    assert!(matches!(error, Error::OutcomeUnknown(_)), "{error}");
    let (billing, _) = client(vec![unauthenticated()]);
    let error = billing.run_billing(crate::Timestamp::now()).await.expect_err("refused");
    assert!(matches!(error, Error::Refused(_)) && !error.maybe_applied(), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_refused_resume_leaves_the_outcome_unknown() {
    let budget = SendBudget { capacity: 0, refill_per_second: 0 };
    let refusal = problem(401, "UNAUTHENTICATED", "none", 0, json!({}));
    let (billing, _) = client_with(budget, vec![ScriptStep::Broken, refusal]);
    let error = billing.run_billing(crate::Timestamp::now()).await.expect_err("broken");
    let Error::OutcomeUnknown(unknown) = error else { unreachable!("{error}") };
    let error = billing.resume(*unknown).await.expect_err("refused");
    let Error::OutcomeUnknown(unknown) = error else { unreachable!("{error}") };
    assert_eq!(unknown.why(), GaveUp::Refused);
}

#[tokio::test(start_paused = true)]
async fn a_send_of_the_callers_own_may_leave_the_reading_of_conflicts_to_the_loop() {
    let results = json!({"results": [{"body": subscription(3, 7), "changed": true}]});
    let (billing, script) = client(vec![ok(subscription(1, 5)), conflict(1, 2, 6), ok(results)]);
    let (subs, id) = (billing.subscriptions(), id());
    let sub = with_conflict_resolution(
        Policy::reapply(&billing),
        || subs.get(&id),
        |s| {
            s.quantity += 1;
            Ok(())
        },
        |attempt| {
            let edit = |s: &mut Subscription| *s = attempt.edited.clone();
            let transaction = billing.transaction().update(&attempt.base, edit);
            async { transaction.await?.object(0) }
        },
    )
    .await
    .expect("applied");
    assert_eq!((sub.quantity, script.verbs()), (7, vec![Verb::Get, Verb::Post, Verb::Post]));
}

#[tokio::test(start_paused = true)]
async fn a_callback_that_outlives_the_deadline_leaves_the_edit_in_the_store() {
    let (billing, _) = client(vec![ok(subscription(1, 5)), conflict(1, 2, 6)]);
    let update = billing.subscriptions().update(&id(), |s| s.quantity += 1);
    let slow = update.on_conflict(|_| async {
        tokio::time::sleep(secs(3600)).await;
        Decision::Reapply
    });
    let error = slow.deadline(secs(5)).await.expect_err("too slow");
    let Error::Unresolved(id) = error else { unreachable!("{error}") };
    let parked = billing.conflicts().get(&id).expect("parked");
    let quantity = |side: &Value| side.get("quantity").and_then(Value::as_i64);
    assert_eq!(quantity(&parked.conflict.local), Some(6));
}

#[tokio::test(start_paused = true)]
async fn what_a_callback_made_is_kept_if_the_object_is_gone_at_the_next_look() {
    let (billing, _) = client(vec![
        ok(subscription(1, 5)),
        conflict(1, 2, 6),
        conflict(2, 3, 7),
        problem(410, "DELETED", "none", 0, json!({})),
    ]);
    let update = billing.subscriptions().update(&id(), |s| s.quantity += 1);
    let asked = update
        .on_conflict(|c| async move { Decision::Send(Subscription { quantity: 50, ..c.remote }) });
    let error = asked.await.expect_err("deleted");
    let Error::Unresolved(id) = error else { unreachable!("{error}") };
    let parked = billing.conflicts().get(&id).expect("parked");
    assert_eq!(parked.conflict.local.get("quantity"), Some(&json!(50)));
}

#[tokio::test(start_paused = true)]
async fn running_out_of_time_after_a_conflict_parks_the_edit() {
    let mut steps = vec![ok(subscription(1, 5)), conflict(1, 2, 6)];
    steps.extend((0..200).map(|_| ScriptStep::NotConnected));
    let (billing, _) = client(steps);
    let update = billing.subscriptions().update(&id(), |s| s.quantity += 1);
    let error = update.deadline(secs(5)).await.expect_err("no server answers");
    assert!(matches!(error, Error::Unresolved(_)), "{error}");
    assert_eq!(billing.conflicts().list().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_idle_stream_waits_longer_than_the_clients_deadline() {
    let page = |items: Value| ok(json!({"items": items, "next_cursor": "4"}));
    let event = json!({"seq": 4, "type": "subscription.updated",
        "resource": {"type": "subscription", "id": ID}, "version": 1,
        "at": "2026-11-22T01:06:00Z", "by": {"actor": "me", "on_behalf_of": null,
        "source": "api", "forced": false}, "kind": "updated", "changes": [], "request_id": "r",
        "state": subscription(1, 5)});
    let late = |step| ScriptStep::After(secs(5), Box::new(step));
    let settings = Settings { deadline: secs(2), ..SETTINGS };
    let steps = vec![late(page(json!([]))), late(page(json!([event])))];
    let (billing, script) = client_of(settings, steps);
    let next = billing.events(3).stream().next().await.expect("no end").expect("an event");
    assert_eq!((next.seq, script.sent().len()), (4, 2));
}
