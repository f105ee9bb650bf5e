//! Credits: balances that never fall below zero, reservations that are resolved once, and a
//! ledger that adds up whatever is retried, raced or killed.

use crate::harness::{
    Api, Server, both_databases, eventually, id, instant, postgres_only, run_to_end, together,
    unique, version,
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, Mutex},
    time::Duration,
};

both_databases![
    credits_are_bought_reserved_and_charged,
    refusals_say_what_is_missing,
    a_reservation_is_resolved_once_and_a_repeat_gets_the_first_result,
    transfers_and_reservations_are_listed_page_by_page,
    transfers_are_found_by_kind_purpose_and_time,
    the_document_has_the_bounds_and_names_of_credits,
    topups_and_adjustments_are_for_admins_and_on_record,
    a_scoped_key_spends_the_credits_of_its_workspace_only,
    racing_clients_spend_an_account_to_exactly_zero,
    racing_resolutions_of_one_reservation_have_one_result,
    a_workspace_with_credits_is_not_deleted,
    kills_lose_no_acknowledged_transfer_and_apply_none_twice,
    verify_adds_every_account_up_again,
    a_repeat_gets_its_answer_whatever_is_left,
    the_age_of_a_pending_reservation_is_measured,
];
postgres_only![several_servers_spend_an_account_to_exactly_zero];

/// A workspace with these credits, as `/v1/workspaces/wsp_…`.
async fn rich(api: &Api, credits: i64) -> String {
    let workspace = api.make_workspace(json!({})).await;
    let path = format!("/v1/workspaces/{}", id(&workspace));
    top_up(api, &path, credits).await;
    path
}

async fn top_up(api: &Api, workspace: &str, amount: i64) -> Value {
    let body = json!({"amount": amount, "reason": "bought"});
    api.post(&format!("{workspace}/credits/topups"), &body).await.ok(201)
}

fn reserve(api: &Api, workspace: &str, amount: i64) -> crate::harness::Call {
    api.post(&format!("{workspace}/credits/reservations"), &json!({"amount": amount}))
}

fn post(api: &Api, reservation: &Value, body: &Value) -> crate::harness::Call {
    api.post(&format!("/v1/reservations/{}/post", id(reservation)), body)
}

fn void(api: &Api, reservation: &Value) -> crate::harness::Call {
    api.post(&format!("/v1/reservations/{}/void", id(reservation)), &json!({}))
}

/// What is available and what is reserved.
async fn credits(api: &Api, workspace: &str) -> (i64, i64) {
    let now = api.get(&format!("{workspace}/credits")).await.ok(200);
    (now["available"].as_i64().unwrap(), now["reserved"].as_i64().unwrap())
}

async fn verify(server: &Server) {
    let url = [("IFMATCH_DATABASE_URL", server.database().url())];
    run_to_end(server.database(), &["verify"], &url).await.succeeded();
}

