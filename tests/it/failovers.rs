//! Failovers from a primary to its synchronous standby, in every way that one happens.
//!
//! `IFMATCH_TEST_FAILOVERS=50 cargo test --test it failovers` repeats them.

use crate::harness::{Api, Cluster, Database, Server, block_on, eventually, id};
use serde_json::{Value, json};
use std::{
    env,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{task::JoinHandle, time::sleep};

/// How a primary ends.
#[derive(Clone, Copy, Debug)]
enum End {
    /// Its processes are killed.
    Killed,
    /// It stops at once, without a checkpoint.
    Immediate,
    /// It ends all sessions and stops.
    Fast,
    /// Its standby is promoted while it still runs.
    Overtaken,
    /// Its processes are frozen. Connections stay open, and nothing answers.
    Frozen,
}

const ENDS: [End; 5] = [End::Killed, End::Immediate, End::Fast, End::Overtaken, End::Frozen];

/// Clients that count on one object each, through one of the servers.
const CLIENTS: usize = 8;

#[test]
fn no_acknowledged_write_is_lost_in_a_failover() {
    let rounds = env::var("IFMATCH_TEST_FAILOVERS").ok().and_then(|text| text.parse().ok());
    for round in 0..rounds.unwrap_or(ENDS.len()) {
        let end = ENDS[round % ENDS.len()];
        block_on(async { println!("{end:?}: a gap of {:?}", fail_over(end).await) });
    }
}

/// Lets a primary end while clients write. Returns the longest time without an acknowledgement.
async fn fail_over(end: End) -> Duration {
    let primary = Cluster::create();
    let standby = primary.standby();
    let database = Database::create_in(primary.clone());
    primary.execute("postgres", "ALTER SYSTEM SET synchronous_standby_names = '*'");
    primary.execute("postgres", "SELECT pg_reload_conf()");
    let url = format!(
        "postgres://postgres@127.0.0.1:{},127.0.0.1:{}/{}",
        primary.port(),
        standby.port(),
        database.name()
    );
    let first = Server::start(Arc::new(database.with_url(url))).await;
    let servers = [first.sibling().await, first];
    let mut clients = Vec::new();
    let stop = Arc::new(AtomicBool::new(false));
    for number in 0..CLIENTS {
        let api = servers[number % servers.len()].api();
        let workspace = api.make_workspace(json!({})).await;
        let path = format!("/v1/workspaces/{}", id(&workspace));
        clients.push((path.clone(), count(api, path, Arc::clone(&stop))));
    }
    sleep(Duration::from_millis(500)).await;
    let mut frozen = None;
    match end {
        End::Killed => primary.kill(),
        End::Immediate => primary.crash(),
        End::Fast => primary.stop_fast(),
        End::Overtaken => {}
        End::Frozen => frozen = Some(primary.freeze()),
    }
    standby.promote();
    if matches!(end, End::Overtaken) {
        sleep(Duration::from_millis(500)).await;
        primary.crash();
    }
    let api = servers[0].api();
    eventually("a write is acknowledged", async || {
        let made = api.post("/v1/workspaces", &json!({"name": "After"})).send().await;
        made.is_ok_and(|answer| answer.status == 201).then_some(())
    })
    .await;
    sleep(Duration::from_secs(1)).await;
    stop.store(true, Ordering::Relaxed);
    let mut gap = Duration::ZERO;
    for (path, counting) in clients {
        let counted = counting.await.unwrap();
        gap = gap.max(counted.gap);
        let now = api.get(&path).await.ok(200);
        let number: i64 = now["metadata"]["count"].as_str().map_or(0, |n| n.parse().unwrap());
        // One write may have been applied whose answer was lost.
        let told = counted.acknowledged;
        assert!(
            (told..=told + 1).contains(&number),
            "{end:?}: {told} acknowledged, {number} there"
        );
        assert_eq!(now["version"], Value::from(number + 1), "{end:?}: one version for each write");
    }
    if frozen.take().is_some() {
        // Thawed, it would wait for its standby for ever.
        primary.crash();
    }
    gap
}

struct Counted {
    acknowledged: i64,
    gap: Duration,
}

/// Counts on one object, one write after the other, each repeated with its key until it is answered.
fn count(api: Api, path: String, stop: Arc<AtomicBool>) -> JoinHandle<Counted> {
    tokio::spawn(async move {
        let (mut acknowledged, mut gap, mut last) = (0, Duration::ZERO, Instant::now());
        while !stop.load(Ordering::Relaxed) {
            let next = acknowledged + 1;
            let body = json!({"metadata": {"count": next.to_string()}});
            let key = format!("{path}-{next}");
            let answer = api.patch(&path, &body).if_match(next).key(&key).send().await;
            if answer.is_ok_and(|answer| answer.status == 200) {
                acknowledged = next;
                gap = gap.max(last.elapsed());
                last = Instant::now();
            } else {
                sleep(Duration::from_millis(20)).await;
            }
        }
        Counted { acknowledged, gap }
    })
}
