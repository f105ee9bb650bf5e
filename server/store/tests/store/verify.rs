//! `verify` reports nothing on correct data, and finds each planted corruption.

use crate::{
    book::Book,
    commands::{adjust, command, create, members, post, reserve, top_up, void},
    database::{Database, both_databases, execute, texts},
    lane::carry_out,
};
use ifmatch_domain::{
    Action,
    billing::{self, BillSubscription, RecordPayment},
    entitlement::{
        self, AssignPackage, CheckAndRecord, EndHold, GrantBoost, HoldEnd, PlaceHold, ScopeRef,
    },
    lock::{self, AcquireLock, LockName, OwnerSecret},
};
use ifmatch_store::Db;
use ifmatch_types::{Kind, LockScope, NewLock, WorkspaceId};
use serde_json::json;

/// Carries out something of every system, on the database and on the book.
pub fn furnish(db: &mut Db) -> Book {
    let mut book = Book::default();
    let mut run = |book: &mut Book, action: Action| {
        let batch = [command(book.fresh_seed(), action)];
        let decided = carry_out(db, &batch, book.now);
        assert!(decided[0].is_ok(), "{decided:?}");
        assert_eq!(book.world.carry_out(&batch, book.now), decided);
    };
    run(&mut book, create(Kind::Workspace, json!({"name": "Acme", "currency": "USD"})));
    run(
        &mut book,
        create(
            Kind::Plan,
            json!({"code": "p", "name": "n", "currency": "USD",
        "amount": 500, "interval": "month", "status": "active"}),
        ),
    );
    let workspace = book.world.workspaces.keys().next().unwrap().clone();
    let plan = book.world.plans.keys().next().unwrap().clone();
    let body = json!({"workspace_id": workspace, "plan_id": plan});
    run(&mut book, create(Kind::Subscription, body));
    run(&mut book, create(Kind::Namespace, json!({"workspace_id": workspace, "name": "n"})));
    run(&mut book, create(Kind::Invoice, json!({"workspace_id": workspace})));
    let subscription_id = book.world.subscriptions.keys().next().unwrap().clone();
    let as_of = crate::commands::at("2027-02-01T00:00:00Z");
    run(
        &mut book,
        Action::Billing(billing::Action::BillSubscription(BillSubscription {
            subscription_id,
            as_of,
        })),
    );
    let invoice_id = book.world.invoices.values().find(|row| row.record.total > 0).unwrap();
    let invoice_id = invoice_id.record.id.to_string();
    run(&mut book, create(Kind::Bookable, json!({"name": "Room", "capacity": 3})));
    let room = book.world.bookables.keys().next().unwrap().clone();
    let days = json!({"bookable_id": room, "start_date": "2027-01-02", "end_date": "2027-01-04",
        "quantity": 1});
    run(&mut book, create(Kind::Booking, days));
    let body = json!({"amount": 100, "provider_ref": "r"});
    run(
        &mut book,
        Action::Billing(billing::Action::RecordPayment(RecordPayment { invoice_id, body })),
    );
    run(&mut book, create(Kind::Feature, json!({"code": "f", "type": "limit"})));
    let rolling = json!({"code": "r", "type": "limit", "reset": "rolling", "rolling_days": 1});
    run(&mut book, create(Kind::Feature, rolling));
    let grants = json!([{"feature": "f", "grant": "limit", "limit": 4},
        {"feature": "r", "grant": "limit", "limit": 3}]);
    run(&mut book, create(Kind::Package, json!({"code": "p", "is_base": true, "grants": grants})));
    let scope = ScopeRef::workspace(workspace);
    let again = json!({"package": "p"});
    let boost = json!({"feature": "f", "kind": "enable", "duration": "permanent"});
    let place = json!({"feature": "f", "quantity": 3, "ttl_ms": 1_000_000});
    let used = |feature: &str| {
        let items = vec![members(json!({"feature": feature, "quantity": 5}))];
        Action::Entitlement(entitlement::Action::CheckAndRecord(CheckAndRecord {
            scope: scope.clone(),
            items,
            is_batch: false,
        }))
    };
    let assign = AssignPackage { scope: scope.clone(), body: members(again) };
    run(&mut book, Action::Entitlement(entitlement::Action::AssignPackage(assign.clone())));
    run(&mut book, Action::Entitlement(entitlement::Action::AssignPackage(assign)));
    // In a fixed window and in a rolling one, units of two boosts are burnt.
    let burnt = |feature: &str, amount: i64| {
        json!({"feature": feature, "kind": "add_limit", "amount": amount,
            "duration": "consumable"})
    };
    for boost in [boost, burnt("f", 1), burnt("f", 50), burnt("r", 1), burnt("r", 50)] {
        let (scope, body) = (scope.clone(), members(boost));
        let grant = GrantBoost { scope, body };
        run(&mut book, Action::Entitlement(entitlement::Action::GrantBoost(grant)));
    }
    run(&mut book, used("f"));
    run(&mut book, used("r"));
    for _ in 0..2 {
        let body = members(place.clone());
        run(
            &mut book,
            Action::Entitlement(entitlement::Action::PlaceHold(PlaceHold {
                scope: scope.clone(),
                body,
            })),
        );
    }
    let hold_id = book.world.holds.keys().next().unwrap().clone();
    let end = HoldEnd::Settle(members(json!({"quantity": 2})));
    run(
        &mut book,
        Action::Entitlement(entitlement::Action::EndHold(EndHold {
            scope: scope.clone(),
            hold_id,
            end,
        })),
    );
    let own = WorkspaceId::from_unchecked(book.world.workspaces.keys().next().unwrap());
    for action in [top_up(own.as_str(), 50), adjust(own.as_str(), -10)] {
        run(&mut book, action);
    }
    for amount in [5, 6, 7] {
        run(&mut book, reserve(own.as_str(), amount));
    }
    let reservations: Vec<String> = book.world.reservations.keys().cloned().collect();
    run(&mut book, post(&reservations[0], Some(3)));
    run(&mut book, void(&reservations[1]));
    run(&mut book, create(Kind::Product, crate::random::a_product(4, 0)));
    let product = book.world.products.keys().next().unwrap().clone();
    for name in ["Game", "Chat"] {
        let server = json!({"workspace_id": own, "product_id": product, "name": name,
            "panel_user": 7});
        run(&mut book, create(Kind::Server, server));
    }
    let server_id = book.world.servers.keys().next().unwrap().clone();
    for action in crate::random::call_of(&server_id) {
        run(&mut book, action);
    }
    for space in [None, Some(own)] {
        run(&mut book, acquire(space, "k"));
    }
    // Usage that has left its window no longer counts, and is not reported.
    book.now = crate::random::later(book.now, 3);
    run(&mut book, used("r"));
    book
}

