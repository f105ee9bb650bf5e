//! API keys: who is admitted, with which role and until when, and that the key stays secret.

use crate::harness::{
    ADMIN_KEY, Server, Settings, both_databases, eventually, find_key, id, postgres_only,
    sqlite_only, unique,
};
use jiff::{Timestamp, ToSpan};
use serde_json::json;
use std::time::Duration;

both_databases![
    a_key_is_shown_once,
    a_key_does_what_its_role_says_under_its_own_name,
    a_revoked_key_stops_at_once,
    who_waits_for_events_is_told_nothing_once_the_key_is_revoked,
    an_expired_key_stops,
    every_reason_for_a_401_gets_the_same_answer,
    wrong_keys_to_make_are_refused,
    keys_survive_a_restart,
    no_key_is_ever_logged_stored_or_told,
    on_behalf_of_is_recorded_and_bounded,
    a_name_belongs_to_one_living_key,
    every_record_names_the_id_of_the_key,
    servers_that_start_together_make_one_first_key,
    a_rotated_key_hands_over_to_one_of_its_kind,
    a_key_that_acts_for_a_user_speaks_for_no_other,
    the_last_use_of_a_key_is_known_to_the_hour,
    refused_callers_are_logged_with_their_address_a_few_a_minute,
];
sqlite_only![only_its_owner_may_read_the_database];
postgres_only![a_key_made_or_revoked_here_is_known_elsewhere];

async fn a_key_is_shown_once(server: Server) {
    let api = server.api();
    let body = json!({"name": "deploy", "role": "agent"});
    let made = api.post("/v1/api-keys", &body).await.ok(201);
    let key = made["key"].as_str().unwrap();
    assert!(key.starts_with("ifm_"), "a key can be told from other secrets");
    assert!(key.len() >= 30, "it has at least 128 bits");
    assert!(id(&made).starts_with("key_"));
    assert_eq!((&made["name"], &made["role"]), (&json!("deploy"), &json!("agent")));
    let list = api.get("/v1/api-keys").await.is(200);
    assert!(!list.text.contains(key), "it is never shown again");
    let listed = list.body["items"].as_array().unwrap();
    let listed = listed.iter().find(|item| item["id"] == made["id"]).unwrap();
    assert_eq!((&listed["name"], &listed["role"]), (&json!("deploy"), &json!("agent")));
    assert!(listed["key"].is_null());
}

async fn a_key_does_what_its_role_says_under_its_own_name(server: Server) {
    let api = server.api();
    let (agent, key) = api.make_named_key("agent").await;
    let viewer = api.make_key("viewer").await;
    let workspace = agent.make_workspace(json!({})).await;
    assert_eq!(workspace["updated_by"], key["name"]);
    let path = format!("/v1/workspaces/{}", id(&workspace));
    assert_eq!(viewer.get(&path).await.ok(200), workspace);
    let edit = viewer.patch(&path, &json!({"name": "x"})).if_match(1).await;
    edit.problem(403, "FORBIDDEN");
    agent.get("/v1/api-keys").await.problem(403, "FORBIDDEN");
    agent.get("/v1/audit").await.problem(403, "FORBIDDEN");
    assert_eq!(api.read("workspaces", &workspace).await, workspace);
}

async fn a_revoked_key_stops_at_once(server: Server) {
    let api = server.api();
    let (agent, key) = api.make_named_key("agent").await;
    agent.get("/v1/plans").await.ok(200);
    let answer = api.delete(&format!("/v1/api-keys/{}", id(&key))).await;
    assert!((200..300).contains(&answer.status), "{}", answer.text);
    agent.get("/v1/plans").await.problem(401, "UNAUTHENTICATED");
    agent.post("/v1/workspaces", &json!({"name": "x"})).await.problem(401, "UNAUTHENTICATED");
    let missing = format!("/v1/api-keys/key_{}", "0".repeat(32));
    api.delete(&missing).await.problem(404, "NOT_FOUND");
}

async fn who_waits_for_events_is_told_nothing_once_the_key_is_revoked(server: Server) {
    let api = server.api();
    let (viewer, key) = api.make_named_key("viewer").await;
    let last = api.get("/v1/events?last=1").await.ok(200)["next_cursor"].clone();
    let path = format!("/v1/events?after={}&wait_ms=20000", last.as_str().unwrap());
    let waiting = tokio::spawn(async move { viewer.get(&path).await });
    // Time for the request to be admitted. If it is not, the revoked key gets the same 401.
    tokio::time::sleep(Duration::from_millis(300)).await;
    api.delete(&format!("/v1/api-keys/{}", id(&key))).await.ok(200);
    api.make_workspace(json!({})).await;
    waiting.await.unwrap().problem(401, "UNAUTHENTICATED");
}

