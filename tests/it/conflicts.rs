//! The body of a version conflict: everything a client needs to resolve it.

use crate::harness::{Server, Settings, both_databases, id, postgres_only, version};
use serde_json::{Value, json};
use std::{future::IntoFuture, sync::Arc};

both_databases![
    second_writer_gets_the_winner_in_the_conflict,
    a_conflict_is_in_the_log_with_its_request,
    changes_are_the_net_difference_with_the_latest_author,
    attempted_are_the_paths_that_differ_from_the_callers_own_base,
    disjoint_edits_are_clean_and_have_a_preview,
    what_is_already_so_is_identical,
    different_values_at_one_path_overlap,
    different_parts_of_one_group_are_a_group_overlap,
    metadata_is_compared_key_by_key_and_lines_as_a_whole,
    a_stale_put_is_a_conflict_and_not_a_validation_error,
    a_stale_delete_shows_what_would_have_been_lost,
];
postgres_only![what_another_server_wrote_is_told_as_well];

async fn second_writer_gets_the_winner_in_the_conflict(server: Server) {
    let api = server.api();
    let (winner, winner_key) = api.make_named_key("agent").await;
    let subscription = api.make_subscription(json!({"notes": "old"})).await;
    let path = format!("/v1/subscriptions/{}", id(&subscription));
    let first = winner
        .patch(&path, &json!({"notes": "winner's", "version": 1}))
        .header("X-On-Behalf-Of", "dana")
        .await
        .is(200);

    let answer = api.patch(&path, &json!({"notes": "loser's", "version": 1})).await;
    let conflict = answer.conflict(409);
    assert_eq!(conflict["type"], "/problems/version-conflict");
    assert_eq!(conflict["retry"], json!({"action": "reapply", "after_ms": 0}));
    assert!(conflict["conflict_id"].as_str().unwrap().starts_with("cfl_"));
    assert_eq!(conflict["resource"], json!({"type": "subscription", "id": id(&subscription)}));
    assert_eq!(conflict["expected_version"], 1);
    assert_eq!(conflict["current_version"], 2);
    assert_eq!(conflict["current"], first.body);
    assert_eq!(conflict["current"], api.read("subscriptions", &subscription).await);
    assert_eq!(conflict["attempted"], json!(["/notes"]));
    let changes = conflict["changes"].as_array().unwrap();
    assert_eq!(changes.len(), 1, "{conflict}");
    let change = &changes[0];
    assert_eq!(change["path"], "/notes");
    assert_eq!(change["base"], "old");
    assert_eq!(change["current"], "winner's");
    assert_eq!(change["version"], 2);
    assert_eq!(change["at"], first.body["updated_at"]);
    let by = json!({"actor": winner_key["name"], "key_id": winner_key["id"],
        "on_behalf_of": "dana", "source": "api", "forced": false});
    assert_eq!(change["by"], by);

    let header = api.patch(&path, &json!({"notes": "loser's"})).if_match(1).await.conflict(412);
    for member in ["type", "code", "resource", "current", "changes", "attempted", "merge"] {
        assert_eq!(header[member], conflict[member], "412 has the same body");
    }
    assert_ne!(header["conflict_id"], conflict["conflict_id"]);
}

async fn a_conflict_is_in_the_log_with_its_request(server: Server) {
    let debug = ("IFMATCH_LOG".to_owned(), "debug".to_owned());
    let settings = Settings { env: vec![debug], ..Settings::default() };
    let server = Server::start_with(Arc::clone(server.database()), settings).await;
    let api = server.api();
    let subscription = api.make_subscription(json!({})).await;
    let path = format!("/v1/subscriptions/{}", id(&subscription));
    api.patch(&path, &json!({"notes": "winner's", "version": 1})).await.is(200);
    let lost = api.patch(&path, &json!({"notes": "loser's", "version": 1}));
    let conflict = lost.header("X-Request-Id", "the-loser").await.conflict(409);
    let log = server.log();
    let named = |line: &&str| line.contains(conflict["conflict_id"].as_str().unwrap());
    let lines: Vec<&str> = log.lines().filter(named).collect();
    assert_eq!(lines.len(), 1, "{log}");
    let line: Value = serde_json::from_str(lines[0]).unwrap();
    assert_eq!(line["request_id"], "the-loser");
    assert!(line["resource"].as_str().unwrap().contains(id(&subscription)));
}

