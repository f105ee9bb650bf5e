//! Transactions: all or nothing, and each operation sees those before it.

use crate::{
    book::Book,
    commands::{create, delete, forcing, patch},
    invariants::assert_holds,
};
use ifmatch_domain::{
    Action, Outcome, Rejection, billing,
    core::{self, How, Operation},
};
use ifmatch_types::Kind;
use serde_json::json;

fn operation(action: Action) -> Operation {
    match action {
        Action::Core(core::Action::Create(create)) => Operation::Create(create),
        Action::Core(core::Action::Update(update)) => Operation::Update(update),
        Action::Core(core::Action::Delete(delete)) => Operation::Delete(delete),
        other => panic!("no operation: {other:?}"),
    }
}

fn transact(actions: Vec<Operation>) -> Action {
    Action::Core(core::Action::Transact(actions))
}

#[test]
fn one_refused_operation_undoes_all_of_them() {
    let (mut book, ids) = furnished();
    let [workspace, plan, invoice] = &ids;
    let good = || {
        vec![
            operation(patch(Kind::Workspace, workspace, 1, json!({"name": "New"}))),
            operation(create(Kind::Invoice, json!({"workspace_id": workspace, "status": "open"}))),
            operation(patch(Kind::Invoice, invoice, 1, json!({"status": "open"}))),
            operation(create(
                Kind::Plan,
                json!({"code": "new", "name": "n", "currency": "USD",
            "amount": 1, "interval": "day"}),
            )),
        ]
    };
    let check = |version| Operation::Check { kind: Kind::Plan, id: plan.clone(), version };
    let bad = [
        check(9),
        operation(patch(Kind::Plan, plan, 1, json!({"amount": 1}))),
        operation(patch(Kind::Workspace, workspace, 1, json!({"name": "Stale by now"}))),
        operation(create(
            Kind::Plan,
            json!({"code": "new", "name": "other", "currency": "USD",
            "amount": 1, "interval": "day"}),
        )),
        operation(delete(Kind::Workspace, workspace, 2)),
        operation(delete(Kind::Invoice, invoice, 2)),
        operation(patch(Kind::Namespace, "nsp_0", 1, json!({}))),
    ];
    for bad in bad {
        for place in 0..=good().len() {
            // An operation that conflicts only after `good` has run must come after it.
            let depends = matches!(&bad, Operation::Update(update) if update.kind == Kind::Workspace)
                || matches!(&bad, Operation::Create(_));
            let place = if depends { good().len() } else { place };
            let mut operations = good();
            operations.insert(place, bad.clone());
            let Rejection::Operation { failed_index, .. } = book.refused(transact(operations))
            else {
                panic!("an operation was refused")
            };
            assert_eq!(failed_index, place);
        }
    }
    let mut operations = good();
    operations.push(check(1));
    let Outcome::Core(core::Outcome::Transaction(outcomes)) =
        book.run(transact(operations)).unwrap()
    else {
        panic!("it is a transaction")
    };
    assert_eq!(outcomes.len(), 5);
    assert!(matches!(&outcomes[4], core::Outcome::Checked { version: 1, .. }));
    assert_eq!(book.world.last_number, 2);
    assert_holds(&book.world);
}

fn furnished() -> (Book, [String; 3]) {
    let mut book = Book::default();
    let workspace = book.workspace();
    let plan = book.plan("p", json!({}));
    let invoice = book.invoice(&workspace, json!({}));
    (book, [workspace, plan, invoice])
}

