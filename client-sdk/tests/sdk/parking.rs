//! The conflict store: parks, watches, resolves and survives restarts.

use crate::fake::{Fake, Fault, id};
use ifmatch::{
    Client, ConflictId, ConflictStorage, Decision, Error, FileStore, OpenConflict, Resolution,
    Subscription,
};
use serde_json::{Value, json};
use std::{fs, io, sync::Arc, time::Duration};
use tokio::sync::Notify;

/// Parks `quantity 5 → 10` while another client writes 100.
async fn park(fake: &Fake, billing: &Client) -> ConflictId {
    match parking(fake, billing).await {
        Error::Unresolved(id) => id,
        other => unreachable!("{other}"),
    }
}

async fn parking(fake: &Fake, billing: &Client) -> Error {
    fake.fault(Fault::Rival(json!({"quantity": 100})));
    let update = billing.subscriptions().update(&id(), |s| s.quantity = 10);
    update.on_conflict(|_| async { Decision::Park }).await.expect_err("parked")
}

fn quantity(side: &Value) -> Option<i64> {
    side.get("quantity").and_then(Value::as_i64)
}

#[tokio::test]
async fn used_up_attempts_park_the_edit() {
    let fake = Fake::start().await;
    for quantity in [100, 200, 300, 400] {
        fake.fault(Fault::Rival(json!({ "quantity": quantity })));
    }
    let billing = fake.client();
    let update = billing.subscriptions().update(&id(), |s| s.quantity += 5);
    let error = update.await.expect_err("parked");
    assert!(error.is_conflict() && !error.is_retryable());
    let Error::Unresolved(id) = error else { unreachable!("{error}") };
    let parked = billing.conflicts().get(&id).expect("parked");
    assert_eq!(fake.patches().len(), 4, "the first attempt and three more");
    assert_eq!(parked.conflict.attempts, 4);
    let conflict = parked.typed::<Subscription>().expect("a subscription");
    let sides = (conflict.base.quantity, conflict.local.quantity, conflict.remote.quantity);
    assert_eq!(sides, (300, 305, 400));
    assert!(parked.conflict.diff().to_string().contains("/quantity"));
}

#[tokio::test]
async fn a_subscriber_gets_what_is_open_and_then_what_comes() {
    let fake = Fake::start().await;
    let billing = fake.client();
    let first = park(&fake, &billing).await;
    let mut parked = billing.conflicts().subscribe();
    assert_eq!(parked.next().await.map(|one| one.id.clone()), Some(first));
    let (next, second) = tokio::join!(parked.next(), park(&fake, &billing));
    assert_eq!(next.map(|one| one.id.clone()), Some(second));
    let silent = tokio::time::timeout(Duration::from_millis(20), parked.next()).await;
    assert!(silent.is_err(), "each comes once");
}

#[tokio::test]
async fn a_conflict_that_opens_again_keeps_no_other_from_a_subscriber() {
    let fake = Fake::start().await;
    let billing = fake.client();
    let (first, second) = (park(&fake, &billing).await, park(&fake, &billing).await);
    let third = park(&fake, &billing).await;
    let mut parked = billing.conflicts().subscribe();
    let mut came = Vec::new();
    for _ in 0..6 {
        let next = parked.next().await.expect("open");
        came.push(next.id.clone());
        // Others write the object before each decision, so it opens again.
        fake.rival(json!({"quantity": 200 + came.len()}));
        next.resolve(Decision::Reapply).await.expect_err("moved");
    }
    let once = [first, second, third];
    assert_eq!(came, [once.clone(), once].concat());
}

#[tokio::test]
async fn decisions_about_open_conflicts_are_conditional_writes() {
    let decisions: [(Decision<Value>, i64); 3] = [
        (Decision::Reapply, 10),
        (Decision::Force { reason: "because".into() }, 10),
        (Decision::TakeRemote, 100),
    ];
    for (decision, expected) in decisions {
        let fake = Fake::start().await;
        let billing = fake.client();
        let id = park(&fake, &billing).await;
        let parked = billing.conflicts().get(&id).expect("parked");
        parked.resolve(decision.clone()).await.expect("resolved");
        assert_eq!(fake.field("quantity"), json!(expected), "{decision:?}");
        assert!(billing.conflicts().get(&id).is_none());
        let again = parked.resolve(Decision::Reapply).await.expect_err("closed");
        assert!(matches!(again, Error::AlreadyResolved(_)), "{again}");
        let patch = fake.patches().pop().expect("a patch");
        let named = if expected == 10 { 2 } else { 1 };
        assert_eq!(patch.body.get("version"), Some(&json!(named)));
    }
}

