//! Lookups for a whole batch: one statement on PostgreSQL, one cached statement per key on SQLite.

use super::{
    bulk::{rows_of, transpose},
    db::Db,
    error::StoreError,
    sql::{Cell, Column, Sql},
};
use crate::schema::StoredRow;
use ifmatch_domain::Mutant;
use std::collections::BTreeMap;

/// The strength of a row lock, which is held until the commit.
///
/// SQLite has one writer, which locks everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lock {
    /// No lock.
    None,
    /// `FOR SHARE`: no other writer can change the row, but others can share it. `KEY SHARE` is too
    /// weak: the row could be archived meanwhile.
    Share,
    /// `FOR NO KEY UPDATE`: excludes every other writer, but not the check of a foreign key.
    Update,
}

impl Lock {
    /// The locking clause of a `SELECT`.
    fn clause(self) -> &'static str {
        match self {
            Self::Update | Self::Share if Mutant::DropRowGuard.is_planted() => "",
            Self::Update => " FOR NO KEY UPDATE",
            Self::Share => " FOR SHARE",
            Self::None => "",
        }
    }
}

/// The rows whose column is one of the keys.
///
/// Rows come in the order of the keys, which must be sorted. PostgreSQL locks them in that order.
pub(crate) fn select_by<R: StoredRow>(
    db: &mut Db,
    column: &str,
    keys: Vec<String>,
    lock: Lock,
) -> Result<Vec<R>, StoreError> {
    run(db, selects_where::<R>(db.is_sqlite(), "", column, keys, lock))
}

/// Like [`select_by`], for rows that also meet a condition, without locks.
///
/// The condition ends in ` AND `. It is the condition of the partial index that is to be used.
pub(crate) fn select_where<R: StoredRow>(
    db: &mut Db,
    condition: &str,
    column: &str,
    keys: Vec<String>,
) -> Result<Vec<R>, StoreError> {
    run(db, selects_where::<R>(db.is_sqlite(), condition, column, keys, Lock::None))
}

/// Like [`select_where`], for a column that several rows share: they are locked in the order of
/// their ids.
pub(crate) fn select_ordered<R: StoredRow>(
    db: &mut Db,
    condition: &str,
    column: &str,
    keys: Vec<String>,
    lock: Lock,
) -> Result<Vec<R>, StoreError> {
    if db.is_sqlite() || keys.is_empty() {
        return run(db, selects_where::<R>(db.is_sqlite(), condition, column, keys, lock));
    }
    let sql = R::select()
        .text(format!(" WHERE {condition}\"{column}\" = ANY("))
        .array(Column::Text(keys))
        .text(format!(") ORDER BY \"{column}\", id"))
        .text(lock.clause());
    R::query(db, sql)
}

/// The queries of [`select_where`]: one on PostgreSQL, one cached query per key on SQLite.
pub(crate) fn selects_where<R: StoredRow>(
    is_sqlite: bool,
    condition: &str,
    column: &str,
    keys: Vec<String>,
    lock: Lock,
) -> Vec<Sql> {
    if keys.is_empty() {
        return Vec::new();
    }
    if is_sqlite {
        let select = |key| {
            let head = format!(" WHERE {condition}\"{column}\" = ");
            R::select().text(head).bind(Cell::Text(key))
        };
        return keys.into_iter().map(select).collect();
    }
    let sql = R::select()
        .text(format!(" WHERE {condition}\"{column}\" = ANY("))
        .array(Column::Text(keys))
        .text(format!(") ORDER BY \"{column}\""))
        .text(lock.clause());
    vec![sql]
}

/// Loads rows by key, each with its own lock strength, and locks them in the order of the keys.
///
/// `has_turnstile` is for tables whose rows very many commands refer to; see [`TURNSTILE`].
pub(crate) fn select_locked<R: StoredRow>(
    db: &mut Db,
    keys: BTreeMap<String, Lock>,
    has_turnstile: bool,
) -> Result<Vec<R>, StoreError> {
    let strongest = keys.values().max().copied().unwrap_or(Lock::None);
    let is_mixed = keys.values().any(|lock| *lock != strongest);
    let is_locked = !strongest.clause().is_empty() && !db.is_sqlite();
    if is_locked && (is_mixed || has_turnstile) {
        return R::query(db, select_mixed::<R>(keys, has_turnstile));
    }
    select_by(db, "id", keys.into_keys().collect(), strongest)
}

