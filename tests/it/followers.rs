//! Followers of the event stream: what each receives, and what is released when they hang up.

use crate::harness::{
    Api, EventStream, Server, Socket, both_databases, eventually, id, postgres_only, together,
    version,
};
use serde_json::json;
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::time::timeout;

both_databases![
    every_follower_sees_each_event_once_however_late_or_slow_it_is,
    a_waiting_read_ends_when_its_client_hangs_up,
    a_stream_frees_its_place_when_its_client_hangs_up,
    a_head_of_the_stream_ends_and_takes_no_place,
    a_stream_ends_when_its_key_is_revoked,
];
postgres_only![
    every_follower_sees_what_other_servers_write_once,
    a_stream_ends_when_its_key_is_revoked_elsewhere,
];

/// The server's maximum of open streams, and those of one key.
const STREAMS_MAX: usize = 256;
const STREAMS_PER_KEY_MAX: usize = 64;
/// "At once" on a busy machine. Without the hang-up the end takes at least 15 seconds.
const AT_ONCE: Duration = Duration::from_secs(5);

/// Writers that make at least 5,000 events, most of them 50 per commit.
const WRITERS: usize = 8;
const ROUNDS: usize = 12;
const PER_TRANSACTION: usize = 50;

/// One writer of the storm: alternates a transaction and some single changes.
async fn write(api: Api, written: Arc<AtomicUsize>) {
    // Together more than sockets buffer, so that a follower that does not read falls behind.
    let metadata = json!({"a": "x".repeat(400), "b": "y".repeat(400), "c": "z".repeat(400)});
    let own = api.make_workspace(json!({})).await;
    let path = format!("/v1/workspaces/{}", id(&own));
    let mut expected = version(&own);
    for round in 0..ROUNDS {
        let body = json!({"name": format!("of round {round}"), "metadata": metadata});
        let create = json!({"op": "create", "type": "workspace", "body": body});
        let operations = vec![create; PER_TRANSACTION];
        api.post("/v1/transactions", &json!({ "operations": operations })).await.ok(200);
        for change in 0..3 {
            let body = json!({"name": format!("{round}.{change}")});
            let changed = api.patch(&path, &body).if_match(expected).await.ok(200);
            expected = version(&changed);
        }
        written.fetch_add(PER_TRANSACTION, Ordering::Relaxed);
    }
}

/// The name of the object that is created after all other writes.
const LAST: &str = "the last";

/// The sequence numbers of a stream, up to the event about the last object.
async fn follow_stream(mut stream: EventStream) -> Vec<i64> {
    let mut seen = Vec::new();
    loop {
        let (place, event) = stream.next().await;
        seen.push(place);
        if event["state"]["name"] == LAST {
            return seen;
        }
    }
}

/// The sequence numbers of successive waiting reads.
async fn follow_polls(api: Api, query: &str) -> Vec<i64> {
    let (mut seen, mut cursor) = (Vec::new(), "0".to_owned());
    loop {
        let path = format!("/v1/events?after={cursor}&wait_ms=2000&{query}");
        let page = api.get(&path).await.ok(200);
        cursor = page["next_cursor"].as_str().expect("a page has a cursor").to_owned();
        let items = page["items"].as_array().expect("a page has items");
        seen.extend(items.iter().map(|event| event["seq"].as_i64().expect("an event has a place")));
        if items.iter().any(|event| event["state"]["name"] == LAST) {
            return seen;
        }
    }
}

/// All sequence numbers from the table, when all writes are done.
async fn all_places(api: &Api, query: &str) -> Vec<i64> {
    let (mut places, mut cursor) = (Vec::new(), "0".to_owned());
    loop {
        let page = api.get(&format!("/v1/events?after={cursor}&limit=200&{query}")).await.ok(200);
        let items = page["items"].as_array().expect("a page has items");
        if items.is_empty() {
            return places;
        }
        places.extend(items.iter().map(|event| event["seq"].as_i64().expect("a place")));
        cursor = page["next_cursor"].as_str().expect("a page has a cursor").to_owned();
    }
}

