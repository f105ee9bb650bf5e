//! Acquiring a lock: waits, replays, and callers that go away.

use super::{
    locks::{
        TestClock, acquired, after, body, client_on, grant, key, refusal, released, renewal,
        settle, verbs,
    },
    *,
};
use crate::{LockOutcome, Ttl};

fn busy(code: &str, waited_ms: i64) -> ScriptStep {
    let rest = json!({"key": "k", "scope": "global", "function": null, "label": "worker 3",
        "expires_at": "2026-11-22T01:06:00Z", "cooldown_until": null, "waited_ms": waited_ms});
    problem(409, code, "none", 500, rest)
}

#[tokio::test(start_paused = true)]
async fn a_busy_lock_is_a_value_or_an_error() {
    let clock = TestClock::new();
    let held = || busy("LOCK_ACQUISITION_FAILED", 0);
    let (billing, _) = client_on(&clock, vec![held(), held()]);
    let outcome = billing.locks().try_acquire("k", Ttl::secs(30)).await.expect("an answer");
    let LockOutcome::Busy(held) = outcome else { unreachable!("{outcome:?}") };
    assert_eq!(held.label.as_deref(), Some("worker 3"));
    assert!(held.expires_at.is_some());
    let error = billing.locks().acquire("k", Ttl::secs(30)).await.expect_err("busy");
    assert!(error.is_lock_busy() && !error.is_lock_lost() && !error.is_retryable(), "{error}");
    assert_eq!(error.lock_held(), Some(held));
}

#[tokio::test(start_paused = true)]
async fn a_long_wait_is_several_requests() {
    let clock = TestClock::new();
    let steps = vec![
        after(45, busy("LOCK_TIMEOUT", 45_000)),
        after(45, busy("LOCK_TIMEOUT", 45_000)),
        after(10, busy("LOCK_TIMEOUT", 10_000)),
    ];
    let (billing, script) = client_on(&clock, steps);
    let waiting = billing.locks().try_acquire("k", Ttl::secs(30)).wait(secs(100));
    let LockOutcome::Busy(held) = waiting.await.expect("an answer") else { unreachable!() };
    assert_eq!(held.waited_ms, 100_000);
    let waits = [0, 1, 2].map(|index| body(&script, index)["wait_ms"].clone());
    assert_eq!(waits, [45_000, 45_000, 10_000].map(Value::from));
    assert!(key(&script, 0) != key(&script, 1), "an answer was given, so it is a new request");
}

#[tokio::test(start_paused = true)]
async fn a_wait_beyond_the_time_of_the_lock_is_followed_by_a_renewal() {
    let clock = TestClock::new();
    let steps = vec![after(40, grant(7, 30_000)), after(1, renewal())];
    let (billing, script) = client_on(&clock, steps);
    let lock = billing.locks().acquire("k", Ttl::secs(30)).wait(secs(40)).await.expect("acquired");
    assert_eq!(verbs(&script), ["acquire", "renew"]);
    assert_eq!(lock.time_left(), secs(26), "from before the renewal");

    let steps = vec![after(40, grant(7, 30_000)), refusal("LOCK_LOST"), grant(8, 30_000)];
    let (billing, script) = client_on(&clock, steps);
    let lock = billing.locks().acquire("k", Ttl::secs(30)).wait(secs(40)).await.expect("acquired");
    assert_eq!(lock.fence().number(), 8, "a grant that was over already is acquired anew");
    assert_eq!(verbs(&script), ["acquire", "renew", "acquire"]);
}

