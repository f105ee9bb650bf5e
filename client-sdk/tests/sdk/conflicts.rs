//! Conflicts of updates and saves: reapply, merge, ask, force.

use crate::fake::{Fake, Fault, ID, id, problem};
use ifmatch::{Decision, Error, Policy, SubscriptionStatus, Verdict, with_conflict_resolution};
use serde_json::{Value, json};
use wiremock::ResponseTemplate;

#[tokio::test]
async fn a_conflict_is_reapplied_to_the_current_state_without_another_get() {
    let fake = Fake::start().await;
    fake.fault(Fault::Rival(json!({"quantity": 100})));
    let sub = fake.client().subscriptions().update(&id(), |s| s.quantity += 5).await.expect("ok");
    assert_eq!((sub.quantity, sub.version()), (105, 3));
    assert_eq!(fake.methods(), ["GET", "PATCH", "PATCH"]);
    let patches = fake.patches();
    assert_ne!(patches.first().map(|p| &p.key), patches.last().map(|p| &p.key));
    let bodies: Vec<&Value> = patches.iter().map(|patch| &patch.body).collect();
    assert_eq!(
        bodies,
        [&json!({"version": 1, "quantity": 10}), &json!({"version": 2, "quantity": 105})]
    );
}

#[tokio::test]
async fn later_retries_look_again_before_they_send() {
    let fake = Fake::start().await;
    fake.fault(Fault::Rival(json!({"quantity": 100})));
    fake.fault(Fault::Rival(json!({"quantity": 200})));
    let sub = fake.client().subscriptions().update(&id(), |s| s.quantity += 5).await.expect("ok");
    assert_eq!((sub.quantity, sub.conflicts()), (205, 2));
    assert_eq!(fake.methods(), ["GET", "PATCH", "PATCH", "GET", "PATCH"]);
}

#[tokio::test]
async fn many_writers_lose_no_increment() {
    let fake = Fake::start().await;
    let billing = fake.client();
    let mut writers = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let billing = billing.clone();
        writers.spawn(async move {
            let subs = billing.subscriptions();
            subs.update(&id(), |s| s.quantity += 1).attempts_max(100).await
        });
    }
    while let Some(done) = writers.join_next().await {
        done.expect("no panic").expect("applied");
    }
    assert_eq!(fake.field("quantity"), json!(13));
}

#[tokio::test]
async fn a_weak_etag_is_not_taken_for_the_version() {
    let fake = Fake::start().await;
    let sub = fake.client().subscriptions().update(&id(), |s| s.quantity += 5).await.expect("ok");
    assert_eq!(sub.version(), 2);
    let patch = fake.patches().pop().expect("a patch");
    assert_eq!(patch.body.get("version"), Some(&json!(1)));
    assert!(!patch.headers.contains_key("if-match"));
}

#[tokio::test]
async fn a_closure_that_changes_nothing_sends_nothing() {
    let fake = Fake::start().await;
    let sub = fake.client().subscriptions().update(&id(), |s| s.quantity = 5).await.expect("ok");
    assert_eq!((sub.version(), sub.changed()), (1, false));
    assert_eq!(fake.methods(), ["GET"]);
}

#[tokio::test]
async fn a_bare_conflict_at_the_base_version_is_sent_again_as_it_was() {
    for status in [409, 412] {
        let fake = Fake::start().await;
        fake.fault(Fault::Intercept(ResponseTemplate::new(status)));
        let subs = fake.client().subscriptions();
        let sub = subs.update(&id(), |s| s.quantity += 5).await.expect("ok");
        assert_eq!(sub.quantity, 10);
        assert_eq!(fake.methods(), ["GET", "PATCH", "GET", "PATCH"]);
        let patches = fake.patches();
        let sent: Vec<_> = patches.iter().map(|patch| (&patch.key, &patch.bytes)).collect();
        assert!(sent.len() == 2 && sent.first() == sent.last());
    }
}

