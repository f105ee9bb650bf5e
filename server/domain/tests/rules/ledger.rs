//! Credits: what each transfer does to its account, and that a reservation is resolved once.

use crate::{
    book::Book,
    commands::{
        adjust, command, delete, key, members, move_credits, post, reserve, reserve_with, resolve,
        top_up, void,
    },
    invariants::assert_holds,
    world::{Decided, variant_name},
};
use ifmatch_domain::{
    Action, Command, Outcome, Rejection,
    core::{self, KeptAnswer},
    ledger::{self, Movement, Resolution},
};
use ifmatch_types::{INTEGER_MAX, Kind, Transfer, TransferKind, WorkspaceId};
use proptest::prelude::*;
use serde_json::json;

#[track_caller]
fn transfer(decided: Decided) -> Transfer {
    match decided.unwrap() {
        Outcome::Ledger(
            ledger::Outcome::Transferred(made)
            | ledger::Outcome::Reserved(made)
            | ledger::Outcome::Resolved { transfer: made, .. },
        ) => made.transfer,
        other => panic!("a transfer was expected: {other:?}"),
    }
}

/// A book with a workspace that has these credits.
fn rich(credits: i64) -> (Book, String) {
    let mut book = Book::default();
    let workspace = book.workspace();
    book.run(top_up(&workspace, credits)).unwrap();
    (book, workspace)
}

fn credits(book: &Book, workspace: &str) -> (i64, i64) {
    let account = &book.world.accounts[&format!("{workspace}/credits")];
    (account.available, account.reserved)
}

#[track_caller]
fn reserved(book: &mut Book, workspace: &str, amount: i64) -> String {
    transfer(book.run(reserve(workspace, amount))).id.to_string()
}

#[track_caller]
fn wrong(book: &mut Book, action: Action) -> Vec<String> {
    match book.refused(action) {
        Rejection::Core(core::Rejection::Invalid(errors)) => {
            errors.into_iter().map(|error| error.path).collect()
        }
        other => panic!("wrong fields were expected: {other:?}"),
    }
}

#[test]
fn a_reservation_is_set_aside_and_then_charged_or_given_back() {
    let (mut book, workspace) = rich(100);
    let whole = reserved(&mut book, &workspace, 30);
    let part = reserved(&mut book, &workspace, 30);
    let none = reserved(&mut book, &workspace, 40);
    assert_eq!(credits(&book, &workspace), (0, 100));
    let posted = transfer(book.run(post(&whole, None)));
    assert_eq!((posted.kind, posted.amount), (TransferKind::Post, 30));
    assert_eq!(posted.reservation_id.unwrap().as_str(), whole);
    assert_eq!(credits(&book, &workspace), (0, 70));
    assert_eq!(transfer(book.run(post(&part, Some(12)))).amount, 12);
    assert_eq!(credits(&book, &workspace), (18, 40));
    let voided = transfer(book.run(void(&none)));
    assert_eq!((voided.kind, voided.amount), (TransferKind::Void, 40));
    assert_eq!(credits(&book, &workspace), (58, 0));
    assert_holds(&book.world);
}

#[test]
fn credits_that_are_not_there_are_refused_and_nothing_changes() {
    let (mut book, workspace) = rich(10);
    let poor = book.workspace();
    let lacking = |required, available| {
        Rejection::Ledger(ledger::Rejection::Insufficient { required, available })
    };
    assert_eq!(book.refused(reserve(&workspace, 11)), lacking(11, 10));
    assert_eq!(book.refused(adjust(&workspace, -11)), lacking(11, 10));
    assert_eq!(book.refused(reserve(&poor, 1)), lacking(1, 0), "without an account");
    assert!(!book.world.accounts.contains_key(&format!("{poor}/credits")));
    reserved(&mut book, &workspace, 10);
    assert_eq!(book.refused(adjust(&workspace, -1)), lacking(1, 0), "they are reserved");
    assert_eq!(credits(&book, &workspace), (0, 10));
}

#[test]
fn a_reservation_is_resolved_once() {
    let (mut book, workspace) = rich(100);
    let posted = reserved(&mut book, &workspace, 10);
    let voided = reserved(&mut book, &workspace, 20);
    let first = transfer(book.run(post(&posted, Some(7))));
    let given_back = transfer(book.run(void(&voided)));
    let before = book.world.clone();
    assert_eq!(transfer(book.run(post(&posted, Some(7)))), first, "the first result");
    assert_eq!(transfer(book.run(void(&voided))), given_back);
    for (action, by) in [
        (post(&posted, Some(8)), &first),
        // All of it, which is another amount.
        (post(&posted, None), &first),
        (void(&posted), &first),
        (post(&voided, None), &given_back),
        (post(&voided, Some(20)), &given_back),
    ] {
        match book.refused(action) {
            Rejection::Ledger(ledger::Rejection::AlreadyResolved { by: found }) => {
                assert_eq!(found.transfer, *by);
            }
            other => panic!("it is resolved: {other:?}"),
        }
    }
    assert_eq!(book.world, before);
}

