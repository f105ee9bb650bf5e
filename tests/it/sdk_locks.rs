//! The Rust SDK's locks against real servers: held by one, kept alive, given back, fenced.

use crate::harness::{
    ADMIN_KEY, Server, both_databases, eventually, id, postgres_only,
    proxy::{Fault, Proxy, Seen},
    together,
};
use ifmatch::{
    Client, Code, Error, Fence, LockEnd, LockGuard, LockOutcome, NewApiKey, Role, SendBudget,
    SubscriptionId, Ttl, WorkspaceId,
};
use serde_json::json;
use std::time::Duration;

both_databases![
    a_guard_keeps_its_lock_beyond_its_time_and_gives_it_back,
    a_busy_lock_says_who_holds_it_and_a_waiter_gets_it,
    a_dropped_guard_gives_its_lock_back,
    a_waiter_that_went_away_never_holds_the_lock,
    workers_under_one_lock_never_meet_a_conflict,
    names_in_other_spaces_and_functions_are_other_locks,
    a_scoped_key_locks_in_its_own_workspace,
    a_fenced_write_is_refused_when_the_lock_was_taken_away,
    an_expired_grant_writes_nothing_even_if_its_process_does_not_know,
    every_mutation_of_the_client_can_be_fenced,
    lost_answers_of_acquire_renew_and_release_change_nothing,
    a_lost_answer_of_a_waiting_acquire_ends_with_one_grant,
    a_lost_answer_of_a_fenced_write_is_settled_after_the_lock_is_gone,
    a_lost_network_ends_the_guard_before_the_server_does,
];
postgres_only![a_waiter_on_another_server_gets_the_lock];

const KEY: &str = "invoice-run";

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn client(url: &str) -> Client {
    Client::builder(url).key(ADMIN_KEY).send_timeout(seconds(5)).build().unwrap()
}

async fn acquired(billing: &Client, ttl: Ttl) -> LockGuard {
    billing.locks().acquire(KEY, ttl).await.unwrap()
}

async fn subscribed(server: &Server) -> SubscriptionId {
    id(&server.api().make_subscription(json!({})).await).parse().unwrap()
}

async fn quantity(billing: &Client, id: &SubscriptionId) -> i64 {
    billing.subscriptions().get(id).await.unwrap().quantity
}

/// The requests about locks that a proxy saw, of this last part of the path.
fn sent(proxy: &Proxy, verb: &str) -> Vec<Seen> {
    let end = format!("/{verb}");
    proxy.seen("POST").into_iter().filter(|seen| seen.path.ends_with(&end)).collect()
}

fn keys(seen: &[Seen]) -> Vec<&str> {
    seen.iter().map(|one| one.header("Idempotency-Key").unwrap()).collect()
}

async fn a_guard_keeps_its_lock_beyond_its_time_and_gives_it_back(server: Server) {
    let billing = client(server.url());
    let lock = acquired(&billing, Ttl::secs(3)).await;
    let first = billing.locks().get(KEY).await.unwrap();
    assert!(first.locked && first.fence == lock.fence().number());
    // Two renewals later, the first time is over.
    let expired = first.expires_at.unwrap().to_jiff() + seconds(1);
    eventually("the lock was renewed", async || {
        let now = billing.locks().get(KEY).await.unwrap();
        assert!(now.locked && now.fence == lock.fence().number(), "{now:?}");
        (now.expires_at.unwrap().to_jiff() > expired).then_some(())
    })
    .await;
    assert!(lock.is_held());
    let token = lock.token();
    lock.release().await.unwrap();
    assert!(token.is_cancelled());
    let free = billing.locks().get(KEY).await.unwrap();
    assert!(!free.locked && free.label.is_none(), "{free:?}");
    let listed = billing.locks().list().await.unwrap().items;
    assert!(listed.iter().any(|one| one.key == KEY && !one.locked), "{listed:?}");
    let next = acquired(&billing, Ttl::secs(30)).await;
    assert!(next.fence().number() > first.fence, "no fence is used twice");
}

