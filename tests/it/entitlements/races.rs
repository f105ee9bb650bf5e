//! Many clients of one limit: exactly what fits is admitted.

use crate::harness::{Api, Server, both_databases, id, run_to_end, together, units, version};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
};

both_databases![
    thirty_two_clients_are_admitted_exactly_the_limit,
    thirty_two_clients_wanting_three_each_are_admitted_what_fits,
    clients_of_different_quantities_fill_the_limit,
    holds_and_records_together_never_exceed_the_limit,
    holds_that_expire_under_load_leak_nothing,
    two_servers_on_any_database_admit_exactly_the_limit,
    a_limit_lowered_under_load_holds_from_its_answer_on,
    a_limit_raised_under_load_is_used_up_exactly,
    suspending_under_load_ends_admission_with_its_answer,
];

/// A workspace with `limit` units, three namespaces that share them, and the feature.
async fn pool(api: &Api, limit: i64) -> (Vec<String>, String) {
    let (workspace, feature) = api.make_entitled(limit).await;
    let mut scopes = vec![workspace];
    for _ in 0..3 {
        scopes.push(api.make_scope_in(&scopes[0]).await);
    }
    (scopes, feature)
}

/// The units recorded for these scopes together.
async fn recorded(api: &Api, scopes: &[String], feature: &str) -> i64 {
    let mut sum = 0;
    for scope in scopes {
        sum += api.recorded(scope, feature).await;
    }
    sum
}

/// 32 clients request more than the limit, `quantity` units at a time. Checks what was admitted.
async fn exhaust(server: &Server, limit: i64, quantity: i64) {
    let (apis, _siblings) = super::clients(server).await;
    let (scopes, feature) = pool(&apis[0], limit).await;
    let each = limit / quantity / 32 + 8;
    let admitted: Vec<Vec<Value>> = together(32, |n| {
        let (api, scope) = (apis[n % apis.len()].clone(), scopes[n / 2 % scopes.len()].clone());
        let (feature, workspace) = (feature.clone(), scopes[0].clone());
        async move {
            let mut admitted = Vec::new();
            for _ in 0..each {
                let answer = api.spend(&scope, &feature, quantity).await;
                if answer.status == 201 {
                    let used = answer.body["used"].as_i64().unwrap();
                    let remaining = answer.body["remaining"].as_i64().unwrap();
                    assert!(used <= limit && remaining == limit - used, "{}", answer.text);
                    assert_eq!(answer.body["charged_scope"], json!(workspace));
                    admitted.push(answer.body);
                } else {
                    let denied = answer.exceeded();
                    let used = denied["used"].as_i64().unwrap();
                    assert!(used + quantity > limit, "denied although there was room: {denied}");
                }
            }
            admitted
        }
    })
    .await;
    let admitted: Vec<_> = admitted.into_iter().flatten().collect();
    let count = i64::try_from(admitted.len()).unwrap();
    assert_eq!(count, limit / quantity, "⌊{limit}/{quantity}⌋");
    let steps: BTreeSet<_> = admitted.iter().map(|one| one["used"].as_i64().unwrap()).collect();
    let expected: BTreeSet<_> = (1..=count).map(|step| step * quantity).collect();
    assert_eq!(steps, expected, "each has its own position in the order");
    assert_eq!(apis[0].counted(&scopes[0], &feature).await, (count * quantity, 0));
    assert_eq!(recorded(&apis[0], &scopes, &feature).await, count * quantity);
    let url = [("IFMATCH_DATABASE_URL", server.database().url())];
    run_to_end(server.database(), &["verify"], &url).await.succeeded();
}

async fn thirty_two_clients_are_admitted_exactly_the_limit(server: Server) {
    exhaust(&server, 1_000, 1).await;
}

async fn thirty_two_clients_wanting_three_each_are_admitted_what_fits(server: Server) {
    exhaust(&server, 1_000, 3).await;
}

