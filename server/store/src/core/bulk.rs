//! The writes of a batch: inserts and guarded updates of many rows.
//!
//! On PostgreSQL each table takes one statement, and neighbours whose order does not matter go in one
//! round trip. On SQLite each row takes one cached statement inside the same transaction,
//! which is faster there than any bulk form (measured).

use super::{
    db::Db,
    error::StoreError,
    sql::{Cell, Column, Returning, Sql},
    unlocked::Stamps,
};
use crate::schema::StoredRow;
use diesel::{PgConnection, RunQueryDsl, sql_types::BigInt};
use ifmatch_domain::Mutant;

/// A row to update.
pub(crate) struct Update<R> {
    /// The row as it was loaded.
    pub(crate) before: R,
    /// The row as it is to be saved.
    pub(crate) after: R,
    /// The value of its guard column when it was loaded.
    pub(crate) guard: i64,
}

/// The writes of one batch to one table.
struct Write {
    table: &'static str,
    /// Number of rows that must be written. Any other number fails the batch.
    expected: usize,
    /// Whether this write must keep its place among the writes of the batch.
    in_order: bool,
    statements: Vec<Sql>,
}

/// All writes of a batch, in order.
pub(crate) struct Writes {
    is_sqlite: bool,
    /// Stamps of the rows to update, if these are not locked.
    stamps: Option<Stamps>,
    writes: Vec<Write>,
}

impl Writes {
    pub(crate) fn to(db: &Db) -> Self {
        Self { is_sqlite: db.is_sqlite(), stamps: None, writes: Vec::new() }
    }

    /// Writes to rows that were read without a lock, on PostgreSQL.
    pub(crate) fn unlocked(stamps: Stamps) -> Self {
        Self { is_sqlite: false, stamps: Some(stamps), writes: Vec::new() }
    }

    /// Inserts rows that must keep their place among the writes of the batch.
    ///
    /// Use it for a table that others refer to, or whose unique keys an update may free.
    pub(crate) fn insert<R: StoredRow>(&mut self, rows: Vec<R>) {
        self.push_insert(rows, true);
    }

    /// Inserts rows whose place among the writes of the batch does not matter.
    ///
    /// No other row of the batch refers to them, and no update frees their unique keys. The rows
    /// they refer to are inserted before them or exist already.
    pub(crate) fn append<R: StoredRow>(&mut self, rows: Vec<R>) {
        self.push_insert(rows, false);
    }

    fn push_insert<R: StoredRow>(&mut self, rows: Vec<R>, in_order: bool) {
        let expected = rows.len();
        if expected == 0 {
            return;
        }
        let head = || {
            let sql = Sql::new("INSERT INTO ").text(R::TABLE).text(" (");
            sql.text(R::column_list()).text(") ")
        };
        let statements = if self.is_sqlite {
            let values = |row: R| {
                let cells = row.cells().into_iter().enumerate();
                let sql = head().text("VALUES (");
                let sql = cells.fold(sql, |sql, (index, cell)| sql.text(comma(index)).bind(cell));
                sql.text(")")
            };
            rows.into_iter().map(values).collect()
        } else {
            let columns = transpose(rows.into_iter().map(StoredRow::cells));
            vec![head().query(rows_of(columns, R::COLUMNS))]
        };
        self.writes.push(Write { table: R::TABLE, expected, in_order, statements });
    }

    /// Updates rows by their first column, each guarded by its guard column.
    ///
    /// A row whose guard column changed since it was loaded is an error. A bug in the lane, or a
    /// writer that does not lock, therefore fails the batch and never loses an update. Only columns
    /// that changed are set: SQLite rewrites the index of every column that is named.
    pub(crate) fn update<R: StoredRow>(
        &mut self,
        guard_column: &'static str,
        updates: Vec<Update<R>>,
    ) {
        let expected = updates.len();
        if expected == 0 {
            return;
        }
        let rows: Vec<ChangedRow> =
            updates.into_iter().map(|update| ChangedRow::of(guard_column, update)).collect();
        let statements = if self.is_sqlite {
            rows.into_iter().map(|row| update_one::<R>(guard_column, row)).collect()
        } else {
            let stamps = self.stamps.as_ref().filter(|stamps| stamps.are_required_of(R::TABLE));
            vec![update_all::<R>(guard_column, rows, stamps)]
        };
        self.writes.push(Write { table: R::TABLE, expected, in_order: false, statements });
    }

