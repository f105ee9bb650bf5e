//! The stream of all changes: in commit order, and no event is skipped.

use crate::harness::{
    Api, EventStream, Server, both_databases, id, postgres_only, together, version,
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};
use tokio::time::timeout;

both_databases![
    every_change_is_an_event_with_the_state_after_it,
    events_can_be_filtered_by_type,
    a_reader_skips_nothing_while_writers_race,
    a_waiting_reader_is_answered_when_something_happens,
    a_waiting_reader_is_answered_with_nothing_when_its_time_is_up,
    the_stream_continues_after_the_last_event_seen,
    a_reader_may_begin_near_the_end,
    a_refused_write_is_no_event,
];
postgres_only![a_reader_skips_nothing_while_several_servers_write];

fn seq(event: &Value) -> i64 {
    event["seq"].as_i64().unwrap_or_else(|| panic!("an event has a sequence number: {event}"))
}

/// The id of the object that an event is about.
fn of(event: &Value) -> &str {
    event["resource"]["id"].as_str().unwrap_or_else(|| panic!("an event has an object: {event}"))
}

/// All events after `after`, page by page.
async fn events(api: &Api, mut after: i64) -> Vec<Value> {
    let mut events = Vec::new();
    loop {
        let page = api.get(&format!("/v1/events?after={after}")).await.ok(200);
        let items = page["items"].as_array().expect("a list has items");
        let Some(last) = items.last() else { return events };
        after = seq(last);
        events.extend(items.iter().cloned());
    }
}

async fn every_change_is_an_event_with_the_state_after_it(server: Server) {
    let api = server.api();
    let workspace = api.make_workspace(json!({})).await;
    let path = format!("/v1/workspaces/{}", id(&workspace));
    let changed = api.patch(&path, &json!({"name": "x"})).if_match(1).await.ok(200);
    api.delete(&path).if_match(2).await.ok(200);
    let events = events(&api, 0).await;
    let mine: Vec<_> = events.iter().filter(|e| e["resource"]["id"] == workspace["id"]).collect();
    assert_eq!(mine.len(), 3, "{events:?}");
    let types: Vec<_> = mine.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["workspace.created", "workspace.updated", "workspace.deleted"]);
    assert_eq!(mine[0]["state"], workspace);
    assert_eq!(mine[1]["state"], changed);
    assert_eq!(mine[1]["resource"], json!({"type": "workspace", "id": id(&workspace)}));
    assert_eq!(mine[1]["kind"], "updated");
    assert_eq!(mine[1]["changes"], json!([{"path": "/name", "from": "Acme", "to": "x"}]));
    assert!(events.windows(2).all(|pair| seq(&pair[0]) < seq(&pair[1])));
}

async fn a_reader_may_begin_near_the_end(server: Server) {
    let api = server.api();
    for _ in 0..3 {
        api.make_workspace(json!({})).await;
    }
    let all = events(&api, 0).await;
    let newest = all.last().expect("there are some").clone();
    let page = api.get("/v1/events?last=1").await.ok(200);
    assert_eq!(page["items"], json!([newest]));
    assert_eq!(events_of(&api, "last=1000").await, all, "all events and no more");
    let after = seq(&newest);
    let both = events_of(&api, &format!("last=1000&after={}", after - 1)).await;
    assert_eq!(json!(both), json!([newest]), "the later start applies");
    let stream = api.get("/v1/events/stream?last=1").open().await;
    assert_eq!(EventStream::new(stream).next().await, (after, newest));
    let resumed = api.get("/v1/events/stream?last=0").header("Last-Event-ID", seq(&all[0]));
    let first = EventStream::new(resumed.open().await).next().await;
    assert_eq!(first, (seq(&all[1]), all[1].clone()), "Last-Event-ID takes precedence");
    api.get("/v1/events?last=-1").await.invalid("?last");
}

async fn events_of(api: &Api, query: &str) -> Vec<Value> {
    let page = api.get(&format!("/v1/events?{query}")).await.ok(200);
    page["items"].as_array().expect("a list has items").clone()
}

async fn events_can_be_filtered_by_type(server: Server) {
    let api = server.api();
    let plan = api.make_active_plan(json!({})).await;
    api.make_workspace(json!({})).await;
    let page = api.get("/v1/events?after=0&type=plan.updated").await.ok(200);
    let items = page["items"].as_array().unwrap();
    assert_eq!(items.len(), 1, "{page}");
    assert_eq!((&items[0]["type"], &items[0]["state"]), (&json!("plan.updated"), &plan));
}

