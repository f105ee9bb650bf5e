//! Idempotency keys: a repeat gets the kept answer, another request with the key is refused.

use crate::{
    book::Book,
    commands::{command, create, delete, key, patch},
};
use ifmatch_domain::{
    Action, Command, Outcome, Rejection,
    core::{self, IdempotencyKey},
};
use ifmatch_types::{ApiKeyId, Kind};
use serde_json::json;

fn with_key(book: &mut Book, name: &str, key: IdempotencyKey) -> Command {
    let action = create(Kind::Workspace, json!({"name": name}));
    Command { idempotency: Some(key), ..command(book.fresh_seed(), action) }
}

#[test]
fn the_same_key_and_request_is_done_once_in_a_batch_and_across_batches() {
    for size in [1, 3] {
        let mut book = Book::default();
        let commands: Vec<Command> =
            (0..3).map(|_| with_key(&mut book, "Acme", key("k", "print"))).collect();
        let mut decided = Vec::new();
        for batch in commands.chunks(size) {
            decided.extend(book.world.carry_out(batch, book.now));
        }
        assert!(matches!(&decided[0], Ok(Outcome::Core(core::Outcome::Object(_)))));
        let kept = book.world.answers.values().next().unwrap().clone();
        assert_eq!(decided[1], Ok(Outcome::Core(core::Outcome::Replayed(kept.clone()))));
        assert_eq!(decided[2], Ok(Outcome::Core(core::Outcome::Replayed(kept))));
        assert_eq!((book.world.workspaces.len(), book.world.answers.len()), (1, 1));
    }
}

#[test]
fn what_comes_before_the_fields_is_judged_alone_and_leaves_no_answer() {
    let mut book = Book::default();
    let id = book.workspace();
    let gone = book.workspace();
    book.run(delete(Kind::Workspace, &gone, 1)).unwrap();
    let admit = |book: &mut Book, about: Option<&str>, print: &str| {
        let action =
            Action::Core(core::Action::Admit(about.map(|id| (Kind::Workspace, id.to_owned()))));
        let command = command(book.fresh_seed(), action);
        let command = Command { idempotency: Some(key("k", print)), ..command };
        book.world.carry_out(&[command], book.now).remove(0)
    };
    assert_eq!(admit(&mut book, None, "wrong"), Ok(Outcome::Core(core::Outcome::Admitted)));
    assert_eq!(admit(&mut book, Some(&id), "wrong"), Ok(Outcome::Core(core::Outcome::Admitted)));
    assert!(book.world.answers.is_empty(), "the key can still be used for a valid request");
    let missing = admit(&mut book, Some("wsp_0193f0c0a1b27c3d8e4f5a6b7c8d9e0f"), "wrong");
    assert!(
        matches!(missing, Err(Rejection::Core(core::Rejection::NotFound { .. }))),
        "{missing:?}"
    );
    let deleted = admit(&mut book, Some(&gone), "wrong");
    assert!(matches!(deleted, Err(Rejection::Core(core::Rejection::Deleted(..)))), "{deleted:?}");

    let right = with_key(&mut book, "Acme", key("k", "right"));
    book.world.carry_out(&[right], book.now).remove(0).unwrap();
    assert!(matches!(
        admit(&mut book, None, "right"),
        Ok(Outcome::Core(core::Outcome::Replayed(_)))
    ));
    assert_eq!(
        admit(&mut book, Some(&gone), "wrong"),
        Err(Rejection::Core(core::Rejection::IdempotencyKeyReused))
    );
}

#[test]
fn the_same_key_for_another_request_is_refused() {
    let mut book = Book::default();
    let batch = [
        with_key(&mut book, "Acme", key("k", "print")),
        with_key(&mut book, "Other", key("k", "another print")),
    ];
    let decided = book.world.carry_out(&batch, book.now);
    assert_eq!(decided[1], Err(Rejection::Core(core::Rejection::IdempotencyKeyReused)));
    let again = book.world.carry_out(&batch[1..], book.now);
    assert_eq!(again[0], Err(Rejection::Core(core::Rejection::IdempotencyKeyReused)));
    assert_eq!(book.world.workspaces.len(), 1);
}

#[test]
fn a_key_belongs_to_its_api_key() {
    let mut book = Book::default();
    let foreign =
        IdempotencyKey { owner: ApiKeyId::from_unchecked("key_bob"), ..key("k", "print") };
    let batch =
        [with_key(&mut book, "Acme", key("k", "print")), with_key(&mut book, "Acme", foreign)];
    let decided = book.world.carry_out(&batch, book.now);
    assert!(
        decided
            .iter()
            .all(|decided| matches!(decided, Ok(Outcome::Core(core::Outcome::Object(_)))))
    );
    assert_eq!(book.world.workspaces.len(), 2);
}

#[test]
fn a_refused_request_keeps_no_answer() {
    let mut book = Book::default();
    let refused = with_key(&mut book, "", key("k", "print"));
    let accepted = with_key(&mut book, "Acme", key("k", "print"));
    let decided = book.world.carry_out(&[refused, accepted], book.now);
    assert!(matches!(decided[0], Err(Rejection::Core(core::Rejection::Invalid(_)))));
    assert!(matches!(decided[1], Ok(Outcome::Core(core::Outcome::Object(_)))));
}

#[test]
fn a_replay_is_answered_before_anything_else_is_looked_at() {
    let mut book = Book::default();
    let id = book.workspace();
    let rename = patch(Kind::Workspace, &id, 1, json!({"name": "New"}));
    let mut first = command(book.fresh_seed(), rename.clone());
    first.idempotency = Some(key("k", "print"));
    book.world.carry_out(&[first.clone()], book.now).remove(0).unwrap();
    book.edit(&id, json!({"name": "Moved on"})).unwrap();
    let replayed = book.world.carry_out(&[first], book.now).remove(0);
    assert!(
        matches!(replayed, Ok(Outcome::Core(core::Outcome::Replayed(_)))),
        "stale by now, but answered from the kept answer"
    );
    assert_eq!(book.field(&id, "name"), "Moved on");
}