async fn credits_are_bought_reserved_and_charged(server: Server) {
    let api = server.api();
    let workspace = format!("/v1/workspaces/{}", id(&api.make_workspace(json!({})).await));
    let path = format!("{workspace}/credits");
    let none = json!({"available": 0, "reserved": 0, "version": 0});
    assert_eq!(api.get(&path).await.ok(200), none, "an account that has had no transfer");

    let body = json!({"amount": 100, "reason": "invoice 7"});
    let made = api.post(&format!("{path}/topups"), &body).await.is(201);
    let location = made.header("Location").unwrap().to_owned();
    let topup = made.body;
    assert_eq!(api.get(&location).await.ok(200), topup);
    assert!(id(&topup).starts_with("trf_"), "{topup}");
    assert_eq!((&topup["kind"], &topup["amount"]), (&json!("topup"), &json!(100)));
    assert_eq!((&topup["reason"], &topup["reservation_id"]), (&json!("invoice 7"), &Value::Null));
    assert!(topup["by"]["actor"].is_string() && topup["at"].is_string(), "{topup}");

    let body = json!({"amount": 30, "ref": "job 17"});
    let made = api.post(&format!("{path}/reservations"), &body).await.is(201);
    let location = made.header("Location").unwrap().to_owned();
    let reserved = made.body;
    assert_eq!((&reserved["kind"], &reserved["ref"]), (&json!("reserve"), &json!("job 17")));
    assert_eq!(reserved["reservation_id"], reserved["id"]);
    assert_eq!(location, format!("/v1/reservations/{}", id(&reserved)));
    let pending = api.get(&location).await.ok(200);
    assert_eq!((&pending["status"], &pending["posted"]), (&json!("pending"), &Value::Null));
    let now = json!({"available": 70, "reserved": 30, "version": 2});
    assert_eq!(api.get(&path).await.ok(200), now);
    assert_eq!((&reserved["version"], &reserved["available"]), (&json!(2), &json!(70)));
    assert_eq!(reserved["reserved"], 30, "the balances after it");

    let posted = post(&api, &reserved, &json!({"amount": 12})).await.ok(200);
    assert_eq!((&posted["kind"], &posted["amount"]), (&json!("post"), &json!(12)));
    assert_eq!((&posted["reservation_id"], &posted["ref"]), (&reserved["id"], &json!("job 17")));
    assert_eq!(credits(&api, &workspace).await, (88, 0), "the rest is available again");
    let resolved = api.get(&location).await.ok(200);
    assert_eq!((&resolved["status"], &resolved["posted"]), (&json!("posted"), &json!(12)));
    assert_eq!(resolved["resolved_by"], posted["id"]);

    let second = reserve(&api, &workspace, 88).await.ok(201);
    assert_eq!(credits(&api, &workspace).await, (0, 88));
    let voided = void(&api, &second).await.ok(200);
    assert_eq!((&voided["kind"], &voided["amount"]), (&json!("void"), &json!(88)));
    assert_eq!(credits(&api, &workspace).await, (88, 0));
    let third = reserve(&api, &workspace, 8).await.ok(201);
    let whole = api.call("POST", &format!("/v1/reservations/{}/post", id(&third)));
    assert_eq!(whole.await.ok(200)["amount"], 8, "all of it by default");

    let kinds: Vec<Value> =
        api.list(&format!("{path}/transfers")).await.iter().map(|t| t["kind"].clone()).collect();
    let expected = ["post", "reserve", "void", "reserve", "post", "reserve", "topup"];
    assert_eq!(kinds, expected, "newest first");
    verify(&server).await;
}

