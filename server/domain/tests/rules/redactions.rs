//! Redactions: what they replace, what they record, and what they refuse.

use crate::{
    book::Book,
    commands::{delete, forcing, merging, patch, previewing, redact, redact_with},
    invariants::assert_holds,
};
use ifmatch_domain::{
    Action, Command, Rejection,
    core::{self, How, Meta, Precondition},
};
use ifmatch_types::{ChangeKind, FieldError, Kind, REDACTED, Verdict, WorkspaceId};
use serde_json::{Value, json};

/// The values that must not be left.
const SECRETS: [&str; 3] = ["Ann", "ann@b.example", "555"];

/// A workspace at version 3 that has had secrets since its first version.
fn book() -> (Book, String) {
    let mut book = Book::default();
    let body = json!({"name": "Ann", "email": "ann@b.example", "metadata": {"a/b": "555"}});
    let id = book.make(Kind::Workspace, body);
    book.edit(&id, json!({"name": "Ann Smith", "metadata": {"k": "kept"}})).unwrap();
    let blind = patch(Kind::Workspace, &id, 1, json!({"email": "old.ann@b.example"}));
    book.ok(forcing(blind));
    (book, id)
}

fn paths() -> [&'static str; 3] {
    ["/name", "/email", "/metadata/a~1b"]
}

#[track_caller]
fn assert_forgotten(book: &Book) {
    let everything = format!("{:?}", book.world);
    for secret in SECRETS {
        assert!(!everything.contains(secret), "{secret} is left in {everything}");
    }
}

#[track_caller]
fn invalid(rejection: Rejection) -> Vec<FieldError> {
    match rejection {
        Rejection::Core(core::Rejection::Invalid(errors)) => errors,
        other => panic!("invalid fields were expected: {other:?}"),
    }
}

#[test]
fn the_values_are_replaced_in_the_object_and_its_past() {
    let (mut book, id) = book();
    let answer = book.ok(redact(Kind::Workspace, &id, 3, &paths()));
    assert_eq!((answer.version, answer.how), (4, How::Updated));
    assert_eq!(answer.body["name"], REDACTED);
    assert_eq!(answer.body["email"], Value::Null);
    assert_eq!(answer.body["metadata"], json!({"a/b": REDACTED, "k": "kept"}));
    assert_forgotten(&book);
    assert_holds(&book.world);
    let paths: Vec<Vec<&str>> = book
        .world
        .history(&id)
        .map(|event| event.entry.changes.iter().map(|change| change.path.as_str()).collect())
        .collect();
    let expected: [&[&str]; 4] =
        [&[], &["/name", "/metadata/k"], &["/email"], &["/name", "/email", "/metadata/a~1b"]];
    assert_eq!(paths, expected, "each change is still told");
}

#[test]
fn it_is_on_record_with_its_paths_and_without_its_values() {
    let (mut book, id) = book();
    book.ok(redact(Kind::Workspace, &id, 3, &["/name", "/email", "/metadata/never"]));
    let audit = book.world.audits.last().unwrap();
    assert_eq!(audit.audit_type, "redaction");
    assert_eq!(audit.reason.as_deref(), Some("asked"));
    assert_eq!(audit.expected_version, Some(json!(3)));
    assert_eq!(audit.overwritten_version, Some(3));
    let changes = json!(audit.changes);
    let expected = json!([
        {"path": "/name", "from": REDACTED, "to": REDACTED},
        {"path": "/email", "from": null, "to": null},
        {"path": "/metadata/never", "from": REDACTED, "to": REDACTED},
    ]);
    assert_eq!(changes, expected);
    let entry = &book.world.history(&id).last().unwrap().entry;
    assert_eq!((entry.kind, entry.reason.as_deref()), (ChangeKind::Updated, Some("asked")));
    let listed: Vec<&str> = entry.changes.iter().map(|change| change.path.as_str()).collect();
    assert_eq!(listed, ["/name", "/email"], "a key that is not there was not changed");
    assert!(book.field(&id, "metadata").get("never").is_none());
}

