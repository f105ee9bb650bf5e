//! Places in the log of events: where readers begin, and which places no log has any more.

use crate::harness::{
    Api, Backend, EventStream, Server, both_databases, eventually, field, id, run_to_end,
};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::{Instant, timeout};

both_databases![
    a_break_before_the_first_event_loses_nothing,
    a_quiet_stream_is_heard_of_every_four_seconds,
    a_stream_is_neither_stored_nor_changed_on_its_way,
    the_cursor_of_a_page_wins,
    a_rare_type_does_not_hold_its_reader_back,
    a_reader_gets_over_a_long_stretch_without_wanted_events,
    a_read_waits_forty_five_seconds_at_most,
    a_cursor_beyond_the_end_is_unknown,
    a_cursor_of_before_a_restore_is_unknown,
    readers_end_when_the_log_is_replaced,
    a_cursor_of_pruned_events_is_unknown,
];

/// A quiet stream must be heard of within this time.
const HEARD_OF: Duration = Duration::from_millis(4_000);
/// "At once" on a busy machine.
const AT_ONCE: Duration = Duration::from_secs(10);

/// The end of the log.
async fn end(api: &Api) -> String {
    let page = api.get("/v1/events?last=0").await.ok(200);
    page["next_cursor"].as_str().expect("a page has a cursor").to_owned()
}

async fn open(api: &Api, query: &str) -> EventStream {
    EventStream::new(api.get(&format!("/v1/events/stream?{query}")).open().await)
}

/// Asserts that no reader can begin at this cursor. Returns the newest cursor.
async fn is_unknown(api: &Api, cursor: &str) -> String {
    let stream = api.get("/v1/events/stream").header("Last-Event-ID", cursor);
    stream.await.problem(410, "CURSOR_UNKNOWN");
    api.get(&format!("/v1/events/stream?after={cursor}")).await.problem(410, "CURSOR_UNKNOWN");
    api.get(&format!("/v1/events?cursor={cursor}")).await.problem(410, "CURSOR_UNKNOWN");
    let waiting = api.get(&format!("/v1/events?after={cursor}&last=3&wait_ms=45000"));
    let problem = waiting.await.problem(410, "CURSOR_UNKNOWN");
    assert_eq!(problem["retry"]["action"], "none");
    for name in ["oldest", "newest"] {
        let known = problem[name].as_str().unwrap_or_else(|| panic!("{name}: {problem}"));
        api.get(&format!("/v1/events?after={known}")).await.ok(200);
    }
    assert_eq!(problem["newest"], end(api).await);
    end(api).await
}

/// The cursors of all events after this place, one page each.
async fn page_by_page(api: &Api, after: &str) -> Vec<String> {
    let (mut cursors, mut next) = (Vec::new(), after.to_owned());
    loop {
        let page = api.get(&format!("/v1/events?after={next}&limit=1")).await.ok(200);
        next = page["next_cursor"].as_str().expect("a page has a cursor").to_owned();
        let Some(event) = page["items"].get(0) else { return cursors };
        assert_eq!(event["cursor"], next, "the page ends with its last event");
        cursors.push(next.clone());
    }
}

async fn a_break_before_the_first_event_loses_nothing(server: Server) {
    let api = server.api();
    api.make_workspace(json!({})).await;
    let mut stream = open(&api, "last=0").await;
    let first = stream.block().await;
    assert_eq!(field(&first, "retry:"), "2000");
    let seen = field(&first, "id:");
    assert_eq!(seen, end(&api).await);
    drop(stream);
    let made = api.make_workspace(json!({})).await;
    let again = api.get("/v1/events/stream?last=0").header("Last-Event-ID", &seen).open().await;
    let mut again = EventStream::new(again);
    assert_eq!(again.next().await.1["state"], made);
}

async fn a_quiet_stream_is_heard_of_every_four_seconds(server: Server) {
    let api = server.api();
    let (mut quiet, mut filtered) = (open(&api, "last=0").await, open(&api, "type=invoice").await);
    let begun = field(&filtered.block().await, "id:");
    quiet.block().await;
    for _ in 0..2 {
        let block = timeout(HEARD_OF, quiet.block()).await.expect("it is heard of");
        assert!(block.starts_with(':'), "nothing happened: {block}");
    }
    api.make_workspace(json!({})).await;
    eventually("the filtered stream tells the place after an event it does not want", async || {
        let block = timeout(HEARD_OF, filtered.block()).await.expect("it is heard of");
        let id = field(&block, "id:");
        assert_eq!(field(&block, "data:"), "");
        (!id.is_empty() && id != begun).then_some(())
    })
    .await;
}

