//! Scoped keys: what the rules let a key of one workspace see and change.

use crate::{
    book::Book,
    commands::{command, create, delete, members, patch},
    world::Decided,
};
use ifmatch_domain::{
    Action, Command, Outcome, Rejection,
    billing::{self, RecordPayment},
    core::{self, Operation},
    entitlement::{self, AssignPackage, CheckAndRecord, ScopeRef},
};
use ifmatch_types::{Kind, WorkspaceId};
use serde_json::{Value, json};

/// A book with two workspaces: the key's own, and a foreign one.
struct Reach {
    book: Book,
    own: String,
    foreign: String,
    plan: String,
    bookable: String,
}

impl Default for Reach {
    fn default() -> Self {
        let mut book = Book::default();
        let (own, foreign) = (book.workspace(), book.workspace());
        let plan = book.plan("p", json!({}));
        let bookable = book.make(Kind::Bookable, json!({"name": "Room", "capacity": 9}));
        Self { book, own, foreign, plan, bookable }
    }
}

impl Reach {
    /// Decides and saves an action of the key of `own`. A rejection must change nothing.
    fn run(&mut self, action: Action) -> Decided {
        let mut command: Command = command(self.book.fresh_seed(), action);
        command.meta.actor.workspace_id = Some(WorkspaceId::from_unchecked(self.own.clone()));
        let before = self.book.world.clone();
        let decided = self.book.world.carry_out(&[command], self.book.now).remove(0);
        if let Err(rejection) = &decided {
            self.book.world.assert_untouched(&before, rejection);
        }
        decided
    }

    #[track_caller]
    fn made(&mut self, action: Action) -> String {
        match self.run(action).unwrap() {
            Outcome::Core(core::Outcome::Object(object)) => object.id,
            other => panic!("an object was expected: {other:?}"),
        }
    }

    #[track_caller]
    fn finds_nothing(&mut self, kind: Kind, id: &str, action: Action) {
        let refused = self.run(action).unwrap_err();
        let expected = core::Rejection::not_found(kind, id);
        assert_eq!(refused, Rejection::Core(expected));
    }

    #[track_caller]
    fn may_not(&mut self, action: Action) {
        let refused = self.run(action).unwrap_err();
        assert_eq!(refused, Rejection::Core(core::Rejection::NeedsUnscopedKey));
    }

    fn days(&self, changed: Value) -> Value {
        let usual = json!({"bookable_id": self.bookable, "start_date": "2027-01-05",
            "end_date": "2027-01-06", "quantity": 1});
        crate::book::with(usual, changed)
    }
}

#[test]
fn a_foreign_object_does_not_exist_for_a_scoped_key() {
    let mut reach = Reach::default();
    let (foreign, plan) = (reach.foreign.clone(), reach.plan.clone());
    let body = json!({"workspace_id": foreign, "name": "n"});
    let namespace = reach.book.make(Kind::Namespace, body.clone());
    let subscription = reach.book.subscription(&foreign, &plan, json!({}));
    let days = reach.days(json!({ "workspace_id": foreign }));
    let booking = reach.book.make(Kind::Booking, days.clone());
    let days_of_nobody = reach.days(json!({}));
    let nobodys = reach.book.make(Kind::Booking, days_of_nobody);
    let name = || json!({"name": "x"});
    reach.finds_nothing(Kind::Workspace, &foreign, patch(Kind::Workspace, &foreign, 1, name()));
    reach.finds_nothing(Kind::Namespace, &namespace, patch(Kind::Namespace, &namespace, 1, name()));
    reach.finds_nothing(Kind::Namespace, &namespace, delete(Kind::Namespace, &namespace, 1));
    for id in [&booking, &nobodys] {
        reach.finds_nothing(Kind::Booking, id, patch(Kind::Booking, id, 1, json!({"notes": "x"})));
    }
    reach.finds_nothing(Kind::Workspace, &foreign, create(Kind::Namespace, body));
    reach.finds_nothing(Kind::Workspace, &foreign, create(Kind::Booking, days));
    let invoice = json!({"workspace_id": reach.own, "subscription_id": subscription});
    reach.finds_nothing(Kind::Subscription, &subscription, create(Kind::Invoice, invoice));
    let admit = Action::Core(core::Action::Admit(Some((Kind::Namespace, namespace.clone()))));
    reach.finds_nothing(Kind::Namespace, &namespace, admit);
    let items = vec![members(json!({"feature": "f", "quantity": 1}))];
    let scope = ScopeRef { kind: Kind::Namespace, id: namespace.clone() };
    let usage = CheckAndRecord { scope, items, is_batch: false };
    let usage = Action::Entitlement(entitlement::Action::CheckAndRecord(usage));
    reach.finds_nothing(Kind::Namespace, &namespace, usage);
    let check = Operation::Check { kind: Kind::Subscription, id: subscription.clone(), version: 1 };
    let refused = reach.run(Action::Core(core::Action::Transact(vec![check]))).unwrap_err();
    let inner = core::Rejection::not_found(Kind::Subscription, &subscription);
    let rejection = Box::new(Rejection::Core(inner));
    assert_eq!(refused, Rejection::Operation { failed_index: 0, rejection });
}

