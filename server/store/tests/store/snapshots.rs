//! A read of several statements sees one moment, even if another writer commits in between.

use crate::{
    commands::{command, create, members, patch},
    database::{Database, both_databases, execute},
    lane::carry_out,
};
use diesel::{Connection, connection::InstrumentationEvent};
use ifmatch_domain::{
    Action, Outcome, core,
    entitlement::{self, AssignPackage, CheckAndRecord, GrantBoost, ScopeRef},
};
use ifmatch_store::{Db, Use, on_backend};
use ifmatch_types::{Date, Kind};
use serde_json::{Value, json};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// Carries out one action. Returns the id of the object that it made, if it made one.
#[track_caller]
fn run(db: &mut Db, seed: u128, action: Action) -> String {
    let now = db.clock().unwrap();
    match carry_out(db, &[command(seed << 32, action)], now).remove(0).unwrap() {
        Outcome::Core(core::Outcome::Object(object)) => object.id,
        _ => String::new(),
    }
}

/// A reader. Another connection commits a change before its first statement with this text.
///
/// The flag tells whether that has happened.
fn reader(
    database: &Database,
    text: &'static str,
    change: impl FnOnce(&mut Db) + Send + 'static,
) -> (Db, Arc<AtomicBool>) {
    let (mut reader, mut writer) = (database.connect(Use::Read), database.lane());
    let has_changed = Arc::new(AtomicBool::new(false));
    let (mut change, done) = (Some(change), Arc::clone(&has_changed));
    let interfere = move |event: InstrumentationEvent<'_>| {
        if let InstrumentationEvent::StartQuery { query, .. } = event
            && query.to_string().contains(text)
            && let Some(change) = change.take()
        {
            change(&mut writer);
            done.store(true, Ordering::Relaxed);
        }
    };
    on_backend!(&mut reader, c => c.set_instrumentation(interfere));
    (reader, has_changed)
}

/// A workspace that has used up its 100 units and a boost of 50.
fn all_is_used(db: &mut Db) -> ScopeRef {
    let workspace = run(db, 1, create(Kind::Workspace, json!({"name": "A", "currency": "USD"})));
    let scope = ScopeRef::workspace(workspace);
    run(db, 2, create(Kind::Feature, json!({"code": "f", "type": "limit"})));
    let grants = json!([{"feature": "f", "grant": "limit", "limit": 100}]);
    run(db, 3, create(Kind::Package, json!({"code": "p", "is_base": true, "grants": grants})));
    let body = members(json!({"package": "p"}));
    run(
        db,
        4,
        Action::Entitlement(entitlement::Action::AssignPackage(AssignPackage {
            scope: scope.clone(),
            body,
        })),
    );
    let boost = json!({"feature": "f", "kind": "add_limit", "amount": 50, "duration": "permanent"});
    run(
        db,
        5,
        Action::Entitlement(entitlement::Action::GrantBoost(GrantBoost {
            scope: scope.clone(),
            body: members(boost),
        })),
    );
    let items = vec![members(json!({"feature": "f", "quantity": 150}))];
    let used = CheckAndRecord { scope: scope.clone(), items, is_batch: false };
    run(db, 6, Action::Entitlement(entitlement::Action::CheckAndRecord(used)));
    scope
}

/// One commit that ends the boost and takes back the units that were used of it.
fn end_boost(db: &mut Db) {
    let change = "UPDATE boosts SET is_over = true; UPDATE counters SET used = 100";
    execute(db, &format!("BEGIN; {change}; COMMIT"));
}

fn advice_never_adds_a_boost_to_the_counter_of_another_moment(database: &Database) {
    let scope = all_is_used(&mut database.lane());
    let (mut db, has_changed) = reader(database, "FROM counters", end_boost);
    let one = db.entitlement(&scope, "f").unwrap().unwrap();
    assert!(has_changed.load(Ordering::Relaxed));
    assert_eq!((one.allowed, one.meter.remaining), (false, Some(0)), "{one:?}");
    assert_eq!((one.meter.used, one.meter.limit), (150, Some(150)), "what it was at the beginning");
    let later = db.entitlement(&scope, "f").unwrap().unwrap();
    assert_eq!((later.meter.used, later.meter.limit), (100, Some(100)), "nothing of it is kept");
}

fn a_list_of_entitlements_is_of_one_moment(database: &Database) {
    let scope = all_is_used(&mut database.lane());
    let (mut db, has_changed) = reader(database, "FROM counters", end_boost);
    let all = db.entitlements(&scope, "", 10).unwrap().unwrap();
    assert!(has_changed.load(Ordering::Relaxed));
    assert_eq!((all[0].allowed, all[0].meter.remaining), (false, Some(0)), "{all:?}");
}

