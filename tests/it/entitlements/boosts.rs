//! Boosts: additional units for a scope, each add-on granted once.

use crate::harness::{
    Server, both_databases, eventually, grant, id, in_ms, instant, members, unique, units, with,
};
use jiff::{Timestamp, ToSpan, tz::TimeZone};
use serde_json::{Value, json};

both_databases![
    a_boost_has_its_documented_members,
    more_units_add_to_what_packages_grant,
    more_units_alone_wait_for_a_package,
    an_enabling_boost_alone_is_a_grant,
    an_unlimited_boost_alone_takes_the_limit_away,
    a_fixed_boost_ends_at_its_instant,
    a_cycle_bound_boost_ends_with_the_running_month,
    the_same_add_on_again_is_a_duplicate_and_counts_once,
    an_add_on_with_other_content_is_409,
    an_add_on_is_known_by_its_source,
    boosts_of_a_namespace_never_raise_the_limit_of_its_workspace,
    a_boost_is_found_in_its_own_scope_only,
    wrong_boosts_are_refused_naming_the_field,
    a_revoked_boost_counts_no_more_and_what_it_burnt_stays_burnt,
    a_boost_is_revoked_with_its_version,
    an_add_on_that_comes_again_after_its_boost_was_revoked_gets_that_boost,
    revoking_and_burning_at_once_loses_nothing,
];

const BOOST: [&str; 16] = [
    "amount",
    "consumed",
    "created_at",
    "duration",
    "effective",
    "expires_at",
    "external_addon_id",
    "feature",
    "id",
    "kind",
    "priority",
    "scope",
    "source",
    "updated_at",
    "updated_by",
    "version",
];

async fn a_boost_has_its_documented_members(server: Server) {
    let api = server.api();
    let (workspace, feature) = api.make_entitled(10).await;
    let namespace = api.make_scope_in(&workspace).await;
    api.entitle(&namespace, json!([units(&feature, 10)])).await;
    for scope in [workspace, namespace] {
        let made = api.boost(&scope, &feature, json!({})).await.ok(201);
        assert!(id(&made).starts_with("bst_"), "{made}");
        assert_eq!(members(&made), BOOST, "no `duplicate` at first");
        let expected = json!({"version": 1, "scope": scope, "feature": feature,
            "kind": "add_limit", "amount": 5, "duration": "permanent", "consumed": 0,
            "priority": 100, "expires_at": null, "source": null, "external_addon_id": null,
            "effective": true});
        assert_eq!(with(made.clone(), &expected), made);
        let path = format!("/v1/{scope}/boosts/{}", id(&made));
        let read = api.get(&path).await.ok(200);
        for member in ["id", "version", "scope", "amount", "created_at", "expires_at"] {
            assert_eq!(read[member], made[member], "{member}");
        }
        let listed = api.list(&format!("/v1/{scope}/boosts")).await;
        assert_eq!(listed.len(), 1);
        assert_eq!((&listed[0]["id"], &listed[0]["version"]), (&made["id"], &json!(1)));
        let events = api.events_of("boost.created").await;
        assert_eq!(events.last().unwrap()["resource"]["id"], made["id"]);
    }
}

async fn more_units_add_to_what_packages_grant(server: Server) {
    let api = server.api();
    let (scope, feature) = api.make_entitled(10).await;
    api.boost(&scope, &feature, json!({"amount": 3})).await.ok(201);
    api.boost(&scope, &feature, json!({"amount": 4})).await.ok(201);
    let recorded = api.spend(&scope, &feature, 17).await.ok(201);
    assert_eq!((&recorded["limit"], &recorded["remaining"]), (&json!(17), &json!(0)));
    api.spend(&scope, &feature, 1).await.exceeded();
}

async fn more_units_alone_wait_for_a_package(server: Server) {
    let api = server.api();
    let (workspace, feature) = (api.make_scope().await, api.make_feature(json!({})).await);
    let namespace = api.make_scope_in(&workspace).await;
    for scope in [namespace, workspace] {
        for duration in ["permanent", "consumable"] {
            let waits = json!({"duration": duration});
            let boost = api.boost(&scope, &feature, waits).await.ok(201);
            assert_eq!(boost["effective"], false, "{scope} {duration}");
        }
        api.spend(&scope, &feature, 1).await.problem(403, "FEATURE_NOT_INCLUDED");
        assert_eq!(api.entitlement(&scope, &feature).await["allowed"], false);
        let assignment = api.entitle(&scope, json!([grant(&feature, "enabled")])).await;
        let recorded = api.spend(&scope, &feature, 10).await.ok(201);
        assert_eq!((&recorded["limit"], &recorded["charged_scope"]), (&json!(10), &json!(scope)));
        let late = api.boost(&scope, &feature, json!({})).await.ok(201);
        assert_eq!(late["effective"], true);
        api.reassign(&scope, &assignment, json!({"status": "suspended"})).await.ok(200);
        api.spend(&scope, &feature, 1).await.problem(403, "FEATURE_NOT_INCLUDED");
    }
}

