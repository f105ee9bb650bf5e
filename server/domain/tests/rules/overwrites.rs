//! A repeat of a refused write overwrites other changes, and reports them.

use crate::{
    book::Book,
    commands::{command, meta, patch},
};
use ifmatch_domain::{
    Action, Command, Outcome,
    core::{self, UpdateObject},
};
use ifmatch_types::{Kind, Version};
use serde_json::{Value, json};

/// A write by an actor who was refused at a version before.
fn write(
    book: &mut Book,
    actor: &str,
    id: &str,
    refused_at: Option<Version>,
    body: Value,
) -> Command {
    let version = book.version(id);
    let Action::Core(core::Action::Update(update)) = patch(Kind::Workspace, id, version, body)
    else {
        panic!("a patch is an update")
    };
    let action = Action::Core(core::Action::Update(UpdateObject { refused_at, ..update }));
    Command { meta: meta(actor), ..command(book.fresh_seed(), action) }
}

#[test]
fn what_somebody_else_changed_in_between_is_named() {
    // (changes by others in between, alice's repeat, what it overwrote)
    for (theirs, mine, overwrote) in [
        (vec![("bob", json!({"name": "B"}))], json!({"name": "A"}), vec!["/name"]),
        (vec![("alice", json!({"name": "B"}))], json!({"name": "A"}), vec![]),
        (vec![("bob", json!({"email": "b@b.c"}))], json!({"name": "A"}), vec![]),
        (
            vec![("bob", json!({"metadata": {"k": "b"}}))],
            json!({"metadata": {"k": "a"}, "name": "A"}),
            vec!["/metadata/k"],
        ),
        (vec![("bob", json!({"metadata": {"k": "b"}}))], json!({"metadata": {"j": "a"}}), vec![]),
        (
            vec![("bob", json!({"name": "B"})), ("alice", json!({"name": "C"}))],
            json!({"name": "A"}),
            vec!["/name"],
        ),
        (
            vec![("bob", json!({"name": "B", "email": "b@b.c"}))],
            json!({"name": "A", "email": null}),
            vec!["/name", "/email"],
        ),
    ] {
        let mut book = Book::default();
        let id = book.workspace();
        let now = book.now;
        for (actor, body) in &theirs {
            let theirs = write(&mut book, actor, &id, None, body.clone());
            book.world.carry_out(&[theirs], now).remove(0).unwrap();
        }
        let mine = write(&mut book, "alice", &id, Some(1), mine);
        let Ok(Outcome::Core(core::Outcome::Object(answer))) =
            book.world.carry_out(&[mine], now).remove(0)
        else {
            panic!("the repeat succeeds")
        };
        let mut named = answer.overwrote.clone();
        named.sort();
        let mut expected = overwrote.clone();
        expected.sort_unstable();
        assert_eq!(named, expected, "{theirs:?}");
        let entry = &book.world.events.last().unwrap().entry;
        assert_eq!(entry.overwrote.clone().unwrap_or_default(), answer.overwrote);
        assert_eq!(entry.overwrote.is_none(), overwrote.is_empty(), "nothing is null, not empty");
    }
}

#[test]
fn who_acts_for_somebody_else_is_somebody_else() {
    let mut book = Book::default();
    let id = book.workspace();
    let now = book.now;
    let mut theirs = write(&mut book, "alice", &id, None, json!({"name": "B"}));
    theirs.meta.on_behalf_of = Some("carol".to_owned());
    book.world.carry_out(&[theirs], now).remove(0).unwrap();
    let mine = write(&mut book, "alice", &id, Some(1), json!({"name": "A"}));
    let Ok(Outcome::Core(core::Outcome::Object(answer))) =
        book.world.carry_out(&[mine], now).remove(0)
    else {
        panic!("the repeat succeeds")
    };
    assert_eq!(answer.overwrote, ["/name"]);
}