/// Races writers on `servers` while followers of every kind read from the first one.
async fn follow_a_storm(servers: &[&Server]) {
    let api = servers[0].api();
    let open = async |query: &str| {
        EventStream::new(api.get(&format!("/v1/events/stream?{query}")).open().await)
    };
    let early = tokio::spawn(follow_stream(open("after=0").await));
    let never = open("type=invoice").await;
    // Opened first, and not read until all writes are done.
    let slow = open("after=0").await;

    let written = Arc::new(AtomicUsize::new(0));
    let apis: Vec<_> = servers.iter().map(|server| server.api()).collect();
    let writing = {
        let written = written.clone();
        tokio::spawn(together(WRITERS, move |n| {
            write(apis[n % apis.len()].clone(), written.clone())
        }))
    };
    eventually("some of it is written", async || {
        (written.load(Ordering::Relaxed) > WRITERS * ROUNDS * PER_TRANSACTION / 4).then_some(())
    })
    .await;
    let late = tokio::spawn(follow_stream(open("after=0").await));
    let filter = "type=workspace.created";
    let filtered = tokio::spawn(follow_stream(open(filter).await));
    let poller = api.clone();
    let polls = tokio::spawn(async move { follow_polls(poller, "limit=7").await });
    let poller = api.clone();
    let filtered_polls = tokio::spawn(async move { follow_polls(poller, filter).await });
    writing.await.expect("the writers write");

    api.make_workspace(json!({"name": LAST})).await;
    let slow = tokio::spawn(follow_stream(slow));
    let all = all_places(&api, "").await;
    let created = all_places(&api, filter).await;
    assert!(all.len() > WRITERS * ROUNDS * PER_TRANSACTION, "{} events", all.len());
    assert!(all.is_sorted_by(|one, other| one < other), "each place once, in order");
    for (name, follower, expected) in [
        ("from the start", early, &all),
        ("in the middle", late, &all),
        ("slow", slow, &all),
        ("filtered", filtered, &created),
        ("by polls", polls, &all),
        ("by filtered polls", filtered_polls, &created),
    ] {
        let seen = timeout(Duration::from_secs(60), follower).await;
        let seen = seen.unwrap_or_else(|_| panic!("the follower {name} sees the last event"));
        let seen = seen.expect("a follower reads on");
        assert_eq!(seen.len(), expected.len(), "the follower {name}: how many");
        assert!(seen == *expected, "the follower {name}: each once, in order");
    }
    drop(never);
}

async fn every_follower_sees_each_event_once_however_late_or_slow_it_is(server: Server) {
    follow_a_storm(&[&server]).await;
}

async fn every_follower_sees_what_other_servers_write_once(server: Server) {
    let (second, third) = (server.sibling().await, server.sibling().await);
    follow_a_storm(&[&server, &second, &third]).await;
}

/// Open streams and waiting reads, as the server counts them.
pub async fn followers(server: &Server) -> usize {
    let metrics = server.api().without_key().get("/metrics").await.is(200).text;
    let count = metrics.lines().find_map(|line| line.strip_prefix("ifmatch_event_followers "));
    count.expect("followers are counted").trim().parse().expect("a whole number")
}

async fn a_waiting_read_ends_when_its_client_hangs_up(server: Server) {
    let end = server.api().get("/v1/events?last=0").await.ok(200)["next_cursor"].clone();
    let path = format!("/v1/events?wait_ms=45000&after={}", end.as_str().unwrap());
    let mut waiting = Vec::new();
    for _ in 0..40 {
        waiting.push(Socket::with(&server, "GET", &path).await);
    }
    eventually("all of them wait", async || (followers(&server).await == 40).then_some(())).await;
    let hung_up_at = Instant::now();
    drop(waiting);
    eventually("none of them waits", async || (followers(&server).await == 0).then_some(())).await;
    assert!(hung_up_at.elapsed() < AT_ONCE, "it took {:?}", hung_up_at.elapsed());
}

