//! Reversals: recorded usage is given back, never more than was recorded.

use crate::harness::{Server, both_databases, id, members, together, unique, units, with};
use serde_json::json;

both_databases![
    usage_of_a_feature_that_is_not_releasable_is_not_reversed,
    reversed_units_can_be_used_again,
    never_more_than_was_recorded_is_reversed,
    a_reversal_happens_once_for_its_key,
    a_reversal_goes_back_to_the_counter_that_was_charged,
    settled_holds_and_batches_can_be_reversed,
    a_reversal_is_found_in_its_own_scope_only,
    wrong_reversals_are_refused_naming_the_field,
    racing_reversals_never_exceed_the_record,
];

async fn reversed_units_can_be_used_again(server: Server) {
    let api = server.api();
    let (scope, feature) = api.make_entitled(10).await;
    let record = api.spend(&scope, &feature, 10).await.ok(201);
    let reversed = api.reverse(&scope, &record, 4).await.done();
    assert_eq!(
        members(&reversed),
        [
            "charged_scope",
            "feature",
            "held",
            "id",
            "limit",
            "quantity",
            "remaining",
            "resets_at",
            "reversed",
            "unlimited",
            "used",
        ]
    );
    let expected = json!({"id": record["id"], "feature": feature, "quantity": 10, "reversed": 4,
        "used": 6, "held": 0, "limit": 10, "remaining": 4, "charged_scope": scope});
    assert_eq!(with(reversed.clone(), &expected), reversed);
    let stored = api.get(&format!("/v1/{scope}/usage/{}", id(&record))).await.ok(200);
    assert_eq!((&stored["quantity"], &stored["reversed"]), (&json!(10), &json!(4)));
    assert_eq!(api.spend(&scope, &feature, 4).await.ok(201)["used"], 10);
    api.spend(&scope, &feature, 1).await.exceeded();
}

async fn never_more_than_was_recorded_is_reversed(server: Server) {
    let api = server.api();
    let (scope, feature) = api.make_entitled(10).await;
    let (record, other) = (
        api.spend(&scope, &feature, 5).await.ok(201),
        api.spend(&scope, &feature, 5).await.ok(201),
    );
    api.reverse(&scope, &record, 6).await.problem(422, "REVERSAL_EXCEEDS_RECORD");
    assert_eq!(api.reverse(&scope, &record, 3).await.done()["reversed"], 3);
    api.reverse(&scope, &record, 3).await.problem(422, "REVERSAL_EXCEEDS_RECORD");
    assert_eq!(api.reverse(&scope, &record, 2).await.done()["reversed"], 5);
    api.reverse(&scope, &record, 1).await.problem(422, "REVERSAL_EXCEEDS_RECORD");
    assert_eq!(api.counted(&scope, &feature).await, (5, 0));
    let stored = api.get(&format!("/v1/{scope}/usage/{}", id(&other))).await.ok(200);
    assert_eq!(stored["reversed"], 0);
}

async fn a_reversal_happens_once_for_its_key(server: Server) {
    let api = server.api();
    let (scope, feature) = api.make_entitled(10).await;
    let record = api.spend(&scope, &feature, 10).await.ok(201);
    let path = format!("/v1/{scope}/usage/{}/reversals", id(&record));
    let first = api.post(&path, &json!({"quantity": 2})).key("r").await;
    let again = api.post(&path, &json!({"quantity": 2})).key("r").await;
    assert_eq!(again.header("Idempotency-Replayed"), Some("true"), "{}", again.text);
    assert_eq!((again.status, again.body), (first.status, first.clone().done()));
    let other = api.post(&path, &json!({"quantity": 3})).key("r").await;
    other.problem(422, "IDEMPOTENCY_KEY_REUSED");
    assert_eq!(api.counted(&scope, &feature).await, (8, 0));
}

async fn a_reversal_goes_back_to_the_counter_that_was_charged(server: Server) {
    let api = server.api();
    let (workspace, feature) = api.make_entitled(10).await;
    let namespace = api.make_scope_in(&workspace).await;
    let shared = api.spend(&namespace, &feature, 6).await.ok(201);
    api.entitle(&namespace, json!([units(&feature, 10)])).await;
    let own = api.spend(&namespace, &feature, 3).await.ok(201);
    let reversed = api.reverse(&namespace, &shared, 2).await.done();
    assert_eq!((&reversed["charged_scope"], &reversed["used"]), (&json!(workspace), &json!(4)));
    let reversed = api.reverse(&namespace, &own, 1).await.done();
    assert_eq!((&reversed["charged_scope"], &reversed["used"]), (&json!(namespace), &json!(2)));
    assert_eq!(api.counted(&workspace, &feature).await, (4, 0));
    assert_eq!(api.counted(&namespace, &feature).await, (2, 0));
}