#[tokio::test(start_paused = true)]
async fn a_failed_renewal_after_a_wait_matters_only_if_no_time_is_left() {
    for (waited, is_held) in [(20, true), (40, false)] {
        let clock = TestClock::new();
        let steps =
            vec![after(waited, grant(7, 30_000)), ScriptStep::NotConnected, renewal(), released()];
        let none = SendBudget { capacity: 0, refill_per_second: 0 };
        let (billing, script) = client_at(clock, none, steps);
        let acquiring = billing.locks().acquire("k", Ttl::secs(30)).wait(secs(40)).await;
        settle().await;
        match acquiring {
            Ok(lock) => {
                assert!(is_held && lock.is_held());
                assert_eq!(verbs(&script), ["acquire", "renew", "renew"]);
            }
            Err(error) => {
                assert!(!is_held && error.is_retryable(), "{error}");
                assert_eq!(verbs(&script), ["acquire", "renew", "release"]);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_replayed_acquire_counts_from_its_first_send() {
    let clock = TestClock::new();
    let (billing, script) = client_on(&clock, vec![ScriptStep::Silence, grant(7, 29_000)]);
    let lock = acquired(&billing).await;
    assert_eq!(script.at(0).1, script.at(1).1);
    let replayed_at = script.at(1).0;
    assert!(replayed_at >= secs(10));
    // The answer may be as old as the first send.
    assert_eq!(lock.time_left(), Duration::from_millis(26_100) - replayed_at);
}

#[tokio::test(start_paused = true)]
async fn a_replayed_acquire_whose_grant_is_over_is_made_anew() {
    let clock = TestClock::new();
    let steps = vec![ScriptStep::Broken, refusal("LOCK_LOST"), grant(8, 30_000)];
    let (billing, script) = client_on(&clock, steps);
    let lock = acquired(&billing).await;
    assert_eq!(lock.fence().number(), 8);
    assert_eq!(key(&script, 0), key(&script, 1));
    assert_ne!(key(&script, 1), key(&script, 2));

    let lost = (0..1000).flat_map(|_| [ScriptStep::Broken, refusal("LOCK_LOST")]).collect();
    let (billing, _) = client_on(&clock, lost);
    let acquiring = billing.locks().acquire("k", Ttl::secs(30)).deadline(secs(5));
    let (began, error) = (Instant::now(), acquiring.await.expect_err("lost again and again"));
    // Pauses are random: the deadline may fall before or after any send.
    assert!(began.elapsed() <= secs(5));
    assert!(error.is_lock_lost() || error.is_deadline(), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_went_away_holds_nothing() {
    let held = || busy("LOCK_ACQUISITION_FAILED", 0);
    let reused = || problem(422, "IDEMPOTENCY_KEY_REUSED", "none", 0, json!({}));
    for (answers, expected) in [
        (vec![held()], vec!["acquire", "acquire"]),
        (vec![grant(7, 30_000), released()], vec!["acquire", "acquire", "release"]),
        // It was granted in the last moment.
        (
            vec![reused(), grant(7, 30_000), released()],
            vec!["acquire", "acquire", "acquire", "release"],
        ),
        (vec![reused(), refusal("LOCK_LOST")], vec!["acquire", "acquire", "acquire"]),
    ] {
        let clock = TestClock::new();
        let mut steps = vec![ScriptStep::Silence];
        steps.extend(answers);
        let (billing, script) = client_on(&clock, steps);
        let waiting = billing.locks().acquire("k", Ttl::secs(30)).wait(secs(40));
        let waited = tokio::time::timeout(secs(5), waiting.into_future()).await;
        assert!(waited.is_err());
        tokio::time::sleep(secs(60)).await;
        assert_eq!(verbs(&script), expected);
        assert_eq!(key(&script, 0), key(&script, 1));
        assert_eq!(body(&script, 1)["wait_ms"], 0, "no caller waits any more");
        if expected.len() == 4 {
            assert_eq!(script.at(0).1, script.at(2).1);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_acquire_without_an_answer_gives_back_what_it_may_have_got() {
    let clock = TestClock::new();
    let steps = vec![ScriptStep::Silence, grant(7, 30_000), released()];
    let (billing, script) = client_on(&clock, steps);
    let acquiring = billing.locks().acquire("k", Ttl::secs(30)).deadline(secs(5));
    let error = acquiring.await.expect_err("silence");
    assert!(error.maybe_applied() && error.is_deadline(), "{error}");
    settle().await;
    assert_eq!(verbs(&script), ["acquire", "acquire", "release"]);
    assert_eq!(key(&script, 0), key(&script, 1));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_a_lock_is_not_sent() {
    let (billing, script) = client(Vec::new());
    let locks = billing.locks();
    for key in ["", ".", "..", "a/b", "a b"] {
        let error = locks.acquire(key, Ttl::secs(30)).await.expect_err(key);
        assert!(matches!(error, Error::Unsendable(_)), "{error}");
        let error = locks.force_release(key, "hangs").await.expect_err(key);
        assert!(matches!(error, Error::Unsendable(_)), "{error}");
        let error = locks.get(key).await.expect_err(key);
        assert!(matches!(error, Error::Unsendable(_)), "{error}");
    }
    for ttl in [Ttl::millis(0), Ttl::secs(24 * 60 * 60 + 1)] {
        let error = locks.acquire("k", ttl).await.expect_err("a time");
        assert!(matches!(error, Error::Unsendable(_)), "{error}");
    }
    assert!(script.sent().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_name_is_said_in_path_and_query_or_body() {
    let at = "2026-11-22T01:06:00Z";
    let status = json!({"workspace_id": "wsp_1", "key": "k", "scope": "function", "function": "f",
        "locked": false, "label": null, "fence": 8, "acquired_at": null, "expires_at": null,
        "ttl_remaining_ms": 0, "cooldown_until": at, "waiters": 0});
    let page = json!({"items": [status], "next_cursor": null});
    let (billing, script) = client(vec![ok(status.clone()), ok(page), ok(status)]);
    let workspace = crate::WorkspaceId::from_unchecked("wsp_1");
    let locks = billing.locks().in_workspace(&workspace).function("f");
    assert!(!locks.get("k").await.expect("a status").locked);
    assert_eq!(locks.list().filter("locked", false).await.expect("a page").items.len(), 1);
    let forced = locks.force_release("k", "hangs").cooldown(secs(60)).await.expect("released");
    assert_eq!(forced.fence, 8);
    let base = reqwest::Url::parse("http://billing.test").expect("a URL");
    let urls = [0, 1, 2].map(|index| script.at(index).1.url(&base).expect("a URL").to_string());
    assert_eq!(
        urls,
        [
            "http://billing.test/v1/locks/k?scope=function&function=f&workspace_id=wsp_1",
            "http://billing.test/v1/locks?workspace_id=wsp_1&scope=function&function=f&locked=false",
            "http://billing.test/v1/locks/k/force-release",
        ]
    );
    assert_eq!(
        body(&script, 2),
        json!({"reason": "hangs", "scope": "function", "function": "f",
        "workspace_id": "wsp_1", "cooldown_ms": 60_000})
    );
}
