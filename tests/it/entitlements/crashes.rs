//! Restarts and crashes: limits hold, and no acknowledged usage is lost.

use crate::harness::{
    Answer, Api, Backend, Server, both_databases, eventually, id, postgres_only, run_to_end, unique,
};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::task::JoinHandle;

both_databases![
    a_limit_is_used_up_exactly_through_restarts,
    a_limit_is_used_up_exactly_through_kills,
    counters_holds_and_thresholds_survive_a_restart,
    holds_in_flight_when_the_server_is_killed_are_held_or_not,
];
postgres_only![one_server_of_two_dies_and_the_limit_holds];

const CLIENTS: usize = 12;

/// What the clients share: the server's current address, and the answers they got.
struct Load {
    url: Mutex<String>,
    api: Api,
    scopes: Vec<String>,
    feature: String,
    quantity: i64,
    admitted: Mutex<Vec<(String, Value)>>,
    answered: AtomicUsize,
}

impl Load {
    async fn new(server: &Server, limit: i64, quantity: i64) -> Arc<Self> {
        let api = server.api();
        let (workspace, feature) = api.make_entitled(limit).await;
        let mut scopes = vec![workspace];
        for _ in 0..2 {
            scopes.push(api.make_scope_in(&scopes[0]).await);
        }
        Arc::new(Self {
            url: Mutex::new(server.url().to_owned()),
            api,
            scopes,
            feature,
            quantity,
            admitted: Mutex::default(),
            answered: AtomicUsize::new(0),
        })
    }

    fn api(&self) -> Api {
        self.api.at(&self.url.lock().unwrap())
    }

    /// Records one usage under one key and repeats it until it is answered.
    async fn spend(&self, scope: &str, key: &str) -> Answer {
        let body = json!({"feature": self.feature, "quantity": self.quantity});
        let mut ticks = tokio::time::interval(Duration::from_millis(20));
        let path = format!("/v1/{scope}/usage");
        for _ in 0..3_000 {
            if let Ok(answer) = self.api().post(&path, &body).key(key).send().await
                && ![500, 503].contains(&answer.status)
            {
                return answer;
            }
            ticks.tick().await;
        }
        panic!("no server answers {key}");
    }

    /// Starts clients that record usage until the limit is reached.
    fn start(self: &Arc<Self>) -> Vec<JoinHandle<()>> {
        (0..CLIENTS)
            .map(|n| {
                let load = self.clone();
                tokio::spawn(async move {
                    let scope = load.scopes[n % load.scopes.len()].clone();
                    loop {
                        let answer = load.spend(&scope, &unique("crash")).await;
                        load.answered.fetch_add(1, Ordering::SeqCst);
                        if answer.status != 201 {
                            let denied = answer.exceeded();
                            assert!(denied["remaining"].as_i64().unwrap() < load.quantity);
                            return;
                        }
                        load.admitted.lock().unwrap().push((scope.clone(), answer.body));
                    }
                })
            })
            .collect()
    }

    /// Waits for `more` further answers, or until all clients have finished.
    async fn progress(&self, more: usize, clients: &[JoinHandle<()>]) {
        let wanted = self.answered.load(Ordering::SeqCst) + more;
        eventually("the clients are under way", async || {
            let done = clients.iter().all(JoinHandle::is_finished);
            (done || self.answered.load(Ordering::SeqCst) >= wanted).then_some(())
        })
        .await;
    }

    /// Asserts that each acknowledged record exists once and that the counter is their sum.
    async fn check(&self, server: &Server, limit: i64) {
        let api = server.api();
        let admitted = self.admitted.lock().unwrap().clone();
        let mut stored = BTreeSet::new();
        let mut sum = 0;
        for scope in &self.scopes {
            for record in api.list(&format!("/v1/{scope}/usage")).await {
                assert_eq!(record["quantity"], self.quantity);
                sum += self.quantity;
                assert!(stored.insert(id(&record).to_owned()), "listed once: {record}");
            }
        }
        let told: BTreeSet<_> = admitted.iter().map(|(_, one)| id(one).to_owned()).collect();
        assert_eq!(told.len(), admitted.len(), "each key has its own record");
        assert!(told.is_subset(&stored), "an acknowledged record is gone");
        assert_eq!(told, stored, "every usage was sent until it was answered");
        let full = limit / self.quantity * self.quantity;
        assert_eq!(sum, full, "exactly the limit");
        assert_eq!(api.counted(&self.scopes[0], &self.feature).await, (full, 0));
        let url = [("IFMATCH_DATABASE_URL", server.database().url())];
        run_to_end(server.database(), &["verify"], &url).await.succeeded();
    }
}

