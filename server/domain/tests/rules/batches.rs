//! Commands in one batch: each sees the effects of those before it, as if sent alone.

use crate::{
    book::Book,
    commands::{command, create, delete, forcing, merging, patch},
    invariants::assert_holds,
    world::Decided,
};
use ifmatch_domain::{
    Action, Outcome, Rejection,
    billing::{self, BillSubscription, RecordPayment},
    core::{self, How},
};
use ifmatch_types::{INTEGER_MAX, Kind, Verdict};
use serde_json::json;

/// Carries out commands in one batch and asserts the same results as one by one.
fn together(book: &mut Book, actions: Vec<Action>) -> Vec<Decided> {
    let batch: Vec<_> =
        actions.into_iter().map(|action| command(book.fresh_seed(), action)).collect();
    let mut apart = book.world.clone();
    let one_by_one: Vec<Decided> = batch
        .iter()
        .map(|command| apart.carry_out(std::slice::from_ref(command), book.now).remove(0))
        .collect();
    let together = book.world.carry_out(&batch, book.now);
    assert_eq!(together, one_by_one);
    assert_eq!(book.world, apart);
    assert_holds(&book.world);
    together
}

fn bill(book: &Book, id: &str) -> Action {
    let (subscription_id, as_of) = (id.to_owned(), book.now);
    Action::Billing(billing::Action::BillSubscription(BillSubscription { subscription_id, as_of }))
}

fn made(decided: &Decided) -> i64 {
    match decided {
        Ok(Outcome::Billing(billing::Outcome::Billed { made, .. })) => *made,
        other => panic!("a bill was expected: {other:?}"),
    }
}

fn subscribed() -> (Book, String) {
    let mut book = Book::default();
    let (workspace, plan) = (book.workspace(), book.plan("p", json!({})));
    let id = book.subscription(&workspace, &plan, json!({}));
    (book, id)
}

#[test]
fn billing_runs_that_race_make_one_invoice() {
    let (mut book, id) = subscribed();
    let runs = vec![bill(&book, &id); 4];
    let decided = together(&mut book, runs);
    assert_eq!(decided.iter().map(made).collect::<Vec<_>>(), [1, 0, 0, 0]);
}

#[test]
fn a_period_is_free_as_soon_as_its_invoice_is_void() {
    let (mut book, id) = subscribed();
    book.bill(&id, "2027-01-01T00:00:00Z");
    let invoice = book.world.recurring(&id).next().unwrap().id.to_string();
    let void = patch(Kind::Invoice, &invoice, 1, json!({"status": "void"}));
    let actions = vec![bill(&book, &id), void, bill(&book, &id), bill(&book, &id)];
    let decided = together(&mut book, actions);
    assert_eq!([&decided[0], &decided[2], &decided[3]].map(made), [0, 1, 0]);
}

#[test]
fn a_code_is_free_as_soon_as_its_draft_is_deleted_and_taken_as_soon_as_it_is_used() {
    let mut book = Book::default();
    let old = book.plan("p", json!({"status": "draft"}));
    let plan = |amount: i64| {
        let body = json!({"code": "p", "name": "n", "currency": "USD", "amount": amount,
            "interval": "day"});
        create(Kind::Plan, body)
    };
    let actions = vec![plan(1), delete(Kind::Plan, &old, 1), plan(1), plan(1), plan(2)];
    let decided = together(&mut book, actions);
    assert!(
        matches!(&decided[0], Err(Rejection::Core(core::Rejection::AlreadyExists { existing_id, .. })) if *existing_id == old)
    );
    let how = |decided: &Decided| match decided {
        Ok(Outcome::Core(core::Outcome::Object(object))) => object.how,
        other => panic!("a plan was expected: {other:?}"),
    };
    assert_eq!([how(&decided[2]), how(&decided[3])], [How::Created, How::Existed]);
    assert!(
        matches!(&decided[4], Err(Rejection::Core(core::Rejection::AlreadyExists { existing_id, .. })) if *existing_id != old)
    );
}

#[test]
fn a_workspace_is_in_use_exactly_while_something_lives_in_it() {
    let mut book = Book::default();
    let workspace = book.workspace();
    let namespace = book.make(Kind::Namespace, json!({"workspace_id": workspace, "name": "n"}));
    let gone = delete(Kind::Workspace, &workspace, 1);
    let actions = vec![
        gone.clone(),
        delete(Kind::Namespace, &namespace, 1),
        create(Kind::Namespace, json!({"workspace_id": workspace, "name": "another"})),
        gone.clone(),
    ];
    let decided = together(&mut book, actions);
    assert_eq!(decided[0], Err(Rejection::Billing(billing::Rejection::WorkspaceInUse)));
    assert_eq!(decided[3], Err(Rejection::Billing(billing::Rejection::WorkspaceInUse)));
    let last = book.world.namespaces.keys().max().unwrap().clone();
    let fresh = create(Kind::Namespace, json!({"workspace_id": workspace, "name": "late"}));
    let decided = together(&mut book, vec![delete(Kind::Namespace, &last, 1), gone, fresh]);
    assert!(decided[1].is_ok(), "{decided:?}");
    assert!(
        matches!(&decided[2], Err(Rejection::Core(core::Rejection::Invalid(e))) if e[0].path == "/workspace_id")
    );
}

