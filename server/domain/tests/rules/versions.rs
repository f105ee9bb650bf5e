//! Versions: which writes must name one, the answer to a stale one, and what force skips.

use crate::{
    book::Book,
    commands::{at, command, delete, forcing, meta, patch, put, with_precondition},
    invariants::assert_holds,
};
use ifmatch_domain::{
    Action, Outcome, Rejection, billing,
    core::{self, DeleteObject, How, Precondition},
};
use ifmatch_types::{ChangeKind, Conflict, Kind, Verdict, Version};
use serde_json::json;

/// A workspace that bob renamed twice: it is at version 3.
fn book() -> (Book, String) {
    let mut book = Book::default();
    let id = book.workspace();
    for (version, name) in [(1, "Two"), (2, "Three")] {
        let mut command =
            command(book.fresh_seed(), patch(Kind::Workspace, &id, version, json!({"name": name})));
        command.meta = meta("bob");
        book.now = at(&format!("2027-01-0{}T00:00:00Z", version + 1));
        let now = book.now;
        book.world.carry_out(&[command], now).remove(0).unwrap();
    }
    (book, id)
}

#[track_caller]
fn conflict(rejection: Rejection) -> Conflict {
    match rejection {
        Rejection::Core(core::Rejection::Conflict(conflict)) => *conflict,
        other => panic!("a conflict was expected: {other:?}"),
    }
}

#[test]
fn only_a_named_current_version_lets_a_write_through() {
    let cases: Vec<(Precondition, Option<Option<Version>>)> = vec![
        // The precondition; `None` if it passes, else the conflict's expected version.
        (Precondition::Version(3), None),
        (Precondition::Tags(vec![3]), None),
        (Precondition::Tags(vec![1, 3]), None),
        (Precondition::Tags(vec![3, 9]), None),
        (Precondition::Version(2), Some(Some(2))),
        (Precondition::Version(4), Some(Some(4))),
        (Precondition::Version(0), Some(Some(0))),
        (Precondition::Version(-1), Some(Some(-1))),
        (Precondition::Version(i64::MAX), Some(Some(i64::MAX))),
        (Precondition::Version(i64::MIN), Some(Some(i64::MIN))),
        (Precondition::Tags(vec![1, 2]), Some(Some(2))),
        (Precondition::Tags(vec![]), Some(None)),
    ];
    for (precondition, expected) in cases {
        for (is_delete, action) in [
            (false, patch(Kind::Workspace, "", 1, json!({"email": "a@b.c"}))),
            (true, delete(Kind::Workspace, "", 1)),
        ] {
            let (mut book, id) = book();
            let action = aimed_at(with_precondition(action, precondition.clone()), &id);
            match (book.run(action), expected) {
                (Ok(Outcome::Core(core::Outcome::Object(object))), None) => {
                    assert_eq!(object.version, 4)
                }
                (Ok(Outcome::Core(core::Outcome::Deleted { deleted, forced })), None) => {
                    assert!(is_delete && !forced);
                    assert_eq!(deleted.last_version, 3);
                }
                (Err(rejection), Some(named)) => {
                    let conflict = conflict(rejection);
                    assert_eq!((conflict.expected_version, conflict.current_version), (named, 3));
                    assert_eq!(conflict.current, book.world.entity(&id));
                }
                (other, _) => panic!("{precondition:?}: {other:?}"),
            }
            assert_holds(&book.world);
        }
    }
}

fn aimed_at(action: Action, id: &str) -> Action {
    match action {
        Action::Core(core::Action::Update(update)) => {
            Action::Core(core::Action::Update(core::UpdateObject { id: id.to_owned(), ..update }))
        }
        Action::Core(core::Action::Delete(delete)) => {
            Action::Core(core::Action::Delete(DeleteObject { id: id.to_owned(), ..delete }))
        }
        other => other,
    }
}

