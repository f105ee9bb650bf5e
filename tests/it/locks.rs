//! Named locks: one holder, fair waiters, tokens that nobody else sees, and fences that decide
//! whether a write commits.

use crate::harness::{
    Answer, Api, Call, Server, Socket, both_databases, day, eventually, id, postgres_only,
    together, unique, version,
};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

both_databases![
    a_lock_has_one_holder_whose_token_nobody_else_sees,
    only_the_owner_of_a_running_grant_can_keep_or_release_it,
    a_repeated_acquisition_gets_the_same_grant_or_learns_that_it_ended,
    waiters_get_the_lock_in_their_order,
    a_waiter_gets_the_lock_when_the_holder_is_silent_for_too_long,
    a_waiter_in_vain_learns_who_holds_the_lock,
    a_waiter_that_hangs_up_never_owns_the_lock,
    a_waiter_whose_key_is_revoked_does_not_get_the_lock,
    waiters_are_told_to_try_again_when_the_server_stops,
    a_forced_release_is_for_admins_and_on_record,
    wrong_names_and_times_are_told_by_field_and_change_nothing,
    each_workspace_has_locks_of_its_own,
    a_deleted_workspace_has_no_locks,
    locks_are_listed_page_by_page_and_by_filter,
    a_write_of_any_kind_needs_the_fence_that_it_names,
    a_repeat_of_a_fenced_write_is_answered_although_the_lock_is_gone,
    a_billing_run_writes_nothing_after_its_lock_was_taken_away,
    the_fence_grows_although_the_row_is_deleted_and_the_server_restarts,
    no_token_is_in_the_log_or_the_database,
];
postgres_only![
    a_waiter_gets_a_lock_that_another_server_released,
    a_token_of_one_server_is_good_at_another,
    sends_of_one_acquisition_to_two_servers_get_one_grant,
];

/// A request for a lock, and what it says beside its TTL.
fn acquire(api: &Api, key: &str, more: &Value) -> Call {
    let mut body = json!({"ttl_ms": 60_000});
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    api.post(&format!("/v1/locks/{key}/acquire"), &body)
}

async fn take(api: &Api, key: &str) -> Value {
    acquire(api, key, &json!({})).await.ok(201)
}

fn owned(api: &Api, key: &str, verb: &str, grant: &Value) -> Call {
    api.post(&format!("/v1/locks/{key}/{verb}"), &json!({"owner": grant["owner"]}))
}

async fn status(api: &Api, key: &str) -> Value {
    api.get(&format!("/v1/locks/{key}")).await.ok(200)
}

fn fenced(call: Call, key: &str, grant: &Value) -> Call {
    call.header("X-Lock", format!("global//{key}")).header("X-Lock-Fence", &grant["fence"])
}

/// Waits until so many callers of this server wait for a lock.
async fn waiting(api: &Api, key: &str, waiters: u64) {
    eventually("the callers wait", async || {
        (status(api, key).await["waiters"] == waiters).then_some(())
    })
    .await;
}

/// Waits until nobody holds a lock.
async fn free(api: &Api, key: &str) -> Value {
    eventually("the lock is free", async || {
        let lock = status(api, key).await;
        (lock["locked"] == false).then_some(lock)
    })
    .await
}

async fn a_lock_has_one_holder_whose_token_nobody_else_sees(server: Server) {
    let api = server.api();
    let never = status(&api, "job").await;
    assert_eq!((&never["locked"], &never["fence"]), (&json!(false), &json!(0)));
    let grant = acquire(&api, "job", &json!({"label": "host 7"})).await.ok(201);
    for (name, value) in
        [("key", json!("job")), ("scope", json!("global")), ("waited_ms", json!(0))]
    {
        assert_eq!(grant[name], value, "{grant}");
    }
    let remaining = grant["ttl_remaining_ms"].as_i64().unwrap();
    assert!((59_000..=60_000).contains(&remaining), "{grant}");
    let refused = acquire(&api, "job", &json!({})).await.problem(409, "LOCK_ACQUISITION_FAILED");
    assert_eq!(
        (&refused["label"], &refused["expires_at"]),
        (&json!("host 7"), &grant["expires_at"])
    );
    assert!(refused["retry"]["after_ms"].as_u64().unwrap() > 50_000, "{refused}");
    let lock = status(&api, "job").await;
    assert_eq!((&lock["label"], &lock["fence"]), (&json!("host 7"), &grant["fence"]));
    let owner = grant["owner"].as_str().unwrap();
    assert!(owner.len() >= 32, "128 bits at least: {owner}");
    for text in [lock.to_string(), refused.to_string(), api.get("/v1/locks").await.text] {
        assert!(!text.contains(owner), "{text}");
    }
    let released = owned(&api, "job", "release", &grant).await.ok(200);
    assert_eq!((&released["locked"], &released["label"]), (&json!(false), &Value::Null));
    let next = take(&api, "job").await;
    assert!(next["fence"].as_i64() > grant["fence"].as_i64());
}