async fn a_busy_lock_says_who_holds_it_and_a_waiter_gets_it(server: Server) {
    let billing = client(server.url());
    let lock = billing.locks().acquire(KEY, Ttl::secs(60)).label("worker 3").await.unwrap();
    let outcome = billing.locks().try_acquire(KEY, Ttl::secs(60)).await.unwrap();
    let LockOutcome::Busy(held) = outcome else { panic!("{outcome:?}") };
    assert_eq!((held.key.as_str(), held.label.as_deref()), (KEY, Some("worker 3")));
    assert!(held.expires_at.is_some());
    let waited = Duration::from_millis(200);
    let error = billing.locks().acquire(KEY, Ttl::secs(60)).wait(waited).await.unwrap_err();
    assert!(error.is_lock_busy() && error.code() == Some(Code::LockTimeout), "{error}");
    assert!(error.lock_held().unwrap().waited_ms >= 200, "{error:?}");

    let waiter = tokio::spawn({
        let billing = billing.clone();
        async move { billing.locks().acquire(KEY, Ttl::secs(60)).wait(seconds(30)).await.unwrap() }
    });
    eventually("it waits", async || {
        (billing.locks().get(KEY).await.unwrap().waiters == 1).then_some(())
    })
    .await;
    let fence = lock.fence().number();
    lock.release().await.unwrap();
    let lock = waiter.await.unwrap();
    assert!(lock.is_held() && lock.fence().number() > fence);
}

async fn a_waiter_on_another_server_gets_the_lock(server: Server) {
    let sibling = server.sibling().await;
    let lock = acquired(&client(server.url()), Ttl::secs(60)).await;
    let elsewhere = client(sibling.url());
    let waiting = tokio::spawn({
        let elsewhere = elsewhere.clone();
        async move { elsewhere.locks().acquire(KEY, Ttl::secs(60)).wait(seconds(30)).await }
    });
    eventually("it waits", async || {
        (elsewhere.locks().get(KEY).await.unwrap().waiters == 1).then_some(())
    })
    .await;
    drop(lock);
    assert!(waiting.await.unwrap().unwrap().is_held());
}

async fn a_dropped_guard_gives_its_lock_back(server: Server) {
    let billing = client(server.url());
    let lock = acquired(&billing, Ttl::secs(3600)).await;
    drop(lock);
    let next = billing.locks().acquire(KEY, Ttl::secs(60)).wait(seconds(20)).await.unwrap();
    // From a thread without a runtime, too.
    std::thread::spawn(move || drop(next)).join().unwrap();
    drop(billing.locks().acquire(KEY, Ttl::secs(60)).wait(seconds(20)).await.unwrap());
    assert_eq!(billing.locks().failed_releases(), 0);
}

async fn a_waiter_that_went_away_never_holds_the_lock(server: Server) {
    let billing = client(server.url());
    for round in 0..5 {
        let lock = acquired(&billing, Ttl::secs(600)).await;
        let waiting = tokio::spawn({
            let billing = billing.clone();
            async move { billing.locks().acquire(KEY, Ttl::secs(600)).wait(seconds(40)).await }
        });
        eventually("it waits", async || {
            (billing.locks().get(KEY).await.unwrap().waiters == 1).then_some(())
        })
        .await;
        waiting.abort();
        // In every second round, both happen at once.
        if round % 2 == 0 {
            eventually("it waits no more", async || {
                (billing.locks().get(KEY).await.unwrap().waiters == 0).then_some(())
            })
            .await;
        }
        lock.release().await.unwrap();
        let waited = billing.locks().acquire(KEY, Ttl::secs(600)).wait(seconds(20)).await;
        waited.unwrap().release().await.unwrap();
    }
}

async fn workers_under_one_lock_never_meet_a_conflict(server: Server) {
    let (billing, subscription) = (client(server.url()), subscribed(&server).await);
    let conflicts = together(5, |_| {
        let (billing, subscription) = (billing.clone(), subscription.clone());
        async move {
            let mut conflicts = 0;
            for _ in 0..4 {
                let lock =
                    billing.locks().acquire(KEY, Ttl::secs(30)).wait(seconds(60)).await.unwrap();
                let update = billing.subscriptions();
                let update = update.update(&subscription, |s| s.quantity += 1).fenced_by(&lock);
                conflicts += update.await.unwrap().conflicts();
                lock.release().await.unwrap();
            }
            conflicts
        }
    })
    .await;
    assert_eq!(conflicts, [0; 5]);
    assert_eq!(quantity(&billing, &subscription).await, 21);
}

