//! Fenced writes: what they send, and how they end when the lock is lost.

use super::{
    locks::{TestClock, acquired, client_on, grant, refusal, settle, verbs},
    *,
};
use crate::{Fence, HoldOutcome, LockEnd, Plan, PlanFields, PlanId};

fn headers(script: &Script, index: usize) -> Vec<String> {
    let headers = script.at(index).1.headers().expect("headers");
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let names = ["x-lock", "x-lock-fence", "x-lock-workspace"];
    names.into_iter().filter_map(text).map(str::to_owned).collect()
}

fn in_workspace() -> ScriptStep {
    let at = "2026-11-22T01:06:00Z";
    let body = json!({"workspace_id": "wsp_1", "key": "k", "scope": "function", "function": "f",
        "owner": "own_1", "fence": 9, "acquired_at": at, "expires_at": at,
        "ttl_remaining_ms": 30_000, "waited_ms": 0});
    ScriptStep::Answer(201, Vec::new(), body)
}

#[tokio::test(start_paused = true)]
async fn every_mutation_can_be_fenced() {
    let clock = TestClock::new();
    let broken = || problem(422, "VALIDATION_FAILED", "none", 0, json!({}));
    let mut steps = vec![grant(7, 30_000)];
    steps.extend([ok(subscription(1, 5)), broken(), broken()]); // update: fetch, send; save
    steps.extend([ok(subscription(1, 5)), broken()]); // force
    steps.extend((0..5).map(|_| broken())); // delete, create, usage, payment, transaction
    let (billing, script) = client_on(&clock, steps);
    let lock = acquired(&billing).await;
    let subs = billing.subscriptions();
    let base = crate::Versioned::with(
        serde_json::from_value(subscription(1, 5)).expect("a subscription"),
        1,
        crate::WriteInfo::default(),
    );
    let plan = PlanId::from_unchecked("pln_1");
    let workspace = crate::WorkspaceId::from_unchecked("wsp_1");
    let mut failed = 0;
    let mut fails = |is_err: bool| failed += usize::from(is_err);
    fails(subs.update(&id(), |s| s.quantity += 1).fenced_by(&lock).await.is_err());
    fails(subs.save(&base, base.edited(|s| s.quantity = 9)).fenced_by(&lock).await.is_err());
    let forced = subs.update(&id(), |s| s.quantity += 1).force("so");
    fails(forced.fenced_by(&lock).await.is_err());
    fails(billing.plans().delete_at(&plan, 1).fenced_by(&lock).await.is_err());
    fails(billing.plans().create(PlanFields::default()).fenced_by(&lock).await.is_err());
    let usage = billing.usage(&workspace).check_and_record("api.calls", 1);
    fails(usage.fenced_by(&lock).await.is_err());
    let payment = crate::NewPayment { amount: 1, provider_ref: "r".into() };
    let invoice = crate::InvoiceId::from_unchecked("inv_1");
    let paying = billing.invoices().record_payment(&invoice, payment);
    fails(paying.fenced_by(lock.fence()).await.is_err());
    let transaction = billing.transaction().create::<Plan>(PlanFields::default());
    fails(transaction.fenced_by(&lock).await.is_err());
    assert_eq!(failed, 8);
    for (index, (_, request)) in script.sent().iter().enumerate().skip(1) {
        let expected: &[&str] = if request.verb == Verb::Get { &[] } else { &["global//k", "7"] };
        assert_eq!(headers(&script, index), expected, "{request:?}");
    }
    assert_eq!(script.sent().len(), 11);
}

#[tokio::test(start_paused = true)]
async fn a_lock_of_a_workspace_says_so_and_can_be_sent_to_another_process() {
    let clock = TestClock::new();
    let steps = vec![in_workspace(), ok(json!({})), ok(json!({}))];
    let (billing, script) = client_on(&clock, steps);
    let workspace = crate::WorkspaceId::from_unchecked("wsp_1");
    let locks = billing.locks().in_workspace(&workspace).function("f");
    let lock = locks.acquire("k", crate::Ttl::secs(30)).await.expect("acquired");
    let run = billing.run_billing(crate::Timestamp::now()).fenced_by(&lock).await;
    assert!(run.is_err(), "the script's answer is not a run");
    assert_eq!(headers(&script, 1), ["function/f/k", "9", "wsp_1"]);

    let sent = serde_json::to_string(&lock.fence()).expect("JSON");
    assert!(!sent.contains("own_1"), "{sent}");
    let fence: Fence = serde_json::from_str(&sent).expect("a fence");
    assert_eq!(fence, lock.fence());
    let run = billing.run_billing(crate::Timestamp::now()).fenced_by(fence).await;
    assert!(run.is_err());
    assert_eq!(headers(&script, 2), ["function/f/k", "9", "wsp_1"]);
}

#[tokio::test(start_paused = true)]
async fn a_guard_that_knows_its_loss_sends_nothing() {
    let clock = TestClock::new();
    let steps = vec![grant(7, 30_000), refusal("LOCK_LOST"), ok(subscription(1, 5))];
    let (billing, script) = client_on(&clock, steps);
    let lock = acquired(&billing).await;
    lock.lost().await;
    let run = billing.run_billing(crate::Timestamp::now()).fenced_by(&lock);
    let error = run.await.expect_err("lost");
    assert!(error.is_fenced_off() && error.is_lock_lost() && !error.maybe_applied(), "{error}");
    assert!(matches!(error, Error::FencedOff { problem: None, .. }), "{error:?}");
    assert_eq!(verbs(&script), ["acquire", "renew"]);
    let update = billing.subscriptions().update(&id(), |s| s.quantity += 1).fenced_by(&lock);
    assert!(update.await.expect_err("lost").is_fenced_off());
    assert_eq!(script.verbs(), [Verb::Post, Verb::Post, Verb::Get], "nothing is written");
    let fence = lock.fence();
    drop(lock);
    let run = billing.run_billing(crate::Timestamp::now()).fenced_by(fence);
    assert!(run.await.expect_err("released").is_fenced_off());
}