async fn an_expired_key_stops(server: Server) {
    let api = server.api();
    let expires_at = (Timestamp::now() + 2.seconds()).to_string();
    let body = json!({"name": "short", "role": "viewer", "expires_at": expires_at});
    let made = api.post("/v1/api-keys", &body).await.ok(201);
    let short = api.with_key(made["key"].as_str().unwrap());
    let first = short.get("/v1/plans").await;
    let end: Timestamp = expires_at.parse().unwrap();
    assert!(first.status == 200 || Timestamp::now() > end, "{}", first.text);
    eventually("the key is refused", async || {
        let answer = short.get("/v1/plans").await;
        (answer.status == 401).then(|| answer.problem(401, "UNAUTHENTICATED"))
    })
    .await;
    assert!(Timestamp::now() >= end, "it worked until then");
}

async fn every_reason_for_a_401_gets_the_same_answer(server: Server) {
    let api = server.api();
    let (revoked, key) = api.make_named_key("agent").await;
    api.delete(&format!("/v1/api-keys/{}", id(&key))).await;
    let good = api.make_key("viewer").await.key().to_owned();
    let (shorter, longer) = (&good[..good.len() - 1], format!("{good}x"));
    let anonymous = api.without_key();
    let get =
        |authorization: &str| anonymous.get("/v1/plans").header("Authorization", authorization);
    let answers = [
        anonymous.get("/v1/plans").await,
        revoked.get("/v1/plans").await,
        get("Bearer nonsense").await,
        get("Bearer ").await,
        get(&format!("Bearer {shorter}")).await,
        get(&format!("Bearer {longer}")).await,
        get("Basic dXNlcjpwYXNz").await,
        get(&good).await,
    ];
    let mut bodies = Vec::new();
    for answer in answers {
        let mut body = answer.problem(401, "UNAUTHENTICATED");
        body["request_id"].take();
        bodies.push(body);
    }
    for body in &bodies {
        assert_eq!(body, &bodies[0], "the reason is not disclosed");
    }
    api.with_key(&good).get("/v1/plans").await.ok(200);
}

async fn wrong_keys_to_make_are_refused(server: Server) {
    let api = server.api();
    for (body, field) in [
        (json!({"name": "x", "role": "owner"}), "/role"),
        (json!({"name": "", "role": "agent"}), "/name"),
        (json!({"name": "two\nlines", "role": "agent"}), "/name"),
        (json!({"role": "agent"}), "/name"),
        (json!({"name": "x"}), "/role"),
        (json!({"name": "x", "role": "agent", "key": "mine"}), "/key"),
        (
            json!({"name": "x", "role": "agent", "expires_at": "2020-01-01T00:00:00Z"}),
            "/expires_at",
        ),
    ] {
        api.post("/v1/api-keys", &body).await.invalid(field);
    }
}

async fn keys_survive_a_restart(mut server: Server) {
    let (agent, _) = server.api().make_named_key("agent").await;
    let (revoked, key) = server.api().make_named_key("agent").await;
    server.api().delete(&format!("/v1/api-keys/{}", id(&key))).await;
    server.kill9().await;
    server.restart().await;
    agent.at(server.url()).get("/v1/plans").await.ok(200);
    revoked.at(server.url()).get("/v1/plans").await.problem(401, "UNAUTHENTICATED");
    server.api().get("/v1/api-keys").await.ok(200);
}

