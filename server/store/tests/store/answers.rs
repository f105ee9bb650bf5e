//! Kept answers are pruned by age. Evidence tells whether a commit took place whose answer was
//! lost.

use crate::{
    book::Book,
    commands::{at, command, key, patch, reserve, top_up},
    database::{Database, both_databases, execute, texts},
    lane::{carry_out, load, save},
    verify::acquire,
    world::decide_one,
};
use ifmatch_domain::{
    Action, Command,
    core::{self, KeptAnswer, RecordDenied},
};
use ifmatch_store::{Db, Evidence, PRUNED_AT_ONCE};
use ifmatch_types::{Kind, Timestamp};
use serde_json::json;

fn answer() -> KeptAnswer {
    KeptAnswer { fingerprint: "print".into(), status: 200, headers: vec![], body: String::new() }
}

fn old_answers_are_forgotten_and_others_kept(database: &Database) {
    let mut db = database.lane();
    save(&mut db, |state| {
        for n in 0..5 {
            state.answers.put(("key_a".to_owned(), format!("k{n}")), answer());
        }
        state.answers.put(("key_b".to_owned(), "k0".to_owned()), answer());
    })
    .unwrap();
    let day = |n: i64| at("2027-01-01T00:00:00Z").as_micros() + n * 86_400_000_000;
    for n in 0..5 {
        execute(&mut db, &format!("UPDATE answers SET created_at = {} WHERE key = 'k{n}'", day(n)));
    }
    assert_eq!(db.prune_answers(at("2027-01-01T00:00:00Z")).unwrap(), 0, "not before it");
    assert_eq!(
        db.prune_answers(at("2027-01-03T00:00:00Z")).unwrap(),
        3,
        "two of one key's, one of another's"
    );
    assert_eq!(texts(&mut db, "SELECT key AS found FROM answers ORDER BY 1"), ["k2", "k3", "k4"]);
    assert_eq!(db.prune_answers(at("2028-01-01T00:00:00Z")).unwrap(), 3);
}

fn very_many_old_answers_are_forgotten_bit_by_bit(database: &Database) {
    let mut db = database.lane();
    save(&mut db, |state| {
        for n in 0..PRUNED_AT_ONCE + 5 {
            state.answers.put(("key_a".to_owned(), format!("k{n}")), answer());
        }
    })
    .unwrap();
    let later = at("2028-01-01T00:00:00Z");
    assert_eq!(db.prune_answers(later).unwrap(), PRUNED_AT_ONCE);
    assert_eq!(db.prune_answers(later).unwrap(), 5);
    assert_eq!(db.prune_answers(later).unwrap(), 0);
}

/// Each kind of batch leaves its own evidence, and only once it is committed.
fn a_commit_whose_answer_was_lost_is_found(database: &Database) {
    let mut db = database.lane();
    let mut book = Book::default();
    let id = book.workspace();
    let made = book.world.workspaces[&id].clone();
    let events = book.world.events.clone();
    save(&mut db, |state| {
        state.billing_mut().workspaces.put(id.clone(), made);
        state.events.extend(events);
    })
    .unwrap();
    carry_out(&mut db, &[command(book.fresh_seed(), top_up(&id, 9))], book.now).remove(0).unwrap();
    let event = command(book.fresh_seed(), patch(Kind::Workspace, &id, 1, json!({"name": "New"})));
    let denied =
        RecordDenied { audit_type: "force_denied", resource: None, reason: None, attempts: 1 };
    let audit = command(book.fresh_seed(), Action::Core(core::Action::RecordDenied(denied)));
    let mut kept =
        command(book.fresh_seed(), patch(Kind::Workspace, &id, 2, json!({"name": "New"})));
    kept.idempotency = Some(key("k", "print"));
    let lock = command(book.fresh_seed(), acquire(None, "k"));
    let transfer = command(book.fresh_seed(), reserve(&id, 1));
    for command in [event, audit, kept, lock, transfer] {
        let batch = [command];
        // Two runs of one command. The first one is lost, the second one is committed.
        let lost = evidence_of(&mut db, &batch, book.now);
        let later = Timestamp::from_micros(book.now.as_micros() + 1).unwrap();
        let evidence = evidence_of(&mut db, &batch, later);
        assert!(!db.was_committed(&evidence).unwrap(), "{evidence:?}");
        carry_out(&mut db, &batch, later).remove(0).unwrap();
        assert!(db.was_committed(&evidence).unwrap(), "{evidence:?}");
        assert!(!db.was_committed(&lost).unwrap(), "{lost:?}");
    }
}

/// What a run of a batch would leave. It is not committed.
fn evidence_of(db: &mut Db, batch: &[Command], now: Timestamp) -> Evidence {
    db.begin().unwrap();
    let mut state = load(db, batch);
    for command in batch {
        decide_one(&mut state, command, now).unwrap();
    }
    db.rollback().unwrap();
    Evidence::of(&state, now).expect("it changes something")
}

/// Another process may change one of a batch's locks before the lane asks.
fn a_lock_that_was_changed_since_does_not_hide_a_commit(database: &Database) {
    let mut db = database.lane();
    let mut book = Book::default();
    let batch = ["a", "b"].map(|key| command(book.fresh_seed(), acquire(None, key)));
    let evidence = evidence_of(&mut db, &batch, book.now);
    carry_out(&mut db, &batch, book.now);
    let later = Timestamp::from_micros(book.now.as_micros() + 86_400_000_000).unwrap();
    for key in ["a", "b"] {
        assert!(db.was_committed(&evidence).unwrap(), "before {key} is acquired again");
        let again = [command(book.fresh_seed(), acquire(None, key))];
        carry_out(&mut db, &again, later).remove(0).unwrap();
    }
    assert!(!db.was_committed(&evidence).unwrap(), "no trace is left");
}

fn what_another_request_did_is_no_evidence(database: &Database) {
    let mut db = database.lane();
    let mut book = Book::default();
    let id = book.workspace();
    let event = book.world.events[0].clone();
    save(&mut db, |state| {
        state.events.push(event.clone());
        state.answers.put(("key_alice".to_owned(), "k".to_owned()), answer());
    })
    .unwrap();
    let evidence = |version, request_id: &str| Evidence::Event {
        id: id.clone(),
        version,
        at: event.entry.at,
        request_id: request_id.to_owned(),
    };
    assert!(db.was_committed(&evidence(1, "req")).unwrap());
    assert!(!db.was_committed(&evidence(1, "another")).unwrap());
    assert!(!db.was_committed(&evidence(2, "req")).unwrap());
    let kept = |fingerprint: &str, at| Evidence::Answer {
        scope: "key_alice".to_owned(),
        key: "k".to_owned(),
        fingerprint: fingerprint.to_owned(),
        at,
    };
    let now = Book::default().now;
    assert!(db.was_committed(&kept("print", now)).unwrap());
    assert!(!db.was_committed(&kept("another print", now)).unwrap());
    // A repeat through another server stores the same answer, at another instant.
    let earlier = Timestamp::from_micros(now.as_micros() - 1).unwrap();
    assert!(!db.was_committed(&kept("print", earlier)).unwrap());
}

both_databases!(
    old_answers_are_forgotten_and_others_kept,
    very_many_old_answers_are_forgotten_bit_by_bit,
    a_commit_whose_answer_was_lost_is_found,
    a_lock_that_was_changed_since_does_not_hide_a_commit,
    what_another_request_did_is_no_evidence,
);
