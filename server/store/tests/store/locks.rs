//! References share rows, changes have rows alone, and neither waits for ever.

use crate::{
    book::Book,
    database::{Backend, Database, execute},
    errors::until_waiting,
    lane::save,
};
use ifmatch_domain::{Need, State, core};
use ifmatch_store::{Db, Use};
use ifmatch_types::Kind;
use serde_json::json;
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
};

/// A database with some plans and workspaces, and their ids.
fn furnished() -> (Database, Vec<String>, Vec<String>) {
    let database = Database::create(Backend::Postgres);
    let mut book = Book::default();
    for code in ["a", "b", "c"] {
        book.plan(code, json!({}));
        book.workspace();
    }
    save(&mut database.lane(), |state| {
        let world = &book.world;
        world
            .workspaces
            .iter()
            .for_each(|(id, row)| state.billing_mut().workspaces.put(id.clone(), row.clone()));
        world
            .plans
            .iter()
            .for_each(|(id, row)| state.billing_mut().plans.put(id.clone(), row.clone()));
    })
    .unwrap();
    let ids = |ids: BTreeSet<&String>| ids.into_iter().cloned().collect::<Vec<String>>();
    let plans = ids(book.world.plans.keys().collect());
    let workspaces = ids(book.world.workspaces.keys().collect());
    (database, plans, workspaces)
}

fn begin(database: &Database, needs: Vec<Need>) -> Db {
    let mut db = database.lane();
    db.begin().unwrap();
    db.load(needs, &mut State::default()).unwrap();
    db
}

/// Takes locks in a thread of its own, notes its name when it has them, and commits.
fn in_the_background(
    database: &Database,
    name: &'static str,
    needs: Vec<Need>,
    order: &Arc<Mutex<Vec<&'static str>>>,
) -> JoinHandle<State> {
    let mut db = database.lane();
    let order = Arc::clone(order);
    thread::spawn(move || {
        db.begin().unwrap();
        let mut state = State::default();
        db.load(needs, &mut state).unwrap();
        order.lock().unwrap().push(name);
        db.commit().unwrap();
        state
    })
}

#[test]
fn references_share_a_row_and_a_change_waits_for_them() {
    let (database, plans, workspaces) = furnished();
    for (kind, id) in [(Kind::Plan, &plans[0]), (Kind::Workspace, &workspaces[0])] {
        let refer = || vec![Need::Core(core::Need::Reference(kind, id.clone()))];
        let mut one = begin(&database, refer());
        let mut two = begin(&database, refer());
        let order = Arc::default();
        let change = in_the_background(
            &database,
            "change",
            vec![Need::Core(core::Need::Object(kind, id.clone()))],
            &order,
        );
        until_waiting(&mut database.connect(Use::Read), 1);
        assert_eq!(order.lock().unwrap().len(), 0);
        one.commit().unwrap();
        two.commit().unwrap();
        change.join().unwrap();
    }
}

#[test]
fn a_reference_waits_for_a_change() {
    let (database, plans, _) = furnished();
    let mut change =
        begin(&database, vec![Need::Core(core::Need::Object(Kind::Plan, plans[0].clone()))]);
    let order = Arc::default();
    let refer = vec![Need::Core(core::Need::Reference(Kind::Plan, plans[0].clone()))];
    let refer = in_the_background(&database, "reference", refer, &order);
    until_waiting(&mut database.connect(Use::Read), 1);
    // Both see the row as the change before them left it.
    let again = vec![Need::Core(core::Need::Object(Kind::Plan, plans[0].clone()))];
    let again = in_the_background(&database, "change", again, &order);
    until_waiting(&mut database.connect(Use::Read), 2);
    execute(&mut change, "UPDATE plans SET version = version + 1");
    change.commit().unwrap();
    for waited in [refer, again] {
        let state = waited.join().unwrap();
        assert_eq!(state.billing().plans.get(&plans[0]).map(|row| row.record.version), Some(2));
    }
}

#[test]
fn a_change_that_waits_goes_before_references_that_come_later() {
    let (database, plans, _) = furnished();
    let mut watcher = database.connect(Use::Read);
    let refer = || vec![Need::Core(core::Need::Reference(Kind::Plan, plans[0].clone()))];
    let mut first = begin(&database, refer());
    let order = Arc::default();
    let change = vec![Need::Core(core::Need::Object(Kind::Plan, plans[0].clone()))];
    let change = in_the_background(&database, "change", change, &order);
    until_waiting(&mut watcher, 1);
    let later = in_the_background(&database, "later", refer(), &order);
    until_waiting(&mut watcher, 2);
    first.commit().unwrap();
    change.join().unwrap();
    later.join().unwrap();
    assert_eq!(*order.lock().unwrap(), ["change", "later"]);
}

#[test]
fn a_row_that_is_referred_to_and_changed_is_locked_once_to_be_changed() {
    let (database, plans, workspaces) = furnished();
    let mut db = database.lane();
    db.begin().unwrap();
    let mut state = State::default();
    let needs = [(Kind::Plan, &plans), (Kind::Workspace, &workspaces)].into_iter().flat_map(
        |(kind, ids)| {
            [
                Need::Core(core::Need::Reference(kind, ids[0].clone())),
                Need::Core(core::Need::Object(kind, ids[0].clone())),
                Need::Core(core::Need::Reference(kind, ids[1].clone())),
                Need::Core(core::Need::Object(kind, ids[2].clone())),
            ]
        },
    );
    db.load(needs, &mut state).unwrap();
    for (kind, ids) in [(Kind::Plan, &plans), (Kind::Workspace, &workspaces)] {
        let shared: Vec<bool> = ids.iter().map(|id| state.is_shared(kind, id)).collect();
        assert_eq!(shared[..3], [false, true, false]);
    }
    assert!(plans.iter().all(|id| state.billing().plans.get(id).is_some()));
    assert!(workspaces.iter().all(|id| state.billing().workspaces.get(id).is_some()));
    // Other sessions can share rows that are only referred to, and no other rows.
    let order = Arc::default();
    for (name, kind, id) in
        [("plan", Kind::Plan, &plans[1]), ("workspace", Kind::Workspace, &workspaces[1])]
    {
        let refer = vec![Need::Core(core::Need::Reference(kind, id.clone()))];
        in_the_background(&database, name, refer, &order).join().unwrap();
    }
    let refer = vec![Need::Core(core::Need::Reference(Kind::Plan, plans[0].clone()))];
    let waits = in_the_background(&database, "waits", refer, &order);
    until_waiting(&mut database.connect(Use::Read), 1);
    assert_eq!(*order.lock().unwrap(), ["plan", "workspace"]);
    db.commit().unwrap();
    waits.join().unwrap();
}

#[test]
fn a_look_locks_nothing() {
    let (database, plans, _) = furnished();
    let mut change =
        begin(&database, vec![Need::Core(core::Need::Object(Kind::Plan, plans[0].clone()))]);
    let mut state = State::default();
    let look = [Need::Core(core::Need::Reference(Kind::Plan, plans[0].clone()))];
    database.lane().peek(look, &mut state).unwrap();
    assert!(state.billing().plans.get(&plans[0]).is_some());
    change.rollback().unwrap();
}