#[tokio::test(start_paused = true)]
async fn a_stale_fence_is_final_and_the_guard_learns_it() {
    let clock = TestClock::new();
    let steps =
        vec![grant(7, 30_000), ok(subscription(1, 5)), conflict(1, 2, 6), refusal("STALE_FENCE")];
    let (billing, script) = client_on(&clock, steps);
    let lock = acquired(&billing).await;
    let token = lock.token();
    let update = billing.subscriptions().update(&id(), |s| s.quantity += 1).fenced_by(&lock);
    let error = update.await.expect_err("fenced off");
    assert!(error.is_fenced_off() && !error.is_conflict() && !error.is_retryable(), "{error}");
    assert_eq!(error.code(), Some(crate::Code::StaleFence));
    assert_eq!(script.verbs(), [Verb::Post, Verb::Get, Verb::Patch, Verb::Patch]);
    assert!(billing.conflicts().list().is_empty(), "nothing is parked");
    assert!(token.is_cancelled() && lock.lost().await == LockEnd::TakenAway);
    drop(lock);
    settle().await;
    assert_eq!(script.sent().len(), 4, "nothing is released");
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_of_a_fenced_write_can_be_settled_after_the_lock() {
    let clock = TestClock::new();
    let mut steps = vec![grant(7, 30_000)];
    steps.extend((0..2).map(|_| ScriptStep::Silence));
    steps.push(refusal("LOCK_LOST"));
    steps.push(ok(json!({"made": 1, "skipped": 0, "failed": 0, "remaining": 0})));
    let (billing, script) = client_on(&clock, steps);
    let acquiring = billing.locks().acquire("k", crate::Ttl::secs(120));
    let lock = acquiring.without_renewal().await.expect("acquired");
    let run = billing.run_billing(crate::Timestamp::now()).fenced_by(&lock).deadline(secs(15));
    let error = run.await.expect_err("silence");
    assert!(error.maybe_applied() && !error.is_fenced_off(), "{error}");
    let Error::OutcomeUnknown(unknown) = error else { unreachable!("{error}") };
    let saved = serde_json::to_string(&unknown).expect("JSON");
    lock.release().await.expect_err("lost");
    billing.resume(*unknown).await.expect("an earlier send was applied");
    assert_eq!(script.at(1).1, script.at(4).1, "the same bytes, with the fence");
    assert_eq!(headers(&script, 4), ["global//k", "7"]);
    let unknown: crate::OutcomeUnknown = serde_json::from_str(&saved).expect("an outcome");
    assert_eq!(*unknown.request(), script.at(1).1, "the fence is kept on disk");
}

#[tokio::test(start_paused = true)]
async fn a_stale_fence_settles_an_earlier_send_of_the_same_key_only() {
    for (sender, is_fenced_off) in [("scripted", true), ("another", false)] {
        let clock = TestClock::new();
        let steps = vec![grant(7, 30_000), ScriptStep::Broken, refusal("STALE_FENCE")];
        let none = SendBudget { capacity: 0, refill_per_second: 0 };
        let (billing, script) = client_at(clock, none, steps);
        let lock = acquired(&billing).await;
        let run = billing.run_billing(crate::Timestamp::now()).fenced_by(&lock);
        run.await.expect_err("broken");
        let mut request = script.at(1).1;
        request.sender = Some(crate::request::KeyMark::of(sender));
        let mut sending = crate::send::Sending::new(request, crate::pace::Deadline::after(secs(5)));
        sending.in_doubt = true;
        let error = billing.send(&mut sending).await.expect_err("refused");
        let error = sending.settle(error);
        assert_eq!((error.is_fenced_off(), error.maybe_applied()), (is_fenced_off, !is_fenced_off));
    }
}

#[tokio::test(start_paused = true)]
async fn a_hold_that_is_fenced_off_is_given_back() {
    let clock = TestClock::new();
    let hold = json!({"id": "hld_1", "feature": "f", "scope": "workspaces/wsp_1", "quantity": 5,
        "status": "held", "settled_quantity": null, "record_id": null,
        "expires_at": "2026-11-22T01:06:00Z", "created_at": "2026-11-22T01:06:00Z",
        "ended_at": null,
        "used": 0, "held": 5, "limit": 9, "remaining": 4, "unlimited": false, "resets_at": null,
        "charged_scope": "workspaces/wsp_1"});
    let steps = vec![grant(7, 30_000), ok(hold.clone()), refusal("STALE_FENCE"), ok(hold)];
    let (billing, script) = client_on(&clock, steps);
    let lock = acquired(&billing).await;
    let workspace = crate::WorkspaceId::from_unchecked("wsp_1");
    let held = billing.usage(&workspace).hold("f", 5, secs(60)).fenced_by(&lock).await;
    let HoldOutcome::Held(held) = held.expect("held") else { unreachable!() };
    let mut held = held.fenced_by(&lock);
    assert!(held.settle(3).await.expect_err("fenced off").is_fenced_off());
    drop(held);
    settle().await;
    assert_eq!(verbs(&script), ["acquire", "holds", "settle", "release"]);
    assert!(headers(&script, 3).is_empty());
}