    /// Runs all writes.
    pub(crate) fn run(self, db: &mut Db) -> Result<(), StoreError> {
        if self.is_sqlite {
            return self.writes.into_iter().try_for_each(|write| write.run(db));
        }
        let mut group = Vec::new();
        for write in self.writes {
            if write.in_order {
                run_group(std::mem::take(&mut group), db)?;
                write.run(db)?;
            } else {
                group.push(write);
            }
        }
        run_group(group, db)
    }

    /// All writes as one statement, which fails if one of them does not write all its rows.
    ///
    /// `None` if one of them must keep its place. `settings` is what it makes its settings with, before
    /// it writes.
    pub(crate) fn into_one_statement(self, settings: &str) -> Option<Returning<BigInt>> {
        if self.writes.is_empty() || self.writes.iter().any(|write| write.in_order) {
            return None;
        }
        let (sql, expectations) = all_at_once(self.writes);
        // The parts of a union are read in their order, and each write when it is counted.
        let sql = sql.text(format!(" SELECT length({settings})::bigint"));
        let checks = expectations.into_iter().enumerate().fold(sql, |sql, (index, check)| {
            let (table, expected) = check;
            let expected = i64::try_from(expected).unwrap_or(i64::MAX);
            sql.text(" UNION ALL SELECT CASE WHEN count(*) = ").bind(expected).text(format!(
                " THEN count(*)::text ELSE 'a row of {table} {LOST}' END::bigint FROM w{index}"
            ))
        });
        Some(checks.returning())
    }
}

/// What PostgreSQL is told to read as a number if a guard was lost, so that the statement fails.
const LOST: &str = "is not as it was read";

impl Write {
    fn run(self, db: &mut Db) -> Result<(), StoreError> {
        let mut saved = 0usize;
        for sql in self.statements {
            let rows = crate::on_backend!(db, connection => sql.execute(connection))?;
            saved = saved.saturating_add(rows);
        }
        assert_saved(self.table, self.expected, saved)
    }
}

/// Runs writes between two that keep their place.
fn run_group(group: Vec<Write>, db: &mut Db) -> Result<(), StoreError> {
    match db {
        Db::Postgres(postgres) if group.len() > 1 => run_at_once(group, postgres.connection()),
        db => group.into_iter().try_for_each(|write| write.run(db)),
    }
}