async fn refusals_say_what_is_missing(server: Server) {
    let api = server.api();
    let workspace = rich(&api, 10).await;
    let refused = reserve(&api, &workspace, 11).await.problem(422, "INSUFFICIENT_CREDITS");
    assert_eq!((&refused["required"], &refused["available"]), (&json!(11), &json!(10)));
    let adjustments = format!("{workspace}/credits/adjustments");
    let body = json!({"amount": -11, "reason": "counted"});
    let refused = api.post(&adjustments, &body).await.problem(422, "INSUFFICIENT_CREDITS");
    assert_eq!((&refused["required"], &refused["available"]), (&json!(11), &json!(10)));
    let reserved = reserve(&api, &workspace, 10).await.ok(201);
    let refused = post(&api, &reserved, &json!({"amount": 11})).await;
    let refused = refused.problem(422, "EXCEEDS_RESERVATION");
    assert_eq!((&refused["reserved"], &refused["amount"]), (&json!(10), &json!(11)));
    let topups = format!("{workspace}/credits/topups");
    let body = json!({"amount": ifmatch::INTEGER_MAX, "reason": "all"});
    api.post(&topups, &body).await.problem(422, "AMOUNT_OVERFLOW");
    for (path, body, field) in [
        (&topups, json!({"amount": 0, "reason": "r"}), "/amount"),
        (&topups, json!({"amount": 1.5, "reason": "r"}), "/amount"),
        (&topups, json!({"amount": 1}), "/reason"),
        (&topups, json!({"amount": 1, "reason": ""}), "/reason"),
        (&topups, json!({"amount": 1, "reason": "r", "kind": "post"}), "/kind"),
        (&adjustments, json!({"amount": 0, "reason": "r"}), "/amount"),
        (&format!("{workspace}/credits/reservations"), json!({"amount": -1}), "/amount"),
        (&format!("{workspace}/credits/reservations"), json!({"amount": 1, "ref": 7}), "/ref"),
        (&format!("/v1/reservations/{}/post", id(&reserved)), json!({"amount": 0}), "/amount"),
        (&format!("/v1/reservations/{}/void", id(&reserved)), json!({"amount": 1}), "/amount"),
    ] {
        api.post(path, &body).await.invalid(field);
    }
    for path in [&topups, &adjustments, &format!("{workspace}/credits/reservations")] {
        let body = json!({"amount": 1, "reason": "r"});
        api.post(path, &body)
            .without_idempotency_key()
            .await
            .problem(400, "IDEMPOTENCY_KEY_REQUIRED");
    }
    let unknown = "/v1/workspaces/wsp_0193f0c0a1b27c3d8e4f5a6b7c8d9e0f";
    reserve(&api, unknown, 1).await.problem(404, "NOT_FOUND");
    api.get(&format!("{unknown}/credits")).await.problem(404, "NOT_FOUND");
    api.get(&format!("{unknown}/credits/transfers")).await.problem(404, "NOT_FOUND");
    let unknown = json!({"id": "trf_0193f0c0a1b27c3d8e4f5a6b7c8d9e0f"});
    void(&api, &unknown).await.problem(404, "NOT_FOUND");
    let other = json!({"id": "sub_0193f0c0a1b27c3d8e4f5a6b7c8d9e0f"});
    void(&api, &other).await.problem(400, "WRONG_ID_TYPE");
    let lists = format!("{workspace}/credits/reservations?status=open");
    api.get(&lists).await.invalid("?status");
    let gone = api.make_workspace(json!({})).await;
    let gone_path = format!("/v1/workspaces/{}", id(&gone));
    api.delete(&format!("{gone_path}?version=1")).await.ok(200);
    reserve(&api, &gone_path, 1).await.problem(410, "DELETED");
    api.get(&format!("{gone_path}/credits")).await.problem(410, "DELETED");
    assert_eq!(credits(&api, &workspace).await, (0, 10));
}

async fn a_reservation_is_resolved_once_and_a_repeat_gets_the_first_result(server: Server) {
    let api = server.api();
    let workspace = rich(&api, 100).await;
    let posted = reserve(&api, &workspace, 10).await.ok(201);
    let voided = reserve(&api, &workspace, 20).await.ok(201);
    let first = post(&api, &posted, &json!({"amount": 7})).await.ok(200);
    assert_eq!(post(&api, &posted, &json!({"amount": 7})).await.ok(200), first);
    let given_back = void(&api, &voided).await.ok(200);
    assert_eq!(void(&api, &voided).await.ok(200), given_back);
    for (refused, code, by) in [
        (post(&api, &posted, &json!({"amount": 8})), "RESERVATION_ALREADY_POSTED", &first),
        (post(&api, &posted, &json!({})), "RESERVATION_ALREADY_POSTED", &first),
        (void(&api, &posted), "RESERVATION_ALREADY_POSTED", &first),
        (post(&api, &voided, &json!({})), "RESERVATION_ALREADY_VOIDED", &given_back),
    ] {
        let refused = refused.await.problem(409, code);
        assert_eq!(refused["transfer_id"], by["id"]);
        assert_eq!(refused["amount"], by["amount"]);
    }
    assert_eq!(credits(&api, &workspace).await, (93, 0));
    verify(&server).await;
}