async fn an_enabling_boost_alone_is_a_grant(server: Server) {
    let api = server.api();
    let workspace = api.make_scope().await;
    let namespace = api.make_scope_in(&workspace).await;
    let switch = api.make_feature(json!({"type": "boolean"})).await;
    let counted = api.make_feature(json!({})).await;
    let enable = json!({"kind": "enable", "amount": null});
    for scope in [&namespace, &workspace] {
        assert_eq!(api.entitlement(scope, &switch).await["allowed"], false);
        let boost = api.boost(scope, &switch, enable.clone()).await.ok(201);
        assert_eq!((&boost["effective"], &boost["amount"]), (&json!(true), &Value::Null));
        assert_eq!(api.entitlement(scope, &switch).await["allowed"], true);
    }
    api.entitle(&workspace, json!([units(&counted, 50)])).await;
    api.boost(&namespace, &counted, enable).await.ok(201);
    let denied = api.spend(&namespace, &counted, 1).await.exceeded();
    assert_eq!((&denied["limit"], &denied["charged_scope"]), (&json!(0), &json!(namespace)));
    api.boost(&namespace, &counted, json!({"amount": 2})).await.ok(201);
    let recorded = api.spend(&namespace, &counted, 2).await.ok(201);
    assert_eq!((&recorded["limit"], &recorded["charged_scope"]), (&json!(2), &json!(namespace)));
}

async fn an_unlimited_boost_alone_takes_the_limit_away(server: Server) {
    let api = server.api();
    let (scope, feature) = api.make_entitled(1).await;
    api.spend(&scope, &feature, 2).await.exceeded();
    let boost = json!({"kind": "unlimited", "amount": null});
    assert_eq!(api.boost(&scope, &feature, boost.clone()).await.ok(201)["effective"], true);
    let recorded = api.spend(&scope, &feature, 1_000_000_000_000).await.ok(201);
    assert_eq!((&recorded["unlimited"], &recorded["limit"]), (&json!(true), &Value::Null));
    assert_eq!(recorded["remaining"], Value::Null);
    let alone = api.make_scope().await;
    api.boost(&alone, &feature, boost).await.ok(201);
    assert_eq!(api.spend(&alone, &feature, 7).await.ok(201)["used"], 7);
}

async fn a_fixed_boost_ends_at_its_instant(server: Server) {
    let api = server.api();
    let (scope, feature) = api.make_entitled(10).await;
    let end = in_ms(2_000);
    let fixed = json!({"duration": "fixed", "expires_at": end});
    let boost = api.boost(&scope, &feature, fixed).await.ok(201);
    let end: Timestamp = end.parse().unwrap();
    assert_eq!(instant(&boost["expires_at"]), end);
    let before = api.spend(&scope, &feature, 11).await;
    assert!(before.status == 201 || Timestamp::now() >= end, "{}", before.text);
    eventually("the boost is over", async || {
        let asked_at = Timestamp::now();
        let limit = api.spend(&scope, &feature, 100).await.exceeded()["limit"].clone();
        assert!(limit == 10 || asked_at < end, "it granted units after its end");
        assert!(limit == 15 || Timestamp::now() >= end, "it granted nothing before its end");
        (limit == 10).then_some(())
    })
    .await;
    let denied = api.spend(&scope, &feature, 1).await.exceeded();
    assert_eq!((&denied["limit"], &denied["used"]), (&json!(10), &json!(11)));
}

async fn a_cycle_bound_boost_ends_with_the_running_month(server: Server) {
    let api = server.api();
    let scope = api.make_scope().await;
    let feature = api.make_feature(json!({"reset": "monthly"})).await;
    let assignment = api.entitle(&scope, json!([units(&feature, 10)])).await;
    let anchor = instant(&assignment["anchor_at"]).to_zoned(TimeZone::UTC);
    let month = anchor.checked_add(1.month()).unwrap().timestamp();
    let boost = api.boost(&scope, &feature, json!({"duration": "cycle_bound"})).await.ok(201);
    assert_eq!(instant(&boost["expires_at"]), month, "absolute from creation");
    let recorded = api.spend(&scope, &feature, 15).await.ok(201);
    assert_eq!(recorded["limit"], 15);
    assert_eq!(instant(&recorded["resets_at"]), month, "when the units come back");
}