#[tokio::test]
async fn merge_is_refused_where_both_wrote_park_and_abort_write_nothing() {
    let fake = Fake::start().await;
    let billing = fake.client();
    let id = park(&fake, &billing).await;
    let parked = billing.conflicts().get(&id).expect("parked");
    let error = parked.resolve(Decision::Merge).await.expect_err("an overlap");
    assert!(matches!(error, Error::Conflict(_)), "{error}");
    let still = parked.resolve(Decision::Park).await.expect("nothing to do");
    assert_eq!(still, Resolution::StillOpen);
    assert!(billing.conflicts().get(&id).is_some());
    let abandoned = parked.resolve(Decision::Abort).await.expect("given up");
    let Resolution::Abandoned(conflict) = abandoned else { unreachable!("{abandoned:?}") };
    assert_eq!((quantity(&conflict.local), fake.applied()), (Some(10), 0));
    assert!(billing.conflicts().list().is_empty());
}

#[tokio::test]
async fn an_object_that_moved_opens_the_same_conflict_again() {
    let fake = Fake::start().await;
    let billing = fake.client();
    let id = park(&fake, &billing).await;
    let mut stream = billing.conflicts().subscribe();
    let first = stream.next().await.expect("open");
    fake.rival(json!({"quantity": 300}));
    let error = first.resolve(Decision::Reapply).await.expect_err("moved");
    assert!(matches!(&error, Error::Unresolved(again) if *again == id), "{error}");
    let again = stream.next().await.expect("open again");
    assert_eq!((&again.id, again.revision), (&id, 2));
    let sides = [&again.conflict.base, &again.conflict.local, &again.conflict.remote].map(quantity);
    assert_eq!(sides, [Some(5), Some(10), Some(300)]);
    again.resolve(Decision::Reapply).await.expect("resolved");
    assert_eq!((fake.field("quantity"), fake.applied()), (json!(10), 1));
}

#[tokio::test]
async fn what_a_person_decided_is_kept_when_the_object_moved() {
    let fake = Fake::start().await;
    let billing = fake.client();
    let id = park(&fake, &billing).await;
    let parked = billing.conflicts().get(&id).expect("parked");
    let mut decided = parked.typed::<Subscription>().expect("a subscription").remote;
    decided.quantity = 77;
    fake.rival(json!({"quantity": 300}));
    parked.resolve_with(&decided).await.expect_err("moved");
    let again = billing.conflicts().get(&id).expect("open again");
    let sides = [&again.conflict.base, &again.conflict.local, &again.conflict.remote].map(quantity);
    assert_eq!(sides, [Some(100), Some(77), Some(300)]);
}

#[tokio::test]
async fn a_resolution_that_is_already_so_closes_the_conflict() {
    let fake = Fake::start().await;
    let billing = fake.client();
    let id = park(&fake, &billing).await;
    fake.rival(json!({"quantity": 10}));
    let parked = billing.conflicts().get(&id).expect("parked");
    let kept = parked.resolve(Decision::Reapply).await.expect("already so");
    assert!(matches!(kept, Resolution::KeptRemote(_)), "{kept:?}");
    assert!(billing.conflicts().list().is_empty());
}

#[tokio::test]
async fn a_full_store_fails_the_call_with_the_edit_and_drops_nothing() {
    let fake = Fake::start().await;
    let billing = fake.builder().conflicts_max(1).build().expect("a client");
    let first = park(&fake, &billing).await;
    let error = parking(&fake, &billing).await;
    let Error::ConflictStoreFull { open: 1, conflict } = error else { unreachable!("{error}") };
    assert_eq!(quantity(&conflict.local), Some(10));
    assert!(billing.conflicts().get(&first).is_some());
}