#[test]
fn each_collection_has_its_own_paths() {
    let mut book = Book::default();
    let workspace = book.workspace();
    let plan = book.plan("p", json!({"description": "d"}));
    let subscription = book.subscription(&workspace, &plan, json!({"notes": "n"}));
    let invoice = book.invoice(&workspace, json!({"notes": "n"}));
    let namespace = book.make(Kind::Namespace, json!({"workspace_id": workspace, "name": "eu"}));
    let bookable = book.make(Kind::Bookable, json!({"name": "Room", "capacity": 2}));
    let booking = book.make(
        Kind::Booking,
        json!({"bookable_id": bookable, "start_date": "2027-01-05", "end_date": "2027-01-06",
            "quantity": 1, "user_id": "u1", "notes": "n"}),
    );
    let feature = book.make(Kind::Feature, json!({"code": "f", "name": "F", "type": "limit"}));
    let package = book.make(Kind::Package, json!({"code": "b", "name": "B"}));
    let all = ["/name", "/email", "/notes", "/description", "/user_id", "/label", "/metadata/k"];
    for (kind, id, allowed) in [
        (Kind::Workspace, &workspace, &["/name", "/email", "/metadata/k"][..]),
        (Kind::Namespace, &namespace, &["/name", "/metadata/k"]),
        (Kind::Plan, &plan, &["/name", "/description", "/metadata/k"]),
        (Kind::Subscription, &subscription, &["/notes", "/metadata/k"]),
        (Kind::Invoice, &invoice, &["/notes", "/metadata/k"]),
        (Kind::Feature, &feature, &["/name"]),
        (Kind::Package, &package, &["/name"]),
        (Kind::Bookable, &bookable, &["/name", "/metadata/k"]),
        (Kind::Booking, &booking, &["/notes", "/user_id", "/metadata/k"]),
    ] {
        for path in all {
            let version = book.version(id);
            let decided = book.run(redact(kind, id, version, &[path]));
            assert_eq!(decided.is_ok(), allowed.contains(&path), "{kind} {path}: {decided:?}");
        }
        book.edit(id, json!({})).unwrap();
    }
    assert_eq!(book.field(&booking, "user_id"), Value::Null);
    assert_holds(&book.world);
}

#[test]
fn wrong_paths_and_reasons_are_named() {
    let (mut book, id) = book();
    let ask = |body: Value| redact_with(Kind::Workspace, &id, Precondition::Version(1), body);
    for wrong in
        ["/currency", "name", "", "/", "/name/x", "/metadata", "/metadata/", "/metadata/a/b"]
    {
        let errors = invalid(book.refused(ask(json!({"paths": ["/name", wrong], "reason": "r"}))));
        assert_eq!(errors.len(), 1);
        assert_eq!(errors[0].path, "/paths/1");
        assert!(errors[0].message.starts_with(&format!("{wrong} cannot be redacted")));
    }
    let path = |body: Value, book: &mut Book| invalid(book.refused(ask(body)))[0].path.clone();
    assert_eq!(path(json!({"paths": [], "reason": "r"}), &mut book), "/paths");
    assert_eq!(path(json!({"paths": vec!["/name"; 61], "reason": "r"}), &mut book), "/paths");
    assert_eq!(path(json!({"paths": ["/name"], "reason": ""}), &mut book), "/reason");
    assert_eq!(path(json!({"paths": ["/name"]}), &mut book), "/reason");
    assert_eq!(path(json!({"paths": "/name", "reason": "r"}), &mut book), "/paths");
    assert_eq!(path(json!({"paths": ["/name"], "reason": "r", "x": 1}), &mut book), "/x");
    let twice = ask(json!({"paths": ["/metadata/k", "/metadata/k"], "reason": "r"}));
    assert!(matches!(book.refused(twice), Rejection::Core(core::Rejection::Conflict(_))));
}

#[test]
fn a_version_is_needed_and_a_stale_one_is_a_conflict() {
    let (mut book, id) = book();
    let body = json!({"paths": ["/name"], "reason": "r"});
    let missing = redact_with(Kind::Workspace, &id, Precondition::Missing, body);
    let required = Rejection::Core(core::Rejection::PreconditionRequired);
    assert_eq!(book.refused(missing), required);
    let refused = book.refused(redact(Kind::Workspace, &id, 2, &["/name"]));
    let Rejection::Core(core::Rejection::Conflict(conflict)) = refused else { panic!("stale") };
    assert_eq!((conflict.expected_version, conflict.current_version), (Some(2), 3));
    assert_eq!(conflict.attempted, ["/name"]);
    assert_eq!(conflict.merge.verdict, Verdict::Clean);
    let unknown = "wsp_0193f0c0a1b27c3d8e4f5a6b7c8d9e0f";
    let refused = book.refused(redact(Kind::Workspace, unknown, 1, &["/currency"]));
    assert!(matches!(refused, Rejection::Core(core::Rejection::NotFound { .. })), "{refused:?}");
}

