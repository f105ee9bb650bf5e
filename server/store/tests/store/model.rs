//! Random batches give the same answers and rows on a database and on in-memory maps.

use crate::{
    book::Book,
    database::{Backend, Database},
    lane::{carry_out, read},
    random::{Raw, Reader, later, raw},
    world::World,
};
use ifmatch_domain::{
    Action, Command, Need, access, billing, booking,
    core::{self, NewEvent},
    entitlement::{self, AssignPackage, ScopeRef},
    ledger, provisioning,
};
use ifmatch_store::{Db, EventLog, EventsQuery, Found, TransferQuery};
use ifmatch_types::{ChangeKind, HistoryEntry, Kind, merge};
use proptest::{collection::vec, prelude::*, strategy::ValueTree, test_runner::TestRunner};
use serde_json::{Value, json};
use std::collections::BTreeSet;

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
    add(Kind::Feature, json!({"code": "f0", "type": "limit", "reset": "monthly"}));
    add(Kind::Feature, json!({"code": "f1", "type": "limit", "parent_code": "f0"}));
    let rolling = json!({"code": "f2", "type": "limit", "reset": "rolling", "rolling_days": 5});
    add(Kind::Feature, rolling);
    let grants = json!([{"feature": "f0", "grant": "limit", "limit": 30},
        {"feature": "f2", "grant": "limit", "limit": 20}]);
    add(Kind::Package, json!({"code": "p0", "is_base": true, "grants": grants}));
    for workspace in world.workspaces.keys().cloned().collect::<Vec<_>>() {
        let body = crate::commands::members(json!({"package": "p0"}));
        let assign = AssignPackage { scope: ScopeRef::workspace(workspace), body };
        let batch = [crate::commands::command(
            book.fresh_seed(),
            Action::Entitlement(entitlement::Action::AssignPackage(assign)),
        )];
        assert_eq!(carry_out(db, &batch, book.now), world.carry_out(&batch, book.now));
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
        while let Some(id) = db.unfinished_redactions(None).unwrap().first() {
            db.redact_slice(id).unwrap();
        }
    }
    assert_same(db, &world);
    assert_eq!(db.verify().unwrap(), []);
}

/// The history entry of an event as the API shows it. A creation's changes come from its state.
fn shown(event: &NewEvent) -> HistoryEntry {
    let mut entry = event.entry.clone();
    if entry.kind == ChangeKind::Created {
        entry.changes = merge::diff(&json!({}), &event.state);
    }
    entry
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
        let entries: Vec<_> = world.history(&id).map(shown).collect();
        assert_eq!(db.history(&id, None, false, i64::MAX).unwrap(), entries);
        let newest_first: Vec<_> = entries.into_iter().rev().collect();
        assert_eq!(db.history(&id, None, true, i64::MAX).unwrap(), newest_first);
    }
    let counters = world
        .counters
        .keys()
        .cloned()
        .map(|key| Need::Entitlement(entitlement::Need::Counter(key)));
    let records =
        world.records.keys().cloned().map(|key| Need::Entitlement(entitlement::Need::Record(key)));
    let holds =
        world.holds.keys().cloned().map(|key| Need::Entitlement(entitlement::Need::Hold(key)));
    let state = read(db, counters.chain(records).chain(holds).collect());
    world
        .counters
        .iter()
        .for_each(|(id, row)| assert_eq!(state.entitlement().counters.get(id), Some(row)));
    world
        .records
        .iter()
        .for_each(|(id, row)| assert_eq!(state.entitlement().records.get(id), Some(row)));
    world
        .holds
        .iter()
        .for_each(|(id, row)| assert_eq!(state.entitlement().holds.get(id), Some(row)));
    let scopes: BTreeSet<&String> = world.log.iter().map(|line| &line.scope).collect();
    for scope in scopes {
        let mut told = db.entitlement_log(scope, None, None, i64::MAX).unwrap();
        told.reverse();
        let lines = world.log.iter().filter(|line| line.scope == *scope);
        let mut lines: Vec<_> = lines.map(|line| line.entry.clone()).collect();
        lines.sort_by(|one, two| one.id.cmp(&two.id));
        assert_eq!(told, lines, "{scope}");
    }
    let until = db.event_log(&EventLog::default()).unwrap().newest;
    let query = EventsQuery { until, limit: i64::MAX, ..EventsQuery::default() };
    let stream = db.events(&query).unwrap().events;
    let told = stream.into_iter().map(|event| (event.resource.id, event.entry));
    let happened = world.events.iter().map(|event| (event.id.clone(), shown(event)));
    let (told, happened) = (told.collect::<Vec<_>>(), happened.collect::<Vec<_>>());
    assert_eq!(told, happened, "in the order of the commits");
    assert_eq!(db.api_keys().unwrap().len(), world.api_keys.len());
    let mut payments: Vec<_> = Vec::new();
    for id in world.invoices.keys() {
        payments.extend(db.payments(id, "", i64::MAX).unwrap());
    }
    payments.sort_by(|one, two| one.id.cmp(&two.id));
    assert!(payments.iter().eq(world.payments.values().map(|stored| &stored.payment)));
    assert_same_ledger(db, world);
}

