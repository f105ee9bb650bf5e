//! The Rust SDK behind a gateway that rewrites request ids and loses answers: no edit is applied
//! twice, and none that was applied is told as a conflict.

use crate::harness::{
    ADMIN_KEY, Api, Server, both_databases, id,
    proxy::{Fault, Proxy},
};
use futures::{StreamExt, future, stream};
use ifmatch::{Client, Error, OutcomeUnknown, SendBudget, Subscription, SubscriptionId, Versioned};
use serde_json::json;
use std::{collections::HashMap, time::Duration};

both_databases![
    edits_of_many_clients_are_applied_once_or_told_as_unknown,
    an_edit_is_settled_with_another_key_by_its_digest,
    an_edit_without_a_digest_in_the_history_stays_unknown,
];

/// Edits of each client of a subscription.
const EDITS: u64 = 20;
/// Clients of a subscription.
const CLIENTS: u64 = 3;
/// Subscriptions that are edited at the same time.
const AT_ONCE: usize = 32;

/// The number of the first subscription, by which its faults are drawn. `IFMATCH_TEST_SEED` is the
/// number of runs of this many edits before this one.
fn first() -> u64 {
    let run = std::env::var("IFMATCH_TEST_SEED").ok();
    run.map_or(0, |n| n.parse().expect("IFMATCH_TEST_SEED is a number")) * subscriptions()
}

/// Subscriptions to edit, so that there are `IFMATCH_TEST_GATEWAY_EDITS` edits or a few more.
fn subscriptions() -> u64 {
    let wanted = std::env::var("IFMATCH_TEST_GATEWAY_EDITS").ok();
    let wanted = wanted.map_or(1, |n| n.parse().expect("IFMATCH_TEST_GATEWAY_EDITS is a number"));
    u64::div_ceil(wanted, CLIENTS * EDITS)
}

/// A gateway before the server, and a client behind it.
async fn gateway(server: &Server, key: &str) -> (Proxy, Client) {
    let proxy = Proxy::before(server.url()).await;
    proxy.rewrite_request_ids();
    let client = Client::builder(proxy.url())
        .key(key)
        .send_timeout(Duration::from_secs(5))
        .deadline(Duration::from_secs(20))
        .send_budget(SendBudget { capacity: 10_000, refill_per_second: 1_000 })
        .attempts_max(30)
        .build()
        .unwrap();
    (proxy, client)
}

async fn subscription(api: &Api) -> (SubscriptionId, String) {
    let made = api.make_subscription(json!({})).await;
    (id(&made).parse().unwrap(), format!("/v1/subscriptions/{}", id(&made)))
}

/// Queues faults for the next sends of an edit. The last ones let it through, more often than not.
fn disturb(proxy: &Proxy, random: &mut fastrand::Rng) {
    for _ in 0..random.usize(0..4) {
        let status = if random.bool() { 409 } else { 412 };
        proxy.next(
            "PATCH",
            match random.u8(0..8) {
                0 | 1 => Fault::LoseAnswer,
                2 => Fault::LoseRequest,
                3 => Fault::Duplicate,
                4 => Fault::Answer { status, body: "<h1>no</h1>" },
                5 | 6 => Fault::Replace { status },
                _ => Fault::StripRefusal,
            },
        );
    }
}

/// One edit's token, and what the SDK told about it.
type Told = (String, Result<Versioned<Subscription>, Error>);

/// Edits the subscription again and again. Each edit writes a token that no other edit writes.
async fn edit(server: &Server, subscription: &SubscriptionId, seed: u64) -> Vec<Told> {
    let (proxy, client) = gateway(server, ADMIN_KEY).await;
    let mut random = fastrand::Rng::with_seed(seed);
    let mut told = Vec::new();
    for number in 0..EDITS {
        let token = format!("client {seed} edit {number}");
        disturb(&proxy, &mut random);
        let subscriptions = client.subscriptions();
        let update = subscriptions.update(subscription, |s| {
            s.quantity += 1;
            s.notes.clone_from(&token);
        });
        told.push((token.clone(), update.await));
        proxy.heal();
    }
    told
}

/// Changes the same field without an Idempotency-Key, so that the history has no digest of it.
async fn rival(api: &Api, path: &str) -> i64 {
    let mut applied = 0;
    for number in 0..EDITS {
        let now = api.get(path).await.ok(200);
        let quantity = now["quantity"].as_i64().unwrap() + 1;
        let body = json!({"quantity": quantity, "notes": format!("rival {number}")});
        let version = now["version"].as_i64().unwrap();
        applied += i64::from(api.patch(path, &body).if_match(version).await.status == 200);
    }
    applied
}

/// How often each text was written to a field, by the object's history.
async fn times_written(api: &Api, path: &str, field: &str) -> HashMap<String, i64> {
    let mut times = HashMap::new();
    for entry in api.history(path).await {
        for change in entry["changes"].as_array().unwrap().iter().filter(|c| c["path"] == field) {
            *times.entry(change["to"].as_str().unwrap().to_owned()).or_default() += 1;
        }
    }
    times
}