async fn only_the_owner_of_a_running_grant_can_keep_or_release_it(server: Server) {
    let api = server.api();
    let nobody = json!({"owner": "own_nobody"});
    for verb in ["release", "renew", "extend"] {
        let call = |key: &str, grant: &Value| {
            let body = json!({"owner": grant["owner"], "additional_ms": 1});
            let body = if verb == "extend" { body } else { json!({"owner": grant["owner"]}) };
            api.post(&format!("/v1/locks/{key}/{verb}"), &body)
        };
        let key = format!("of-{verb}");
        call(&key, &nobody).await.problem(404, "LOCK_NOT_FOUND");
        let grant = acquire(&api, &key, &json!({"ttl_ms": 250})).await.ok(201);
        call(&key, &nobody).await.problem(409, "LOCK_OWNERSHIP_MISMATCH");
        let answer = call(&key, &grant).await.ok(200);
        assert_eq!(answer["fence"], grant["fence"]);
        assert!(answer["owner"].is_null(), "the token is told once: {answer}");
        if verb == "release" {
            call(&key, &grant).await.problem(404, "LOCK_NOT_FOUND");
            continue;
        }
        free(&api, &key).await;
        call(&key, &grant).await.problem(409, "LOCK_LOST");
        take(&api, &key).await;
        call(&key, &grant).await.problem(409, "LOCK_LOST");
        take_over(&api, &key).await;
        call(&key, &grant).await.problem(409, "LOCK_OWNERSHIP_MISMATCH");
    }
    let grant = acquire(&api, "long", &json!({"ttl_ms": 1_000})).await.ok(201);
    let extend = |ms: i64| {
        let body = json!({"owner": grant["owner"], "additional_ms": ms});
        api.post("/v1/locks/long/extend", &body)
    };
    let extended = extend(3_600_000).await.ok(200);
    let renewed = owned(&api, "long", "renew", &grant).await.ok(200);
    assert_eq!(renewed["expires_at"], extended["expires_at"], "never shorter");
    let too_long = extend(86_400_000).await.problem(422, "LOCK_TTL_EXCEEDS_MAXIMUM");
    assert_eq!(too_long["errors"][0]["path"], "/additional_ms");
    extend(0).await.invalid("/additional_ms");
}

/// Gives a held lock another holder.
async fn take_over(api: &Api, key: &str) -> Value {
    let force = json!({"reason": "a test"});
    api.post(&format!("/v1/locks/{key}/force-release"), &force).await.ok(200);
    take(api, key).await
}

async fn a_repeated_acquisition_gets_the_same_grant_or_learns_that_it_ended(mut server: Server) {
    let api = server.api();
    let again = |api: &Api| acquire(api, "job", &json!({"label": "one"})).key("k");
    let first = again(&api).await.ok(201);
    let renewed = owned(&api, "job", "renew", &first).await.ok(200);
    server.kill9().await;
    server.restart().await;
    let api = server.api();
    let repeat = again(&api).await.is(201);
    assert_eq!(repeat.header("Idempotency-Replayed"), Some("true"));
    assert_eq!(repeat.body["owner"], first["owner"], "it is derived again");
    assert_eq!(repeat.body["expires_at"], renewed["expires_at"], "as it is now");
    acquire(&api, "job", &json!({})).key("k").await.problem(422, "IDEMPOTENCY_KEY_REUSED");
    let stranger = api.make_key("agent").await;
    again(&stranger).await.problem(409, "LOCK_ACQUISITION_FAILED");
    owned(&api, "job", "release", &first).await.ok(200);
    again(&api).await.problem(409, "LOCK_LOST");
    let other = again(&stranger).await.ok(201);
    assert_ne!(other["owner"], first["owner"], "the same text of another key's is no secret");
    again(&api).await.problem(409, "LOCK_LOST");
    // A row may be swept before its answer is pruned.
    server.database().execute("DELETE FROM locks");
    again(&api).await.problem(409, "LOCK_LOST");
}

