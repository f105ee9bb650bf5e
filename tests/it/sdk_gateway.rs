//! The Rust SDK behind a gateway that rewrites request ids and loses answers: no edit is applied
//! twice, and none that was applied is told as a conflict.

use crate::harness::{
    ADMIN_KEY, Api, Server, both_databases, id,
    proxy::{Fault, Proxy},
};
use ifmatch::{Client, Error, OutcomeUnknown, SendBudget, Subscription, SubscriptionId, Versioned};
use serde_json::{Value, json};
use std::time::Duration;

both_databases![
    edits_of_many_clients_are_applied_once_or_told_as_unknown,
    an_edit_is_settled_with_another_key_by_its_digest,
    an_edit_without_a_digest_in_the_history_stays_unknown,
];

/// Edits of each client.
const EDITS: usize = 20;

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
async fn edit(server: &Server, subscription: &SubscriptionId, client_number: u64) -> Vec<Told> {
    let (proxy, client) = gateway(server, ADMIN_KEY).await;
    let mut random = fastrand::Rng::with_seed(client_number);
    let mut told = Vec::new();
    for number in 0..EDITS {
        let token = format!("client {client_number} edit {number}");
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

async fn edits_of_many_clients_are_applied_once_or_told_as_unknown(server: Server) {
    let api = server.api();
    let (subscription, path) = subscription(&api).await;
    let (one, two, three, rivals) = futures::join!(
        edit(&server, &subscription, 1),
        edit(&server, &subscription, 2),
        edit(&server, &subscription, 3),
        rival(&api, &path),
    );
    let history = api.history(&path).await;
    let times_applied = |token: &str| {
        let is_it = |change: &&Value| change["path"] == "/notes" && change["to"] == token;
        let changes = history.iter().flat_map(|entry| entry["changes"].as_array().unwrap());
        changes.filter(is_it).count()
    };
    let (_, client) = gateway(&server, ADMIN_KEY).await;
    let (mut applied, mut unknown) = (0, 0);
    for (token, told) in one.into_iter().chain(two).chain(three) {
        let times = times_applied(&token);
        assert!(times <= 1, "{token} was applied {times} times");
        applied += i64::try_from(times).unwrap();
        match told {
            Ok(_) => assert_eq!(times, 1, "{token} was told as applied"),
            Err(Error::OutcomeUnknown(lost)) => {
                unknown += 1;
                let settled = client.resume(*lost).await;
                // The key's own answer tells: the edit was applied, or there is a conflict.
                assert_eq!(settled.is_ok(), times == 1, "{token}: {:?}", settled.err());
            }
            Err(told) => assert_eq!(times, 0, "{token} was told as not applied: {told}"),
        }
    }
    let quantity = api.get(&path).await.ok(200)["quantity"].as_i64().unwrap();
    assert_eq!(quantity, 1 + applied + rivals, "each edit counts once");
    assert!(applied > 0, "some edits were applied, {unknown} stayed unknown");
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
