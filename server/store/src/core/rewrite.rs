//! Rewrites columns of stored rows, in the slices of a redaction.

use super::{
    bulk::{rows_of, transpose},
    db::Db,
    error::StoreError,
    sql::{Cell, Sql},
};
use crate::on_backend;
use diesel::RunQueryDsl;

/// The columns to rewrite of one table, and those that a row is found by.
pub(crate) struct Rewritten {
    /// The table.
    pub(crate) table: &'static str,
    /// The columns that a row is found by.
    pub(crate) keys: &'static [&'static str],
    /// The columns to rewrite.
    pub(crate) columns: &'static [&'static str],
}

impl Rewritten {
    /// Rewrites rows: of each, the values of the key columns, and then those of the other columns.
    ///
    /// One statement on PostgreSQL, one cached statement per row on SQLite.
    pub(crate) fn run(&self, db: &mut Db, rows: Vec<Vec<Cell>>) -> Result<(), StoreError> {
        if rows.is_empty() {
            return Ok(());
        }
        if db.is_sqlite() {
            for row in rows {
                let sql = self.one(row);
                on_backend!(db, c => sql.execute(c))?;
            }
            return Ok(());
        }
        let sql = self.all(rows);
        on_backend!(db, c => sql.execute(c))?;
        Ok(())
    }

    fn one(&self, row: Vec<Cell>) -> Sql {
        let mut cells = row.into_iter();
        let keys: Vec<Cell> = cells.by_ref().take(self.keys.len()).collect();
        let mut sql = Sql::new(format!("UPDATE {} SET ", self.table));
        for (index, (name, cell)) in self.columns.iter().zip(cells).enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            sql = sql.text(format!("{comma}\"{name}\" = ")).bind(cell);
        }
        for (index, (name, key)) in self.keys.iter().zip(keys).enumerate() {
            let and = if index == 0 { " WHERE " } else { " AND " };
            sql = sql.text(format!("{and}\"{name}\" = ")).bind(key);
        }
        sql
    }

    fn all(&self, rows: Vec<Vec<Cell>>) -> Sql {
        let quoted = |names: &[&str], text: fn(&str) -> String, separator: &str| {
            names.iter().map(|name| text(name)).collect::<Vec<_>>().join(separator)
        };
        let names = [self.keys, self.columns].concat();
        let set = quoted(self.columns, |name| format!("\"{name}\" = u.\"{name}\""), ", ");
        let keys = quoted(self.keys, |name| format!("t.\"{name}\" = u.\"{name}\""), " AND ");
        Sql::new(format!("UPDATE {} AS t SET {set} FROM (", self.table))
            .query(rows_of(transpose(rows.into_iter()), &names))
            .text(format!(") AS u WHERE {keys}"))
    }
}