async fn waiters_get_the_lock_in_their_order(server: Server) {
    let api = server.api();
    let mut holder = take(&api, "job").await;
    let mut waiters = Vec::new();
    for number in 0..8u64 {
        let label = json!({"label": number.to_string(), "wait_ms": 30_000});
        waiters.push(tokio::spawn(acquire(&api, "job", &label).into_future()));
        waiting(&api, "job", number + 1).await;
    }
    for (number, waiter) in waiters.into_iter().enumerate() {
        owned(&api, "job", "release", &holder).await.ok(200);
        let grant = waiter.await.unwrap().ok(201);
        assert_eq!(status(&api, "job").await["label"], number.to_string(), "first in, first out");
        assert!(grant["fence"].as_i64() > holder["fence"].as_i64());
        assert!(grant["waited_ms"].is_u64());
        holder = grant;
    }
}

async fn a_waiter_gets_the_lock_when_the_holder_is_silent_for_too_long(server: Server) {
    let api = server.api();
    let silent = acquire(&api, "job", &json!({"ttl_ms": 400})).await.ok(201);
    let next = acquire(&api, "job", &json!({"wait_ms": 20_000})).await.ok(201);
    assert!(next["acquired_at"].as_str() >= silent["expires_at"].as_str(), "{silent} {next}");
    assert!(next["waited_ms"].as_i64().unwrap() < 5_000, "it is woken by the clock: {next}");
}

async fn a_waiter_in_vain_learns_who_holds_the_lock(server: Server) {
    let api = server.api();
    acquire(&api, "job", &json!({"label": "host 7"})).await.ok(201);
    let (first, second) = tokio::join!(
        acquire(&api, "job", &json!({"wait_ms": 300})),
        acquire(&api, "job", &json!({"wait_ms": 300})),
    );
    for refused in [first, second] {
        let refused = refused.problem(409, "LOCK_TIMEOUT");
        assert_eq!(refused["label"], "host 7", "{refused}");
        assert!(refused["waited_ms"].as_i64().unwrap() >= 300, "{refused}");
    }
    waiting(&api, "job", 0).await;
}

async fn a_waiter_that_hangs_up_never_owns_the_lock(server: Server) {
    let api = server.api();
    let holder = take(&api, "job").await;
    let body = json!({"ttl_ms": 60_000, "wait_ms": 30_000}).to_string();
    let mut gone = Socket::connect(&server).await;
    gone.post("/v1/locks/job/acquire", &body).await;
    waiting(&api, "job", 1).await;
    let next = tokio::spawn(acquire(&api, "job", &json!({"wait_ms": 30_000})).into_future());
    waiting(&api, "job", 2).await;
    drop(gone);
    waiting(&api, "job", 1).await;
    owned(&api, "job", "release", &holder).await.ok(200);
    let grant = next.await.unwrap().ok(201);
    owned(&api, "job", "release", &grant).await.ok(200);
    let lock = status(&api, "job").await;
    assert_eq!((&lock["locked"], &lock["waiters"]), (&json!(false), &json!(0)));
}

async fn a_waiter_whose_key_is_revoked_does_not_get_the_lock(server: Server) {
    let api = server.api();
    let holder = take(&api, "job").await;
    let (agent, made) = api.make_named_key("agent").await;
    let wait = tokio::spawn(acquire(&agent, "job", &json!({"wait_ms": 30_000})).into_future());
    waiting(&api, "job", 1).await;
    api.delete(&format!("/v1/api-keys/{}", id(&made))).await.ok(200);
    owned(&api, "job", "release", &holder).await.ok(200);
    wait.await.unwrap().problem(401, "UNAUTHENTICATED");
    assert_eq!(status(&api, "job").await["locked"], false);
}