async fn changes_are_the_net_difference_with_the_latest_author(server: Server) {
    let api = server.api();
    let (agent, agent_key) = api.make_named_key("agent").await;
    let subscription = api.make_subscription(json!({"notes": "a"})).await;
    let path = format!("/v1/subscriptions/{}", id(&subscription));
    for (n, edit) in [
        json!({"notes": "b", "quantity": 5}),
        json!({"cancel_at_period_end": true}),
        json!({"notes": "c"}),
        json!({"cancel_at_period_end": false}),
    ]
    .iter()
    .enumerate()
    {
        let writer = if n == 2 { &agent } else { &api };
        writer.patch(&path, edit).if_match(i64::try_from(n).unwrap() + 1).await.ok(200);
    }
    let body = json!({"metadata": {"k": "v"}, "version": 1});
    let conflict = api.patch(&path, &body).await.conflict(409);
    let mut changes = conflict["changes"].as_array().unwrap().clone();
    changes.sort_by_key(|change| change["path"].to_string());
    let summary: Vec<_> =
        changes.iter().map(|c| json!([c["path"], c["base"], c["current"], c["version"]])).collect();
    // A change that was undone in between is not listed. Bookkeeping fields never are.
    assert_eq!(summary, [json!(["/notes", "a", "c", 4]), json!(["/quantity", 1, 5, 2])]);
    assert_eq!(changes[0]["by"]["actor"], agent_key["name"]);
    assert_ne!(changes[1]["by"]["actor"], agent_key["name"]);
}

async fn attempted_are_the_paths_that_differ_from_the_callers_own_base(server: Server) {
    let api = server.api();
    let subscription = api.make_subscription(json!({"notes": "a", "quantity": 3})).await;
    let path = format!("/v1/subscriptions/{}", id(&subscription));
    api.patch(&path, &json!({"quantity": 9})).if_match(1).await.ok(200);
    // A form sends every field; untouched fields have the values that it loaded.
    let form = json!({"notes": "b", "quantity": 3, "cancel_at_period_end": false, "version": 1});
    let conflict = api.patch(&path, &form).await.conflict(409);
    assert_eq!(conflict["attempted"], json!(["/notes"]));
    assert_eq!(conflict["merge"]["verdict"], "clean");
}

/// The conflict between two edits of version 1, of which `winner` was first.
async fn clash(server: &Server, winner: Value, loser: Value) -> Value {
    let api = server.api();
    let subscription = api.make_subscription(json!({"notes": "old"})).await;
    let path = format!("/v1/subscriptions/{}", id(&subscription));
    api.patch(&path, &winner).if_match(1).await.ok(200);
    api.patch(&path, &loser).if_match(1).await.conflict(412)
}

async fn disjoint_edits_are_clean_and_have_a_preview(server: Server) {
    let conflict = clash(&server, json!({"notes": "theirs"}), json!({"quantity": 7})).await;
    assert_eq!(conflict["merge"]["verdict"], "clean");
    assert_eq!(conflict["merge"]["overlap"], json!([]));
    assert_eq!(conflict["merge"]["groups_split"], json!([]));
    let preview = &conflict["merge"]["preview"];
    assert_eq!((&preview["notes"], &preview["quantity"]), (&json!("theirs"), &json!(7)));
    assert_eq!(preview["id"], conflict["current"]["id"]);
    assert_eq!(conflict["current"]["quantity"], 1);
}

async fn what_is_already_so_is_identical(server: Server) {
    let conflict = clash(&server, json!({"notes": "same"}), json!({"notes": "same"})).await;
    assert_eq!(conflict["merge"]["verdict"], "identical");
}

async fn different_values_at_one_path_overlap(server: Server) {
    let edits =
        (json!({"notes": "theirs", "quantity": 2}), json!({"notes": "mine", "quantity": 2}));
    let conflict = clash(&server, edits.0, edits.1).await;
    assert_eq!(conflict["merge"]["verdict"], "overlap");
    assert_eq!(conflict["merge"]["overlap"], json!(["/notes"]));
}

async fn different_parts_of_one_group_are_a_group_overlap(server: Server) {
    let edits = (json!({"cancel_at_period_end": true}), json!({"status": "paused"}));
    let conflict = clash(&server, edits.0, edits.1).await;
    assert_eq!(conflict["merge"]["verdict"], "group_overlap");
    let groups = conflict["merge"]["groups_split"].as_array().unwrap();
    assert_eq!(groups.len(), 1, "{conflict}");
    let group = groups[0].to_string();
    assert!(group.contains("/status") && group.contains("/cancel_at_period_end"), "{group}");

    let api = server.api();
    let plan = api.make_plan(json!({})).await;
    let path = format!("/v1/plans/{}", id(&plan));
    api.patch(&path, &json!({"amount": 5})).if_match(1).await.ok(200);
    let conflict = api.patch(&path, &json!({"currency": "EUR", "version": 1})).await.conflict(409);
    assert_eq!(conflict["merge"]["verdict"], "group_overlap");
}

