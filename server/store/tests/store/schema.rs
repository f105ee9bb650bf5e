//! Both databases match `schema.rs`: the same names, types, keys and indexes.

use crate::database::{Backend, Database, both_databases, texts};
use ifmatch_store::{Db, Use, schema::TABLES};
use std::collections::BTreeSet;

/// All tables but the two that Diesel and SQLite keep for themselves.
pub fn tables(db: &mut Db) -> Vec<String> {
    let sql = match db {
        Db::Sqlite(_) => {
            "SELECT name AS found FROM sqlite_master WHERE type = 'table' \
             AND name NOT LIKE 'sqlite~_%' ESCAPE '~' AND name NOT LIKE '~_~_%' ESCAPE '~' ORDER BY 1"
        }
        Db::Postgres(_) => {
            "SELECT tablename::text AS found FROM pg_tables \
             WHERE schemaname = 'public' AND tablename NOT LIKE '\\_\\_%' ORDER BY 1"
        }
    };
    texts(db, sql)
}

/// `name type null?` of each column, in order.
/// The columns of a table with their types, in order.
pub fn columns(db: &mut Db, table: &str) -> Vec<String> {
    let sql = match db {
        Db::Sqlite(_) => format!(
            "SELECT name || ' ' || lower(type) || CASE \"notnull\" WHEN 1 THEN '' ELSE ' null' END \
             AS found FROM pragma_table_info('{table}') ORDER BY cid"
        ),
        Db::Postgres(_) => format!(
            "SELECT column_name || ' ' || data_type || CASE is_nullable WHEN 'NO' THEN '' ELSE \
             ' null' END AS found FROM information_schema.columns \
             WHERE table_schema = 'public' AND table_name = '{table}' ORDER BY ordinal_position"
        ),
    };
    texts(db, &sql)
}

fn of_diesel(sql_type: &str) -> String {
    let sql_type: String = sql_type.split_whitespace().collect();
    let inner = sql_type.strip_prefix("Nullable<").and_then(|rest| rest.strip_suffix('>'));
    let name = match inner.unwrap_or(&sql_type) {
        "Text" => "text",
        "BigInt" => "bigint",
        "Bool" => "boolean",
        other => panic!("a common column type: {other}"),
    };
    format!("{name}{}", if inner.is_some() { " null" } else { "" })
}

fn every_column_is_as_the_page_says(database: &Database) {
    let mut db = database.connect(Use::Read);
    let mut on_the_page: Vec<&str> = TABLES.iter().map(|table| table.name).collect();
    on_the_page.sort_unstable();
    assert_eq!(tables(&mut db), on_the_page);
    for table in TABLES {
        let mut expected: Vec<String> = table
            .columns
            .iter()
            .map(|(name, sql_type)| format!("{name} {}", of_diesel(sql_type)))
            .collect();
        if table.name == "events" {
            // `seq` is assigned by the database. SQLite does that only for `integer`.
            let counter = if db.is_sqlite() { "seq integer" } else { "seq bigint" };
            expected.insert(0, counter.to_owned());
        }
        assert_eq!(columns(&mut db, table.name), expected, "{}", table.name);
    }
}

fn a_second_migration_finds_nothing_to_do(database: &Database) {
    let mut db = database.connect(Use::Read);
    assert_eq!(db.migrate().unwrap(), Vec::<String>::new());
    assert_eq!(db.pending_migrations().unwrap(), Vec::<String>::new());
}

both_databases!(every_column_is_as_the_page_says, a_second_migration_finds_nothing_to_do);