async fn waiters_are_told_to_try_again_when_the_server_stops(mut server: Server) {
    let api = server.api();
    take(&api, "job").await;
    let waits: Vec<_> = (0..5)
        .map(|_| tokio::spawn(acquire(&api, "job", &json!({"wait_ms": 45_000})).into_future()))
        .collect();
    waiting(&api, "job", 5).await;
    let stopping = Instant::now();
    server.terminate();
    for wait in waits {
        wait.await.unwrap().problem(503, "TRY_AGAIN");
    }
    assert!(server.ended().await.success());
    assert!(stopping.elapsed() < Duration::from_secs(10), "{:?}", stopping.elapsed());
}

async fn a_forced_release_is_for_admins_and_on_record(server: Server) {
    let api = server.api();
    let grant = acquire(&api, "job", &json!({"label": "host 7"})).await.ok(201);
    let force = |api: &Api, body: &Value| api.post("/v1/locks/job/force-release", body);
    let body = json!({"reason": "it hangs", "cooldown_ms": 500});
    let agent = api.make_key("agent").await;
    force(&agent, &body).await.problem(403, "FORBIDDEN");
    assert_eq!(status(&api, "job").await["locked"], true);
    let denied = api.audit("force_release_denied", "job").await;
    assert_eq!(denied.len(), 1, "{denied:?}");
    force(&api, &json!({})).await.invalid("/reason");
    force(&api, &json!({"reason": ""})).await.invalid("/reason");
    force(&api, &json!({"reason": "r", "cooldown_ms": -1})).await.invalid("/cooldown_ms");
    let released = force(&api, &body).await.ok(200);
    assert!(released["fence"].as_i64() > grant["fence"].as_i64(), "{released}");
    assert_eq!(server.metric("ifmatch_lock_force_releases_total").await, 1.0);
    let record = api.audit("force_release", "/global//job").await.remove(0);
    assert_eq!(record["reason"], "it hangs");
    assert_eq!(record["resource"], json!({"type": "lock", "id": "/global//job"}));
    let cooling = acquire(&api, "job", &json!({})).await.problem(409, "LOCK_ACQUISITION_FAILED");
    assert_eq!(cooling["cooldown_until"], released["cooldown_until"], "{cooling}");
    owned(&api, "job", "release", &grant).await.problem(409, "LOCK_LOST");
    // A waiter gets it when the cooldown is over.
    acquire(&api, "job", &json!({"wait_ms": 20_000})).await.ok(201);
    let stale = fenced(api.post("/v1/workspaces", &json!({"name": "A"})), "job", &grant);
    stale.await.problem(409, "STALE_FENCE");
    api.post("/v1/locks/never/force-release", &body).await.problem(404, "LOCK_NOT_FOUND");
}

async fn wrong_names_and_times_are_told_by_field_and_change_nothing(server: Server) {
    let api = server.api();
    let long = "k".repeat(201);
    for key in ["a%20b", "a%2Fb", "%C3%A4", "a%00b", &long] {
        acquire(&api, key, &json!({})).await.invalid("/key");
        api.get(&format!("/v1/locks/{key}")).await.invalid("/key");
    }
    for (wrong, field) in [
        (json!({"ttl_ms": 0}), "/ttl_ms"),
        (json!({"ttl_ms": -5}), "/ttl_ms"),
        (json!({"ttl_ms": 86_400_001}), "/ttl_ms"),
        (json!({"ttl_ms": "1s"}), "/ttl_ms"),
        (json!({"ttl_ms": null}), "/ttl_ms"),
        (json!({"wait_ms": -1}), "/wait_ms"),
        (json!({"wait_ms": 45_001}), "/wait_ms"),
        (json!({"scope": "host"}), "/scope"),
        (json!({"scope": "function"}), "/function"),
        (json!({"scope": "function", "function": "a/b"}), "/function"),
        (json!({"function": "f"}), "/function"),
        (json!({"label": "two\nlines"}), "/label"),
        (json!({"label": "l".repeat(201)}), "/label"),
        (json!({"owner": "own_1"}), "/owner"),
    ] {
        acquire(&api, "job", &wrong).await.invalid(field);
    }
    api.post("/v1/locks/job/acquire", &json!({})).await.invalid("/ttl_ms");
    api.post("/v1/locks/job/release", &json!({})).await.invalid("/owner");
    api.get("/v1/locks/job?scope=host").await.invalid("?scope");
    api.get("/v1/locks/job?scope=function").await.invalid("/function");
    let missing = "wsp_0193f0c0a1b27c3d8e4f5a6b7c8d9e0f";
    acquire(&api, "job", &json!({"workspace_id": missing})).await.problem(404, "NOT_FOUND");
    let plan = missing.replace("wsp_", "pln_");
    acquire(&api, "job", &json!({"workspace_id": plan})).await.problem(400, "WRONG_ID_TYPE");
    for path in ["/v1/locks", "/v1/locks/job"] {
        let space = format!("{path}?workspace_id={missing}");
        api.get(&space).await.problem(404, "NOT_FOUND");
    }
    assert_eq!(api.list("/v1/locks").await, Vec::<Value>::new(), "a refusal stores nothing");
    // The longest key, and both ends of the times.
    acquire(&api, &long[1..], &json!({"ttl_ms": 86_400_000})).await.ok(201);
    acquire(&api, "a-Z_0:9.", &json!({"ttl_ms": 1, "wait_ms": 45_000})).await.ok(201);
    let function = json!({"scope": "function", "function": "f"});
    acquire(&api, "k", &function).await.ok(201);
    acquire(&api, "k", &json!({})).await.ok(201);
    acquire(&api, "f:k", &json!({})).await.ok(201);
    api.get("/v1/locks/k?scope=function&function=f").await.ok(200);
}

