//! The Rust SDK against real servers: no edit is lost, conflicts are resolved or parked.

use crate::concurrency::increments;
use crate::harness::{ADMIN_KEY, Server, both_databases, id, postgres_only, together, version};
use ifmatch::{
    Client, Decision, Error, FileStore, InvoiceStatus, NewPayment, Resolution, Subscription,
    SubscriptionId, SubscriptionStatus, Verdict, WorkspaceFields,
};
use serde_json::{Value, json};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

both_databases![
    an_update_is_made_again_on_the_newer_object,
    concurrent_updates_lose_no_intent,
    a_callback_sees_who_changed_what_and_decides,
    a_saved_form_is_put_on_top_of_other_changes,
    a_saved_form_that_says_the_same_is_a_success,
    a_clash_is_parked_and_can_be_resolved,
    a_parked_conflict_survives_the_program,
    a_resolution_that_is_overtaken_opens_the_conflict_again,
    a_force_is_on_record,
    what_a_person_asks_to_be_forgotten_is_redacted,
    a_transaction_is_all_or_nothing,
    an_invoice_is_finalized_and_paid,
    a_refusal_is_told_with_its_code,
];
postgres_only![concurrent_updates_on_several_servers_lose_no_intent];

fn client(server: &Server) -> Client {
    Client::builder(server.url()).key(ADMIN_KEY).build().expect("a client can be built")
}

/// A new subscription's id, and its path for requests without the SDK.
async fn subscribed(server: &Server) -> (SubscriptionId, String) {
    let made = server.api().make_subscription(json!({"notes": "old"})).await;
    (id(&made).parse().unwrap(), format!("/v1/subscriptions/{}", id(&made)))
}

/// Another writer's edit, made without the SDK.
async fn meanwhile(server: &Server, path: &str, edit: Value) {
    let now = server.api().get(path).await.ok(200);
    server.api().patch(path, &edit).if_match(version(&now)).await.ok(200);
}

async fn an_update_is_made_again_on_the_newer_object(server: Server) {
    let subscriptions = client(&server).subscriptions();
    let (subscription, path) = subscribed(&server).await;
    let runs = Arc::new(AtomicU32::new(0));
    let handle = tokio::runtime::Handle::current();
    let updated = subscriptions
        .update(&subscription, |s| {
            if runs.fetch_add(1, Ordering::SeqCst) == 0 {
                // Another writer wins between the fetch and the send.
                tokio::task::block_in_place(|| {
                    handle.block_on(meanwhile(&server, &path, json!({"quantity": 10})));
                });
            }
            s.quantity += 5;
        })
        .await
        .unwrap();
    assert_eq!((updated.quantity, updated.version()), (15, 3));
    assert_eq!(runs.load(Ordering::SeqCst), 2);
}

/// Sixteen tasks increment. Each edit is applied or becomes one open conflict.
async fn increment(clients: &[Client], subscription: &SubscriptionId) {
    let outcomes = together(16, |n| {
        let client = clients[n % clients.len()].clone();
        let subscription = subscription.clone();
        async move {
            let (mut applied, mut parked) = (0, 0);
            for _ in 0..increments(10) {
                let update = client.subscriptions();
                let update = update.update(&subscription, |s| s.quantity += 1).attempts_max(40);
                match update.deadline(Duration::from_secs(60)).await {
                    Ok(_) => applied += 1,
                    Err(Error::Unresolved(_)) => parked += 1,
                    Err(error) => panic!("an edit got lost: {error}"),
                }
            }
            (applied, parked)
        }
    })
    .await;
    let (applied, parked) = outcomes.iter().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    let intents = 16 * increments(10);
    assert_eq!(applied + parked, intents);
    assert!(applied > intents / 2, "most edits succeed with this many attempts: {applied}");
    let open: i64 =
        clients.iter().map(|c| i64::try_from(c.conflicts().list().len()).unwrap()).sum();
    assert_eq!(open, parked, "each other edit is exactly one open conflict");
    let end = clients[0].subscriptions().get(subscription).await.unwrap();
    assert_eq!((end.quantity, end.version()), (1 + applied, 1 + applied));
}

async fn concurrent_updates_lose_no_intent(server: Server) {
    let (subscription, _) = subscribed(&server).await;
    increment(&[client(&server)], &subscription).await;
}