#[tokio::test]
async fn files_keep_open_conflicts_over_a_restart() {
    let directory = tempfile::tempdir().expect("a directory");
    let fake = Fake::start().await;
    let client = || {
        let storage = FileStore::open(directory.path()).expect("a store");
        fake.builder().conflict_storage(storage).build()
    };
    let billing = client().expect("a client");
    let id = park(&fake, &billing).await;
    let before = (*billing.conflicts().get(&id).expect("parked")).clone();
    fake.rival(json!({"quantity": 300}));
    drop(billing);

    let billing = client().expect("a client");
    let parked = billing.conflicts().subscribe().next().await.expect("still open");
    assert_eq!(*parked, before);
    parked.resolve(Decision::Reapply).await.expect_err("moved");

    let billing = client().expect("a client");
    let parked = billing.conflicts().get(&id).expect("open again, on disk too");
    assert_eq!((parked.revision, quantity(&parked.conflict.remote)), (2, Some(300)));
    parked.resolve(Decision::Reapply).await.expect("resolved");
    assert!(client().expect("a client").conflicts().list().is_empty());
    assert_eq!(fs::read_dir(directory.path()).expect("a directory").count(), 0);
}

#[tokio::test]
async fn a_half_written_file_is_ignored_and_a_broken_one_is_not() {
    let directory = tempfile::tempdir().expect("a directory");
    fs::write(directory.path().join("open_1.tmp"), "{\"id\":").expect("a file");
    let storage = FileStore::open(directory.path()).expect("a store");
    assert!(storage.load().expect("nothing there").is_empty());
    fs::write(directory.path().join("open_1.json"), "{\"id\":").expect("a file");
    assert_eq!(storage.load().expect_err("broken").kind(), io::ErrorKind::InvalidData);
    let fake = Fake::start().await;
    let error = fake.builder().conflict_storage(storage).build().expect_err("broken");
    assert!(matches!(error, Error::Storage(_)), "{error}");
}

/// A storage whose disk is full.
struct Full;

impl ConflictStorage for Full {
    fn load(&self) -> io::Result<Vec<OpenConflict>> {
        Ok(Vec::new())
    }

    fn save(&self, _: &OpenConflict) -> io::Result<()> {
        Err(io::ErrorKind::StorageFull.into())
    }

    fn remove(&self, _: &ConflictId) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_storage_that_fails_leaves_the_edit_in_the_error() {
    let fake = Fake::start().await;
    let billing = fake.builder().conflict_storage(Full).build().expect("a client");
    let error = parking(&fake, &billing).await;
    let Error::NotParked { conflict, .. } = error else { unreachable!("{error}") };
    assert_eq!(quantity(&conflict.local), Some(10));
    assert!(
        billing.conflicts().list().is_empty(),
        "a conflict that could not be stored is not listed"
    );
}

#[test]
fn an_id_from_elsewhere_cannot_leave_the_directory() {
    assert!("open_0a1b".parse::<ConflictId>().is_ok());
    for evil in ["open_../../etc/passwd", "../open_1", "open_a/b", ""] {
        assert!(evil.parse::<ConflictId>().is_err(), "{evil}");
    }
}

/// A slow storage that reports when a save begins, and removes nothing.
struct Sluggish(Arc<Notify>);

impl ConflictStorage for Sluggish {
    fn load(&self) -> io::Result<Vec<OpenConflict>> {
        Ok(Vec::new())
    }

    fn save(&self, _: &OpenConflict) -> io::Result<()> {
        self.0.notify_one();
        std::thread::sleep(Duration::from_millis(300));
        Ok(())
    }

    fn remove(&self, _: &ConflictId) -> io::Result<()> {
        Err(io::ErrorKind::StorageFull.into())
    }
}

#[tokio::test]
async fn what_is_being_parked_is_listed_also_if_nobody_waits_for_it() {
    let fake = Fake::start().await;
    let saving = Arc::new(Notify::new());
    let storage = Sluggish(saving.clone());
    let billing = fake.builder().conflict_storage(storage).build().expect("a client");
    let mut open = billing.conflicts().subscribe();
    tokio::select! {
        biased;
        () = saving.notified() => {}
        error = parking(&fake, &billing) => unreachable!("it is still being saved: {error}"),
    }
    let listed = tokio::time::timeout(Duration::from_secs(20), open.next()).await;
    assert!(listed.expect("it is listed").is_some());
}

#[tokio::test]
async fn a_resolution_that_was_written_is_told_also_if_it_cannot_be_filed() {
    let fake = Fake::start().await;
    let storage = Sluggish(Arc::default());
    let billing = fake.builder().conflict_storage(storage).build().expect("a client");
    let id = park(&fake, &billing).await;
    let parked = billing.conflicts().get(&id).expect("parked");
    let resolved = parked.resolve(Decision::Reapply).await.expect("written");
    assert!(matches!(resolved, Resolution::Written(_)), "{resolved:?}");
    assert_eq!((fake.applied(), fake.field("quantity")), (1, json!(10)));
}
