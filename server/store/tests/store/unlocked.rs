//! A batch that locks nothing writes everything or nothing.

use crate::{
    book::Book,
    commands::{command, key, patch, post, reserve, top_up},
    database::{Backend, Database, execute, texts},
    lane::{carry_out, save},
    world::decide_one,
};
use diesel::connection::{Connection, InstrumentationEvent};
use ifmatch_domain::{
    Command, Need, Outcome, State,
    core::{LockClass, Unlocked},
    ledger, needs,
};
use ifmatch_store::{Db, StoreError};
use ifmatch_types::Kind;
use serde_json::json;
use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

/// A database with subscriptions, and their ids.
fn furnished(backend: Backend) -> (Database, Book, Vec<String>) {
    let (database, mut book) = (Database::create(backend), Book::default());
    let (workspace, plan) = (book.workspace(), book.plan("p", json!({})));
    let ids = (0..3).map(|_| book.subscription(&workspace, &plan, json!({}))).collect();
    save(&mut database.lane(), |state| {
        let world = &book.world;
        let billing = state.billing_mut();
        world
            .workspaces
            .iter()
            .for_each(|(id, row)| billing.workspaces.put(id.clone(), row.clone()));
        world.plans.iter().for_each(|(id, row)| billing.plans.put(id.clone(), row.clone()));
        world
            .subscriptions
            .iter()
            .for_each(|(id, row)| billing.subscriptions.put(id.clone(), row.clone()));
        crate::loads::copy_terms(&book, state);
        state.events.extend(world.events.iter().cloned());
    })
    .unwrap();
    (database, book, ids)
}

/// Reads subscriptions without locks, decides commands, lets another writer in, and saves.
fn save_after(
    db: &mut Db,
    book: &Book,
    (ids, commands): (&[String], &[Command]),
    meanwhile: impl FnOnce(&mut State),
) -> Result<bool, StoreError> {
    let mut state = State::under(Default::default(), book.now);
    let ids: BTreeSet<String> = ids.iter().cloned().collect();
    let stamps = db.read_unlocked(LockClass::Subscription, &ids, &mut state)?;
    let stamps = stamps.expect("PostgreSQL can read without locks");
    let wanted: BTreeSet<Need> = needs(commands, &state).into_iter().collect();
    db.peek(wanted, &mut state)?;
    for command in commands {
        decide_one(&mut state, command, book.now).unwrap();
    }
    meanwhile(&mut state);
    db.save_unlocked(&state, book.now, stamps)
}

fn more_units(book: &mut Book, ids: &[String]) -> Vec<Command> {
    let change = |id: &String| {
        let version = book.world.subscriptions[id].record.subscription.version;
        let patch = patch(Kind::Subscription, id, version, json!({"quantity": 7}));
        command(book.fresh_seed(), patch)
    };
    let changes: Vec<_> = ids.iter().map(change).collect();
    changes
}

#[test]
fn an_unlocked_batch_takes_two_statements() {
    let (database, mut book, ids) = furnished(Backend::Postgres);
    let mut db = database.lane();
    let commands = more_units(&mut book, &ids);
    // The first batch also asks for the synchronous standbys.
    assert!(save_after(&mut db, &book, (&ids[..1], &commands[..1]), |_| ()).unwrap());
    let count = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&count);
    let Db::Postgres(postgres) = &mut db else { panic!("statements are PostgreSQL's") };
    postgres.connection().set_instrumentation(move |event: InstrumentationEvent<'_>| {
        if matches!(event, InstrumentationEvent::StartQuery { .. }) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    });
    assert!(save_after(&mut db, &book, (&ids[1..], &commands[1..]), |_| ()).unwrap());
    assert_eq!(count.load(Ordering::Relaxed), 2);
    assert_eq!(quantities(&mut db), ["7", "7", "7"]);
    assert_eq!(db.verify().unwrap(), []);
}

fn quantities(db: &mut Db) -> Vec<String> {
    texts(db, "SELECT quantity::text AS found FROM subscriptions ORDER BY id")
}