async fn a_deleted_workspace_has_no_locks(server: Server) {
    let api = server.api();
    let workspace = api.make_workspace(json!({})).await;
    let space = json!({"workspace_id": id(&workspace)});
    let old = acquire(&api, "old", &space).await.ok(201);
    let held = acquire(&api, "held", &space).await.ok(201);
    let release = |key: &str, grant: &Value| {
        let body = json!({"owner": grant["owner"], "workspace_id": id(&workspace)});
        api.post(&format!("/v1/locks/{key}/release"), &body)
    };
    release("old", &old).await.ok(200);
    api.delete(&format!("/v1/workspaces/{}", id(&workspace))).if_match(1).await.ok(200);
    for key in ["old", "held", "new"] {
        acquire(&api, key, &space).await.problem(410, "DELETED");
    }
    release("held", &held).await.ok(200);
}

/// The lock has no row yet, so that none of the two can wait for the other one at it.
async fn sends_of_one_acquisition_to_two_servers_get_one_grant(server: Server) {
    let second = server.sibling().await;
    let apis = [server.api(), second.api()];
    for round in 0..60 {
        let grants = together(4, |n| {
            let (api, key) = (apis[n % 2].clone(), format!("new-{round}"));
            async move { acquire(&api, &key, &json!({})).key(&key).await.ok(201) }
        });
        let grants = grants.await;
        let owner = |grant: &Value| (grant["owner"].clone(), grant["fence"].clone());
        assert!(grants.iter().all(|grant| owner(grant) == owner(&grants[0])), "{grants:?}");
    }
}

