//! Servers and databases that crash or stop under load: no acknowledged write is lost.

use crate::harness::{
    Api, Cluster, Database, Server, block_on, both_databases, eventually, id, run_to_end, together,
    unique, version,
};
use serde_json::{Value, json};
use std::{
    env,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

both_databases![
    nothing_acknowledged_is_lost_when_the_server_is_killed,
    a_server_asked_to_stop_answers_what_it_accepted,
    a_stopped_server_starts_where_it_was,
];

/// Kills of a server in one test: `IFMATCH_TEST_KILLS`, at most 50.
fn kills() -> u64 {
    let wanted = env::var("IFMATCH_TEST_KILLS").ok();
    wanted.map_or(5, |n| n.parse().expect("IFMATCH_TEST_KILLS is a number")).min(50)
}

/// What one writer knows for certain when its server is gone.
struct Acknowledged {
    /// The highest version of its subscription in any answer.
    version: i64,
    /// The workspaces whose creation was answered.
    created: Vec<Value>,
    /// The Idempotency-Key and body of the unanswered create, if any.
    open: Option<(String, Value)>,
}

/// Increments a subscription and creates workspaces until the server is gone.
async fn write_until_the_end(
    api: Api,
    subscription: String,
    count: Arc<AtomicU64>,
) -> Acknowledged {
    let path = format!("/v1/subscriptions/{subscription}");
    let mut known = Acknowledged { version: 0, created: Vec::new(), open: None };
    loop {
        let Ok(now) = api.get(&path).send().await else { return known };
        assert_eq!(now.status, 200, "{}", now.text);
        known.version = known.version.max(version(&now.body));
        let more = json!({"quantity": now.body["quantity"].as_i64().unwrap() + 1});
        match api.patch(&path, &more).if_match(version(&now.body)).send().await {
            Ok(answer) if answer.status == 200 => known.version = version(&answer.body),
            Ok(answer) => assert!([412, 503].contains(&answer.status), "{}", answer.text),
            Err(_) => return known,
        }
        let (key, body) = (unique("create"), json!({"name": unique("made")}));
        match api.post("/v1/workspaces", &body).key(&key).send().await {
            Ok(answer) if answer.status == 201 => known.created.push(answer.body),
            Ok(answer) => assert_eq!(answer.status, 503, "{}", answer.text),
            Err(_) => {
                known.open = Some((key, body));
                return known;
            }
        }
        count.fetch_add(1, Ordering::SeqCst);
    }
}

/// Runs six writers on three subscriptions while `end` stops or kills the server.
async fn under_load(
    server: &mut Server,
    subscriptions: &[Value],
    rounds_before: u64,
    end: impl AsyncFnOnce(&mut Server),
) -> Vec<(String, Acknowledged)> {
    let count = Arc::new(AtomicU64::new(0));
    let writers: Vec<_> = (0..6)
        .map(|n| {
            let subscription = id(&subscriptions[n % subscriptions.len()]).to_owned();
            let writer = write_until_the_end(server.api(), subscription.clone(), count.clone());
            (subscription, tokio::spawn(writer))
        })
        .collect();
    eventually("the writers are under way", async || {
        (count.load(Ordering::SeqCst) >= rounds_before).then_some(())
    })
    .await;
    end(server).await;
    let mut known = Vec::new();
    for (subscription, writer) in writers {
        known.push((subscription, writer.await.expect("a writer only stops at a lost connection")));
    }
    known
}

/// Asserts that acknowledged writes exist and that every object's history is complete.
async fn assert_nothing_was_lost(api: &Api, known: &[(String, Acknowledged)]) {
    for (subscription, known) in known {
        let path = format!("/v1/subscriptions/{subscription}");
        let now = api.get(&path).await.ok(200);
        assert!(version(&now) >= known.version, "an acknowledged version is gone");
        assert_eq!(now["quantity"], now["version"], "each change counted once");
        let history = api.history(&path).await;
        let versions: Vec<_> = history.iter().map(version).collect();
        assert_eq!(versions, (1..=version(&now)).collect::<Vec<_>>(), "no gap in the history");
        for entry in &history[1..] {
            let step = json!([{"path": "/quantity", "from": version(entry) - 1,
                "to": version(entry)}]);
            assert_eq!(entry["changes"], step);
        }
        for created in &known.created {
            assert_eq!(&api.read("workspaces", created).await, created);
        }
        if let Some((key, body)) = &known.open {
            // Applied before or not: after a resend with the same key it is applied once.
            api.post("/v1/workspaces", body).key(key).await.ok(201);
        }
    }
}

async fn nothing_acknowledged_is_lost_when_the_server_is_killed(mut server: Server) {
    let api = server.api();
    let mut subscriptions = Vec::new();
    for _ in 0..3 {
        subscriptions.push(api.make_subscription(json!({})).await);
    }
    let mut names = std::collections::BTreeMap::new();
    for round in 0..kills() {
        let rounds = 10 + round * 7 % 30;
        let known =
            under_load(&mut server, &subscriptions, rounds, async |server| server.kill9().await)
                .await;
        server.restart().await;
        assert_nothing_was_lost(&server.api(), &known).await;
        for (_, known) in &known {
            let created = known.created.iter().map(|made| &made["name"]);
            let open = known.open.iter().map(|(_, body)| &body["name"]);
            for name in created.chain(open) {
                names.insert(name.to_string(), 0);
            }
        }
    }
    for workspace in server.api().list("/v1/workspaces").await {
        if let Some(count) = names.get_mut(&workspace["name"].to_string()) {
            *count += 1;
        }
    }
    assert!(names.len() > 10, "the writers wrote something");
    assert!(names.values().all(|count| *count == 1), "each create happened once: {names:?}");
    server.stop().await;
    let database = server.database();
    let env = [("IFMATCH_DATABASE_URL", database.url())];
    run_to_end(database, &["verify"], &env).await.succeeded();
}

async fn a_server_asked_to_stop_answers_what_it_accepted(mut server: Server) {
    let api = server.api();
    let mut subscriptions = Vec::new();
    // One writer per subscription, so that an unanswered write shows as an unknown version.
    for _ in 0..6 {
        subscriptions.push(api.make_subscription(json!({})).await);
    }
    for _ in 0..3 {
        let known =
            under_load(&mut server, &subscriptions, 20, async |server| server.stop().await).await;
        server.restart().await;
        let api = server.api();
        for (subscription, known) in &known {
            let now = api.get(&format!("/v1/subscriptions/{subscription}")).await.ok(200);
            assert_eq!(version(&now), known.version, "a write was accepted and not answered");
            for created in &known.created {
                assert_eq!(&api.read("workspaces", created).await, created);
            }
            if let Some((_, body)) = &known.open {
                let all = api.list("/v1/workspaces").await;
                assert!(all.iter().all(|w| w["name"] != body["name"]), "made and not answered");
            }
        }
    }
}

async fn a_stopped_server_starts_where_it_was(mut server: Server) {
    let api = server.api();
    let subscription = api.make_subscription(json!({"notes": "kept"})).await;
    let path = format!("/v1/subscriptions/{}", id(&subscription));
    let edited = api.patch(&path, &json!({"quantity": 2})).if_match(1).await.ok(200);
    let history = api.history(&path).await;
    let old_url = server.url().to_owned();
    server.stop().await;
    assert!(api.at(&old_url).get("/healthz").send().await.is_err(), "it is gone");
    server.restart().await;
    let api = server.api();
    assert_eq!(api.get(&path).await.ok(200), edited);
    assert_eq!(api.history(&path).await, history);
    api.patch(&path, &json!({"quantity": 3})).if_match(1).await.conflict(412);
    assert_eq!(version(&api.patch(&path, &json!({"quantity": 3})).if_match(2).await.ok(200)), 3);
}

/// Repeats one write until the database is back.
async fn patched(api: &Api, path: &str, body: &Value, version: i64) -> Value {
    eventually("a write gets through", async || {
        let answer = api.patch(path, body).if_match(version).await;
        (answer.status == 200).then_some(answer.body)
    })
    .await
}

#[test]
fn without_its_database_the_server_says_try_again_and_recovers_by_itself() {
    block_on(async {
        let cluster = Cluster::create();
        let database = Arc::new(Database::create_in(cluster.clone()));
        let server = Server::start(database).await;
        let api = server.api();
        let workspace = api.make_workspace(json!({})).await;
        let path = format!("/v1/workspaces/{}", id(&workspace));
        api.without_key().get("/readyz").await.ok(200);
        for round in 1..=2 {
            cluster.crash();
            let body = json!({"name": format!("round {round}")});
            let answer = api.patch(&path, &body).if_match(round).await;
            let retry_after = answer.header("Retry-After").map(str::to_owned);
            answer.problem(503, "TRY_AGAIN");
            let seconds: u64 = retry_after.expect("it says when").parse().expect("in seconds");
            assert!(seconds <= 60, "soon: {seconds}");
            let read = api.get(&path).await;
            assert_eq!(read.status, 503, "a read is no 401, 404 or 500 either: {}", read.text);
            eventually("the server is not ready", async || {
                (api.without_key().get("/readyz").await.status == 503).then_some(())
            })
            .await;
            api.without_key().get("/healthz").await.ok(200);

            cluster.start();
            eventually("the server is ready again", async || {
                (api.without_key().get("/readyz").await.status == 200).then_some(())
            })
            .await;
            let now = api.get(&path).await.ok(200);
            assert_eq!(version(&now), round, "nothing was written meanwhile");
            assert_eq!(version(&patched(&api, &path, &body, round).await), round + 1);
        }
    });
}

#[test]
fn nothing_acknowledged_is_lost_when_postgresql_crashes_under_load() {
    block_on(async {
        let cluster = Cluster::create();
        let server = Server::start(Arc::new(Database::create_in(cluster.clone()))).await;
        let api = server.api();
        let subscription = api.make_subscription(json!({})).await;
        let path = format!("/v1/subscriptions/{}", id(&subscription));
        let count = Arc::new(AtomicU64::new(0));
        let writing = {
            let (api, path, count) = (api.clone(), path.clone(), count.clone());
            tokio::spawn(async move {
                let highest = together(4, |_| {
                    let (api, path, count) = (api.clone(), path.clone(), count.clone());
                    async move { increment_until(&api, &path, &count, 200).await }
                })
                .await;
                highest.into_iter().max().unwrap()
            })
        };
        eventually("the writers are under way", async || {
            (count.load(Ordering::SeqCst) > 20).then_some(())
        })
        .await;
        cluster.crash();
        cluster.start();
        let highest = tokio::time::timeout(Duration::from_mins(2), writing).await;
        let highest = highest.expect("the writers go on after the crash").unwrap();
        let now = api.get(&path).await.ok(200);
        assert!(version(&now) >= highest, "an acknowledged version is gone");
        assert_eq!(now["quantity"], now["version"], "each change counted once");
        let versions: Vec<_> = api.history(&path).await.iter().map(version).collect();
        assert_eq!(versions, (1..=version(&now)).collect::<Vec<_>>());
    });
}

/// Increments until the shared count is reached. Returns the highest acknowledged version.
async fn increment_until(api: &Api, path: &str, count: &AtomicU64, end: u64) -> i64 {
    let mut highest = 0;
    let mut ticks = tokio::time::interval(Duration::from_millis(1));
    while count.load(Ordering::SeqCst) < end {
        ticks.tick().await;
        let now = api.get(path).await;
        if now.status == 503 {
            continue;
        }
        let now = now.ok(200);
        let more = json!({"quantity": now["quantity"].as_i64().unwrap() + 1});
        let answer = api.patch(path, &more).if_match(version(&now)).await;
        match answer.status {
            200 => {
                highest = version(&answer.body);
                count.fetch_add(1, Ordering::SeqCst);
            }
            // The commit in flight may have succeeded. 503 and 500 both tell the client to resend.
            412 | 500 | 503 => {}
            status => panic!("{status}: {}", answer.text),
        }
    }
    highest
}
