//! Real errors of both databases, and the kind of each.

use crate::database::{Backend, Database, execute, texts};
use diesel::connection::SimpleConnection;
use ifmatch_store::{Db, StoreError, Use, on_backend};
use std::{
    error::Error,
    thread,
    time::{Duration, Instant},
};

fn error_of(db: &mut Db, sql: &str) -> StoreError {
    let done = on_backend!(db, connection => connection.batch_execute(sql));
    StoreError::from(done.expect_err(sql))
}

fn table(db: &mut Db) {
    execute(db, "CREATE TABLE t (id integer PRIMARY KEY, n integer)");
    execute(db, "INSERT INTO t VALUES (1, 0), (2, 0)");
}

#[track_caller]
fn assert_impaired(error: &StoreError, message: &str) {
    assert!(matches!(error, StoreError::Impaired(_)), "{error:?}");
    assert!(error.is_outage() && !error.is_gone() && !error.spares_connection());
    assert!(error.to_string().contains(message), "{error}");
}

#[track_caller]
fn assert_raced(error: &StoreError, message: &str) {
    assert!(matches!(error, StoreError::Raced(_)), "{error:?}");
    let source = error.source().expect("it was made from an error");
    assert!(source.is::<diesel::result::Error>(), "{source:?}");
    assert!(source.to_string().contains(message), "{source}");
    assert!(error.to_string().contains(message), "a log has the cause, too: {error}");
}

/// Waits until `count` sessions wait for locks.
pub fn until_waiting(db: &mut Db, count: usize) {
    let waiting = "SELECT pid::text AS found FROM pg_stat_activity \
         WHERE wait_event_type = 'Lock' AND datname = current_database()";
    let deadline = Instant::now() + Duration::from_secs(10);
    while texts(db, waiting).len() < count {
        assert!(Instant::now() < deadline, "{count} sessions wait for locks");
        thread::yield_now();
    }
}

#[test]
fn a_unique_key_that_is_taken_is_a_race() {
    for backend in [Backend::Sqlite, Backend::Postgres] {
        let database = Database::create_empty(backend);
        let mut db = database.connect(Use::Read);
        table(&mut db);
        let error = error_of(&mut db, "INSERT INTO t VALUES (1, 0)");
        assert!(matches!(error, StoreError::Raced(_)), "{error:?}");
    }
}

#[test]
fn a_check_that_fails_is_no_race() {
    for backend in [Backend::Sqlite, Backend::Postgres] {
        let database = Database::create_empty(backend);
        let mut db = database.connect(Use::Read);
        // A message of another error that contains one of the known messages.
        execute(
            &mut db,
            "CREATE TABLE t (n integer CONSTRAINT \"deadlock detected\" CHECK (n > 0))",
        );
        let error = error_of(&mut db, "INSERT INTO t VALUES (0)");
        assert!(matches!(error, StoreError::Unforeseen(_)), "{error:?}");
        assert!(error.source().is_some_and(|source| source.is::<diesel::result::Error>()));
    }
}

#[test]
fn a_busy_sqlite_is_a_race() {
    let database = Database::create_empty(Backend::Sqlite);
    let (mut one, mut two) = (database.connect(Use::Read), database.connect(Use::Read));
    table(&mut one);
    execute(&mut two, "PRAGMA busy_timeout = 0");
    execute(&mut one, "BEGIN IMMEDIATE");
    assert_raced(&error_of(&mut two, "BEGIN IMMEDIATE"), "database is locked");
    execute(&mut one, "ROLLBACK");
}

#[test]
fn a_table_of_sqlite_that_is_being_read_is_a_race() {
    let database = Database::create_empty(Backend::Sqlite);
    let mut db = database.connect(Use::Read);
    table(&mut db);
    let Db::Sqlite(connection) = &mut db else { panic!("it is SQLite") };
    // With a shared cache, SQLite locks single tables.
    let url = "file:shared?mode=memory&cache=shared";
    let mut other = <diesel::SqliteConnection as diesel::Connection>::establish(url).unwrap();
    let mut third = <diesel::SqliteConnection as diesel::Connection>::establish(url).unwrap();
    connection.connection().batch_execute("SELECT 1").unwrap();
    other.batch_execute("CREATE TABLE t (n integer); BEGIN; INSERT INTO t VALUES (1)").unwrap();
    let error = StoreError::from(third.batch_execute("SELECT * FROM t").unwrap_err());
    assert_raced(&error, "database table is locked");
}

#[test]
fn a_deadlock_is_a_race() {
    let database = Database::create_empty(Backend::Postgres);
    let mut watcher = database.connect(Use::Read);
    table(&mut watcher);
    let update = |id: i32| format!("UPDATE t SET n = n + 1 WHERE id = {id}");
    let (mut one, mut two) = (database.connect(Use::Read), database.connect(Use::Read));
    execute(&mut one, &format!("BEGIN; {}", update(1)));
    execute(&mut two, &format!("BEGIN; {}", update(2)));
    let waiting = thread::spawn(
        move || on_backend!(&mut one, connection => connection.batch_execute(&update(2))),
    );
    until_waiting(&mut watcher, 1);
    let second = on_backend!(&mut two, connection => connection.batch_execute(&update(1)));
    // The other session continues when this connection is closed.
    drop(two);
    let first = waiting.join().unwrap();
    let errors: Vec<StoreError> =
        [first, second].into_iter().filter_map(Result::err).map(StoreError::from).collect();
    assert_eq!(errors.len(), 1, "one of the two was chosen");
    assert_raced(&errors[0], "deadlock detected");
}