async fn each_workspace_has_locks_of_its_own(server: Server) {
    let api = server.api();
    let (own, foreign) = (api.make_workspace(json!({})).await, api.make_workspace(json!({})).await);
    let scoped = async |workspace: &Value| {
        let body = json!({"name": unique("k"), "role": "agent", "workspace_id": id(workspace)});
        let made = api.post("/v1/api-keys", &body).await.ok(201);
        api.with_key(made["key"].as_str().unwrap())
    };
    let (tenant, other) = (scoped(&own).await, scoped(&foreign).await);
    let grant = take(&tenant, "job").await;
    assert_eq!(grant["workspace_id"], id(&own));
    // The same name elsewhere is another lock.
    take(&other, "job").await;
    let installation = take(&api, "job").await;
    assert_eq!(installation["workspace_id"], Value::Null);
    let named = json!({"workspace_id": id(&own)});
    acquire(&api, "job", &named).await.problem(409, "LOCK_ACQUISITION_FAILED");
    acquire(&other, "job", &named).await.problem(404, "NOT_FOUND");
    let path = format!("/v1/locks/job?workspace_id={}", id(&own));
    assert_eq!(api.get(&path).await.ok(200)["fence"], grant["fence"]);
    other.get(&path).await.problem(404, "NOT_FOUND");
    assert_eq!(status(&tenant, "job").await["fence"], grant["fence"]);
    assert_eq!(tenant.list("/v1/locks").await.len(), 1);
    assert_eq!(api.list("/v1/locks").await.len(), 3);
    let of_own = format!("workspace_id={}", id(&own));
    let in_query = |call: &str, body: Value| api.post(&format!("/v1/locks/{call}?{of_own}"), &body);
    let named = in_query("queried/acquire", json!({"ttl_ms": 60_000})).await.ok(201);
    assert_eq!(named["workspace_id"], id(&own));
    let owner = json!({"owner": named["owner"]});
    in_query("queried/renew", owner.clone()).await.ok(200);
    let both = json!({"owner": named["owner"], "workspace_id": id(&own)});
    in_query("queried/renew", both).await.ok(200);
    let contradiction = json!({"owner": named["owner"], "workspace_id": id(&foreign)});
    in_query("queried/release", contradiction).await.invalid("?workspace_id");
    in_query("queried/release", owner).await.ok(200);
    let foreign_space = format!("/v1/locks/queried/acquire?workspace_id={}", id(&foreign));
    tenant.post(&foreign_space, &json!({"ttl_ms": 60_000})).await.problem(404, "NOT_FOUND");
    let force = json!({"reason": "r", "workspace_id": id(&own)});
    tenant.post("/v1/locks/job/force-release", &force).await.problem(403, "FORBIDDEN");

    let create = |api: &Api| {
        api.post("/v1/namespaces", &json!({"workspace_id": id(&own), "name": unique("n")}))
    };
    fenced(create(&tenant), "job", &grant).await.ok(201);
    fenced(create(&api), "job", &grant).await.problem(409, "STALE_FENCE");
    let in_space = fenced(create(&api), "job", &grant).header("X-Lock-Workspace", id(&own));
    in_space.await.ok(201);
    let theirs = fenced(create(&tenant), "job", &installation);
    theirs.await.problem(409, "STALE_FENCE");
    let theirs = fenced(create(&other), "job", &grant).header("X-Lock-Workspace", id(&own));
    theirs.await.problem(409, "STALE_FENCE");
    let malformed = fenced(create(&api), "job", &grant).header("X-Lock-Workspace", "own");
    malformed.await.problem(400, "MALFORMED_PRECONDITION");
}

async fn locks_are_listed_page_by_page_and_by_filter(server: Server) {
    let api = server.api();
    for number in 0..7 {
        let grant = take(&api, &format!("job-{number}")).await;
        if number % 2 == 0 {
            owned(&api, &format!("job-{number}"), "release", &grant).await.ok(200);
        }
        let function = json!({"scope": "function", "function": format!("f{}", number % 2)});
        acquire(&api, &format!("job-{number}"), &function).await.ok(201);
    }
    let mut keys = Vec::new();
    let mut path = "/v1/locks?limit=3".to_owned();
    loop {
        let page = api.get(&path).await.ok(200);
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= 3);
        keys.extend(items.iter().map(|lock| (lock["function"].clone(), lock["key"].clone())));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/v1/locks?limit=3&cursor={cursor}");
    }
    assert_eq!(keys.len(), 14, "{keys:?}");
    let count = async |filter: &str| api.list(&format!("/v1/locks?{filter}")).await.len();
    assert_eq!(count("locked=true").await, 10);
    assert_eq!(count("locked=false").await, 4);
    assert_eq!(count("scope=global").await, 7);
    assert_eq!(count("scope=function&function=f1").await, 3);
    api.get("/v1/locks?locked=perhaps").await.invalid("?locked");
}

