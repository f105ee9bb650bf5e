//! Many concurrent writers: no change is lost, and each version has exactly one winner.

use crate::harness::{Api, Server, both_databases, id, postgres_only, together, unique, version};
use serde_json::json;
use std::collections::BTreeSet;

both_databases![
    sixteen_naive_increment_loops_lose_nothing,
    of_many_updates_naming_one_version_exactly_one_wins,
    of_many_creates_with_one_code_exactly_one_wins,
    updates_of_different_objects_do_not_conflict,
    deletes_and_updates_race_to_one_end,
    forced_writes_and_ordinary_ones_lose_nothing_in_silence,
];
postgres_only![
    increment_loops_on_several_servers_lose_nothing,
    of_many_updates_on_several_servers_exactly_one_wins,
];

/// Increments that each of 16 loops attempts. `IFMATCH_TEST_INCREMENTS` overrides it.
pub fn increments(usually: i64) -> i64 {
    let wanted = std::env::var("IFMATCH_TEST_INCREMENTS").ok();
    wanted.map_or(usually, |n| n.parse().expect("IFMATCH_TEST_INCREMENTS is a number"))
}

/// Runs 16 loops of increments. Each is a GET and a PATCH without retries.
async fn increment(apis: &[Api]) {
    let subscription = apis[0].make_subscription(json!({})).await;
    let path = format!("/v1/subscriptions/{}", id(&subscription));
    let counted = together(16, |n| {
        let (api, path) = (apis[n % apis.len()].clone(), path.clone());
        async move {
            let mut successes = 0;
            for k in 0..increments(100) {
                let now = api.get(&path).await.ok(200);
                let more = json!({"quantity": now["quantity"].as_i64().unwrap() + 1});
                let in_header = k % 2 == 0;
                let answer = if in_header {
                    api.patch(&path, &more).if_match(version(&now)).await
                } else {
                    let body = crate::harness::with(more, &json!({"version": version(&now)}));
                    api.patch(&path, &body).await
                };
                if answer.status == 200 {
                    assert_eq!(version(&answer.body), version(&now) + 1);
                    successes += 1;
                } else {
                    let status = if in_header { 412 } else { 409 };
                    let conflict = answer.conflict(status);
                    assert!(conflict["current_version"].as_i64().unwrap() > version(&now));
                }
            }
            successes
        }
    })
    .await;
    let successes: i64 = counted.iter().sum();
    let end = apis[0].get(&path).await.ok(200);
    assert!(successes >= increments(100), "one writer wins every round: {counted:?}");
    assert_eq!(end["quantity"], 1 + successes, "each success counts, and only those");
    assert_eq!(version(&end), 1 + successes);
    let versions: Vec<_> = apis[0].history(&path).await.iter().map(version).collect();
    assert_eq!(versions, (1..=version(&end)).collect::<Vec<_>>(), "no gap in the history");
}

async fn sixteen_naive_increment_loops_lose_nothing(server: Server) {
    increment(&[server.api()]).await;
}

async fn increment_loops_on_several_servers_lose_nothing(server: Server) {
    let (second, third) = (server.sibling().await, server.sibling().await);
    increment(&[server.api(), second.api(), third.api()]).await;
}

async fn one_wins(apis: &[Api]) {
    let subscription = apis[0].make_subscription(json!({})).await;
    let path = format!("/v1/subscriptions/{}", id(&subscription));
    for round in 1..=20 {
        let answers = together(12, |n| {
            let (api, path) = (apis[n % apis.len()].clone(), path.clone());
            async move {
                let notes = format!("round {round} writer {n}");
                api.patch(&path, &json!({"notes": notes, "version": round})).await
            }
        })
        .await;
        let (won, lost): (Vec<_>, Vec<_>) = answers.into_iter().partition(|a| a.status == 200);
        assert_eq!(won.len(), 1, "round {round}");
        for answer in lost {
            let conflict = answer.conflict(409);
            assert_eq!(conflict["current_version"], round + 1);
            assert_eq!(conflict["current"]["notes"], won[0].body["notes"]);
        }
        assert_eq!(apis[0].get(&path).await.ok(200), won[0].body);
    }
}

