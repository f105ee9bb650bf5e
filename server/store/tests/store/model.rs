//! Random batches on a database and on a few maps: the same answers, the same rows.

use crate::{
    book::Book,
    database::{Backend, Database},
    lane::carry_out,
    random::{Raw, Reader, later, raw},
    world::World,
};
use ifmatch_domain::{Action, Command};
use ifmatch_store::{Db, EventsQuery, Found};
use ifmatch_types::Kind;
use proptest::{collection::vec, prelude::*, strategy::ValueTree, test_runner::TestRunner};
use serde_json::{Value, json};

/// Makes the same things on both sides, through commands.
fn furnish(db: &mut Db, world: &mut World, book: &mut Book) {
    let make = |db: &mut Db, world: &mut World, book: &mut Book, kind: Kind, body: Value| {
        let command =
            crate::commands::command(book.fresh_seed(), crate::commands::create(kind, body));
        let batch = [command];
        assert_eq!(carry_out(db, &batch, book.now), world.carry_out(&batch, book.now));
    };
    let mut add = |kind, body| make(db, world, book, kind, body);
    add(Kind::Workspace, json!({"name": "One", "currency": "USD"}));
    add(Kind::Workspace, json!({"name": "Two", "currency": "USD"}));
    add(Kind::Bookable, json!({"name": "Room", "capacity": 3, "hold_ttl_ms": 5 * 86_400_000_i64}));
    for (code, trial_days, status) in [("a", 0, "active"), ("b", 14, "active"), ("c", 0, "draft")] {
        add(
            Kind::Plan,
            json!({"code": code, "name": "n", "currency": "USD", "amount": 300,
            "interval": "month", "trial_days": trial_days, "status": status}),
        );
    }
}

fn walk(db: &mut Db, batches: Vec<(u8, Vec<Raw>)>) {
    let (mut world, mut book) = (World::default(), Book::default());
    furnish(db, &mut world, &mut book);
    for (days, raws) in batches {
        book.now = later(book.now, i64::from(days));
        let seeds: Vec<u128> = raws.iter().map(|_| book.fresh_seed()).collect();
        let reader = Reader { world: &world, now: book.now };
        let batch: Vec<Command> =
            raws.into_iter().zip(seeds).map(|(raw, seed)| reader.command(raw, seed)).collect();
        let expected = world.carry_out(&batch, book.now);
        for ((command, found), expected) in
            batch.iter().zip(carry_out(db, &batch, book.now)).zip(expected)
        {
            assert_eq!(found, expected, "{command:#?}");
        }
    }
    assert_same(db, &world);
    assert_eq!(db.verify().unwrap(), []);
}

fn assert_same(db: &mut Db, world: &World) {
    for (kind, id, is_living, entity) in world.rows() {
        let found = db.find(kind, vec![id.clone()]).unwrap().remove(0).1;
        match found {
            Found::Living { version, body } => {
                assert!(is_living);
                assert_eq!(entity["version"], version);
                assert_eq!(serde_json::from_str::<Value>(&body).unwrap(), entity);
            }
            Found::Deleted(deleted) => assert!(!is_living && deleted.id == id),
        }
        let entries: Vec<_> = world.history(&id).map(|event| event.entry.clone()).collect();
        assert_eq!(db.history(&id, 0, i64::MAX).unwrap(), entries);
    }
    let until = db.settled_seq(0).unwrap();
    let query = EventsQuery { until, limit: i64::MAX, ..EventsQuery::default() };
    let stream: Vec<_> = db.events(&query).unwrap();
    let told: Vec<_> = stream.iter().map(|event| (&event.resource.id, &event.entry)).collect();
    let happened: Vec<_> = world.events.iter().map(|event| (&event.id, &event.entry)).collect();
    assert_eq!(told, happened, "in the order of the commits");
    assert_eq!(db.api_keys().unwrap().len(), world.api_keys.len());
    let mut payments: Vec<_> = Vec::new();
    for id in world.invoices.keys() {
        payments.extend(db.payments(id, "", i64::MAX).unwrap());
    }
    payments.sort_by(|one, two| one.id.cmp(&two.id));
    assert!(payments.iter().eq(world.payments.values().map(|stored| &stored.0)));
}

/// So many walks, each on a database of its own.
fn walks(backend: Backend, count: usize) {
    let mut runner = TestRunner::deterministic();
    for _ in 0..count {
        let strategy = vec((0u8..40, vec(raw(), 1..12)), 1..16);
        let batches = strategy.new_tree(&mut runner).unwrap().current();
        let database = Database::create(backend);
        walk(&mut database.lane(), batches);
    }
}

#[test]
fn sqlite_does_what_the_maps_do() {
    walks(Backend::Sqlite, 20);
}

#[test]
fn postgres_does_what_the_maps_do() {
    walks(Backend::Postgres, 12);
}

/// A batch with everything in it that a lane may be asked for at once.
#[test]
fn every_kind_of_action_is_among_the_random_ones() {
    let mut runner = TestRunner::deterministic();
    let world = World::default();
    let reader = Reader { world: &world, now: Book::default().now };
    let mut kinds = std::collections::BTreeSet::new();
    for seed in 0..500 {
        let raw = raw().new_tree(&mut runner).unwrap().current();
        kinds.insert(match reader.command(raw, seed).action {
            Action::Create(_) => "create",
            Action::Update(_) => "update",
            Action::Delete(_) => "delete",
            Action::Transact(_) => "transact",
            Action::RecordPayment(_) => "pay",
            Action::ReversePayment(_) => "reverse",
            Action::BillSubscription(_) => "bill",
            Action::CreateApiKey(_) => "key",
            Action::RevokeApiKey(_) => "revoke",
            Action::ExpireBookings(_) => "expire",
            Action::FinishBillingRun(_) | Action::RecordDenied(_) => "record",
        });
    }
    assert_eq!(kinds.len(), 10, "{kinds:?}");
}
