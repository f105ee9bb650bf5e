//! Redactions: what a person asked to be forgotten is in no row of the database.

use crate::harness::{
    Answer, Api, Database, Server, both_databases, eventually, id, run_to_end, unique, units,
    version,
};
use serde_json::{Value, json};

both_databases![
    no_row_has_a_redacted_value,
    a_redaction_is_a_version_with_a_record,
    a_repeated_answer_shows_the_redacted_value,
    a_deleted_object_is_redacted_and_stays_deleted,
    a_value_written_again_later_is_an_ordinary_one,
    a_merge_does_not_bring_a_redacted_value_back,
    only_an_admin_redacts_and_names_version_paths_and_reason,
    each_collection_has_its_own_paths,
    cursors_and_the_order_of_events_stay,
    usage_in_a_scope_loses_the_same_keys,
    a_redaction_whose_process_died_is_finished,
];

/// A part of every value that must not be left.
const CANARY: &str = "canary";

const PATHS: [&str; 3] = ["/name", "/email", "/metadata/phone"];

fn person() -> Value {
    json!({"name": "canary one", "email": "canary@b.example",
        "metadata": {"phone": "canary 555", "team": "a"}})
}

/// A new workspace of a person, and its path.
async fn make(api: &Api) -> (Value, String) {
    let workspace = api.make_workspace(person()).await;
    let path = format!("/v1/workspaces/{}", id(&workspace));
    (workspace, path)
}

async fn redact(api: &Api, path: &str, version: i64, paths: &[&str]) -> Answer {
    let body = json!({"paths": paths, "reason": "ticket 81", "version": version});
    api.post(&format!("{path}/redact"), &body).await
}

#[track_caller]
fn assert_forgotten(database: &Database) {
    let dump = database.dump();
    let left: Vec<&str> = dump.lines().filter(|row| row.contains(CANARY)).collect();
    assert_eq!(left, [""; 0]);
}

async fn assert_sound(database: &Database) {
    let env = [("IFMATCH_DATABASE_URL", database.url())];
    run_to_end(database, &["verify"], &env).await.succeeded();
}

async fn no_row_has_a_redacted_value(server: Server) {
    let api = server.api();
    let created = api.post("/v1/workspaces", &person()).key(&unique("k")).await.ok(201);
    let path = format!("/v1/workspaces/{}", id(&created));
    let other = json!({"name": "canary two"});
    api.patch(&path, &other).if_match(1).key(&unique("k")).await.ok(200);
    let same = api.patch(&path, &other).if_match(2).key(&unique("k")).await.is(200);
    assert_eq!(same.header("X-Changed"), Some("false"));
    let forced = api.patch(&format!("{path}?force=true"), &json!({"email": "canary@c.example"}));
    let forced = forced.if_match(1).header("X-Force-Reason", "dispute").key(&unique("k"));
    forced.await.ok(200);
    let merged = json!({"metadata": {"phone": "canary 777"}, "version": 2});
    api.patch(&format!("{path}?on_conflict=merge"), &merged).key(&unique("k")).await.ok(200);
    let operations = json!({"operations": [
        {"op": "patch", "type": "workspace", "id": id(&created), "version": 4,
            "body": {"name": "canary three"}},
        {"op": "create", "type": "namespace",
            "body": {"workspace_id": id(&created), "name": "eu"}},
    ]});
    api.post("/v1/transactions", &operations).key(&unique("k")).await.ok(200);
    assert!(server.database().dump().contains(CANARY), "there is something to forget");

    let call = json!({"paths": PATHS, "reason": "ticket 81"});
    let answer = api.post(&format!("{path}/redact"), &call).if_match(5).key(&unique("k")).await;
    let answer = answer.is(200);
    assert_eq!(answer.header("ETag"), Some("\"6\""));
    assert_eq!(answer.body["name"], "[redacted]");
    assert_eq!(answer.body["email"], Value::Null);
    assert_eq!(answer.body["metadata"], json!({"phone": "[redacted]", "team": "a"}));
    assert_forgotten(server.database());
    assert_eq!(api.get(&path).await.ok(200), answer.body);
    let versions: Vec<_> = api.history(&path).await.iter().map(version).collect();
    assert_eq!(versions, [1, 2, 3, 4, 5, 6]);
    for n in 1..=5 {
        let was = api.get(&format!("{path}/versions/{n}")).await.ok(200);
        assert_eq!((version(&was), &was["name"]), (n, &json!("[redacted]")));
        assert_eq!(was["metadata"]["team"], "a", "other values stay");
    }
    let records = api.audit("forced_write", id(&created)).await;
    let expected = json!([{"path": "/email", "from": null, "to": null}]);
    assert_eq!(records[0]["changes"], expected);
    assert_sound(server.database()).await;
}

