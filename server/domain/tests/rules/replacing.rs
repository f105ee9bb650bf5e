//! Full replaces: echoed fields, defaults, and required and optional fields.

use crate::{
    book::{Book, with},
    commands::{members, put},
    invariants::assert_holds,
};
use ifmatch_domain::{
    Rejection,
    core::{self, How},
};
use ifmatch_types::Kind;
use serde_json::{Value, json};

/// One object of every kind.
fn everything() -> (Book, Vec<(Kind, String)>) {
    let mut book = Book::default();
    let workspace = book.workspace();
    let plan = book.plan("p", json!({"trial_days": 3}));
    let subscription = book.subscription(&workspace, &plan, json!({"notes": "n"}));
    let namespace = book.make(Kind::Namespace, json!({"workspace_id": workspace, "name": "prod"}));
    let invoice = book.invoice(&workspace, json!({"tax": 4, "status": "open"}));
    let all = vec![
        (Kind::Workspace, workspace),
        (Kind::Plan, plan),
        (Kind::Subscription, subscription),
        (Kind::Namespace, namespace),
        (Kind::Invoice, invoice),
    ];
    (book, all)
}

#[test]
fn sending_back_what_was_read_changes_nothing() {
    let (mut book, all) = everything();
    for (kind, id) in all {
        let seen = book.world.entity(&id);
        let answer = book.ok(put(kind, &id, 1, seen.clone()));
        assert_eq!((answer.how, &**answer.body), (How::Unchanged, &seen), "{kind}");
    }
}

#[test]
fn an_echo_of_a_read_only_field_must_be_what_was_read() {
    let (mut book, all) = everything();
    for (kind, id) in all {
        let seen = book.world.entity(&id);
        let read_only: Vec<String> = members(seen.clone())
            .into_iter()
            .map(|(key, _)| key)
            .filter(|key| !SETTABLE.contains(&key.as_str()))
            .collect();
        assert!(read_only.len() >= 5, "{kind}: {read_only:?}");
        for key in read_only {
            let form = with(seen.clone(), json!({key.as_str(): "something else"}));
            let refused = book.refused(put(kind, &id, 1, form));
            let Rejection::Core(core::Rejection::Invalid(errors)) = refused else {
                panic!("{kind} {key}: {refused:?}")
            };
            assert_eq!(errors[0].path, format!("/{key}"));
        }
        let refused = book.refused(put(kind, &id, 1, with(seen, json!({"color": "red"}))));
        assert!(
            matches!(refused, Rejection::Core(core::Rejection::Invalid(errors)) if errors[0].path == "/color")
        );
    }
}

#[test]
fn an_echoed_instant_may_be_spelled_in_another_way() {
    let (mut book, all) = everything();
    for (kind, id) in all {
        let seen = book.world.entity(&id);
        let local = seen["created_at"].as_str().unwrap().replace('Z', "+00:00");
        let answer = book.ok(put(kind, &id, 1, with(seen, json!({"created_at": local}))));
        assert_eq!(answer.how, How::Unchanged, "{kind}");
    }
}

const SETTABLE: &[&str] = &[
    "code",
    "name",
    "description",
    "currency",
    "amount",
    "interval",
    "interval_count",
    "trial_days",
    "status",
    "metadata",
    "email",
    "workspace_id",
    "plan_id",
    "subscription_id",
    "quantity",
    "notes",
    "cancel_at_period_end",
    "start_at",
    "lines",
    "tax",
    "due_at",
];

#[test]
fn what_is_left_out_takes_its_default() {
    let mut book = Book::default();
    let changed = json!({"email": "a@b.c", "metadata": {"k": "v"}});
    let id = book.make(Kind::Workspace, with(json!({"name": "Acme", "currency": "EUR"}), changed));
    let answer = book.ok(put(Kind::Workspace, &id, 1, json!({"name": "Acme"})));
    assert_eq!((answer.how, answer.version), (How::Updated, 2));
    let names = ["name", "email", "currency", "metadata"];
    let expected = json!({"name": "Acme", "email": null, "currency": null, "metadata": {}});
    assert_eq!(book.fields(&id, &names), expected);

    let plan = book.plan("p", json!({"status": "draft", "interval_count": 3, "trial_days": 9}));
    let form =
        json!({"code": "p", "name": "Plan", "currency": "USD", "amount": 1, "interval": "day"});
    book.ok(put(Kind::Plan, &plan, 1, form));
    let expected = json!({"interval_count": 1, "trial_days": 0, "status": "draft"});
    assert_eq!(book.fields(&plan, &["interval_count", "trial_days", "status"]), expected);
    assert_holds(&book.world);
}

#[test]
fn what_the_server_filled_in_stays_if_it_is_left_out_or_null() {
    for absent in [None, Some(Value::Null)] {
        let (mut book, all) = everything();
        for (kind, id) in &all {
            let mut form = members(book.world.entity(id));
            for key in ["status", "start_at", "currency"] {
                let is_kept = (*kind != Kind::Workspace && *kind != Kind::Plan) || key == "status";
                if is_kept && form.contains_key(key) {
                    match &absent {
                        None => drop(form.remove(key)),
                        Some(null) => drop(form.insert(key.to_owned(), null.clone())),
                    }
                }
            }
            assert_eq!(book.ok(put(*kind, id, 1, form.into())).how, How::Unchanged, "{kind}");
        }
    }
}

#[test]
fn what_is_required_must_be_there() {
    for (kind, required) in [
        (Kind::Workspace, vec!["name"]),
        (Kind::Plan, vec!["code", "name", "currency", "amount", "interval"]),
        (Kind::Subscription, vec!["workspace_id", "plan_id"]),
        (Kind::Namespace, vec!["workspace_id", "name"]),
        (Kind::Invoice, vec!["workspace_id"]),
    ] {
        for field in required {
            let (mut book, all) = everything();
            let (_, id) = all.iter().find(|(of, _)| *of == kind).unwrap();
            let mut form = members(book.world.entity(id));
            form.remove(field);
            let refused = book.refused(put(kind, id, 1, form.into()));
            let Rejection::Core(core::Rejection::Invalid(errors)) = refused else {
                panic!("{kind} {field}: {refused:?}")
            };
            assert_eq!(errors[0].path, format!("/{field}"));
        }
    }
}
