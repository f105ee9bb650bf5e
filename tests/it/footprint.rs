//! How many bytes a small change of a large object costs.

use crate::harness::{Api, Backend, Cluster, Database, Server, block_on, id, unique, version};
use serde_json::{Value, json};
use std::{fs, path::PathBuf, sync::Arc};
use uuid::Uuid;

/// Changes that are measured.
const CHANGES: i64 = 64;
/// Maximum of each figure, in bytes per change. Before, each was more than 115 000.
const STORED_MAX: u64 = 6_000;
const WRITTEN_MAX: u64 = 45_000;

/// The bytes that a database holds, and those that it has written to its log.
struct Figures {
    stored: u64,
    written: u64,
}

fn figures(database: &Database) -> Figures {
    match database.cluster() {
        Some(cluster) => {
            let number = |sql| cluster.ask(database.name(), sql).parse().unwrap();
            let tables = "SELECT sum(pg_total_relation_size(oid)) FROM pg_class \
                 WHERE relname IN ('events', 'answers')";
            let log = "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint";
            Figures { stored: number(tables), written: number(log) }
        }
        None => {
            let file = database.url().strip_prefix("sqlite://").unwrap();
            let bytes = |path: PathBuf| fs::metadata(path).map_or(0, |found| found.len());
            let written = bytes(format!("{file}-wal").into());
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)");
            Figures { stored: bytes(file.into()), written }
        }
    }
}

/// A subscription of 58 kB.
async fn large(api: &Api) -> Value {
    // Text that no database can compress much.
    let text = || (0..15).map(|_| Uuid::now_v7().simple().to_string()).collect::<String>();
    let metadata: serde_json::Map<String, Value> =
        (0..50).map(|n| (format!("key{n:02}"), json!(text()))).collect();
    let notes: String =
        (0..10_000u32).filter_map(|n| char::from_u32(0x4e00 + n * 7 % 20_000)).collect();
    api.make_subscription(json!({"notes": notes, "metadata": metadata})).await
}

async fn change(api: &Api, path: &str, at: i64) -> Value {
    let body = json!({"cancel_at_period_end": at % 2 == 1});
    api.patch(path, &body).if_match(at).key(&unique("key")).await.ok(200)
}

async fn a_small_change_costs_little(server: Server) {
    let api = server.api();
    let made = large(&api).await;
    let size = made.to_string().len();
    assert!(size > 55_000, "{size}");
    let path = format!("/v1/subscriptions/{}", id(&made));
    let mut states = vec![made];
    for at in 1..=4 {
        states.push(change(&api, &path, at).await);
    }
    let before = figures(server.database());
    for at in 5..5 + CHANGES {
        states.push(change(&api, &path, at).await);
    }
    let after = figures(server.database());
    // The log of SQLite is empty after each look at it.
    let begin = if server.database().backend() == Backend::Sqlite { 0 } else { before.written };
    let changes = u64::try_from(CHANGES).unwrap();
    let stored = (after.stored - before.stored) / changes;
    let written = (after.written - begin) / changes;
    println!(
        "{:?}: {size} bytes; a change stores {stored} and writes {written}",
        server.database().backend()
    );
    for state in &states {
        let old = api.get(&format!("{path}/versions/{}", version(state))).await.ok(200);
        assert_eq!(&old, state);
    }
    assert!(stored <= STORED_MAX, "a change stores {stored} bytes");
    assert!(written <= WRITTEN_MAX, "a change writes {written} bytes");
}

#[test]
fn a_small_change_of_a_large_object_costs_little_on_sqlite() {
    crate::harness::run(Backend::Sqlite, a_small_change_costs_little);
}

#[test]
fn a_small_change_of_a_large_object_costs_little_on_postgresql() {
    block_on(async {
        // A cluster of its own, because the log is the whole cluster's.
        let database = Database::create_in(Cluster::create());
        a_small_change_costs_little(Server::start(Arc::new(database)).await).await;
    });
}

/// The answer that a key keeps is the object at its version, also when the object has moved on.
async fn a_kept_answer_shows_what_was_answered(server: Server) {
    let api = server.api();
    let made = large(&api).await;
    let path = format!("/v1/subscriptions/{}", id(&made));
    let mut answers = Vec::new();
    for at in 1..40 {
        let key = unique("key");
        let body = json!({"metadata": {"key07": key, format!("key{}", 20 + at % 9): null}});
        let answer = api.patch(&path, &body).if_match(at).key(&key).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answers.push((at, key, body, answer.text));
    }
    api.delete(&path).if_match(40).await;
    for (at, key, body, text) in answers {
        let again = api.patch(&path, &body).if_match(at).key(&key).await;
        assert_eq!((again.status, again.text), (200, text), "at version {at}");
        assert_eq!(again.headers.get("Idempotency-Replayed").unwrap(), "true");
    }
}

crate::harness::both_databases![a_kept_answer_shows_what_was_answered];
