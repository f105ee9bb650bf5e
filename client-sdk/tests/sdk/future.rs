//! A newer server: names that this version does not know are read and kept.

use crate::fake::{Fake, Fault, ID, KEY, id, problem};
use ifmatch::{
    ChangeKind, Client, Code, Decision, Error, RetryAction, SendBudget, Source, SubscriptionStatus,
    Verdict,
};
use serde_json::{Value, json};
use wiremock::{Mock, MockServer, ResponseTemplate, matchers::any};

const AT: &str = "2036-11-22T01:06:00.000000Z";

/// The fake server's object after a change that only a newer server can make.
fn frozen(fake: &Fake) -> Value {
    let mut object = fake.object();
    for (name, value) in [("status", json!("frozen")), ("version", json!(2)), ("new", json!(1))] {
        object.as_object_mut().expect("an object").insert(name.to_owned(), value);
    }
    object
}

#[tokio::test]
async fn a_page_of_events_with_new_names_is_read() {
    let by = json!({"actor": "a", "key_id": null, "on_behalf_of": null, "source": "mqtt",
        "forced": false});
    let event = |seq: i64, kind: &str, by: &Value| {
        json!({"seq": seq, "type": format!("seat_pool.{kind}"),
            "resource": {"type": "seat_pool", "id": "stp_1"}, "workspace_id": null,
            "version": 1, "at": AT, "by": by,
            "kind": kind, "changes": [], "request_id": "req_1", "state": {"status": "frozen"}})
    };
    let old = json!({"actor": "a", "on_behalf_of": null, "source": "api", "forced": false});
    let page = json!({"items": [event(1, "split", &by), event(2, "updated", &old)],
        "next_cursor": "2"});
    let server = MockServer::start().await;
    let answer = ResponseTemplate::new(200).set_body_json(page);
    Mock::given(any()).respond_with(answer).mount(&server).await;
    let billing = Client::builder(server.uri()).key(KEY).build().expect("a client");
    let events = billing.events(0).await.expect("a page");
    let [new, old] = events.as_slice() else { unreachable!("{events:?}") };
    assert_eq!(new.entry.kind, ChangeKind::Unknown("split"));
    assert_eq!(new.entry.by.source, Source::Unknown("mqtt"));
    assert_eq!((new.event_type.as_str(), new.resource.id.as_str()), ("seat_pool.split", "stp_1"));
    assert_eq!((old.entry.kind, old.entry.by.source), (ChangeKind::Updated, Source::Api));
    let again = serde_json::to_value(new).expect("JSON");
    assert_eq!(again, event(1, "split", &by), "an unknown event is written unchanged");
}

#[tokio::test]
async fn an_object_with_a_new_status_is_read_and_can_be_edited() {
    let fake = Fake::start().await;
    fake.rival(json!({"status": "frozen"}));
    let subs = fake.client().subscriptions();
    let sub = subs.get(&id()).await.expect("an object");
    assert_eq!(sub.status, SubscriptionStatus::Unknown("frozen"));
    let sub = subs.update(&id(), |s| s.quantity += 1).await.expect("applied");
    assert_eq!((sub.status.name(), sub.quantity), ("frozen", 6));
    let patches = fake.patches();
    let bodies: Vec<&Value> = patches.iter().map(|seen| &seen.body).collect();
    assert_eq!(bodies, [&json!({"quantity": 6, "version": 2})], "the status is left alone");
}

#[tokio::test]
async fn a_write_that_is_answered_with_a_new_status_is_applied() {
    let fake = Fake::start().await;
    let answer = ResponseTemplate::new(200).set_body_json(frozen(&fake));
    fake.fault(Fault::Replace(answer));
    let sub = fake.client().subscriptions().update(&id(), |s| s.quantity += 1).await;
    let sub = sub.expect("applied");
    assert_eq!((sub.status, sub.version()), (SubscriptionStatus::Unknown("frozen"), 2));
    assert_eq!(fake.applied(), 1);
}