/// The edits of one subscription that were applied, and those that were told as unknown at first.
struct Tally {
    applied: i64,
    unknown: usize,
}

/// Lets all clients and a rival edit one subscription, and compares what they were told.
async fn edit_by_all(server: &Server, number: u64) -> Tally {
    let api = server.api();
    let (subscription, path) = subscription(&api).await;
    let clients = (0..CLIENTS).map(|client| edit(server, &subscription, number * CLIENTS + client));
    let (told, rivals) = futures::join!(future::join_all(clients), rival(&api, &path));
    let written = times_written(&api, &path, "/notes").await;
    let (_gateway, client) = gateway(server, ADMIN_KEY).await;
    let mut tally = Tally { applied: 0, unknown: 0 };
    for (token, told) in told.into_iter().flatten() {
        let times = written.get(&token).copied().unwrap_or_default();
        assert!(times <= 1, "{token} was applied {times} times");
        tally.applied += times;
        match told {
            Ok(_) => assert_eq!(times, 1, "{token} was told as applied"),
            Err(Error::OutcomeUnknown(lost)) => {
                tally.unknown += 1;
                let settled = client.resume(*lost).await;
                // The key's own answer tells: the edit was applied, or there is a conflict.
                assert_eq!(settled.is_ok(), times == 1, "{token}: {:?}", settled.err());
            }
            Err(told) => assert_eq!(times, 0, "{token} was told as not applied: {told}"),
        }
    }
    let quantity = api.get(&path).await.ok(200)["quantity"].as_i64().unwrap();
    assert_eq!(quantity, 1 + tally.applied + rivals, "each edit counts once");
    tally
}

async fn edits_of_many_clients_are_applied_once_or_told_as_unknown(server: Server) {
    let edited =
        stream::iter(first()..first() + subscriptions()).map(|number| edit_by_all(&server, number));
    let tallies: Vec<Tally> = edited.buffer_unordered(AT_ONCE).collect().await;
    let applied: i64 = tallies.iter().map(|tally| tally.applied).sum();
    let unknown: usize = tallies.iter().map(|tally| tally.unknown).sum();
    let edits = subscriptions() * CLIENTS * EDITS;
    println!("{edits} edits: {applied} applied, {unknown} told as unknown at first");
    assert!(applied > 0, "some edits were applied");
}

/// An edit that was applied and whose answer was lost.
async fn lost(proxy: &Proxy, client: &Client, subscription: &SubscriptionId) -> OutcomeUnknown {
    proxy.next("PATCH", Fault::LoseAnswer);
    for _ in 0..200 {
        proxy.next("PATCH", Fault::LoseRequest);
    }
    let subscriptions = client.subscriptions();
    let update = subscriptions.update(subscription, |s| s.quantity += 5);
    let error = update.deadline(Duration::from_secs(1)).await.unwrap_err();
    proxy.heal();
    match error {
        Error::OutcomeUnknown(unknown) => *unknown,
        other => panic!("its outcome is unknown: {other}"),
    }
}

async fn an_edit_is_settled_with_another_key_by_its_digest(server: Server) {
    let api = server.api();
    let (subscription, path) = subscription(&api).await;
    let (old, new) = (api.make_key("agent").await, api.make_key("agent").await);
    let (proxy, before) = gateway(&server, old.key()).await;
    let (_gateway, after) = gateway(&server, new.key()).await;
    for (version, moves_on) in [(2, false), (3, true)] {
        let unknown = lost(&proxy, &before, &subscription).await;
        if moves_on {
            api.patch(&path, &json!({"quantity": 50})).if_match(version).await.ok(200);
        }
        let settled = after.resume(unknown).await.unwrap();
        assert!(settled.info().replayed, "it had been applied");
        let made: Versioned<Subscription> = settled.versioned().unwrap();
        assert_eq!(made.version(), version, "what the edit made");
    }
    let now = api.get(&path).await.ok(200);
    assert_eq!((&now["version"], &now["quantity"]), (&json!(4), &json!(50)));
}

async fn an_edit_without_a_digest_in_the_history_stays_unknown(server: Server) {
    let api = server.api();
    let (subscription, path) = subscription(&api).await;
    let (proxy, client) = gateway(&server, ADMIN_KEY).await;
    // Another one made the same change first, without a key. It could be this edit.
    let strip = async {
        proxy.next("PATCH", Fault::LoseRequest);
        for _ in 0..50 {
            proxy.next("PATCH", Fault::StripRefusal);
        }
        let stale = client.subscriptions().get(&subscription).await.unwrap();
        api.patch(&path, &json!({"quantity": 6})).if_match(1).await.ok(200);
        let edited = stale.edited(|s| s.quantity = 6);
        client.subscriptions().save(stale, edited).await
    };
    let error = strip.await.unwrap_err();
    proxy.heal();
    let Error::OutcomeUnknown(unknown) = error else { panic!("nobody can tell: {error}") };
    let settled = client.resume(*unknown).await;
    assert!(matches!(settled, Err(Error::Conflict(_))), "the server can: {settled:?}");
    assert_eq!(api.history(&path).await.len(), 2);
}
