//! The entitlement log: what a scope was granted, lost or denied.

use crate::harness::{Api, Server, both_databases, eventually, id, members, units};
use serde_json::{Value, json};

both_databases![
    everything_that_happens_to_a_scope_is_in_its_log,
    a_denial_is_logged_with_what_was_asked_for,
    a_log_line_says_who_and_when,
    a_rejected_request_is_not_logged,
    the_log_is_read_page_by_page,
];

async fn log(api: &Api, scope: &str, log_type: &str) -> Vec<Value> {
    let mut lines = api.list(&format!("/v1/{scope}/entitlement-log")).await;
    lines.retain(|line| line["type"] == log_type);
    lines
}

async fn everything_that_happens_to_a_scope_is_in_its_log(server: Server) {
    let api = server.api();
    let workspace = api.make_scope().await;
    let namespace = api.make_scope_in(&workspace).await;
    let feature = api.make_feature(json!({})).await;
    for scope in [workspace, namespace] {
        let assignment = api.entitle(&scope, json!([units(&feature, 10)])).await;
        let boost = api.boost(&scope, &feature, json!({})).await.ok(201);
        api.reassign(&scope, &assignment, json!({"status": "suspended"})).await.ok(200);
        api.reassign(&scope, &assignment, json!({"status": "active"})).await.ok(200);
        let record = api.spend(&scope, &feature, 3).await.ok(201);
        api.reverse(&scope, &record, 1).await.done();
        api.spend(&scope, &feature, 100).await.exceeded();
        let hold = api.hold(&scope, &feature, 2, 600_000).await.ok(201);
        api.settle(&scope, &hold, 1).await.done();
        let hold = api.hold(&scope, &feature, 2, 600_000).await.ok(201);
        api.release(&scope, &hold).await.done();
        for (log_type, count, about) in [
            ("package.assigned", 1, id(&assignment)),
            ("package.changed", 2, id(&assignment)),
            ("boost.granted", 1, id(&boost)),
            ("usage.reversed", 1, id(&record)),
            ("usage.denied", 1, feature.as_str()),
            ("hold.settled", 1, feature.as_str()),
            ("hold.released", 1, feature.as_str()),
        ] {
            let lines = log(&api, &scope, log_type).await;
            assert_eq!(lines.len(), count, "{log_type}: {lines:?}");
            let details = lines[0]["details"].to_string();
            assert!(details.contains(about), "{log_type} names {about}: {details}");
        }
        let short = api.hold(&scope, &feature, 1, 1).await.ok(201);
        // The hold expires on its own. Its log line is written by the next write at the latest.
        eventually("the end of the hold is logged", async || {
            api.spend(&scope, &feature, 1).await;
            let lines = log(&api, &scope, "hold.expired").await;
            (lines.len() == 1 && lines[0].to_string().contains(id(&short))).then_some(())
        })
        .await;
    }
}

async fn a_denial_is_logged_with_what_was_asked_for(server: Server) {
    let api = server.api();
    let (workspace, feature) = api.make_entitled(10).await;
    let namespace = api.make_scope_in(&workspace).await;
    for (scope, quantity) in [(&workspace, 11), (&namespace, 12)] {
        api.spend(scope, &feature, quantity).await.exceeded();
        let lines = log(&api, scope, "usage.denied").await;
        let line = lines.iter().find(|line| line["details"]["requested"] == quantity);
        let line = line.unwrap_or_else(|| panic!("no line of {quantity} in {lines:?}"));
        assert_eq!(line["details"]["feature"], json!(feature));
    }
    let before = log(&api, &workspace, "usage.denied").await.len();
    api.hold(&workspace, &feature, 13, 600_000).await.exceeded();
    let items = json!({"items": [{"feature": feature, "quantity": 14}]});
    api.post(&format!("/v1/{workspace}/usage/batch"), &items).key("batch").await.exceeded();
    let lines = log(&api, &workspace, "usage.denied").await;
    assert_eq!(lines.len(), before + 2, "holds and batches are denied alike: {lines:?}");
    let unknown = api.make_feature(json!({})).await;
    api.spend(&workspace, &unknown, 1).await.problem(403, "FEATURE_NOT_INCLUDED");
    let lines = log(&api, &workspace, "usage.denied").await;
    assert!(lines.iter().any(|line| line.to_string().contains(&unknown)), "{lines:?}");
    assert_eq!(api.recorded(&workspace, &feature).await, 0);
}

async fn a_log_line_says_who_and_when(server: Server) {
    let api = server.api();
    let (agent, key) = api.make_named_key("agent").await;
    let (scope, feature) = api.make_entitled(1).await;
    let body = json!({"feature": feature, "quantity": 2});
    let call = agent.post(&format!("/v1/{scope}/usage"), &body).key("k");
    call.header("X-Request-Id", "denied-1").header("X-On-Behalf-Of", "ann").await.exceeded();
    let lines = log(&api, &scope, "usage.denied").await;
    assert_eq!(lines.len(), 1);
    let line = &lines[0];
    assert_eq!(members(line), ["at", "by", "details", "id", "request_id", "type"]);
    assert!(id(line).starts_with("elg_"), "{line}");
    assert_eq!(line["request_id"], "denied-1");
    assert_eq!((&line["by"]["actor"], &line["by"]["on_behalf_of"]), (&key["name"], &json!("ann")));
}

async fn a_rejected_request_is_not_logged(server: Server) {
    let api = server.api();
    let (scope, feature) = api.make_entitled(10).await;
    let record = api.spend(&scope, &feature, 1).await.ok(201);
    let path = format!("/v1/{scope}/entitlement-log");
    let before = api.list(&path).await;
    api.spend(&scope, &feature, 0).await.invalid("/quantity");
    api.reverse(&scope, &record, 2).await.problem(422, "REVERSAL_EXCEEDS_RECORD");
    api.boost(&scope, &feature, json!({"amount": 0})).await.invalid("/amount");
    assert_eq!(api.list(&path).await, before);
}

async fn the_log_is_read_page_by_page(server: Server) {
    let api = server.api();
    let (scope, feature) = api.make_entitled(0).await;
    for _ in 0..5 {
        api.spend(&scope, &feature, 1).await.exceeded();
    }
    let (mut lines, mut next) = (Vec::new(), format!("/v1/{scope}/entitlement-log?limit=2"));
    loop {
        let page = api.get(&next).await.ok(200);
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= 2, "{page}");
        lines.extend(items.iter().map(|line| id(line).to_owned()));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        next = format!("/v1/{scope}/entitlement-log?limit=2&cursor={cursor}");
    }
    let count = lines.len();
    lines.sort();
    lines.dedup();
    assert_eq!((count, lines.len()), (6, 6), "each once");
}
