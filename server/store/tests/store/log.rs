//! The settled part of the event stream stays complete, however late a lower place is committed.

use crate::{
    book::Book,
    database::{Backend, Database, both_databases, execute, texts},
};
use ifmatch_domain::State;
use ifmatch_store::{Db, EventLog, EventsQuery, Use};
use ifmatch_types::{ChangeKind, Kind, WorkspaceId};
use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

/// Writes an object and its event in a transaction that is left open, as a lane does.
fn begin_with(db: &mut Db, id: &str, version: i64) {
    db.begin().unwrap();
    write(db, id, version);
}

fn write(db: &mut Db, id: &str, version: i64) {
    let mut book = Book::default();
    let made = book.workspace();
    let mut row = book.world.workspaces.remove(&made).unwrap();
    let mut event = book.world.events.remove(0);
    event.id = id.to_owned();
    event.entry.version = version;
    row.record.id = WorkspaceId::from_unchecked(format!("{id}-{version}"));
    let mut state = State::default();
    state.billing_mut().workspaces.put(row.record.id.to_string(), row);
    state.events.push(event);
    db.save(&state, book.now).unwrap();
}

/// How far the log can be read, for a reader that knows it up to `known`.
fn settled(db: &mut Db, known: i64) -> i64 {
    let known = EventLog { newest: known, ..EventLog::default() };
    db.event_log(&known).unwrap().newest
}

fn places(db: &mut Db, after: i64, until: i64) -> Vec<i64> {
    let query = EventsQuery { after, until, limit: i64::MAX, ..EventsQuery::default() };
    db.events(&query).unwrap().events.into_iter().map(|event| event.seq).collect()
}

#[test]
fn a_late_commit_with_a_lower_place_is_waited_for() {
    for is_committed in [true, false] {
        let database = Database::create(Backend::Postgres);
        let (mut early, mut late) = (database.lane(), database.lane());
        let mut reader = database.connect(Use::Read);
        begin_with(&mut early, "one", 1);
        begin_with(&mut late, "two", 1);
        late.commit().unwrap();
        assert_eq!(
            places(&mut reader, 0, i64::MAX),
            [2],
            "the higher place is there, the lower is not"
        );
        assert_eq!(settled(&mut reader, 0), 0, "nothing is settled while the lower one is open");
        if is_committed {
            early.commit().unwrap()
        } else {
            early.rollback().unwrap()
        }
        assert_eq!(settled(&mut reader, 0), 2);
        let expected: &[i64] = if is_committed { &[1, 2] } else { &[2] };
        assert_eq!(places(&mut reader, 0, 2), expected);
    }
}

#[test]
fn the_lower_place_may_belong_to_the_writer_that_began_later() {
    let database = Database::create(Backend::Postgres);
    let (mut one, mut two) = (database.lane(), database.lane());
    let mut reader = database.connect(Use::Read);
    two.begin().unwrap();
    texts(&mut two, "SELECT pg_current_xact_id()::text AS found");
    begin_with(&mut one, "one", 1);
    write(&mut two, "two", 1);
    two.commit().unwrap();
    assert_eq!(places(&mut reader, 0, i64::MAX), [2]);
    assert_eq!(settled(&mut reader, 0), 0);
    one.commit().unwrap();
    assert_eq!(settled(&mut reader, 0), 2);
}

#[test]
fn who_writes_no_events_here_is_not_waited_for() {
    let (database, other) =
        (Database::create(Backend::Postgres), Database::create(Backend::Postgres));
    let (mut elsewhere, mut reading) = (other.lane(), database.lane());
    let (mut writing, mut db) = (database.lane(), database.lane());
    begin_with(&mut elsewhere, "other", 1);
    reading.begin().unwrap();
    texts(&mut reading, "SELECT resource_id AS found FROM events");
    writing.begin().unwrap();
    execute(&mut writing, "INSERT INTO sequences (series, last) VALUES ('A', 1)");
    begin_with(&mut db, "one", 1);
    db.commit().unwrap();
    assert_eq!(settled(&mut database.connect(Use::Read), 0), 1);
}

#[test]
fn what_settles_while_somebody_waits_is_told_at_once() {
    let database = Database::create(Backend::Postgres);
    let (mut early, mut late) = (database.lane(), database.lane());
    begin_with(&mut early, "one", 1);
    begin_with(&mut late, "two", 1);
    late.commit().unwrap();
    let waited_for = AtomicBool::new(false);
    thread::scope(|scope| {
        let settled = scope.spawn(|| {
            let settled = settled(&mut database.connect(Use::Read), 0);
            (settled, waited_for.load(Ordering::SeqCst))
        });
        thread::sleep(Duration::from_millis(100));
        waited_for.store(true, Ordering::SeqCst);
        early.commit().unwrap();
        assert_eq!(settled.join().unwrap(), (2, true));
    });
}

#[test]
fn a_reader_that_follows_many_writers_misses_nothing() {
    const WRITERS: i64 = 4;
    const EVENTS: i64 = 60;
    let database = Database::create(Backend::Postgres);
    let running = AtomicBool::new(true);
    let followed = thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut db = database.connect(Use::Read);
            let (mut cursor, mut seen) = (0, Vec::new());
            loop {
                let is_last = !running.load(Ordering::SeqCst);
                let settled = settled(&mut db, cursor);
                seen.extend(places(&mut db, cursor, settled));
                cursor = settled;
                if is_last {
                    return seen;
                }
            }
        });
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let database = &database;
                scope.spawn(move || {
                    let mut db = database.lane();
                    for version in 1..=EVENTS {
                        begin_with(&mut db, &format!("w{writer}"), version);
                        // Uneven, so that places and commits come in different orders.
                        let pause = (writer * 7 + version * 13) % 5;
                        thread::sleep(Duration::from_millis(pause.unsigned_abs()));
                        if version % 11 == 0 {
                            db.rollback().unwrap();
                            begin_with(&mut db, &format!("w{writer}"), version);
                        }
                        db.commit().unwrap();
                    }
                })
            })
            .collect();
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        running.store(false, Ordering::SeqCst);
        reader.join().unwrap()
    });
    let all = places(&mut database.connect(Use::Read), 0, i64::MAX);
    assert_eq!(i64::try_from(all.len()).unwrap(), WRITERS * EVENTS);
    assert_eq!(followed.iter().collect::<BTreeSet<_>>().len(), followed.len(), "nothing twice");
    assert_eq!(followed, all, "nothing missed, nothing out of order");
}