async fn a_repeat_gets_its_answer_whatever_is_left(server: Server) {
    let api = server.api();
    let workspace = rich(&api, 100).await;
    let path = format!("{workspace}/credits");
    let adjustments = format!("{path}/adjustments");
    let adjust = || api.post(&adjustments, &json!({"amount": -40, "reason": "r"})).key("adjust");
    // Each of these would be refused if it were carried out again, because nothing is left.
    let taken = adjust().await.ok(201);
    let reserved = reserve(&api, &workspace, 60).key("reserve").await.ok(201);
    let posted = post(&api, &reserved, &json!({"amount": 60})).key("post").await.ok(200);
    for _ in 0..2 {
        assert_eq!(adjust().await.ok(201), taken);
        assert_eq!(reserve(&api, &workspace, 60).key("reserve").await.ok(201), reserved);
        let repeated = post(&api, &reserved, &json!({"amount": 60})).key("post").await;
        assert_eq!(repeated.ok(200), posted);
        reserve(&api, &workspace, 61).key("reserve").await.problem(422, "IDEMPOTENCY_KEY_REUSED");
    }
    assert_eq!(credits(&api, &workspace).await, (0, 0));
    // A repeat and other requests, all at once: the repeat alone is told the earlier answer.
    top_up(&api, &workspace, 30).await;
    for round in 0..5 {
        let answers = together(12, |n| {
            let (api, workspace, key) =
                (api.clone(), workspace.clone(), format!("{round}-{}", n % 6));
            async move { reserve(&api, &workspace, 1).key(&key).await.ok(201) }
        });
        let made: HashSet<String> = answers.await.iter().map(id).map(str::to_owned).collect();
        assert_eq!(made.len(), 6, "one for each key");
    }
    assert_eq!(credits(&api, &workspace).await, (0, 30));
    verify(&server).await;
}