#[test]
fn more_than_is_reserved_cannot_be_posted() {
    let (mut book, workspace) = rich(100);
    let id = reserved(&mut book, &workspace, 10);
    let exceeds = ledger::Rejection::ExceedsReservation { reserved: 10, amount: 11 };
    assert_eq!(book.refused(post(&id, Some(11))), Rejection::Ledger(exceeds));
    assert_eq!(credits(&book, &workspace), (90, 10), "it is still pending");
    book.run(post(&id, Some(10))).unwrap();
}

#[test]
fn wrong_fields_are_named() {
    let (mut book, workspace) = rich(100);
    let id = reserved(&mut book, &workspace, 10);
    let long = "x".repeat(501);
    for (movement, body, paths) in [
        (Movement::Topup, json!({}), vec!["/amount"]),
        (Movement::Topup, json!({"amount": 1}), vec!["/reason"]),
        (Movement::Topup, json!({"amount": 0, "reason": ""}), vec!["/amount", "/reason"]),
        (Movement::Topup, json!({"amount": -1, "reason": long}), vec!["/amount", "/reason"]),
        (Movement::Topup, json!({"amount": INTEGER_MAX + 1, "reason": "r"}), vec!["/amount"]),
        (Movement::Topup, json!({"amount": 1, "reason": "r", "unit": "x"}), vec!["/unit"]),
        (Movement::Topup, json!({"amount": "1", "reason": "r"}), vec!["/amount"]),
        (Movement::Adjust, json!({"amount": 0, "reason": "r"}), vec!["/amount"]),
        (Movement::Adjust, json!({"amount": i64::MIN, "reason": "r"}), vec!["/amount"]),
    ] {
        assert_eq!(
            wrong(&mut book, move_credits(&workspace, movement, body.clone())),
            paths,
            "{body}"
        );
    }
    for (body, paths) in [
        (json!({"amount": 0}), vec!["/amount"]),
        (json!({"amount": 1, "ref": "x".repeat(201)}), vec!["/ref"]),
        (json!({"amount": 1, "ref": ""}), vec!["/ref"]),
        (json!({"amount": 1, "reason": "r"}), vec!["/reason"]),
    ] {
        assert_eq!(wrong(&mut book, reserve_with(&workspace, body.clone())), paths, "{body}");
    }
    assert_eq!(wrong(&mut book, post(&id, Some(0))), ["/amount"]);
    let body = members(json!({"amount": 1}));
    assert_eq!(wrong(&mut book, resolve(&id, Resolution::Void(body))), ["/amount"]);
    let full = top_up(&workspace, INTEGER_MAX);
    let overflow = core::Rejection::AmountOverflow { path: "/amount".to_owned() };
    assert_eq!(book.refused(full), Rejection::Core(overflow));
}

#[test]
fn only_what_exists_and_is_seen_can_be_moved() {
    let (mut book, workspace) = rich(100);
    let foreign = book.workspace();
    let id = reserved(&mut book, &workspace, 10);
    let gone = book.workspace();
    book.run(delete(Kind::Workspace, &gone, 1)).unwrap();
    assert_eq!(variant_name(&book.refused(top_up(&gone, 1))), "Deleted");
    let unknown = "wsp_0193f0c0a1b27c3d8e4f5a6b7c8d9e0f";
    assert_eq!(variant_name(&book.refused(top_up(unknown, 1))), "NotFound");
    assert_eq!(variant_name(&book.refused(reserve(unknown, 1))), "NotFound");
    let unknown = "trf_0193f0c0a1b27c3d8e4f5a6b7c8d9e0f";
    assert_eq!(variant_name(&book.refused(post(unknown, None))), "NotFound");
    let topped_up = book.world.transfers.values().find(|t| t.transfer.reason.is_some());
    let topped_up = topped_up.unwrap().transfer.id.to_string();
    assert_eq!(variant_name(&book.refused(void(&topped_up))), "NotFound", "not a reservation");

    let mut as_scoped = |workspace: &str, action: Action| {
        let mut command = command(book.fresh_seed(), action);
        command.meta.actor.workspace_id = Some(WorkspaceId::from_unchecked(workspace));
        let now = book.now;
        book.world.carry_out(&[command], now).remove(0)
    };
    let refused = |decided: Decided| variant_name(&decided.unwrap_err());
    assert_eq!(refused(as_scoped(&workspace, top_up(&workspace, 1))), "NeedsUnscopedKey");
    assert_eq!(refused(as_scoped(&workspace, adjust(&workspace, 1))), "NeedsUnscopedKey");
    assert_eq!(refused(as_scoped(&foreign, reserve(&workspace, 1))), "NotFound");
    assert_eq!(refused(as_scoped(&foreign, post(&id, None))), "NotFound");
    assert_eq!(refused(as_scoped(&foreign, void(&id))), "NotFound");
    let own = transfer(as_scoped(&workspace, reserve(&workspace, 5)));
    transfer(as_scoped(&workspace, void(own.id.as_str())));
    transfer(as_scoped(&workspace, post(&id, None)));
    assert_holds(&book.world);
}