#[test]
fn an_unlocked_batch_writes_nothing_if_a_row_changed_since_it_was_read() {
    let (database, mut book, ids) = furnished(Backend::Postgres);
    let (mut db, mut other) = (database.lane(), database.lane());
    let commands = more_units(&mut book, &ids);
    let last = &ids[2];
    let mut repeat = commands.clone();
    repeat[1].idempotency = Some(key("k", "print"));
    let answer = "INSERT INTO answers VALUES ('key_alice', 'k', 'print', 200, '[]', '', 0)";
    let event = "UPDATE events SET version = 2 WHERE resource_id = ";
    for (commands, sql) in [
        (&commands, "UPDATE subscriptions SET version = version + 1".to_owned()),
        (&commands, format!("UPDATE subscriptions SET version = 2 WHERE id = '{last}'")),
        // A change that the version does not tell.
        (&commands, format!("UPDATE subscriptions SET had_draft = true WHERE id = '{last}'")),
        (&commands, format!("{event}'{last}'")),
        (&repeat, answer.to_owned()),
    ] {
        let saved = save_after(&mut db, &book, (&ids, commands), |_| execute(&mut other, &sql));
        let error = saved.unwrap_err();
        assert!(matches!(error, StoreError::Raced(_)), "{sql}: {error:?}");
        assert_eq!(error.is_repeat(), sql == answer, "{sql}");
        assert!(error.spares_connection());
        assert_eq!(quantities(&mut db), ["1", "1", "1"], "{sql}");
        let back = "UPDATE subscriptions SET version = 1, had_draft = false";
        execute(&mut other, back);
        execute(&mut other, "UPDATE events SET version = 1");
        execute(&mut other, "DELETE FROM answers");
    }
    // No other writer was in the way of this one.
    assert!(save_after(&mut db, &book, (&ids, &commands), |_| ()).unwrap());
    assert_eq!(quantities(&mut db), ["7", "7", "7"]);
}

/// Readers of events wait with a save, so it must not wait for a row, nor for one row after the other.
#[test]
fn rows_that_other_writers_are_changing_are_hardly_waited_for() {
    let (database, mut book, ids) = furnished(Backend::Postgres);
    let (mut db, mut other) = (database.lane(), database.lane());
    let commands = more_units(&mut book, &ids);
    let mut began_at = Instant::now();
    let saved = save_after(&mut db, &book, (&ids, &commands), |_| {
        other.begin().unwrap();
        execute(&mut other, "UPDATE subscriptions SET had_draft = true");
        began_at = Instant::now();
    });
    assert!(matches!(saved.unwrap_err(), StoreError::Raced(_)));
    assert!(began_at.elapsed() < Duration::from_millis(500), "{:?}", began_at.elapsed());
    other.rollback().unwrap();
    assert!(save_after(&mut db, &book, (&ids, &commands), |_| ()).unwrap());
}

#[test]
fn a_save_that_arrives_after_its_rows_were_outdated_writes_nothing() {
    let (database, mut book, ids) = furnished(Backend::Postgres);
    let (mut db, mut other) = (database.lane(), database.lane());
    let commands = more_units(&mut book, &ids);
    let saved = save_after(&mut db, &book, (&ids, &commands), |_| {
        other.begin().unwrap();
        other.outdate(LockClass::Subscription, &[ids[1].clone()].into()).unwrap();
        other.commit().unwrap();
    });
    assert!(matches!(saved.unwrap_err(), StoreError::Raced(_)));
    assert_eq!(quantities(&mut other), ["1", "1", "1"]);
    assert_eq!(other.verify().unwrap(), []);
}

#[test]
fn what_must_be_locked_is_not_read_without_locks() {
    let (database, book, ids) = furnished(Backend::Postgres);
    let plan = book.world.plans.keys().next().unwrap().clone();
    let read = |database: &Database, class, id: &str| {
        let mut state = State::default();
        let read = database.lane().read_unlocked(class, &[id.to_owned()].into(), &mut state);
        read.unwrap().is_some()
    };
    assert!(read(&database, LockClass::Subscription, &ids[0]));
    assert!(read(&database, LockClass::LedgerAccount, "wsp_1/credits"));
    assert!(!read(&database, LockClass::Plan, &plan), "changes of plans wait at a turnstile");
    assert!(!read(&database, LockClass::NamedLock, "global/key"));
    let (database, _, ids) = furnished(Backend::Sqlite);
    assert!(!read(&database, LockClass::Subscription, &ids[0]), "SQLite has one writer");
}

#[test]
fn a_batch_that_inserts_objects_does_not_fit_into_one_statement() {
    let (database, mut book, ids) = furnished(Backend::Postgres);
    let mut db = database.lane();
    let mut state = State::default();
    let ids = ids.into_iter().collect();
    let stamps = db.read_unlocked(LockClass::Subscription, &ids, &mut state).unwrap().unwrap();
    let id = book.workspace();
    let row = book.world.workspaces[&id].clone();
    state.billing_mut().workspaces.put(id, row);
    assert!(!db.save_unlocked(&state, book.now, stamps).unwrap());
    assert_eq!(texts(&mut db, "SELECT id AS found FROM workspaces").len(), 1);
}

/// An account of 100 credits, of which one reservation holds 10.
struct Credits {
    database: Database,
    book: Book,
    workspace: String,
    reservation: String,
}