async fn a_write_of_any_kind_needs_the_fence_that_it_names(server: Server) {
    let api = server.api();
    let stale = acquire(&api, "job", &json!({"ttl_ms": 1})).await.ok(201);
    let current = acquire(&api, "job", &json!({"wait_ms": 10_000})).await.ok(201);
    let workspace = api.make_workspace(json!({"currency": "USD"})).await;
    let path = format!("/v1/workspaces/{}", id(&workspace));
    let invoice = api.make_open_invoice(json!({})).await;
    let (scope, feature) = api.make_entitled(100).await;
    let bookable = api.make_bookable(json!({})).await;
    let subscription = api.make_subscription(json!({})).await;
    let now = async || version(&api.get(&path).await.ok(200));
    let writes: Vec<(&str, Call)> = vec![
        ("create", api.post("/v1/workspaces", &json!({"name": "New"}))),
        ("patch", api.patch(&path, &json!({"name": "New", "version": now().await}))),
        ("merge", api.patch(&format!("{path}?on_conflict=merge"), &json!({"name": "N", "version": 1}))),
        ("put", api.put(&path, &json!({"name": "New", "version": now().await}))),
        ("force", api.patch(&format!("{path}?force=true"), &json!({"name": "F"})).header("X-Force-Reason", "r")),
        ("preview", api.post(&format!("{path}/preview"), &json!({"name": "P", "version": now().await}))),
        ("delete", api.delete(&format!("{path}?version={}", now().await))),
        ("pay", api.post(&format!("/v1/invoices/{}/payments", id(&invoice)), &json!({"amount": 1, "provider_ref": "r"}))),
        ("use", api.post(&format!("/v1/{scope}/usage"), &json!({"feature": feature, "quantity": 1}))),
        ("hold", api.post(&format!("/v1/{scope}/usage/holds"), &json!({"feature": feature, "quantity": 1, "ttl_ms": 9_000}))),
        ("book", api.post("/v1/bookings", &json!({"bookable_id": id(&bookable), "start_date": day(3), "end_date": day(3), "quantity": 1}))),
        ("transact", api.post("/v1/transactions", &json!({"operations": [{"op": "check", "type": "subscription", "id": id(&subscription), "version": 1}]}))),
        ("run", api.post("/v1/billing-runs", &json!({"as_of": "2020-01-01T00:00:00Z"}))),
        ("key", api.post("/v1/api-keys", &json!({"name": unique("k"), "role": "viewer"}))),
        ("lock", acquire(&api, "another", &json!({}))),
        ("wrong", api.post("/v1/workspaces", &json!({"nonsense": 1}))),
        ("missing", api.patch("/v1/workspaces/wsp_0193f0c0a1b27c3d8e4f5a6b7c8d9e0f", &json!({"name": "N", "version": 1}))),
    ];
    let before = api.get("/v1/events?limit=1&last=1").await.ok(200);
    for (what, write) in writes {
        let answer = fenced(write.key(&unique("fenced")), "job", &stale).await;
        assert_eq!(answer.status, 409, "{what}: {}", answer.text);
        answer.problem(409, "STALE_FENCE");
    }
    let after = api.get("/v1/events?limit=1&last=1").await.ok(200);
    assert_eq!(before["items"], after["items"], "nothing was written");
    assert_eq!(status(&api, "another").await["fence"], 0);
    let edit =
        |name: &str, version: i64| api.patch(&path, &json!({"name": name, "version": version}));
    let edited = fenced(edit("one", 1), "job", &current).await.ok(200);
    assert_eq!(edited["version"], 2);
    let silent = acquire(&api, "silent", &json!({"ttl_ms": 1})).await.ok(201);
    free(&api, "silent").await;
    let late = fenced(edit("two", 2), "silent", &silent).await;
    late.problem(409, "STALE_FENCE");
    owned(&api, "job", "release", &current).await.ok(200);
    fenced(edit("two", 2), "job", &current).await.problem(409, "STALE_FENCE");
    // A request with a malformed pair is not a write without one.
    edit("three", 2).header("X-Lock", "global//job").await.problem(400, "MALFORMED_PRECONDITION");
    edit("three", 2).header("X-Lock-Fence", 7).await.problem(400, "MALFORMED_PRECONDITION");
}

async fn a_repeat_of_a_fenced_write_is_answered_although_the_lock_is_gone(server: Server) {
    let api = server.api();
    let grant = take(&api, "job").await;
    let create =
        || fenced(api.post("/v1/workspaces", &json!({"name": "A"})).key("k"), "job", &grant);
    let made = create().await.ok(201);
    owned(&api, "job", "release", &grant).await.ok(200);
    let again = create().await.is(201);
    assert_eq!((again.header("Idempotency-Replayed"), &again.body), (Some("true"), &made));
}

