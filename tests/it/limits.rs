//! What one caller may cost the others: time, connections and room in the logs.

use crate::harness::{
    ADMIN_KEY, Api, Backend, Database, Server, Settings, Socket, block_on, both_databases,
    eventually, id, postgres_only, sqlite_only, together,
};
use diesel::{Connection, PgConnection, SqliteConnection, connection::SimpleConnection};
use serde_json::{Value, json};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

both_databases![
    pages_that_nobody_reads_take_a_bounded_amount_of_memory,
    large_writes_that_wait_take_a_bounded_amount_of_memory,
    a_page_of_large_objects_ends_at_a_mebibyte_and_goes_on,
    a_key_that_is_revoked_while_a_body_arrives_does_nothing,
    refused_forces_take_a_bounded_number_of_records,
];
sqlite_only![
    a_body_that_does_not_arrive_is_408_and_ends_the_connection,
    a_refusal_ends_a_connection_whose_body_is_not_read,
    no_body_is_asked_for_without_an_accepted_key,
    a_client_that_asks_first_sends_its_body_with_a_key,
];
postgres_only![reads_of_one_key_delay_neither_other_keys_nor_readiness_nor_revocation];

async fn with(settings: &[&str]) -> Server {
    let database = Arc::new(Database::create(Backend::Sqlite));
    Server::start_with(database, Settings::args(settings)).await
}

/// The head of a request with a JSON body.
fn head(method: &str, path: &str, key: Option<&str>, body: &str) -> String {
    let key = key.map(|key| format!("Authorization: Bearer {key}\r\n")).unwrap_or_default();
    format!(
        "{method} {path} HTTP/1.1\r\nHost: server\r\n{key}Content-Type: application/json\r\n{body}\r\n"
    )
}

const CHUNKED: &str = "Transfer-Encoding: chunked\r\n";

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or_default()
}

