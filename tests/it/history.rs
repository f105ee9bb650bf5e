//! History, old versions and the audit log.

use crate::harness::{
    Database, Server, Settings, both_databases, eventually, id, run_to_end, unique, version,
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::sync::Arc;

both_databases![
    every_change_is_in_the_history_with_its_author,
    the_history_of_a_deleted_object_stays_readable,
    every_version_can_be_read_as_it_was,
    a_long_history_is_read_page_by_page,
    undoing_a_change_is_a_change,
    the_audit_log_can_be_filtered,
    a_write_is_known_by_the_digest_of_its_key,
    old_versions_are_pruned_if_the_operator_wants_that,
];

async fn every_change_is_in_the_history_with_its_author(server: Server) {
    let api = server.api();
    let (agent, key) = api.make_named_key("agent").await;
    let subscription = api.make_subscription(json!({"notes": "old"})).await;
    let path = format!("/v1/subscriptions/{}", id(&subscription));
    let edit = json!({"notes": "new", "metadata": {"team": "a"}, "version": 1});
    let answer = agent.patch(&path, &edit).header("X-On-Behalf-Of", "dana").await.is(200);

    let history = api.history(&path).await;
    assert_eq!(history.len(), 2, "{history:?}");
    let [created, updated] = &history[..] else { unreachable!() };
    assert_eq!((version(created), &created["kind"]), (1, &json!("created")));
    assert_eq!((version(updated), &updated["kind"]), (2, &json!("updated")));
    assert_eq!(created["at"], subscription["created_at"]);
    assert_eq!(updated["at"], answer.body["updated_at"]);
    let by = json!({"actor": key["name"], "key_id": key["id"], "on_behalf_of": "dana",
        "source": "api", "forced": false});
    assert_eq!(updated["by"], by);
    assert_eq!(updated["request_id"].as_str(), answer.header("X-Request-Id"));
    let mut changes = updated["changes"].as_array().unwrap().clone();
    changes.sort_by_key(|change| change["path"].to_string());
    let expected = [
        json!({"path": "/metadata/team", "from": null, "to": "a"}),
        json!({"path": "/notes", "from": "old", "to": "new"}),
    ];
    assert_eq!(changes, expected);
    assert_eq!(answer.body["updated_by"], key["name"]);
}

async fn the_history_of_a_deleted_object_stays_readable(server: Server) {
    let api = server.api();
    let workspace = api.make_workspace(json!({})).await;
    let path = format!("/v1/workspaces/{}", id(&workspace));
    api.patch(&path, &json!({"name": "x"})).if_match(1).await.ok(200);
    let tombstone = api.delete(&path).if_match(2).await.ok(200);
    let history = api.history(&path).await;
    assert_eq!(history.iter().map(version).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(history[2]["kind"], "deleted");
    assert_eq!(history[2]["at"], tombstone["deleted_at"]);
}

async fn every_version_can_be_read_as_it_was(server: Server) {
    let api = server.api();
    let workspace = api.make_workspace(json!({"metadata": {"a": "1"}})).await;
    let path = format!("/v1/workspaces/{}", id(&workspace));
    let second = api.patch(&path, &json!({"name": "two"})).if_match(1).await.ok(200);
    let third = api.patch(&path, &json!({"metadata": {"a": null}})).if_match(2).await.ok(200);
    for (n, was) in [(1, workspace), (2, second), (3, third)] {
        assert_eq!(api.get(&format!("{path}/versions/{n}")).await.ok(200), was);
    }
    for never in ["0", "4", "9999999", "+1", "01", "-1", "%201", "1.0", "9223372036854775808"] {
        api.get(&format!("{path}/versions/{never}")).await.problem(404, "NOT_FOUND");
    }
}

async fn a_long_history_is_read_page_by_page(server: Server) {
    let api = server.api();
    let workspace = api.make_workspace(json!({})).await;
    let path = format!("/v1/workspaces/{}", id(&workspace));
    for n in 1..12 {
        api.patch(&path, &json!({"name": format!("name {n}")})).if_match(n).await.ok(200);
    }
    let mut seen = Vec::new();
    let mut next = format!("{path}/history?limit=5");
    loop {
        let page = api.get(&next).await.ok(200);
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= 5, "{page}");
        seen.extend(items.iter().map(version));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        next = format!("{path}/history?limit=5&cursor={cursor}");
    }
    assert_eq!(seen, (1..=12).collect::<Vec<_>>());

    let newest = api.get(&format!("{path}/history?sort=-version&limit=5")).await.ok(200);
    let cursor = newest["next_cursor"].as_str().expect("there is more");
    let older = format!("{path}/history?sort=-version&limit=5&cursor={cursor}");
    let older = api.get(&older).await.ok(200);
    let versions =
        |page: &Value| page["items"].as_array().unwrap().iter().map(version).collect::<Vec<_>>();
    assert_eq!(versions(&newest), [12, 11, 10, 9, 8]);
    assert_eq!(versions(&older), [7, 6, 5, 4, 3]);
    api.get(&format!("{path}/history?sort=at")).await.invalid("?sort");
}

async fn undoing_a_change_is_a_change(server: Server) {
    let api = server.api();
    let workspace = api.make_workspace(json!({})).await;
    let path = format!("/v1/workspaces/{}", id(&workspace));
    api.patch(&path, &json!({"name": "x"})).if_match(1).await.ok(200);
    let back = api.patch(&path, &json!({"name": "Acme"})).if_match(2).await.ok(200);
    assert_eq!(version(&back), 3);
    let changes = &api.history(&path).await[2]["changes"];
    assert_eq!(changes, &json!([{"path": "/name", "from": "x", "to": "Acme"}]));
}

async fn the_audit_log_can_be_filtered(server: Server) {
    let api = server.api();
    let (first, first_key) = api.make_named_key("admin").await;
    let (second, second_key) = api.make_named_key("admin").await;
    let workspace = api.make_workspace(json!({})).await;
    let path = format!("/v1/workspaces/{}?force=true", id(&workspace));
    for (n, admin) in [(1, &first), (2, &second), (3, &second)] {
        let body = json!({"name": format!("name {n}")});
        admin.patch(&path, &body).header("X-Force-Reason", "test").await.ok(200);
    }
    let name = |key: &Value| key["name"].as_str().unwrap().to_owned();
    let by_first = format!("/v1/audit?type=forced_write&actor={}", name(&first_key));
    let by_second = format!("/v1/audit?type=forced_write&actor={}", name(&second_key));
    assert_eq!(api.list(&by_first).await.len(), 1);
    let records = api.list(&by_second).await;
    assert_eq!(records.len(), 2);
    let mut times: Vec<_> = records.iter().map(|r| r["at"].as_str().unwrap()).collect();
    times.sort_unstable();
    let since = api.list(&format!("/v1/audit?type=forced_write&since={}", times[0])).await;
    assert!(since.iter().any(|record| record["at"] == times[1]), "{since:?}");
    assert!(since.iter().all(|record| record["actor"] == second_key["name"]), "{since:?}");
    let keys = api.list("/v1/audit").await;
    let about_key = |record: &&Value| record.to_string().contains(id(&first_key));
    assert!(keys.iter().any(|record| about_key(&record)), "key changes are on record: {keys:?}");
}

async fn a_write_is_known_by_the_digest_of_its_key(server: Server) {
    let api = server.api();
    let digest = |key: &str| -> String {
        Sha256::digest(key.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
    };
    let keys = [unique("create"), unique("edit"), unique("delete")];
    let made = api.post("/v1/workspaces", &json!({"name": "Acme"})).key(&keys[0]).await.ok(201);
    let path = format!("/v1/workspaces/{}", id(&made));
    // A key in quotes is the same key.
    let quoted = format!("\"{}\"", keys[1]);
    api.patch(&path, &json!({"name": "B"})).if_match(1).key(&quoted).await.ok(200);
    api.patch(&path, &json!({"name": "C"})).if_match(2).await.ok(200);
    api.delete(&path).if_match(3).key(&keys[2]).await.ok(200);
    let history = api.history(&path).await;
    let found: Vec<&Value> = history.iter().map(|entry| &entry["key_digest"]).collect();
    let [made_by, edited_by, deleted_by] = keys.map(|key| json!(digest(&key)));
    assert_eq!(found, [&made_by, &edited_by, &json!(null), &deleted_by]);
    assert!(history[2].get("key_digest").is_none(), "there was no key: {}", history[2]);
    let events = api.get("/v1/events?type=workspace&limit=200").await.ok(200);
    let own: Vec<&Value> = events["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|event| event["resource"]["id"] == id(&made))
        .map(|event| &event["key_digest"])
        .collect();
    assert_eq!(own, found);

    // Every object of a transaction is its sender's.
    let key = unique("transaction");
    let create = json!({"op": "create", "type": "workspace", "body": {"name": "Both"}});
    let operations = json!({"operations": [create, create]});
    let done = api.post("/v1/transactions", &operations).key(&key).await.ok(200);
    for result in done["results"].as_array().unwrap() {
        let path = format!("/v1/workspaces/{}", id(result));
        assert_eq!(api.history(&path).await[0]["key_digest"], digest(&key));
    }
}

/// Makes everything that is stored so many days older.
fn age(database: &Database, days: i64) {
    database.execute(&format!("UPDATE events SET at = at - {days} * 86400000000"));
}

async fn old_versions_are_pruned_if_the_operator_wants_that(server: Server) {
    let database = Arc::new(Database::create(server.database().backend()));
    let settings = |days: &str| Settings::args(&["--history-days", days]);
    let mut server = Server::start_with(database.clone(), settings("0")).await;
    let api = server.api();
    let made = api.make_workspace(json!({"metadata": {"long": "é".repeat(500)}})).await;
    let path = format!("/v1/workspaces/{}", id(&made));
    let mut states = vec![made];
    for at in 1..=5 {
        if at == 4 {
            age(&database, 40);
        }
        let body = json!({"name": format!("name {at}"), "email": format!("a{at}@b.example")});
        states.push(api.patch(&path, &body).if_match(at).await.ok(200));
    }
    server.stop().await;
    // Versions 1 to 4 are 40 days old. Version 4 was the current one until now.
    let server = Server::start_with(database, settings("30")).await;
    let api = server.api();
    eventually("the first versions are pruned", async || {
        (api.history(&path).await.len() == 3).then_some(())
    })
    .await;
    for n in 1..=6 {
        let answer = api.get(&format!("{path}/versions/{n}")).await;
        match n {
            1..=3 => drop(answer.problem(410, "VERSION_PRUNED")),
            // The instants in the events were moved, and an old version shows them.
            4 => assert_eq!(answer.ok(200)["name"], states[3]["name"]),
            _ => assert_eq!(answer.ok(200), states[n - 1]),
        }
    }
    let body = json!({"metadata": {"k": "v"}});
    let pruned = api.patch(&path, &body).if_match(2).await.conflict(412);
    assert_eq!(pruned["merge"]["verdict"], "unknown_base");
    let known = api.patch(&path, &body).if_match(4).await.conflict(412);
    assert_eq!(known["merge"]["verdict"], "clean");
    assert_eq!(known["changes"].as_array().unwrap().len(), 2);
    let env = [("IFMATCH_DATABASE_URL", server.database().url())];
    run_to_end(server.database(), &["verify"], &env).await.succeeded();
}
