//! The database's protection below the rules: guards, unique keys and checks.

use crate::{
    book::Book,
    commands::{command, create, delete, key, patch},
    database::{Database, both_databases, execute, texts},
    lane::{carry_out, load},
    world::decide_one,
};
use ifmatch_domain::{
    Action, Command,
    access::{self, CreateApiKey, RevokeApiKey},
    billing::{self, RecordPayment, ReversePayment},
};
use ifmatch_store::{Db, StoreError};
use ifmatch_types::{ApiKeyId, Kind};
use serde_json::json;

/// The ids of the objects that the commands below change.
struct Furnished {
    workspaces: Vec<String>,
    plan: String,
    draft: String,
    open: String,
    payment: String,
}

fn furnish(db: &mut Db, book: &mut Book) -> Furnished {
    let workspaces = vec![book.workspace(), book.workspace(), book.workspace()];
    let plan = book.plan("p", json!({"status": "draft"}));
    let draft = book.invoice(&workspaces[0], json!({}));
    let open = book.invoice(&workspaces[0], json!({"status": "open"}));
    book.pay(&open, 1, "ref").unwrap();
    book.run(new_key("one")).unwrap();
    copy(db, book);
    let payment = book.world.payments.keys().next().unwrap().clone();
    Furnished { workspaces, plan, draft, open, payment }
}

fn new_key(digest: &str) -> Action {
    let body = json!({"name": digest, "role": "agent"});
    Action::Access(access::Action::CreateApiKey(CreateApiKey {
        body,
        id: ApiKeyId::from_unchecked(format!("key_{digest}")),
        digest: digest.to_owned(),
    }))
}

/// Saves everything a book has into an empty database.
fn copy(db: &mut Db, book: &Book) {
    crate::lane::save(db, |state| {
        let world = &book.world;
        world
            .workspaces
            .iter()
            .for_each(|(id, row)| state.billing_mut().workspaces.put(id.clone(), row.clone()));
        world
            .plans
            .iter()
            .for_each(|(id, row)| state.billing_mut().plans.put(id.clone(), row.clone()));
        world
            .invoices
            .iter()
            .for_each(|(id, row)| state.billing_mut().invoices.put(id.clone(), row.clone()));
        world
            .payments
            .iter()
            .for_each(|(id, row)| state.billing_mut().payments.put(id.clone(), row.clone()));
        world
            .api_keys
            .iter()
            .for_each(|(id, row)| state.access_mut().api_keys.put(id.clone(), row.clone()));
        crate::loads::copy_terms(book, state);
        state.events.extend(world.events.iter().cloned());
    })
    .unwrap();
    execute(db, &format!("UPDATE sequences SET last = {}", book.world.last_number));
}

/// Decides commands, and saves them after another writer has changed rows without the lane's locks.
fn save_after(db: &mut Db, book: &Book, commands: &[Command], sql: &str) -> Result<(), StoreError> {
    db.begin().unwrap();
    let mut state = load(db, commands);
    for command in commands {
        decide_one(&mut state, command, book.now).unwrap();
    }
    execute(db, sql);
    let saved = db.save(&state, book.now);
    db.rollback().unwrap();
    saved
}

