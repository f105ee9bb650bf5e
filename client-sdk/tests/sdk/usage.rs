//! Usage: denials are values, units are counted once, holds are released.

use crate::meter::{Meter, RESETS_AT, workspace};
use ifmatch::{
    Batch, Code, DenialReason, Error, Held, HoldOutcome, Metering, OutcomeUnknown, SendBudget,
    Usage,
};
use serde_json::json;
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);

async fn hold(usage: &Metering, quantity: i64) -> Held {
    match usage.hold("api.calls", quantity, MINUTE).await.expect("an answer") {
        HoldOutcome::Held(held) => held,
        HoldOutcome::Denied(denial) => unreachable!("{denial:?}"),
    }
}

/// Usage by a client that sends only once.
fn impatient(meter: &Meter) -> Metering {
    let none = SendBudget { capacity: 0, refill_per_second: 0 };
    meter.builder().send_budget(none).build().expect("a client").usage(workspace())
}

fn unknown(error: Error) -> OutcomeUnknown {
    match error {
        Error::OutcomeUnknown(unknown) => *unknown,
        other => unreachable!("{other}"),
    }
}

/// Waits for the effect of a background task.
async fn eventually(is_so: impl Fn() -> bool) {
    let waited = tokio::time::timeout(Duration::from_secs(10), async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    waited.await.expect("so in the end");
}

#[tokio::test]
async fn a_denial_is_a_value() {
    let meter = Meter::start(3).await;
    let usage = meter.client().usage(workspace());
    match usage.check_and_record("api.calls", 2).metadata("path", "/").await.expect("an answer") {
        Usage::Allowed { id, quantity, used, limit, remaining, replayed, .. } => {
            assert_eq!((id.as_str(), quantity, used), ("usg_1", 2, 2));
            assert_eq!((limit, remaining, replayed), (Some(3), Some(1), false));
        }
        denied => unreachable!("{denied:?}"),
    }
    match usage.check_and_record("api.calls", 2).await.expect("an answer") {
        Usage::Denied { reason, requested, limit, used, remaining, resets_at, .. } => {
            assert_eq!((reason, requested), (DenialReason::LimitExceeded, 2));
            assert_eq!((limit, used, remaining), (3, 2, 1));
            assert_eq!(resets_at.expect("some day").to_string(), RESETS_AT);
        }
        allowed => unreachable!("{allowed:?}"),
    }
    let denied = usage.check_and_record("export.pdf", 1).await.expect("an answer");
    let not_included = DenialReason::NotIncluded;
    assert!(matches!(denied, Usage::Denied { reason, .. } if reason == not_included), "{denied:?}");
    let seen = meter.seen();
    assert_eq!((seen.len(), meter.used()), (3, 2), "a denial is not asked for again");
    let first = seen.first().map(|seen| seen.body.clone());
    let body = json!({"feature": "api.calls", "quantity": 2, "metadata": {"path": "/"}});
    assert_eq!(first, Some(body));
}

#[tokio::test]
async fn a_batch_is_all_or_nothing() {
    let meter = Meter::start(3).await;
    let usage = meter.client().usage(workspace());
    let denied = usage.batch([("api.calls", 2), ("api.calls", 2)]).await.expect("an answer");
    let Batch::Denied { index, denial, .. } = denied else { unreachable!("{denied:?}") };
    assert_eq!((index, denial.remaining, meter.used()), (1, 1, 0));
    let allowed = usage.batch([("api.calls", 2), ("api.calls", 1)]).await.expect("an answer");
    let Batch::Allowed(records) = allowed else { unreachable!("{allowed:?}") };
    assert_eq!((records.len(), meter.used()), (2, 3));
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again_and_counted_once() {
    let meter = Meter::start(1).await;
    let usage = meter.client().usage(workspace());
    meter.lose_answers(2);
    let answer = usage.check_and_record("api.calls", 1).await.expect("an answer");
    // It was the last unit, so without the key the repeated sends would have been denied.
    assert!(matches!(answer, Usage::Allowed { replayed: true, .. }), "{answer:?}");
    assert_eq!(meter.used(), 1);
    let seen = meter.seen();
    let sent: Vec<_> = seen.iter().map(|seen| (&seen.key, &seen.bytes)).collect();
    assert!(sent.len() == 3 && sent.iter().all(|send| Some(send) == sent.first()), "{sent:?}");
}

#[tokio::test]
async fn two_calls_have_two_keys() {
    let meter = Meter::start(2).await;
    let usage = meter.client().usage(workspace());
    for _ in 0..2 {
        assert!(usage.check_and_record("api.calls", 1).await.expect("an answer").is_allowed());
    }
    let own = usage.check_and_record("api.calls", 1).idempotency_key("call-7");
    assert!(!own.await.expect("an answer").is_allowed());
    let keys: Vec<_> = meter.seen().into_iter().filter_map(|seen| seen.key).collect();
    let [one, two, three] = keys.as_slice() else { unreachable!("{keys:?}") };
    assert!(one != two && three == "call-7");
}

#[tokio::test]
async fn an_unknown_outcome_is_settled_as_a_value_too() {
    let meter = Meter::start(5).await;
    let impatient = impatient(&meter);
    let billing = meter.client();

    meter.lose_answers(1);
    let lost = impatient.check_and_record("api.calls", 2).await.expect_err("lost");
    let saved = serde_json::to_string(&unknown(lost)).expect("JSON");
    let saved = serde_json::from_str(&saved).expect("an outcome");
    let answer = billing.resume(saved).await.expect("settled").usage().expect("usage");
    assert!(matches!(answer, Usage::Allowed { replayed: true, quantity: 2, .. }), "{answer:?}");

    // A denial has no kept answer, so the request is decided anew.
    meter.lose_answers(1);
    let lost = impatient.check_and_record("api.calls", 9).await.expect_err("lost");
    let settled = billing.resume(unknown(lost)).await.expect("settled");
    let refused = settled.clone().decode::<ifmatch::Recorded>().expect_err("no record");
    assert_eq!(refused.code(), Some(Code::EntitlementLimitExceeded));
    let answer = settled.usage().expect("usage");
    assert!(matches!(answer, Usage::Denied { requested: 9, .. }), "{answer:?}");

    meter.lose_answers(1);
    let lost = impatient.batch([("api.calls", 1)]).await.expect_err("lost");
    let batch = billing.resume(unknown(lost)).await.expect("settled").batch().expect("a batch");
    assert!(matches!(batch, Batch::Allowed(_)), "{batch:?}");

    meter.lose_answers(1);
    let lost = impatient.hold("api.calls", 2, MINUTE).await.expect_err("lost");
    let outcome = billing.resume(unknown(lost)).await.expect("settled").hold().expect("a hold");
    let HoldOutcome::Held(held) = outcome else { unreachable!("{outcome:?}") };
    assert_eq!((held.quantity, meter.used(), meter.held()), (2, 3, 2));
    held.release().await.expect("released");
    assert_eq!((meter.used(), meter.held()), (3, 0));
}

#[tokio::test]
async fn a_hold_is_settled_with_what_it_took() {
    let meter = Meter::start(10).await;
    let usage = meter.client().usage(workspace());
    let mut held = hold(&usage, 8).await;
    assert_eq!((held.quantity, held.meter().remaining, meter.held()), (8, Some(2), 8));
    let denied = usage.hold("api.calls", 3, MINUTE).await.expect("an answer");
    assert!(matches!(&denied, HoldOutcome::Denied(denial) if denial.held == 8), "{denied:?}");

    let denied = held.settle(11).await.expect("an answer");
    assert!(matches!(denied, Usage::Denied { .. }), "{denied:?}");
    assert_eq!((meter.used(), meter.held()), (0, 8), "nothing changed");
    let settled = held.settle(5).await.expect("an answer");
    let Usage::Allowed { id, quantity, remaining, .. } = settled else {
        unreachable!("{settled:?}")
    };
    assert_eq!((id.as_str(), quantity, remaining), ("usg_of_hold", 5, Some(5)));
    drop(held);
    let reversed = usage.reverse(&id, 4).await.expect("reversed");
    assert_eq!((reversed.reversed, meter.used(), meter.held()), (4, 1, 0));
    let paths: Vec<String> = meter.seen().into_iter().map(|seen| seen.target).collect();
    assert!(!paths.iter().any(|path| path.ends_with("release")), "{paths:?}");
    let ttl = meter.seen().first().and_then(|seen| seen.body.get("ttl_ms").cloned());
    assert_eq!(ttl, Some(json!(60_000)));
}

#[tokio::test]
async fn a_dropped_hold_is_released_in_the_background() {
    let meter = Meter::start(10).await;
    let usage = meter.client().usage(workspace());
    drop(hold(&usage, 8).await);
    eventually(|| meter.held() == 0).await;

    // A hold is also released after a denied settlement.
    let mut held = hold(&usage, 8).await;
    assert!(!held.settle(11).await.expect("an answer").is_allowed());
    drop(held);
    eventually(|| meter.held() == 0).await;

    // Without a runtime the hold is left to expire, and nothing panics.
    let held = hold(&usage, 8).await;
    std::thread::spawn(move || drop(held)).join().expect("no panic");
    assert_eq!((meter.used(), meter.held()), (0, 8));
}

#[tokio::test]
async fn a_hold_that_may_be_settled_is_not_released() {
    let meter = Meter::start(10).await;
    let mut held = hold(&impatient(&meter), 8).await;
    meter.lose_answers(1);
    let lost = unknown(held.settle(8).await.expect_err("lost"));
    drop(held);
    let settled = meter.client().resume(lost).await.expect("settled").usage().expect("usage");
    assert!(matches!(settled, Usage::Allowed { quantity: 8, .. }), "{settled:?}");
    let sent = meter.seen().into_iter().map(|seen| seen.target);
    assert!(!sent.into_iter().any(|path| path.ends_with("release")));
}

#[tokio::test]
async fn a_hold_that_is_over_is_a_refusal() {
    let meter = Meter::start(10).await;
    let usage = meter.client().usage(workspace());
    let mut held = hold(&usage, 1).await;
    assert!(held.settle(1).await.expect("an answer").is_allowed());
    let again = held.settle(1).await.expect_err("over");
    assert_eq!(again.code(), Some(Code::HoldNotActive));
    assert_eq!(held.release().await.expect_err("over").code(), Some(Code::HoldNotActive));
}