/// Every index that a migration named, with its columns and condition.
pub fn indexes(db: &mut Db) -> BTreeSet<String> {
    let sql = match db {
        Db::Sqlite(_) => {
            "SELECT sql AS found FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
        }
        Db::Postgres(_) => {
            "SELECT indexdef AS found FROM pg_indexes WHERE schemaname = 'public' \
             AND indexname NOT IN (SELECT conname FROM pg_constraint) AND tablename NOT LIKE '\\_\\_%'"
        }
    };
    let normal = |text: String| {
        let text = text.replace("public.", "").replace(" USING btree", "").replace("::text", "");
        // How PostgreSQL writes a list.
        let text = text.replace("= ANY (ARRAY[", "IN (").replace(']', "");
        // And a long number in an expression.
        let text = text.replace("COALESCE(", "coalesce(").replace("'::bigint", "");
        let text = text.replace("'9223372036854775807", "9223372036854775807");
        let text = text.replace(['(', ')', '"'], " ").replace(',', " , ");
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    texts(db, sql).into_iter().map(normal).collect()
}

/// `table column,column` for every primary key and unique constraint.
pub fn keys(db: &mut Db) -> BTreeSet<String> {
    let sql = match db {
        Db::Sqlite(_) => {
            "SELECT t.name || ' ' || (SELECT group_concat(name, ',') FROM \
             (SELECT i.name FROM pragma_index_info(l.name) AS i ORDER BY i.seqno)) AS found \
             FROM sqlite_master AS t, pragma_index_list(t.name) AS l \
             WHERE t.type = 'table' AND l.origin IN ('pk', 'u') AND t.name NOT LIKE '~_~_%' ESCAPE '~' \
             UNION ALL SELECT 'events seq'"
        }
        Db::Postgres(_) => {
            "SELECT c.conrelid::regclass::text || ' ' || string_agg(a.attname, ',' \
             ORDER BY array_position(c.conkey, a.attnum)) AS found FROM pg_constraint AS c \
             JOIN pg_attribute AS a ON a.attrelid = c.conrelid AND a.attnum = ANY (c.conkey) \
             WHERE c.contype IN ('p', 'u') AND c.connamespace = 'public'::regnamespace \
             AND c.conrelid::regclass::text NOT LIKE '\\_\\_%' \
             GROUP BY c.oid, c.conrelid"
        }
    };
    texts(db, sql).into_iter().collect()
}

/// `table.column → table.column` for every foreign key.
pub fn references(db: &mut Db) -> BTreeSet<String> {
    let sql = match db {
        Db::Sqlite(_) => {
            "SELECT t.name || '.' || f.\"from\" || ' → ' || f.\"table\" || '.' || f.\"to\" \
             AS found FROM sqlite_master AS t, pragma_foreign_key_list(t.name) AS f WHERE t.type = 'table'"
        }
        Db::Postgres(_) => {
            "SELECT c.conrelid::regclass::text || '.' || a.attname || ' → ' || \
             c.confrelid::regclass::text || '.' || b.attname AS found FROM pg_constraint AS c \
             JOIN pg_attribute AS a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1] \
             JOIN pg_attribute AS b ON b.attrelid = c.confrelid AND b.attnum = c.confkey[1] \
             WHERE c.contype = 'f' AND c.connamespace = 'public'::regnamespace"
        }
    };
    texts(db, sql).into_iter().collect()
}

#[test]
fn both_databases_have_the_same_indexes_and_keys() {
    let (sqlite, postgres) =
        (Database::create(Backend::Sqlite), Database::create(Backend::Postgres));
    let (mut one, mut two) = (sqlite.connect(Use::Read), postgres.connect(Use::Read));
    assert_eq!(indexes(&mut one), indexes(&mut two));
    assert_eq!(keys(&mut one), keys(&mut two));
    assert_eq!(references(&mut one), references(&mut two));
    assert!(indexes(&mut one).len() >= 15 && keys(&mut one).len() >= 11, "both were looked at");
    assert!(references(&mut one).len() >= 6);
}

#[test]
fn the_later_migrations_are_the_same() {
    macro_rules! both {
        ($name:literal) => {
            (
                include_str!(concat!("../../../../migrations/sqlite/", $name, "/up.sql")),
                include_str!(concat!("../../../../migrations/postgres/", $name, "/up.sql")),
            )
        };
    }
    for (sqlite, postgres) in
        [both!("2026-11-22-000002_bookings"), both!("2026-11-22-000003_burnt_out")]
    {
        assert_eq!(sqlite, postgres);
    }
}

#[test]
fn both_migrations_are_the_same_but_for_the_counter_of_events() {
    macro_rules! both {
        ($name:literal) => {
            (
                include_str!(concat!("../../../../migrations/sqlite/", $name, "/up.sql")),
                include_str!(concat!("../../../../migrations/postgres/", $name, "/up.sql")),
            )
        };
    }
    let counter = (
        "    seq integer PRIMARY KEY AUTOINCREMENT NOT NULL,",
        "    seq bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,",
    );
    for ((sqlite, postgres), expected) in [
        (both!("2026-11-22-000000_billing"), vec![counter]),
        (both!("2026-11-22-000001_entitlements"), vec![]),
    ] {
        assert_eq!(sqlite.lines().count(), postgres.lines().count());
        let differing: Vec<(&str, &str)> =
            sqlite.lines().zip(postgres.lines()).filter(|(one, two)| one != two).collect();
        assert_eq!(differing, expected);
    }
}