/// Races writers on `servers`, follows the stream on the first one, and compares.
async fn follow_while_writing(servers: &[&Server]) {
    let reader = servers[0].api();
    let mut objects = Vec::new();
    for _ in 0..4 {
        objects.push(reader.make_workspace(json!({})).await);
    }
    let last = Arc::new(OnceLock::<String>::new());
    let following = {
        let (api, last) = (reader.clone(), last.clone());
        tokio::spawn(async move {
            let mut seen: Vec<Value> = Vec::new();
            while seen.last().is_none_or(|event| last.get().is_none_or(|last| of(event) != last)) {
                let after = seen.last().map_or(0, seq);
                let page = api.get(&format!("/v1/events?after={after}&wait_ms=50")).await.ok(200);
                seen.extend(page["items"].as_array().unwrap().clone());
            }
            seen
        })
    };
    let apis: Vec<_> = servers.iter().map(|server| server.api()).collect();
    together(8, |n| {
        let (api, object) = (apis[n % apis.len()].clone(), objects[n % 4].clone());
        async move {
            for k in 0..40 {
                let now = api.read("workspaces", &object).await;
                let body = json!({"name": format!("{n}.{k}"), "version": version(&now)});
                api.patch(&format!("/v1/workspaces/{}", id(&object)), &body).await;
            }
        }
    })
    .await;
    let made = reader.make_workspace(json!({})).await;
    last.set(id(&made).to_owned()).unwrap();
    let seen = timeout(Duration::from_secs(30), following).await.expect("the last event comes");
    let seen = seen.unwrap();
    assert!(seen.windows(2).all(|pair| seq(&pair[0]) < seq(&pair[1])), "commit order");

    let mut versions: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for event in &seen {
        versions.entry(of(event).to_owned()).or_default().push(version(event));
    }
    for object in &objects {
        let current = version(&reader.read("workspaces", object).await);
        assert!(current > 1, "the writers changed something");
        let expected: Vec<_> = (1..=current).collect();
        assert_eq!(versions[id(object)], expected, "each version once, in order");
    }
}

async fn a_reader_skips_nothing_while_writers_race(server: Server) {
    follow_while_writing(&[&server]).await;
}

async fn a_reader_skips_nothing_while_several_servers_write(server: Server) {
    let (second, third) = (server.sibling().await, server.sibling().await);
    follow_while_writing(&[&server, &second, &third]).await;
}

async fn a_waiting_reader_is_answered_when_something_happens(server: Server) {
    let api = server.api();
    api.make_workspace(json!({})).await;
    let after = seq(events(&api, 0).await.last().unwrap());
    let begun = Instant::now();
    let waiting = {
        let api = api.clone();
        tokio::spawn(async move {
            api.get(&format!("/v1/events?after={after}&wait_ms=30000")).await.ok(200)
        })
    };
    let workspace = api.make_workspace(json!({})).await;
    let page = waiting.await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(25), "it did not wait for the end");
    assert_eq!(page["items"][0]["resource"]["id"], workspace["id"]);
}

async fn a_waiting_reader_is_answered_with_nothing_when_its_time_is_up(server: Server) {
    let api = server.api();
    api.make_workspace(json!({})).await;
    let after = seq(events(&api, 0).await.last().unwrap());
    let begun = Instant::now();
    let page = api.get(&format!("/v1/events?after={after}&wait_ms=300")).await.ok(200);
    assert_eq!(page["items"], json!([]));
    assert!(begun.elapsed() >= Duration::from_millis(300), "it waited: {:?}", begun.elapsed());
}

async fn the_stream_continues_after_the_last_event_seen(server: Server) {
    let api = server.api();
    let mut objects = Vec::new();
    for _ in 0..3 {
        objects.push(api.make_workspace(json!({})).await);
    }
    let open = |after: i64| api.get("/v1/events/stream").header("Last-Event-ID", after).open();
    let mut stream = EventStream::new(open(0).await);
    let mut seen = Vec::new();
    while seen.len() < 2 {
        let (place, event) = stream.next().await;
        assert_eq!(place, seq(&event));
        if event["type"] == "workspace.created" {
            assert_eq!(event["state"], objects[seen.len()]);
            seen.push(place);
        }
    }
    drop(stream);

    let mut stream = EventStream::new(open(seen[1]).await);
    let (_, event) = stream.next().await;
    assert_eq!(event["state"], objects[2], "nothing twice, nothing left out");
    let later = api.make_workspace(json!({})).await;
    let (_, event) = stream.next().await;
    assert_eq!(event["state"], later, "new events arrive while it is open");
}

async fn a_refused_write_is_no_event(server: Server) {
    let api = server.api();
    let workspace = api.make_workspace(json!({})).await;
    let path = format!("/v1/workspaces/{}", id(&workspace));
    let before = events(&api, 0).await.len();
    api.patch(&path, &json!({"name": "x", "version": 7})).await.conflict(409);
    api.patch(&path, &json!({"name": ""})).if_match(1).await.invalid("/name");
    api.patch(&path, &json!({"name": "Acme"})).if_match(1).await.ok(200);
    assert_eq!(events(&api, 0).await.len(), before);
}
