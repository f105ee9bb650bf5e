//! Upgrades: a database that an older server filled keeps all its rows.

use crate::{
    database::{Backend, Database, texts},
    schema::{indexes, keys, references},
    verify::furnish,
};
use diesel_migrations::{FileBasedMigrations, MigrationHarness};
use ifmatch_store::{
    Db, Use, on_backend,
    schema::{TABLES, TableShape},
};

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

/// The columns that a table has now.
fn columns(db: &mut Db, table: &str) -> Vec<String> {
    let sql = match db {
        Db::Sqlite(_) => format!("SELECT name AS found FROM pragma_table_info('{table}')"),
        Db::Postgres(_) => format!(
            "SELECT column_name::text AS found FROM information_schema.columns \
             WHERE table_schema = 'public' AND table_name = '{table}'"
        ),
    };
    texts(db, &sql)
}

/// The tables and columns that the schema has now, among those of today's server.
fn shape(db: &mut Db) -> Vec<(&'static str, Vec<&'static str>)> {
    let known = |table: &TableShape| {
        let there = columns(db, table.name);
        let names = table.columns.iter().map(|(name, _)| *name);
        (table.name, names.filter(|name| there.iter().any(|there| there == name)).collect())
    };
    TABLES.iter().map(known).filter(|(_, columns): &(_, Vec<_>)| !columns.is_empty()).collect()
}

/// Every row of these tables, as text.
fn rows(db: &mut Db, shape: &[(&str, Vec<&str>)]) -> Vec<String> {
    let mut all = Vec::new();
    for (table, columns) in shape {
        let columns = columns.iter().map(|name| format!("coalesce({name}::text, '-')"));
        let columns = columns.collect::<Vec<_>>().join(" || ' ' || ");
        let sql = format!("SELECT '{table} ' || {columns} AS found FROM {table} ORDER BY 1");
        // SQLite needs no cast to text.
        let sql = if db.is_sqlite() { sql.replace("::text", "") } else { sql };
        all.extend(texts(db, &sql));
    }
    all
}

/// Fills a database, takes its last migrations back, and upgrades it again.
fn keep_every_row(backend: Backend) {
    let new = Database::create(backend);
    let mut new = new.connect(Use::Read);
    let mut steps = 0;
    loop {
        let old = Database::create(backend);
        let mut db = old.lane();
        furnish(&mut db);
        let is_filled = |db: &mut Db, table: &str| {
            !texts(db, &format!("SELECT 'row' AS found FROM {table} LIMIT 1")).is_empty()
        };
        let empty: Vec<&str> =
            TABLES.iter().map(|t| t.name).filter(|t| !is_filled(&mut db, t)).collect();
        assert_eq!(empty, NOT_FURNISHED);
        for _ in 0..=steps {
            on_backend!(&mut db, c => c.revert_last_migration(migrations(backend)).map(drop))
                .unwrap();
        }
        let shape = shape(&mut db);
        if !shape.iter().any(|(table, _)| *table == "bookings") {
            break;
        }
        let before = rows(&mut db, &shape);
        db.migrate().unwrap();
        assert_eq!(rows(&mut db, &shape), before);
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
