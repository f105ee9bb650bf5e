//! Tests of edits that may have been applied: the history tells by the digest of the key.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_bare_conflict_after_a_lost_answer_asks_the_history_who_it_was() {
    // Another client made version 2: the edit is made again. Its key says so, or what it changed.
    for other in [
        history(2, "other", json!(["/quantity"]), Some("aa".repeat(32))),
        history(2, "other", json!(["/notes"]), None),
    ] {
        let (billing, script) = client(vec![
            ok(subscription(1, 5)),
            ScriptStep::Broken,
            bare(409),
            ok(subscription(2, 9)),
            other,
            ok(subscription(3, 10)),
        ]);
        let update = billing.subscriptions().update(&id(), |s| s.quantity += 1).await;
        assert_eq!((update.expect("applied").quantity, script.version_sent(5)), (10, Some(2)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_history_without_digests_leaves_the_outcome_unknown() {
    for lost in [vec![ScriptStep::Broken], vec![]] {
        // The entry may be this edit's or not. Its request id proves nothing.
        let mut steps = vec![ok(subscription(1, 5))];
        steps.extend(lost);
        steps.extend([bare(412), ok(subscription(2, 6))]);
        steps.push(history(2, "rewritten", json!(["/quantity"]), None));
        let (billing, _) = client(steps);
        let update = billing.subscriptions().update(&id(), |s| s.quantity += 1);
        let error = update.await.expect_err("the history does not tell");
        assert!(matches!(error, Error::OutcomeUnknown(_)), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_forced_edit_is_never_made_again_with_another_key() {
    let mut steps = vec![ok(subscription(1, 5)), bare(409), ok(subscription(2, 6))];
    steps.push(history(2, "other", json!(["/notes"]), Some("aa".repeat(32))));
    steps.push(ok(subscription(3, 6)));
    let (billing, script) = client(steps);
    let forced = billing.subscriptions().update(&id(), |s| s.quantity = 6).force("because");
    assert_eq!(forced.await.expect("forced").version(), 3);
    assert_eq!(script.at(1).1, script.at(4).1, "the same bytes with the same key");
}

#[tokio::test(start_paused = true)]
async fn a_key_that_was_used_for_changed_bytes_leaves_the_outcome_unknown() {
    let reused = || problem(422, "IDEMPOTENCY_KEY_REUSED", "none", 0, json!({}));
    let (billing, _) = client(vec![ScriptStep::Broken, reused()]);
    let error = billing.run_billing(crate::Timestamp::now()).await.expect_err("refused");
    assert!(matches!(error, Error::OutcomeUnknown(_)), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_bare_conflict_caused_by_the_own_lost_send_is_a_success() {
    let (billing, script) = client(vec![
        ok(subscription(1, 5)),
        ScriptStep::Broken,
        bare(409),
        ok(subscription(3, 8)),
        ScriptStep::OwnHistory(2),
        ok(subscription(2, 6)),
    ]);
    let sub = billing.subscriptions().update(&id(), |s| s.quantity += 1).await.expect("applied");
    assert!(sub.replayed());
    assert_eq!((sub.version(), sub.quantity), (2, 6), "what this edit made, not what came later");
    assert_eq!(script.verbs().iter().filter(|verb| **verb == Verb::Patch).count(), 2);
}

fn too_slow() -> ScriptStep {
    problem(408, "REQUEST_TIMEOUT", "none", 0, json!({}))
}

#[tokio::test(start_paused = true)]
async fn a_body_that_took_too_long_is_sent_again() {
    let (billing, script) =
        client(vec![ok(subscription(1, 5)), too_slow(), too_slow(), ok(subscription(2, 6))]);
    billing.subscriptions().update(&id(), |s| s.quantity += 1).await.expect("applied");
    let key = |index| script.at(index).1.idempotency_key;
    assert!(key(1).is_some() && key(1) == key(2) && key(2) == key(3));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_took_too_long_settles_no_earlier_send_and_leaves_none_in_doubt() {
    let mut steps = vec![ScriptStep::Broken];
    steps.extend((0..200).map(|_| too_slow()));
    let (billing, _) = client(steps);
    let error = billing.run_billing(crate::Timestamp::now()).await.expect_err("no answer");
    assert!(matches!(error, Error::OutcomeUnknown(_)), "{error}");

    let (billing, _) = client((0..200).map(|_| too_slow()).collect());
    let error = billing.run_billing(crate::Timestamp::now()).await.expect_err("no answer");
    assert!(error.is_retryable() && !error.maybe_applied(), "{error}");
}
