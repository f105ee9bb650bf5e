//! `Prefer: wait`: a stale write is refused when its turn has come, so that its retry succeeds.

use crate::harness::{
    Api, Server, both_databases, id, postgres_only, together, unique, version, with,
};
use serde_json::{Value, json};
use std::{future::IntoFuture, time::Duration};

both_databases![
    a_stale_write_is_refused_in_its_turn,
    writers_that_wait_lose_nothing,
    every_conditional_write_can_wait,
    a_write_without_the_preference_is_refused_at_once,
];
postgres_only![writers_that_wait_on_several_servers_lose_nothing];

const WAIT: (&str, &str) = ("Prefer", "wait=20");

async fn subscription(api: &Api) -> (String, Value) {
    let made = api.make_subscription(json!({})).await;
    (format!("/v1/subscriptions/{}", id(&made)), made)
}

async fn a_stale_write_is_refused_in_its_turn(server: Server) {
    let api = server.api();
    let (path, _) = subscription(&api).await;
    let mut fresh = 0;
    for round in 0..20i64 {
        let now = version(&api.get(&path).await.ok(200));
        let write = |named: i64| {
            let body = json!({"quantity": round + 2, "version": named});
            api.patch(&path, &body).header(WAIT.0, WAIT.1)
        };
        api.patch(&path, &json!({"notes": unique("a")})).if_match(now).await.ok(200);
        // The first one is told at once. The second one waits until the first has written.
        let first = write(now).await;
        assert_eq!(first.header("preference-applied"), Some("wait"));
        assert_eq!(first.conflict(409)["current_version"], now + 1);
        let (second, written) =
            futures::join!(write(now).into_future(), write(now + 1).into_future());
        written.ok(200);
        assert_eq!(second.header("preference-applied"), Some("wait"));
        assert!(second.header("etag").is_none());
        let told = second.conflict(409);
        let current = told["current_version"].as_i64().unwrap();
        assert!((now + 1..=now + 2).contains(&current), "{told}");
        assert_eq!(told["current"]["version"], current);
        assert_eq!(told["retry"], json!({"action": "reapply", "after_ms": 0}));
        fresh += u32::from(current == now + 2);
    }
    assert!(fresh > 0, "the refusal follows the write that it waited for");
    assert!(server.metric("ifmatch_turns_total{event=\"given\"}").await >= 20.0);
    assert!(server.metric("ifmatch_turns_total{event=\"used\"}").await >= 1.0);
}

/// Runs loops of increments that retry from what their refusal told.
async fn increment(apis: &[Api]) {
    const EDITS: i64 = 25;
    let (path, _) = subscription(&apis[0]).await;
    let refused = together(12, |n| {
        let (api, path) = (apis[n % apis.len()].clone(), path.clone());
        async move {
            let mut refused = 0;
            for _ in 0..EDITS {
                let mut now = api.get(&path).await.ok(200);
                loop {
                    let quantity = now["quantity"].as_i64().unwrap() + 1;
                    let write = api.patch(&path, &json!({ "quantity": quantity }));
                    let answer = write.if_match(version(&now)).header(WAIT.0, WAIT.1).await;
                    if answer.status == 200 {
                        break;
                    }
                    assert_eq!(answer.header("preference-applied"), Some("wait"));
                    now = answer.conflict(412)["current"].clone();
                    refused += 1;
                }
            }
            refused
        }
    })
    .await;
    let edits = 12 * EDITS;
    let end = apis[0].get(&path).await.ok(200);
    assert_eq!((&end["quantity"], version(&end)), (&json!(1 + edits), 1 + edits));
    let versions: Vec<_> = apis[0].history(&path).await.iter().map(version).collect();
    assert_eq!(versions, (1..=1 + edits).collect::<Vec<_>>(), "no gap in the history");
    // Without turns, twelve writers are refused more than five times for each success.
    let refused: i64 = refused.iter().sum();
    assert!(refused < 4 * edits, "{refused} refusals of {edits} edits");
}

async fn writers_that_wait_lose_nothing(server: Server) {
    increment(&[server.api()]).await;
}

async fn writers_that_wait_on_several_servers_lose_nothing(server: Server) {
    let (second, third) = (server.sibling().await, server.sibling().await);
    increment(&[server.api(), second.api(), third.api()]).await;
}

async fn every_conditional_write_can_wait(server: Server) {
    let api = server.api();
    let (path, made) = subscription(&api).await;
    api.patch(&path, &json!({"notes": "b"})).if_match(1).await.ok(200);
    let stale = json!({"op": "patch", "type": "subscription", "id": id(&made), "version": 1,
        "body": {"notes": "c"}});
    let calls = [
        (412, api.delete(&path).if_match(1)),
        (409, api.delete(&format!("{path}?version=1"))),
        (412, api.put(&path, &fields(&made)).if_match(1)),
        (409, api.post(&format!("{path}/settle"), &json!({"version": 1}))),
        (409, api.post("/v1/transactions", &json!({"operations": [stale]}))),
    ];
    for (status, call) in calls {
        let answer = call.header(WAIT.0, WAIT.1).await;
        assert_eq!(answer.header("preference-applied"), Some("wait"));
        answer.problem(status, "CONFLICT_VERSION_MISMATCH");
    }
    let merge = api.patch(&format!("{path}?on_conflict=merge"), &json!({"notes": "c"}));
    let answer = merge.if_match(1).header(WAIT.0, WAIT.1).await;
    assert_eq!(answer.header("preference-applied"), Some("wait"));
    answer.conflict(412);
    // What is refused for another reason does not wait either.
    let answer = api.patch(&path, &json!({"quantity": 0})).if_match(1).header(WAIT.0, WAIT.1).await;
    assert_eq!(answer.header("preference-applied"), None);
    answer.invalid("/quantity");
}

fn fields(made: &Value) -> Value {
    let named = ["workspace_id", "plan_id", "quantity", "start_at"];
    let fields = named.into_iter().map(|name| (name.to_owned(), made[name].clone()));
    with(Value::Object(fields.collect()), &json!({"notes": "c"}))
}

async fn a_write_without_the_preference_is_refused_at_once(server: Server) {
    let api = server.api();
    let (path, _) = subscription(&api).await;
    api.patch(&path, &json!({"notes": "b"})).if_match(1).await.ok(200);
    let stale = |wait: &'static str| {
        let write = api.patch(&path, &json!({"notes": "c"})).if_match(1);
        async move {
            let answer = write.header("Prefer", wait).await;
            let applied = answer.header("preference-applied").map(str::to_owned);
            answer.conflict(412);
            applied
        }
    };
    let many = futures::future::join_all((0..40).map(|_| stale("wait=20")));
    let plain = async {
        for wait in ["wait=0", "wait=soon", "return=minimal"] {
            let answered = tokio::time::timeout(Duration::from_secs(10), stale(wait)).await;
            assert_eq!(answered, Ok(None), "{wait}");
        }
    };
    let (applied, ()) = futures::join!(many, plain);
    assert!(applied.iter().all(|applied| applied.as_deref() == Some("wait")));
}