#[test]
fn a_write_without_a_version_is_refused_after_its_fields() {
    let (mut book, id) = book();
    let missing = |action| with_precondition(action, Precondition::Missing);
    let rename = patch(Kind::Workspace, &id, 1, json!({"name": "New"}));
    assert_eq!(
        book.refused(missing(rename)),
        Rejection::Core(core::Rejection::PreconditionRequired)
    );
    assert_eq!(
        book.refused(missing(delete(Kind::Workspace, &id, 1))),
        Rejection::Core(core::Rejection::PreconditionRequired)
    );
    let wrong = patch(Kind::Workspace, &id, 1, json!({"name": ""}));
    assert!(matches!(book.refused(missing(wrong)), Rejection::Core(core::Rejection::Invalid(_))));
    let absent = patch(Kind::Workspace, "wsp_0", 1, json!({"name": ""}));
    let not_found =
        Rejection::Core(core::Rejection::NotFound { what: "workspace", id: "wsp_0".to_owned() });
    assert_eq!(book.refused(missing(absent)), not_found);
}

#[test]
fn a_conflict_tells_the_net_change_and_its_latest_author() {
    let (mut book, id) = book();
    let conflict = conflict(book.refused(patch(Kind::Workspace, &id, 1, json!({"name": "Mine"}))));
    let change = &conflict.changes[0];
    assert_eq!(conflict.changes.len(), 1);
    assert_eq!((change.path.as_str(), change.version), ("/name", 3));
    assert_eq!((&change.base, &change.current), (&json!("Acme"), &json!("Three")));
    assert_eq!((change.by.actor.as_str(), change.at), ("bob", at("2027-01-03T00:00:00Z")));
    assert_eq!(conflict.attempted, ["/name"]);
    assert_eq!(conflict.merge.verdict, Verdict::Overlap);
    assert!(conflict.conflict_id.starts_with("cfl_"));
    // A change that was reverted is not listed.
    book.edit(&id, json!({"name": "Acme"})).unwrap();
    let refused = book.refused(patch(Kind::Workspace, &id, 1, json!({"name": "Mine"})));
    assert_eq!(self::conflict(refused).changes, []);
}

#[test]
fn a_base_that_nobody_knows_is_said_to_be_unknown() {
    let (mut book, id) = book();
    book.world.events.retain(|event| !(event.id == id && event.entry.version == 1));
    let conflict =
        conflict(book.refused(patch(Kind::Workspace, &id, 1, json!({"email": "a@b.c"}))));
    assert_eq!(conflict.merge.verdict, Verdict::UnknownBase);
    assert_eq!((conflict.changes.len(), conflict.attempted.len()), (0, 0));
    assert_eq!(conflict.merge.preview, None);
}

#[test]
fn a_patch_that_changes_nothing_makes_no_version_but_its_version_is_checked() {
    let (mut book, id) = book();
    for body in [
        json!({}),
        json!({"name": "Three"}),
        json!({"metadata": {}}),
        json!({"email": null}),
        json!({"metadata": {"absent": null}}),
    ] {
        let answer = book.ok(patch(Kind::Workspace, &id, 3, body.clone()));
        assert_eq!((answer.how, answer.version), (How::Unchanged, 3), "{body}");
        conflict(book.refused(patch(Kind::Workspace, &id, 2, body)));
    }
    assert_eq!(book.world.history(&id).count(), 3);
}

#[test]
fn force_skips_the_version_and_is_recorded() {
    for (precondition, expected) in [
        (Precondition::Version(1), json!(1)),
        (Precondition::Missing, json!("blind")),
        (Precondition::Tags(vec![1, 2]), json!(2)),
        (Precondition::Version(9), json!(9)),
    ] {
        let (mut book, id) = book();
        let action = forcing(patch(Kind::Workspace, &id, 1, json!({"name": "Mine"})));
        let answer = book.ok(with_precondition(action, precondition));
        assert_eq!((answer.how, answer.version), (How::Forced, 4));
        let event = book.world.events.last().unwrap();
        assert_eq!((event.entry.kind, event.entry.by.forced), (ChangeKind::Forced, true));
        assert_eq!(event.entry.reason.as_deref(), Some("chargeback"));
        let audit = book.world.audits.last().unwrap();
        assert_eq!(
            (audit.audit_type.as_str(), &audit.changes),
            ("forced_write", &event.entry.changes)
        );
        assert_eq!(
            (&audit.expected_version, audit.overwritten_version),
            (&Some(expected), Some(3))
        );
        assert_eq!(audit.changes[0].from, json!("Three"));
        assert_holds(&book.world);
    }
}