/// Clients exhaust a limit while the server ends `times` times.
async fn exhaust_through(
    mut server: Server,
    limit: i64,
    quantity: i64,
    times: usize,
    end: impl AsyncFn(&mut Server),
) {
    let load = Load::new(&server, limit, quantity).await;
    let clients = load.start();
    for _ in 0..times {
        load.progress(60, &clients).await;
        end(&mut server).await;
        server.restart().await;
        server.url().clone_into(&mut load.url.lock().unwrap());
    }
    for client in clients {
        client.await.expect("no client meets the unexpected");
    }
    load.check(&server, limit).await;
}

async fn a_limit_is_used_up_exactly_through_restarts(server: Server) {
    exhaust_through(server, 600, 1, 3, Server::stop).await;
}

async fn a_limit_is_used_up_exactly_through_kills(server: Server) {
    exhaust_through(server, 2_000, 3, 4, Server::kill9).await;
}

async fn counters_holds_and_thresholds_survive_a_restart(mut server: Server) {
    let api = server.api();
    let (scope, feature) = api.make_entitled(10).await;
    api.boost(&scope, &feature, json!({"duration": "consumable", "amount": 10})).await.ok(201);
    let record = api.spend(&scope, &feature, 12).await.ok(201);
    let hold = api.hold(&scope, &feature, 5, 3_600_000).await.ok(201);
    let boosts = api.list(&format!("/v1/{scope}/boosts")).await;
    api.spend(&scope, &feature, 4).await.exceeded();
    let log = api.list(&format!("/v1/{scope}/entitlement-log")).await;
    server.kill9().await;
    server.restart().await;
    let api = server.api();
    assert_eq!(api.counted(&scope, &feature).await, (12, 5));
    assert_eq!(api.list(&format!("/v1/{scope}/boosts")).await, boosts);
    assert_eq!(api.list(&format!("/v1/{scope}/entitlement-log")).await, log);
    let denied = api.spend(&scope, &feature, 4).await.exceeded();
    assert_eq!((&denied["limit"], &denied["remaining"]), (&json!(20), &json!(3)));
    api.settle(&scope, &hold, 8).await.done();
    assert_eq!(api.spend(&scope, &feature, 1).await.exceeded()["used"], 20);
    api.reverse(&scope, &record, 1).await.done();
    api.spend(&scope, &feature, 1).await.ok(201);
    let events = api.events_of("usage.threshold_reached").await;
    let told: Vec<_> = events.iter().map(|e| e["state"]["threshold"].as_i64().unwrap()).collect();
    assert_eq!(told.iter().collect::<BTreeSet<_>>(), BTreeSet::from([&80, &90, &100]));
    assert_eq!(told.len(), 3, "once each: {told:?}");
}

async fn holds_in_flight_when_the_server_is_killed_are_held_or_not(mut server: Server) {
    let api = server.api();
    let (scope, feature) = api.make_entitled(1_000).await;
    for _ in 0..3 {
        let before = api.at(server.url()).counted(&scope, &feature).await.1;
        let known = Arc::new(AtomicUsize::new(0));
        let clients: Vec<_> = (0..8)
            .map(|_| {
                let (api, scope) = (api.at(server.url()), scope.clone());
                let (feature, known) = (feature.clone(), known.clone());
                tokio::spawn(async move {
                    let body = json!({"feature": feature, "quantity": 1, "ttl_ms": 3_600_000});
                    let path = format!("/v1/{scope}/usage/holds");
                    // When the server ends, one hold of each client is unanswered.
                    loop {
                        match api.post(&path, &body).key(&unique("hold")).send().await {
                            Ok(answer) if answer.status == 201 => {
                                known.fetch_add(1, Ordering::SeqCst);
                            }
                            Ok(answer) => assert_eq!(answer.status, 503, "{}", answer.text),
                            Err(_) => return,
                        }
                    }
                })
            })
            .collect();
        eventually("the clients are under way", async || {
            (known.load(Ordering::SeqCst) > 30).then_some(())
        })
        .await;
        server.kill9().await;
        for client in clients {
            client.await.expect("a client only stops at a lost connection");
        }
        server.restart().await;
        let (used, held) = api.at(server.url()).counted(&scope, &feature).await;
        let known = i64::try_from(known.load(Ordering::SeqCst)).unwrap();
        assert_eq!(used, 0);
        assert!((known..=known + 8).contains(&(held - before)), "{known} known, {held} held");
    }
    let url = [("IFMATCH_DATABASE_URL", server.database().url())];
    run_to_end(server.database(), &["verify"], &url).await.succeeded();
}

async fn one_server_of_two_dies_and_the_limit_holds(server: Server) {
    assert_eq!(server.database().backend(), Backend::Postgres);
    let mut sibling = server.sibling().await;
    let load = Load::new(&server, 1_000, 3).await;
    sibling.url().clone_into(&mut load.url.lock().unwrap());
    let clients = load.start();
    load.progress(80, &clients).await;
    sibling.kill9().await;
    server.url().clone_into(&mut load.url.lock().unwrap());
    for client in clients {
        client.await.expect("no client meets the unexpected");
    }
    load.check(&server, 1_000).await;
}