#[tokio::test]
async fn a_bare_conflict_of_a_moved_object_is_a_conflict_found_here() {
    for status in [409, 412] {
        let fake = Fake::start().await;
        fake.fault(Fault::StripConflict(status, json!({"plan_id": "pln_b"})));
        let subs = fake.client().subscriptions();
        let mut met = None;
        let update = subs.update(&id(), |s| s.quantity += 5).on_conflict(|conflict| {
            met = Some(conflict);
            async { Decision::Reapply }
        });
        let sub = update.await.expect("ok");
        assert_eq!((sub.quantity, sub.plan_id.as_str()), (10, "pln_b"));
        let met = met.expect("a conflict");
        assert_eq!((met.verdict, met.remote_version), (Verdict::Clean, 2));
        assert!(met.touches("/plan_id") && !met.touches("/quantity"));
    }
}

#[tokio::test]
async fn the_callback_sees_base_local_and_remote_and_its_decision_is_done() {
    let fake = Fake::start().await;
    fake.fault(Fault::Rival(json!({"quantity": 100, "plan_id": "pln_b"})));
    let subs = fake.client().subscriptions();
    let update = subs.update(&id(), |s| s.quantity += 5).on_conflict(|c| async move {
        assert_eq!((c.base.quantity, c.local.quantity, c.remote.quantity), (5, 10, 100));
        let diff = c.diff();
        let row = diff.rows().iter().find(|row| row.path == "/quantity").expect("a row");
        assert!(row.clashes && row.by.as_ref().is_some_and(|by| by.actor == "rival"));
        let mut between = c.remote;
        between.quantity = 50;
        Decision::Send(between)
    });
    let sub = update.await.expect("ok");
    assert_eq!((sub.quantity, sub.plan_id.as_str()), (50, "pln_b"));
}

#[tokio::test]
async fn what_a_callback_made_is_kept_if_it_cannot_be_written() {
    let refusals = [
        (3, problem(422, "VALIDATION_FAILED", json!({}))),
        (3, problem(410, "DELETED", json!({}))),
        (3, ResponseTemplate::new(403).set_body_string("<html>no</html>")),
        // No attempt is left for it.
        (0, ResponseTemplate::new(500)),
    ];
    for (attempts_max, refusal) in refusals {
        let fake = Fake::start().await;
        let billing = fake.client();
        fake.fault(Fault::Rival(json!({"quantity": 100})));
        let subs = billing.subscriptions();
        let update = subs.update(&id(), |s| s.quantity += 5).attempts_max(attempts_max);
        let update = update.on_conflict(|c| async move {
            // It is what the object was at first.
            Decision::Send(ifmatch::Subscription { quantity: 5, ..c.remote })
        });
        if attempts_max > 0 {
            fake.fault(Fault::Intercept(refusal));
        }
        let error = update.await.expect_err("parked");
        let Error::Unresolved(id) = error else { unreachable!("{error}") };
        let parked = billing.conflicts().get(&id).expect("parked");
        let quantity = |side: &Value| side.get("quantity").and_then(Value::as_i64);
        assert_eq!(quantity(&parked.conflict.local), Some(5));
        parked.resolve(Decision::Reapply).await.expect("written");
        assert_eq!((fake.field("quantity"), fake.applied()), (json!(5), 1));
    }
}

#[tokio::test]
async fn a_later_reapply_starts_from_what_a_callback_made() {
    let fake = Fake::start().await;
    fake.fault(Fault::Rival(json!({"quantity": 100})));
    fake.fault(Fault::Rival(json!({"plan_id": "pln_b"})));
    let subs = fake.client().subscriptions();
    let mut asked = 0;
    let update = subs.update(&id(), |s| s.quantity += 5).on_conflict(|c| {
        asked += 1;
        let decision = match asked {
            1 => {
                let notes = "agreed with both".to_owned();
                Decision::Send(ifmatch::Subscription { quantity: 50, notes, ..c.remote })
            }
            _ => Decision::Reapply,
        };
        async { decision }
    });
    let sub = update.await.expect("ok");
    assert_eq!((sub.quantity, sub.plan_id.as_str()), (50, "pln_b"));
    assert_eq!((sub.notes.as_str(), asked), ("agreed with both", 2));
}

