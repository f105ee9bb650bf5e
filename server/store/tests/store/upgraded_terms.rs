//! Subscriptions of an older server get terms that reproduce what was invoiced, and go on from there.

use crate::{
    commands::{at, command, create, patch},
    database::{Backend, Database, both_databases, execute, texts},
    lane::carry_out,
    upgrades::migrations,
};
use diesel_migrations::MigrationHarness;
use ifmatch_domain::{
    Action, Outcome,
    billing::{self, BillSubscription},
    core,
};
use ifmatch_store::{Db, on_backend};
use ifmatch_types::Kind;
use serde_json::{Value, json};

/// The lane of an older server, in a database that is upgraded under it.
struct Lane {
    db: Db,
    seed: u128,
    workspace: String,
}

impl Lane {
    fn on(database: &Database) -> Self {
        let mut lane = Self { db: database.lane(), seed: 1 << 64, workspace: String::new() };
        let acme = json!({"name": "Acme", "currency": "USD"});
        lane.workspace = lane.make("2027-01-01", Kind::Workspace, acme);
        lane
    }

    /// Goes back to the schema before there were terms.
    fn downgrade(&mut self) {
        let backend = if self.db.is_sqlite() { Backend::Sqlite } else { Backend::Postgres };
        for later in [
            "20261201000150",
            "20261130000140",
            "20261130000130",
            "20261130000120",
            "20261130000110",
            "20261129000100",
        ] {
            let reverted =
                on_backend!(&mut self.db, c => c.revert_last_migration(migrations(backend)));
            assert_eq!(reverted.unwrap().to_string(), later);
        }
    }

    #[track_caller]
    fn run(&mut self, day: &str, action: Action) -> Outcome {
        self.seed += 1 << 32;
        let now = at(&format!("{day}T00:00:00Z"));
        carry_out(&mut self.db, &[command(self.seed, action)], now).remove(0).unwrap()
    }

    #[track_caller]
    fn make(&mut self, day: &str, kind: Kind, body: Value) -> String {
        match self.run(day, create(kind, body)) {
            Outcome::Core(core::Outcome::Object(made)) => made.id,
            other => panic!("an object was expected: {other:?}"),
        }
    }

    fn plan(&mut self, code: &str, amount: i64, trial_days: i64) -> String {
        let plan = json!({"code": code, "name": code, "currency": "USD", "amount": amount,
            "interval": "month", "trial_days": trial_days, "status": "active"});
        self.make("2027-01-01", Kind::Plan, plan)
    }

    fn subscribe(&mut self, plan: &str, start: &str, quantity: i64) -> String {
        let start_at = format!("{start}T00:00:00Z");
        let body = json!({"workspace_id": self.workspace, "plan_id": plan, "quantity": quantity,
            "start_at": start_at});
        self.make("2027-01-01", Kind::Subscription, body)
    }

    #[track_caller]
    fn edit(&mut self, day: &str, id: &str, body: Value) {
        let sql =
            format!("SELECT CAST(version AS text) AS found FROM subscriptions WHERE id = '{id}'");
        let version = texts(&mut self.db, &sql)[0].parse().unwrap();
        self.run(day, patch(Kind::Subscription, id, version, body));
    }

    /// A step of a billing run. Returns the totals of all invoices of the subscription.
    #[track_caller]
    fn bill(&mut self, day: &str, id: &str) -> Vec<String> {
        let as_of = at(&format!("{day}T00:00:00Z"));
        let bill = BillSubscription { subscription_id: id.to_owned(), as_of };
        self.run(day, Action::Billing(billing::Action::BillSubscription(bill)));
        self.totals(id)
    }

    fn totals(&mut self, id: &str) -> Vec<String> {
        let sql = format!(
            "SELECT CAST(total AS text) AS found FROM invoices WHERE subscription_id = '{id}' \
             AND status <> 'void' ORDER BY number"
        );
        texts(&mut self.db, &sql)
    }
}

