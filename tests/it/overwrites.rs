//! A refused write that is repeated at the current version passes, and is reported.

use crate::harness::{Api, Server, both_databases, id, version};
use serde_json::{Value, json};

both_databases![
    the_same_body_at_the_current_version_says_what_it_replaced,
    who_is_refused_twice_still_says_what_it_replaced,
    another_body_or_another_caller_replaces_nothing_unseen,
    paths_that_nobody_else_changed_are_not_listed,
    paths_are_escaped_and_never_too_many_for_a_header,
    a_metric_counts_what_was_overwritten,
];

/// A subscription at version 2 with notes by another writer, after `loser`'s edit was refused.
async fn refused(server: &Server, loser: &Api, edit: &Value) -> String {
    let api = server.api();
    let subscription = api.make_subscription(json!({"notes": "old"})).await;
    let path = format!("/v1/subscriptions/{}", id(&subscription));
    api.patch(&path, &json!({"notes": "theirs"})).if_match(1).await.ok(200);
    loser.patch(&path, edit).if_match(1).await.conflict(412);
    path
}

async fn the_same_body_at_the_current_version_says_what_it_replaced(server: Server) {
    let agent = server.api().make_key("agent").await;
    let path = refused(&server, &agent, &json!({"notes": "mine"})).await;
    let again = agent.patch(&path, &json!({"notes": "mine", "version": 2})).await.is(200);
    assert_eq!(again.header("X-Overwrote"), Some("/notes"));
    assert_eq!((version(&again.body), &again.body["notes"]), (3, &json!("mine")));
    let history = server.api().history(&path).await;
    assert_eq!(history[2]["overwrote"], json!(["/notes"]));
    assert!(history[1]["overwrote"].is_null());

    let later = agent.patch(&path, &json!({"notes": "later", "version": 3})).await.is(200);
    assert_eq!(later.header("X-Overwrote"), None);
}

async fn who_is_refused_twice_still_says_what_it_replaced(server: Server) {
    let agent = server.api().make_key("agent").await;
    let path = refused(&server, &agent, &json!({"notes": "mine"})).await;
    server.api().patch(&path, &json!({"quantity": 9})).if_match(2).await.ok(200);
    agent.patch(&path, &json!({"notes": "mine", "version": 2})).await.conflict(409);
    let again = agent.patch(&path, &json!({"notes": "mine", "version": 3})).await.is(200);
    assert_eq!(again.header("X-Overwrote"), Some("/notes"));
}

async fn another_body_or_another_caller_replaces_nothing_unseen(server: Server) {
    let agent = server.api().make_key("agent").await;
    let path = refused(&server, &agent, &json!({"notes": "mine"})).await;
    let other = agent.patch(&path, &json!({"notes": "theirs and mine", "version": 2})).await;
    assert_eq!(other.is(200).header("X-Overwrote"), None);

    let path = refused(&server, &agent, &json!({"notes": "mine"})).await;
    let admin = server.api().patch(&path, &json!({"notes": "mine", "version": 2})).await;
    assert_eq!(admin.is(200).header("X-Overwrote"), None);

    let path = refused(&server, &agent, &json!({"notes": "mine"})).await;
    let behalf = agent.patch(&path, &json!({"notes": "mine", "version": 2}));
    let behalf = behalf.header("X-On-Behalf-Of", "somebody else").await;
    assert_eq!(behalf.is(200).header("X-Overwrote"), None);
}

async fn paths_that_nobody_else_changed_are_not_listed(server: Server) {
    let agent = server.api().make_key("agent").await;
    let path = refused(&server, &agent, &json!({"quantity": 9})).await;
    let again = agent.patch(&path, &json!({"quantity": 9, "version": 2})).await.is(200);
    assert_eq!(again.header("X-Overwrote"), None);

    let edit = json!({"quantity": 9, "notes": "mine"});
    let path = refused(&server, &agent, &edit).await;
    let again = agent.patch(&path, &edit).if_match(2).await.is(200);
    assert_eq!(again.header("X-Overwrote"), Some("/notes"));
}

async fn paths_are_escaped_and_never_too_many_for_a_header(server: Server) {
    let agent = server.api().make_key("agent").await;
    let api = server.api();
    let keys: Vec<String> = (0..50).map(|n| format!("a,b%é-{n:0>30}")).collect();
    let all = |value: &str| keys.iter().map(|key| (key.clone(), json!(value))).collect::<Value>();
    let subscription = api.make_subscription(json!({})).await;
    let path = format!("/v1/subscriptions/{}", id(&subscription));
    api.patch(&path, &json!({"metadata": all("theirs")})).if_match(1).await.ok(200);
    let edit = json!({"metadata": all("mine")});
    agent.patch(&path, &edit).if_match(1).await.conflict(412);
    let again = agent.patch(&path, &edit).if_match(2).await.is(200);
    let header = again.header("X-Overwrote").unwrap();
    let first = format!("/metadata/a%2Cb%25%C3%A9-{:0>30}", 0);
    assert_eq!(header.split(", ").next(), Some(first.as_str()));
    assert!(header.len() < 2_100, "{}", header.len());
    let history = api.history(&path).await;
    assert_eq!(history[2]["overwrote"].as_array().unwrap().len(), 50, "the history has all");
}

async fn a_metric_counts_what_was_overwritten(server: Server) {
    let agent = server.api().make_key("agent").await;
    let path = refused(&server, &agent, &json!({"notes": "mine"})).await;
    agent.patch(&path, &json!({"notes": "mine", "version": 2})).await.ok(200);
    let metrics = server.api().without_key().get("/metrics").await.is(200).text;
    let counted = metrics.lines().any(|line| {
        !line.starts_with('#') && line.contains("subscription") && line.contains("/notes")
    });
    assert!(counted, "nothing counts the type and the path: {metrics}");
}