async fn transfers_and_reservations_are_listed_page_by_page(server: Server) {
    let api = server.api();
    let workspace = rich(&api, 1_000).await;
    let mut made = Vec::new();
    for amount in 1..=7 {
        made.push(reserve(&api, &workspace, amount).await.ok(201));
    }
    void(&api, &made[0]).await.ok(200);
    post(&api, &made[1], &json!({})).await.ok(200);
    let pages = async |list: &str| {
        let path = format!("{workspace}/credits/{list}");
        let mut items = Vec::new();
        let mut next = path.clone();
        loop {
            let page = api.get(&next).await.ok(200);
            let more = page["items"].as_array().unwrap();
            assert!(more.len() <= 3);
            items.extend(more.iter().cloned());
            match page["next_cursor"].as_str() {
                Some(cursor) => next = format!("{path}&cursor={cursor}"),
                None => return items,
            }
        }
    };
    let amounts = async |query: &str| {
        let items = pages(&format!("reservations?limit=3{query}")).await;
        items.iter().map(|one| one["amount"].as_i64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(amounts("").await, [1, 2, 3, 4, 5, 6, 7], "oldest first");
    let first = api.get(&format!("/v1/reservations/{}", id(&made[0]))).await.ok(200);
    assert_eq!(first["server_id"], Value::Null, "no server made it");
    assert_eq!(amounts("&status=pending").await, [3, 4, 5, 6, 7]);
    assert_eq!(amounts("&status=voided").await, [1]);
    assert_eq!(amounts("&status=posted").await, [2]);
    let transfers = pages("transfers?limit=3").await;
    assert_eq!(transfers.len(), 10);
    let versions: Vec<_> = transfers.iter().map(|transfer| version(transfer)).collect();
    assert_eq!(versions, [10, 9, 8, 7, 6, 5, 4, 3, 2, 1], "in the order of the account");
    let other = rich(&api, 5).await;
    assert_eq!(api.list(&format!("{other}/credits/transfers")).await.len(), 1);
    let path = format!("{workspace}/credits/transfers/{}", id(&transfers[0]));
    assert_eq!(api.get(&path).await.ok(200), transfers[0]);
    api.get(&format!("{path}?limit=1")).await.invalid("?limit");
    let path = format!("{other}/credits/transfers/{}", id(&transfers[0]));
    api.get(&path).await.problem(404, "NOT_FOUND");
}

async fn transfers_are_found_by_kind_purpose_and_time(server: Server) {
    let api = server.api();
    let workspace = rich(&api, 1_000).await;
    let render = json!({"amount": 5, "ref": "render 17 & more"});
    let path = format!("{workspace}/credits/reservations");
    let reserved = api.post(&path, &render).key(&unique("reserve")).await.ok(201);
    let other = reserve(&api, &workspace, 7).await.ok(201);
    post(&api, &reserved, &json!({})).await.ok(200);
    void(&api, &other).await.ok(200);
    top_up(&api, &workspace, 20).await;
    let all = api.list(&format!("{workspace}/credits/transfers")).await;
    let versions = async |query: &str| {
        let mut versions = Vec::new();
        let path = format!("{workspace}/credits/transfers?limit=1&{query}");
        let mut next = path.clone();
        loop {
            let page = api.get(&next).await.ok(200);
            versions.extend(page["items"].as_array().unwrap().iter().map(version));
            match page["next_cursor"].as_str() {
                Some(cursor) => next = format!("{path}&cursor={cursor}"),
                None => return versions,
            }
        }
    };
    assert_eq!(versions("kind=topup").await, [6, 1], "newest first");
    assert_eq!(versions("kind=reserve").await, [3, 2]);
    assert_eq!(versions("kind=refund").await, [0i64; 0]);
    assert_eq!(versions("ref=render%2017%20%26%20more").await, [4, 2], "its reservation and post");
    assert_eq!(versions("ref=render").await, [0i64; 0], "the whole text");
    assert_eq!(versions("ref=render%2017%20%26%20more&kind=post").await, [4]);
    let since = |n: usize| format!("since={}", all[n]["at"].as_str().unwrap());
    assert_eq!(versions(&since(5)).await, [6, 5, 4, 3, 2, 1]);
    assert_eq!(versions(&since(2)).await, [6, 5, 4], "from this instant on");
    assert_eq!(versions(&format!("{}&kind=topup", since(4))).await, [6]);
    assert_eq!(versions("since=2999-01-01T00:00:00Z").await, [0i64; 0]);
    // Clocks of several servers differ: the instants need not be in the order of the versions.
    let at = instant(&all[5]["at"]).as_microsecond();
    for (version, at) in [(5, at - 1), (2, at + 3_600_000_000)] {
        let account = format!("{}/credits", workspace.trim_start_matches("/v1/workspaces/"));
        server.database().execute(&format!(
            "UPDATE transfers SET at = {at} WHERE account_id = '{account}' AND version = {version}"
        ));
    }
    assert_eq!(versions(&since(5)).await, [2, 6, 4, 3, 1], "by their instants");
    assert_eq!(versions("kind=reserve").await, [3, 2], "in the order of the account");
    let list = format!("{workspace}/credits/transfers");
    api.get(&format!("{list}?kind=gift")).await.invalid("?kind");
    api.get(&format!("{list}?since=yesterday")).await.invalid("?since");
    api.get(&format!("{list}?amount=5")).await.invalid("?amount");
    api.get(&format!("{path}?status=open")).await.invalid("?status");
}

async fn the_document_has_the_bounds_and_names_of_credits(server: Server) {
    let document = server.api().get("/openapi.json").await.ok(200);
    let least = |schema: &str, field: &str| {
        document["components"]["schemas"][schema]["properties"][field]["minimum"].as_i64()
    };
    for schema in ["TopupInput", "ReservationInput", "PostingInput", "Reservation"] {
        assert_eq!(least(schema, "amount"), Some(1), "{schema}");
    }
    assert!(least("AdjustmentInput", "amount").unwrap() < 0, "it may take away");
    assert_eq!((least("Credits", "available"), least("Credits", "reserved")), (Some(0), Some(0)));
    let names = |list: &str, filter: &str| {
        let path = format!("/v1/workspaces/{{id}}/credits/{list}");
        let parameters = document["paths"][&path]["get"]["parameters"].as_array().unwrap();
        let found = parameters.iter().find(|parameter| parameter["name"] == filter).unwrap();
        found["schema"]["enum"].clone()
    };
    assert_eq!(names("reservations", "status"), json!(["pending", "posted", "voided"]));
    let kinds = ["topup", "adjust", "reserve", "post", "void", "charge", "refund"];
    assert_eq!(names("transfers", "kind"), json!(kinds));
}

async fn topups_and_adjustments_are_for_admins_and_on_record(server: Server) {
    let api = server.api();
    let workspace = rich(&api, 100).await;
    let (agent, viewer) = (api.make_key("agent").await, api.make_key("viewer").await);
    let usage = api.make_key("usage").await;
    let body = json!({"amount": -30, "reason": "counted again"});
    for path in ["topups", "adjustments"] {
        let path = format!("{workspace}/credits/{path}");
        agent.post(&path, &body).await.problem(403, "FORBIDDEN");
    }
    api.post(&format!("{workspace}/credits/adjustments"), &body).await.ok(201);
    assert_eq!(credits(&viewer, &workspace).await, (70, 0));
    let reserved = reserve(&agent, &workspace, 10).await.ok(201);
    for other in [&viewer, &usage] {
        reserve(other, &workspace, 1).await.problem(403, "FORBIDDEN");
        void(other, &reserved).await.problem(403, "FORBIDDEN");
    }
    usage.get(&format!("{workspace}/credits")).await.problem(403, "FORBIDDEN");
    post(&agent, &reserved, &json!({})).await.ok(200);
    let workspace_id = workspace.rsplit('/').next().unwrap();
    let audited = api.audit("credit_adjustment", workspace_id).await;
    assert_eq!(audited.len(), 1);
    assert_eq!(audited[0]["reason"], "counted again");
    let change = json!([{"path": "/credits/available", "from": 100, "to": 70}]);
    assert_eq!(audited[0]["changes"], change);
    assert_eq!(api.audit("credit_topup", workspace_id).await.len(), 1);
}

async fn a_scoped_key_spends_the_credits_of_its_workspace_only(server: Server) {
    let api = server.api();
    let (own, foreign) = (rich(&api, 100).await, rich(&api, 100).await);
    let body = json!({"name": unique("scoped"), "role": "agent",
        "workspace_id": own.rsplit('/').next().unwrap()});
    let key = api.post("/v1/api-keys", &body).await.ok(201);
    let scoped = api.with_key(key["key"].as_str().unwrap());
    let foreign_one = reserve(&api, &foreign, 10).await.ok(201);
    let reserved = reserve(&scoped, &own, 10).await.ok(201);
    post(&scoped, &reserved, &json!({})).await.ok(200);
    assert_eq!(credits(&scoped, &own).await, (90, 0));
    assert_eq!(scoped.list(&format!("{own}/credits/transfers")).await.len(), 3);
    let body = json!({"amount": 1, "reason": "mine"});
    for path in ["topups", "adjustments"] {
        let path = format!("{own}/credits/{path}");
        scoped.post(&path, &body).await.problem(403, "FORBIDDEN");
    }
    reserve(&scoped, &foreign, 1).await.problem(404, "NOT_FOUND");
    post(&scoped, &foreign_one, &json!({})).await.problem(404, "NOT_FOUND");
    void(&scoped, &foreign_one).await.problem(404, "NOT_FOUND");
    let one = format!("/v1/reservations/{}", id(&foreign_one));
    scoped.get(&one).await.problem(404, "NOT_FOUND");
    for list in ["", "/transfers", "/reservations"] {
        scoped.get(&format!("{foreign}/credits{list}")).await.problem(404, "NOT_FOUND");
    }
    let own_one = api.get(&format!("/v1/reservations/{}", id(&reserved)));
    let through_own = scoped.get(&format!("/v1/reservations/{}", id(&reserved)));
    assert_eq!(through_own.await.ok(200), own_one.await.ok(200));
    assert_eq!(credits(&api, &foreign).await, (90, 10));
}

/// Clients that reserve and post until nothing is left; some of them void now and then.
async fn spend(apis: &[Api], workspace: &str, amount: i64) -> i64 {
    let clients = together(apis.len() * 6, |n| {
        let (api, workspace) = (apis[n % apis.len()].clone(), workspace.to_owned());
        async move {
            let mut spent = 0;
            for round in 0_u64.. {
                let answer = reserve(&api, &workspace, amount).await;
                if answer.status == 422 {
                    let missing = answer.problem(422, "INSUFFICIENT_CREDITS");
                    assert!(missing["available"].as_i64().unwrap() < amount);
                    return spent;
                }
                let reserved = answer.ok(201);
                if round % 3 == 2 && n.is_multiple_of(2) {
                    void(&api, &reserved).await.ok(200);
                } else {
                    post(&api, &reserved, &json!({})).await.ok(200);
                    spent += amount;
                }
            }
            spent
        }
    });
    clients.await.into_iter().sum()
}

async fn racing_clients_spend_an_account_to_exactly_zero(server: Server) {
    let api = server.api();
    let workspace = rich(&api, 600).await;
    let spent = spend(std::slice::from_ref(&api), &workspace, 3).await;
    let (available, reserved) = credits(&api, &workspace).await;
    assert_eq!((available + spent, reserved), (600, 0));
    // A void that came after the last client had given up may have left a little.
    let spent = spent + spend(std::slice::from_ref(&api), &workspace, 3).await;
    assert!(spent <= 600 && credits(&api, &workspace).await == (600 - spent, 0));
    verify(&server).await;
}

async fn several_servers_spend_an_account_to_exactly_zero(server: Server) {
    let others = [server.sibling().await, server.sibling().await];
    let api = server.api();
    let workspace = rich(&api, 900).await;
    let apis = [api.clone(), others[0].api(), others[1].api()];
    let spent = spend(&apis, &workspace, 3).await;
    assert_eq!(credits(&api, &workspace).await, (900 - spent, 0));
    verify(&server).await;
}

async fn racing_resolutions_of_one_reservation_have_one_result(server: Server) {
    let api = server.api();
    let workspace = rich(&api, 100).await;
    for _ in 0..10 {
        let before = credits(&api, &workspace).await.0;
        let reserved = reserve(&api, &workspace, 4).await.ok(201);
        let answers = together(8, |n| {
            let (api, reserved) = (api.clone(), reserved.clone());
            async move {
                if n.is_multiple_of(2) {
                    post(&api, &reserved, &json!({})).await
                } else {
                    void(&api, &reserved).await
                }
            }
        })
        .await;
        let (ok, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|a| a.status == 200);
        assert_eq!((ok.len(), refused.len()), (4, 4));
        assert!(ok.iter().all(|answer| answer.body == ok[0].body), "one transfer");
        let was_posted = ok[0].body["kind"] == "post";
        let code =
            if was_posted { "RESERVATION_ALREADY_POSTED" } else { "RESERVATION_ALREADY_VOIDED" };
        for answer in refused {
            answer.problem(409, code);
        }
        let charged = if was_posted { 4 } else { 0 };
        assert_eq!(credits(&api, &workspace).await, (before - charged, 0));
    }
}

async fn a_workspace_with_credits_is_not_deleted(server: Server) {
    let api = server.api();
    let workspace = rich(&api, 1).await;
    let refused = api.delete(&format!("{workspace}?version=1")).await;
    refused.problem(409, "WORKSPACE_IN_USE");
    // A first top-up and a deletion race: one of them wins.
    let made = api.make_workspace(json!({})).await;
    let path = format!("/v1/workspaces/{}", id(&made));
    let answers = together(2, |n| {
        let (api, path) = (api.clone(), path.clone());
        async move {
            if n == 0 {
                api.delete(&format!("{path}?version=1")).await
            } else {
                let body = json!({"amount": 1, "reason": "race"});
                api.post(&format!("{path}/credits/topups"), &body).await
            }
        }
    })
    .await;
    let statuses = [answers[0].status, answers[1].status];
    assert!([[200, 410], [409, 201]].contains(&statuses), "{statuses:?}");
    verify(&server).await;
}

/// What each key was told: the transfer, by its Idempotency-Key.
type Told = Arc<Mutex<BTreeMap<String, Value>>>;

async fn kills_lose_no_acknowledged_transfer_and_apply_none_twice(mut server: Server) {
    let api = server.api();
    let workspace = rich(&api, 100_000).await;
    let url = Arc::new(Mutex::new(server.url().to_owned()));
    let told = Told::default();
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let (api, url, told) = (api.clone(), url.clone(), told.clone());
            let workspace = workspace.clone();
            tokio::spawn(async move {
                for _ in 0..60 {
                    let body = json!({"amount": 3});
                    let path = format!("{workspace}/credits/reservations");
                    let reserved = until_answered(&api, &url, &told, &path, &body, 201).await;
                    let path = format!("/v1/reservations/{}/post", id(&reserved));
                    until_answered(&api, &url, &told, &path, &json!({"amount": 2}), 200).await;
                }
            })
        })
        .collect();
    for round in 1..=3 {
        eventually("the clients are under way", async || {
            let done = clients.iter().all(tokio::task::JoinHandle::is_finished);
            (done || told.lock().unwrap().len() >= round * 200).then_some(())
        })
        .await;
        server.kill9().await;
        server.restart().await;
        server.url().clone_into(&mut url.lock().unwrap());
    }
    for client in clients {
        client.await.unwrap();
    }
    let api = server.api();
    let stored: BTreeMap<String, Value> = api
        .list(&format!("{workspace}/credits/transfers"))
        .await
        .into_iter()
        .map(|transfer| (id(&transfer).to_owned(), transfer))
        .collect();
    let told = told.lock().unwrap().clone();
    assert_eq!(told.len(), 8 * 60 * 2);
    for transfer in told.values() {
        assert_eq!(stored.get(id(transfer)), Some(transfer), "acknowledged, so it is stored");
    }
    assert_eq!(stored.len(), told.len() + 1, "each request moved credits once");
    assert_eq!(credits(&api, &workspace).await, (100_000 - 8 * 60 * 2, 0));
    verify(&server).await;
}

