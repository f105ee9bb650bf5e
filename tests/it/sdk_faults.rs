//! The Rust SDK on a bad network: each edit is applied once or can be settled.

use crate::harness::{
    ADMIN_KEY, Server, both_databases, id,
    proxy::{Fault, Proxy},
    version,
};
use ifmatch::{Client, Error, NewPayment, Subscription, SubscriptionId, WorkspaceFields};
use serde_json::json;
use std::time::Duration;

both_databases![
    a_lost_answer_is_asked_for_again_and_the_edit_happens_once,
    a_lost_request_is_sent_again,
    a_late_answer_is_asked_for_again_and_the_edit_happens_once,
    a_request_delivered_twice_happens_once,
    a_bare_refusal_of_a_proxy_is_looked_into,
    a_bare_502_is_sent_again,
    weakened_etags_do_not_matter,
    a_lost_answer_to_a_create_makes_one_object,
    a_payment_is_charged_once_whatever_the_network_does,
    an_unknown_outcome_can_be_settled_later,
    an_unknown_outcome_of_a_request_that_never_arrived_is_applied_by_resuming,
    a_server_that_is_killed_and_restarted_is_found_again,
    many_faults_in_a_row_still_apply_each_edit_once,
];

struct Setup {
    server: Server,
    proxy: Proxy,
    client: Client,
    subscription: SubscriptionId,
    path: String,
}

async fn set_up(server: Server) -> Setup {
    let proxy = Proxy::before(server.url()).await;
    let client = Client::builder(proxy.url())
        .key(ADMIN_KEY)
        .send_timeout(Duration::from_secs(5))
        .deadline(Duration::from_secs(30))
        .build()
        .unwrap();
    let made = server.api().make_subscription(json!({})).await;
    let path = format!("/v1/subscriptions/{}", id(&made));
    Setup { server, proxy, client, subscription: id(&made).parse().unwrap(), path }
}

impl Setup {
    /// Adds 5 through the proxy.
    async fn add(&self) -> Result<ifmatch::Versioned<Subscription>, Error> {
        self.client.subscriptions().update(&self.subscription, |s| s.quantity += 5).await
    }

    /// Asserts this many additions, one version each, and that every fault happened.
    async fn assert_added(&self, times: i64) {
        let now = self.server.api().get(&self.path).await.ok(200);
        assert_eq!((&now["quantity"], version(&now)), (&json!(1 + 5 * times), 1 + times));
        assert_eq!(self.proxy.faults_left(), 0, "the faults happened");
    }

    /// Asserts that every PATCH so far had the same bytes and the same key.
    fn assert_same_send(&self, sends: usize) {
        let seen = self.proxy.seen("PATCH");
        assert_eq!(seen.len(), sends);
        for one in &seen {
            assert!(one.header("Idempotency-Key").is_some());
            assert_eq!(one.header("Idempotency-Key"), seen[0].header("Idempotency-Key"));
            assert_eq!((&one.path, &one.body), (&seen[0].path, &seen[0].body));
        }
    }
}

async fn a_lost_answer_is_asked_for_again_and_the_edit_happens_once(server: Server) {
    let setup = set_up(server).await;
    setup.proxy.next("PATCH", Fault::LoseAnswer);
    let updated = setup.add().await.unwrap();
    assert_eq!(updated.quantity, 6);
    assert!(updated.replayed(), "the first send had been applied");
    setup.assert_same_send(2);
    setup.assert_added(1).await;
}

async fn a_lost_request_is_sent_again(server: Server) {
    let setup = set_up(server).await;
    setup.proxy.next("PATCH", Fault::LoseRequest);
    let updated = setup.add().await.unwrap();
    assert!(!updated.replayed());
    setup.assert_same_send(2);
    setup.assert_added(1).await;
}

async fn a_late_answer_is_asked_for_again_and_the_edit_happens_once(server: Server) {
    let mut setup = set_up(server).await;
    let builder = Client::builder(setup.proxy.url()).key(ADMIN_KEY);
    setup.client = builder.send_timeout(Duration::from_millis(500)).build().unwrap();
    setup.proxy.next("PATCH", Fault::DelayAnswer(Duration::from_secs(20)));
    assert_eq!(setup.add().await.unwrap().quantity, 6);
    setup.assert_added(1).await;
}

async fn a_request_delivered_twice_happens_once(server: Server) {
    let setup = set_up(server).await;
    setup.proxy.next("PATCH", Fault::Duplicate);
    assert_eq!(setup.add().await.unwrap().quantity, 6);
    setup.assert_added(1).await;
}

async fn a_bare_refusal_of_a_proxy_is_looked_into(server: Server) {
    let setup = set_up(server).await;
    for (n, status) in [409, 412].into_iter().enumerate() {
        setup.proxy.next("PATCH", Fault::Answer { status, body: "<h1>no</h1>" });
        setup.add().await.unwrap();
        setup.assert_added(i64::try_from(n).unwrap() + 1).await;
    }
    // The edit was applied and its answer lost. A proxy then refuses the repeat.
    setup.proxy.next("PATCH", Fault::LoseAnswer);
    setup.proxy.next("PATCH", Fault::Answer { status: 412, body: "" });
    setup.add().await.unwrap();
    setup.assert_added(3).await;
}