async fn settled_holds_and_batches_can_be_reversed(server: Server) {
    let api = server.api();
    let (scope, feature) = api.make_entitled(10).await;
    let hold = api.hold(&scope, &feature, 5, 60_000).await.ok(201);
    let settled = api.settle(&scope, &hold, 4).await.done();
    let record = json!({"id": settled["record_id"]});
    api.reverse(&scope, &record, 5).await.problem(422, "REVERSAL_EXCEEDS_RECORD");
    assert_eq!(api.reverse(&scope, &record, 4).await.done()["used"], 0);
    let item = json!({"feature": feature, "quantity": 3});
    let body = json!({"items": [item, item]});
    let path = format!("/v1/{scope}/usage/batch");
    let batch = api.post(&path, &body).key(&unique("batch")).await.ok(201);
    assert_eq!(api.reverse(&scope, &batch["items"][1], 3).await.done()["used"], 3);
}

async fn a_reversal_is_found_in_its_own_scope_only(server: Server) {
    let api = server.api();
    let (scope, feature) = api.make_entitled(10).await;
    let record = api.spend(&scope, &feature, 5).await.ok(201);
    let other = api.make_scope().await;
    api.reverse(&other, &record, 1).await.problem(404, "NOT_FOUND");
    let unknown = json!({"id": format!("usg_{}", "0193f0c0a1b27c3d8e4f5a6b7c8d9e0f")});
    api.reverse(&scope, &unknown, 1).await.problem(404, "NOT_FOUND");
    assert_eq!(api.counted(&scope, &feature).await, (5, 0));
}

async fn wrong_reversals_are_refused_naming_the_field(server: Server) {
    let api = server.api();
    let (scope, feature) = api.make_entitled(10).await;
    let record = api.spend(&scope, &feature, 5).await.ok(201);
    let path = format!("/v1/{scope}/usage/{}/reversals", id(&record));
    for body in [
        json!({"quantity": 0}),
        json!({"quantity": -1}),
        json!({"quantity": 1.5}),
        json!({"quantity": "1"}),
        json!({"quantity": null}),
        json!({"quantity": 1e30}),
        json!({"quantity": 9_223_372_036_854_775_808_u64}),
        json!({}),
    ] {
        api.post(&path, &body).key(&unique("r")).await.invalid("/quantity");
    }
    assert_eq!(api.counted(&scope, &feature).await, (5, 0));
}

async fn racing_reversals_never_exceed_the_record(server: Server) {
    let (apis, _siblings) = super::clients(&server).await;
    for _ in 0..5 {
        let (scope, feature) = apis[0].make_entitled(20).await;
        let record = apis[0].spend(&scope, &feature, 10).await.ok(201);
        apis[0].spend(&scope, &feature, 7).await.ok(201);
        let answers = together(12, |n| {
            let (api, scope) = (apis[n % apis.len()].clone(), scope.clone());
            let record = record.clone();
            async move { api.reverse(&scope, &record, 3).await }
        })
        .await;
        let (won, lost): (Vec<_>, Vec<_>) = answers.into_iter().partition(|a| a.status < 300);
        assert_eq!(won.len(), 3, "{won:?}");
        for answer in lost {
            answer.problem(422, "REVERSAL_EXCEEDS_RECORD");
        }
        assert_eq!(apis[0].counted(&scope, &feature).await, (8, 0));
        assert_eq!(apis[0].recorded(&scope, &feature).await, 8);
    }
}

async fn usage_of_a_feature_that_is_not_releasable_is_not_reversed(server: Server) {
    let api = server.api();
    let scope = api.make_scope().await;
    let feature = api.make_feature(json!({"releasable": false})).await;
    api.entitle(&scope, json!([units(&feature, 10)])).await;
    let record = api.spend(&scope, &feature, 4).await.ok(201);
    let refused = api.reverse(&scope, &record, 1).await.problem(409, "FEATURE_NOT_RELEASABLE");
    assert_eq!(refused["feature"], feature);
    assert_eq!(api.counted(&scope, &feature).await, (4, 0));
}