#[test]
fn a_deleted_object_is_redacted_and_stays_deleted() {
    let (mut book, id) = book();
    book.run(delete(Kind::Workspace, &id, 3)).unwrap();
    let before = book.world.workspaces[&id].tombstone().unwrap();
    let answer = book.ok(redact(Kind::Workspace, &id, 4, &paths()));
    assert_eq!((answer.version, &answer.body["name"]), (5, &json!(REDACTED)));
    assert_eq!(book.world.workspaces[&id].tombstone(), Some(before.clone()));
    assert_forgotten(&book);
    let event = book.world.history(&id).last().unwrap();
    assert_eq!(event.entry.kind, ChangeKind::Deleted, "a follower does not bring it back");
    let refused = book.refused(patch(Kind::Workspace, &id, 5, json!({"name": "x"})));
    assert_eq!(refused, Rejection::Core(core::Rejection::Deleted(Kind::Workspace, before.clone())));
    book.ok(redact(Kind::Workspace, &id, 5, &["/metadata/k"]));
    assert_eq!(book.world.workspaces[&id].tombstone(), Some(before));
    assert_holds(&book.world);
}

#[test]
fn the_last_living_version_names_a_deleted_object_until_it_is_redacted() {
    let (mut book, id) = book();
    book.run(delete(Kind::Workspace, &id, 3)).unwrap();
    assert_eq!(book.ok(redact(Kind::Workspace, &id, 3, &["/name"])).version, 5);
    for stale in [3, 4] {
        let refused = book.refused(redact(Kind::Workspace, &id, stale, &["/email"]));
        assert!(matches!(refused, Rejection::Core(core::Rejection::Conflict(_))), "{refused:?}");
    }
    assert_eq!(book.ok(redact(Kind::Workspace, &id, 5, &["/email"])).version, 6);
}

#[test]
fn what_is_written_again_later_is_an_ordinary_value() {
    let (mut book, id) = book();
    book.ok(redact(Kind::Workspace, &id, 3, &paths()));
    book.edit(&id, json!({"name": "Bea", "email": "bea@b.example"})).unwrap();
    book.ok(redact(Kind::Workspace, &id, 5, &["/metadata/k"]));
    assert_eq!(
        book.fields(&id, &["name", "email"]),
        json!({"name": "Bea", "email": "bea@b.example"})
    );
    let changes = json!(book.world.history(&id).nth(4).unwrap().entry.changes);
    assert_eq!(changes[0], json!({"path": "/name", "from": REDACTED, "to": "Bea"}));
}

#[test]
fn a_merge_does_not_bring_a_redacted_value_back() {
    let (mut book, id) = book();
    book.ok(redact(Kind::Workspace, &id, 3, &paths()));
    for (mine, verdict) in [
        (json!({"name": "Ann Smith"}), Verdict::Overlap),
        (json!({"name": REDACTED}), Verdict::Identical),
        (json!({"email": "old.ann@b.example"}), Verdict::Overlap),
        (json!({"metadata": {"a/b": "555"}}), Verdict::Overlap),
        (json!({"metadata": {"k": "2"}}), Verdict::Clean),
    ] {
        let stale = patch(Kind::Workspace, &id, 3, mine.clone());
        let refused = book.refused(stale.clone());
        let Rejection::Core(core::Rejection::Conflict(conflict)) = refused else { panic!("stale") };
        assert_eq!(conflict.merge.verdict, verdict, "{mine}");
        let told: Vec<&str> = conflict.changes.iter().map(|change| change.path.as_str()).collect();
        assert_eq!(told, paths(), "{mine}");
        assert_eq!((&conflict.changes[0].base, conflict.changes[0].version), (&json!(REDACTED), 4));
        match book.run(previewing(merging(stale))).unwrap() {
            ifmatch_domain::Outcome::Previewed { preview, .. } => {
                assert_eq!(preview.verdict, verdict, "{mine}");
            }
            other => panic!("{other:?}"),
        }
    }
    let stale = patch(Kind::Workspace, &id, 3, json!({"name": "Ann Smith"}));
    assert!(book.run(merging(stale)).is_err());
    assert_eq!(
        book.ok(merging(patch(Kind::Workspace, &id, 3, json!({"metadata": {"k": "2"}})))).version,
        5
    );
    assert_forgotten(&book);
}

#[test]
fn a_scoped_key_redacts_nothing() {
    let (mut book, id) = book();
    let command = |action: Action| {
        let command = crate::commands::command(1, action);
        let mut actor = command.meta.actor.clone();
        actor.workspace_id = Some(WorkspaceId::from_unchecked(id.clone()));
        Command { meta: Meta { actor, ..command.meta.clone() }, ..command }
    };
    let batch = [command(redact(Kind::Workspace, &id, 3, &["/name"]))];
    let before = book.world.clone();
    let decided = book.world.carry_out(&batch, book.now).remove(0);
    assert_eq!(decided, Err(Rejection::Core(core::Rejection::NeedsUnscopedKey)));
    assert_eq!(book.world, before);
}