async fn names_in_other_spaces_and_functions_are_other_locks(server: Server) {
    let billing = client(server.url());
    let workspace: WorkspaceId = id(&server.api().make_workspace(json!({})).await).parse().unwrap();
    let locks = billing.locks();
    let inside = locks.in_workspace(&workspace);
    let mut guards = Vec::new();
    for one in [&locks, &locks.function("a"), &locks.function("b"), &inside, &inside.function("a")]
    {
        guards.push(one.acquire(KEY, Ttl::secs(30)).await.unwrap());
        assert!(one.get(KEY).await.unwrap().locked);
        assert!(one.acquire(KEY, Ttl::secs(30)).await.unwrap_err().is_lock_busy());
    }
    let shown: Vec<String> = guards.iter().map(|lock| lock.fence().to_string()).collect();
    assert!(shown[1].starts_with("function/a/invoice-run at fence "), "{shown:?}");
    let listed = inside.list().await.unwrap().items;
    assert_eq!(listed.len(), 2, "{listed:?}");
    // A fence of a lock in a workspace's space.
    let subscription = subscribed(&server).await;
    let update = billing.subscriptions().update(&subscription, |s| s.quantity += 1);
    update.fenced_by(&guards[4]).await.unwrap();
    for lock in guards {
        lock.release().await.unwrap();
    }
}

async fn a_scoped_key_locks_in_its_own_workspace(server: Server) {
    let billing = client(server.url());
    let made = server.api().make_subscription(json!({})).await;
    let subscription: SubscriptionId = id(&made).parse().unwrap();
    let workspace: WorkspaceId = made["workspace_id"].as_str().unwrap().parse().unwrap();
    let key = NewApiKey {
        workspace_id: Some(workspace.clone()),
        ..NewApiKey::new("worker", Role::Agent)
    };
    let secret = billing.api_keys().create(key).await.unwrap().secret.unwrap();
    let own = Client::builder(server.url()).key(secret).build().unwrap();
    let lock = acquired(&own, Ttl::secs(30)).await;
    assert!(billing.locks().in_workspace(&workspace).get(KEY).await.unwrap().locked);
    assert!(!billing.locks().get(KEY).await.unwrap().locked);
    let update = own.subscriptions().update(&subscription, |s| s.quantity += 1);
    update.fenced_by(&lock).await.unwrap();
    lock.release().await.unwrap();
}

async fn a_fenced_write_is_refused_when_the_lock_was_taken_away(server: Server) {
    let proxy = Proxy::before(server.url()).await;
    let (billing, admin) = (client(proxy.url()), client(server.url()));
    let subscription = subscribed(&server).await;
    let lock = acquired(&billing, Ttl::secs(600)).await;
    let add = || billing.subscriptions().update(&subscription, |s| s.quantity += 1);
    add().fenced_by(&lock).await.unwrap();

    let freed = admin.locks().force_release(KEY, "worker 3 hangs").cooldown(seconds(60));
    let freed = freed.await.unwrap();
    assert!(!freed.locked && freed.fence > lock.fence().number() && freed.cooldown_until.is_some());
    assert!(lock.is_held(), "it cannot know yet");
    let error = add().fenced_by(&lock).await.unwrap_err();
    assert!(error.is_fenced_off() && error.code() == Some(Code::StaleFence), "{error}");
    assert_eq!(lock.lost().await, LockEnd::TakenAway);
    let before = proxy.seen("PATCH").len();
    let error = add().force("it must").fenced_by(&lock).await.unwrap_err();
    assert!(error.is_fenced_off() && error.code().is_none(), "{error}");
    assert_eq!(proxy.seen("PATCH").len(), before, "nothing is sent any more");
    assert_eq!(quantity(&admin, &subscription).await, 2);
    let cooling = admin.locks().acquire(KEY, Ttl::secs(30)).await.unwrap_err();
    assert!(cooling.lock_held().unwrap().cooldown_until.is_some(), "{cooling:?}");
    let error = lock.release().await.unwrap_err();
    assert!(error.is_lock_lost(), "{error}");
}

