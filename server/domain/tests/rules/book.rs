//! One caller's book: a world, a clock that only the test moves, and short commands.

use crate::{
    commands::{at, command, create, members, patch},
    world::{Decided, World},
};
use ifmatch_domain::{
    Action, Command, Outcome, Rejection,
    billing::{self, BillSubscription, RecordPayment, ReinstatePayment, ReversePayment},
    core::{self, Claim, Guard, How, ObjectAnswer},
};
use ifmatch_types::{Kind, Timestamp, Version};
use serde_json::{Map, Value, json};

/// A world with one caller and a clock.
pub struct Book {
    pub world: World,
    pub now: Timestamp,
    pub seed: u128,
}

impl Default for Book {
    fn default() -> Self {
        Self { world: World::default(), now: at("2027-01-01T00:00:00Z"), seed: 1 << 64 }
    }
}

impl Book {
    pub fn at(now: &str) -> Self {
        Self { now: at(now), ..Self::default() }
    }

    pub fn fresh_seed(&mut self) -> u128 {
        self.seed += 1 << 32;
        self.seed
    }

    /// Decides and saves one action. Asserts that a rejection changes nothing.
    pub fn run(&mut self, action: Action) -> Decided {
        let command = command(self.fresh_seed(), action);
        let before = self.world.clone();
        let decided = self.world.carry_out(&[command], self.now).remove(0);
        if let Err(rejection) = &decided {
            self.world.assert_untouched(&before, rejection);
        }
        decided
    }

    /// Like [`run`](Self::run), with a claim about an object.
    pub fn run_claiming(&mut self, claim: Claim, action: Action) -> Decided {
        let guard = Guard { claim: Some(claim), fence: None };
        let command = Command { guard, ..command(self.fresh_seed(), action) };
        let before = self.world.clone();
        let decided = self.world.carry_out(&[command], self.now).remove(0);
        if let Err(rejection) = &decided {
            self.world.assert_untouched(&before, rejection);
        }
        decided
    }

    #[track_caller]
    pub fn ok(&mut self, action: Action) -> ObjectAnswer {
        match self.run(action).unwrap() {
            Outcome::Core(core::Outcome::Object(object)) => object,
            other => panic!("an object was expected: {other:?}"),
        }
    }

    #[track_caller]
    pub fn refused(&mut self, action: Action) -> Rejection {
        self.run(action).unwrap_err()
    }

    /// Creates an object from the kind's usual fields, with these members changed.
    #[track_caller]
    pub fn make(&mut self, kind: Kind, body: Value) -> String {
        let answer = self.ok(create(kind, body));
        assert!(matches!(answer.how, How::Created | How::Begun { .. }), "{answer:?}");
        answer.id
    }

    #[track_caller]
    pub fn workspace(&mut self) -> String {
        self.make(Kind::Workspace, json!({"name": "Acme", "currency": "USD"}))
    }

    /// An active plan of USD 30.00 a month.
    #[track_caller]
    pub fn plan(&mut self, code: &str, changed: Value) -> String {
        let usual = json!({"code": code, "name": "Plan", "currency": "USD", "amount": 3000,
            "interval": "month", "status": "active"});
        self.make(Kind::Plan, with(usual, changed))
    }

    #[track_caller]
    pub fn subscription(&mut self, workspace: &str, plan: &str, changed: Value) -> String {
        let usual = json!({"workspace_id": workspace, "plan_id": plan});
        self.make(Kind::Subscription, with(usual, changed))
    }

    /// Changes the quantity of a subscription, whatever it costs. Older versions stored quantities
    /// whose price no invoice could hold.
    pub fn store_quantity(&mut self, id: &str, quantity: i64) {
        let most = |book: &mut Self, most: i64| {
            let row = book.world.subscriptions.get_mut(id).unwrap();
            std::mem::replace(&mut row.record.quantity_max, most)
        };
        let right = most(self, i64::MAX);
        self.edit(id, json!({"quantity": quantity})).unwrap();
        most(self, right);
    }