/// Acquires a lock for a day.
pub fn acquire(space: Option<WorkspaceId>, name: &str) -> Action {
    let name = LockName::new(space, LockScope::Global, None, name).unwrap();
    let new = NewLock::new(86_400_000);
    let acquire = AcquireLock::new(name, &new, OwnerSecret::new(b"s"), "salt".to_owned()).unwrap();
    Action::Lock(lock::Action::AcquireLock(acquire))
}

/// Removes the constraints that keep the database from being corrupted like this.
fn disarm(db: &mut Db) {
    execute(
        db,
        "DROP INDEX invoices_by_number; DROP INDEX invoices_by_period; DROP INDEX assignments_by_base",
    );
    if db.is_sqlite() {
        return execute(db, "PRAGMA ignore_check_constraints = ON");
    }
    let checks = texts(
        db,
        "SELECT format('ALTER TABLE %s DROP CONSTRAINT %I', conrelid::regclass, conname) \
         AS found FROM pg_constraint WHERE contype = 'c' AND connamespace = 'public'::regnamespace",
    );
    checks.iter().for_each(|sql| execute(db, sql));
}

const PAID: &str = "(SELECT invoice_id FROM payments)";
const OTHER: &str = "(SELECT max(id) FROM invoices WHERE number IS NOT NULL AND amount_paid = 0)";