async fn the_same_add_on_again_is_a_duplicate_and_counts_once(server: Server) {
    let api = server.api();
    let (workspace, feature) = api.make_entitled(10).await;
    let namespace = api.make_scope_in(&workspace).await;
    api.entitle(&namespace, json!([units(&feature, 10)])).await;
    for scope in [workspace, namespace] {
        let without_source = json!({"external_addon_id": unique("addon")});
        let with_source = json!({"external_addon_id": unique("addon"), "source": "shop"});
        for (add_on, limit) in [(without_source, 15), (with_source, 20)] {
            let first = api.boost(&scope, &feature, add_on.clone()).await.ok(201);
            assert_eq!(first.get("duplicate"), None, "{first}");
            let again = api.boost(&scope, &feature, add_on).await.ok(200);
            assert_eq!((&again["id"], &again["duplicate"]), (&first["id"], &json!(true)));
            assert_eq!(again["version"], first["version"]);
            assert_eq!(api.entitlement(&scope, &feature).await["limit"], limit, "it counts once");
        }
        assert_eq!(api.list(&format!("/v1/{scope}/boosts")).await.len(), 2);
    }
}

async fn an_add_on_with_other_content_is_409(server: Server) {
    let api = server.api();
    let (workspace, feature) = api.make_entitled(10).await;
    let other = api.make_feature(json!({})).await;
    let namespace = api.make_scope_in(&workspace).await;
    let add_on = json!({"external_addon_id": unique("addon"), "source": "shop"});
    let first = api.boost(&workspace, &feature, add_on.clone()).await.ok(201);
    let until = in_ms(3_600_000);
    for (scope, feature, more, differs) in [
        (&workspace, &feature, json!({"amount": 6}), "amount"),
        (&workspace, &feature, json!({"priority": 1}), "priority"),
        (&workspace, &feature, json!({"kind": "unlimited", "amount": null}), "kind"),
        (&workspace, &feature, json!({"duration": "fixed", "expires_at": until}), "duration"),
        (&workspace, &other, json!({}), "feature"),
        (&namespace, &feature, json!({}), "scope"),
    ] {
        let members = with(add_on.clone(), &more);
        let refused = api.boost(scope, feature, members).await.problem(409, "DUPLICATE_ADDON");
        assert_eq!(refused["existing_id"], first["id"]);
        let differing = refused["differing_fields"].to_string();
        assert!(differing.contains(differs), "{differs} is not in {differing}");
    }
    assert_eq!(api.list(&format!("/v1/{workspace}/boosts")).await.len(), 1);
    assert!(api.list(&format!("/v1/{namespace}/boosts")).await.is_empty());
    assert_eq!(api.entitlement(&workspace, &feature).await["limit"], 15);
}

async fn an_add_on_is_known_by_its_source(server: Server) {
    let api = server.api();
    let (scope, feature) = api.make_entitled(10).await;
    let add_on = json!({"external_addon_id": unique("addon")});
    for source in [Value::Null, json!("shop"), json!("support")] {
        let members = with(add_on.clone(), &json!({"source": source}));
        api.boost(&scope, &feature, members).await.ok(201);
    }
    // Without an external add-on id, two requests make two boosts.
    api.boost(&scope, &feature, json!({"source": "shop"})).await.ok(201);
    api.boost(&scope, &feature, json!({"source": "shop"})).await.ok(201);
    assert_eq!(api.entitlement(&scope, &feature).await["limit"], 35);
}

async fn boosts_of_a_namespace_never_raise_the_limit_of_its_workspace(server: Server) {
    let api = server.api();
    let (workspace, feature) = api.make_entitled(10).await;
    let namespace = api.make_scope_in(&workspace).await;
    let boost = api.boost(&namespace, &feature, json!({"amount": 100})).await.ok(201);
    assert_eq!(boost["effective"], false, "it waits for a package of the namespace");
    let recorded = api.spend(&namespace, &feature, 10).await.ok(201);
    assert_eq!((&recorded["limit"], &recorded["charged_scope"]), (&json!(10), &json!(workspace)));
    for scope in [&namespace, &workspace] {
        assert_eq!(api.spend(scope, &feature, 1).await.exceeded()["limit"], 10);
    }
    api.entitle(&namespace, json!([units(&feature, 1)])).await;
    let own = api.spend(&namespace, &feature, 101).await.ok(201);
    assert_eq!((&own["limit"], &own["charged_scope"]), (&json!(101), &json!(namespace)));
    assert_eq!(api.entitlement(&workspace, &feature).await["limit"], 10);
    // A boost of the workspace does not raise the limit of a namespace with its own grant.
    api.boost(&workspace, &feature, json!({"amount": 7})).await.ok(201);
    assert_eq!(api.entitlement(&namespace, &feature).await["limit"], 101);
    assert_eq!(api.entitlement(&workspace, &feature).await["limit"], 17);
}