/// Lets a change go before the references that arrive after it.
///
/// PostgreSQL grants a shared row lock while others share the row, even if a change waits for it.
/// With overlapping references, that change would wait for ever. Advisory locks have a fair queue: a
/// reference holds a shared one until its commit, a change an exclusive one. Each takes a place in
/// PostgreSQL's lock table, so only kinds with few, much-referenced objects have them.
const TURNSTILE: &str = "CASE WHEN is_changed \
     THEN pg_advisory_xact_lock(hashtextextended(id, 0)) IS NOT NULL \
     ELSE pg_advisory_xact_lock_shared(hashtextextended(id, 0)) IS NOT NULL END";

/// For each row, takes the turnstile first and then the row lock of the needed strength.
///
/// Only sub-selects can have locks of different strengths. In a sub-select, PostgreSQL can read a
/// row again after a wait without passing the turnstile twice, which would be a deadlock.
fn select_mixed<R: StoredRow>(keys: BTreeMap<String, Lock>, has_turnstile: bool) -> Sql {
    let changed = keys.values().map(|lock| *lock == Lock::Update).collect();
    let ids = keys.into_keys().collect();
    let passed = if has_turnstile { TURNSTILE } else { "true" };
    let keys = Sql::new(format!("SELECT id, is_changed, {passed} AS passed FROM "));
    let columns = vec![Column::Text(ids), Column::Bool(changed)];
    let keys = keys.text("(").query(rows_of(columns, &["id", "is_changed"]));
    let keys = keys.text(") AS u OFFSET 0");
    let row = |condition: &str, lock: Lock| {
        let select = R::select().text(format!(" WHERE id = k.id AND {condition} AND k.passed"));
        select.text(lock.clause())
    };
    Sql::new("SELECT one.* FROM (")
        .query(keys)
        .text(") AS k CROSS JOIN LATERAL (SELECT * FROM (")
        .query(row("k.is_changed", Lock::Update))
        .text(") AS changed UNION ALL SELECT * FROM (")
        .query(row("NOT k.is_changed", Lock::Share))
        .text(") AS shared) AS one")
}

/// A query that is run for each key. A value of the key follows each of its texts.
pub(crate) struct Each<'a> {
    /// Texts of the query, each followed by a value of the key.
    pub(crate) texts: &'a [&'a str],
    /// The end of the query.
    pub(crate) tail: &'a str,
}

impl Each<'_> {
    /// One lookup per key: one query on PostgreSQL, one cached query per key on SQLite.
    ///
    /// On PostgreSQL each key is looked up separately, whatever the planner estimates. A join that
    /// was planned when the table was empty would read the whole index for each batch until the
    /// next `ANALYZE`.
    pub(crate) fn of(
        &self,
        is_sqlite: bool,
        keys: impl IntoIterator<Item = Vec<Cell>>,
    ) -> Vec<Sql> {
        let keys = keys.into_iter();
        if is_sqlite {
            let one = |key: Vec<Cell>| {
                let parts = self.texts.iter().zip(key);
                let sql = parts.fold(Sql::default(), |sql, (text, cell)| {
                    sql.text((*text).to_owned()).bind(cell)
                });
                sql.text(self.tail.to_owned())
            };
            return keys.map(one).collect();
        }
        let columns = transpose(keys);
        if columns.is_empty() {
            return Vec::new();
        }
        let names: Vec<String> = (0..columns.len()).map(|place| format!("c{place}")).collect();
        let sql = Sql::new("SELECT one.* FROM (")
            .query(rows_of(columns, &names))
            .text(") AS k CROSS JOIN LATERAL (");
        let parts = self.texts.iter().zip(&names);
        let sql = parts.fold(sql, |sql, (text, name)| sql.text(format!("{text}k.{name}")));
        // Without `OFFSET 0` the planner would make this a join.
        vec![sql.text(format!("{} OFFSET 0) AS one", self.tail))]
    }
}

/// Runs queries that return all columns of a table, and collects their rows.
pub(crate) fn run<R: StoredRow>(db: &mut Db, queries: Vec<Sql>) -> Result<Vec<R>, StoreError> {
    let mut rows = Vec::new();
    for sql in queries {
        rows.append(&mut R::query(db, sql)?);
    }
    Ok(rows)
}

/// Runs queries that return tuples of these SQL types, and collects their rows.
macro_rules! load_all {
    ($db:expr, $queries:expr, $types:ty) => {{
        let mut found = Vec::new();
        for sql in $queries {
            let query = sql.returning::<$types>();
            let mut rows = $crate::on_backend!($db, c => query.load(c))?;
            found.append(&mut rows);
        }
        found
    }};
}
pub(crate) use load_all;