#[test]
fn a_missing_workspace_is_refused_as_a_foreign_one_is() {
    let mut reach = Reach::default();
    let none = format!("wsp_{}", "0".repeat(32));
    let wrong = json!({"workspace_id": none, "name": ""});
    reach.finds_nothing(Kind::Workspace, &none, create(Kind::Namespace, wrong));
}

#[test]
fn a_scoped_key_changes_what_hangs_on_its_workspace() {
    let mut reach = Reach::default();
    let (own, plan) = (reach.own.clone(), reach.plan.clone());
    reach.run(patch(Kind::Workspace, &own, 1, json!({"name": "Own"}))).unwrap();
    let namespace = reach.made(create(Kind::Namespace, json!({"workspace_id": own, "name": "n"})));
    reach.run(delete(Kind::Namespace, &namespace, 1)).unwrap();
    let body = json!({"workspace_id": own, "plan_id": plan});
    let subscription = reach.made(create(Kind::Subscription, body));
    reach.run(patch(Kind::Subscription, &subscription, 1, json!({"quantity": 2}))).unwrap();
    let days = reach.days(json!({}));
    let booking = reach.made(create(Kind::Booking, days));
    assert_eq!(reach.book.field(&booking, "workspace_id"), json!(own));
    let events = reach.book.world.events.iter().rev().take(6);
    for event in events {
        let workspace = event.workspace_id.as_ref().map(|id| id.as_str().to_owned());
        assert_eq!(workspace, Some(own.clone()), "{event:?}");
    }
}

#[test]
fn what_concerns_more_than_the_workspace_needs_another_key() {
    let mut reach = Reach::default();
    let (own, plan, bookable) = (reach.own.clone(), reach.plan.clone(), reach.bookable.clone());
    let draft = reach.made(create(Kind::Invoice, json!({"workspace_id": own})));
    let lines = json!([{"description": "x", "quantity": 1, "unit_amount": 1}]);
    for action in [
        patch(Kind::Workspace, &own, 1, json!({"currency": "EUR"})),
        create(Kind::Workspace, json!({"name": "n"})),
        delete(Kind::Workspace, &own, 1),
        create(Kind::Bookable, json!({"name": "n", "capacity": 1})),
        patch(Kind::Bookable, &bookable, 1, json!({"capacity": 1})),
        patch(Kind::Plan, &plan, 1, json!({"name": "n"})),
        delete(Kind::Plan, &plan, 1),
        patch(Kind::Invoice, &draft, 1, json!({"notes": "x"})),
        delete(Kind::Invoice, &draft, 1),
        create(Kind::Invoice, json!({"workspace_id": own, "status": "open", "lines": lines})),
        Action::Billing(billing::Action::RecordPayment(RecordPayment {
            invoice_id: draft.clone(),
            body: json!({"amount": 1, "provider_ref": "r"}),
        })),
        Action::Entitlement(entitlement::Action::AssignPackage(AssignPackage {
            scope: ScopeRef::workspace(own.clone()),
            body: members(json!({"package": "p"})),
        })),
    ] {
        reach.may_not(action);
    }
}