async fn a_stream_frees_its_place_when_its_client_hangs_up(server: Server) {
    let api = server.api();
    let mut open = Vec::new();
    for _ in 0..STREAMS_PER_KEY_MAX {
        let mut stream = Socket::with(&server, "GET", "/v1/events/stream?last=0").await;
        assert!(stream.head().await.starts_with("HTTP/1.1 200 "));
        stream.up_to("\n\n\r\n").await;
        open.push(stream);
    }
    api.get("/v1/events/stream").await.problem(503, "TRY_AGAIN");
    let (other, _) = api.make_named_key("viewer").await;
    assert_eq!(other.get("/v1/events/stream?last=0").open().await.status(), 200);
    let hung_up_at = Instant::now();
    drop(open);
    eventually("a place is free", async || {
        (api.get("/v1/events/stream?last=0").open().await.status() == 200).then_some(())
    })
    .await;
    assert!(hung_up_at.elapsed() < AT_ONCE, "it took {:?}", hung_up_at.elapsed());
    eventually("all are free", async || (followers(&server).await == 0).then_some(())).await;
    assert!(hung_up_at.elapsed() < AT_ONCE, "it took {:?}", hung_up_at.elapsed());
}

async fn a_head_of_the_stream_ends_and_takes_no_place(server: Server) {
    let path = "/v1/events/stream";
    let names = |head: &str| {
        let mut lines: Vec<String> = head
            .lines()
            .map(|line| {
                let (name, value) = line.split_once(':').unwrap_or((line, ""));
                let varies = ["date", "x-request-id", "ratelimit"].contains(&name);
                format!("{name}:{}", if varies { "" } else { value })
            })
            .collect();
        lines.sort_unstable();
        lines
    };
    let mut stream = Socket::with(&server, "GET", path).await;
    let head_of_get = stream.head().await;
    let mut open = Vec::new();
    for _ in 0..STREAMS_MAX {
        let mut socket = Socket::with(&server, "HEAD", path).await;
        assert_eq!(names(&socket.head().await), names(&head_of_get));
        open.push(socket);
    }
    let mut more = Socket::with(&server, "GET", path).await;
    assert!(more.head().await.starts_with("HTTP/1.1 200 "), "streams are available");
    assert_eq!(followers(&server).await, 2);
    let socket = open.first_mut().expect("there are some");
    socket.send("GET", "/v1/events?last=0").await;
    assert!(socket.head().await.starts_with("HTTP/1.1 200 "), "the connection goes on");
}

/// Waits until the server closes a stream.
async fn is_ended(mut stream: reqwest::Response) {
    let end = async { while let Ok(Some(_)) = stream.chunk().await {} };
    timeout(AT_ONCE, end).await.expect("the stream ends");
}

async fn a_stream_ends_when_its_key_is_revoked(server: Server) {
    let api = server.api();
    let (viewer, key) = api.make_named_key("viewer").await;
    let stream = viewer.get("/v1/events/stream").open().await;
    assert_eq!(stream.status(), 200);
    api.delete(&format!("/v1/api-keys/{}", id(&key))).await.ok(200);
    is_ended(stream).await;
}

async fn a_stream_ends_when_its_key_is_revoked_elsewhere(server: Server) {
    let second = server.sibling().await;
    let (viewer, key) = server.api().make_named_key("viewer").await;
    // The second server has probably not reloaded its keys yet.
    let viewer = viewer.at(second.url());
    let mut stream = EventStream::new(viewer.get("/v1/events/stream?last=0").open().await);
    let made = server.api().make_workspace(json!({})).await;
    while stream.next().await.1["resource"]["id"] != made["id"] {}
    server.api().delete(&format!("/v1/api-keys/{}", id(&key))).await.ok(200);
    is_ended(stream.into_response()).await;
}