async fn no_key_is_ever_logged_stored_or_told(mut server: Server) {
    let api = server.api();
    let (agent, _) = api.make_named_key("agent").await;
    let (revoked, revoked_key) = api.make_named_key("agent").await;
    api.delete(&format!("/v1/api-keys/{}", id(&revoked_key))).await;
    let canary = "ifm_canary_0123456789_0123456789_canary";
    let workspace = agent.make_workspace(json!({})).await;
    let path = format!("/v1/workspaces/{}", id(&workspace));
    agent.patch(&path, &json!({"name": "x", "version": 9})).key("k").await.conflict(409);
    agent.patch(&path, &json!({"name": 1, "version": 1})).await.invalid("/name");
    agent.call("PATCH", &path).body("application/json", "{".to_owned()).await.is(400);
    revoked.get(&path).await.is(401);
    api.with_key(canary).get(&path).await.is(401);
    let mut told = String::new();
    for path in ["/v1/audit", "/v1/api-keys", "/v1/events?after=0", "/metrics"] {
        told += &api.get(path).await.is(200).text;
    }
    server.stop().await;
    told += &server.log();
    told += &server.stdout();
    let stored = String::from_utf8_lossy(&server.database().stored_bytes()).into_owned();
    assert!(stored.contains("Acme"), "the stored bytes are searched");
    for secret in [ADMIN_KEY, agent.key(), revoked.key(), canary] {
        assert!(!told.contains(secret), "a key was logged or disclosed: {secret}");
        assert!(!stored.contains(secret), "a key was stored: {secret}");
    }
    let secret_part = agent.key().rsplit('_').next().unwrap();
    assert!(!told.contains(secret_part) && !stored.contains(secret_part));
}

async fn on_behalf_of_is_recorded_and_bounded(server: Server) {
    let api = server.api();
    let workspace = api.make_workspace(json!({})).await;
    let path = format!("/v1/workspaces/{}", id(&workspace));
    let send = |whom: &str, n: i64| {
        let call = api.patch(&path, &json!({"name": unique("name")})).if_match(n);
        call.header("X-On-Behalf-Of", whom)
    };
    send(&"d".repeat(200), 1).await.ok(200);
    assert_eq!(api.history(&path).await[1]["by"]["on_behalf_of"], "d".repeat(200));
    if send(&"d".repeat(201), 2).await.status == 200 {
        let recorded = &api.history(&path).await[2]["by"]["on_behalf_of"];
        assert!(recorded.as_str().is_none_or(|whom| whom.len() <= 200), "{recorded}");
    }
}

async fn a_key_made_or_revoked_here_is_known_elsewhere(server: Server) {
    let sibling = server.sibling().await;
    let (agent, key) = server.api().make_named_key("agent").await;
    let elsewhere = agent.at(sibling.url());
    eventually("the new key works elsewhere", async || {
        (elsewhere.get("/v1/plans").await.status == 200).then_some(())
    })
    .await;
    server.api().delete(&format!("/v1/api-keys/{}", id(&key))).await;
    let revoked = std::time::Instant::now();
    eventually("the revoked key stops elsewhere", async || {
        (elsewhere.get("/v1/plans").await.status == 401).then_some(())
    })
    .await;
    assert!(revoked.elapsed().as_secs_f64() < 4.0, "it took {:?}", revoked.elapsed());
}

async fn a_name_belongs_to_one_living_key(server: Server) {
    let api = server.api();
    let robot = json!({"name": "robot", "role": "agent"});
    let make = |body: serde_json::Value| {
        let api = api.clone();
        async move { api.post("/v1/api-keys", &body).await }
    };
    let first = make(robot.clone()).await.ok(201);
    let problem = make(json!({"name": "robot", "role": "viewer"})).await;
    let problem = problem.problem(409, "ALREADY_EXISTS");
    assert_eq!(problem["existing_id"], first["id"]);
    assert_eq!(problem["differing_fields"], json!(["/role"]));
    let racing: Vec<_> = (0..8).map(|_| make(json!({"name": "racer", "role": "viewer"}))).collect();
    let made = futures::future::join_all(racing).await;
    assert_eq!(made.iter().filter(|answer| answer.status == 201).count(), 1);
    assert_eq!(made.iter().filter(|answer| answer.status == 409).count(), 7);
    api.delete(&format!("/v1/api-keys/{}", id(&first))).await.ok(200);
    make(robot).await.ok(201);
    let ends = (Timestamp::now() + 3.seconds()).to_string();
    let short = json!({"name": "short", "role": "agent", "expires_at": ends});
    make(short).await.ok(201);
    eventually("the name of an expired key is free", async || {
        let answer = make(json!({"name": "short", "role": "agent"})).await;
        (answer.status == 201).then_some(())
    })
    .await;
}

