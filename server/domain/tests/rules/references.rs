//! Fields that name other objects, and deletions that such fields forbid.

use crate::{
    book::{Book, with},
    commands::{command, create, delete, patch},
    invariants::assert_holds,
};
use ifmatch_domain::{Action, Need, Rejection, State, needs};
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
                let expected =
                    Rejection::WrongIdType { path: path.clone(), expected_prefix: prefix };
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
            let Rejection::Invalid(errors) = refused else { panic!("{kind} {id}: {refused:?}") };
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
    assert!(matches!(refused, Rejection::Invalid(e) if e[0].path == "/subscription_id"));
    let id = book.invoice(&one, json!({"subscription_id": subscription}));
    // It moves, and its subscription does not.
    let refused = book.edit(&id, json!({"workspace_id": two})).unwrap_err();
    assert!(matches!(refused, Rejection::Invalid(e) if e[0].path == "/subscription_id"));
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
        assert_eq!(book.refused(delete(Kind::Workspace, &workspace, 1)), Rejection::WorkspaceInUse);
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
            (Ok(ifmatch_domain::Outcome::Object(object)), Some(expected)) => {
                assert_eq!(object.body["currency"], expected);
            }
            (Err(Rejection::Invalid(errors)), None) => assert_eq!(errors[0].path, "/currency"),
            (other, _) => panic!("{other:?}"),
        }
    }
}

/// What is asked for in the first round of a batch.
fn wanted(batch: &[Action], state: &State) -> Vec<Need> {
    let commands: Vec<_> =
        (1..).zip(batch).map(|(seed, action)| command(seed, action.clone())).collect();
    let mut wanted = needs(&commands, state);
    wanted.sort();
    wanted.dedup();
    wanted
}

#[test]
fn what_a_command_only_refers_to_is_shared_and_what_it_may_change_is_not() {
    let mut book = Book::default();
    let (workspace, plan) = (book.workspace(), book.plan("p", json!({})));
    let id = book.subscription(&workspace, &plan, json!({}));
    let shared = |kind: Kind, id: &str| Need::Reference(kind, id.to_owned());
    let alone = |kind: Kind, id: &str| Need::Object(kind, id.to_owned());
    let (of_workspace, of_plan) = (json!({"workspace_id": workspace}), json!({"plan_id": plan}));
    let sign_up = create(Kind::Subscription, with(of_workspace.clone(), of_plan.clone()));
    let of_invoice = with(of_workspace.clone(), json!({"subscription_id": id}));
    let of_bookable = json!({"bookable_id": "bkb_1"});
    let state = State::default();
    for (action, expected) in [
        (&sign_up, vec![shared(Kind::Plan, &plan), shared(Kind::Workspace, &workspace)]),
        (&create(Kind::Namespace, of_workspace), vec![shared(Kind::Workspace, &workspace)]),
        (
            &create(Kind::Invoice, of_invoice),
            vec![shared(Kind::Workspace, &workspace), shared(Kind::Subscription, &id)],
        ),
        (
            &patch(Kind::Subscription, &id, 1, of_plan),
            vec![alone(Kind::Subscription, &id), shared(Kind::Plan, &plan)],
        ),
        // The days that a booking changes have their bookable's lock.
        (&create(Kind::Booking, of_bookable), vec![alone(Kind::Bookable, "bkb_1")]),
    ] {
        let found = wanted(std::slice::from_ref(action), &state);
        let locks: Vec<Need> = found.into_iter().filter(Need::locks).collect();
        assert_eq!(locks, expected, "{action:?}");
    }
    // A batch that does both asks for both at once, and the stronger one counts.
    let batch = [sign_up.clone(), delete(Kind::Plan, &plan, 1)];
    let both = wanted(&batch, &state);
    assert!(both.contains(&shared(Kind::Plan, &plan)) && both.contains(&alone(Kind::Plan, &plan)));
    // What was shared already is asked for again to be changed, and the other way round it is not.
    let mut state = State::default();
    state.plans.load(plan.clone(), book.world.plans.get(&plan).cloned());
    assert!(!wanted(&[sign_up], &state).contains(&shared(Kind::Plan, &plan)));
    let change = [delete(Kind::Plan, &plan, 1)];
    assert!(!wanted(&change, &state).contains(&alone(Kind::Plan, &plan)));
    state.references.insert((Kind::Plan, plan.clone()));
    assert!(wanted(&change, &state).contains(&alone(Kind::Plan, &plan)));
}