async fn an_expired_grant_writes_nothing_even_if_its_process_does_not_know(server: Server) {
    let (billing, subscription) = (client(server.url()), subscribed(&server).await);
    let short = billing.locks().acquire(KEY, Ttl::millis(300)).without_renewal().await.unwrap();
    // Another process knows the fence and not the guard.
    let fence: Fence =
        serde_json::from_str(&serde_json::to_string(&short.fence()).unwrap()).unwrap();
    assert_eq!(short.lost().await, LockEnd::Expired);
    let next = billing.locks().acquire(KEY, Ttl::secs(60)).wait(seconds(20)).await.unwrap();
    let add = || billing.subscriptions().update(&subscription, |s| s.quantity += 1);
    let error = add().fenced_by(&fence).await.unwrap_err();
    assert!(error.is_fenced_off() && !error.is_conflict(), "{error}");
    add().fenced_by(&next).await.unwrap();
    assert_eq!(quantity(&billing, &subscription).await, 2);
    assert!(billing.conflicts().list().is_empty(), "nothing is parked");
}

async fn every_mutation_of_the_client_can_be_fenced(server: Server) {
    let (billing, subscription) = (client(server.url()), subscribed(&server).await);
    let lock = acquired(&billing, Ttl::secs(60)).await;
    let subs = billing.subscriptions();
    let base = subs.get(&subscription).await.unwrap();
    let edited = base.edited(|s| s.notes = "fenced".into());
    let saved = subs.save(&base, edited).fenced_by(&lock).await.unwrap();
    let fields = || ifmatch::WorkspaceFields { name: "Acme".into(), ..Default::default() };
    let made = billing.workspaces().create(fields()).fenced_by(&lock).await.unwrap();
    let transaction = billing.transaction().check(&saved).delete(&made);
    transaction.fenced_by(&lock).await.unwrap();
    let forced = subs.update(&subscription, |s| s.quantity = 9).force("contract ended");
    let forced = forced.fenced_by(&lock).await.unwrap();
    let fence: Fence =
        serde_json::from_str(&serde_json::to_string(&lock.fence()).unwrap()).unwrap();
    lock.release().await.unwrap();

    let made = billing.workspaces().create(fields()).await.unwrap();
    let edited = forced.edited(|s| s.notes = "late".into());
    let workspaces = billing.workspaces();
    let forced_late = subs.update(&subscription, |s| s.quantity = 1).force("too late");
    for refused in [
        subs.save(&forced, edited).fenced_by(&fence).await.map(drop),
        workspaces.create(fields()).fenced_by(&fence).await.map(drop),
        workspaces.delete(&made).fenced_by(&fence).await.map(drop),
        billing.transaction().delete(&made).fenced_by(&fence).await.map(drop),
        forced_late.fenced_by(&fence).await.map(drop),
        billing.run_billing(ifmatch::Timestamp::now()).fenced_by(&fence).await.map(drop),
    ] {
        let error = refused.unwrap_err();
        assert_eq!(error.code(), Some(Code::StaleFence), "{error}");
    }
    let now = subs.get(&subscription).await.unwrap();
    assert_eq!((now.version(), now.quantity), (forced.version(), 9));
    assert_eq!(workspaces.get(&made.id).await.unwrap().version(), 1);
}

