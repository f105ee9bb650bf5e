//! Consumable boosts: burnt after all other units, in a defined order, and once.

use crate::harness::{Api, Server, both_databases, id, in_ms, together, units};
use serde_json::{Value, json};

both_databases![
    consumables_are_burnt_after_everything_else,
    consumables_are_burnt_by_priority_then_expiry_then_age,
    what_is_given_back_can_be_used_again_whatever_was_burnt,
    a_burnt_consumable_still_counts_in_the_limit_of_its_window,
    a_consumable_that_runs_out_of_time_gives_nothing_more,
    racing_consumers_burn_each_unit_once,
    two_consumers_never_share_the_last_unit,
    after_a_downgrade_a_hold_burns_its_own_unit_and_gives_it_back,
];

/// A consumable boost of 5 units, with additional members.
async fn consumable(api: &Api, scope: &str, feature: &str, more: Value) -> Value {
    let members = crate::harness::with(json!({"duration": "consumable"}), &more);
    api.boost(scope, feature, members).await.ok(201)
}

/// The burnt units of each boost.
async fn burnt(api: &Api, scope: &str, boosts: &[&Value]) -> Vec<i64> {
    let mut consumed = Vec::new();
    for boost in boosts {
        let now = api.get(&format!("/v1/{scope}/boosts/{}", id(boost))).await.ok(200);
        consumed.push(now["consumed"].as_i64().unwrap());
    }
    consumed
}

async fn consumables_are_burnt_after_everything_else(server: Server) {
    let api = server.api();
    let (scope, feature) = api.make_entitled(10).await;
    let boost = consumable(&api, &scope, &feature, json!({})).await;
    api.boost(&scope, &feature, json!({"amount": 2})).await.ok(201);
    let recorded = api.spend(&scope, &feature, 12).await.ok(201);
    assert_eq!((&recorded["limit"], &recorded["remaining"]), (&json!(17), &json!(5)));
    assert_eq!(burnt(&api, &scope, &[&boost]).await, [0]);
    api.spend(&scope, &feature, 3).await.ok(201);
    assert_eq!(burnt(&api, &scope, &[&boost]).await, [3]);
    api.spend(&scope, &feature, 3).await.exceeded();
    assert_eq!(burnt(&api, &scope, &[&boost]).await, [3], "a denial burns nothing");
    api.spend(&scope, &feature, 2).await.ok(201);
    assert_eq!(burnt(&api, &scope, &[&boost]).await, [5]);
    assert_eq!(api.spend(&scope, &feature, 1).await.exceeded()["remaining"], 0);
}

async fn consumables_are_burnt_by_priority_then_expiry_then_age(server: Server) {
    let api = server.api();
    let (scope, feature) = api.make_entitled(0).await;
    let old = consumable(&api, &scope, &feature, json!({})).await;
    let young = consumable(&api, &scope, &feature, json!({})).await;
    let late = json!({"expires_at": in_ms(7_200_000)});
    let late = consumable(&api, &scope, &feature, late).await;
    let soon = json!({"expires_at": in_ms(3_600_000)});
    let soon = consumable(&api, &scope, &feature, soon).await;
    let last = consumable(&api, &scope, &feature, json!({"priority": 101})).await;
    let first = consumable(&api, &scope, &feature, json!({"priority": 99})).await;
    let order = [&first, &soon, &late, &old, &young, &last];
    for step in 1..=10 {
        api.spend(&scope, &feature, 3).await.ok(201);
        let expected: Vec<_> = (0..6).map(|place| (3 * step - 5 * place).clamp(0, 5)).collect();
        assert_eq!(burnt(&api, &scope, &order).await, expected, "after {} units", 3 * step);
    }
    api.spend(&scope, &feature, 1).await.exceeded();
}

async fn what_is_given_back_can_be_used_again_whatever_was_burnt(server: Server) {
    let api = server.api();
    let (scope, feature) = api.make_entitled(10).await;
    consumable(&api, &scope, &feature, json!({"priority": 2})).await;
    consumable(&api, &scope, &feature, json!({"priority": 1, "amount": 3})).await;
    let record = api.spend(&scope, &feature, 16).await.ok(201);
    let reversed = api.reverse(&scope, &record, 9).await.done();
    assert_eq!((&reversed["limit"], &reversed["remaining"]), (&json!(18), &json!(11)));
    let hold = api.hold(&scope, &feature, 11, 600_000).await.ok(201);
    api.spend(&scope, &feature, 1).await.exceeded();
    api.release(&scope, &hold).await.done();
    let hold = api.hold(&scope, &feature, 6, 600_000).await.ok(201);
    api.settle(&scope, &hold, 5).await.done();
    api.spend(&scope, &feature, 7).await.exceeded();
    assert_eq!(api.spend(&scope, &feature, 6).await.ok(201)["used"], 18);
    api.spend(&scope, &feature, 1).await.exceeded();
    for boost in api.list(&format!("/v1/{scope}/boosts")).await {
        assert_eq!(boost["consumed"], boost["amount"], "all of it is burnt");
    }
}