async fn a_stream_is_neither_stored_nor_changed_on_its_way(server: Server) {
    let stream = server.api().get("/v1/events/stream").open().await;
    assert_eq!(stream.headers()["X-Accel-Buffering"], "no");
    let cache = stream.headers()["Cache-Control"].to_str().unwrap();
    assert_eq!(cache, "no-store, no-transform");
}

async fn the_cursor_of_a_page_wins(server: Server) {
    let api = server.api();
    for _ in 0..3 {
        api.make_workspace(json!({})).await;
    }
    let all = page_by_page(&api, "0").await;
    let query = "/v1/events?limit=1&after=0&last=100";
    let mut page = api.get(query).await.ok(200);
    let mut seen = Vec::new();
    while let Some(event) = page["items"].get(0) {
        seen.push(event["cursor"].as_str().expect("a cursor").to_owned());
        let cursor = page["next_cursor"].as_str().expect("a cursor");
        page = api.get(&format!("{query}&cursor={cursor}")).await.ok(200);
    }
    assert_eq!(seen, all);
    let mut stream = open(&api, &format!("after=0&cursor={}", all[1])).await;
    assert_eq!(stream.next().await.1["cursor"], all[2]);
    for wrong in ["after=x", "after=-1", "cursor=", "after=1-", "cursor=1-a-b", "after=1.5"] {
        let name = wrong.split('=').next().unwrap();
        api.get(&format!("/v1/events?{wrong}")).await.invalid(&format!("?{name}"));
    }
}

async fn a_rare_type_does_not_hold_its_reader_back(server: Server) {
    let api = server.api();
    let plan = api.make_plan(json!({})).await;
    for _ in 0..3 {
        api.make_workspace(json!({})).await;
    }
    let page = api.get("/v1/events?after=0&type=plan").await.ok(200);
    assert_eq!(page["items"][0]["resource"]["id"], plan["id"]);
    for query in ["type=invoice", "type=plan", "type=invoice&wait_ms=300"] {
        let page = api.get(&format!("/v1/events?after=0&{query}")).await.ok(200);
        assert_eq!(page["next_cursor"], end(&api).await, "{query}");
    }
    // It also passes the events that come while it waits.
    let path = format!("/v1/events?after={}&type=invoice&wait_ms=1500", end(&api).await);
    let waiting = {
        let api = api.clone();
        tokio::spawn(async move { api.get(&path).await.ok(200) })
    };
    eventually("it waits", async || {
        let metrics = api.without_key().get("/metrics").await.is(200).text;
        metrics.contains("ifmatch_event_followers 1").then_some(())
    })
    .await;
    api.make_workspace(json!({})).await;
    let page = waiting.await.expect("it is answered");
    assert_eq!(page["items"], json!([]));
    assert_eq!(page["next_cursor"], end(&api).await);
}

async fn a_reader_gets_over_a_long_stretch_without_wanted_events(server: Server) {
    let api = server.api();
    api.make_workspace(json!({})).await;
    let before = end(&api).await;
    // Longer than what one statement looks at.
    server.database().execute(match server.database().backend() {
        Backend::Sqlite => "UPDATE sqlite_sequence SET seq = 90000 WHERE name = 'events'",
        Backend::Postgres => "ALTER SEQUENCE events_seq_seq RESTART WITH 90001",
    });
    let plan = api.make_plan(json!({})).await;
    api.make_workspace(json!({})).await;
    for query in ["type=plan", "type=plan&wait_ms=45000"] {
        let page = api.get(&format!("/v1/events?after={before}&{query}")).await.ok(200);
        assert_eq!(page["items"][0]["state"], plan, "{query}");
    }
    let page = api.get(&format!("/v1/events?after={before}&type=invoice")).await.ok(200);
    assert_eq!(page["next_cursor"], end(&api).await);
    let mut stream = open(&api, &format!("after={before}&type=plan")).await;
    assert_eq!(stream.next().await.1["state"], plan);
}

async fn a_read_waits_forty_five_seconds_at_most(server: Server) {
    let api = server.api();
    api.make_workspace(json!({})).await;
    api.get("/v1/events?wait_ms=45000").await.ok(200);
    api.get("/v1/events?wait_ms=45001").await.invalid("?wait_ms");
}