fn credits() -> Credits {
    let (database, mut book) = (Database::create(Backend::Postgres), Book::default());
    let workspace = book.workspace();
    let mut db = database.lane();
    let row = book.world.workspaces[&workspace].clone();
    save(&mut db, |state| {
        state.billing_mut().workspaces.put(workspace.clone(), row);
        state.events.extend(book.world.events.iter().cloned());
    })
    .unwrap();
    let actions = [top_up(&workspace, 100), reserve(&workspace, 10)];
    let commands = actions.map(|action| command(book.fresh_seed(), action));
    let decided = carry_out(&mut db, &commands, book.now);
    let Ok(Outcome::Ledger(ledger::Outcome::Reserved(made))) = &decided[1] else {
        panic!("nothing was reserved: {decided:?}")
    };
    let reservation = made.transfer.id.to_string();
    Credits { database, book, workspace, reservation }
}

impl Credits {
    /// Reserves 20 credits and posts the reservation without locks. `meanwhile` runs after all was
    /// read.
    fn spend(&mut self, db: &mut Db, meanwhile: impl FnOnce()) -> Result<bool, StoreError> {
        let actions = [reserve(&self.workspace, 20), post(&self.reservation, None)];
        let commands = actions.map(|action| command(self.book.fresh_seed(), action));
        let mut state = State::under(Default::default(), self.book.now);
        let wanted = |state: &State, role| -> BTreeSet<Need> {
            let wanted = needs(&commands, state).into_iter();
            wanted.filter(|need| need.unlocked() == role).collect()
        };
        db.peek(wanted(&state, Unlocked::Constant), &mut state)?;
        let rows = wanted(&state, Unlocked::Row);
        let ids: BTreeSet<String> =
            rows.iter().filter_map(Need::lock).map(|(_, id)| id.to_owned()).collect();
        assert_eq!(ids.len(), 1, "both depend on the account");
        let stamps = db.read_unlocked(LockClass::LedgerAccount, &ids, &mut state)?.unwrap();
        db.peek(wanted(&state, Unlocked::Dependent), &mut state)?;
        assert_eq!(needs(&commands, &state), []);
        for command in &commands {
            decide_one(&mut state, command, self.book.now).unwrap();
        }
        meanwhile();
        db.save_unlocked(&state, self.book.now, stamps)
    }
}

fn balances(db: &mut Db) -> Vec<String> {
    texts(db, "SELECT available || ' and ' || reserved AS found FROM ledger_accounts")
}

#[test]
fn credits_are_spent_without_locks_only_if_nobody_else_moved_the_account() {
    let mut credits = credits();
    let (mut db, mut other) = (credits.database.lane(), credits.database.lane());
    for sql in [
        "UPDATE ledger_accounts SET version = version + 1",
        "UPDATE ledger_accounts SET version = version",
        "UPDATE reservations SET version = 2",
    ] {
        let saved = credits.spend(&mut db, || execute(&mut other, sql));
        assert!(matches!(saved.unwrap_err(), StoreError::Raced(_)), "{sql}");
        assert_eq!(balances(&mut db), ["90 and 10"], "{sql}");
        execute(&mut other, "UPDATE ledger_accounts SET version = 2");
        execute(&mut other, "UPDATE reservations SET version = 1");
    }
    let account = format!("{}/credits", credits.workspace);
    let saved = credits.spend(&mut db, || {
        other.begin().unwrap();
        other.outdate(LockClass::LedgerAccount, &[account].into()).unwrap();
        other.commit().unwrap();
    });
    assert!(matches!(saved.unwrap_err(), StoreError::Raced(_)));
    assert!(credits.spend(&mut db, || ()).unwrap());
    assert_eq!(balances(&mut db), ["70 and 20"]);
    assert_eq!(db.verify().unwrap(), []);
}

#[test]
fn a_row_that_is_neither_read_without_locks_nor_depends_on_one_is_not_saved() {
    let credits = credits();
    let mut db = credits.database.lane();
    let mut state = State::under(Default::default(), credits.book.now);
    let account = format!("{}/credits", credits.workspace);
    let stamps =
        db.read_unlocked(LockClass::LedgerAccount, &[account].into(), &mut state).unwrap().unwrap();
    let mut row = credits.book.world.workspaces[&credits.workspace].clone();
    let workspaces = &mut state.billing_mut().workspaces;
    workspaces.load(credits.workspace.clone(), Some(row.clone()));
    row.record.name = "Another".to_owned();
    workspaces.put(credits.workspace.clone(), row);
    let saved = db.save_unlocked(&state, credits.book.now, stamps);
    assert!(matches!(saved.unwrap_err(), StoreError::Raced(_)));
    assert_eq!(texts(&mut db, "SELECT name AS found FROM workspaces"), ["Acme"]);
}
