//! Large objects: their pages end, and what waits takes a bounded amount of memory.

use crate::harness::{Backend, Server, Socket, both_databases, id, together};
use diesel::{Connection, PgConnection, SqliteConnection, connection::SimpleConnection};
use serde_json::{Value, json};

both_databases![
    a_page_of_large_objects_ends_at_a_mebibyte_and_goes_on,
    pages_that_nobody_reads_take_a_bounded_amount_of_memory,
    large_writes_that_wait_take_a_bounded_amount_of_memory,
];

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
        assert!(head.contains(" 200 ") || head.contains(" 503 "), "{head}");
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
        // The server itself may be writing, such as when a key was last used.
        Backend::Sqlite => mine("PRAGMA busy_timeout = 5000; BEGIN IMMEDIATE"),
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
    // A body that does not arrive in time is a 408: two thousand at once keep a small machine busy.
    let is_refused = |answer: &Result<u16, _>| matches!(answer, Ok(503 | 408));
    assert!(answers.iter().all(is_refused), "{answers:?}");
    drop((postgres, sqlite));
    assert_eq!(api.patch(&path, &body).if_match(1).await.ok(200)["version"], 2);
}