async fn clients_of_different_quantities_fill_the_limit(server: Server) {
    let (apis, _siblings) = super::clients(&server).await;
    let (scopes, feature) = pool(&apis[0], 500).await;
    let sums = together(16, |n| {
        let (api, scope) = (apis[n % apis.len()].clone(), scopes[n / 2 % scopes.len()].clone());
        let feature = feature.clone();
        async move {
            let mut sum = 0;
            // Large quantities first. The single units then fill the limit, in any order of
            // clients.
            for quantity in [13, 7, 5, 3].into_iter().chain([1; 40]) {
                let answer = api.spend(&scope, &feature, quantity).await;
                if answer.status == 201 {
                    sum += quantity;
                } else {
                    let denied = answer.exceeded();
                    let free = denied["remaining"].as_i64().unwrap();
                    assert!(free < quantity, "denied although there was room: {denied}");
                }
            }
            sum
        }
    })
    .await;
    assert_eq!(sums.iter().sum::<i64>(), 500, "{sums:?}");
    assert_eq!(apis[0].counted(&scopes[0], &feature).await, (500, 0));
    assert_eq!(recorded(&apis[0], &scopes, &feature).await, 500);
}

async fn holds_and_records_together_never_exceed_the_limit(server: Server) {
    let (apis, _siblings) = super::clients(&server).await;
    let (scopes, feature) = pool(&apis[0], 200).await;
    let within = |meter: &Value| {
        let count = |name: &str| meter[name].as_i64().unwrap();
        assert!(count("used") + count("held") <= 200, "{meter}");
    };
    let worked: Vec<(i64, Vec<(String, Value)>)> = together(24, |n| {
        let (api, scope) = (apis[n % apis.len()].clone(), scopes[n / 2 % scopes.len()].clone());
        let feature = feature.clone();
        async move {
            let (mut used, mut open) = (0, Vec::new());
            for k in 0..8 {
                if (n + k) % 2 == 0 {
                    let answer = api.spend(&scope, &feature, 2).await;
                    if answer.status == 201 {
                        within(&answer.body);
                        used += 2;
                    } else {
                        within(&answer.exceeded());
                    }
                    continue;
                }
                let answer = api.hold(&scope, &feature, 5, 3_600_000).await;
                if answer.status != 201 {
                    within(&answer.exceeded());
                    continue;
                }
                let hold = answer.body;
                within(&hold);
                match k % 4 {
                    0 => {
                        within(&api.settle(&scope, &hold, 3).await.done());
                        used += 3;
                    }
                    1 => within(&api.release(&scope, &hold).await.done()),
                    2 => {
                        let more = api.settle(&scope, &hold, 6).await;
                        if more.status < 300 {
                            within(&more.body);
                            used += 6;
                        } else {
                            within(&more.exceeded());
                            open.push((scope.clone(), hold));
                        }
                    }
                    _ => open.push((scope.clone(), hold)),
                }
            }
            (used, open)
        }
    })
    .await;
    let used: i64 = worked.iter().map(|(used, _)| used).sum();
    let open: Vec<_> = worked.into_iter().flat_map(|(_, open)| open).collect();
    let held = 5 * i64::try_from(open.len()).unwrap();
    assert_eq!(apis[0].counted(&scopes[0], &feature).await, (used, held));
    assert_eq!(recorded(&apis[0], &scopes, &feature).await, used);
    for (scope, hold) in &open {
        apis[0].release(scope, hold).await.done();
    }
    let rest = 200 - used;
    if rest > 0 {
        apis[0].spend(&scopes[1], &feature, rest).await.ok(201);
    }
    assert_eq!(apis[0].spend(&scopes[0], &feature, 1).await.exceeded()["used"], 200);
}