async fn a_boost_is_found_in_its_own_scope_only(server: Server) {
    let api = server.api();
    let (scope, feature) = api.make_entitled(10).await;
    let boost = api.boost(&scope, &feature, json!({})).await.ok(201);
    let namespace = api.make_scope_in(&scope).await;
    for elsewhere in [api.make_scope().await, namespace] {
        let path = format!("/v1/{elsewhere}/boosts/{}", id(&boost));
        api.get(&path).await.problem(404, "NOT_FOUND");
        assert!(api.list(&format!("/v1/{elsewhere}/boosts")).await.is_empty());
    }
}

async fn wrong_boosts_are_refused_naming_the_field(server: Server) {
    let api = server.api();
    let (workspace, feature) = api.make_entitled(10).await;
    let namespace = api.make_scope_in(&workspace).await;
    let soon = in_ms(3_600_000);
    for scope in [&workspace, &namespace] {
        for (field, wrong) in [
            ("/feature", json!({"feature": unique("nothing")})),
            ("/feature", json!({"feature": null})),
            ("/kind", json!({"kind": "more"})),
            ("/kind", json!({"kind": null})),
            ("/duration", json!({"duration": "week"})),
            ("/duration", json!({"duration": null})),
            ("/amount", json!({"amount": null})),
            ("/amount", json!({"amount": 0})),
            ("/amount", json!({"amount": -1})),
            ("/amount", json!({"amount": 1.5})),
            ("/amount", json!({"amount": "1"})),
            ("/amount", json!({"amount": 1e30})),
            ("/amount", json!({"kind": "enable"})),
            ("/amount", json!({"kind": "unlimited"})),
            ("/expires_at", json!({"duration": "fixed"})),
            ("/expires_at", json!({"duration": "fixed", "expires_at": in_ms(-1_000)})),
            ("/expires_at", json!({"duration": "fixed", "expires_at": "soon"})),
            ("/expires_at", json!({"duration": "permanent", "expires_at": soon})),
            ("/expires_at", json!({"duration": "cycle_bound", "expires_at": soon})),
            ("/expires_at", json!({"duration": "consumable", "expires_at": in_ms(-1_000)})),
            ("/priority", json!({"priority": -1})),
            ("/priority", json!({"priority": 1_001})),
            ("/source", json!({"source": "x".repeat(101)})),
            ("/external_addon_id", json!({"external_addon_id": ""})),
            ("/external_addon_id", json!({"external_addon_id": "x".repeat(201)})),
            ("/consumed", json!({"consumed": 1})),
        ] {
            api.boost(scope, &feature, wrong).await.invalid(field);
        }
        assert!(api.list(&format!("/v1/{scope}/boosts")).await.is_empty());
    }
    assert_eq!(api.entitlement(&workspace, &feature).await["limit"], 10);
}

async fn a_revoked_boost_counts_no_more_and_what_it_burnt_stays_burnt(server: Server) {
    let api = server.api();
    let (workspace, feature) = api.make_entitled(10).await;
    let namespace = api.make_scope_in(&workspace).await;
    api.entitle(&namespace, json!([units(&feature, 10)])).await;
    for scope in [workspace, namespace] {
        let boost = api.boost(&scope, &feature, json!({"duration": "consumable"})).await.ok(201);
        let more = api.boost(&scope, &feature, json!({})).await.ok(201);
        let record = api.spend(&scope, &feature, 17).await.ok(201);
        assert_eq!(record["limit"], 20);
        let gone = api.revoke(&scope, &boost).await;
        assert_eq!((&gone["id"], &gone["last_version"]), (&boost["id"], &json!(2)));
        api.revoke(&scope, &more).await;
        let advice = api.entitlement(&scope, &feature).await;
        let told = |name: &str| advice[name].as_i64().unwrap();
        assert_eq!([told("limit"), told("used"), told("remaining")], [12, 17, 0], "2 were burnt");
        api.spend(&scope, &feature, 1).await.exceeded();
        api.reverse(&scope, &record, 7).await.ok(201);
        assert_eq!(api.spend(&scope, &feature, 2).await.ok(201)["limit"], 12);
        api.spend(&scope, &feature, 1).await.exceeded();
        let log = api.list(&format!("/v1/{scope}/entitlement-log?type=boost.revoked")).await;
        let revoked: Vec<&Value> = log.iter().map(|line| &line["details"]["boost_id"]).collect();
        assert_eq!(revoked, [&more["id"], &boost["id"]]);
    }
}