async fn a_bare_502_is_sent_again(server: Server) {
    let setup = set_up(server).await;
    for _ in 0..2 {
        setup.proxy.next("PATCH", Fault::Answer { status: 502, body: "<h1>Bad Gateway</h1>" });
    }
    setup.add().await.unwrap();
    setup.assert_same_send(3);
    setup.assert_added(1).await;
}

async fn weakened_etags_do_not_matter(server: Server) {
    let setup = set_up(server).await;
    for _ in 0..2 {
        setup.proxy.next("GET", Fault::WeakenEtag);
    }
    setup.add().await.unwrap();
    setup.proxy.next("PATCH", Fault::WeakenEtag);
    setup.add().await.unwrap();
    setup.assert_added(2).await;
}

async fn a_lost_answer_to_a_create_makes_one_object(server: Server) {
    let setup = set_up(server).await;
    let before = setup.server.api().list("/v1/workspaces").await.len();
    for fault in [Fault::LoseAnswer, Fault::Duplicate] {
        setup.proxy.next("POST", fault);
        let fields = WorkspaceFields { name: "made".into(), ..WorkspaceFields::default() };
        setup.client.workspaces().create(fields).await.unwrap();
    }
    assert_eq!(setup.server.api().list("/v1/workspaces").await.len(), before + 2);
}

async fn a_payment_is_charged_once_whatever_the_network_does(server: Server) {
    let setup = set_up(server).await;
    let open = setup.server.api().make_open_invoice(json!({})).await;
    let invoice = id(&open).parse().unwrap();
    for (n, fault) in [
        Fault::LoseAnswer,
        Fault::LoseRequest,
        Fault::Duplicate,
        Fault::Answer { status: 503, body: "" },
    ]
    .into_iter()
    .enumerate()
    {
        setup.proxy.next("POST", fault);
        let payment = NewPayment { amount: 100, provider_ref: format!("ch_{n}") };
        setup.client.invoices().record_payment(&invoice, payment).await.unwrap();
    }
    let now = setup.server.api().read("invoices", &open).await;
    assert_eq!(now["amount_paid"], 400);
    assert_eq!(setup.proxy.faults_left(), 0);
}

/// An addition whose outcome stays unknown; `first` is the fault of its first send.
async fn unknown(setup: &Setup, first: Fault) -> ifmatch::OutcomeUnknown {
    setup.proxy.next("PATCH", first);
    for _ in 0..200 {
        setup.proxy.next("PATCH", Fault::LoseRequest);
    }
    let subscriptions = setup.client.subscriptions();
    let update = subscriptions.update(&setup.subscription, |s| s.quantity += 5);
    let error = update.deadline(Duration::from_secs(1)).await.unwrap_err();
    assert!(error.maybe_applied(), "{error}");
    setup.proxy.heal();
    match error {
        Error::OutcomeUnknown(unknown) => *unknown,
        other => panic!("its outcome is unknown: {other}"),
    }
}

async fn an_unknown_outcome_can_be_settled_later(server: Server) {
    let setup = set_up(server).await;
    let unknown = unknown(&setup, Fault::LoseAnswer).await;
    setup.assert_added(1).await;
    // The program may have restarted in between, and the object may have changed.
    let saved = serde_json::to_string(&unknown).unwrap();
    setup.server.api().patch(&setup.path, &json!({"notes": "x"})).if_match(2).await.ok(200);
    let settled = setup.client.resume(serde_json::from_str(&saved).unwrap()).await.unwrap();
    assert!(settled.info().replayed);
    assert_eq!(settled.versioned::<Subscription>().unwrap().quantity, 6);
    let now = setup.server.api().get(&setup.path).await.ok(200);
    assert_eq!((&now["quantity"], version(&now)), (&json!(6), 3));
}

async fn an_unknown_outcome_of_a_request_that_never_arrived_is_applied_by_resuming(server: Server) {
    let setup = set_up(server).await;
    let unknown = unknown(&setup, Fault::LoseRequest).await;
    setup.assert_added(0).await;
    let settled = setup.client.resume(unknown).await.unwrap();
    assert!(!settled.info().replayed);
    setup.assert_added(1).await;
}

async fn a_server_that_is_killed_and_restarted_is_found_again(server: Server) {
    let mut setup = set_up(server).await;
    for round in 1..=3 {
        setup.proxy.next("PATCH", Fault::LoseAnswer);
        let client = setup.client.clone();
        let subscription = setup.subscription.clone();
        let adding = tokio::spawn(async move {
            client.subscriptions().update(&subscription, |s| s.quantity += 5).await
        });
        crate::harness::eventually("the edit is under way", async || {
            (setup.proxy.faults_left() == 0).then_some(())
        })
        .await;
        setup.server.kill9().await;
        setup.server.restart().await;
        setup.proxy.point_to(setup.server.url());
        adding.await.unwrap().unwrap();
        setup.assert_added(round).await;
    }
}

async fn many_faults_in_a_row_still_apply_each_edit_once(server: Server) {
    let setup = set_up(server).await;
    for fault in [
        Fault::LoseAnswer,
        Fault::Pass,
        Fault::LoseRequest,
        Fault::LoseAnswer,
        Fault::Duplicate,
        Fault::Answer { status: 502, body: "" },
        Fault::LoseAnswer,
        Fault::WeakenEtag,
        Fault::LoseRequest,
        Fault::Answer { status: 503, body: "" },
        Fault::Duplicate,
    ] {
        setup.proxy.next("PATCH", fault);
    }
    for _ in 0..8 {
        setup.add().await.unwrap();
    }
    setup.assert_added(8).await;
}
