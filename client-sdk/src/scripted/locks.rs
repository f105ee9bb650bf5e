//! Locks: when a guard renews, when it gives up, and that nothing stays held without a holder.

use super::*;
use crate::{
    LockEnd, LockGuard, Ttl,
    locks::{Clock, Reading},
};

pub(super) const OWNER: &str = "own_CANARY0123456789";

/// Clocks that follow the paused clock of the test, and jump when they are told to.
pub(super) struct TestClock {
    origin: Instant,
    jumps: Mutex<(Duration, i64)>,
}

impl TestClock {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { origin: Instant::now(), jumps: Mutex::default() })
    }

    /// The machine sleeps: timers stand still, both clocks go on.
    fn suspend(&self, sleep: Duration) {
        let mut jumps = self.jumps.lock().expect("no panic");
        jumps.0 += sleep;
        jumps.1 += i64::try_from(sleep.as_secs()).expect("a short sleep");
    }

    /// The wall clock is set.
    fn set_wall(&self, seconds: i64) {
        self.jumps.lock().expect("no panic").1 += seconds;
    }
}

impl Clock for TestClock {
    fn now(&self) -> Reading {
        let (steady, wall) = *self.jumps.lock().expect("no panic");
        let elapsed = self.origin.elapsed();
        let wall = secs(1_000_000).saturating_add_signed(wall) + elapsed;
        Reading { steady: secs(1000) + steady + elapsed, wall }
    }
}

trait AddSigned {
    fn saturating_add_signed(self, seconds: i64) -> Self;
}

impl AddSigned for Duration {
    fn saturating_add_signed(self, seconds: i64) -> Self {
        let change = secs(seconds.unsigned_abs());
        if seconds < 0 { self.saturating_sub(change) } else { self + change }
    }
}

pub(super) fn client_on(clock: &Arc<TestClock>, steps: Vec<ScriptStep>) -> (Client, Arc<Script>) {
    client_at(clock.clone(), SendBudget::default(), steps)
}

pub(super) fn grant(fence: i64, ttl_remaining_ms: i64) -> ScriptStep {
    let at = "2026-11-22T01:06:00Z";
    let body = json!({"workspace_id": null, "key": "k", "scope": "global", "function": null,
        "owner": OWNER, "fence": fence, "acquired_at": at, "expires_at": at,
        "ttl_remaining_ms": ttl_remaining_ms, "waited_ms": 0});
    ScriptStep::Answer(201, Vec::new(), body)
}

pub(super) fn renewal() -> ScriptStep {
    let at = "2026-11-22T01:06:00Z";
    ok(json!({"workspace_id": null, "key": "k", "scope": "global", "function": null, "fence": 7,
        "acquired_at": at, "expires_at": at, "ttl_remaining_ms": 30_000}))
}

pub(super) fn released() -> ScriptStep {
    ok(json!({}))
}

pub(super) fn refusal(code: &str) -> ScriptStep {
    problem(409, code, "none", 0, json!({}))
}

pub(super) fn after(wait: u64, step: ScriptStep) -> ScriptStep {
    ScriptStep::After(secs(wait), Box::new(step))
}

pub(super) async fn acquired(billing: &Client) -> LockGuard {
    billing.locks().acquire("k", Ttl::secs(30)).await.expect("acquired")
}

/// The last parts of the paths, with the instants of the sends.
fn course(script: &Script) -> Vec<(String, Duration)> {
    let end = |request: &Request| {
        let path = request.path();
        path.rsplit('/').next().unwrap_or_default().to_owned()
    };
    script.sent().iter().map(|(at, request)| (end(request), *at)).collect()
}

pub(super) fn verbs(script: &Script) -> Vec<String> {
    course(script).into_iter().map(|(verb, _)| verb).collect()
}

pub(super) fn body(script: &Script, index: usize) -> Value {
    let payload = script.at(index).1.payload().expect("a body").expect("a body");
    serde_json::from_str(&payload).expect("JSON")
}

pub(super) fn key(script: &Script, index: usize) -> String {
    script.at(index).1.idempotency_key.expect("a key")
}