async fn a_boost_is_revoked_with_its_version(server: Server) {
    let api = server.api();
    let (scope, feature) = api.make_entitled(10).await;
    let other = api.make_scope().await;
    let boost = api.boost(&scope, &feature, json!({"duration": "consumable"})).await.ok(201);
    let path = format!("/v1/{scope}/boosts/{}", id(&boost));
    api.delete(&path).await.problem(428, "PRECONDITION_REQUIRED");
    let elsewhere = format!("/v1/{other}/boosts/{}?version=1", id(&boost));
    api.delete(&elsewhere).await.problem(404, "NOT_FOUND");
    api.spend(&scope, &feature, 11).await.ok(201);
    let stale = api.delete(&format!("{path}?version=1")).await;
    assert_eq!(stale.conflict(409)["current"]["consumed"], 1);
    api.delete(&path).if_match(1).await.conflict(412);
    let revoked = api.delete(&path).if_match(2).key("revoke").await.ok(200);
    let again = api.delete(&path).if_match(2).key("revoke").await;
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    assert_eq!(again.ok(200), revoked);
    api.delete(&path).if_match(2).await.problem(410, "DELETED");
    api.get(&path).await.problem(410, "DELETED");
    api.get(&format!("/v1/{other}/boosts/{}", id(&boost))).await.problem(404, "NOT_FOUND");
    assert!(api.list(&format!("/v1/{scope}/boosts")).await.is_empty());
    let history = api.list(&format!("{path}/history")).await;
    let kinds: Vec<&Value> = history.iter().map(|entry| &entry["kind"]).collect();
    assert_eq!(kinds, ["created", "updated", "deleted"]);
    assert_eq!(api.get(&format!("{path}/versions/1")).await.ok(200)["consumed"], 0);
}

async fn an_add_on_that_comes_again_after_its_boost_was_revoked_gets_that_boost(server: Server) {
    let api = server.api();
    let (scope, feature) = api.make_entitled(10).await;
    let addon = json!({"source": "shop", "external_addon_id": unique("order")});
    let boost = api.boost(&scope, &feature, addon.clone()).await.ok(201);
    api.revoke(&scope, &boost).await;
    let again = api.boost(&scope, &feature, addon.clone()).await.ok(200);
    assert_eq!((&again["id"], &again["duplicate"]), (&boost["id"], &json!(true)));
    assert_eq!(again["effective"], false);
    assert_eq!(api.entitlement(&scope, &feature).await["limit"], 10);
    let other = with(addon, &json!({"amount": 6}));
    api.boost(&scope, &feature, other).await.problem(409, "DUPLICATE_ADDON");
}

/// Each unit is burnt before the boost is revoked, or not at all.
async fn revoking_and_burning_at_once_loses_nothing(server: Server) {
    let (apis, _siblings) = super::clients(&server).await;
    let (scope, feature) = apis[0].make_entitled(0).await;
    let members = json!({"duration": "consumable", "amount": 50});
    let boost = apis[0].boost(&scope, &feature, members).await.ok(201);
    let path = format!("/v1/{scope}/boosts/{}", id(&boost));
    let spend = apis.iter().cycle().take(40).map(|api| api.spend(&scope, &feature, 1));
    let revoke = eventually("the boost is revoked", async || {
        let now = apis[0].get(&path).await.ok(200);
        let gone = apis[0].delete(&format!("{path}?version={}", now["version"])).await;
        (gone.status == 200).then_some(gone)
    });
    let (spent, gone) = futures::join!(futures::future::join_all(spend), revoke);
    let admitted = spent.iter().filter(|answer| answer.status == 201).count();
    let refused = spent.iter().filter(|answer| answer.status == 403).count();
    assert_eq!(admitted + refused, 40);
    let last = gone.ok(200)["last_version"].as_u64().unwrap();
    let last = apis[0].get(&format!("{path}/versions/{last}")).await.ok(200);
    assert_eq!(last["consumed"], admitted);
    let advice = apis[0].entitlement(&scope, &feature).await;
    assert_eq!((&advice["used"], &advice["limit"]), (&json!(admitted), &json!(admitted)));
}