#[test]
fn a_workspace_with_an_account_is_never_deleted() {
    let (mut book, workspace) = rich(5);
    let in_use =
        |decided: Decided| assert_eq!(variant_name(&decided.unwrap_err()), "WorkspaceInUse");
    in_use(book.run(delete(Kind::Workspace, &workspace, 1)));
    book.run(adjust(&workspace, -5)).unwrap();
    in_use(book.run(delete(Kind::Workspace, &workspace, 1)));

    let fresh = book.workspace();
    let batch = [
        command(book.fresh_seed(), top_up(&fresh, 1)),
        command(book.fresh_seed(), delete(Kind::Workspace, &fresh, 1)),
    ];
    let mut decided = book.world.carry_out(&batch, book.now);
    in_use(decided.remove(1));
    let fresh = book.workspace();
    let batch = [
        command(book.fresh_seed(), delete(Kind::Workspace, &fresh, 1)),
        command(book.fresh_seed(), top_up(&fresh, 1)),
    ];
    let mut decided = book.world.carry_out(&batch, book.now);
    decided.remove(0).unwrap();
    assert_eq!(variant_name(&decided.remove(0).unwrap_err()), "Deleted");
    assert_holds(&book.world);
}

#[test]
fn one_batch_spends_an_account_to_exactly_zero() {
    let (mut book, workspace) = rich(100);
    let batch: Vec<Command> =
        (0..40).map(|_| command(book.fresh_seed(), reserve(&workspace, 3))).collect();
    let decided = book.world.carry_out(&batch, book.now);
    let accepted = decided.iter().filter(|decided| decided.is_ok()).count();
    assert_eq!((accepted, credits(&book, &workspace)), (33, (1, 99)));
    let ids: Vec<String> =
        decided.into_iter().filter(Result::is_ok).map(|d| transfer(d).id.to_string()).collect();
    let batch: Vec<Command> = ids
        .iter()
        .flat_map(|id| [post(id, None), void(id), post(id, None)])
        .map(|action| command(book.fresh_seed(), action))
        .collect();
    let decided = book.world.carry_out(&batch, book.now);
    let refused = decided.iter().filter(|decided| decided.is_err()).count();
    assert_eq!((refused, credits(&book, &workspace)), (33, (1, 0)), "each void came too late");
    assert_holds(&book.world);
}

#[test]
fn a_topup_and_an_adjustment_are_audited_with_their_reason() {
    let (mut book, workspace) = rich(100);
    book.run(adjust(&workspace, -40)).unwrap();
    reserved(&mut book, &workspace, 10);
    let told: Vec<_> = book
        .world
        .audits
        .iter()
        .map(|audit| {
            let change = &audit.changes[0];
            (audit.audit_type.as_str(), audit.reason.as_deref(), &change.from, &change.to)
        })
        .collect();
    assert_eq!(
        told,
        [
            ("credit_topup", Some("bought"), &json!(0), &json!(100)),
            ("credit_adjustment", Some("counted again"), &json!(100), &json!(60)),
        ]
    );
    let resource = book.world.audits[0].resource.as_ref().unwrap();
    assert_eq!((resource.resource_type.as_str(), resource.id.as_str()), ("workspace", &*workspace));
}

