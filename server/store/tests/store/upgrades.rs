//! Upgrades: a database that an older server filled keeps all its rows.

use crate::{
    database::{Backend, Database, execute, texts},
    schema::{columns, indexes, keys, references},
    verify::furnish,
};
use diesel_migrations::{FileBasedMigrations, MigrationHarness};
use ifmatch_store::{Db, Use, on_backend, schema::TABLES};

/// Number of migrations of the oldest schema that is upgraded.
const FIRST: usize = 3;

/// The tables that `furnish` leaves empty.
const NOT_FURNISHED: [&str; 4] = ["redactions", "answers", "api_keys", "secrets"];

pub fn migrations(backend: Backend) -> FileBasedMigrations {
    let name = match backend {
        Backend::Sqlite => "sqlite",
        Backend::Postgres => "postgres",
    };
    let all = concat!(env!("CARGO_MANIFEST_DIR"), "/../../migrations/");
    FileBasedMigrations::from_path(format!("{all}{name}")).unwrap()
}

/// The columns of today's tables that a database has, by table.
fn columns_there(db: &mut Db) -> Vec<(&'static str, Vec<&'static str>)> {
    let mut all = Vec::new();
    for table in TABLES {
        let there = columns(db, table.name);
        let is_there =
            |name: &str| there.iter().any(|column| column.split(' ').next() == Some(name));
        let names = table.columns.iter().map(|(name, _)| *name).filter(|name| is_there(name));
        all.push((table.name, names.collect::<Vec<_>>()));
    }
    all.retain(|(_, columns)| !columns.is_empty());
    all
}

/// These columns of every row, as text.
fn rows(db: &mut Db, tables: &[(&str, Vec<&str>)]) -> Vec<String> {
    let mut all = Vec::new();
    for (table, columns) in tables {
        let columns = columns.iter().map(|name| format!("coalesce({name}::text, '-')"));
        let columns = columns.collect::<Vec<_>>().join(" || ' ' || ");
        let sql = format!("SELECT '{table} ' || {columns} AS found FROM {table} ORDER BY 1");
        // SQLite needs no cast to text.
        let sql = if db.is_sqlite() { sql.replace("::text", "") } else { sql };
        all.extend(texts(db, &sql));
    }
    all
}

/// The rows are made by today's server, because an old one is not at hand. Then the database is
/// taken back to an old schema.
fn keep_every_row(backend: Backend) {
    let new = Database::create(backend);
    let mut new = new.connect(Use::Read);
    let applied = on_backend!(&mut new, c => c.applied_migrations().map(|all| all.len())).unwrap();
    assert!(FIRST < applied, "some upgrade is tried");
    for old_schema in FIRST..applied {
        let old = Database::create(backend);
        let mut db = old.lane();
        furnish(&mut db);
        for _ in old_schema..applied {
            on_backend!(&mut db, c => c.revert_last_migration(migrations(backend)).map(drop))
                .unwrap();
        }
        let there = columns_there(&mut db);
        let before = rows(&mut db, &there);
        let is_filled =
            |table: &str| before.iter().any(|row| row.starts_with(&format!("{table} ")));
        let empty: Vec<&str> =
            there.iter().map(|(name, _)| *name).filter(|name| !is_filled(name)).collect();
        let is_there = |name: &&str| there.iter().any(|(table, _)| table == name);
        let expected: Vec<&str> = NOT_FURNISHED.into_iter().filter(is_there).collect();
        assert_eq!(empty, expected);
        db.migrate().unwrap();
        assert_eq!(rows(&mut db, &there), before);
        assert_eq!(db.verify().unwrap(), []);
        assert_eq!(indexes(&mut db), indexes(&mut new));
        assert_eq!(keys(&mut db), keys(&mut new));
        assert_eq!(references(&mut db), references(&mut new));
    }
}

#[test]
fn sqlite() {
    keep_every_row(Backend::Sqlite);
}

#[test]
fn postgres() {
    keep_every_row(Backend::Postgres);
}

/// Notes the call of each statement that changes the schema: all that the client sent at once.
const NOTE_CALLS: &str = "
    CREATE TABLE calls (call text);
    CREATE FUNCTION note_call() RETURNS event_trigger LANGUAGE plpgsql
        AS $$ BEGIN INSERT INTO public.calls VALUES (current_query()); END $$;
    CREATE EVENT TRIGGER note ON ddl_command_end EXECUTE FUNCTION note_call()";

/// Citus needs one statement a call.
#[test]
fn on_postgres_each_statement_of_a_migration_is_a_call_of_its_own() {
    let database = Database::create_empty(Backend::Postgres);
    let mut db = database.connect(Use::Read);
    execute(&mut db, NOTE_CALLS);
    db.migrate().unwrap();
    let calls = texts(&mut db, "SELECT call AS found FROM calls");
    assert!(calls.len() > 100, "{} calls", calls.len());
    let several = "SELECT call AS found FROM calls \
                   WHERE regexp_replace(call, '--[^\\n]*', '', 'g') \
                   ~* ';\\s+(create|alter|drop|insert|update|delete|with) '";
    assert_eq!(texts(&mut db, several), Vec::<String>::new());
}
