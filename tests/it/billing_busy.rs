//! Billing runs while the database is busy: each run reports exactly what it did.

use crate::harness::{
    Api, Server, Socket, both_databases, day, eventually, id, postgres_only, sqlite_only, together,
};
use diesel::{
    Connection, PgConnection, QueryResult, RunQueryDsl, SqliteConnection,
    connection::SimpleConnection, dsl::sql, select, sql_types::BigInt,
};
use serde_json::{Value, json};
use std::{
    thread,
    time::{Duration, Instant},
};

sqlite_only![
    a_run_that_is_cut_short_says_what_it_did_and_the_next_one_does_the_rest,
    a_run_that_could_write_nothing_is_told_to_try_again,
];
both_databases![a_run_goes_on_when_its_caller_hangs_up];
postgres_only![a_locked_subscription_hurts_no_other, a_run_that_waits_delays_no_caller];

/// Subscriptions that are due one invoice each.
async fn due(api: &Api, count: usize) -> Vec<Value> {
    let plan = api.make_active_plan(json!({})).await;
    let start = json!({"start_at": format!("{}T00:00:00Z", day(-3))});
    let workers = 16;
    let made = together(workers, |worker| {
        let (api, plan, start) = (api.clone(), plan.clone(), start.clone());
        async move {
            let mut made = Vec::new();
            for _ in (worker..count).step_by(workers) {
                made.push(api.subscribe(&plan, start.clone()).await);
            }
            made
        }
    });
    made.await.into_iter().flatten().collect()
}

fn count(run: &Value, name: &str) -> i64 {
    run[name].as_i64().unwrap_or_else(|| panic!("{name} in {run}"))
}

/// The number of subscriptions that a run reports on, when each is due one invoice.
fn sum(run: &Value) -> i64 {
    ["made", "skipped", "failed", "remaining"].iter().map(|name| count(run, name)).sum()
}

fn invoices(connection: &mut SqliteConnection) -> QueryResult<i64> {
    select(sql::<BigInt>("(SELECT count(*) FROM invoices)")).get_result(connection)
}

/// Takes SQLite's write lock when some of these invoices exist, but not all.
fn lock_in_the_middle(path: &str, all: i64) -> SqliteConnection {
    let mut connection = SqliteConnection::establish(path).unwrap();
    connection.batch_execute("PRAGMA busy_timeout = 0").unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        assert!(Instant::now() < deadline, "waited in vain for the middle of a run");
        if connection.batch_execute("BEGIN IMMEDIATE").is_err() {
            continue;
        }
        match invoices(&mut connection).unwrap() {
            0 => connection.batch_execute("ROLLBACK").unwrap(),
            made => {
                assert!(made < all, "the run was faster than the lock");
                return connection;
            }
        }
    }
}

async fn a_run_that_is_cut_short_says_what_it_did_and_the_next_one_does_the_rest(server: Server) {
    let api = server.api();
    let all = 1_600;
    due(&api, all).await;
    let all = i64::try_from(all).unwrap();
    let path = server.database().url().trim_start_matches("sqlite://").to_owned();
    let locker = thread::spawn(move || lock_in_the_middle(&path, all));
    let run = |key: &'static str| api.post("/v1/billing-runs", &json!({})).key(key);
    let first = run("first").await.ok(200);
    let mut locked = locker.join().unwrap();
    let made = invoices(&mut locked).unwrap();
    locked.batch_execute("ROLLBACK").unwrap();
    assert_eq!((count(&first, "made"), sum(&first)), (made, all), "{first}");
    assert!(count(&first, "remaining") > 0 && made > 0, "{first}");

    let second = run("second").await.ok(200);
    assert_eq!(count(&second, "made"), count(&first, "remaining"), "{second}");
    assert_eq!(count(&second, "remaining"), 0, "{second}");
    let again = run("second").await.is(200);
    assert_eq!(again.header("Idempotency-Replayed"), Some("true"));
    assert_eq!(again.body, second);
    assert_eq!(invoices(&mut locked).unwrap(), all);
}

