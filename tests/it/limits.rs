//! What one caller may cost the others: requests, reads and room in the audit log.

use crate::harness::{
    Api, Backend, Database, Server, Settings, block_on, both_databases, eventually, id,
    postgres_only, together,
};
use diesel::{Connection, PgConnection, connection::SimpleConnection};
use serde_json::{Value, json};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

both_databases![refused_forces_take_a_bounded_number_of_records];
postgres_only![
    reads_of_one_key_delay_neither_other_keys_nor_readiness_nor_revocation,
    what_the_gate_reads_for_a_scoped_key_is_in_its_share,
];

async fn with(settings: &[&str]) -> Server {
    let database = Arc::new(Database::create(Backend::Sqlite));
    Server::start_with(database, Settings::args(settings)).await
}

/// The number of refused requests, of so many at once in the name of these addresses.
async fn refused(api: &Api, path: &'static str, forwarded_for: impl Fn(usize) -> String) -> usize {
    let answers = together(40, |n| {
        let call = api.get(path).header("X-Forwarded-For", forwarded_for(n));
        async move { call.await.status }
    });
    let answers = answers.await;
    assert!(answers.iter().all(|status| matches!(*status, 200 | 401 | 404 | 429)), "{answers:?}");
    answers.into_iter().filter(|status| *status == 429).count()
}

#[test]
fn behind_a_proxy_each_client_has_its_own_limit_also_on_open_paths() {
    block_on(async {
        let server = with(&["--behind-proxy", "--rate-limit", "5"]).await;
        let open = server.api().without_key();
        let one = |_| "203.0.113.1".to_owned();
        assert!(refused(&open, "/openapi.json", one).await > 0);
        // Only the address that the proxy has added counts.
        let claimed = |n| format!("198.51.100.{n}, 203.0.113.2");
        assert!(refused(&open, "/v1/nowhere", claimed).await > 0);
        assert!(refused(&open, "/v1/plans", one).await > 0, "and without an accepted key");
        assert_eq!(refused(&open, "/docs", |n| format!("203.0.113.{}", 100 + n)).await, 0);
        for probe in ["/healthz", "/readyz"] {
            assert_eq!(refused(&open, probe, one).await, 0, "{probe}");
        }
    });
}

#[test]
fn a_peer_that_is_no_trusted_proxy_cannot_choose_its_address() {
    block_on(async {
        let settings = ["--behind-proxy", "--rate-limit", "5", "--trusted-proxies", "192.0.2.1"];
        let server = with(&settings).await;
        let open = server.api().without_key();
        assert!(refused(&open, "/docs", |n| format!("203.0.113.{n}")).await > 0);
    });
}

async fn refused_forces_take_a_bounded_number_of_records(mut server: Server) {
    let (viewer, key) = server.api().make_named_key("viewer").await;
    let workspace = server.api().make_workspace(json!({})).await;
    let path = format!("/v1/workspaces/{}?force=true", id(&workspace));
    together(100, |_| {
        let call = viewer.patch(&path, &json!({"name": "x"})).header("X-Force-Reason", "please");
        async move { call.await.problem(403, "FORCE_FORBIDDEN") }
    })
    .await;
    let list = format!("/v1/audit?type=force_denied&actor={}", key["name"].as_str().unwrap());
    let records = server.api().list(&list).await;
    assert_eq!(records.len(), 20);
    assert!(records.iter().all(|record| record["reason"] == "please"));
    // What is only counted is put on record before the server ends.
    server.stop().await;
    server.restart().await;
    let records = server.api().list(&list).await;
    let attempts = |record: &Value| record["attempts"].as_i64().unwrap_or(1);
    assert_eq!((records.len(), records.iter().map(attempts).sum::<i64>()), (21, 100));
}

async fn reads_of_one_key_delay_neither_other_keys_nor_readiness_nor_revocation(server: Server) {
    let api = server.api();
    let greedy = api.make_key("viewer").await;
    let other = api.make_key("viewer").await;
    let (_, doomed) = api.make_named_key("viewer").await;
    let sibling = server.sibling().await;
    let mut locked = PgConnection::establish(server.database().url()).unwrap();
    // A list of plans now takes as long as it may.
    locked.batch_execute("BEGIN; LOCK TABLE plans IN ACCESS EXCLUSIVE MODE").unwrap();
    let began_at = Instant::now();
    let slow = tokio::spawn(together(100, move |_| {
        let greedy = greedy.clone();
        async move { greedy.get("/v1/plans").await }
    }));
    eventually("the lists have connections", async || {
        let waiting = server.metric("ifmatch_http_connections").await;
        (waiting >= 50.0).then_some(())
    })
    .await;
    for _ in 0..20 {
        let asked_at = Instant::now();
        other.get("/v1/workspaces").await.ok(200);
        server.api().without_key().get("/readyz").await.ok(200);
        let waited = asked_at.elapsed();
        assert!(waited < Duration::from_secs(2), "another key's list waited {waited:?}");
    }
    sibling.api().delete(&format!("/v1/api-keys/{}", id(&doomed))).await;
    let revoked_at = Instant::now();
    let key = doomed["key"].as_str().unwrap();
    eventually("the key is revoked here, too", async || {
        (api.with_key(key).get("/v1/workspaces").await.status == 401).then_some(())
    })
    .await;
    assert!(revoked_at.elapsed() < Duration::from_secs(3), "{:?}", revoked_at.elapsed());
    for answer in slow.await.unwrap() {
        answer.problem(503, "TRY_AGAIN");
    }
    let waited = began_at.elapsed();
    assert!(waited < Duration::from_secs(9), "the lists ended only after {waited:?}");
    locked.batch_execute("ROLLBACK").unwrap();
    api.get("/v1/plans").await.ok(200);
}

async fn what_the_gate_reads_for_a_scoped_key_is_in_its_share(server: Server) {
    let api = server.api();
    let subscription = api.make_subscription(json!({})).await;
    let scoped = json!({"name": "greedy", "role": "viewer",
        "workspace_id": subscription["workspace_id"]});
    let made = api.post("/v1/api-keys", &scoped).await.ok(201);
    let greedy = api.with_key(made["key"].as_str().unwrap());
    let path = format!("/v1/subscriptions/{}", id(&subscription));
    greedy.get(&path).await.ok(200);
    let mut locked = PgConnection::establish(server.database().url()).unwrap();
    locked.batch_execute("BEGIN; LOCK TABLE subscriptions IN ACCESS EXCLUSIVE MODE").unwrap();
    let slow = tokio::spawn(together(100, move |_| {
        let (greedy, path) = (greedy.clone(), path.clone());
        async move { greedy.get(&path).await }
    }));
    eventually("the reads have connections", async || {
        (server.metric("ifmatch_http_connections").await >= 50.0).then_some(())
    })
    .await;
    for _ in 0..5 {
        let asked_at = Instant::now();
        api.get("/v1/workspaces").await.ok(200);
        let waited = asked_at.elapsed();
        assert!(waited < Duration::from_secs(2), "another key's list waited {waited:?}");
    }
    locked.batch_execute("ROLLBACK").unwrap();
    slow.await.unwrap();
}