#[tokio::test]
async fn take_remote_writes_nothing_and_abort_hands_the_edit_back() {
    let fake = Fake::start().await;
    let subs = fake.client().subscriptions();
    fake.fault(Fault::Rival(json!({"quantity": 100})));
    let update = subs.update(&id(), |s| s.quantity += 5);
    let sub = update.on_conflict(|_| async { Decision::TakeRemote }).await.expect("ok");
    assert_eq!((sub.quantity, sub.changed(), fake.applied()), (100, false, 0));

    fake.fault(Fault::Rival(json!({"quantity": 200})));
    let update = subs.update(&id(), |s| s.quantity += 5);
    let error = update.on_conflict(|_| async { Decision::Abort }).await.expect_err("aborted");
    let Error::Conflict(conflict) = &error else { unreachable!("{error}") };
    assert_eq!(conflict.local.get("quantity"), Some(&json!(105)));
    assert!(error.is_conflict() && !error.maybe_applied());
    assert!(fake.client().conflicts().list().is_empty());
}

#[tokio::test]
async fn a_decision_to_force_names_the_reason() {
    let fake = Fake::start().await;
    fake.fault(Fault::Rival(json!({"quantity": 100})));
    let subs = fake.client().subscriptions();
    let update = subs.update(&id(), |s| s.quantity = 1);
    let force = |_| async { Decision::Force { reason: "contract 77".into() } };
    let sub = update.on_conflict(force).await.expect("ok");
    assert!(sub.forced() && sub.quantity == 1);
    let forced = fake.patches().pop().expect("a patch");
    assert!(forced.target.contains("force=true"));
    assert_eq!(forced.headers.get("x-force-reason").map(String::as_str), Some("contract 77"));
}

#[tokio::test]
async fn a_forced_update_names_the_version_it_saw_and_a_preview_writes_nothing() {
    let fake = Fake::start().await;
    let subs = fake.client().subscriptions();
    for is_forced in [false, true] {
        let update = subs.update(&id(), |s| s.quantity = 1);
        let (preview, target) = if is_forced {
            (update.force("why not").preview().await, "/preview?force=true")
        } else {
            (update.preview().await, "/preview")
        };
        let preview = preview.expect("a preview");
        assert_eq!((preview.current_version, preview.would_change.len()), (1, 1));
        let asked = fake.seen().pop().expect("a request");
        assert_eq!(asked.method, "POST");
        assert!(asked.target.ends_with(target), "{}", asked.target);
        assert_eq!(asked.body, json!({"version": 1, "quantity": 1}));
        assert_eq!((asked.key, fake.applied()), (None, 0));
    }
    let canceled = SubscriptionStatus::Canceled;
    let sub = subs.update(&id(), |s| s.status = canceled).force("chargeback 8812").await;
    assert!(sub.expect("forced").forced());
    let forced = fake.patches().pop().expect("a patch");
    assert_eq!(forced.body, json!({"version": 1, "status": "canceled"}));
}

#[tokio::test]
async fn a_save_is_merged_where_nobody_else_wrote() {
    let fake = Fake::start().await;
    let subs = fake.client().subscriptions();
    let base = subs.get(&id()).await.expect("ok");
    let edited = base.edited(|s| s.notes = "mine".into());
    fake.rival(json!({"plan_id": "pln_b", "quantity": 9}));
    let saved = subs.save(base, edited).await.expect("merged");
    assert_eq!(
        (saved.notes.as_str(), saved.plan_id.as_str(), saved.quantity),
        ("mine", "pln_b", 9)
    );
    assert_eq!(fake.methods(), ["GET", "PATCH", "PATCH"]);
    let patch = fake.patches().pop().expect("a patch");
    assert_eq!(patch.body, json!({"version": 2, "notes": "mine"}), "the attempted paths only");
}