/// Several writes as the parts `w0`, `w1`, … of a `WITH`, and how many rows each must write to which
/// table.
fn all_at_once(writes: Vec<Write>) -> (Sql, Vec<(&'static str, usize)>) {
    let mut sql = Sql::new("WITH ");
    let mut expectations = Vec::new();
    for (index, write) in writes.into_iter().enumerate() {
        for statement in write.statements {
            sql = sql.text(format!("{}w{index} AS (", comma(index))).query(statement);
            sql = sql.text(" RETURNING 1)");
        }
        expectations.push((write.table, write.expected));
    }
    (sql, expectations)
}

/// Runs several writes as one statement, in one round trip.
///
/// Each part returns how many rows it wrote.
fn run_at_once(writes: Vec<Write>, connection: &mut PgConnection) -> Result<(), StoreError> {
    let (sql, expectations) = all_at_once(writes);
    let count = |index| format!("SELECT {index}::bigint AS place, count(*) AS saved FROM w{index}");
    let counts: Vec<String> = (0..expectations.len()).map(count).collect();
    let sql = sql.text(format!(" {} ORDER BY place", counts.join(" UNION ALL ")));
    let counted: Vec<(i64, i64)> = sql.returning::<(BigInt, BigInt)>().load(connection)?;
    expectations.into_iter().zip(counted).try_for_each(|((table, expected), (_, saved))| {
        assert_saved(table, expected, usize::try_from(saved).unwrap_or_default())
    })
}

/// A row to update, column by column.
struct ChangedRow {
    cells: Vec<Cell>,
    /// Which columns to set: the changed ones and the guard column.
    set: Vec<bool>,
    guard: i64,
}

impl ChangedRow {
    fn of<R: StoredRow>(guard_column: &str, update: Update<R>) -> Self {
        let (before, cells) = (update.before.cells(), update.after.cells());
        let columns = before.iter().zip(&cells).zip(R::COLUMNS);
        let set = columns.map(|((before, after), name)| before != after || *name == guard_column);
        let set = set.collect();
        Self { cells, set, guard: update.guard }
    }

    /// Its stamp when it was read.
    fn stamp(&self, stamps: &Stamps) -> i64 {
        match self.cells.first() {
            Some(Cell::Text(key)) => stamps.of(key),
            // The keys of what can be read without a lock are texts.
            _ => Stamps::NONE,
        }
    }
}

/// The guarded update of one row.
fn update_one<R: StoredRow>(guard_column: &'static str, row: ChangedRow) -> Sql {
    let mut sql = Sql::new("UPDATE ").text(R::TABLE).text(" SET ");
    let mut columns = R::COLUMNS.iter().zip(row.cells).zip(row.set);
    let ((key_column, key), _) = columns.next().expect("every table has a key");
    let set = columns.filter(|(_, set)| *set).map(|(column, _)| column);
    for (index, (name, cell)) in set.enumerate() {
        sql = sql.text(comma(index)).text("\"").text(*name).text("\" = ").bind(cell);
    }
    let sql = sql.text(" WHERE \"").text(*key_column).text("\" = ").bind(key);
    if Mutant::DropRowGuard.is_planted() {
        return sql;
    }
    sql.text(" AND \"").text(guard_column).text("\" = ").bind(row.guard)
}

/// The guarded update of all rows. It sets every column that changed in any of them.
///
/// Rows that are not locked are also guarded by their stamps.
fn update_all<R: StoredRow>(
    guard_column: &str,
    rows: Vec<ChangedRow>,
    stamps: Option<&Stamps>,
) -> Sql {
    let is_set = |place: usize| {
        // The key is the first column, and rows are found by it.
        place == 0 || rows.iter().any(|row| row.set.get(place).copied().unwrap_or_default())
    };
    let names: Vec<&str> = R::COLUMNS
        .iter()
        .enumerate()
        .filter(|(place, _)| is_set(*place))
        .map(|(_, name)| *name)
        .collect();
    let set: Vec<bool> = (0..R::COLUMNS.len()).map(is_set).collect();
    let guards = rows.iter().map(|row| row.guard).collect();
    let stamps = stamps.map(|stamps| rows.iter().map(|row| row.stamp(stamps)).collect());
    let kept = rows.into_iter().map(|row| {
        let cells = row.cells.into_iter().zip(&set);
        cells.filter(|(_, set)| **set).map(|(cell, _)| cell).collect()
    });
    let mut columns = transpose(kept);
    columns.push(Column::Int(guards));
    let is_stamped = stamps.is_some();
    columns.extend(stamps.map(Column::Int));
    let assignments: Vec<String> =
        names.iter().skip(1).map(|name| format!("\"{name}\" = u.\"{name}\"")).collect();
    let names = [names.as_slice(), &["guard_as_loaded", "stamp"]].concat();
    let key = R::COLUMNS.first().expect("every table has a key");
    let head = format!("UPDATE {} AS t SET {} FROM (", R::TABLE, assignments.join(", "));
    let sql = Sql::new(head)
        .query(rows_of(columns, &names))
        .text(format!(") AS u WHERE t.\"{key}\" = u.\"{key}\""));
    if Mutant::DropRowGuard.is_planted() {
        return sql;
    }
    let sql = sql.text(format!(" AND t.\"{guard_column}\" = u.guard_as_loaded"));
    if is_stamped { sql.text(" AND t.xmin::text::bigint = u.stamp") } else { sql }
}

fn assert_saved(table: &'static str, expected: usize, saved: usize) -> Result<(), StoreError> {
    if saved == expected { Ok(()) } else { Err(StoreError::LostGuard { table, expected, saved }) }
}

/// Turns rows into columns.
pub(crate) fn transpose(rows: impl Iterator<Item = Vec<Cell>>) -> Vec<Column> {
    let mut columns: Vec<Column> = Vec::new();
    for row in rows {
        for (place, cell) in row.into_iter().enumerate() {
            match columns.get_mut(place) {
                Some(column) => column.push(cell),
                None => {
                    let mut column = Column::like(&cell);
                    column.push(cell);
                    columns.push(column);
                }
            }
        }
    }
    columns
}

/// A query that returns columns as rows, with these names (PostgreSQL only).
///
/// `SELECT * FROM unnest($1, $2, …)` would put each column into a temporary table of its own, which
/// costs more than most writes do (measured: 60 to 80 µs of a statement with 35 columns, whether it
/// has one row or many).
pub(crate) fn rows_of<N: AsRef<str>>(columns: Vec<Column>, names: &[N]) -> Sql {
    let named = columns.into_iter().zip(names).enumerate();
    named.fold(Sql::new("SELECT "), |sql, (index, (column, name))| {
        let end = format!("::{}) AS \"{}\"", column.array_type(), name.as_ref());
        sql.text(format!("{}unnest(", comma(index))).array(column).text(end)
    })
}

fn comma(index: usize) -> &'static str {
    if index == 0 { "" } else { ", " }
}