async fn a_cursor_beyond_the_end_is_unknown(server: Server) {
    let api = server.api();
    let made = api.make_workspace(json!({})).await;
    let seq: i64 = end(&api).await.parse().expect("the first log's cursors are numbers");
    for beyond in [seq + 1, seq + 1_000, i64::MAX] {
        is_unknown(&api, &beyond.to_string()).await;
    }
    is_unknown(&api, &format!("{seq}-5f0c9d2e71ab")).await;
    let page = api.get(&format!("/v1/events?after={}", seq - 1)).await.ok(200);
    assert_eq!(page["items"][0]["resource"]["id"], made["id"]);
}

/// Runs `ifmatch-server restored`.
async fn say_restored(server: &Server) {
    let url = [("IFMATCH_DATABASE_URL", server.database().url())];
    run_to_end(server.database(), &["restored"], &url).await.succeeded();
}

async fn a_cursor_of_before_a_restore_is_unknown(mut server: Server) {
    server.api().make_workspace(json!({})).await;
    let kept = end(&server.api()).await;
    server.stop().await;
    server.database().back_up();
    server.restart().await;
    for _ in 0..3 {
        server.api().make_workspace(json!({})).await;
    }
    let lost = end(&server.api()).await;
    server.stop().await;
    server.database().restore();
    say_restored(&server).await;
    server.restart().await;
    let api = server.api();
    for cursor in [&kept, &lost] {
        is_unknown(&api, cursor).await;
    }
    let newest = end(&api).await;
    let mut made: Vec<Value> = Vec::new();
    for _ in 0..5 {
        made.push(api.make_workspace(json!({})).await);
    }
    for cursor in [&kept, &lost] {
        assert_ne!(is_unknown(&api, cursor).await, newest, "the log has passed all old places");
    }
    let cursors = page_by_page(&api, &newest).await;
    assert_eq!(cursors.len(), 5, "the new log goes on");
    let whole = page_by_page(&api, "0").await;
    assert!(whole.ends_with(&cursors) && whole.len() > 5, "it has the events of the backup");
    let mut stream = open(&api, &format!("after={newest}")).await;
    assert_eq!(stream.next().await.1["state"], made[0]);

    // The same backup again: the log of the first restore is lost as well.
    let lost_again = end(&api).await;
    drop(stream);
    server.stop().await;
    server.database().restore();
    say_restored(&server).await;
    server.restart().await;
    for _ in 0..9 {
        server.api().make_workspace(json!({})).await;
    }
    for cursor in [&kept, &lost, &newest, &lost_again] {
        is_unknown(&server.api(), cursor).await;
    }
}

async fn readers_end_when_the_log_is_replaced(server: Server) {
    let api = server.api();
    api.make_workspace(json!({})).await;
    let stream = open(&api, "last=0").await;
    let path = format!("/v1/events?after={}&wait_ms=45000", end(&api).await);
    let waiting = {
        let api = api.clone();
        tokio::spawn(async move { api.get(&path).await })
    };
    eventually("both wait", async || {
        let metrics = api.without_key().get("/metrics").await.is(200).text;
        metrics.contains("ifmatch_event_followers 2").then_some(())
    })
    .await;
    let replaced_at = Instant::now();
    say_restored(&server).await;
    let mut stream = stream.into_response();
    let ended = async { while let Ok(Some(_)) = stream.chunk().await {} };
    timeout(AT_ONCE, ended).await.expect("the stream ends");
    waiting.await.expect("it is answered").problem(410, "CURSOR_UNKNOWN");
    assert!(replaced_at.elapsed() < AT_ONCE, "it took {:?}", replaced_at.elapsed());
    let made = api.make_workspace(json!({})).await;
    let (_, event) = open(&api, "last=1").await.next().await;
    assert_eq!(event["resource"]["id"], id(&made));
}

async fn a_cursor_of_pruned_events_is_unknown(server: Server) {
    let api = server.api();
    for _ in 0..4 {
        api.make_workspace(json!({})).await;
    }
    let all = page_by_page(&api, "0").await;
    let (pruned, oldest) = (&all[0], &all[1]);
    server.database().execute(&format!("UPDATE event_log SET oldest = {oldest}"));
    let problem = api.get(&format!("/v1/events?after={pruned}")).await;
    assert_eq!(problem.problem(410, "CURSOR_UNKNOWN")["oldest"], **oldest);
    is_unknown(&api, pruned).await;
    for after in ["0", oldest] {
        assert_eq!(page_by_page(&api, after).await, all[2..], "from the oldest kept event on");
    }
    let page = api.get("/v1/events?last=1000").await.ok(200);
    assert_eq!(page["items"].as_array().unwrap().len(), all.len() - 2);
}