async fn a_run_that_could_write_nothing_is_told_to_try_again(server: Server) {
    let api = server.api();
    due(&api, 3).await;
    let path = server.database().url().trim_start_matches("sqlite://");
    let mut locked = SqliteConnection::establish(path).unwrap();
    locked.batch_execute("PRAGMA busy_timeout = 5000; BEGIN IMMEDIATE").unwrap();
    api.post("/v1/billing-runs", &json!({})).key("run").await.problem(503, "TRY_AGAIN");
    locked.batch_execute("ROLLBACK").unwrap();
    assert_eq!(invoices(&mut locked).unwrap(), 0);
    let run = api.post("/v1/billing-runs", &json!({})).key("run").await.ok(200);
    assert_eq!((count(&run, "made"), sum(&run)), (3, 3), "{run}");
}

async fn a_locked_subscription_hurts_no_other(server: Server) {
    let api = server.api();
    let subscriptions = due(&api, 100).await;
    let mut locked = PgConnection::establish(server.database().url()).unwrap();
    let lock = format!(
        "BEGIN; SELECT id FROM subscriptions WHERE id = '{}' FOR UPDATE",
        id(&subscriptions[50])
    );
    locked.batch_execute(&lock).unwrap();
    let run = api.post("/v1/billing-runs", &json!({})).await.ok(200);
    assert_eq!((count(&run, "made"), count(&run, "remaining"), sum(&run)), (99, 1, 100), "{run}");
    locked.batch_execute("ROLLBACK").unwrap();
    let run = api.post("/v1/billing-runs", &json!({})).await.ok(200);
    assert_eq!((count(&run, "made"), sum(&run)), (1, 1), "{run}");
}

async fn a_run_goes_on_when_its_caller_hangs_up(server: Server) {
    let api = server.api();
    // More than are billed at the same time, so that hanging up meets a run with work left.
    let all = due(&api, 200).await.len();
    drop(Socket::with(&server, "POST", "/v1/billing-runs").await);
    eventually("all of them are billed", async || {
        (api.list("/v1/invoices").await.len() == all).then_some(())
    })
    .await;
}

async fn a_run_that_waits_delays_no_caller(server: Server) {
    let api = server.api();
    // At least one in each lane. They are billed, and their rows not locked by the run below.
    due(&api, 16).await;
    api.post("/v1/billing-runs", &json!({})).await.ok(200);
    let others = api.list("/v1/subscriptions").await;
    let locked = due(&api, 1).await.remove(0);
    let mut locker = PgConnection::establish(server.database().url()).unwrap();
    let lock =
        format!("BEGIN; SELECT 1 FROM subscriptions WHERE id = '{}' FOR UPDATE", id(&locked));
    locker.batch_execute(&lock).unwrap();
    let run = {
        let api = api.clone();
        tokio::spawn(async move { api.post("/v1/billing-runs", &json!({})).await.ok(200) })
    };
    let url = server.database().url();
    eventually("the run waits", async || is_waiting(url).then_some(())).await;
    let began_at = Instant::now();
    for other in &others {
        let path = format!("/v1/subscriptions/{}", id(other));
        let edit = json!({"version": other["version"], "notes": "edited"});
        api.patch(&path, &edit).await.ok(200);
    }
    // PostgreSQL gives up on a lock after two seconds.
    let elapsed = began_at.elapsed();
    assert!(elapsed < Duration::from_secs(1), "{elapsed:?}");
    assert!(!run.is_finished(), "the run waited for nothing");
    locker.batch_execute("ROLLBACK").unwrap();
    let run = run.await.unwrap();
    assert_eq!((count(&run, "made"), sum(&run)), (1, 1), "{run}");
}

/// Whether a session of this database waits for a row.
fn is_waiting(url: &str) -> bool {
    let mut connection = PgConnection::establish(url).unwrap();
    let waiting = "(SELECT count(*) FROM pg_stat_activity \
                   WHERE datname = current_database() AND wait_event_type = 'Lock')";
    let waiting: i64 = select(sql::<BigInt>(waiting)).get_result(&mut connection).unwrap();
    waiting > 0
}