async fn concurrent_updates_on_several_servers_lose_no_intent(server: Server) {
    let (subscription, _) = subscribed(&server).await;
    let sibling = server.sibling().await;
    increment(&[client(&server), client(&sibling)], &subscription).await;
}

async fn a_callback_sees_who_changed_what_and_decides(server: Server) {
    let billing = client(&server);
    let subscriptions = billing.subscriptions();
    let (subscription, path) = subscribed(&server).await;
    let base = subscriptions.get(&subscription).await.unwrap();
    let (agent, key) = server.api().make_named_key("agent").await;
    agent.patch(&path, &json!({"notes": "theirs"})).if_match(1).await.ok(200);

    let name = key["name"].as_str().unwrap().to_owned();
    let edited = base.edited(|s| s.notes = "mine".into());
    let kept = subscriptions
        .save(base.clone(), edited.clone())
        .on_conflict(move |conflict| {
            assert!(conflict.touches("/notes") && !conflict.touches("/quantity"));
            assert_eq!(conflict.base.notes, "old");
            assert_eq!(conflict.local.notes, "mine");
            assert_eq!(conflict.remote.notes, "theirs");
            assert_eq!((conflict.base_version, conflict.remote_version), (1, 2));
            assert_eq!(conflict.verdict, Verdict::Overlap);
            assert_eq!(conflict.changes[0].by.as_ref().unwrap().actor, name);
            async { Decision::TakeRemote }
        })
        .await
        .unwrap();
    assert_eq!((kept.notes.as_str(), kept.version()), ("theirs", 2));

    let both = subscriptions
        .save(base.clone(), edited.clone())
        .on_conflict(|conflict| async move {
            let mut both = conflict.remote.clone();
            both.notes = format!("{} and {}", conflict.remote.notes, conflict.local.notes);
            Decision::Send(both)
        })
        .await
        .unwrap();
    assert_eq!((both.notes.as_str(), both.version()), ("theirs and mine", 3));

    let aborted = subscriptions.save(base, edited).on_conflict(|_| async { Decision::Abort }).await;
    assert!(matches!(aborted, Err(Error::Conflict(_))), "{aborted:?}");
    assert!(billing.conflicts().list().is_empty());
    assert_eq!(server.api().history(&path).await.len(), 3);
}

async fn a_saved_form_is_put_on_top_of_other_changes(server: Server) {
    let subscriptions = client(&server).subscriptions();
    let (subscription, path) = subscribed(&server).await;
    let base = subscriptions.get(&subscription).await.unwrap();
    let edited = base.edited(|s| {
        s.notes = "mine".into();
        s.metadata.insert("team".into(), "a".into());
    });
    meanwhile(&server, &path, json!({"quantity": 9, "metadata": {"tier": "gold"}})).await;
    let saved = subscriptions.save(base, edited).await.unwrap();
    assert_eq!((saved.notes.as_str(), saved.quantity, saved.version()), ("mine", 9, 3));
    assert_eq!(saved.metadata.len(), 2);
}

async fn a_saved_form_that_says_the_same_is_a_success(server: Server) {
    let subscriptions = client(&server).subscriptions();
    let (subscription, path) = subscribed(&server).await;
    let base = subscriptions.get(&subscription).await.unwrap();
    let edited = base.edited(|s| s.quantity = 6);
    meanwhile(&server, &path, json!({"quantity": 6})).await;
    let saved = subscriptions.save(base, edited).await.unwrap();
    assert_eq!((saved.quantity, saved.version()), (6, 2));

    let updated = subscriptions.update(&subscription, |s| s.quantity += 1).await.unwrap();
    assert_eq!(updated.quantity, 7, "an increment is never taken for already applied");
}

/// Parks a conflict about the notes.
async fn park(server: &Server, billing: &Client) -> (SubscriptionId, String) {
    let (subscription, path) = subscribed(server).await;
    let base = billing.subscriptions().get(&subscription).await.unwrap();
    let edited = base.edited(|s| s.notes = "mine".into());
    meanwhile(server, &path, json!({"notes": "theirs"})).await;
    let parked = billing.subscriptions().save(base, edited).await;
    assert!(matches!(parked, Err(Error::Unresolved(_))), "{parked:?}");
    assert!(parked.unwrap_err().is_conflict());
    (subscription, path)
}