async fn of_many_updates_naming_one_version_exactly_one_wins(server: Server) {
    one_wins(&[server.api()]).await;
}

async fn of_many_updates_on_several_servers_exactly_one_wins(server: Server) {
    let (second, third) = (server.sibling().await, server.sibling().await);
    one_wins(&[server.api(), second.api(), third.api()]).await;
}

async fn of_many_creates_with_one_code_exactly_one_wins(server: Server) {
    let api = server.api();
    for _ in 0..10 {
        let code = unique("code");
        let answers = together(8, |n| {
            let (api, code) = (api.clone(), code.clone());
            async move {
                let body = json!({"code": code, "name": format!("Plan {n}"), "currency": "USD",
                    "amount": 1, "interval": "month"});
                api.post("/v1/plans", &body).await
            }
        })
        .await;
        let (won, lost): (Vec<_>, Vec<_>) = answers.into_iter().partition(|a| a.status == 201);
        assert_eq!(won.len(), 1);
        for answer in lost {
            let problem = answer.problem(409, "ALREADY_EXISTS");
            assert_eq!(problem["existing_id"], won[0].body["id"]);
        }
    }
}

async fn updates_of_different_objects_do_not_conflict(server: Server) {
    let api = server.api();
    let done = together(16, |n| {
        let api = api.clone();
        async move {
            let workspace = api.make_workspace(json!({})).await;
            let path = format!("/v1/workspaces/{}", id(&workspace));
            for k in 1..30 {
                api.patch(&path, &json!({"name": format!("{n}.{k}")})).if_match(k).await.ok(200);
            }
            api.get(&path).await.ok(200)
        }
    })
    .await;
    let ids: BTreeSet<_> = done.iter().map(id).collect();
    assert_eq!(ids.len(), 16);
    assert!(done.iter().all(|object| version(object) == 30));
}

async fn deletes_and_updates_race_to_one_end(server: Server) {
    let api = server.api();
    for _ in 0..10 {
        let workspace = api.make_workspace(json!({})).await;
        let path = format!("/v1/workspaces/{}", id(&workspace));
        let statuses = together(8, |n| {
            let (api, path) = (api.clone(), path.clone());
            async move {
                match n % 2 {
                    0 => api.delete(&path).if_match(1).await.status,
                    _ => api.patch(&path, &json!({"name": "x"})).if_match(1).await.status,
                }
            }
        })
        .await;
        assert_eq!(statuses.iter().filter(|s| **s == 200).count(), 1, "{statuses:?}");
        assert!(statuses.iter().all(|s| [200, 410, 412].contains(s)), "{statuses:?}");
        assert_eq!(api.history(&path).await.len(), 2);
    }
}

async fn forced_writes_and_ordinary_ones_lose_nothing_in_silence(server: Server) {
    let api = server.api();
    let workspace = api.make_workspace(json!({})).await;
    let path = format!("/v1/workspaces/{}", id(&workspace));
    let successes: usize = together(8, |n| {
        let (api, path) = (api.clone(), path.clone());
        async move {
            let mut successes = 0;
            for k in 0..20 {
                let now = api.get(&path).await.ok(200);
                let body = json!({"name": format!("{n}.{k}"), "version": version(&now)});
                let answer = if n == 0 {
                    let forced = api.patch(&format!("{path}?force=true"), &body);
                    forced.header("X-Force-Reason", "race").await
                } else {
                    api.patch(&path, &body).await
                };
                assert!([200, 409].contains(&answer.status), "{}", answer.text);
                assert!(n > 0 || answer.status == 200, "a force is never refused as stale");
                successes += usize::from(answer.status == 200);
            }
            successes
        }
    })
    .await
    .into_iter()
    .sum();
    let history = api.history(&path).await;
    assert_eq!(history.len(), successes + 1);
    let forced = history.iter().filter(|entry| entry["kind"] == "forced").count();
    let records = api.audit("forced_write", id(&workspace)).await;
    assert_eq!(records.len(), forced, "each overwrite is on record, and only those");
}