/// Sends one request under one key until it is answered.
async fn until_answered(
    api: &Api,
    url: &Mutex<String>,
    told: &Told,
    path: &str,
    body: &Value,
    status: u16,
) -> Value {
    let key = unique("credit");
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    for _ in 0..3_000 {
        ticks.tick().await;
        let api = api.at(&url.lock().unwrap());
        if let Ok(answer) = api.post(path, body).key(&key).send().await
            && ![500, 503].contains(&answer.status)
        {
            let body = answer.ok(status);
            told.lock().unwrap().insert(key, body.clone());
            return body;
        }
    }
    panic!("no server answers {key}");
}

async fn verify_adds_every_account_up_again(mut server: Server) {
    let api = server.api();
    let workspace = rich(&api, 10).await;
    reserve(&api, &workspace, 4).await.ok(201);
    verify(&server).await;
    server.stop().await;
    let url = [("IFMATCH_DATABASE_URL", server.database().url())];
    for (change, back, told) in [
        (
            "UPDATE ledger_accounts SET available = available + 1",
            "UPDATE ledger_accounts SET available = available - 1",
            "an account has what its transfers add up to",
        ),
        (
            "UPDATE ledger_accounts SET reserved = reserved - 1, available = available + 1",
            "UPDATE ledger_accounts SET reserved = reserved + 1, available = available - 1",
            "an account has reserved what its pending reservations set aside",
        ),
        (
            "UPDATE reservations SET amount = 5",
            "UPDATE reservations SET amount = 4",
            "a reserve has one reservation of the same amount in its account",
        ),
    ] {
        server.database().execute(change);
        let broken = run_to_end(server.database(), &["verify"], &url).await;
        assert!(broken.code == Some(1) && broken.output().contains(told), "{}", broken.output());
        server.database().execute(back);
        run_to_end(server.database(), &["verify"], &url).await.succeeded();
    }
}

async fn the_age_of_a_pending_reservation_is_measured(mut server: Server) {
    let api = server.api();
    let workspace = rich(&api, 10).await;
    let reserved = reserve(&api, &workspace, 4).await.ok(201);
    let two_days_ago = ifmatch::Timestamp::now().as_micros() - 2 * 24 * 60 * 60 * 1_000_000;
    server.stop().await;
    server.database().execute(&format!("UPDATE reservations SET created_at = {two_days_ago}"));
    server.restart().await;
    eventually("the reservation is measured", async || {
        let count = server.metric("ifmatch_credit_reservations_pending").await;
        let age = server.metric("ifmatch_credit_reservation_oldest_age_seconds").await;
        (count > 0.5 && age > 170_000.0).then_some(())
    })
    .await;
    eventually("and told in the log", async || {
        let log = server.log();
        (log.contains("credits.reservation_old") && log.contains(id(&reserved))).then_some(())
    })
    .await;
    assert_eq!(credits(&server.api(), &workspace).await, (6, 4), "it never ends by itself");
}