#[test]
fn stale_writes_are_explained_and_merged_by_what_the_batch_did() {
    let (mut book, id) = subscribed();
    book.edit(&id, json!({"notes": "before the batch"})).unwrap();
    let edit = |version, body| patch(Kind::Subscription, &id, version, body);
    let actions = vec![
        edit(2, json!({"quantity": 2})),
        edit(3, json!({"quantity": 3})),
        edit(2, json!({"quantity": 4})),
        edit(1, json!({"quantity": 4})),
        merging(edit(1, json!({"cancel_at_period_end": true}))),
        merging(edit(2, json!({"metadata": {"a": "b"}}))),
        forcing(edit(1, json!({"quantity": 9}))),
        edit(6, json!({"notes": "last"})),
    ];
    let decided = together(&mut book, actions);
    let Err(Rejection::Core(core::Rejection::Conflict(conflict))) = &decided[2] else {
        panic!("{:?}", decided[2])
    };
    assert_eq!((conflict.changes.len(), conflict.changes[0].version), (1, 4));
    let Err(Rejection::Core(core::Rejection::Conflict(conflict))) = &decided[3] else {
        panic!("{:?}", decided[3])
    };
    assert_eq!((conflict.changes.len(), conflict.merge.verdict), (2, Verdict::Overlap));
    let how: Vec<How> = decided
        .iter()
        .filter_map(|decided| match decided {
            Ok(Outcome::Core(core::Outcome::Object(object))) => Some(object.how),
            _ => None,
        })
        .collect();
    let merged = [How::Merged(1), How::Merged(2)];
    assert_eq!(how, [How::Updated, How::Updated, merged[0], merged[1], How::Forced]);
}

#[test]
fn numbers_are_given_out_in_the_order_of_the_batch() {
    let mut book = Book::default();
    let workspace = book.workspace();
    let open = |tax: i64| {
        create(Kind::Invoice, json!({"workspace_id": workspace, "status": "open", "tax": tax}))
    };
    let actions = vec![open(1), open(-1), open(2), open(INTEGER_MAX), open(-5), open(3)];
    let decided = together(&mut book, actions);
    let numbers: Vec<_> = decided
        .iter()
        .map(|decided| match decided {
            Ok(Outcome::Core(core::Outcome::Object(object))) => {
                object.body["number"].as_str().map(str::to_owned)
            }
            _ => None,
        })
        .collect();
    let number = |n: i64| Some(format!("INV-{n:06}"));
    assert_eq!(numbers, [number(1), None, number(2), number(3), None, number(4)]);
}

#[test]
fn a_payment_sent_several_times_at_once_counts_once() {
    let mut book = Book::default();
    let workspace = book.workspace();
    let id = book.invoice(&workspace, json!({"status": "open"}));
    let pay = |amount: i64, provider_ref: &str| {
        let body = json!({"amount": amount, "provider_ref": provider_ref});
        Action::Billing(billing::Action::RecordPayment(RecordPayment {
            invoice_id: id.clone(),
            body,
        }))
    };
    let actions = vec![pay(600, "a"), pay(600, "a"), pay(500, "b"), pay(400, "b"), pay(1, "c")];
    let decided = together(&mut book, actions);
    assert!(matches!(
        &decided[1],
        Ok(Outcome::Billing(billing::Outcome::Payment { first: false, .. }))
    ));
    assert_eq!(
        decided[2],
        Err(Rejection::Billing(billing::Rejection::ExceedsAmountDue {
            amount_due: 400,
            amount: 500
        }))
    );
    assert!(matches!(
        &decided[3],
        Ok(Outcome::Billing(billing::Outcome::Payment { first: true, .. }))
    ));
    assert_eq!(
        decided[4],
        Err(Rejection::Billing(billing::Rejection::ExceedsAmountDue { amount_due: 0, amount: 1 }))
    );
    assert_eq!(book.field(&id, "status"), "paid");
}

#[test]
fn a_change_of_plan_and_its_bill_may_meet() {
    let (mut book, id) = subscribed();
    let other = book.plan("other", json!({"amount": 9000, "interval": "week"}));
    let change = patch(Kind::Subscription, &id, 1, json!({"plan_id": other, "quantity": 2}));
    let actions = vec![bill(&book, &id), change, bill(&book, &id)];
    together(&mut book, actions);
    book.now = crate::commands::at("2027-02-02T00:00:00Z");
    let cancel = patch(Kind::Subscription, &id, 3, json!({"status": "canceled"}));
    let actions = vec![bill(&book, &id), cancel, bill(&book, &id)];
    let decided = together(&mut book, actions);
    // The change began weeks at once: four more have begun by 2 February.
    assert_eq!([&decided[0], &decided[2]].map(made), [4, 0]);
}