#[test]
fn events_are_told_by_kind_and_change() {
    for backend in [Backend::Sqlite, Backend::Postgres] {
        let database = Database::create(backend);
        let mut db = database.lane();
        begin_with(&mut db, "one", 1);
        db.commit().unwrap();
        execute(
            &mut db,
            "INSERT INTO events (resource_id, version, resource_type, kind, at, actor, \
             source, forced, request_id, changes, state) VALUES \
             ('two', 1, 'plan', 'updated', 0, 'a', 'api', false, 'r', '[]', '{}')",
        );
        let mut told = |resource: Option<Kind>, change| {
            let resource = resource.map(|kind| kind.name().to_owned());
            let query =
                EventsQuery { until: 9, limit: 9, resource, change, ..EventsQuery::default() };
            db.events(&query)
                .unwrap()
                .events
                .into_iter()
                .map(|event| event.event_type)
                .collect::<Vec<_>>()
        };
        assert_eq!(told(None, None), ["workspace.created", "plan.updated"]);
        assert_eq!(told(Some(Kind::Plan), None), ["plan.updated"]);
        assert_eq!(told(None, Some(ChangeKind::Created)), ["workspace.created"]);
        assert_eq!(told(Some(Kind::Plan), Some(ChangeKind::Created)), [""; 0]);
    }
}

fn a_new_epoch_is_another_log_with_the_same_events(database: &Database) {
    let mut db = database.lane();
    for version in 1..=3 {
        begin_with(&mut db, "one", version);
        db.commit().unwrap();
    }
    let first = db.event_log(&EventLog::default()).unwrap();
    assert_eq!(first, EventLog { epoch: "".into(), oldest: 0, newest: 3 });
    db.begin_epoch("5f0c").unwrap();
    let second = db.event_log(&first).unwrap();
    assert_eq!(second, EventLog { epoch: "5f0c".into(), ..first.clone() });
    assert!(!first.leads_to(&second) && first.leads_to(&first));
    let query = EventsQuery { until: 3, limit: 9, epoch: second.epoch, ..EventsQuery::default() };
    let cursors = db.events(&query).unwrap().events.into_iter().map(|event| event.cursor);
    let cursors: Vec<_> = cursors.map(|cursor| cursor.to_string()).collect();
    assert_eq!(cursors, ["1-5f0c", "2-5f0c", "3-5f0c"]);
}

/// As after a restore of the rows alone, or after a copy by logical replication.
#[test]
fn a_new_epoch_sets_a_sequence_that_fell_behind() {
    let database = Database::create(Backend::Postgres);
    let mut db = database.lane();
    for version in 1..=3 {
        begin_with(&mut db, "one", version);
        db.commit().unwrap();
    }
    execute(&mut db, "ALTER SEQUENCE events_seq_seq RESTART");
    db.begin_epoch("5f0c").unwrap();
    begin_with(&mut db, "one", 4);
    db.commit().unwrap();
    assert_eq!(places(&mut db, 0, settled(&mut database.connect(Use::Read), 0)), [1, 2, 3, 4]);
    db.begin_epoch("5f0d").unwrap();
    begin_with(&mut db, "one", 5);
    db.commit().unwrap();
    assert_eq!(places(&mut db, 3, i64::MAX), [4, 5], "a sequence that is right stays");
}

#[test]
fn a_log_with_fewer_events_is_another_one() {
    let database = Database::create(Backend::Postgres);
    let mut db = database.lane();
    begin_with(&mut db, "one", 1);
    db.commit().unwrap();
    assert_eq!(settled(&mut database.connect(Use::Read), 9), 1, "9 places are of a lost log");
}

fn a_page_ends_where_its_bytes_do(database: &Database) {
    let mut db = database.lane();
    for version in 1..=4 {
        begin_with(&mut db, "one", version);
        db.commit().unwrap();
    }
    let all = EventsQuery { until: 9, limit: 4, ..EventsQuery::default() };
    let mut page = |query: &EventsQuery| {
        let page = db.events(query).unwrap();
        (page.events.len(), page.end)
    };
    assert_eq!(page(&all), (4, 4), "a full page ends with its last event");
    assert_eq!(page(&EventsQuery { limit: 5, ..all.clone() }), (4, 9));
    assert_eq!(page(&EventsQuery { bytes_max: Some(1), ..all.clone() }), (1, 1));
    let most = EventsQuery { after: 1, bytes_max: Some(1_000), limit: 9, ..all.clone() };
    let (events, end) = page(&most);
    assert!((1..3).contains(&events), "{events}");
    assert_eq!(i64::try_from(events).unwrap(), end - 1);
    assert_eq!(page(&EventsQuery { bytes_max: Some(1_000_000), limit: 9, ..all }), (4, 9));
}

both_databases!(a_new_epoch_is_another_log_with_the_same_events, a_page_ends_where_its_bytes_do);