fn a_row_that_is_not_as_it_was_loaded_fails_the_batch(database: &Database) {
    let (mut db, mut book) = (database.lane(), Book::default());
    let at_hand = furnish(&mut db, &mut book);
    let rename = |id: &str| patch(Kind::Workspace, id, 1, json!({"name": "New"}));
    let all: Vec<Action> = at_hand.workspaces.iter().map(|id| rename(id)).collect();
    let reverse = Action::Billing(billing::Action::ReversePayment(ReversePayment {
        invoice_id: at_hand.open.clone(),
        payment_id: at_hand.payment.clone(),
        reason: "r".to_owned(),
    }));
    let bump = |table: &str| format!("UPDATE {table} SET version = version + 1");
    let last = &at_hand.workspaces[2];
    let cases = [
        (all.clone(), bump("workspaces"), ("workspaces", 3, 0)),
        (all.clone(), format!("{} WHERE id = '{last}'", bump("workspaces")), ("workspaces", 3, 2)),
        (all, format!("DELETE FROM workspaces WHERE id = '{last}'"), ("workspaces", 3, 2)),
        (vec![delete(Kind::Plan, &at_hand.plan, 1)], bump("plans"), ("plans", 1, 0)),
        (vec![reverse.clone()], bump("invoices"), ("invoices", 1, 0)),
        (vec![reverse], bump("payments"), ("payments", 1, 0)),
        (
            vec![Action::Access(access::Action::RevokeApiKey(RevokeApiKey {
                id: "key_one".to_owned(),
            }))],
            bump("api_keys"),
            ("api_keys", 1, 0),
        ),
        (
            vec![patch(Kind::Invoice, &at_hand.draft, 1, json!({"status": "open"}))],
            "UPDATE sequences SET last = last + 1".to_owned(),
            ("sequences", 1, 0),
        ),
    ];
    for (actions, sql, (table, expected, saved)) in cases {
        let commands: Vec<Command> =
            actions.into_iter().map(|action| command(book.fresh_seed(), action)).collect();
        save_after(&mut db, &book, &commands, "SELECT 1").unwrap();
        let error = save_after(&mut db, &book, &commands, &sql).unwrap_err();
        assert!(error.is_transient() && !error.is_gone());
        let StoreError::LostGuard { table: t, expected: e, saved: s } = error else {
            panic!("{sql}: {error}")
        };
        assert_eq!((t, e, s), (table, expected, saved), "{sql}");
    }
    assert_eq!(db.verify().unwrap(), []);
}

fn a_unique_key_that_was_taken_meanwhile_is_a_race(database: &Database) {
    let (mut db, mut book) = (database.lane(), Book::default());
    let at_hand = furnish(&mut db, &mut book);
    let plan =
        json!({"code": "new", "name": "n", "currency": "USD", "amount": 1, "interval": "day"});
    let pay = Action::Billing(billing::Action::RecordPayment(RecordPayment {
        invoice_id: at_hand.open.clone(),
        body: json!({"amount": 1, "provider_ref": "new"}),
    }));
    let rename = patch(Kind::Workspace, &at_hand.workspaces[0], 1, json!({"name": "New"}));
    let mut kept = command(book.fresh_seed(), rename.clone());
    kept.idempotency = Some(key("k", "print"));
    let workspace = &at_hand.workspaces[0];
    let cases = [
        (
            command(book.fresh_seed(), create(Kind::Plan, plan)),
            "UPDATE plans SET code = 'new'".to_owned(),
        ),
        (command(book.fresh_seed(), pay), "UPDATE payments SET provider_ref = 'new'".to_owned()),
        (
            command(book.fresh_seed(), new_key("two")),
            "UPDATE api_keys SET digest = 'two'".to_owned(),
        ),
        (
            command(book.fresh_seed(), rename),
            format!("UPDATE events SET version = 2 WHERE resource_id = '{workspace}'"),
        ),
        (
            kept,
            "INSERT INTO answers VALUES ('key_alice', 'k', 'print', 200, '[]', '', 0)".to_owned(),
        ),
        (
            command(
                book.fresh_seed(),
                patch(Kind::Invoice, &at_hand.draft, 1, json!({"status": "open"})),
            ),
            "UPDATE invoices SET number = 'INV-000002' WHERE number IS NOT NULL".to_owned(),
        ),
    ];
    for (command, sql) in cases {
        let commands = [command];
        save_after(&mut db, &book, &commands, "SELECT 1").unwrap();
        let error = save_after(&mut db, &book, &commands, &sql).unwrap_err();
        assert!(matches!(error, StoreError::Raced(_)), "{sql}: {error:?}");
        assert!(error.is_transient());
    }
}