#[test]
fn an_operation_sees_what_the_ones_before_it_did() {
    let (mut book, [workspace, ..]) = furnished();
    let operations = (1..=4)
        .map(|n| operation(patch(Kind::Workspace, &workspace, n, json!({"name": format!("{n}")}))))
        .collect();
    let Outcome::Core(core::Outcome::Transaction(outcomes)) =
        book.run(transact(operations)).unwrap()
    else {
        panic!("it is a transaction")
    };
    let versions: Vec<i64> = outcomes
        .iter()
        .map(|outcome| match outcome {
            core::Outcome::Object(object) => {
                assert_eq!(object.how, How::Updated);
                object.version
            }
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(versions, [2, 3, 4, 5]);
    assert_holds(&book.world);
}

#[test]
fn a_workspace_can_be_deleted_together_with_all_that_lives_in_it() {
    let mut book = Book::default();
    let (workspace, plan) = (book.workspace(), book.plan("p", json!({})));
    let namespace = book.make(Kind::Namespace, json!({"workspace_id": workspace, "name": "n"}));
    let subscription = book.subscription(&workspace, &plan, json!({}));
    let draft = book.invoice(&workspace, json!({}));
    let gone = |kind, id: &str| operation(delete(kind, id, 1));
    let all = [
        gone(Kind::Namespace, &namespace),
        gone(Kind::Subscription, &subscription),
        gone(Kind::Invoice, &draft),
        gone(Kind::Workspace, &workspace),
    ];
    for left_out in 0..3 {
        let mut operations = all.to_vec();
        operations.remove(left_out);
        let expected = Rejection::Operation {
            failed_index: 2,
            rejection: Box::new(Rejection::Billing(billing::Rejection::WorkspaceInUse)),
        };
        assert_eq!(book.refused(transact(operations)), expected);
    }
    book.run(transact(all.to_vec())).unwrap();
    assert_holds(&book.world);
}

#[test]
fn a_draft_that_moves_away_frees_its_workspace_but_not_its_subscription() {
    let mut book = Book::default();
    let (one, two) = (book.workspace(), book.workspace());
    let plan = book.plan("p", json!({}));
    let subscription = book.subscription(&one, &plan, json!({}));
    let draft = book.invoice(&one, json!({"subscription_id": subscription}));
    let moved = json!({"workspace_id": two, "subscription_id": null});
    let operations = vec![
        operation(patch(Kind::Invoice, &draft, 1, moved)),
        operation(delete(Kind::Subscription, &subscription, 1)),
    ];
    let rejection = Box::new(Rejection::Billing(billing::Rejection::SubscriptionInUse));
    let expected = Rejection::Operation { failed_index: 1, rejection };
    assert_eq!(book.refused(transact(operations)), expected);
    let three = book.workspace();
    let draft = book.invoice(&three, json!({}));
    let operations = vec![
        operation(patch(Kind::Invoice, &draft, 1, json!({"workspace_id": two}))),
        operation(delete(Kind::Workspace, &three, 1)),
    ];
    book.run(transact(operations)).unwrap();
    let refused = book.refused(delete(Kind::Workspace, &two, 1));
    assert_eq!(refused, Rejection::Billing(billing::Rejection::WorkspaceInUse));
}

#[test]
fn a_check_explains_a_wrong_version_and_finds_no_ghosts() {
    let (mut book, [workspace, ..]) = furnished();
    book.edit(&workspace, json!({"name": "New"})).unwrap();
    let check = |id: &str, version| {
        transact(vec![Operation::Check { kind: Kind::Workspace, id: id.into(), version }])
    };
    let Rejection::Operation { rejection, .. } = book.refused(check(&workspace, 1)) else {
        panic!("it is at version 2")
    };
    let Rejection::Core(core::Rejection::Conflict(conflict)) = *rejection else {
        panic!("{rejection:?}")
    };
    assert_eq!((conflict.current_version, conflict.changes.len()), (2, 1));
    let before = book.world.clone();
    book.run(check(&workspace, 2)).unwrap();
    assert_eq!(book.world, before, "a check writes nothing");
    let Rejection::Operation { rejection, .. } = book.refused(check("wsp_0", 1)) else {
        panic!("there is none")
    };
    assert!(matches!(
        *rejection,
        Rejection::Core(core::Rejection::NotFound { what: "workspace", .. })
    ));
}

#[test]
fn a_forced_write_that_is_undone_leaves_no_record() {
    let (mut book, [workspace, plan, _]) = furnished();
    let forced = forcing(patch(Kind::Workspace, &workspace, 9, json!({"name": "New"})));
    let good = || operation(forced.clone());
    let bad = operation(patch(Kind::Plan, &plan, 1, json!({"amount": 1})));
    book.refused(transact(vec![good(), bad]));
    assert_eq!(book.world.audits, []);
    book.run(transact(vec![good()])).unwrap();
    assert_eq!(book.world.audits.len(), 1);
}
