//! Event streams whose clients do not read: they stay small and end.

use crate::{
    followers::followers,
    harness::{
        ADMIN_KEY, Api, Server, Socket, both_databases, eventually, id, sqlite_only, version,
    },
};
use serde_json::json;
use std::time::{Duration, Instant};
use tokio::time::{interval, timeout};

both_databases![an_unread_stream_ends_soon_after_its_key];
sqlite_only![a_stream_that_nobody_reads_is_cut_off, unread_streams_stay_small];

/// Events with more bytes than the sockets of a stream take.
async fn write_much(api: &Api) {
    let mut made = api.make_workspace(json!({})).await;
    let path = format!("/v1/workspaces/{}", id(&made));
    for round in 0..150 {
        let keys = (0..50).map(|key| (format!("key-{key}"), json!(format!("{round:0>500}"))));
        let metadata: serde_json::Map<_, _> = keys.collect();
        let patch = api.patch(&path, &json!({ "metadata": metadata })).if_match(version(&made));
        made = patch.await.ok(200);
    }
}

/// Opens streams of everything, and waits until nothing more goes into their sockets.
async fn unread_streams(server: &Server, key: &str, count: usize) -> Vec<Socket> {
    let mut open = Vec::new();
    for _ in 0..count {
        let mut stream = Socket::deaf(server, key).await;
        stream.send("GET", "/v1/events/stream?after=0").await;
        open.push(stream);
    }
    eventually("the streams are stuck", async || {
        let metrics = server.api().without_key().get("/metrics").await.is(200).text;
        metrics.contains(&format!("ifmatch_event_streams_unread {count}\n")).then_some(())
    })
    .await;
    open
}

async fn an_unread_stream_ends_soon_after_its_key(server: Server) {
    let api = server.api();
    write_much(&api).await;
    let (viewer, key) = api.make_named_key("viewer").await;
    let _open = unread_streams(&server, viewer.key(), 3).await;
    let revoked_at = Instant::now();
    api.delete(&format!("/v1/api-keys/{}", id(&key))).await.ok(200);
    eventually("they are ended", async || (followers(&server).await == 0).then_some(())).await;
    assert!(revoked_at.elapsed() < Duration::from_secs(3), "it took {:?}", revoked_at.elapsed());
}

async fn a_stream_that_nobody_reads_is_cut_off(server: Server) {
    write_much(&server.api()).await;
    let quiet = server.api().get("/v1/events/stream?last=0").open().await;
    let _open = unread_streams(&server, ADMIN_KEY, 1).await;
    let begun_at = Instant::now();
    let mut ticks = interval(Duration::from_millis(100));
    let ended = async {
        while followers(&server).await > 1 {
            ticks.tick().await;
        }
    };
    timeout(Duration::from_secs(45), ended).await.expect("the unread one is cut off");
    assert!(begun_at.elapsed() > Duration::from_secs(20), "it had time to read");
    assert_eq!(followers(&server).await, 1, "a stream without events is read");
    drop(quiet);
}

async fn unread_streams_stay_small(server: Server) {
    let api = server.api();
    write_much(&api).await;
    let memory = || {
        let pid = server.pid().as_raw_nonzero();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it has");
        line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") / 1_024
    };
    let before = memory();
    let _open = unread_streams(&server, ADMIN_KEY, 40).await;
    let grown = memory().saturating_sub(before);
    // Each may hold a batch of 256 KiB, an event of 100 kB, and what one read of the table takes.
    assert!(grown < 128, "40 unread streams took {grown} MiB");
}
