//! SQLite's log is moved into the database beside its writers and readers.

use crate::database::{Backend, Database, execute, texts};
use diesel::{QueryableByName, RunQueryDsl, sql_query, sql_types::BigInt};
use ifmatch_store::{Db, Use};

/// The pages in the log, and those of them that are in the database, too.
fn log(db: &mut Db) -> (i64, i64) {
    #[derive(QueryableByName)]
    struct Log {
        #[diesel(sql_type = BigInt)]
        log: i64,
        #[diesel(sql_type = BigInt)]
        checkpointed: i64,
    }
    let Db::Sqlite(sqlite) = db else { panic!("PostgreSQL moves its own log") };
    let query = sql_query("PRAGMA wal_checkpoint(NOOP)");
    let log: Log = query.get_result(sqlite.connection()).unwrap();
    (log.log, log.checkpointed)
}

/// A database with pages in its log, and two connections.
fn filled() -> (Database, Db, Db) {
    let database = Database::create(Backend::Sqlite);
    let (mut lane, beside) = (database.lane(), database.connect(Use::Read));
    execute(&mut lane, "CREATE TABLE t (id integer PRIMARY KEY, n integer, text text)");
    execute(
        &mut lane,
        "INSERT INTO t WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers \
         WHERE n < 500) SELECT n, 0, hex(zeroblob(500)) FROM numbers",
    );
    (database, lane, beside)
}

fn changed(db: &mut Db) -> usize {
    texts(db, "SELECT CAST(id AS text) AS found FROM t WHERE n = 1").len()
}

#[test]
fn the_log_is_moved_while_a_transaction_is_open() {
    let (_database, mut lane, mut beside) = filled();
    lane.begin().unwrap();
    execute(&mut lane, "UPDATE t SET n = 1");
    let (written, moved) = log(&mut beside);
    assert!(moved < written, "{moved} of {written}");
    beside.checkpoint(written - moved + 1).unwrap();
    assert_eq!(log(&mut beside), (written, moved), "too few pages are left where they are");
    beside.checkpoint(1).unwrap();
    assert_eq!(log(&mut beside), (written, written));

    lane.commit().unwrap();
    assert_eq!(changed(&mut beside), 500);
    let (written, moved) = log(&mut beside);
    assert!(moved < written, "the commit is in the log alone: {moved} of {written}");
}

#[test]
fn a_page_that_a_read_needs_stays_as_the_read_saw_it() {
    let (database, mut lane, mut beside) = filled();
    let mut reader = database.connect(Use::Read);
    execute(&mut reader, "BEGIN DEFERRED");
    assert_eq!(changed(&mut reader), 0);
    execute(&mut lane, "UPDATE t SET n = 1");
    beside.checkpoint(1).unwrap();
    let (written, moved) = log(&mut beside);
    assert!(moved < written, "{moved} of {written}");
    assert_eq!((changed(&mut reader), changed(&mut beside)), (0, 500));

    execute(&mut reader, "ROLLBACK");
    beside.checkpoint(1).unwrap();
    assert_eq!(log(&mut beside), (written, written));
}

#[test]
fn postgresql_has_nothing_to_move() {
    let database = Database::create(Backend::Postgres);
    database.connect(Use::Read).checkpoint(1).unwrap();
}