#[test]
fn a_repeat_of_a_request_moves_nothing_again() {
    let (mut book, workspace) = rich(100);
    let send = |book: &mut Book| {
        let mut repeated = command(book.fresh_seed(), reserve(&workspace, 10));
        repeated.idempotency = Some(key("k", "print"));
        book.world.carry_out(&[repeated], book.now).remove(0)
    };
    transfer(send(&mut book));
    let kept = KeptAnswer {
        fingerprint: "print".to_owned(),
        status: 201,
        headers: Vec::new(),
        body: "{}".to_owned(),
    };
    book.world.answers.insert(("key_alice".to_owned(), "k".to_owned()), kept);
    let again = send(&mut book).unwrap();
    assert!(matches!(again, Outcome::Core(core::Outcome::Replayed(_))));
    assert_eq!(credits(&book, &workspace), (90, 10));
}

/// One step of the property: what is done, and with how much.
#[derive(Clone, Debug)]
enum Step {
    TopUp(i64),
    Adjust(i64),
    Reserve(i64),
    Post(usize, Option<i64>),
    Void(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        1 => (1i64..60).prop_map(Step::TopUp),
        1 => (-40i64..40).prop_filter("not 0", |a| *a != 0).prop_map(Step::Adjust),
        4 => (1i64..30).prop_map(Step::Reserve),
        3 => (0usize..12, prop::option::of(1i64..35)).prop_map(|(at, a)| Step::Post(at, a)),
        2 => (0usize..12).prop_map(Step::Void),
    ]
}

proptest! {
    /// A slow model: the reservations in their order, each with how it was resolved.
    #[test]
    fn an_account_is_what_a_slow_model_says(
        steps in prop::collection::vec(step(), 1..80),
        at_once in 1usize..6,
    ) {
        let mut book = Book::default();
        let workspace = book.workspace();
        let (mut available, mut reserved) = (0i64, 0i64);
        let mut made: Vec<(String, i64, Option<i64>)> = Vec::new();
        for steps in steps.chunks(at_once) {
            // Names are fixed before the batch: a step cannot name what the same batch makes.
            let known = made.len();
            let named = |at: usize| at.checked_rem(known).map(|at| made[at].0.clone());
            let nobody = "trf_0193f0c0a1b27c3d8e4f5a6b7c8d9e0f".to_owned();
            let batch: Vec<Command> = steps
                .iter()
                .map(|step| match step {
                    Step::TopUp(amount) => top_up(&workspace, *amount),
                    Step::Adjust(amount) => adjust(&workspace, *amount),
                    Step::Reserve(amount) => reserve(&workspace, *amount),
                    Step::Post(at, amount) => post(&named(*at).unwrap_or(nobody.clone()), *amount),
                    Step::Void(at) => void(&named(*at).unwrap_or(nobody.clone())),
                })
                .map(|action| command(book.fresh_seed(), action))
                .collect();
            let decided = book.world.carry_out(&batch, book.now);
            for (step, decided) in steps.iter().zip(decided) {
                let expected = match step {
                    Step::TopUp(amount) => {
                        available += amount;
                        true
                    }
                    Step::Adjust(amount) if available + amount >= 0 => {
                        available += amount;
                        true
                    }
                    Step::Reserve(amount) if *amount <= available => {
                        available -= amount;
                        reserved += amount;
                        let id = transfer(decided.clone()).id.to_string();
                        made.push((id, *amount, None));
                        true
                    }
                    Step::Adjust(_) | Step::Reserve(_) => false,
                    Step::Post(at, named) => match at.checked_rem(known).map(|at| &mut made[at]) {
                        None => false,
                        Some((_, held, Some(posted))) => {
                            *posted > 0 && named.unwrap_or(*held) == *posted
                        }
                        Some((_, held, resolved)) => {
                            let amount = named.unwrap_or(*held);
                            if amount <= *held {
                                available += *held - amount;
                                reserved -= *held;
                                *resolved = Some(amount);
                            }
                            amount <= *held
                        }
                    },
                    Step::Void(at) => match at.checked_rem(known).map(|at| &mut made[at]) {
                        None => false,
                        Some((_, _, Some(posted))) => *posted == 0,
                        Some((_, held, resolved)) => {
                            available += *held;
                            reserved -= *held;
                            *resolved = Some(0);
                            true
                        }
                    },
                };
                prop_assert_eq!(decided.is_ok(), expected, "{:?}: {:?}", step, decided);
            }
            if book.world.accounts.is_empty() {
                prop_assert_eq!((available, reserved), (0, 0));
            } else {
                prop_assert_eq!(credits(&book, &workspace), (available, reserved));
            }
        }
        assert_holds(&book.world);
    }
}