async fn a_redaction_is_a_version_with_a_record(server: Server) {
    let api = server.api();
    let (admin, key) = api.make_named_key("admin").await;
    let (workspace, path) = make(&api).await;
    let body = json!({"paths": ["/name", "/metadata/never"], "reason": "ticket 81"});
    let call = admin.post(&format!("{path}/redact"), &body).if_match(1);
    let answer = call.header("X-On-Behalf-Of", "dana").await.is(200);
    let entry = api.history(&path).await.pop().unwrap();
    assert_eq!((version(&entry), &entry["kind"]), (2, &json!("updated")));
    assert_eq!(entry["reason"], "ticket 81");
    assert_eq!(entry["by"]["actor"], key["name"]);
    let mark = |path: &str| json!({"path": path, "from": "[redacted]", "to": "[redacted]"});
    assert_eq!(entry["changes"], json!([mark("/name")]));
    let records = api.audit("redaction", id(&workspace)).await;
    assert_eq!(records.len(), 1, "{records:?}");
    let record = &records[0];
    assert_eq!(record["changes"], json!([mark("/name"), mark("/metadata/never")]));
    assert_eq!((&record["reason"], &record["actor"]), (&json!("ticket 81"), &key["name"]));
    assert_eq!(record["on_behalf_of"], "dana");
    assert_eq!(record["resource"], json!({"type": "workspace", "id": id(&workspace)}));
    assert_eq!(
        (&record["expected_version"], &record["overwritten_version"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(record["request_id"].as_str(), answer.header("X-Request-Id"));
}

async fn a_repeated_answer_shows_the_redacted_value(server: Server) {
    let api = server.api();
    let (one, two, three, four) = (unique("k"), unique("k"), unique("k"), unique("k"));
    let create = || api.post("/v1/workspaces", &person()).key(&one);
    let first = create().await.is(201);
    let path = format!("/v1/workspaces/{}", id(&first.body));
    let unchanged = || api.patch(&path, &json!({"name": "canary one"})).if_match(1).key(&two);
    unchanged().await.is(200);
    let operations = json!({"operations": [{"op": "patch", "type": "workspace",
        "id": id(&first.body), "version": 1, "body": {"name": "canary two"}}]});
    let transaction = || api.post("/v1/transactions", &operations).key(&three);
    transaction().await.is(200);
    let body = json!({"paths": PATHS, "reason": "ticket 81", "version": 2});
    let redaction = || api.post(&format!("{path}/redact"), &body).key(&four);
    let redacted = redaction().await.is(200);
    for (again, status, name) in [
        (create().await, 201, "/name"),
        (unchanged().await, 200, "/name"),
        (transaction().await, 200, "/results/0/body/name"),
        (redaction().await, 200, "/name"),
    ] {
        assert_eq!(again.status, status);
        assert_eq!(again.header("Idempotency-Replayed"), Some("true"));
        assert_eq!(again.body.pointer(name), Some(&json!("[redacted]")), "{}", again.text);
        assert!(!again.text.contains(CANARY), "{}", again.text);
    }
    assert_eq!(redaction().await.body, redacted.body);
    assert_eq!(version(&api.get(&path).await.ok(200)), 3, "it was redacted once");
}

async fn a_deleted_object_is_redacted_and_stays_deleted(server: Server) {
    let api = server.api();
    let (workspace, path) = make(&api).await;
    api.delete(&path).if_match(1).key(&unique("k")).await.ok(200);
    let gone = api.get(&path).await.problem(410, "DELETED");
    let answer = redact(&api, &path, 2, &PATHS).await.is(200);
    assert_eq!(answer.header("ETag"), Some("\"3\""));
    assert_eq!((id(&answer.body), &answer.body["name"]), (id(&workspace), &json!("[redacted]")));
    assert_forgotten(server.database());
    let still = api.get(&path).await.problem(410, "DELETED");
    for name in ["deleted_at", "deleted_by", "last_version"] {
        assert_eq!(still[name], gone[name], "{name}");
    }
    let was = api.get(&format!("{path}/versions/1")).await.ok(200);
    assert_eq!(was["name"], "[redacted]");
    api.get(&format!("{path}/versions/3")).await.problem(410, "DELETED");
    let kinds: Vec<Value> =
        api.history(&path).await.iter().map(|entry| entry["kind"].clone()).collect();
    assert_eq!(kinds, ["created", "deleted", "deleted"]);
    // The answer of the deletion names the last living version, which names the object as well.
    let (other, path) = make(&api).await;
    let last = api.delete(&path).if_match(1).await.ok(200)["last_version"].as_i64().unwrap();
    redact(&api, &path, last, &PATHS).await.is(200);
    redact(&api, &path, last, &PATHS).await.conflict(409);
    redact(&api, &path, 3, &["/currency"]).await.invalid("/paths/0");
    assert!(!api.audit("redaction", id(&other)).await.is_empty());
    assert_forgotten(server.database());
    assert_sound(server.database()).await;
}

async fn a_value_written_again_later_is_an_ordinary_one(server: Server) {
    let api = server.api();
    let (_, path) = make(&api).await;
    redact(&api, &path, 1, &PATHS).await.is(200);
    api.patch(&path, &json!({"name": "Bea"})).if_match(2).await.ok(200);
    redact(&api, &path, 3, &["/metadata/team"]).await.is(200);
    let history = api.history(&path).await;
    let change = json!([{"path": "/name", "from": "[redacted]", "to": "Bea"}]);
    assert_eq!(history[2]["changes"], change);
    assert_eq!(api.get(&format!("{path}/versions/3")).await.ok(200)["name"], "Bea");
    redact(&api, &path, 4, &["/name"]).await.is(200);
    assert!(!server.database().dump().contains("Bea"), "until it is redacted, too");
}

async fn a_merge_does_not_bring_a_redacted_value_back(server: Server) {
    let api = server.api();
    let (_, path) = make(&api).await;
    redact(&api, &path, 1, &["/name"]).await.is(200);
    let form = json!({"name": "canary one", "metadata": {"team": "b"}, "version": 1});
    let conflict = api.patch(&format!("{path}?on_conflict=merge"), &form).await.conflict(409);
    assert_eq!(conflict["merge"]["verdict"], "overlap");
    assert_eq!(conflict["merge"]["overlap"], json!(["/name"]));
    let change = &conflict["changes"][0];
    assert_eq!((&change["path"], &change["base"]), (&json!("/name"), &json!("[redacted]")));
    assert_eq!((&change["current"], &change["version"]), (&json!("[redacted]"), &json!(2)));
    let rest = json!({"metadata": {"team": "b"}, "version": 1});
    let merged = api.patch(&format!("{path}?on_conflict=merge"), &rest).await.is(200);
    assert_eq!(merged.header("X-Merged-From"), Some("1"));
    assert_eq!(merged.body["name"], "[redacted]");
}

async fn only_an_admin_redacts_and_names_version_paths_and_reason(server: Server) {
    let api = server.api();
    let (workspace, path) = make(&api).await;
    let url = format!("{path}/redact");
    let body = json!({"paths": PATHS, "reason": "r"});
    for role in ["viewer", "agent", "usage"] {
        let other = api.make_key(role).await;
        other.post(&url, &body).if_match(1).await.problem(403, "FORBIDDEN");
    }
    let scoped = json!({"name": unique("s"), "role": "agent", "workspace_id": id(&workspace)});
    let scoped = api.post("/v1/api-keys", &scoped).await.ok(201);
    let scoped = api.with_key(scoped["key"].as_str().unwrap());
    scoped.post(&url, &body).if_match(1).await.problem(403, "FORBIDDEN");
    api.post(&url, &body).await.problem(428, "PRECONDITION_REQUIRED");
    api.post(&url, &body).header("If-Match", "*").await.problem(428, "PRECONDITION_REQUIRED");
    api.post(&url, &body).if_match(7).await.conflict(412);
    redact(&api, &path, 7, &PATHS).await.conflict(409);
    let both = json!({"paths": PATHS, "reason": "r", "version": 2});
    api.post(&url, &both).if_match(1).await.problem(400, "MALFORMED_PRECONDITION");
    let excluded = api.post(&url, &both).header("If-None-Match", "\"1\"").await;
    excluded.problem(412, "CONFLICT_VERSION_MISMATCH");
    let refused = redact(&api, &path, 7, &["/name", "/currency"]).await.invalid("/paths/1");
    assert!(refused["detail"].as_str().unwrap().contains("/currency"), "{refused}");
    let without = json!({"paths": PATHS, "version": 1});
    api.post(&url, &without).await.invalid("/reason");
    api.post(&format!("{url}?force=true"), &body).await.invalid("?force");
    let unknown = "/v1/workspaces/wsp_0193f0c0a1b27c3d8e4f5a6b7c8d9e0f";
    redact(&api, unknown, 1, &["/currency"]).await.problem(404, "NOT_FOUND");
    redact(&api, "/v1/plans/wsp_0193f0c0a1b27c3d8e4f5a6b7c8d9e0f", 1, &["/name"])
        .await
        .problem(400, "WRONG_ID_TYPE");
    assert_eq!(api.get(&path).await.ok(200), workspace, "nothing happened");
}

async fn each_collection_has_its_own_paths(server: Server) {
    let api = server.api();
    let all = ["/name", "/email", "/notes", "/description", "/user_id", "/label", "/metadata/k"];
    for (collection, allowed) in [
        ("plans", &["/name", "/description", "/metadata/k"][..]),
        ("workspaces", &["/name", "/email", "/metadata/k"]),
        ("namespaces", &["/name", "/metadata/k"]),
        ("subscriptions", &["/notes", "/metadata/k"]),
        ("invoices", &["/notes", "/metadata/k"]),
        ("features", &["/name"]),
        ("packages", &["/name"]),
        ("bookables", &["/name", "/metadata/k"]),
        ("bookings", &["/notes", "/user_id", "/metadata/k"]),
        ("products", &["/name"]),
        ("servers", &["/name"]),
    ] {
        let (object, edit) = crate::surface::make(&api, collection).await;
        let path = format!("/v1/{collection}/{}", id(&object));
        for one in all {
            let answer = redact(&api, &path, version(&object), &[one]).await;
            match allowed.contains(&one) {
                // It is at that version no more after the first.
                true => assert!([200, 409].contains(&answer.status), "{}", answer.text),
                false => drop(answer.invalid("/paths/0")),
            }
        }
        let now = redact(&api, &path, version(&object) + 1, allowed).await.ok(200);
        let edited = api.patch(&path, &edit).if_match(version(&now)).await;
        assert_eq!(edited.status, 200, "it can still be edited: {}", edited.text);
    }
    let booking = api.make_booking(json!({"user_id": "canary", "notes": "canary"})).await;
    let path = format!("/v1/bookings/{}", id(&booking));
    let now = redact(&api, &path, 1, &["/user_id", "/notes"]).await.ok(200);
    assert_eq!((&now["user_id"], &now["notes"]), (&Value::Null, &json!("[redacted]")));
    assert_forgotten(server.database());
}

/// The events after a cursor. There are few.
async fn events(api: &Api, after: &str) -> Vec<Value> {
    let page = api.get(&format!("/v1/events?limit=200&after={after}")).await.ok(200);
    page["items"].as_array().expect("a page has items").clone()
}

async fn cursors_and_the_order_of_events_stay(server: Server) {
    let api = server.api();
    let (workspace, path) = make(&api).await;
    api.patch(&path, &json!({"name": "canary two"})).if_match(1).await.ok(200);
    api.make_plan(json!({})).await;
    let before = events(&api, "0").await;
    redact(&api, &path, 2, &PATHS).await.is(200);
    let mut after = events(&api, "0").await;
    let redaction = after.pop().unwrap();
    assert_eq!(redaction["type"], "workspace.updated");
    assert_eq!(redaction["resource"]["id"], id(&workspace));
    assert_eq!(redaction["state"]["name"], "[redacted]");
    assert_eq!(before.len(), after.len());
    for (before, after) in before.iter().zip(&after) {
        for name in ["seq", "cursor", "type", "version", "at", "by", "kind", "request_id"] {
            assert_eq!(before[name], after[name]);
        }
        assert!(!after.to_string().contains(CANARY), "{after}");
    }
    let cursor = before.last().unwrap()["cursor"].as_str().unwrap();
    let rest = events(&api, cursor).await;
    assert_eq!(rest, [redaction]);
}

async fn usage_in_a_scope_loses_the_same_keys(server: Server) {
    let api = server.api();
    let feature = api.make_feature(json!({})).await;
    let (workspace, path) = make(&api).await;
    let scope = format!("workspaces/{}", id(&workspace));
    api.entitle(&scope, json!([units(&feature, 10)])).await;
    let usage = |phone: &str| {
        let metadata = json!({"phone": phone, "team": "a"});
        let body = json!({"feature": feature, "quantity": 1, "metadata": metadata});
        api.post(&format!("/v1/{scope}/usage"), &body).key(&unique("k"))
    };
    usage("canary 555").await.ok(201);
    redact(&api, &path, 1, &PATHS).await.is(200);
    usage("later").await.ok(201);
    assert_forgotten(server.database());
    let records = api.list(&format!("/v1/{scope}/usage")).await;
    let phones: Vec<&Value> = records.iter().map(|record| &record["metadata"]["phone"]).collect();
    assert_eq!(phones, ["later", "[redacted]"]);
    assert!(records.iter().all(|record| record["metadata"]["team"] == "a"));
    assert_eq!(api.counted(&scope, &feature).await.0, 2, "nothing else changed");
    assert_sound(server.database()).await;
}

/// As if the process had died between the commit and the first slice.
async fn a_redaction_whose_process_died_is_finished(mut server: Server) {
    let api = server.api();
    let (workspace, path) = make(&api).await;
    redact(&api, &path, 1, &["/name"]).await.is(200);
    server.stop().await;
    let id = id(&workspace);
    let marks = r#"[{"path":"/name","from":"[redacted]","to":"[redacted]"}]"#;
    server.database().execute(&format!(
        "UPDATE events SET state = replace(state, '[redacted]', 'canary one') WHERE version = 1; \
         UPDATE audits SET changes = replace(changes, '[redacted]', 'canary one'); \
         INSERT INTO redactions (id, resource_type, resource_id, version, at, marks, stage, place) \
         VALUES ('aud_1', 'workspace', '{id}', 2, 0, '{marks}', 'events', '')"
    ));
    assert!(server.database().dump().contains("canary one"));
    server.restart().await;
    eventually("the values are gone", async || {
        (!server.database().dump().contains("canary one")).then_some(())
    })
    .await;
    let history = server.api().history(&path).await;
    assert_eq!(history.len(), 2);
}