/// Each corruption, with the first words of the invariant it breaks.
fn corruptions() -> Vec<(String, &'static str)> {
    let state = "an object is what the last entry of its history says";
    let numbers = "invoice numbers have no gap";
    let mut all = vec![
        ("DELETE FROM events WHERE version = 1 AND resource_type = 'subscription'".to_owned(), "an object's history"),
        (format!("DELETE FROM events WHERE version = 1 AND resource_id = {PAID}"), "an object's history"),
        (format!("UPDATE events SET version = 7 WHERE version = 2 AND resource_id = {PAID}"), "an object's history"),
        (format!("UPDATE invoices SET total = total + 1, amount_due = amount_due + 1 WHERE id = {OTHER}"), "an invoice's total"),
        ("UPDATE payments SET amount = amount + 1".to_owned(), "an invoice's amount_paid"),
        ("UPDATE payments SET status = 'reversed', reversed_at = 1".to_owned(), "an invoice's amount_paid"),
        (format!("UPDATE payments SET invoice_id = {OTHER}"), "an invoice's amount_paid"),
        (format!("UPDATE invoices SET amount_due = 0 WHERE id = {OTHER}"), "an invoice's amount_due"),
        ("UPDATE sequences SET last = last + 1".to_owned(), numbers),
        (format!("UPDATE invoices SET number = NULL WHERE id = {OTHER}"), numbers),
        (format!("UPDATE invoices SET number = 'INV-000001' WHERE id IN ({OTHER}, {PAID})"), numbers),
        (format!("UPDATE invoices SET number = 'INV-000009' WHERE id = {OTHER}"), numbers),
        ("DELETE FROM sequences".to_owned(), numbers),
        (format!("UPDATE invoices SET status = 'void' WHERE id = {PAID}"), "a void invoice"),
        ("UPDATE invoices SET period_start = (SELECT min(period_start) FROM invoices) WHERE period_start \
          IS NOT NULL".to_owned(), "a subscription has at most one recurring invoice"),
        ("UPDATE booking_days SET reserved = 2".to_owned(), "a day's reserved quantity is the sum"),
        ("UPDATE bookings SET taken_until = '2027-01-04'".to_owned(), "a day's reserved quantity is the sum"),
        ("DELETE FROM booking_days".to_owned(), "a day that a booking takes"),
        ("UPDATE booking_days SET capacity = 0".to_owned(), "a day's reserved quantity is between"),
        ("UPDATE ledger_accounts SET available = available + 1".to_owned(), "an account has what its transfers"),
        ("UPDATE ledger_accounts SET reserved = reserved + 1, available = available - 1".to_owned(), "an account has reserved what"),
        ("UPDATE ledger_accounts SET version = version + 1".to_owned(), "an account's version is the number"),
        ("UPDATE transfers SET account_id = 'none' WHERE kind = 'void'".to_owned(), "a transfer belongs to an account"),
        ("UPDATE transfers SET amount = amount + 1 WHERE kind = 'reserve'".to_owned(), "a reserve has one reservation"),
        ("DELETE FROM transfers WHERE kind = 'reserve'".to_owned(), "a reservation was made by a reserve"),
        ("UPDATE transfers SET amount = amount + 1 WHERE kind = 'void'".to_owned(), "a resolved reservation has one transfer"),
        ("UPDATE transfers SET reservation_id = (SELECT min(id) FROM reservations WHERE status = 'pending') WHERE kind = 'void'".to_owned(), "no transfer resolves a pending"),
        ("UPDATE transfers SET reservation_id = 'trf_none' WHERE kind = 'void'".to_owned(), "a transfer that resolves a reservation names one"),
        ("UPDATE reservations SET workspace_id = 'wsp_none'".to_owned(), "a reservation belongs to the workspace"),
        ("UPDATE reservations SET created_at = created_at + 1".to_owned(), "a reservation was made by a reserve"),
        ("UPDATE transfers SET available = available + 1".to_owned(), "the last transfer of an account says"),
        ("UPDATE server_slots SET used = used + 1".to_owned(), "a slot's count"),
        ("DELETE FROM server_slots".to_owned(), "a server that counts"),
        ("UPDATE servers SET status = 'failed'".to_owned(), "a server is charged once"),
        ("UPDATE servers SET status = 'active'".to_owned(), "a server is charged once"),
        ("UPDATE reservations SET server_id = NULL".to_owned(), "a server is charged once"),
        ("UPDATE reservations SET server_id = 'srv_none' WHERE server_id IS NOT NULL".to_owned(), "a reservation of a server"),
        ("UPDATE servers SET next_check_at = NULL".to_owned(), "a server whose fate is open"),
        ("UPDATE servers SET remote_uuid = 'one'".to_owned(), "no two servers are the same one"),
        ("UPDATE servers SET due_at = due_at + 1".to_owned(), "a server is looked at when"),
        ("DELETE FROM server_entries WHERE seq = 2".to_owned(), "a timeline has no gap"),
        ("UPDATE locks SET ttl_ms = 86400001".to_owned(), "a lock's grant is for at most a day"),
        ("UPDATE locks SET workspace_id = 'wsp_none' WHERE workspace_id IS NOT NULL".to_owned(), "a lock's workspace exists"),
        ("UPDATE namespaces SET version = 2".to_owned(), state),
        ("DELETE FROM events WHERE resource_type = 'namespace'".to_owned(), state),
    ];
    let settled_period = "a subscription's settled period";
    for (sql, sentence) in [
        ("UPDATE invoices SET balance_applied = 1", "an invoice's balance_applied"),
        ("DELETE FROM subscription_terms", "a subscription has terms"),
        (
            "UPDATE subscription_terms SET seq = 2, previous_at = at",
            "the segments of a subscription's terms",
        ),
        (
            "INSERT INTO subscription_terms SELECT subscription_id, at, 2, at - 1, plan_id, quantity, \
             status, anchor_at, invoiced_until, invoiced_amount FROM subscription_terms",
            "each segment of a subscription's terms knows the one before it",
        ),
        ("UPDATE subscriptions SET last_term_at = last_term_at + 1", "a subscription has terms"),
        ("UPDATE subscriptions SET quantity_max = 7", "a subscription knows how many units"),
        ("UPDATE subscription_terms SET status = 'paused'", "a subscription's latest terms"),
        (
            "UPDATE subscription_terms SET at = at + 86400000000; \
             UPDATE subscriptions SET last_term_at = last_term_at + 86400000000",
            "what is charged for a subscription",
        ),
        ("UPDATE subscriptions SET settled_at = settled_at + 1", settled_period),
        ("UPDATE subscriptions SET settled_segment = 99", settled_period),
        ("UPDATE plans SET amount = amount + 1", "what is settled of a subscription"),
    ] {
        all.push((sql.to_owned(), sentence));
    }
    let used = "a counter's used";
    let settled = "a settled hold has one record";
    let burnt = "a rolling window burnt what its records";
    for (sql, sentence) in [
        ("UPDATE counters SET used = used + 1 WHERE pool = 'f'", used),
        ("UPDATE counters SET used = used + 1 WHERE pool = 'r'", used),
        ("UPDATE counters SET rolled_until = NULL", used),
        ("UPDATE usage_records SET reversed = 1 WHERE feature = 'f'", used),
        ("DELETE FROM usage_records", used),
        ("UPDATE counters SET held = 0", "a counter's held"),
        ("UPDATE usage_holds SET quantity = 4 WHERE status = 'active'", "a counter's held"),
        (
            "UPDATE usage_holds SET status = 'released', ended_at = 1 WHERE status = 'active'",
            "a counter's held",
        ),
        ("UPDATE counters SET rolling_burnt = rolling_burnt + 1 WHERE pool = 'f'", burnt),
        ("UPDATE counters SET rolling_burnt = rolling_burnt - 1 WHERE pool = 'r'", burnt),
        ("UPDATE usage_records SET burnt = 0 WHERE feature = 'r'", burnt),
        ("UPDATE counters SET expired_until = 9000000000000000 WHERE held > 0", "a counter's held"),
        ("UPDATE usage_holds SET settled_quantity = 3 WHERE status = 'settled'", settled),
        ("UPDATE usage_holds SET record_id = 'nothing' WHERE status = 'settled'", settled),
        ("UPDATE usage_records SET counter_id = 'nothing' WHERE quantity = 2", settled),
        ("UPDATE assignments SET status = 'suspended'", "a scope has at most one base"),
    ] {
        all.push((sql.to_owned(), sentence));
    }
    for (table, change) in [
        ("features", "name = 'other'"),
        ("packages", "grants = '[]'"),
        ("assignments", "cancel_at = 7"),
        ("boosts", "priority = 7"),
        ("plans", "name = 'other'"),
        ("workspaces", "email = 'a@b.c'"),
        ("namespaces", "metadata = '{\"a\":\"b\"}'"),
        ("subscriptions", "quantity = 9"),
        ("invoices", "notes = 'other'"),
        ("bookables", "name = 'other'"),
        ("bookings", "notes = 'other'"),
        ("products", "name = 'other'"),
        ("servers", "name = 'other'"),
    ] {
        all.push((format!("UPDATE {table} SET {change}"), state));
    }
    all
}

