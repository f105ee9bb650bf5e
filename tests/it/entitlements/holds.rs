//! Holds: units reserved for work of unknown cost; each hold ends exactly once.

use crate::harness::{
    Server, both_databases, eventually, id, instant, members, together, unique, units, with,
};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

both_databases![
    a_hold_has_its_documented_members,
    held_units_are_not_there_for_others,
    settling_records_what_the_work_took,
    settling_more_than_held_needs_room,
    a_released_hold_gives_its_units_back,
    a_hold_ends_once,
    an_expired_hold_gives_its_units_back_without_anybody_doing_anything,
    an_expired_hold_cannot_be_settled_or_released,
    a_hold_is_made_settled_and_released_once_for_its_key,
    a_hold_of_a_namespace_is_held_on_the_workspace,
    a_hold_survives_the_end_of_its_grant,
    a_hold_is_found_in_its_own_scope_only,
    wrong_holds_are_refused_naming_the_field,
    of_racing_ends_of_one_hold_exactly_one_wins,
];

async fn a_hold_has_its_documented_members(server: Server) {
    let api = server.api();
    let (scope, feature) = api.make_entitled(10).await;
    let before = Timestamp::now();
    let hold = api.hold(&scope, &feature, 4, 60_000).await.ok(201);
    let after = Timestamp::now();
    assert!(id(&hold).starts_with("hld_"), "{hold}");
    let own = [
        "created_at",
        "ended_at",
        "expires_at",
        "feature",
        "id",
        "quantity",
        "record_id",
        "scope",
        "settled_quantity",
        "status",
    ];
    let meter = ["charged_scope", "held", "limit", "remaining", "resets_at", "unlimited", "used"];
    let mut documented = [&own[..], &meter[..]].concat();
    documented.sort_unstable();
    assert_eq!(members(&hold), documented);
    let expected = json!({"scope": scope, "feature": feature, "quantity": 4, "status": "active",
        "settled_quantity": null, "record_id": null, "ended_at": null, "used": 0, "held": 4,
        "limit": 10, "remaining": 6, "unlimited": false, "charged_scope": scope});
    assert_eq!(with(hold.clone(), &expected), hold);
    let expires_at = instant(&hold["expires_at"]);
    let minute = SignedDuration::from_secs(60);
    assert!(before + minute <= expires_at && expires_at <= after + minute, "{hold}");
    let read = api.get(&format!("/v1/{scope}/usage/holds/{}", id(&hold))).await.ok(200);
    for member in own {
        assert_eq!(read[member], hold[member], "{member}");
    }
}

async fn held_units_are_not_there_for_others(server: Server) {
    let api = server.api();
    let (scope, feature) = api.make_entitled(10).await;
    api.hold(&scope, &feature, 6, 60_000).await.ok(201);
    let denied = api.spend(&scope, &feature, 5).await.exceeded();
    let expected = json!({"limit": 10, "used": 0, "held": 6, "remaining": 4, "requested": 5});
    assert_eq!(with(denied.clone(), &expected), denied);
    api.hold(&scope, &feature, 5, 60_000).await.exceeded();
    api.spend(&scope, &feature, 3).await.ok(201);
    let hold = api.hold(&scope, &feature, 1, 60_000).await.ok(201);
    assert_eq!(
        (&hold["used"], &hold["held"], &hold["remaining"]),
        (&json!(3), &json!(7), &json!(0))
    );
    let advice = api.entitlement(&scope, &feature).await;
    assert_eq!((&advice["held"], &advice["allowed"]), (&json!(7), &json!(false)));
    assert_eq!(api.list(&format!("/v1/{scope}/usage")).await.len(), 1, "a hold is no usage");
}