async fn a_billing_run_writes_nothing_after_its_lock_was_taken_away(server: Server) {
    let api = server.api();
    let plan = api.make_active_plan(json!({})).await;
    for _ in 0..40 {
        api.subscribe(&plan, json!({"start_at": "2010-01-10T00:00:00Z"})).await;
    }
    let grant = take(&api, "run").await;
    let run = fenced(api.post("/v1/billing-runs", &json!({})), "run", &grant);
    let run = tokio::spawn(run.into_future());
    eventually("the run makes invoices", async || {
        let invoices = api.get("/v1/invoices?limit=1").await.ok(200);
        (invoices["items"] != json!([])).then_some(())
    })
    .await;
    let force = json!({"reason": "a test"});
    api.post("/v1/locks/run/force-release", &force).await.ok(200);
    let last = async || api.get("/v1/events?limit=1&last=1").await.ok(200)["items"].clone();
    let before = last().await;
    let answer = run.await.unwrap().ok(200);
    assert!(answer["made"].as_i64() > Some(0) && answer["remaining"].as_i64() > Some(0));
    assert_eq!(last().await, before);
}

async fn the_fence_grows_although_the_row_is_deleted_and_the_server_restarts(mut server: Server) {
    let api = server.api();
    let first = take(&api, "job").await;
    owned(&api, "job", "release", &first).await.ok(200);
    server.kill9().await;
    server.database().execute("DELETE FROM locks");
    server.restart().await;
    let api = server.api();
    let second = take(&api, "job").await;
    assert!(second["fence"].as_i64() > first["fence"].as_i64(), "{first} {second}");
    fenced(api.post("/v1/workspaces", &json!({"name": "A"})), "job", &first)
        .await
        .problem(409, "STALE_FENCE");
}

async fn no_token_is_in_the_log_or_the_database(mut server: Server) {
    let api = server.api();
    let grant = acquire(&api, "job", &json!({"label": "seen"})).key("k").await.ok(201);
    acquire(&api, "job", &json!({"wait_ms": 50})).await.problem(409, "LOCK_TIMEOUT");
    owned(&api, "job", "renew", &grant).await.ok(200);
    api.post("/v1/locks/job/force-release", &json!({"reason": "r"})).await.ok(200);
    owned(&api, "job", "release", &grant).await.problem(409, "LOCK_LOST");
    let metrics = api.without_key().get("/metrics").await.text;
    server.stop().await;
    let owner = grant["owner"].as_str().unwrap();
    let has = |bytes: &[u8], text: &str| bytes.windows(text.len()).any(|w| w == text.as_bytes());
    let stored = server.database().stored_bytes();
    assert!(has(&stored, "seen"), "the label is stored");
    assert!(!has(&stored, owner), "the token is not");
    let log = server.log();
    assert!(log.contains("lock.force_released") && !log.contains(owner), "{log}");
    assert!(metrics.contains("ifmatch_lock_acquisitions_total") && !metrics.contains(owner));
    assert!(!metrics.contains("\"job\""), "no key of a lock is a label: {metrics}");
}

async fn a_waiter_gets_a_lock_that_another_server_released(server: Server) {
    let second = server.sibling().await;
    let (one, two) = (server.api(), second.api());
    let grant = take(&one, "job").await;
    let wait = acquire(&two, "job", &json!({"wait_ms": 30_000}));
    let waiter = tokio::spawn(wait.into_future());
    waiting(&two, "job", 1).await;
    owned(&one, "job", "release", &grant).await.ok(200);
    let released_at = Instant::now();
    waiter.await.unwrap().ok(201);
    assert!(released_at.elapsed() < Duration::from_secs(5), "{:?}", released_at.elapsed());
}

async fn a_token_of_one_server_is_good_at_another(server: Server) {
    let second = server.sibling().await;
    let (one, two) = (server.api(), second.api());
    let grant: Answer = acquire(&one, "job", &json!({})).key("k").await.is(201);
    let repeat = acquire(&two, "job", &json!({})).key("k").await.ok(201);
    assert_eq!(repeat["owner"], grant.body["owner"], "both have the same secret");
    owned(&two, "job", "renew", &grant.body).await.ok(200);
    owned(&two, "job", "release", &grant.body).await.ok(200);
}
