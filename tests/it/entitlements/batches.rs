//! Usage batches: all items are recorded or none.

use crate::harness::{Answer, Api, Server, both_databases, id, together, unique, units, with};
use serde_json::{Value, json};

both_databases![
    a_batch_records_each_usage_in_order,
    a_batch_is_denied_as_a_whole_naming_the_item,
    the_items_of_a_batch_share_the_room_there_is,
    a_batch_charges_each_feature_to_its_counter,
    a_batch_is_recorded_once_for_its_key,
    a_wrong_item_is_named_and_nothing_recorded,
    a_batch_has_1_to_100_items,
    a_scope_that_is_not_there_is_told_before_a_wrong_list,
    racing_batches_are_each_recorded_as_a_whole,
];

async fn send(api: &Api, scope: &str, items: Value) -> Answer {
    let body = json!({"items": items});
    api.post(&format!("/v1/{scope}/usage/batch"), &body).key(&unique("batch")).await
}

fn item(feature: &str, quantity: i64) -> Value {
    json!({"feature": feature, "quantity": quantity})
}

async fn a_batch_records_each_usage_in_order(server: Server) {
    let api = server.api();
    let (scope, feature) = api.make_entitled(10).await;
    let items = json!([item(&feature, 3), item(&feature, 1), item(&feature, 6)]);
    let batch = send(&api, &scope, items).await.ok(201);
    let items = batch["items"].as_array().unwrap();
    let members = ["quantity", "used", "limit", "remaining"];
    for (item, expected) in items.iter().zip([[3, 3, 10, 7], [1, 4, 10, 6], [6, 10, 10, 0]]) {
        for (member, expected) in members.iter().zip(expected) {
            assert_eq!(item[*member], expected, "{member} of {item}");
        }
        let path = format!("/v1/{scope}/usage/{}", id(item));
        assert_eq!(api.get(&path).await.ok(200)["quantity"], item["quantity"]);
    }
    assert_eq!(items.len(), 3);
    assert_eq!(api.recorded(&scope, &feature).await, 10);
}

async fn a_batch_is_denied_as_a_whole_naming_the_item(server: Server) {
    let api = server.api();
    let (scope, feature) = api.make_entitled(10).await;
    let (full, other) = (api.make_feature(json!({})).await, api.make_feature(json!({})).await);
    api.entitle(&scope, json!([units(&full, 1)])).await;
    for (items, place, code) in [
        (json!([item(&feature, 3), item(&full, 2)]), 1, "ENTITLEMENT_LIMIT_EXCEEDED"),
        (json!([item(&full, 2), item(&feature, 3)]), 0, "ENTITLEMENT_LIMIT_EXCEEDED"),
        (json!([item(&feature, 1), item(&feature, 1), item(&other, 1)]), 2, "FEATURE_NOT_INCLUDED"),
    ] {
        let denied = send(&api, &scope, items).await.problem(403, code);
        assert_eq!(denied["failed_index"], place, "{denied}");
        if code == "ENTITLEMENT_LIMIT_EXCEEDED" {
            let expected = json!({"limit": 1, "used": 0, "held": 0, "remaining": 1,
                "requested": 2, "resets_at": null, "charged_scope": scope});
            assert_eq!(with(denied.clone(), &expected), denied);
        }
        assert!(api.list(&format!("/v1/{scope}/usage")).await.is_empty());
        assert_eq!(api.counted(&scope, &feature).await, (0, 0));
    }
}

async fn the_items_of_a_batch_share_the_room_there_is(server: Server) {
    let api = server.api();
    let (scope, feature) = api.make_entitled(10).await;
    let items = json!([item(&feature, 6), item(&feature, 5)]);
    let denied = send(&api, &scope, items).await.exceeded();
    let expected = json!({"failed_index": 1, "used": 0, "held": 0, "remaining": 10, "limit": 10,
        "requested": 11});
    assert_eq!(
        with(denied.clone(), &expected),
        denied,
        "the recorded state and the total requested"
    );
    let detail = denied["detail"].as_str().unwrap();
    let told = format!("11 are wanted, 5 of {feature} among them, and 10 are left");
    assert!(detail.starts_with(&told), "{detail}");
    let log = api.list(&format!("/v1/{scope}/entitlement-log")).await;
    let line = log.iter().find(|line| line["type"] == "usage.denied").unwrap();
    let told = (&line["details"]["requested"], &line["details"]["used"]);
    assert_eq!(told, (&json!(11), &json!(0)), "{line}");
    assert_eq!(api.counted(&scope, &feature).await, (0, 0));
    send(&api, &scope, json!([item(&feature, 6), item(&feature, 4)])).await.ok(201);
    assert_eq!(api.counted(&scope, &feature).await, (10, 0));
}

async fn a_scope_that_is_not_there_is_told_before_a_wrong_list(server: Server) {
    let api = server.api();
    let (scope, feature) = api.make_entitled(10).await;
    let namespace = api.make_scope_in(&scope).await;
    let object = api.get(&format!("/v1/{namespace}")).await.ok(200);
    api.delete(&format!("/v1/{namespace}?version={}", object["version"])).await.ok(200);
    let nobody = "workspaces/wsp_01890a5d96c4774f9e0b2c5f5a6b7c8d";
    for body in [
        json!({}),
        json!({"items": []}),
        json!({"items": [1]}),
        json!({"items": [item(&feature, 0)]}),
        json!({"items": [item(&feature, 1)], "colour": "red"}),
    ] {
        let sent = |scope: &str| {
            api.post(&format!("/v1/{scope}/usage/batch"), &body).key(&unique("batch"))
        };
        sent(nobody).await.problem(404, "NOT_FOUND");
        sent(&namespace).await.problem(410, "DELETED");
        sent(&scope).await.problem(422, "VALIDATION_FAILED");
    }
}