async fn a_clash_is_parked_and_can_be_resolved(server: Server) {
    let billing = client(&server);
    let mut coming = billing.conflicts().subscribe();
    let (subscription, path) = park(&server, &billing).await;
    let parked = coming.next().await.unwrap();
    assert_eq!(parked.conflict.resource_id, subscription.as_str());
    let typed = parked.typed::<Subscription>().unwrap();
    assert_eq!((typed.local.notes.as_str(), typed.remote.notes.as_str()), ("mine", "theirs"));
    let mut decided = typed.remote.clone();
    decided.notes = "agreed".into();
    let resolution = parked.resolve_with(&decided).await.unwrap();
    assert!(matches!(resolution, Resolution::Written(_)), "{resolution:?}");
    assert_eq!(server.api().get(&path).await.ok(200)["notes"], "agreed");
    assert!(billing.conflicts().list().is_empty());
    assert!(parked.resolve(Decision::TakeRemote).await.is_err(), "it is resolved once");

    park(&server, &billing).await;
    let parked = billing.conflicts().list().remove(0);
    let resolution = parked.resolve(Decision::TakeRemote).await.unwrap();
    assert!(matches!(resolution, Resolution::KeptRemote(_)), "{resolution:?}");
    assert!(billing.conflicts().list().is_empty());
}

async fn a_parked_conflict_survives_the_program(server: Server) {
    let place = server.database().dir().join("conflicts");
    let open = || {
        let storage = FileStore::open(&place).unwrap();
        let builder = Client::builder(server.url()).key(ADMIN_KEY).conflict_storage(storage);
        builder.build().unwrap()
    };
    let billing = open();
    let (_, path) = park(&server, &billing).await;
    let before = billing.conflicts().list().remove(0);
    drop(billing);

    let billing = open();
    let after = billing.conflicts().list();
    assert_eq!(after.len(), 1);
    assert_eq!((&after[0].id, &after[0].conflict), (&before.id, &before.conflict));
    after[0].resolve(Decision::Reapply).await.unwrap();
    assert_eq!(server.api().get(&path).await.ok(200)["notes"], "mine");
    drop(billing);
    assert!(open().conflicts().list().is_empty());
}

async fn a_resolution_that_is_overtaken_opens_the_conflict_again(server: Server) {
    let billing = client(&server);
    let (_, path) = park(&server, &billing).await;
    let parked = billing.conflicts().list().remove(0);
    meanwhile(&server, &path, json!({"notes": "newer"})).await;
    let again = parked.resolve(Decision::Reapply).await;
    assert!(matches!(again, Err(Error::Unresolved(_))), "{again:?}");
    let open = billing.conflicts().list();
    assert_eq!(open.len(), 1, "the same entry, not a second one");
    assert_eq!(open[0].id, parked.id);
    assert_eq!(open[0].conflict.remote_version, 3);
    open[0].resolve(Decision::Reapply).await.unwrap();
    assert_eq!(server.api().get(&path).await.ok(200)["notes"], "mine");
    assert!(billing.conflicts().list().is_empty());
}

async fn a_force_is_on_record(server: Server) {
    let subscriptions = client(&server).subscriptions();
    let (subscription, path) = subscribed(&server).await;
    let base = subscriptions.get(&subscription).await.unwrap();
    let edited = base.edited(|s| s.notes = "forced".into());
    meanwhile(&server, &path, json!({"notes": "theirs"})).await;
    let save = || subscriptions.save(base.clone(), edited.clone());
    let refused = save().preview().await.unwrap().would_refuse.unwrap();
    assert_eq!(refused.code, ifmatch::Code::ConflictVersionMismatch);
    let preview = save().force("dispute").preview().await.unwrap();
    assert_eq!((preview.current_version, preview.would_refuse), (2, None));
    assert_eq!(preview.would_overwrite[0].path, "/notes");
    let forced = subscriptions.save(base, edited).force("dispute").await.unwrap();
    assert_eq!((forced.notes.as_str(), forced.version(), forced.forced()), ("forced", 3, true));
    let records = server.api().audit("forced_write", subscription.as_str()).await;
    assert_eq!(records.len(), 1);
    assert_eq!(
        (&records[0]["reason"], &records[0]["expected_version"]),
        (&json!("dispute"), &json!(1))
    );
}