async fn metadata_is_compared_key_by_key_and_lines_as_a_whole(server: Server) {
    let api = server.api();
    let workspace = api.make_workspace(json!({"metadata": {"a/b": "1", "c": "1"}})).await;
    let path = format!("/v1/workspaces/{}", id(&workspace));
    api.patch(&path, &json!({"metadata": {"a/b": "2"}})).if_match(1).await.ok(200);
    let body = json!({"metadata": {"c": null, "d": "new"}, "version": 1});
    let conflict = api.patch(&path, &body).await.conflict(409);
    assert_eq!(conflict["changes"][0]["path"], "/metadata/a~1b");
    let mut attempted: Vec<_> = conflict["attempted"].as_array().unwrap().to_vec();
    attempted.sort_by_key(Value::to_string);
    assert_eq!(attempted, ["/metadata/c", "/metadata/d"]);
    assert_eq!(conflict["merge"]["verdict"], "clean");
    assert_eq!(conflict["merge"]["preview"]["metadata"], json!({"a/b": "2", "d": "new"}));

    let invoice = api.make_invoice(json!({})).await;
    let path = format!("/v1/invoices/{}", id(&invoice));
    let line = |text: &str| json!([{"description": text, "quantity": 2, "unit_amount": 500}]);
    api.patch(&path, &json!({"lines": line("Chairs")})).if_match(1).await.ok(200);
    let body = json!({"lines": line("Tables"), "version": 1});
    let conflict = api.patch(&path, &body).await.conflict(409);
    assert_eq!(conflict["changes"][0]["path"], "/lines");
    assert_eq!(conflict["merge"]["overlap"], json!(["/lines"]));
}

async fn a_stale_put_is_a_conflict_and_not_a_validation_error(server: Server) {
    let api = server.api();
    let subscription = api.make_subscription(json!({"notes": "old"})).await;
    let path = format!("/v1/subscriptions/{}", id(&subscription));
    let mut form = subscription.clone();
    form["notes"] = json!("mine");
    api.patch(&path, &json!({"quantity": 4})).if_match(1).await.ok(200);
    // The echoed read-only fields are those of version 1, the version that the form names.
    let conflict = api.put(&path, &form).await.conflict(409);
    assert_eq!(conflict["attempted"], json!(["/notes"]));
    assert_eq!(conflict["merge"]["verdict"], "clean");
    assert_eq!(api.read("subscriptions", &subscription).await["notes"], "old");
}

async fn a_stale_delete_shows_what_would_have_been_lost(server: Server) {
    let api = server.api();
    let workspace = api.make_workspace(json!({})).await;
    let path = format!("/v1/workspaces/{}", id(&workspace));
    let now = api.patch(&path, &json!({"name": "kept"})).if_match(1).await.ok(200);
    let conflict = api.delete(&format!("{path}?version=1")).await.conflict(409);
    assert_eq!(conflict["current"], now);
    assert_eq!(conflict["changes"][0]["path"], "/name");
    assert_eq!(version(&api.read("workspaces", &workspace).await), 2);
}

async fn what_another_server_wrote_is_told_as_well(server: Server) {
    let sibling = server.sibling().await;
    let (here, there) = (server.api(), sibling.api());
    let made = here.make_subscription(json!({})).await;
    let path = format!("/v1/subscriptions/{}", id(&made));
    let paths = |conflict: &Value| {
        let changes = conflict["changes"].as_array().unwrap();
        changes.iter().map(|change| change["path"].clone()).collect::<Vec<_>>()
    };
    // None repeats another one, which would ask for what that one named.
    let stale = |named: i64, text: &str| {
        let notes = format!("{text}{named}");
        here.patch(&path, &json!({"notes": notes, "version": named})).into_future()
    };
    // Stale writes let this server remember the latest versions.
    for named in 1..6 {
        here.patch(&path, &json!({"notes": format!("{named}"), "version": named})).await.ok(200);
        assert_eq!(paths(&stale(named, "a").await.conflict(409)), ["/notes"]);
    }
    there.patch(&path, &json!({"quantity": 7, "version": 6})).await.ok(200);
    for named in [4, 5] {
        let conflict = stale(named, "b").await.conflict(409);
        assert_eq!(conflict["current_version"], 7);
        assert_eq!(paths(&conflict), ["/quantity", "/notes"]);
        let quantity = &conflict["changes"][0];
        assert_eq!((&quantity["current"], &quantity["version"]), (&json!(7), &json!(7)));
    }
}