async fn holds_that_expire_under_load_leak_nothing(server: Server) {
    let (apis, _siblings) = super::clients(&server).await;
    let (scopes, feature) = pool(&apis[0], 120).await;
    let used = together(16, |n| {
        let (api, scope) = (apis[n % apis.len()].clone(), scopes[n / 2 % scopes.len()].clone());
        let feature = feature.clone();
        async move {
            let mut used = 0;
            for k in 0..12 {
                let answer = api.spend(&scope, &feature, 1).await;
                used += i64::from(answer.status == 201);
                let hold = api.hold(&scope, &feature, 9, 1 + 5 * k).await;
                if hold.status == 201 && n % 4 == 0 {
                    let settled = api.settle(&scope, &hold.body, 2).await;
                    if settled.status < 300 {
                        used += 2;
                    } else {
                        settled.problem(409, "HOLD_NOT_ACTIVE");
                    }
                }
            }
            used
        }
    })
    .await;
    let used: i64 = used.iter().sum();
    assert!(used <= 120, "{used}");
    crate::harness::eventually("every hold is over", async || {
        (apis[0].counted(&scopes[0], &feature).await.1 == 0).then_some(())
    })
    .await;
    assert_eq!(apis[0].counted(&scopes[0], &feature).await, (used, 0));
    if used < 120 {
        apis[0].spend(&scopes[0], &feature, 120 - used).await.ok(201);
    }
    apis[0].spend(&scopes[0], &feature, 1).await.exceeded();
    assert_eq!(recorded(&apis[0], &scopes, &feature).await, 120);
}

async fn two_servers_on_any_database_admit_exactly_the_limit(server: Server) {
    let sibling = server.sibling().await;
    let apis = [server.api(), sibling.api()];
    let (scopes, feature) = pool(&apis[0], 301).await;
    let admitted = together(16, |n| {
        let (api, scope) = (apis[n % 2].clone(), scopes[n / 2 % scopes.len()].clone());
        let body = json!({"feature": feature, "quantity": 3});
        async move {
            let (path, mut admitted) = (format!("/v1/{scope}/usage"), 0);
            for k in 0..12 {
                // SQLite may be busy when two processes write to it. The key makes a resend safe.
                let answer = loop {
                    let answer = api.post(&path, &body).key(&format!("{n}-{k}")).await;
                    if answer.status != 503 {
                        break answer;
                    }
                };
                match answer.status {
                    201 => admitted += 1,
                    _ => drop(answer.exceeded()),
                }
            }
            admitted
        }
    })
    .await;
    assert_eq!(admitted.iter().sum::<i64>(), 100, "{admitted:?}");
    for api in &apis {
        assert_eq!(api.counted(&scopes[0], &feature).await, (300, 0));
        assert_eq!(recorded(api, &scopes, &feature).await, 300);
    }
}

/// Lets 16 clients use a package's units one by one while the package changes.
///
/// `change` is requested once `begun` units are admitted. Usage admitted after its answer must
/// satisfy `rule`.
async fn under_change<C>(
    server: &Server,
    each: usize,
    begun: i64,
    change: impl FnOnce(Api, String, Value, Value) -> C,
    rule: fn(&Value),
) -> (Vec<Value>, String, String, Api)
where
    C: Future<Output = ()>,
{
    let (apis, siblings) = super::clients(server).await;
    let (scope, feature) = (apis[0].make_scope().await, apis[0].make_feature(json!({})).await);
    let package = apis[0].make_package(json!([units(&feature, 300)]), json!({})).await;
    let assignment = apis[0].assign(&scope, &package, json!({})).await.ok(201);
    let namespace = apis[0].make_scope_in(&scope).await;
    let (count, changed) = (Arc::new(AtomicI64::new(0)), Arc::new(AtomicBool::new(false)));
    let scopes = [scope.clone(), namespace];
    let using = together(16, |n| {
        let (api, scope) = (apis[n % apis.len()].clone(), scopes[n / 2 % 2].clone());
        let (count, changed, feature) = (count.clone(), changed.clone(), feature.clone());
        async move {
            let mut admitted = Vec::new();
            for _ in 0..each {
                let after = changed.load(Ordering::SeqCst);
                let answer = api.spend(&scope, &feature, 1).await;
                if answer.status == 201 {
                    if after {
                        rule(&answer.body);
                    }
                    count.fetch_add(1, Ordering::SeqCst);
                    admitted.push(answer.body);
                } else {
                    assert_eq!(answer.status, 403, "{}", answer.text);
                }
            }
            admitted
        }
    });
    let changing = async {
        crate::harness::eventually("the clients are under way", async || {
            (count.load(Ordering::SeqCst) >= begun).then_some(())
        })
        .await;
        // The change goes to the other server, if there is one.
        let api = apis.last().unwrap().clone();
        change(api, scope.clone(), package.clone(), assignment.clone()).await;
        changed.store(true, Ordering::SeqCst);
    };
    let (admitted, ()) = tokio::join!(using, changing);
    drop(siblings);
    (admitted.into_iter().flatten().collect(), scope, feature, apis[0].clone())
}