async fn a_batch_charges_each_feature_to_its_counter(server: Server) {
    let api = server.api();
    let (workspace, shared) = api.make_entitled(10).await;
    let namespace = api.make_scope_in(&workspace).await;
    let own = api.make_feature(json!({})).await;
    api.entitle(&namespace, json!([units(&own, 5)])).await;
    let items = json!([item(&shared, 2), item(&own, 3), item(&shared, 4)]);
    let batch = send(&api, &namespace, items).await.ok(201);
    let charged: Vec<_> =
        batch["items"].as_array().unwrap().iter().map(|item| &item["charged_scope"]).collect();
    assert_eq!(charged, [&json!(workspace), &json!(namespace), &json!(workspace)]);
    assert_eq!(api.counted(&workspace, &shared).await, (6, 0));
    assert_eq!(api.counted(&namespace, &own).await, (3, 0));
}

async fn a_batch_is_recorded_once_for_its_key(server: Server) {
    let api = server.api();
    let (scope, feature) = api.make_entitled(10).await;
    let path = format!("/v1/{scope}/usage/batch");
    let body = json!({"items": [item(&feature, 2), item(&feature, 3)]});
    let first = api.post(&path, &body).key("batch").await.ok(201);
    let again = api.post(&path, &body).key("batch").await.is(201);
    assert_eq!(again.header("Idempotency-Replayed"), Some("true"));
    assert_eq!(again.body, first);
    let other = json!({"items": [item(&feature, 3), item(&feature, 2)]});
    api.post(&path, &other).key("batch").await.problem(422, "IDEMPOTENCY_KEY_REUSED");
    assert_eq!(api.counted(&scope, &feature).await, (5, 0));
    let large = json!({"items": [item(&feature, 6)]});
    api.post(&path, &large).key("large").await.exceeded();
    api.boost(&scope, &feature, json!({"amount": 1})).await.ok(201);
    api.post(&path, &large).key("large").await.ok(201);
}

async fn a_wrong_item_is_named_and_nothing_recorded(server: Server) {
    let api = server.api();
    let (scope, feature) = api.make_entitled(10).await;
    for (field, wrong) in [
        ("/items/1/quantity", json!({"feature": feature, "quantity": 0})),
        ("/items/1/quantity", json!({"feature": feature, "quantity": -1})),
        ("/items/1/quantity", json!({"feature": feature, "quantity": 1.5})),
        ("/items/1/quantity", json!({"feature": feature})),
        ("/items/1/feature", json!({"feature": unique("nothing"), "quantity": 1})),
        ("/items/1/feature", json!({"feature": 7, "quantity": 1})),
        ("/items/1/feature", json!({"quantity": 1})),
        ("/items/1/colour", json!({"feature": feature, "quantity": 1, "colour": "red"})),
        ("/items/1/metadata/a~1b", with(item(&feature, 1), &json!({"metadata": {"a/b": 1}}))),
        ("/items/1", json!(7)),
    ] {
        let answer = send(&api, &scope, json!([item(&feature, 1), wrong])).await;
        assert_eq!(answer.invalid(field)["failed_index"], 1);
    }
    assert_eq!(api.counted(&scope, &feature).await, (0, 0));
    assert!(api.list(&format!("/v1/{scope}/usage")).await.is_empty());
}

async fn a_batch_has_1_to_100_items(server: Server) {
    let api = server.api();
    let (scope, feature) = api.make_entitled(1_000).await;
    let items = |count: usize| Value::from(vec![item(&feature, 1); count]);
    send(&api, &scope, items(0)).await.invalid("/items");
    send(&api, &scope, items(101)).await.invalid("/items");
    for (field, wrong) in [
        ("/items", json!({})),
        ("/items", json!({"items": null})),
        ("/items", json!({"items": {}})),
        ("/items/0", json!({"items": [7]})),
        ("/colour", json!({"items": items(1), "colour": "red"})),
    ] {
        let path = format!("/v1/{scope}/usage/batch");
        api.post(&path, &wrong).key(&unique("batch")).await.invalid(field);
    }
    assert_eq!(api.counted(&scope, &feature).await, (0, 0));
    let batch = send(&api, &scope, items(100)).await.ok(201);
    assert_eq!(batch["items"][99]["used"], 100);
}

/// Batches over two features in both orders: no deadlock and no partial batch.
async fn racing_batches_are_each_recorded_as_a_whole(server: Server) {
    let (apis, _siblings) = super::clients(&server).await;
    let (scope, first) = apis[0].make_entitled(40).await;
    let second = apis[0].make_feature(json!({})).await;
    apis[0].entitle(&scope, json!([units(&second, 1_000)])).await;
    let admitted = together(16, |n| {
        let (api, scope) = (apis[n % apis.len()].clone(), scope.clone());
        let mut items = vec![item(&first, 3), item(&second, 5)];
        if n % 2 == 0 {
            items.reverse();
        }
        async move {
            let mut admitted = 0;
            for _ in 0..3 {
                match send(&api, &scope, json!(items)).await {
                    answer if answer.status == 201 => admitted += 1,
                    answer => assert_eq!(answer.exceeded()["limit"], 40),
                }
            }
            admitted
        }
    })
    .await;
    assert_eq!(admitted.iter().sum::<i64>(), 13, "⌊40/3⌋: {admitted:?}");
    assert_eq!(apis[0].counted(&scope, &first).await, (39, 0));
    assert_eq!(apis[0].counted(&scope, &second).await, (65, 0));
    assert_eq!(apis[0].recorded(&scope, &first).await, 39);
    assert_eq!(apis[0].recorded(&scope, &second).await, 65);
}