#[tokio::test]
async fn a_save_of_what_is_already_so_is_a_success() {
    let fake = Fake::start().await;
    let subs = fake.client().subscriptions();
    let base = subs.get(&id()).await.expect("ok");
    let edited = base.edited(|s| s.notes = "same".into());
    fake.rival(json!({"notes": "same"}));
    let saved = subs.save(base, edited).await.expect("identical");
    assert_eq!((saved.version(), saved.changed(), fake.applied()), (2, false, 0));
}

#[tokio::test]
async fn an_increment_to_the_same_value_is_made_again() {
    let fake = Fake::start().await;
    fake.fault(Fault::Rival(json!({"quantity": 6})));
    let sub = fake.client().subscriptions().update(&id(), |s| s.quantity += 1).await.expect("ok");
    assert_eq!(sub.quantity, 7, "two increments from 5 are not one");
}

#[tokio::test]
async fn a_save_that_clashes_asks_or_is_parked() {
    for change in [json!({"notes": "theirs"}), json!({"status": "canceled"})] {
        let fake = Fake::start().await;
        let billing = fake.client();
        let subs = billing.subscriptions();
        let base = subs.get(&id()).await.expect("ok");
        let edited = base.edited(|s| {
            s.notes = "mine".into();
            s.cancel_at_period_end = true;
        });
        fake.rival(change);
        let asked = subs.save(base.clone(), edited.clone());
        let kept = asked.on_conflict(|_| async { Decision::TakeRemote }).await.expect("asked");
        assert_eq!((kept.version(), fake.applied()), (2, 0));
        let error = subs.save(base, edited).await.expect_err("parked");
        assert!(matches!(error, Error::Unresolved(_)), "{error}");
        assert_eq!(billing.conflicts().list().len(), 1);
    }
}

#[tokio::test]
async fn a_save_asks_only_about_clashes_and_reapplies_only_what_was_edited() {
    let fake = Fake::start().await;
    let subs = fake.client().subscriptions();
    let base = subs.get(&id()).await.expect("ok");
    let edited = base.edited(|s| s.notes = "mine".into());
    let mut asked = 0;
    let mut save = async || {
        let save = subs.save(&base, &edited).on_conflict(|_| {
            asked += 1;
            async { Decision::Reapply }
        });
        save.await.expect("saved");
        asked
    };
    fake.rival(json!({"quantity": 9}));
    assert_eq!(save().await, 0, "the rival wrote elsewhere");
    fake.rival(json!({"notes": "theirs", "plan_id": "pln_b"}));
    assert_eq!(save().await, 1);
    assert_eq!(fake.field("notes"), json!("mine"));
    assert_eq!((fake.field("plan_id"), fake.field("quantity")), (json!("pln_b"), json!(9)));
}

#[tokio::test]
async fn a_state_that_cannot_be_read_parks_the_edit() {
    let fake = Fake::start().await;
    let billing = fake.client();
    fake.fault(Fault::Rival(json!({"notes": ["a list by now"]})));
    let update = billing.subscriptions().update(&id(), |s| s.quantity += 5);
    let error = update.await.expect_err("parked");
    let Error::Unresolved(id) = error else { unreachable!("{error}") };
    let parked = billing.conflicts().get(&id).expect("parked");
    assert_eq!(parked.conflict.remote.get("notes"), Some(&json!(["a list by now"])));
    assert_eq!(parked.conflict.local.get("quantity"), Some(&json!(10)));
}

