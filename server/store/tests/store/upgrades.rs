//! Upgrades: a database that an older server filled keeps all its rows.

use crate::{
    database::{Backend, Database, texts},
    schema::{indexes, keys, references, tables},
    verify::furnish,
};
use diesel_migrations::{FileBasedMigrations, MigrationHarness};
use ifmatch_store::{
    Db, Use, on_backend,
    schema::{TABLES, TableShape},
};

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

/// Every row of these tables, as text.
fn rows(db: &mut Db, tables: &[&TableShape]) -> Vec<String> {
    let mut all = Vec::new();
    for table in tables {
        let columns = table.columns.iter().map(|(name, _)| format!("coalesce({name}::text, '-')"));
        let columns = columns.collect::<Vec<_>>().join(" || ' ' || ");
        let sql = format!("SELECT '{0} ' || {columns} AS found FROM {0} ORDER BY 1", table.name);
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
        // A table of a later migration has no rows to keep.
        let made = tables(&mut db);
        let old_tables: Vec<_> =
            TABLES.iter().filter(|table| made.iter().any(|name| name == table.name)).collect();
        let before = rows(&mut db, &old_tables);
        let is_filled =
            |table: &str| before.iter().any(|row| row.starts_with(&format!("{table} ")));
        let empty: Vec<&str> =
            old_tables.iter().map(|t| t.name).filter(|t| !is_filled(t)).collect();
        assert_eq!(empty, NOT_FURNISHED);
        db.migrate().unwrap();
        assert_eq!(rows(&mut db, &old_tables), before);
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