async fn what_a_person_asks_to_be_forgotten_is_redacted(server: Server) {
    let workspaces = client(&server).workspaces();
    let email = Some("ann@b.example".to_owned());
    let fields = WorkspaceFields { name: "Ann".into(), email, ..Default::default() };
    let made = workspaces.create(fields).await.expect("made");
    let id = made.id.clone();
    let redacted = workspaces.redact(&id, 1, ["/name", "/email"], "ticket 81").await;
    let redacted = redacted.expect("redacted");
    assert_eq!((redacted.version(), redacted.name.as_str()), (2, ifmatch::REDACTED));
    assert_eq!(redacted.email, None);
    assert_eq!(workspaces.version(&id, 1).await.expect("kept").name, ifmatch::REDACTED);
    let stale = workspaces.redact(&id, 1, ["/name"], "ticket 82").await;
    assert!(stale.expect_err("it has moved on").is_conflict());
    let wrong = workspaces.redact(&id, 2, ["/currency"], "ticket 82").await;
    assert!(matches!(wrong, Err(Error::Refused(_))), "{wrong:?}");
    let gone = workspaces.delete(&redacted).await.expect("deleted");
    let again = workspaces.redact(&id, gone.last_version, ["/metadata/k"], "ticket 82").await;
    assert_eq!(again.expect("a deleted object, too").version(), 4);
}

async fn a_transaction_is_all_or_nothing(server: Server) {
    let billing = client(&server);
    let (subscription, path) = subscribed(&server).await;
    let base = billing.subscriptions().get(&subscription).await.unwrap();
    let fields = || WorkspaceFields { name: "made".into(), ..WorkspaceFields::default() };
    let done = billing
        .transaction()
        .create::<ifmatch::Workspace>(fields())
        .update(&base, |s| s.quantity = 4)
        .await
        .unwrap();
    assert_eq!(done.object::<ifmatch::Workspace>(0).unwrap().name, "made");
    assert_eq!(done.object::<Subscription>(1).unwrap().quantity, 4);
    let before = server.api().list("/v1/workspaces").await.len();
    let stale = billing
        .transaction()
        .create::<ifmatch::Workspace>(fields())
        .update(&base, |s| s.quantity = 5)
        .await;
    let error = stale.unwrap_err();
    assert_eq!((error.failed_index(), error.is_conflict()), (Some(1), true), "{error}");
    assert_eq!(server.api().list("/v1/workspaces").await.len(), before);
    assert_eq!(server.api().get(&path).await.ok(200)["quantity"], 4);
}

async fn an_invoice_is_finalized_and_paid(server: Server) {
    let billing = client(&server);
    let draft = server.api().make_invoice(json!({})).await;
    let invoice = id(&draft).parse().unwrap();
    let open = billing.invoices().update(&invoice, |i| i.status = InvoiceStatus::Open).await;
    assert_eq!(open.unwrap().number.as_deref(), Some("INV-000001"));
    let payment = || NewPayment { amount: 1000, provider_ref: "ch_1".into() };
    let first = billing.invoices().record_payment(&invoice, payment()).await.unwrap();
    let again = billing.invoices().record_payment(&invoice, payment()).await.unwrap();
    assert_eq!(first, again, "another key, the same payment");
    let paid = billing.invoices().get(&invoice).await.unwrap();
    assert_eq!((paid.status, paid.amount_paid), (InvoiceStatus::Paid, 1000));
}

async fn a_refusal_is_told_with_its_code(server: Server) {
    let billing = client(&server);
    let subscriptions = billing.subscriptions();
    let (subscription, _) = subscribed(&server).await;
    let canceled = SubscriptionStatus::Canceled;
    subscriptions.update(&subscription, |s| s.status = canceled).await.unwrap();
    let back = subscriptions.update(&subscription, |s| s.status = SubscriptionStatus::Active).await;
    let error = back.unwrap_err();
    assert_eq!(error.code(), Some(ifmatch::Code::InvalidStateTransition));
    assert!(!error.is_conflict() && !error.maybe_applied());
    let nobody: SubscriptionId = "sub_0193f0c0a1b27c3d8e4f5a6b7c8d9e0f".parse().unwrap();
    assert!(subscriptions.get(&nobody).await.unwrap_err().is_not_found());
    assert!(subscriptions.get_opt(&nobody).await.unwrap().is_none());
}