async fn a_key_that_is_revoked_while_a_body_arrives_does_nothing(server: Server) {
    let api = server.api();
    for (role, path, body) in [
        ("agent", "/v1/workspaces", r#"{"name":"late"}"#),
        ("admin", "/v1/api-keys", r#"{"name":"late","role":"admin"}"#),
    ] {
        let (late, key) = api.make_named_key(role).await;
        let mut socket = Socket::connect(&server).await;
        let length = format!("Content-Length: {}\r\n", body.len());
        let (first, rest) = body.split_at(5);
        socket.write(&head("POST", path, Some(late.key()), &length)).await;
        socket.write(first).await;
        // Another request of the same key shows that the server has seen the head by now.
        late.get("/v1/plans").await.ok(200);
        api.delete(&format!("/v1/api-keys/{}", id(&key))).await;
        socket.write(rest).await;
        let answer = socket.head().await;
        assert_eq!(status(&answer), "401", "{role}: {answer}");
        let made = api.list(path).await;
        assert!(made.iter().all(|item| item["name"] != "late"), "{role}: {made:?}");
    }
}

async fn a_body_that_does_not_arrive_is_408_and_ends_the_connection(server: Server) {
    for body in ["Content-Length: 20\r\n", CHUNKED] {
        let mut socket = Socket::connect(&server).await;
        let began_at = Instant::now();
        socket.write(&head("POST", "/v1/workspaces", Some(ADMIN_KEY), body)).await;
        let answer = socket.rest().await;
        assert_eq!(status(&answer), "408", "{answer}");
        assert!(answer.contains(r#""code":"REQUEST_TIMEOUT""#), "{answer}");
        assert!(answer.to_lowercase().contains("connection: close"), "{answer}");
        let waited = began_at.elapsed();
        assert!((9..20).contains(&waited.as_secs()), "{waited:?}");
    }
}

async fn a_refusal_ends_a_connection_whose_body_is_not_read(server: Server) {
    let viewer = server.api().make_key("viewer").await;
    for (path, key, expected) in [
        ("/v1/workspaces", None, "401"),
        ("/v1/workspaces", Some("ifm_wrong"), "401"),
        ("/v1/workspaces", Some(viewer.key()), "403"),
        ("/v1/nowhere", Some(ADMIN_KEY), "404"),
        ("/healthz", None, "405"),
    ] {
        let mut socket = Socket::connect(&server).await;
        socket.write(&head("POST", path, key, CHUNKED)).await;
        let began_at = Instant::now();
        let answer = socket.rest().await;
        assert_eq!(status(&answer), expected, "{path}: {answer}");
        let waited = began_at.elapsed();
        assert!(waited < Duration::from_secs(5), "{path}: closed only after {waited:?}");
    }
}

#[test]
fn many_clients_that_send_a_head_and_nothing_else_leave_room_for_others() {
    block_on(async {
        let server = with(&["--connections", "64"]).await;
        let mut sockets = Vec::new();
        for _ in 0..230 {
            let mut socket = Socket::connect(&server).await;
            // The server may have closed it already.
            socket.try_write(&head("POST", "/v1/workspaces", None, CHUNKED)).await;
            sockets.push(socket);
        }
        let began_at = Instant::now();
        let answer = Api::new(server.url(), None).get("/healthz").send().await;
        let answered_after = began_at.elapsed();
        let healthy = answer.is_ok_and(|answer| answer.status == 200);
        assert!(healthy && answered_after < Duration::from_secs(5), "{answered_after:?}");
    });
}

#[test]
fn a_new_client_takes_the_place_of_the_one_that_was_idle_longest() {
    block_on(async {
        let server = with(&["--connections", "3"]).await;
        let mut idle = Vec::new();
        for _ in 0..3 {
            let mut socket = Socket::with(&server, "GET", "/healthz").await;
            socket.up_to("}").await;
            idle.push(socket);
        }
        let mut newest = Socket::with(&server, "GET", "/healthz").await;
        assert_eq!(status(&newest.head().await), "200");
        assert_eq!(idle[0].rest().await, "", "it was closed");
        idle[2].send("GET", "/healthz").await;
        assert_eq!(status(&idle[2].head().await), "200", "it is still open");
    });
}

#[test]
fn a_connection_without_a_request_is_closed_after_the_time_that_is_set() {
    block_on(async {
        let server = with(&["--keep-alive-s", "1"]).await;
        let mut socket = Socket::with(&server, "GET", "/healthz").await;
        socket.up_to("}").await;
        let began_at = Instant::now();
        assert_eq!(socket.rest().await, "");
        let waited = began_at.elapsed();
        assert!(waited < Duration::from_secs(10), "{waited:?}");
    });
}

async fn no_body_is_asked_for_without_an_accepted_key(server: Server) {
    let long = "Content-Length: 100000\r\nExpect: 100-continue\r\n";
    let short = "Content-Length: 15\r\nExpect: 100-continue\r\n";
    let chunked = "Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n";
    for (key, body, expected, code) in [
        (None, short, "401", "UNAUTHENTICATED"),
        (Some("ifm_wrong"), chunked, "401", "UNAUTHENTICATED"),
        (Some(ADMIN_KEY), long, "413", "PAYLOAD_TOO_LARGE"),
    ] {
        let mut socket = Socket::connect(&server).await;
        socket.write(&head("POST", "/v1/workspaces", key, body)).await;
        let answer = socket.rest().await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {expected} ")), "{answer}");
        assert!(answer.contains(&format!(r#""code":"{code}""#)), "{answer}");
        assert!(answer.to_lowercase().contains("\r\nx-request-id: "), "{answer}");
    }
}

async fn a_client_that_asks_first_sends_its_body_with_a_key(server: Server) {
    let body = r#"{"name":"asked"}"#;
    let length = format!("Content-Length: {}\r\nExpect: 100-continue\r\n", body.len());
    let mut socket = Socket::connect(&server).await;
    socket.write(&head("POST", "/v1/workspaces", Some(ADMIN_KEY), &length)).await;
    assert_eq!(socket.head().await, "HTTP/1.1 100 Continue\r\n\r\n");
    socket.write(body).await;
    assert_eq!(status(&socket.head().await), "201");
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

/// Metadata of 51 kB.
fn large(mark: char) -> Value {
    let metadata = (0..50)
        .map(|key| (format!("key-{key:02}"), Value::from(format!("{mark}{}", "é".repeat(499)))));
    Value::Object(metadata.collect())
}

async fn a_page_of_large_objects_ends_at_a_mebibyte_and_goes_on(server: Server) {
    let api = server.api();
    let body = json!({"name": "large", "metadata": large('a')});
    let made = together(40, |_| {
        let call = api.post("/v1/workspaces", &body);
        async move { id(&call.await.ok(201)).to_owned() }
    });
    let mut made = made.await;
    made.sort();
    for (path, named) in
        [("/v1/workspaces?limit=200", "id"), ("/v1/events?type=workspace&limit=200", "resource")]
    {
        let mut listed = Vec::new();
        let mut next = path.to_owned();
        loop {
            let page = api.get(&next).await.is(200);
            assert!(page.text.len() < 1_100_000, "{path}: {} bytes", page.text.len());
            let items = page.body["items"].as_array().unwrap();
            if items.is_empty() {
                break;
            }
            listed.extend(items.iter().map(|item| match named {
                "id" => id(item).to_owned(),
                _ => id(&item["resource"]).to_owned(),
            }));
            let Some(cursor) = page.body["next_cursor"].as_str() else { break };
            next = format!("{path}&cursor={cursor}");
        }
        listed.sort();
        assert_eq!(listed, made, "{path}");
    }
}

/// What the tests state: waiting pages and writes of one key take no more than this, in MB.
const MEMORY_MAX_MB: u64 = 256;

async fn pages_that_nobody_reads_take_a_bounded_amount_of_memory(server: Server) {
    let api = server.api();
    let body = json!({"name": "large", "metadata": large('a')});
    together(200, |_| {
        let call = api.post("/v1/workspaces", &body);
        async move { call.await.ok(201) }
    })
    .await;
    let before = server.memory_mb();
    let mut unread = Vec::new();
    for path in ["/v1/events?limit=200", "/v1/workspaces?limit=200"] {
        for _ in 0..60 {
            unread.push(Socket::with(&server, "GET", path).await);
        }
    }
    for socket in &mut unread {
        let head = socket.head().await;
        assert!(matches!(status(&head), "200" | "503"), "{head}");
    }
    let taken = server.memory_mb() - before;
    eprintln!("{taken} MB, and {before} MB before");
    assert!(taken < MEMORY_MAX_MB, "{taken} MB, and {before} MB before");
}

async fn large_writes_that_wait_take_a_bounded_amount_of_memory(server: Server) {
    let api = server.api();
    let workspace = api.make_workspace(json!({})).await;
    let path = format!("/v1/workspaces/{}", id(&workspace));
    let url = server.database().url();
    let lock = |mine: &mut dyn FnMut(&str)| match server.database().backend() {
        Backend::Sqlite => mine("BEGIN IMMEDIATE"),
        Backend::Postgres => mine(&format!(
            "BEGIN; SELECT id FROM workspaces WHERE id = '{}' FOR UPDATE",
            id(&workspace)
        )),
    };
    let mut postgres = PgConnection::establish(url);
    let mut sqlite = SqliteConnection::establish(url.trim_start_matches("sqlite://"));
    lock(&mut |sql| match server.database().backend() {
        Backend::Sqlite => sqlite.as_mut().unwrap().batch_execute(sql).unwrap(),
        Backend::Postgres => postgres.as_mut().unwrap().batch_execute(sql).unwrap(),
    });
    let before = server.memory_mb();
    let body = json!({"metadata": large('b')});
    let answers = together(2_000, |_| {
        let call = api.patch(&path, &body).if_match(1);
        async move { call.send().await.map(|answer| answer.status) }
    });
    let answers = answers.await;
    let taken = server.memory_mb() - before;
    eprintln!("{taken} MB, and {before} MB before");
    assert!(taken < MEMORY_MAX_MB, "{taken} MB, and {before} MB before");
    let of = |wanted| answers.iter().flatten().filter(|status| **status == wanted).count();
    assert_eq!(of(503), answers.len(), "{answers:?}");
    drop((postgres, sqlite));
    assert_eq!(api.patch(&path, &body).if_match(1).await.ok(200)["version"], 2);
}