/// Lets the background tasks do what they can do now.
pub(super) async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_lock_is_acquired_and_given_back() {
    let clock = TestClock::new();
    let (billing, script) = client_on(&clock, vec![grant(7, 30_000), released()]);
    let lock = billing.locks().function("f").acquire("k", Ttl::secs(30)).label("me").await;
    let lock = lock.expect("acquired");
    assert!(lock.is_held() && lock.key() == "k" && lock.fence().number() == 7);
    assert_eq!(lock.time_left(), secs(27), "it gives up a tenth early");
    let shown = format!("{lock:?} {:?}", lock.fence());
    let token = lock.token();
    lock.release().await.expect("released");
    assert!(token.is_cancelled());
    let acquire = json!({"ttl_ms": 30_000, "scope": "function", "function": "f", "wait_ms": 0,
        "label": "me"});
    assert_eq!(body(&script, 0), acquire);
    assert_eq!(body(&script, 1), json!({"scope": "global", "owner": OWNER}));
    assert_eq!(script.at(1).1.path(), "/v1/locks/k/release");
    let shown = format!("{shown} {:?}", script.sent());
    assert!(!shown.contains("CANARY"), "{shown}");
    settle().await;
    assert_eq!(script.sent().len(), 2, "it is released once");
}

#[tokio::test(start_paused = true)]
async fn a_guard_renews_at_a_third_of_its_time() {
    let clock = TestClock::new();
    let mut steps = vec![grant(7, 30_000)];
    steps.extend((0..6).map(|_| renewal()));
    let (billing, script) = client_on(&clock, steps);
    let lock = acquired(&billing).await;
    tokio::time::sleep(secs(50)).await;
    assert!(lock.is_held());
    let sent = course(&script);
    assert!(sent.len() >= 6, "{sent:?}");
    for pair in sent.windows(2) {
        let [(_, earlier), (verb, later)] = pair else { unreachable!() };
        let pause = *later - *earlier;
        assert!(verb == "renew" && pause >= secs(8) && pause <= secs(10), "{sent:?}");
    }
    let keys: std::collections::HashSet<String> =
        (0..sent.len()).map(|index| key(&script, index)).collect();
    assert_eq!(keys.len(), sent.len(), "each renewal has a key of its own");
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_fails_is_repeated_until_the_lock_counts_as_lost() {
    let clock = TestClock::new();
    let mut steps = vec![grant(7, 30_000)];
    steps.extend((0..200).map(|_| ScriptStep::NotConnected));
    let (billing, script) = client_on(&clock, steps);
    let lock = acquired(&billing).await;
    let (token, began) = (lock.token(), Instant::now());
    assert_eq!(lock.lost().await, LockEnd::Expired);
    assert!(token.is_cancelled() && !lock.is_held() && lock.time_left().is_zero());
    let lost_after = began.elapsed();
    assert!(
        lost_after >= secs(26) && lost_after <= Duration::from_millis(27_010),
        "{lost_after:?}"
    );
    let renewals = script.sent().len() - 1;
    assert!(renewals > 5, "{renewals}");
    settle().await;
    assert_eq!(script.sent().len() - 1, renewals, "nothing is renewed after that");
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_succeeds_late_is_enough() {
    let clock = TestClock::new();
    let steps = vec![grant(7, 30_000), ScriptStep::Silence, ScriptStep::Broken, renewal()];
    let (billing, script) = client_on(&clock, steps);
    let lock = acquired(&billing).await;
    // The renewal succeeds after 15.5 s at the earliest, and the next one is 8 s later.
    tokio::time::sleep(secs(23)).await;
    assert!(lock.is_held() && verbs(&script).len() == 4, "{:?}", course(&script));
    assert_ne!(key(&script, 1), key(&script, 3), "a renewal that took too long is a new one");
    assert!(lock.time_left() > secs(15), "{:?}", lock.time_left());
}

#[tokio::test(start_paused = true)]
async fn the_servers_word_ends_a_lock_at_once() {
    for code in ["LOCK_LOST", "LOCK_OWNERSHIP_MISMATCH", "LOCK_NOT_FOUND"] {
        let clock = TestClock::new();
        let (billing, script) = client_on(&clock, vec![grant(7, 30_000), refusal(code)]);
        let lock = acquired(&billing).await;
        let (token, began) = (lock.token(), Instant::now());
        token.cancelled().await;
        assert!(began.elapsed() <= secs(10), "{code}: {:?}", began.elapsed());
        assert_eq!(lock.lost().await, LockEnd::TakenAway);
        drop(lock);
        settle().await;
        assert_eq!(script.sent().len(), 2, "there is nothing to release");
    }
}

#[tokio::test(start_paused = true)]
async fn work_is_cut_off_when_the_lock_is_lost_and_else_runs_to_its_end() {
    let clock = TestClock::new();
    let steps = vec![grant(7, 30_000), renewal(), refusal("LOCK_LOST")];
    let (billing, _) = client_on(&clock, steps);
    let lock = acquired(&billing).await;
    let done = lock.run(async {
        tokio::time::sleep(secs(12)).await;
        5
    });
    assert_eq!(done.await.expect("done"), 5);
    let error = lock.run(std::future::pending::<()>()).await.expect_err("lost");
    assert!(matches!(error, Error::LockLost { end: LockEnd::TakenAway, .. }), "{error}");
    assert!(error.is_lock_lost() && !error.is_fenced_off() && !error.maybe_applied());
    assert_eq!(
        error.to_string(),
        "global//k at fence 7 is lost: the server says that the grant is over"
    );
    let error = lock.run(async {}).await.expect_err("lost already");
    assert!(error.is_lock_lost(), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_drop_releases_and_ends_a_renewal_on_its_way() {
    let clock = TestClock::new();
    let steps = vec![grant(7, 30_000), ScriptStep::Silence, ScriptStep::Broken, released()];
    let (billing, script) = client_on(&clock, steps);
    let lock = acquired(&billing).await;
    tokio::time::sleep(secs(11)).await;
    assert_eq!(verbs(&script), ["acquire", "renew"]);
    let token = lock.token();
    drop(lock);
    assert!(token.is_cancelled());
    tokio::time::sleep(secs(60)).await;
    assert_eq!(verbs(&script), ["acquire", "renew", "release", "release"]);
    assert_eq!(key(&script, 2), key(&script, 3), "the same bytes with the same key");
    assert_eq!(billing.locks().failed_releases(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_release_that_fails_in_the_background_is_counted() {
    let clock = TestClock::new();
    let refused = problem(403, "FORBIDDEN", "none", 0, json!({}));
    let steps = vec![grant(7, 30_000), refused, grant(8, 30_000), refusal("LOCK_LOST")];
    let (billing, _) = client_on(&clock, steps);
    drop(acquired(&billing).await);
    settle().await;
    assert_eq!(billing.locks().failed_releases(), 1);
    drop(acquired(&billing).await);
    settle().await;
    assert_eq!(billing.locks().failed_releases(), 1, "what is over need not be released");
}

#[test]
fn a_release_that_ends_with_its_runtime_is_counted() {
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_time().start_paused(true).build().expect("a runtime")
    };
    let (first, second) = (runtime(), runtime());
    let (billing, script, lock, other) = first.block_on(async {
        let clock = TestClock::new();
        let steps = vec![grant(7, 30_000), grant(8, 30_000), ScriptStep::Silence];
        let (billing, script) = client_on(&clock, steps);
        let lock = acquired(&billing).await;
        let other = acquired(&billing).await;
        (billing, script, lock, other)
    });
    // This release is on its way when its runtime ends.
    first.block_on(async {
        drop(lock);
        settle().await;
    });
    assert_eq!((billing.locks().failed_releases(), verbs(&script).len()), (0, 3));
    drop(first);
    assert_eq!(billing.locks().failed_releases(), 1);
    // And this one never begins.
    second.block_on(async { drop(other) });
    assert_eq!((billing.locks().failed_releases(), verbs(&script).len()), (2, 3));
}

#[tokio::test(start_paused = true)]
async fn a_release_says_that_the_lock_was_lost_before() {
    let clock = TestClock::new();
    let (billing, script) = client_on(&clock, vec![grant(7, 30_000), refusal("LOCK_LOST")]);
    let error = acquired(&billing).await.release().await.expect_err("lost");
    assert!(error.is_lock_lost() && error.code() == Some(crate::Code::LockLost), "{error}");
    settle().await;
    assert_eq!(script.sent().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn no_clock_makes_a_guard_believe_longer() {
    struct Case(&'static str, fn(&TestClock), u64, u64);
    for Case(name, jump, earliest, latest) in [
        Case("none", |_| (), 26, 28),
        Case("suspended", |clock| clock.suspend(secs(60)), 0, 1),
        Case("suspended for a part", |clock| clock.suspend(secs(20)), 6, 8),
        Case("set forward", |clock| clock.set_wall(3600), 0, 1),
        Case("set back", |clock| clock.set_wall(-3600), 26, 28),
        Case(
            "set back, and suspended",
            |clock| {
                clock.set_wall(-3600);
                clock.suspend(secs(60));
            },
            0,
            1,
        ),
        Case(
            "set back and forward",
            |clock| {
                clock.set_wall(-3600);
                clock.set_wall(3600);
            },
            26,
            28,
        ),
    ] {
        let clock = TestClock::new();
        let (billing, _) = client_on(&clock, vec![grant(7, 30_000), released()]);
        let acquiring = billing.locks().acquire("k", Ttl::secs(30)).without_renewal();
        let lock = acquiring.await.expect("acquired");
        let (token, began) = (lock.token(), Instant::now());
        jump(&clock);
        token.cancelled().await;
        let after = began.elapsed();
        assert!(after >= secs(earliest) && after <= secs(latest), "{name}: {after:?}");
        assert!(!lock.is_held(), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_sleep_no_step_of_the_work_begins() {
    let clock = TestClock::new();
    let (billing, _) = client_on(&clock, vec![grant(7, 30_000), released()]);
    let lock = acquired(&billing).await;
    let mut steps = 0;
    let error = lock
        .run(async {
            loop {
                steps += 1;
                clock.suspend(secs(60));
                tokio::task::yield_now().await;
            }
        })
        .await
        .map(|(): ()| ())
        .expect_err("lost");
    assert!(error.is_lock_lost() && steps == 1, "{steps}: {error}");
}

#[tokio::test(start_paused = true)]
async fn what_is_lost_stays_lost_when_a_renewal_succeeds_after_all() {
    let clock = TestClock::new();
    let (billing, script) = client_on(&clock, vec![grant(7, 30_000), after(5, renewal())]);
    let lock = acquired(&billing).await;
    tokio::time::sleep(secs(11)).await;
    assert_eq!(verbs(&script), ["acquire", "renew"]);
    clock.suspend(secs(60));
    assert!(!lock.is_held());
    tokio::time::sleep(secs(6)).await;
    assert!(!lock.is_held() && lock.lost().await == LockEnd::Expired);
}

#[tokio::test(start_paused = true)]
async fn no_owner_token_leaves_in_an_unknown_outcome() {
    let clock = TestClock::new();
    let mut steps = vec![grant(7, 30_000)];
    steps.extend((0..3).map(|_| ScriptStep::Silence));
    steps.extend([released(), released()]);
    let (billing, script) = client_on(&clock, steps);
    let error = acquired(&billing).await.release().await.expect_err("silence");
    let shown = format!("{error} {error:?}");
    let Error::OutcomeUnknown(unknown) = error else { unreachable!("{error}") };
    let saved = serde_json::to_string(&unknown).expect("JSON");
    for text in [&shown, &saved, unknown.body()] {
        assert!(!text.contains("CANARY"), "{text}");
    }
    settle().await;
    assert_eq!(verbs(&script).len(), 5, "it is tried once more in the background");
    billing.resume(*unknown).await.expect("released");
    assert_eq!(key(&script, 1), key(&script, 5));
    assert_eq!(body(&script, 5).get("owner"), Some(&Value::from(OWNER)));
    let restored = serde_json::from_str(&saved).expect("an unknown outcome");
    let request: crate::OutcomeUnknown = restored;
    let payload = request.request().payload();
    assert!(matches!(payload, Err(Error::Unsendable(_))), "{payload:?}");
}