#[tokio::test]
async fn a_save_is_judged_again_when_the_object_moves_during_the_pause() {
    let fake = Fake::start().await;
    let billing = fake.client();
    let subs = billing.subscriptions();
    let base = subs.get(&id()).await.expect("ok");
    let edited = base.edited(|s| s.notes = "mine".into());
    fake.fault(Fault::Rival(json!({"quantity": 7})));
    fake.fault(Fault::Rival(json!({"notes": "theirs"})));
    let error = subs.save(base, edited).await.expect_err("parked");
    assert!(matches!(error, Error::Unresolved(_)), "{error}");
    assert_eq!(fake.field("notes"), json!("theirs"));
}

#[tokio::test]
async fn a_conflict_with_a_base_nobody_knows_is_parked_with_the_changes_found_here() {
    let fake = Fake::start().await;
    let billing = fake.client();
    let subs = billing.subscriptions();
    let mut old = subs.get(&id()).await.expect("ok").into_inner();
    old.version = -7;
    let edited = ifmatch::Subscription { notes: "mine".into(), ..old.clone() };
    fake.rival(json!({"quantity": 7}));
    let error = subs.save(ifmatch::Versioned::from(old), edited).await.expect_err("parked");
    let Error::Unresolved(id) = error else { unreachable!("{error}") };
    let parked = billing.conflicts().get(&id).expect("parked");
    assert_eq!(parked.conflict.verdict, Verdict::UnknownBase);
    assert!(parked.conflict.touches("/quantity"));
}

#[tokio::test]
async fn a_stale_delete_tells_what_the_object_is_now() {
    let fake = Fake::start().await;
    let subs = fake.client().subscriptions();
    let seen = subs.get(&id()).await.expect("ok");
    fake.rival(json!({"quantity": 7}));
    let error = subs.delete(&seen).await.expect_err("stale");
    let Error::Conflict(conflict) = &error else { unreachable!("{error}") };
    assert_eq!(conflict.remote.get("quantity"), Some(&json!(7)));
    assert_eq!(error.current_version(), Some(2));

    let tombstone = subs.delete_at(&id(), 2).await.expect("deleted");
    assert_eq!(tombstone.last_version, 2);
    let delete = fake.seen().pop().expect("a request");
    assert_eq!(delete.target, format!("/v1/subscriptions/{ID}?version=2"));
    assert!(subs.get_opt(&id()).await.expect("an answer").is_none());
}

#[tokio::test]
async fn the_plain_form_resolves_conflicts_of_any_send() {
    let fake = Fake::start().await;
    let billing = fake.client();
    let subs = billing.subscriptions();
    let (subscription, mut sends) = (id(), 0);
    let sub = with_conflict_resolution(
        Policy::reapply(&billing).idempotency_key("job"),
        || subs.get(&subscription),
        |s| {
            s.quantity += 5;
            Ok(())
        },
        |attempt| {
            sends += 1;
            let rival = (sends == 1).then(|| fake.rival(json!({"quantity": 100})));
            let key = if rival.is_some() { "job" } else { "job.1" };
            assert_eq!(attempt.idempotency_key, key);
            subs.send(attempt)
        },
    )
    .await
    .expect("ok");
    assert_eq!((sub.quantity, sends), (105, 2));
}

#[tokio::test]
async fn rules_are_not_conflicts() {
    let fake = Fake::start().await;
    let states = json!({"from": "canceled", "to": "active", "allowed": []});
    fake.fault(Fault::Intercept(problem(409, "INVALID_STATE_TRANSITION", states)));
    let subs = fake.client().subscriptions();
    let error = subs.update(&id(), |s| s.quantity += 5).await.expect_err("refused");
    assert!(!error.is_conflict() && !error.is_retryable() && !error.maybe_applied(), "{error}");
    assert_eq!(error.code(), Some(ifmatch::Code::InvalidStateTransition));
    assert_eq!(fake.patches().len(), 1, "a 409 that no edit can cure is not tried again");
}