async fn settling_records_what_the_work_took(server: Server) {
    let api = server.api();
    for (settled, used) in [(2, 2), (6, 6), (10, 10)] {
        let (scope, feature) = api.make_entitled(10).await;
        let hold = api.hold(&scope, &feature, 6, 60_000).await.ok(201);
        let end = api.settle(&scope, &hold, settled).await.done();
        let expected = json!({"id": hold["id"], "status": "settled", "settled_quantity": settled,
            "quantity": 6, "used": used, "held": 0, "remaining": 10 - used});
        assert_eq!(with(end.clone(), &expected), end);
        assert!(end["ended_at"].is_string(), "{end}");
        let record = end["record_id"].as_str().expect("it was recorded");
        let record = api.get(&format!("/v1/{scope}/usage/{record}")).await.ok(200);
        assert_eq!((&record["quantity"], &record["feature"]), (&json!(settled), &json!(feature)));
        assert_eq!(api.recorded(&scope, &feature).await, settled);
        if settled < 10 {
            api.spend(&scope, &feature, 10 - settled).await.ok(201);
        }
        api.spend(&scope, &feature, 1).await.exceeded();
    }
}

async fn settling_more_than_held_needs_room(server: Server) {
    let api = server.api();
    let (scope, feature) = api.make_entitled(10).await;
    let hold = api.hold(&scope, &feature, 4, 60_000).await.ok(201);
    api.spend(&scope, &feature, 5).await.ok(201);
    let denied = api.settle(&scope, &hold, 6).await.exceeded();
    assert_eq!((&denied["limit"], &denied["used"]), (&json!(10), &json!(5)));
    let path = format!("/v1/{scope}/usage/holds/{}", id(&hold));
    assert_eq!(api.get(&path).await.ok(200)["status"], "active", "the hold is still active");
    assert_eq!(api.counted(&scope, &feature).await, (5, 4));
    assert_eq!(api.settle(&scope, &hold, 5).await.done()["used"], 10);
    assert_eq!(api.counted(&scope, &feature).await, (10, 0));
}

async fn a_released_hold_gives_its_units_back(server: Server) {
    let api = server.api();
    let (scope, feature) = api.make_entitled(10).await;
    let hold = api.hold(&scope, &feature, 10, 60_000).await.ok(201);
    api.spend(&scope, &feature, 1).await.exceeded();
    let end = api.release(&scope, &hold).await.done();
    let expected = json!({"id": hold["id"], "status": "released", "settled_quantity": null,
        "record_id": null, "used": 0, "held": 0, "remaining": 10});
    assert_eq!(with(end.clone(), &expected), end);
    api.spend(&scope, &feature, 10).await.ok(201);
    assert_eq!(api.recorded(&scope, &feature).await, 10);
}

async fn a_hold_ends_once(server: Server) {
    let api = server.api();
    let (scope, feature) = api.make_entitled(10).await;
    let (first, second) = (
        api.hold(&scope, &feature, 3, 60_000).await.ok(201),
        api.hold(&scope, &feature, 3, 60_000).await.ok(201),
    );
    api.settle(&scope, &first, 2).await.done();
    api.release(&scope, &second).await.done();
    for hold in [&first, &second] {
        api.settle(&scope, hold, 1).await.problem(409, "HOLD_NOT_ACTIVE");
        api.release(&scope, hold).await.problem(409, "HOLD_NOT_ACTIVE");
    }
    assert_eq!(api.counted(&scope, &feature).await, (2, 0));
    assert_eq!(api.recorded(&scope, &feature).await, 2);
}

async fn an_expired_hold_gives_its_units_back_without_anybody_doing_anything(server: Server) {
    let api = server.api();
    let (scope, feature) = api.make_entitled(10).await;
    let hold = api.hold(&scope, &feature, 10, 1_000).await.ok(201);
    let end = instant(&hold["expires_at"]);
    eventually("its units are available again", async || {
        let answer = api.spend(&scope, &feature, 10).await;
        if answer.status == 201 {
            assert!(Timestamp::now() >= end, "admitted while they were held");
            return Some(());
        }
        let denied = answer.exceeded();
        assert_eq!(denied["held"], 10, "the ones that are held are those of the hold");
        None
    })
    .await;
    assert_eq!(api.counted(&scope, &feature).await, (10, 0));
}