fn what_is_free_is_computed_from_capacity_and_days_of_one_moment(database: &Database) {
    let mut db = database.lane();
    let room = run(&mut db, 1, create(Kind::Bookable, json!({"name": "Room", "capacity": 5})));
    let days: Value = json!({"bookable_id": room, "start_date": "2030-01-01",
        "end_date": "2030-01-02", "quantity": 4, "status": "confirmed"});
    run(&mut db, 2, create(Kind::Booking, days));
    let [first, last]: [Date; 2] = ["2030-01-01", "2030-01-03"].map(|day| day.parse().unwrap());
    let free = |db: &mut Db| {
        let available = db.availability(&room, first, last).unwrap().unwrap();
        let days = available.days.iter();
        days.map(|day| (day.capacity, day.reserved, day.available)).collect::<Vec<_>>()
    };
    let before = free(&mut database.connect(Use::Read));
    // One commit takes three units away from the room and from its booking.
    let shrink = "UPDATE bookables SET capacity = 2; UPDATE bookings SET quantity = 1; \
         UPDATE booking_days SET reserved = 1, capacity = 2";
    let shrink = format!("BEGIN; {shrink}; COMMIT");
    let (mut reading, has_changed) =
        reader(database, "booking_days", move |db| execute(db, &shrink));
    let seen = free(&mut reading);
    assert!(has_changed.load(Ordering::Relaxed));
    let after = free(&mut database.connect(Use::Read));
    assert_eq!(before, [(5, 4, 1), (5, 4, 1), (5, 0, 5)]);
    assert_eq!(after, [(2, 1, 1), (2, 1, 1), (2, 0, 2)]);
    assert!(seen == before || seen == after, "{seen:?}");
    run(&mut db, 3, patch(Kind::Bookable, &room, 1, json!({"status": "archived"})));
    assert_eq!(free(&mut reading).len(), 3, "what is archived is there");
    assert_eq!(reading.availability("bkb_nothing", first, last).unwrap(), None);
    execute(&mut db, "UPDATE bookables SET deleted_at = 1, deleted_by = 'x'");
    assert_eq!(reading.availability(&room, first, last).unwrap(), None);
}

fn a_failed_read_leaves_no_snapshot_behind(database: &Database) {
    let mut db = database.connect(Use::Read);
    let failed: Result<(), _> = db.in_one_snapshot(|db| {
        db.clock()?;
        Err(ifmatch_store::StoreError::Unforeseen("as planned".into()))
    });
    assert_eq!(failed.unwrap_err().to_string(), "as planned");
    assert_eq!(db.in_one_snapshot(Db::api_keys).unwrap(), []);
}

fn verifying_sees_no_half_of_a_commit(database: &Database) {
    let mut db = database.lane();
    let id = run(&mut db, 1, create(Kind::Workspace, json!({"name": "A", "currency": "USD"})));
    let rename = move |db: &mut Db| {
        run(db, 2, patch(Kind::Workspace, &id, 1, json!({"name": "B"})));
    };
    // The change is committed between the read of the object and that of its last history entry.
    let (mut db, has_changed) = reader(database, "FROM events WHERE resource_id = ", rename);
    assert_eq!(db.verify().unwrap(), []);
    assert!(has_changed.load(Ordering::Relaxed));
}

fn a_deleted_scope_has_no_entitlements_any_more(database: &Database) {
    let mut db = database.lane();
    let scope = all_is_used(&mut db);
    let delete =
        |db: &mut Db| execute(db, "UPDATE workspaces SET deleted_at = 1, deleted_by = 'x'");
    // An object that is deleted after the snapshot began is still seen in full.
    let (mut reading, has_changed) = reader(database, "FROM counters", delete);
    let seen = reading.entitlement(&scope, "f").unwrap().unwrap();
    assert!(has_changed.load(Ordering::Relaxed));
    assert_eq!((seen.meter.used, seen.meter.limit), (150, Some(150)));
    assert_eq!(reading.entitlement(&scope, "f").unwrap(), None);
    assert_eq!(reading.entitlements(&scope, "", 10).unwrap(), None);
    let nowhere = ScopeRef::workspace("wsp_nothing".to_owned());
    assert_eq!(reading.entitlement(&nowhere, "f").unwrap(), None);
    assert_eq!(reading.entitlement(&scope, "g").unwrap(), None);
}

both_databases! {
    a_deleted_scope_has_no_entitlements_any_more,
    advice_never_adds_a_boost_to_the_counter_of_another_moment,
    a_list_of_entitlements_is_of_one_moment,
    what_is_free_is_computed_from_capacity_and_days_of_one_moment,
    a_failed_read_leaves_no_snapshot_behind,
    verifying_sees_no_half_of_a_commit,
}