async fn relimit(api: Api, package: Value, limit: i64) {
    let feature = package["grants"][0]["feature"].as_str().unwrap();
    let body = json!({"grants": [units(feature, limit)], "version": version(&package)});
    api.patch(&format!("/v1/packages/{}", id(&package)), &body).await.ok(200);
}

fn highest(admitted: &[Value]) -> i64 {
    admitted.iter().map(|one| one["used"].as_i64().unwrap()).max().unwrap()
}

async fn a_limit_lowered_under_load_holds_from_its_answer_on(server: Server) {
    for lower in [150, 40] {
        let (admitted, scope, feature, api) = under_change(
            &server,
            40,
            60,
            move |api, _, package, _| relimit(api, package, lower),
            |recorded| {
                let (used, limit) = (recorded["used"].as_i64(), recorded["limit"].as_i64());
                assert!(limit < Some(300) && used <= limit, "above the new limit: {recorded}");
            },
        )
        .await;
        let count = i64::try_from(admitted.len()).unwrap();
        assert!(count <= 300, "never above the old limit");
        assert_eq!(highest(&admitted), count);
        assert!(count >= lower, "never below the new one: {count}");
        for recorded in &admitted {
            assert!(recorded["used"].as_i64() <= recorded["limit"].as_i64(), "{recorded}");
        }
        assert_eq!(api.counted(&scope, &feature).await, (count, 0));
        assert_eq!(api.spend(&scope, &feature, 1).await.exceeded()["limit"], lower);
    }
}

async fn a_limit_raised_under_load_is_used_up_exactly(server: Server) {
    let raise = |api, _, package, _| relimit(api, package, 450);
    let (admitted, scope, feature, api) = under_change(&server, 48, 60, raise, |recorded| {
        assert_eq!(recorded["limit"], 450, "the new limit counts: {recorded}");
    })
    .await;
    let count = i64::try_from(admitted.len()).unwrap();
    assert!((300..=450).contains(&count), "{count}");
    if count < 450 {
        api.spend(&scope, &feature, 450 - count).await.ok(201);
    }
    assert_eq!(api.spend(&scope, &feature, 1).await.exceeded()["used"], 450);
}

async fn suspending_under_load_ends_admission_with_its_answer(server: Server) {
    let suspend = |api: Api, scope: String, _, assignment: Value| async move {
        let path = format!("/v1/{scope}/packages/{}", id(&assignment));
        api.patch(&path, &json!({"status": "suspended"})).if_match(1).await.ok(200);
    };
    let (admitted, scope, feature, api) = under_change(&server, 30, 60, suspend, |recorded| {
        panic!("admitted after it was suspended: {recorded}");
    })
    .await;
    let count = i64::try_from(admitted.len()).unwrap();
    assert!((60..=300).contains(&count), "{count}");
    api.spend(&scope, &feature, 1).await.problem(403, "FEATURE_NOT_INCLUDED");
    let path = format!("/v1/{scope}/packages");
    let assignment = api.list(&path).await.remove(0);
    api.reassign(&scope, &assignment, json!({"status": "active"})).await.ok(200);
    if count < 300 {
        api.spend(&scope, &feature, 300 - count).await.ok(201);
    }
    assert_eq!(api.spend(&scope, &feature, 1).await.exceeded()["used"], 300);
}