async fn an_expired_hold_cannot_be_settled_or_released(server: Server) {
    let api = server.api();
    let (scope, feature) = api.make_entitled(10).await;
    let hold = api.hold(&scope, &feature, 4, 1).await.ok(201);
    let path = format!("/v1/{scope}/usage/holds/{}", id(&hold));
    eventually("it is shown as expired", async || {
        (api.get(&path).await.ok(200)["status"] == "expired").then_some(())
    })
    .await;
    api.settle(&scope, &hold, 1).await.problem(409, "HOLD_NOT_ACTIVE");
    api.release(&scope, &hold).await.problem(409, "HOLD_NOT_ACTIVE");
    assert_eq!(api.counted(&scope, &feature).await, (0, 0));
    api.spend(&scope, &feature, 10).await.ok(201);
}

async fn a_hold_is_made_settled_and_released_once_for_its_key(server: Server) {
    let api = server.api();
    let (scope, feature) = api.make_entitled(10).await;
    let path = format!("/v1/{scope}/usage/holds");
    let body = json!({"feature": feature, "quantity": 3, "ttl_ms": 60_000});
    let hold = api.post(&path, &body).key("hold").await.ok(201);
    let again = api.post(&path, &body).key("hold").await.is(201);
    assert_eq!(again.header("Idempotency-Replayed"), Some("true"));
    assert_eq!(again.body, hold);
    assert_eq!(api.counted(&scope, &feature).await, (0, 3));
    for (end, body) in [("settle", json!({"quantity": 2})), ("release", json!({}))] {
        let hold = api.hold(&scope, &feature, 3, 60_000).await.ok(201);
        let path = format!("{path}/{}/{end}", id(&hold));
        let first = api.post(&path, &body).key(end).await;
        let again = api.post(&path, &body).key(end).await;
        assert_eq!(again.header("Idempotency-Replayed"), Some("true"), "{}", again.text);
        assert_eq!((again.status, &again.body), (first.status, &first.body));
        first.done();
    }
    assert_eq!(api.counted(&scope, &feature).await, (2, 3));
    assert_eq!(api.recorded(&scope, &feature).await, 2);
}

async fn a_hold_of_a_namespace_is_held_on_the_workspace(server: Server) {
    let api = server.api();
    let (workspace, feature) = api.make_entitled(10).await;
    let namespace = api.make_scope_in(&workspace).await;
    let hold = api.hold(&namespace, &feature, 7, 60_000).await.ok(201);
    assert_eq!((&hold["scope"], &hold["charged_scope"]), (&json!(namespace), &json!(workspace)));
    assert_eq!(api.spend(&workspace, &feature, 4).await.exceeded()["held"], 7);
    let end = api.settle(&namespace, &hold, 5).await.done();
    assert_eq!((&end["used"], &end["charged_scope"]), (&json!(5), &json!(workspace)));
    assert_eq!(api.counted(&workspace, &feature).await, (5, 0));
    assert_eq!(api.recorded(&namespace, &feature).await, 5);

    // A hold charged to the workspace is settled there, even if the namespace now has a grant.
    let hold = api.hold(&namespace, &feature, 4, 60_000).await.ok(201);
    api.entitle(&namespace, json!([units(&feature, 100)])).await;
    let end = api.settle(&namespace, &hold, 2).await.done();
    assert_eq!(end["charged_scope"], json!(workspace), "one unit, one counter");
    assert_eq!(api.counted(&workspace, &feature).await, (7, 0));
    assert_eq!(api.counted(&namespace, &feature).await, (0, 0));
}