#[test]
fn a_lock_that_takes_too_long_is_a_race() {
    let database = Database::create_empty(Backend::Postgres);
    let (mut one, mut two) = (database.connect(Use::Read), database.connect(Use::Read));
    table(&mut one);
    execute(&mut one, "BEGIN; UPDATE t SET n = 1");
    execute(&mut two, "SET lock_timeout = '20ms'");
    let error = error_of(&mut two, "UPDATE t SET n = 2");
    assert_raced(&error, "canceling statement due to lock timeout");
}

#[test]
fn a_write_that_cannot_be_serialized_is_a_race() {
    let database = Database::create_empty(Backend::Postgres);
    let (mut one, mut two) = (database.connect(Use::Read), database.connect(Use::Read));
    table(&mut one);
    execute(&mut two, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT * FROM t");
    execute(&mut one, "UPDATE t SET n = 1");
    assert_raced(&error_of(&mut two, "UPDATE t SET n = 2"), "could not serialize access");
}

#[test]
fn a_connection_that_was_ended_is_gone() {
    let database = Database::create_empty(Backend::Postgres);
    let (mut one, mut two) = (database.connect(Use::Read), database.connect(Use::Read));
    let pid = texts(&mut two, "SELECT pg_backend_pid()::text AS found").remove(0);
    // PostgreSQL 13 cannot wait for the end by itself.
    let end = format!(
        "DO $$ BEGIN PERFORM pg_terminate_backend({pid}); \
         WHILE EXISTS (SELECT FROM pg_stat_activity WHERE pid = {pid}) LOOP \
         PERFORM pg_sleep(0.01); PERFORM pg_stat_clear_snapshot(); END LOOP; END $$"
    );
    execute(&mut one, &end);
    for _ in 0..2 {
        let error = error_of(&mut two, "SELECT 1");
        assert!(error.is_gone() && error.source().is_some(), "{error:?}");
    }
    drop(database);
    // A database that does not exist is gone, too.
    let url = "postgres://127.0.0.1:1/nothing".parse().unwrap();
    let error = Db::connect(&url, Use::Read).map(|_| ()).unwrap_err();
    assert!(error.is_gone() && error.source().is_some(), "{error:?}");
}

#[test]
fn a_primary_that_became_a_standby_is_impaired() {
    let database = Database::create_empty(Backend::Postgres);
    let mut db = database.connect(Use::Read);
    table(&mut db);
    execute(&mut db, "BEGIN READ ONLY");
    let error = error_of(&mut db, "UPDATE t SET n = 1");
    assert_impaired(&error, "read-only transaction");
}

#[test]
fn a_statement_that_took_too_long_or_was_cancelled_is_impaired() {
    let database = Database::create_empty(Backend::Postgres);
    let mut db = database.connect(Use::Read);
    execute(&mut db, "SET statement_timeout = '20ms'");
    assert_impaired(&error_of(&mut db, "SELECT pg_sleep(10)"), "statement timeout");
    execute(&mut db, "SET statement_timeout = 0");
    let pid = texts(&mut db, "SELECT pg_backend_pid()::text AS found").remove(0);
    let sleeping = thread::spawn(move || error_of(&mut db, "SELECT pg_sleep(60)"));
    let mut other = database.connect(Use::Read);
    let running = format!(
        "SELECT 'it' AS found FROM pg_stat_activity WHERE pid = {pid} AND wait_event = 'PgSleep'"
    );
    let deadline = Instant::now() + Duration::from_secs(10);
    while texts(&mut other, &running).is_empty() {
        assert!(Instant::now() < deadline, "it sleeps");
    }
    execute(&mut other, &format!("SELECT pg_cancel_backend({pid})"));
    assert_impaired(&sleeping.join().unwrap(), "user request");
}

#[test]
fn a_postgresql_without_space_or_memory_is_impaired() {
    let database = Database::create_empty(Backend::Postgres);
    let mut db = database.connect(Use::Read);
    for (code, message) in [
        ("53100", "could not extend file \"base/1/2\": No space left on device"),
        ("53100", "could not write to file \"pg_wal/xlogtemp.1\": No space left on device"),
        ("53100", "something new: No space left on device"),
        ("53200", "out of memory"),
        ("53200", "out of shared memory"),
        ("53400", "temporary file size exceeds temp_file_limit (1kB)"),
        ("58030", "could not read block 0 in file \"base/1/2\": Input/output error"),
    ] {
        let raise = format!(
            "DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{code}', MESSAGE = '{message}'; END $$"
        );
        assert_impaired(&error_of(&mut db, &raise), message);
    }
    // The real one, of the server's own: a hash that may not spill.
    execute(&mut db, "SET temp_file_limit = '64kB'; SET work_mem = '64kB'");
    let sort = "SELECT count(*) FROM (SELECT n FROM generate_series(1, 100000) AS n \
         ORDER BY md5(n::text)) AS sorted";
    assert_impaired(&error_of(&mut db, sort), "temporary file size exceeds");
}

#[test]
fn a_full_or_read_only_sqlite_is_impaired() {
    let database = Database::create_empty(Backend::Sqlite);
    let mut db = database.connect(Use::Read);
    table(&mut db);
    execute(&mut db, "PRAGMA query_only = ON");
    assert_impaired(&error_of(&mut db, "UPDATE t SET n = 1"), "readonly database");
    execute(&mut db, "PRAGMA query_only = OFF; PRAGMA max_page_count = 2");
    let fill = "INSERT INTO t SELECT value + 10, 1 FROM (WITH RECURSIVE n (value) AS \
         (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < 100000) SELECT value FROM n)";
    assert_impaired(&error_of(&mut db, fill), "database or disk is full");
}