fn what_is_right_is_not_reported_and_what_is_planted_is(database: &Database) {
    let mut db = database.lane();
    furnish(&mut db);
    assert_eq!(db.verify().unwrap(), []);
    disarm(&mut db);
    for (sql, sentence) in corruptions() {
        db.begin().unwrap();
        execute(&mut db, &sql);
        let broken = db.broken().unwrap();
        db.rollback().unwrap();
        let is_found = broken.iter().any(|broken| broken.invariant.starts_with(sentence));
        assert!(is_found, "{sql}: {broken:?}");
        assert!(broken.iter().all(|broken| !broken.id.is_empty()));
    }
    assert_eq!(db.verify().unwrap(), [], "all of it was taken back");
}

fn more_rows_than_one_page_are_all_looked_at(database: &Database) {
    let mut db = database.lane();
    let mut book = Book::default();
    let batch: Vec<_> = (0..1_050)
        .map(|_| command(book.fresh_seed(), create(Kind::Workspace, json!({"name": "n"}))))
        .collect();
    carry_out(&mut db, &batch, book.now);
    assert_eq!(db.verify().unwrap(), []);
    execute(
        &mut db,
        "UPDATE workspaces SET name = 'other' WHERE id = (SELECT max(id) FROM workspaces)",
    );
    assert_eq!(db.verify().unwrap().len(), 1);
}

both_databases!(
    what_is_right_is_not_reported_and_what_is_planted_is,
    more_rows_than_one_page_are_all_looked_at,
);