async fn every_record_names_the_id_of_the_key(server: Server) {
    let api = server.api();
    let (agent, key) = api.make_named_key("agent").await;
    let workspace = agent.make_workspace(json!({})).await;
    let path = format!("/v1/workspaces/{}", id(&workspace));
    assert_eq!(agent.history(&path).await[0]["by"]["key_id"], key["id"]);
    let events = api.get("/v1/events?after=0&limit=200").await.ok(200);
    let events = events["items"].as_array().unwrap();
    let event = events.iter().find(|event| event["resource"]["id"] == workspace["id"]).unwrap();
    assert_eq!(event["by"]["key_id"], key["id"]);
    let force = agent.patch(&format!("{path}?force=true"), &json!({"name": "x"}));
    force.header("X-Force-Reason", "why").await.problem(403, "FORCE_FORBIDDEN");
    let audit = api.get("/v1/audit?type=force_denied").await.ok(200);
    assert_eq!(audit["items"][0]["key_id"], key["id"]);
    let made = api.get("/v1/audit?type=api_key_created").await.ok(200);
    let of_cli = made["items"].as_array().unwrap().iter().find(|item| item["actor"] == "cli");
    assert_eq!(of_cli.unwrap()["key_id"], json!(null), "the command line has no key");
    let stale = agent.patch(&path, &json!({"name": "y"})).if_match(1).await.ok(200);
    assert_eq!(stale["version"], 2);
    let conflict = api.patch(&path, &json!({"name": "z"})).if_match(1).await.conflict(412);
    assert_eq!(conflict["changes"][0]["by"]["key_id"], key["id"]);
    let package = unique("package");
    api.post("/v1/packages", &json!({"code": package})).await.ok(201);
    agent.post(&format!("{path}/packages"), &json!({"package": package})).await.ok(201);
    let log = api.get(&format!("{path}/entitlement-log")).await.ok(200);
    assert_eq!(log["items"][0]["by"]["key_id"], key["id"]);
}

async fn servers_that_start_together_make_one_first_key(server: Server) {
    let backend = server.database().backend();
    let database = std::sync::Arc::new(crate::harness::Database::create(backend));
    let settings = || Settings::without("IFMATCH_ADMIN_KEY");
    let starting = (0..3).map(|_| Server::start_with(database.clone(), settings()));
    let servers = futures::future::join_all(starting).await;
    let shown: Vec<_> = servers.iter().filter_map(|server| find_key(&server.stdout())).collect();
    assert_eq!(shown.len(), 1, "one process makes the first key and shows it");
    let api = servers[1].api().with_key(&shown[0]);
    assert_eq!(api.list("/v1/api-keys").await.len(), 1);
}

async fn a_rotated_key_hands_over_to_one_of_its_kind(server: Server) {
    let api = server.api();
    let workspace = api.make_workspace(json!({})).await;
    let ends = (Timestamp::now() + 100.hours()).to_string();
    let body = json!({"name": "job", "role": "agent", "workspace_id": id(&workspace),
        "acting_for": "ann", "expires_at": ends});
    let old = api.post("/v1/api-keys", &body).await.ok(201);
    let before = api.with_key(old["key"].as_str().unwrap());
    let path = format!("/v1/workspaces/{}", id(&workspace));
    let rename = json!({"name": "first"});
    before.patch(&path, &rename).if_match(1).key("once").await.ok(200);

    let rotate = format!("/v1/api-keys/{}/rotate", id(&old));
    let new = api.post(&rotate, &json!({"overlap_ms": 3_600_000})).key("r").await.ok(201);
    for field in ["name", "role", "workspace_id", "acting_for"] {
        assert_eq!(new[field], old[field], "{field}");
    }
    let lifetime = |key: &serde_json::Value| {
        let at = |field: &str| key[field].as_str().unwrap().parse::<Timestamp>().unwrap();
        at("expires_at").as_microsecond() - at("created_at").as_microsecond()
    };
    assert_eq!(lifetime(&new), lifetime(&old), "it works as long as the old one was to");
    let after = api.with_key(new["key"].as_str().unwrap());
    before.get(&path).await.ok(200);
    let replayed = after.patch(&path, &rename).if_match(1).key("once").await.is(200);
    assert_eq!(replayed.header("Idempotency-Replayed"), Some("true"), "one line, one set of keys");
    let again = api.post(&rotate, &json!({"overlap_ms": 3_600_000})).key("r").await.is(201);
    assert!(again.body["key"].is_null(), "the new key is shown once");
    let problem = api.post(&rotate, &json!({})).await.problem(409, "INVALID_STATE_TRANSITION");
    assert_eq!(problem["from"], "rotated");
    let keys = api.list("/v1/api-keys").await;
    let listed = keys.iter().find(|key| key["id"] == old["id"]).unwrap();
    assert_eq!(listed["rotated_to"], new["id"]);
    let audit = api.audit("api_key_rotated", id(&old)).await;
    assert_eq!(audit.len(), 1);

    let rotate = format!("/v1/api-keys/{}/rotate", id(&new));
    api.post(&rotate, &json!({"overlap_ms": -1})).await.invalid("/overlap_ms");
    api.post(&rotate, &json!({})).await.ok(201);
    after.get(&path).await.problem(401, "UNAUTHENTICATED");
    let taken = api.post("/v1/api-keys", &json!({"name": "job", "role": "viewer"})).await;
    taken.problem(409, "ALREADY_EXISTS");
}