#[test]
fn force_at_the_current_version_is_an_ordinary_write() {
    let (mut book, id) = book();
    let rename = forcing(patch(Kind::Workspace, &id, 3, json!({"name": "Mine"})));
    assert_eq!(book.ok(rename).how, How::Updated);
    let event = book.world.events.last().unwrap();
    assert_eq!((event.entry.kind, event.entry.by.forced), (ChangeKind::Updated, false));
    assert_eq!((&event.entry.reason, book.world.audits.len()), (&None, 0));
    let idle = forcing(patch(Kind::Workspace, &id, 1, json!({"name": "Mine"})));
    assert_eq!(book.ok(idle).how, How::Unchanged);
    assert_eq!(book.world.audits.len(), 0, "nothing was overwritten");
}

#[test]
fn force_skips_no_rule() {
    let (mut book, id) = book();
    let plan = book.plan("p", json!({}));
    let refusals = [
        book.refused(forcing(patch(Kind::Workspace, &id, 1, json!({"name": ""})))),
        book.refused(forcing(patch(Kind::Workspace, &id, 1, json!({"color": "red"})))),
        book.refused(forcing(patch(Kind::Plan, &plan, 9, json!({"amount": 1})))),
        book.refused(forcing(patch(Kind::Plan, &plan, 9, json!({"status": "draft"})))),
        book.refused(forcing(patch(Kind::Plan, &plan, 9, json!({"code": "q"})))),
        book.refused(forcing(patch(Kind::Plan, "pln_0", 9, json!({})))),
    ];
    assert!(
        matches!(
            refusals,
            [
                Rejection::Core(core::Rejection::Invalid(_)),
                Rejection::Core(core::Rejection::Invalid(_)),
                Rejection::Billing(billing::Rejection::PlanPriceFrozen { .. }),
                Rejection::Core(core::Rejection::InvalidTransition { .. }),
                Rejection::Core(core::Rejection::Invalid(_)),
                Rejection::Core(core::Rejection::NotFound { .. }),
            ]
        ),
        "{refusals:#?}"
    );
    assert_eq!(book.world.audits, [], "a force that a rule refuses leaves no record");
}

#[test]
fn a_forced_deletion_is_recorded_like_a_forced_write() {
    for (precondition, is_forced) in [
        (Precondition::Version(1), true),
        (Precondition::Missing, true),
        (Precondition::Version(3), false),
    ] {
        let (mut book, id) = book();
        let force = Some(crate::commands::force());
        let action = DeleteObject { kind: Kind::Workspace, id: id.clone(), precondition, force };
        let Outcome::Core(core::Outcome::Deleted { deleted, forced }) =
            book.run(Action::Core(core::Action::Delete(action))).unwrap()
        else {
            panic!("it is deleted")
        };
        assert_eq!((deleted.last_version, forced), (3, is_forced));
        assert_eq!(book.world.audits.len(), usize::from(is_forced));
        let entry = &book.world.events.last().unwrap().entry;
        assert_eq!((entry.version, entry.kind), (4, ChangeKind::Deleted));
        assert_eq!((entry.by.forced, entry.reason.is_some()), (is_forced, is_forced));
        assert_holds(&book.world);
    }
}

#[test]
fn a_stale_replace_is_a_conflict_and_not_a_wrong_field() {
    let (mut book, id) = book();
    let seen = book.world.history(&id).next().unwrap().state.clone();
    let mut form = seen.as_object().unwrap().clone();
    form.insert("email".to_owned(), json!("a@b.c"));
    let refused = book.refused(put(Kind::Workspace, &id, 1, form.into()));
    assert_eq!(conflict(refused).merge.verdict, Verdict::Clean);
}