    /// A draft invoice with one line over USD 10.00.
    #[track_caller]
    pub fn invoice(&mut self, workspace: &str, changed: Value) -> String {
        let lines = json!([{"description": "Work", "quantity": 2, "unit_amount": 500}]);
        let usual = json!({"workspace_id": workspace, "lines": lines});
        self.make(Kind::Invoice, with(usual, changed))
    }

    pub fn version(&self, id: &str) -> Version {
        self.world.entity(id)["version"].as_i64().unwrap()
    }

    /// One field of an object.
    pub fn field(&self, id: &str, name: &str) -> Value {
        self.world.entity(id)[name].clone()
    }

    /// Some fields of an object.
    pub fn fields(&self, id: &str, names: &[&str]) -> Value {
        let entity = self.world.entity(id);
        names
            .iter()
            .map(|name| ((*name).to_owned(), entity[*name].clone()))
            .collect::<Map<_, _>>()
            .into()
    }

    /// A patch at the current version.
    #[track_caller]
    pub fn edit(&mut self, id: &str, body: Value) -> Decided {
        let kind = Kind::ALL.into_iter().find(|kind| id.starts_with(kind.id_prefix())).unwrap();
        let version = self.version(id);
        self.run(patch(kind, id, version, body))
    }

    #[track_caller]
    pub fn pay(&mut self, invoice: &str, amount: i64, provider_ref: &str) -> Decided {
        let body = json!({"amount": amount, "provider_ref": provider_ref});
        self.run(Action::Billing(billing::Action::RecordPayment(RecordPayment {
            invoice_id: invoice.into(),
            body,
        })))
    }

    #[track_caller]
    pub fn reverse(&mut self, invoice: &str, payment: &str) -> Decided {
        self.run(Action::Billing(billing::Action::ReversePayment(ReversePayment {
            invoice_id: invoice.to_owned(),
            payment_id: payment.to_owned(),
            reason: "bounced".to_owned(),
        })))
    }

    pub fn reinstate(&mut self, invoice: &str, payment: &str) -> Decided {
        self.run(Action::Billing(billing::Action::ReinstatePayment(ReinstatePayment {
            invoice_id: invoice.to_owned(),
            payment_id: payment.to_owned(),
            reason: "dispute won".to_owned(),
        })))
    }

    /// One step of a billing run: the invoices made, and whether more is due.
    #[track_caller]
    pub fn bill(&mut self, subscription: &str, as_of: &str) -> (i64, bool) {
        let bill = BillSubscription { subscription_id: subscription.into(), as_of: at(as_of) };
        match self.run(Action::Billing(billing::Action::BillSubscription(bill))).unwrap() {
            Outcome::Billing(billing::Outcome::Billed { made, skipped, more }) => {
                assert_eq!(skipped, made == 0);
                (made, more)
            }
            other => panic!("a bill was expected: {other:?}"),
        }
    }

    /// The recurring invoices of a subscription, by period: start, end, total.
    pub fn bills(&self, subscription: &str) -> Vec<(String, String, i64)> {
        let day = |instant: Option<Timestamp>| instant.unwrap().to_string()[..10].to_owned();
        let mut bills: Vec<_> = self
            .world
            .recurring(subscription)
            .map(|i| (day(i.period_start), day(i.period_end), i.total))
            .collect();
        bills.sort();
        bills
    }

    /// The lines of the latest recurring invoice: text, quantity, amount.
    pub fn last_lines(&self, subscription: &str) -> Vec<(String, i64)> {
        let last = self.world.recurring(subscription).max_by_key(|invoice| invoice.period_start);
        let lines = last.unwrap().lines.iter();
        lines.map(|line| (line.description.clone(), line.amount)).collect()
    }
}

/// An object with some members replaced or added.
#[track_caller]
pub fn with(object: Value, changed: Value) -> Value {
    let mut object = members(object);
    object.extend(members(changed));
    object.into()
}