#[tokio::test]
async fn a_conflict_with_a_new_verdict_and_a_new_kind_is_told_in_full() {
    let fake = Fake::start().await;
    let by = json!({"actor": "r", "on_behalf_of": null, "source": "mqtt", "forced": false});
    let report = json!({"conflict_id": "cfl_1", "resource": {"type": "seat_pool", "id": ID},
        "expected_version": 1, "current_version": 2, "current": frozen(&fake),
        "changes": [{"path": "/status", "base": "active", "current": "frozen", "version": 2,
            "at": AT, "by": by}],
        "attempted": ["/quantity"], "merge": {"verdict": "half_clean", "overlap": [],
            "groups_split": [], "preview": null}});
    fake.fault(Fault::Intercept(problem(409, "CONFLICT_VERSION_MISMATCH", report)));
    let update = fake.client().subscriptions().update(&id(), |s| s.quantity += 1);
    let error = update.on_conflict(|_| async { Decision::Abort }).await.expect_err("a conflict");
    let Error::Conflict(conflict) = error else { unreachable!("{error}") };
    assert_eq!(conflict.conflict_id.as_deref(), Some("cfl_1"));
    assert_eq!(conflict.verdict, Verdict::Unknown("half_clean"));
    let source = conflict.changes.first().and_then(|change| change.by.clone()).map(|by| by.source);
    assert_eq!(source, Some(Source::Unknown("mqtt")));
    assert_eq!(fake.applied(), 0);
}

#[tokio::test]
async fn a_form_is_not_merged_on_a_verdict_that_is_not_understood() {
    let fake = Fake::start().await;
    let billing = fake.client();
    let base = billing.subscriptions().get(&id()).await.expect("an object");
    let edited = base.edited(|s| s.quantity += 1);
    let report = json!({"conflict_id": "cfl_1", "resource": {"type": "subscription", "id": ID},
        "expected_version": 1, "current_version": 2, "current": frozen(&fake), "changes": [],
        "attempted": ["/quantity"], "merge": {"verdict": "half_clean", "overlap": [],
            "groups_split": [], "preview": null}});
    fake.fault(Fault::Intercept(problem(409, "CONFLICT_VERSION_MISMATCH", report)));
    let error = billing.subscriptions().save(base, edited).await.expect_err("parked");
    assert!(matches!(error, Error::Unresolved(_)), "{error}");
    assert_eq!((billing.conflicts().list().len(), fake.applied()), (1, 0));
}

#[tokio::test]
async fn a_refusal_keeps_the_text_of_a_new_code_and_a_new_retry_action() {
    let fake = Fake::start().await;
    let retry = json!({"retry": {"action": "ask_a_person", "after_ms": 0}});
    fake.fault(Fault::Intercept(problem(422, "SEAT_POOL_EMPTY", retry)));
    let error = fake.client().subscriptions().update(&id(), |s| s.quantity += 1).await;
    let error = error.expect_err("refused");
    assert_eq!(error.code(), Some(Code::Unknown("SEAT_POOL_EMPTY")));
    assert!(error.to_string().contains("SEAT_POOL_EMPTY"), "{error}");
    let action = error.problem().map(|problem| problem.retry.action);
    assert_eq!(action, Some(RetryAction::Unknown("ask_a_person")));
    assert!(!error.maybe_applied() && !error.is_retryable(), "{error}");
}

#[tokio::test]
async fn a_failure_with_a_new_retry_action_may_have_been_applied() {
    let fake = Fake::start().await;
    let retry = json!({"retry": {"action": "ask_a_person", "after_ms": 0}});
    fake.fault(Fault::Replace(problem(500, "HALF_DONE", retry)));
    let budget = SendBudget { capacity: 0, refill_per_second: 0 };
    let billing = fake.builder().send_budget(budget).build().expect("a client");
    let error = billing.subscriptions().update(&id(), |s| s.quantity += 1).await;
    let error = error.expect_err("the outcome is unknown");
    assert!(error.maybe_applied(), "{error}");
    assert_eq!(fake.applied(), 1);
}