async fn a_burnt_consumable_still_counts_in_the_limit_of_its_window(server: Server) {
    let api = server.api();
    let scope = api.make_scope().await;
    let feature = api.make_feature(json!({"reset": "monthly"})).await;
    api.entitle(&scope, json!([units(&feature, 10)])).await;
    consumable(&api, &scope, &feature, json!({})).await;
    for (quantity, remaining) in [(10, 5), (5, 0)] {
        let recorded = api.spend(&scope, &feature, quantity).await.ok(201);
        assert_eq!((&recorded["limit"], &recorded["remaining"]), (&json!(15), &json!(remaining)));
    }
    let denied = api.spend(&scope, &feature, 1).await.exceeded();
    assert_eq!((&denied["limit"], &denied["used"]), (&json!(15), &json!(15)));
    consumable(&api, &scope, &feature, json!({})).await;
    let recorded = api.spend(&scope, &feature, 1).await.ok(201);
    assert_eq!((&recorded["limit"], &recorded["remaining"]), (&json!(20), &json!(4)));
}

async fn a_consumable_that_runs_out_of_time_gives_nothing_more(server: Server) {
    let api = server.api();
    let (scope, feature) = api.make_entitled(2).await;
    let expires = json!({"expires_at": in_ms(700)});
    consumable(&api, &scope, &feature, expires).await;
    let spent = api.spend(&scope, &feature, 4).await;
    crate::harness::eventually("the consumable is over", async || {
        let now = api.entitlement(&scope, &feature).await;
        (now["remaining"] == 0 || spent.status != 201 && now["remaining"] == 2).then_some(())
    })
    .await;
    api.spend(&scope, &feature, if spent.status == 201 { 1 } else { 3 }).await.exceeded();
}

/// Races 32 requests for the 25 units of the base package and three consumables.
async fn race(apis: &[Api]) {
    let (scope, feature) = apis[0].make_entitled(10).await;
    let mut boosts = Vec::new();
    for priority in [1, 2, 3] {
        boosts.push(consumable(&apis[0], &scope, &feature, json!({"priority": priority})).await);
    }
    let admitted: Vec<bool> = together(32, |n| {
        let (api, scope, feature) = (apis[n % apis.len()].clone(), scope.clone(), feature.clone());
        async move { api.spend(&scope, &feature, 1).await.status == 201 }
    })
    .await;
    assert_eq!(admitted.iter().filter(|admitted| **admitted).count(), 25);
    assert_eq!(burnt(&apis[0], &scope, &boosts.iter().collect::<Vec<_>>()).await, [5, 5, 5]);
    assert_eq!(apis[0].recorded(&scope, &feature).await, 25);
}

async fn racing_consumers_burn_each_unit_once(server: Server) {
    let (apis, _siblings) = super::clients(&server).await;
    for _ in 0..3 {
        race(&apis).await;
    }
}

async fn two_consumers_never_share_the_last_unit(server: Server) {
    let (apis, _siblings) = super::clients(&server).await;
    for _ in 0..10 {
        let (scope, feature) = apis[0].make_entitled(0).await;
        let boost = consumable(&apis[0], &scope, &feature, json!({"amount": 1})).await;
        let statuses = together(8, |n| {
            let (api, scope, feature) =
                (apis[n % apis.len()].clone(), scope.clone(), feature.clone());
            async move { api.spend(&scope, &feature, 1).await.status }
        })
        .await;
        assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 1, "{statuses:?}");
        assert_eq!(burnt(&apis[0], &scope, &[&boost]).await, [1]);
    }
}

/// 100 units of which 30 are used, then 10, then a boost of 50.
async fn after_a_downgrade_a_hold_burns_its_own_unit_and_gives_it_back(server: Server) {
    let api = server.api();
    for reset in [
        json!({"reset": "monthly"}),
        json!({"reset": "rolling", "rolling_days": 30}),
        json!({"reset": "none"}),
    ] {
        let (scope, feature) = (api.make_scope().await, api.make_feature(reset).await);
        for limit in [100, 10] {
            let grants = json!([units(&feature, limit)]);
            let base = api.make_package(grants, json!({"is_base": true})).await;
            api.assign(&scope, &base, json!({})).await.ok(201);
            if limit == 100 {
                api.spend(&scope, &feature, 30).await.ok(201);
            }
        }
        let boost = consumable(&api, &scope, &feature, json!({"amount": 50})).await;
        let hold = api.hold(&scope, &feature, 1, 3_600_000).await.ok(201);
        assert_eq!((&hold["limit"], &hold["remaining"]), (&json!(60), &json!(29)));
        assert_eq!(burnt(&api, &scope, &[&boost]).await, [1]);
        api.release(&scope, &hold).await.ok(200);
        assert_eq!(burnt(&api, &scope, &[&boost]).await, [0]);
        let brief = api.hold(&scope, &feature, 2, 1).await.ok(201);
        crate::harness::eventually("the expired hold gives back what it burnt", async || {
            let (_, held) = api.counted(&scope, &feature).await;
            (held == 0 && burnt(&api, &scope, &[&boost]).await == [0]).then_some(())
        })
        .await;
        api.release(&scope, &brief).await.problem(409, "HOLD_NOT_ACTIVE");
        let record = api.spend(&scope, &feature, 3).await.ok(201);
        assert_eq!(burnt(&api, &scope, &[&boost]).await, [3]);
        api.reverse(&scope, &record, 3).await.ok(201);
        assert_eq!(burnt(&api, &scope, &[&boost]).await, [0]);
    }
}