async fn lost_answers_of_acquire_renew_and_release_change_nothing(server: Server) {
    let proxy = Proxy::before(server.url()).await;
    let (billing, look) = (client(proxy.url()), client(server.url()));
    proxy.next("POST", Fault::LoseAnswer).next("POST", Fault::LoseRequest);
    let lock = acquired(&billing, Ttl::secs(6)).await;
    let acquires = sent(&proxy, "acquire");
    assert_eq!(acquires.len(), 3);
    assert_eq!(keys(&acquires), [keys(&acquires)[0]; 3], "the same send");
    let status = look.locks().get(KEY).await.unwrap();
    assert!(status.locked && status.fence == lock.fence().number(), "the one grant: {status:?}");

    proxy.next("POST", Fault::LoseAnswer).next("POST", Fault::LoseRequest);
    let renewals = eventually("the renewal is repeated", async || {
        let renewals = sent(&proxy, "renew");
        (renewals.len() >= 3).then_some(renewals)
    })
    .await;
    assert_eq!(keys(&renewals[..3]), [keys(&renewals)[0]; 3], "the same send");
    assert!(lock.is_held() && proxy.faults_left() == 0);

    // A renewal may take the faults. Then the release loses nothing, and no harm is done.
    proxy.next("POST", Fault::LoseAnswer).next("POST", Fault::LoseRequest);
    lock.release().await.unwrap();
    let releases = sent(&proxy, "release");
    assert_eq!(keys(&releases), vec![keys(&releases)[0]; releases.len()], "the same send");
    let free = look.locks().get(KEY).await.unwrap();
    assert!(!free.locked && free.fence == status.fence, "{free:?}");
}

async fn a_lost_answer_of_a_waiting_acquire_ends_with_one_grant(server: Server) {
    let proxy = Proxy::before(server.url()).await;
    let (billing, look) = (client(proxy.url()), client(server.url()));
    let holder = acquired(&look, Ttl::secs(60)).await;
    proxy.next("POST", Fault::LoseAnswer);
    let waiting = tokio::spawn({
        let billing = billing.clone();
        async move { billing.locks().acquire(KEY, Ttl::secs(60)).wait(seconds(30)).await }
    });
    eventually("it waits", async || {
        (look.locks().get(KEY).await.unwrap().waiters == 1).then_some(())
    })
    .await;
    holder.release().await.unwrap();
    let lock = waiting.await.unwrap().unwrap();
    let status = look.locks().get(KEY).await.unwrap();
    assert!(status.locked && status.fence == lock.fence().number(), "{status:?}");
    assert!(sent(&proxy, "acquire").len() >= 2 && proxy.faults_left() == 0);
    lock.release().await.unwrap();
    assert!(!look.locks().get(KEY).await.unwrap().locked);
}

async fn a_lost_answer_of_a_fenced_write_is_settled_after_the_lock_is_gone(server: Server) {
    let proxy = Proxy::before(server.url()).await;
    let once = SendBudget { capacity: 0, refill_per_second: 0 };
    let billing = Client::builder(proxy.url()).key(ADMIN_KEY).send_budget(once).build().unwrap();
    let subscription = subscribed(&server).await;
    let lock = acquired(&billing, Ttl::secs(600)).await;
    let add = || billing.subscriptions().update(&subscription, |s| s.quantity += 1);
    let mut unknown = Vec::new();
    // One is applied, one never arrives.
    for fault in [Fault::LoseAnswer, Fault::LoseRequest] {
        proxy.next("PATCH", fault);
        let error = add().fenced_by(&lock).await.unwrap_err();
        assert!(error.maybe_applied() && !error.is_fenced_off(), "{error}");
        let Error::OutcomeUnknown(one) = error else { panic!("{error}") };
        unknown.push(*one);
    }
    lock.release().await.unwrap();
    let arrived = unknown.remove(0);
    let settled = billing.resume(arrived).await.unwrap();
    assert!(settled.info().replayed, "a kept answer comes before the fence");
    let error = billing.resume(unknown.remove(0)).await.unwrap_err();
    assert!(error.is_fenced_off() && !error.maybe_applied(), "{error}");
    assert_eq!(quantity(&billing, &subscription).await, 2);
}

async fn a_lost_network_ends_the_guard_before_the_server_does(server: Server) {
    let proxy = Proxy::before(server.url()).await;
    let (billing, look) = (client(proxy.url()), client(server.url()));
    let lock = acquired(&billing, Ttl::secs(3)).await;
    // From now on, nothing arrives.
    proxy.point_to("http://127.0.0.1:9");
    let expires_at = look.locks().get(KEY).await.unwrap().expires_at.unwrap();
    let error = lock.run(std::future::pending::<()>()).await.unwrap_err();
    let lost_at = ifmatch::Timestamp::now();
    assert!(matches!(error, Error::LockLost { end: LockEnd::Expired, .. }), "{error}");
    assert!(lost_at < expires_at, "lost at {lost_at}, and on the server at {expires_at}");
}
