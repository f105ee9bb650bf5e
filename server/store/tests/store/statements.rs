//! How many statements a batch's look-ups are: as many for a hundred keys as for one.

use crate::{
    book::Book,
    database::{Backend, Database},
    lane::save,
};
use diesel::connection::{Connection, InstrumentationEvent};
use ifmatch_domain::{Need, State};
use ifmatch_store::Db;
use ifmatch_types::{Kind, PlanId, Timestamp};
use serde_json::json;
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// How many statements PostgreSQL is sent for these needs.
fn statements(db: &mut Db, needs: Vec<Need>) -> (usize, State) {
    let count = Arc::new(AtomicUsize::new(0));
    let mut state = State { clock: Timestamp::from_micros(0), ..State::default() };
    let Db::Postgres(connection) = db else { panic!("round trips are PostgreSQL's") };
    let counter = Arc::clone(&count);
    connection.set_instrumentation(move |event: InstrumentationEvent<'_>| {
        if matches!(event, InstrumentationEvent::StartQuery { .. }) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    });
    db.load(needs, &mut state).unwrap();
    let Db::Postgres(connection) = db else { panic!("round trips are PostgreSQL's") };
    connection.set_instrumentation(|_: InstrumentationEvent<'_>| {});
    (count.load(Ordering::Relaxed), state)
}

type MakeNeed = fn(String) -> Need;

#[test]
fn every_look_up_is_one_statement_for_the_whole_batch() {
    let database = Database::create(Backend::Postgres);
    let mut db = database.lane();
    const NOW: fn() -> Timestamp = || Timestamp::from_micros(0).unwrap();
    let looks: [(&str, MakeNeed); 28] = [
        ("plans", |id| Need::Object(Kind::Plan, id)),
        ("workspaces", |id| Need::Object(Kind::Workspace, id)),
        ("shared plans", |id| Need::Reference(Kind::Plan, id)),
        ("shared workspaces", |id| Need::Reference(Kind::Workspace, id)),
        ("plan codes", Need::PlanCode),
        ("plan terms", |id| Need::PlanTerms(PlanId::from_unchecked(id))),
        ("histories", |id| Need::History(id, 1)),
        ("payments", Need::Payments),
        ("payment references", Need::PaymentRef),
        ("billed periods", Need::BilledPeriods),
        ("users of workspaces", |id| Need::InUse(Kind::Workspace, id)),
        ("users of subscriptions", |id| Need::InUse(Kind::Subscription, id)),
        ("users of packages", |id| Need::InUse(Kind::Package, id)),
        ("API keys", Need::ApiKey),
        ("answers", |id| Need::Answer(id, "key".to_owned())),
        ("owners of namespaces", |id| Need::Owner(Kind::Namespace, id)),
        ("feature codes", Need::FeatureCode),
        ("package codes", Need::PackageCode),
        ("external services", Need::ExternalService),
        ("add-ons", Need::Addon),
        ("counters", Need::Counter),
        ("rolled off", |id| Need::RolledOff(id, None, NOW())),
        ("due holds", |id| Need::DueHolds(id, NOW())),
        ("due counters", |id| Need::DueCounters(id, NOW())),
        ("records", Need::Record),
        ("holds", Need::Hold),
        ("days", |id| {
            let day = ifmatch_types::Date::of(NOW());
            Need::Days(id, day, day)
        }),
        ("due bookings", Need::DueBookings),
    ];
    for (name, need) in looks {
        for count in [1, 9] {
            let needs = (0..count).map(|n| need(format!("id_{n}"))).collect();
            let (sent, _) = statements(&mut db, needs);
            assert_eq!(sent, 1, "{name}: {count} keys");
        }
    }
    // One for what scopes have, and one for the anchors of those that have nothing.
    for count in [1, 9] {
        let needs = (0..count).map(|n| Need::Holdings(format!("workspaces/{n}"))).collect();
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
        .flat_map(|id| [2, 4, 7].map(|version| Need::History(id.clone(), version)))
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
