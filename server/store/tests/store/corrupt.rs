//! A value that its type does not have is an error that names the table and the column.

use crate::{
    book::Book,
    database::{Database, both_databases, execute, texts},
    lane::save,
};
use ifmatch_domain::{Need, State, core};
use ifmatch_store::{Db, StoreError};
use ifmatch_types::Kind;
use serde_json::json;

/// Turns the database's checks off, so that a test can break them as another program might.
fn without_checks(db: &mut Db) {
    if db.is_sqlite() {
        return execute(db, "PRAGMA ignore_check_constraints = ON");
    }
    let checks = "SELECT 'ALTER TABLE ' || conrelid::regclass || ' DROP CONSTRAINT ' || conname \
         AS found FROM pg_constraint WHERE contype = 'c' \
         AND connamespace = 'public'::regnamespace";
    for sql in texts(db, checks) {
        execute(db, &sql);
    }
}

#[track_caller]
fn assert_corrupt(error: &StoreError, column: &str, what: &str) {
    let StoreError::Corrupt { table, column: found, id, what: said } = error else {
        panic!("{column}: {error:?}")
    };
    assert_eq!((*table, *found), ("plans", column));
    assert!(id.starts_with("pln_") && said.contains(what), "{error}");
    let text = error.to_string();
    assert!(text.contains(&format!("plans.{column}")) && text.contains(what), "{text}");
    assert!(!error.is_transient() && !error.is_gone());
}

fn a_value_that_no_type_knows_is_told_with_its_column(database: &Database) {
    let mut db = database.lane();
    let mut book = Book::default();
    let id = book.plan("p", json!({}));
    save(&mut db, |state| {
        book.world
            .plans
            .iter()
            .for_each(|(id, row)| state.billing_mut().plans.put(id.clone(), row.clone()));
    })
    .unwrap();
    without_checks(&mut db);
    for (column, value, before, what) in [
        ("status", "'gone'", "'active'", "`gone`"),
        ("\"interval\"", "'decade'", "'month'", "`decade`"),
        ("metadata", "'{'", "'{}'", "EOF"),
        ("created_at", "9223372036854775807", "0", "instant 9223372036854775807"),
        ("deleted_at", "9223372036854775807", "NULL", "instant 9223372036854775807"),
    ] {
        execute(&mut db, &format!("UPDATE plans SET {column} = {value}"));
        let column_name = column.trim_matches('"');
        let mut state = State::default();
        let error = db
            .load([Need::Core(core::Need::Object(Kind::Plan, id.clone()))], &mut state)
            .unwrap_err();
        assert_corrupt(&error, column_name, what);
        let error = db.find(Kind::Plan, vec![id.clone()]).unwrap_err();
        assert_corrupt(&error, column_name, what);
        execute(&mut db, &format!("UPDATE plans SET {column} = {before}"));
        assert_eq!(db.find(Kind::Plan, vec![id.clone()]).unwrap().len(), 1, "{column}");
    }
}

both_databases!(a_value_that_no_type_knows_is_told_with_its_column);