fn two_recurring_invoices_of_one_period_are_a_race(database: &Database) {
    let mut db = database.lane();
    let mut book = Book::default();
    let (workspace, plan) = (book.workspace(), book.plan("p", json!({})));
    let id = book.subscription(&workspace, &plan, json!({}));
    let id = &id;
    copy(&mut db, &book);
    let row = book.world.subscriptions[id].clone();
    crate::lane::save(&mut db, |state| state.billing_mut().subscriptions.put(id.clone(), row))
        .unwrap();
    let bill = |book: &mut Book| {
        let subscription_id = id.clone();
        let as_of = book.now;
        let bill = billing::BillSubscription { subscription_id, as_of };
        command(book.fresh_seed(), Action::Billing(billing::Action::BillSubscription(bill)))
    };
    let now = book.now;
    carry_out(&mut db, &[bill(&mut book)], now).remove(0).unwrap();
    // This lane did not see the first lane's invoice.
    db.begin().unwrap();
    let commands = [bill(&mut book)];
    let mut state = load(&mut db, &commands);
    let billing = state.billing_mut();
    billing.charges = Default::default();
    billing.charges.load(id.clone(), None);
    let mut row = billing.subscriptions.get(id).unwrap().clone();
    row.record.billed_until = None;
    billing.subscriptions.load(id.clone(), Some(row));
    decide_one(&mut state, &commands[0], now).unwrap();
    let error = db.save(&state, now).unwrap_err();
    db.rollback().unwrap();
    assert!(matches!(error, StoreError::Raced(_)), "{error:?}");
}

fn a_deleted_plan_frees_its_code_within_one_commit(database: &Database) {
    let mut db = database.lane();
    let mut book = Book::default();
    let at_hand = furnish(&mut db, &mut book);
    let plan = json!({"code": "p", "name": "n", "currency": "USD", "amount": 1, "interval": "day"});
    let batch = [
        command(book.fresh_seed(), delete(Kind::Plan, &at_hand.plan, 1)),
        command(book.fresh_seed(), create(Kind::Plan, plan)),
    ];
    let decided = carry_out(&mut db, &batch, book.now);
    assert!(decided.iter().all(Result::is_ok), "{decided:?}");
    let living = "SELECT code AS found FROM plans WHERE deleted_at IS NULL";
    assert_eq!(texts(&mut db, living), ["p"]);
}

fn the_database_refuses_what_no_rule_would_write(database: &Database) {
    let mut db = database.lane();
    let mut book = Book::default();
    furnish(&mut db, &mut book);
    for sql in [
        "UPDATE plans SET amount = -1",
        "UPDATE plans SET status = 'gone'",
        "UPDATE plans SET \"interval\" = 'decade'",
        "UPDATE plans SET interval_count = 0",
        "UPDATE plans SET version = 0",
        "UPDATE invoices SET total = total + 1",
        "UPDATE invoices SET number = NULL WHERE number IS NOT NULL",
        "UPDATE invoices SET number = 'INV-9' WHERE number IS NULL",
        "UPDATE invoices SET amount_due = -1",
        "UPDATE invoices SET workspace_id = 'nothing'",
        "UPDATE payments SET amount = 0",
        "UPDATE payments SET status = 'reversed'",
        "UPDATE payments SET invoice_id = 'nothing'",
        "UPDATE sequences SET last = -1",
        "UPDATE events SET kind = 'imagined'",
        "UPDATE events SET source = 'rumour'",
        "UPDATE api_keys SET role = 'god'",
        "UPDATE workspaces SET name = NULL",
    ] {
        use diesel::connection::SimpleConnection;
        let done = ifmatch_store::on_backend!(&mut db, c => c.batch_execute(sql));
        let error = StoreError::from(done.expect_err(sql));
        assert!(!error.is_transient() && !error.is_gone(), "{sql}: {error:?}");
    }
}

both_databases!(
    a_row_that_is_not_as_it_was_loaded_fails_the_batch,
    a_unique_key_that_was_taken_meanwhile_is_a_race,
    two_recurring_invoices_of_one_period_are_a_race,
    a_deleted_plan_frees_its_code_within_one_commit,
    the_database_refuses_what_no_rule_would_write,
);