async fn a_key_that_acts_for_a_user_speaks_for_no_other(server: Server) {
    let api = server.api();
    let body = json!({"name": "of-ann", "role": "agent", "acting_for": "ann"});
    let made = api.post("/v1/api-keys", &body).await.ok(201);
    let key = api.with_key(made["key"].as_str().unwrap());
    let workspace = key.make_workspace(json!({})).await;
    let path = format!("/v1/workspaces/{}", id(&workspace));
    assert_eq!(key.history(&path).await[0]["by"]["on_behalf_of"], "ann");
    let rename = |n: i64| key.patch(&path, &json!({"name": unique("name")})).if_match(n);
    rename(1).header("X-On-Behalf-Of", "ann").await.ok(200);
    rename(2).header("X-On-Behalf-Of", "bob").await.problem(403, "FORBIDDEN");
    key.get(&path).header("X-On-Behalf-Of", "bob").await.problem(403, "FORBIDDEN");
    for wrong in ["", " ann", "two\nlines"] {
        let body = json!({"name": unique("key"), "role": "agent", "acting_for": wrong});
        api.post("/v1/api-keys", &body).await.invalid("/acting_for");
    }
}

async fn the_last_use_of_a_key_is_known_to_the_hour(server: Server) {
    let api = server.api();
    let (viewer, key) = api.make_named_key("viewer").await;
    assert_eq!(key["last_used_at"], json!(null));
    viewer.get("/v1/plans").await.ok(200);
    let used = eventually("the use is noted", async || {
        let keys = api.list("/v1/api-keys").await;
        let listed = keys.into_iter().find(|listed| listed["id"] == key["id"]).unwrap();
        listed["last_used_at"].as_str().map(str::to_owned)
    })
    .await;
    assert!(used.ends_with(":00:00.000000Z"), "{used}");
    let at: Timestamp = used.parse().unwrap();
    assert!(Timestamp::now().as_second() - at.as_second() < 7_200);
    viewer.get("/v1/plans").await.ok(200);
}

async fn refused_callers_are_logged_with_their_address_a_few_a_minute(server: Server) {
    let api = server.api();
    let viewer = api.make_key("viewer").await;
    viewer.get("/v1/audit").await.problem(403, "FORBIDDEN");
    for _ in 0..60 {
        api.with_key("nonsense").get("/v1/plans").await.problem(401, "UNAUTHENTICATED");
    }
    let log = server.log();
    let lines: Vec<_> = log.lines().filter(|line| line.contains("a caller was refused")).collect();
    assert!((1..=40).contains(&lines.len()), "{} lines", lines.len());
    assert!(lines.iter().all(|line| line.contains("127.0.0.1")), "{lines:?}");
    assert!(lines.iter().any(|line| line.contains("FORBIDDEN")), "{lines:?}");
    assert!(!log.contains("nonsense"));
}

async fn only_its_owner_may_read_the_database(server: Server) {
    use std::os::unix::fs::PermissionsExt;
    server.api().make_workspace(json!({})).await;
    let mut seen = 0;
    for file in std::fs::read_dir(server.database().dir()).unwrap() {
        let file = file.unwrap();
        if file.file_name().to_string_lossy().contains(".db") {
            let mode = file.metadata().unwrap().permissions().mode() & 0o777;
            assert_eq!(mode, 0o600, "{:?}", file.path());
            seen += 1;
        }
    }
    assert!(seen >= 2, "the database and its log: {seen}");
}
