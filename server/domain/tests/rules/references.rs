//! Fields that refer to other objects, and the deletions that they prevent.

use crate::{
    book::{Book, with},
    commands::{command, create, delete, patch},
    invariants::assert_holds,
};
use ifmatch_domain::{Command, Rejection, billing, core};
use ifmatch_types::Kind;
use serde_json::json;

#[test]
fn what_a_field_names_must_live_and_be_of_its_type() {
    let mut book = Book::default();
    let (workspace, gone) = (book.workspace(), book.workspace());
    book.run(delete(Kind::Workspace, &gone, 1)).unwrap();
    let plan = book.plan("p", json!({}));
    let subscription = book.subscription(&workspace, &plan, json!({}));
    let namespace = json!({"workspace_id": workspace, "name": "n"});
    let fresh = json!({"workspace_id": workspace, "plan_id": plan});
    let invoice = json!({"workspace_id": workspace});
    for (kind, body, field, prefix) in [
        (Kind::Namespace, &namespace, "workspace_id", "wsp_"),
        (Kind::Subscription, &fresh, "workspace_id", "wsp_"),
        (Kind::Subscription, &fresh, "plan_id", "pln_"),
        (Kind::Invoice, &invoice, "workspace_id", "wsp_"),
        (Kind::Invoice, &invoice, "subscription_id", "sub_"),
    ] {
        let path = format!("/{field}");
        for other in [&workspace, &plan, &subscription] {
            if !other.starts_with(prefix) {
                let body = with(body.clone(), json!({field: other}));
                let expected = Rejection::Core(core::Rejection::WrongIdType {
                    path: path.clone(),
                    expected_prefix: prefix,
                });
                assert_eq!(book.refused(create(kind, body)), expected);
            }
        }
        let mut absent = vec!["nothing", "wsp_", "sub_zz", "pln_00000000000000000000000000000000"];
        absent.retain(|id| !id.starts_with("pln_") || prefix == "pln_");
        if prefix == "wsp_" {
            absent.push(&gone);
        }
        for id in absent {
            let body = with(body.clone(), json!({field: id}));
            let refused = book.refused(create(kind, body));
            let Rejection::Core(core::Rejection::Invalid(errors)) = refused else {
                panic!("{kind} {id}: {refused:?}")
            };
            assert_eq!(errors[0].path, path);
        }
    }
    assert_holds(&book.world);
}

#[test]
fn an_invoice_and_its_subscription_are_of_one_workspace() {
    let mut book = Book::default();
    let (one, two) = (book.workspace(), book.workspace());
    let plan = book.plan("p", json!({}));
    let subscription = book.subscription(&one, &plan, json!({}));
    let foreign = json!({"workspace_id": two, "subscription_id": subscription});
    let refused = book.refused(create(Kind::Invoice, foreign));
    assert!(
        matches!(refused, Rejection::Core(core::Rejection::Invalid(e)) if e[0].path == "/subscription_id")
    );
    let id = book.invoice(&one, json!({"subscription_id": subscription}));
    // The invoice changes its workspace, but its subscription stays in the old one.
    let refused = book.edit(&id, json!({"workspace_id": two})).unwrap_err();
    assert!(
        matches!(refused, Rejection::Core(core::Rejection::Invalid(e)) if e[0].path == "/subscription_id")
    );
    book.edit(&id, json!({"workspace_id": two, "subscription_id": null})).unwrap();
}

#[test]
fn a_workspace_is_deletable_while_nothing_lives_in_it() {
    for kind in [Kind::Namespace, Kind::Subscription, Kind::Invoice] {
        let mut book = Book::default();
        let (workspace, plan) = (book.workspace(), book.plan("p", json!({})));
        let inside = match kind {
            Kind::Namespace => book.make(kind, json!({"workspace_id": workspace, "name": "n"})),
            Kind::Subscription => book.subscription(&workspace, &plan, json!({})),
            _ => book.invoice(&workspace, json!({})),
        };
        assert_eq!(
            book.refused(delete(Kind::Workspace, &workspace, 1)),
            Rejection::Billing(billing::Rejection::WorkspaceInUse)
        );
        book.run(delete(kind, &inside, 1)).unwrap();
        book.run(delete(Kind::Workspace, &workspace, 1)).unwrap();
        assert_holds(&book.world);
    }
}

#[test]
fn an_invoice_is_in_the_workspaces_currency_unless_it_says_otherwise() {
    let mut book = Book::default();
    let usd = book.workspace();
    let none = book.make(Kind::Workspace, json!({"name": "n"}));
    for (workspace, currency, expected) in [
        (&usd, json!(null), Some("USD")),
        (&usd, json!("EUR"), Some("EUR")),
        (&none, json!("EUR"), Some("EUR")),
        (&none, json!(null), None),
    ] {
        let body = json!({"workspace_id": workspace, "currency": currency});
        match (book.run(create(Kind::Invoice, body)), expected) {
            (Ok(ifmatch_domain::Outcome::Core(core::Outcome::Object(object))), Some(expected)) => {
                assert_eq!(object.body["currency"], expected);
            }
            (Err(Rejection::Core(core::Rejection::Invalid(errors))), None) => {
                assert_eq!(errors[0].path, "/currency")
            }
            (other, _) => panic!("{other:?}"),
        }
    }
}

/// The objects that a batch loads, each with its kind of row lock.
fn locks_of(book: &Book, batch: &[Command]) -> Vec<String> {
    let state = book.world.load(batch, book.now);
    let kinds = [Kind::Plan, Kind::Workspace, Kind::Subscription];
    let ids: Vec<(Kind, String)> =
        book.world.rows().into_iter().map(|row| (row.0, row.1)).collect();
    let loaded =
        ids.iter().filter(|(kind, id)| kinds.contains(kind) && state.is_object_loaded(*kind, id));
    let lock = |(kind, id): &(Kind, String)| match state.is_shared(*kind, id) {
        true => format!("{kind} shared"),
        false => format!("{kind} exclusive"),
    };
    let mut locks: Vec<String> = loaded.map(lock).collect();
    locks.sort();
    locks
}

#[test]
fn a_sign_up_shares_its_plan_and_workspace_until_the_batch_changes_one() {
    let mut book = Book::default();
    let workspace = book.workspace();
    let plan = book.plan("p", json!({"status": "active"}));
    let sign_up = create(Kind::Subscription, json!({"workspace_id": workspace, "plan_id": plan}));
    let sign_up = command(book.fresh_seed(), sign_up);
    assert_eq!(
        locks_of(&book, std::slice::from_ref(&sign_up)),
        ["plan shared", "workspace shared"]
    );
    let archive = patch(Kind::Plan, &plan, 1, json!({"status": "archived"}));
    let archive = command(book.fresh_seed(), archive);
    for batch in [[sign_up.clone(), archive.clone()], [archive, sign_up]] {
        assert_eq!(locks_of(&book, &batch), ["plan exclusive", "workspace shared"]);
    }
}
