//! Upgrades: a database that an older server filled keeps all its rows.

use crate::{
    database::{Backend, Database, texts},
    schema::{indexes, keys, references},
    verify::furnish,
};
use diesel_migrations::{FileBasedMigrations, MigrationHarness};
use ifmatch_store::{Db, Use, on_backend, schema::TABLES};

/// Number of first migrations that create all tables which today's server writes.
const FIRST: usize = 3;

/// The tables that `furnish` leaves empty.
const NOT_FURNISHED: [&str; 3] = ["audits", "answers", "api_keys"];

fn migrations(backend: Backend) -> FileBasedMigrations {
    let name = match backend {
        Backend::Sqlite => "sqlite",
        Backend::Postgres => "postgres",
    };
    let all = concat!(env!("CARGO_MANIFEST_DIR"), "/../../migrations/");
    FileBasedMigrations::from_path(format!("{all}{name}")).unwrap()
}

/// The columns that a database has of every table. Later migrations add some.
fn columns(db: &mut Db) -> Vec<(&'static str, Vec<String>)> {
    let of = |db: &mut Db, table: &str| match db.is_sqlite() {
        true => texts(db, &format!("SELECT name AS found FROM pragma_table_info('{table}')")),
        false => texts(
            db,
            &format!(
                "SELECT column_name::text AS found FROM information_schema.columns \
                 WHERE table_schema = current_schema() AND table_name = '{table}'"
            ),
        ),
    };
    TABLES.iter().map(|table| (table.name, of(db, table.name))).collect()
}

/// Every row of every table, as the text of these columns.
fn rows(db: &mut Db, columns: &[(&'static str, Vec<String>)]) -> Vec<String> {
    let mut all = Vec::new();
    for (table, columns) in columns {
        let columns = columns.iter().map(|name| format!("coalesce(\"{name}\"::text, '-')"));
        let columns = columns.collect::<Vec<_>>().join(" || ' ' || ");
        let sql = format!("SELECT '{table} ' || {columns} AS found FROM {table} ORDER BY 1");
        // SQLite needs no cast to text.
        let sql = if db.is_sqlite() { sql.replace("::text", "") } else { sql };
        all.extend(texts(db, &sql));
    }
    all
}

fn keep_every_row(backend: Backend) {
    let new = Database::create(backend);
    let mut new = new.connect(Use::Read);
    let mut steps = 0;
    loop {
        let old = Database::create_empty(backend);
        let mut db = old.lane();
        for _ in 0..FIRST + steps {
            on_backend!(&mut db, c => c.run_next_migration(migrations(backend)).map(drop)).unwrap();
        }
        if db.pending_migrations().unwrap().is_empty() {
            break;
        }
        furnish(&mut db);
        let columns = columns(&mut db);
        let before = rows(&mut db, &columns);
        let is_filled =
            |table: &str| before.iter().any(|row| row.starts_with(&format!("{table} ")));
        let empty: Vec<&str> = TABLES.iter().map(|t| t.name).filter(|t| !is_filled(t)).collect();
        assert_eq!(empty, NOT_FURNISHED);
        db.migrate().unwrap();
        assert_eq!(rows(&mut db, &columns), before);
        assert_eq!(db.verify().unwrap(), []);
        assert_eq!(indexes(&mut db), indexes(&mut new));
        assert_eq!(keys(&mut db), keys(&mut new));
        assert_eq!(references(&mut db), references(&mut new));
        steps += 1;
    }
    assert!(steps > 0, "some upgrade was tried");
}

#[test]
fn sqlite() {
    keep_every_row(Backend::Sqlite);
}

#[test]
fn postgres() {
    keep_every_row(Backend::Postgres);
}