fn assert_same_ledger(db: &mut Db, world: &World) {
    let accounts = world.accounts.keys().cloned().map(ledger::Need::Account);
    let reservations = world.reservations.keys().cloned().map(ledger::Need::Reservation);
    let state = read(db, accounts.chain(reservations).map(Need::Ledger).collect());
    for (id, account) in &world.accounts {
        assert_eq!(state.ledger().accounts.get(id), Some(account));
        let own = world.transfers.values().filter(|stored| stored.account_id == *id);
        let mut own: Vec<_> = own.map(|stored| stored.transfer.clone()).collect();
        own.sort_by_key(|transfer| -transfer.version);
        let all =
            TransferQuery { account_id: id.clone(), limit: i64::MAX, ..TransferQuery::default() };
        assert_eq!(db.transfers(&all).unwrap(), own);
    }
    for (id, reservation) in &world.reservations {
        assert_eq!(state.ledger().reservations.get(id), Some(reservation));
    }
}

/// Runs `count` random walks, each on its own database.
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

/// The random commands include every kind of action that a lane may be asked for.
#[test]
fn every_kind_of_action_is_among_the_random_ones() {
    let mut runner = TestRunner::deterministic();
    let world = World::default();
    let reader = Reader { world: &world, now: Book::default().now };
    let mut kinds = BTreeSet::new();
    for seed in 0..500 {
        let raw = raw().new_tree(&mut runner).unwrap().current();
        kinds.insert(match reader.command(raw, seed).action {
            Action::Core(core::Action::Create(_)) => "create",
            Action::Core(core::Action::Update(_)) => "update",
            Action::Core(core::Action::Preview(_)) => "preview",
            Action::Core(core::Action::Delete(_)) => "delete",
            Action::Core(core::Action::Redact(_)) => "redact",
            Action::Core(core::Action::Transact(_)) => "transact",
            Action::Billing(billing::Action::RecordPayment(_)) => "pay",
            Action::Billing(billing::Action::ReversePayment(_)) => "reverse",
            Action::Billing(billing::Action::ReinstatePayment(_)) => "reinstate",
            Action::Billing(billing::Action::BillSubscription(_)) => "bill",
            Action::Billing(billing::Action::SettleSubscription(_)) => "settle",
            Action::Billing(billing::Action::AdjustBalance(_)) => "adjust",
            Action::Billing(billing::Action::PreviewBilling(_)) => "foretell",
            Action::Access(access::Action::CreateApiKey(_)) => "key",
            Action::Access(access::Action::RevokeApiKey(_)) => "revoke",
            Action::Access(access::Action::RotateApiKey(_)) => "rotate",
            Action::Access(access::Action::NoteUse(_)) => "note",
            Action::Lock(_) => "lock",
            Action::Ledger(ledger::Action::MoveCredits(_)) => "move",
            Action::Ledger(ledger::Action::ReserveCredits(_)) => "reserve",
            Action::Ledger(ledger::Action::ResolveReservation(_)) => "resolve",
            Action::Provisioning(provisioning::Action::ClaimServer(_)) => "claim",
            Action::Provisioning(provisioning::Action::StartCall(_)) => "call",
            Action::Provisioning(provisioning::Action::RecordCall(_)) => "tell",
            Action::Provisioning(provisioning::Action::ResolveServer(_)) => "decide",
            Action::Booking(booking::Action::ExpireBookings(_)) => "expire",
            Action::Billing(billing::Action::FinishBillingRun(_))
            | Action::Core(core::Action::RecordDenied(_)) => "record",
            Action::Core(core::Action::Admit(_)) => "admit",
            Action::Entitlement(entitlement::Action::AssignPackage(_)) => "assign",
            Action::Entitlement(entitlement::Action::GrantBoost(_)) => "boost",
            Action::Entitlement(entitlement::Action::CheckAndRecord(_)) => "use",
            Action::Entitlement(entitlement::Action::PlaceHold(_)) => "hold",
            Action::Entitlement(entitlement::Action::EndHold(_)) => "end",
            Action::Entitlement(entitlement::Action::ReverseUsage(_)) => "give back",
            Action::Entitlement(entitlement::Action::ExpireEntitlements(_)) => "expire",
        });
    }
    assert_eq!(kinds.len(), 27, "{kinds:?}");
}