fn subscriptions_in_every_state_go_on_as_they_were_invoiced(database: &Database) {
    let mut lane = Lane::on(database);
    let (small, large) = (lane.plan("small", 3100, 0), lane.plan("large", 6200, 0));
    let trial = lane.plan("trial", 3100, 14);
    let active = lane.subscribe(&small, "2027-01-01", 2);
    let changed = lane.subscribe(&small, "2027-01-01", 1);
    let paused = lane.subscribe(&small, "2027-01-01", 1);
    let canceled = lane.subscribe(&small, "2027-01-01", 1);
    let flagged = lane.subscribe(&small, "2027-01-01", 1);
    let trialing = lane.subscribe(&trial, "2027-01-01", 1);
    let future = lane.subscribe(&small, "2027-06-01", 1);
    let unbilled = lane.subscribe(&small, "2027-01-01", 1);
    for id in [&active, &changed, &paused, &canceled, &flagged] {
        assert_eq!(lane.bill("2027-01-01", id).len(), 1);
    }
    lane.edit("2027-01-10", &paused, json!({"status": "paused"}));
    lane.edit("2027-01-05", &flagged, json!({"cancel_at_period_end": true}));
    lane.edit("2027-01-12", &canceled, json!({"status": "canceled"}));
    lane.edit("2027-01-11", &changed, json!({"plan_id": large}));
    lane.edit("2027-01-16", &active, json!({"quantity": 1}));
    lane.downgrade();
    // What the older server remembered of these edits.
    let change = |from: &str| {
        format!(
            r#"[{{"at":"2027-01-11T00:00:00.000000Z","from":"{small}","to":"{large}",
            "billed_quantity":1,"quantity":1,"period_start":"2027-01-01T00:00:00.000000Z",
            "period_end":"2027-02-01T00:00:00.000000Z"{from}}}]"#
        )
    };
    for (id, quantity, changes) in [
        (&changed, 1, change("")),
        // It charged nothing for a change before a cancellation, and nothing becomes due.
        (&canceled, 1, change(r#","settled_in":null"#)),
        (&active, 2, "[]".to_owned()),
    ] {
        let sql = format!(
            "UPDATE subscriptions SET plan_changes = '{changes}', billed_quantity = {quantity} \
             WHERE id = '{id}'"
        );
        execute(&mut lane.db, &sql);
    }
    lane.db.migrate().unwrap();
    let mut broken = lane.db.verify().unwrap();
    // An older server showed a period before the first one. The history here is of today's server.
    broken.retain(|broken| broken.id != future);
    assert_eq!(broken, []);
    for id in [&active, &changed, &paused, &canceled, &flagged, &trialing, &future] {
        let before = lane.totals(id);
        assert_eq!(lane.bill("2027-01-14", id), before, "nothing more is due: {id}");
    }
    for (id, totals) in [
        // The quantity of 16 January counts from then on: 16 of 31 days for one unit less.
        (&active, &["6200", "1500"][..]),
        (&changed, &["3100", "8300"]),
        (&paused, &["3100"]),
        (&canceled, &["3100"]),
        (&flagged, &["3100"]),
        (&trialing, &["3100"]),
        (&future, &[]),
        (&unbilled, &["3100", "3100"]),
    ] {
        assert_eq!(lane.bill("2027-02-01", id), totals, "{id}");
    }
    let sql = format!("SELECT status AS found FROM subscriptions WHERE id = '{flagged}'");
    assert_eq!(texts(&mut lane.db, &sql), ["canceled"]);
    assert_eq!(lane.bill("2027-06-01", &future), ["3100"]);
    assert_eq!(lane.db.verify().unwrap(), []);
}

/// An invoice from before there were terms settled an earlier period, too. Voiding it makes all
/// that it charged due again, and nothing else.
fn what_an_old_invoice_charged_is_due_again_if_it_is_voided(database: &Database) {
    let mut lane = Lane::on(database);
    let (small, large) = (lane.plan("small", 3100, 0), lane.plan("large", 6200, 0));
    let id = lane.subscribe(&large, "2027-01-01", 1);
    lane.bill("2027-01-01", &id);
    lane.edit("2027-01-16", &id, json!({"plan_id": small}));
    assert_eq!(lane.bill("2027-02-01", &id), ["6200", "1500"]);
    lane.bill("2027-03-01", &id);
    lane.downgrade();
    // Older lines name no period.
    let lines = r#"[{"description":"small × 1","quantity":1,"unit_amount":3100,"amount":3100},
        {"description":"Unused time on large","quantity":1,"unit_amount":-1600,"amount":-1600}]"#;
    execute(&mut lane.db, &format!("UPDATE invoices SET lines = '{lines}' WHERE subtotal = 1500"));
    lane.db.migrate().unwrap();
    let void = |lane: &mut Lane, total: i64| {
        let sql =
            format!("SELECT id AS found FROM invoices WHERE total = {total} AND status <> 'void'");
        let invoice = texts(&mut lane.db, &sql)[0].clone();
        lane.run("2027-03-02", patch(Kind::Invoice, &invoice, 1, json!({"status": "void"})));
    };
    void(&mut lane, 1500);
    assert_eq!(lane.bill("2027-04-01", &id), ["6200", "3100", "4600"]);
    void(&mut lane, 6200);
    assert_eq!(lane.bill("2027-05-01", &id), ["3100", "4600", "9300"]);
}

/// The invoice of the running period settled an earlier one, too. What it charged for that is not
/// taken for a part of the running period.
fn what_the_running_invoice_settled_is_not_due_again(database: &Database) {
    let mut lane = Lane::on(database);
    let (small, large) = (lane.plan("small", 3100, 0), lane.plan("large", 6200, 0));
    let id = lane.subscribe(&large, "2027-01-01", 1);
    lane.bill("2027-01-01", &id);
    lane.edit("2027-01-16", &id, json!({"plan_id": small}));
    assert_eq!(lane.bill("2027-02-01", &id), ["6200", "1500"]);
    lane.downgrade();
    let lines = r#"[{"description":"small × 1","quantity":1,"unit_amount":3100,"amount":3100},
        {"description":"Unused time on large","quantity":1,"unit_amount":-1600,"amount":-1600}]"#;
    execute(&mut lane.db, &format!("UPDATE invoices SET lines = '{lines}' WHERE subtotal = 1500"));
    lane.db.migrate().unwrap();
    assert_eq!(lane.bill("2027-03-01", &id), ["6200", "1500", "3100"]);
}

both_databases![
    what_the_running_invoice_settled_is_not_due_again,
    subscriptions_in_every_state_go_on_as_they_were_invoiced,
    what_an_old_invoice_charged_is_due_again_if_it_is_voided,
];
