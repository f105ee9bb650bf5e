//! A batch's lookups take as many statements for a hundred keys as for one.

use crate::{
    book::Book,
    database::{Backend, Database},
    lane::{knowing_subscriptions, save},
};
use diesel::connection::{Connection, InstrumentationEvent};
use ifmatch_domain::{
    Need, State, access, billing, booking, core, entitlement, ledger, lock, provisioning,
};
use ifmatch_store::Db;
use ifmatch_types::{Kind, PlanId, Timestamp};
use serde_json::json;
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// Number of statements that PostgreSQL is sent for these needs.
fn statements(db: &mut Db, needs: Vec<Need>) -> (usize, State) {
    let count = Arc::new(AtomicUsize::new(0));
    let mut state = knowing_subscriptions((0..9).map(|n| format!("id_{n}")));
    state.clock = Timestamp::from_micros(0);
    let Db::Postgres(postgres) = db else { panic!("round trips are PostgreSQL's") };
    let connection = postgres.connection();
    let counter = Arc::clone(&count);
    connection.set_instrumentation(move |event: InstrumentationEvent<'_>| {
        if matches!(event, InstrumentationEvent::StartQuery { .. }) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    });
    db.load(needs, &mut state).unwrap();
    let Db::Postgres(postgres) = db else { panic!("round trips are PostgreSQL's") };
    let connection = postgres.connection();
    connection.set_instrumentation(|_: InstrumentationEvent<'_>| {});
    (count.load(Ordering::Relaxed), state)
}

type MakeNeed = fn(String) -> Need;

#[test]
fn every_look_up_is_one_statement_for_the_whole_batch() {
    let database = Database::create(Backend::Postgres);
    let mut db = database.lane();
    const NOW: fn() -> Timestamp = || Timestamp::from_micros(0).unwrap();
    let looks: [(&str, MakeNeed); 39] = [
        ("plans", |id| Need::Core(core::Need::Object(Kind::Plan, id))),
        ("workspaces", |id| Need::Core(core::Need::Object(Kind::Workspace, id))),
        ("shared plans", |id| Need::Core(core::Need::Reference(Kind::Plan, id))),
        ("shared workspaces", |id| Need::Core(core::Need::Reference(Kind::Workspace, id))),
        ("plan codes", |key| Need::Billing(billing::Need::PlanCode(key))),
        ("plan terms", |id| Need::Billing(billing::Need::PlanTerms(PlanId::from_unchecked(id)))),
        ("histories", |id| Need::Core(core::Need::History(id, 1))),
        ("payments", |key| Need::Billing(billing::Need::Payments(key))),
        ("payment references", |key| Need::Billing(billing::Need::PaymentRef(key))),
        ("terms", |id| Need::Billing(billing::Need::Terms { subscription_id: id, whole: false })),
        ("all terms", |id| {
            Need::Billing(billing::Need::Terms { subscription_id: id, whole: true })
        }),
        ("charges", |id| {
            Need::Billing(billing::Need::Charges { subscription_id: id, whole: false })
        }),
        ("all charges", |id| {
            Need::Billing(billing::Need::Charges { subscription_id: id, whole: true })
        }),
        ("balances", |id| Need::Ledger(ledger::Need::Balances(id))),
        ("users of workspaces", |id| Need::Core(core::Need::InUse(Kind::Workspace, id))),
        ("users of subscriptions", |id| Need::Core(core::Need::InUse(Kind::Subscription, id))),
        ("users of packages", |id| Need::Core(core::Need::InUse(Kind::Package, id))),
        ("accounts", |id| Need::Ledger(ledger::Need::Account(id))),
        ("accounts of reservations", |id| Need::Ledger(ledger::Need::AccountOf(id))),
        ("reservations", |id| Need::Ledger(ledger::Need::Reservation(id))),
        ("named locks", |id| Need::Lock(lock::Need::Lock(id))),
        ("API keys", |key| Need::Access(access::Need::ApiKey(key))),
        ("keys by name", |name| Need::Access(access::Need::KeysNamed(name))),
        ("answers", |id| Need::Core(core::Need::Answer(id, "key".to_owned()))),
        ("owners of namespaces", |id| Need::Core(core::Need::Owner(Kind::Namespace, id))),
        ("feature codes", |key| Need::Entitlement(entitlement::Need::FeatureCode(key))),
        ("package codes", |key| Need::Entitlement(entitlement::Need::PackageCode(key))),
        ("external services", |key| Need::Entitlement(entitlement::Need::ExternalService(key))),
        ("add-ons", |key| Need::Entitlement(entitlement::Need::Addon(key))),
        ("counters", |key| Need::Entitlement(entitlement::Need::Counter(key))),
        ("rolled off", |id| Need::Entitlement(entitlement::Need::RolledOff(id, None, NOW()))),
        ("due holds", |id| Need::Entitlement(entitlement::Need::DueHolds(id, None, NOW()))),
        ("burnt boosts", |id| Need::Entitlement(entitlement::Need::BurntBoost(id))),
        ("due counters", |id| Need::Entitlement(entitlement::Need::DueCounters(id, NOW()))),
        ("records", |key| Need::Entitlement(entitlement::Need::Record(key))),
        ("holds", |key| Need::Entitlement(entitlement::Need::Hold(key))),
        ("days", |id| {
            let day = ifmatch_types::Date::of(NOW());
            Need::Booking(booking::Need::Days(id, day, day))
        }),
        ("slots of servers", |id| {
            Need::Provisioning(provisioning::Need::Slots(id, "prd".to_owned()))
        }),
        ("due bookings", |key| Need::Booking(booking::Need::DueBookings(key))),
    ];
    for (name, need) in looks {
        for count in [1, 9] {
            let needs = (0..count).map(|n| need(format!("id_{n}"))).collect();
            let (sent, _) = statements(&mut db, needs);
            assert_eq!(sent, 1, "{name}: {count} keys");
        }
    }
    // One statement for the holdings, and one for the anchors of scopes that have none.
    for count in [1, 9] {
        let needs = (0..count)
            .map(|n| Need::Entitlement(entitlement::Need::Holdings(format!("workspaces/{n}"))))
            .collect();
        assert_eq!(statements(&mut db, needs).0, 2, "holdings of {count} scopes");
    }
}

#[test]
fn stale_writes_of_a_batch_load_their_histories_in_one_statement() {
    let database = Database::create(Backend::Postgres);
    let mut db = database.lane();
    let mut book = Book::default();
    let ids = [book.workspace(), book.workspace(), book.workspace()];
    for n in 2..=8 {
        for id in &ids {
            book.edit(id, json!({"name": format!("{id} {n}")})).unwrap();
        }
    }
    save(&mut db, |state| state.events.extend(book.world.events.iter().cloned())).unwrap();
    let needs: Vec<Need> = ids
        .iter()
        .flat_map(|id| {
            [2, 4, 7].map(|version| Need::Core(core::Need::History(id.clone(), version)))
        })
        .collect();
    let (sent, state) = statements(&mut db, needs);
    assert_eq!(sent, 1);
    for id in &ids {
        let history = &state.histories[id];
        assert_eq!((history.since, history.entries.len()), (2, 7));
        assert_eq!(history.bases.keys().copied().collect::<Vec<_>>(), [2, 4, 7]);
        for (version, base) in &history.bases {
            assert_eq!(base["name"], format!("{id} {version}"));
        }
    }
}