async fn a_hold_survives_the_end_of_its_grant(server: Server) {
    let api = server.api();
    let (scope, feature) = (api.make_scope().await, api.make_feature(json!({})).await);
    let assignment = api.entitle(&scope, json!([units(&feature, 10)])).await;
    let (first, second) = (
        api.hold(&scope, &feature, 3, 60_000).await.ok(201),
        api.hold(&scope, &feature, 3, 60_000).await.ok(201),
    );
    api.reassign(&scope, &assignment, json!({"status": "suspended"})).await.ok(200);
    api.settle(&scope, &first, 3).await.done();
    api.release(&scope, &second).await.done();
    api.reassign(&scope, &assignment, json!({"status": "active"})).await.ok(200);
    assert_eq!(api.counted(&scope, &feature).await, (3, 0));
}

async fn a_hold_is_found_in_its_own_scope_only(server: Server) {
    let api = server.api();
    let (workspace, feature) = api.make_entitled(10).await;
    let hold = api.hold(&workspace, &feature, 3, 60_000).await.ok(201);
    let namespace = api.make_scope_in(&workspace).await;
    for elsewhere in [api.make_scope().await, namespace] {
        let path = format!("/v1/{elsewhere}/usage/holds/{}", id(&hold));
        api.get(&path).await.problem(404, "NOT_FOUND");
        api.settle(&elsewhere, &hold, 1).await.problem(404, "NOT_FOUND");
        api.release(&elsewhere, &hold).await.problem(404, "NOT_FOUND");
    }
    assert_eq!(api.counted(&workspace, &feature).await, (0, 3));
}

async fn wrong_holds_are_refused_naming_the_field(server: Server) {
    let api = server.api();
    let (scope, feature) = api.make_entitled(10).await;
    let path = format!("/v1/{scope}/usage/holds");
    for (field, wrong) in [
        ("/ttl_ms", json!({"ttl_ms": 0})),
        ("/ttl_ms", json!({"ttl_ms": -1})),
        ("/ttl_ms", json!({"ttl_ms": 86_400_001})),
        ("/ttl_ms", json!({"ttl_ms": 1.5})),
        ("/ttl_ms", json!({"ttl_ms": "1"})),
        ("/ttl_ms", json!({"ttl_ms": null})),
        ("/ttl_ms", json!({"ttl_ms": 1e30})),
        ("/feature", json!({"feature": unique("nothing")})),
        ("/expires_at", json!({"expires_at": "2030-01-01T00:00:00Z"})),
    ] {
        let body = json!({"feature": feature, "quantity": 1, "ttl_ms": 60_000});
        api.post(&path, &with(body, &wrong)).key(&unique("hold")).await.invalid(field);
    }
    let no_ttl = json!({"feature": feature, "quantity": 1});
    api.post(&path, &no_ttl).key(&unique("hold")).await.invalid("/ttl_ms");
    assert_eq!(api.counted(&scope, &feature).await, (0, 0));
    api.hold(&scope, &feature, 1, 86_400_000).await.ok(201);
}

async fn of_racing_ends_of_one_hold_exactly_one_wins(server: Server) {
    let (apis, _siblings) = super::clients(&server).await;
    for _ in 0..5 {
        let (scope, feature) = apis[0].make_entitled(10).await;
        let hold = apis[0].hold(&scope, &feature, 6, 60_000).await.ok(201);
        let answers = together(10, |n| {
            let (api, scope, hold) = (apis[n % apis.len()].clone(), scope.clone(), hold.clone());
            async move {
                match n {
                    0..5 => api.settle(&scope, &hold, 4).await,
                    _ => api.release(&scope, &hold).await,
                }
            }
        })
        .await;
        let (won, lost): (Vec<_>, Vec<_>) = answers.into_iter().partition(|a| a.status < 300);
        assert_eq!(won.len(), 1, "{won:?}");
        for answer in lost {
            answer.problem(409, "HOLD_NOT_ACTIVE");
        }
        let used = if won[0].body["status"] == "settled" { 4 } else { 0 };
        assert_eq!(apis[0].counted(&scope, &feature).await, (used, 0));
        assert_eq!(apis[0].recorded(&scope, &feature).await, used);
        assert_eq!(won[0].body["record_id"] == Value::Null, used == 0);
    }
}
