//! Batches without locks, on PostgreSQL: two round trips fewer.
//!
//! Objects are read without a lock, each with its stamp. One statement then saves the whole batch and
//! commits itself. It fails, and writes nothing, if a row is no longer the one that was read. This is
//! for batches that depend on nothing but the objects that they change.

use super::{
    bulk::Writes,
    db::Db,
    error::StoreError,
    object::{RowOf, StoredObject, put_objects},
    postgres::{PostgresDb, unlocked_settings},
    record::Record,
    save::add_all,
    select::Lock,
    sql::{Column, Sql},
};
use crate::{schema::StoredRow, systems};
use diesel::RunQueryDsl;
use ifmatch_domain::{
    Mutant, State,
    core::{LockClass, Row},
};
use ifmatch_types::Timestamp;
use std::collections::{BTreeSet, HashMap};

/// The bugs that are planted between a save and its commit. Without locks, these are one.
const NEED_A_TRANSACTION: [Mutant; 3] =
    [Mutant::SplitAnswer, Mutant::AnswerBeforeCommit, Mutant::ReadUnsettledEvents];

/// A table whose rows can be read without locks.
#[derive(Clone, Copy)]
pub(crate) struct StampedTable {
    /// Its name.
    pub(crate) table: &'static str,
    /// Tables whose rows change only together with one of these. Their own guards tell each change.
    pub(crate) dependents: &'static [&'static str],
    /// Reads rows into the state, with [`read_stamped`].
    pub(crate) read: fn(&mut PostgresDb, &BTreeSet<String>, &mut State) -> Result<ById, StoreError>,
}

/// Stamps by the ids of rows.
pub(crate) type ById = HashMap<String, i64>;

impl StampedTable {
    /// The table of a kind of object. `None` if its changes wait at a turnstile.
    pub(crate) fn of<R: StoredObject>() -> Option<Self>
    where
        Row<R>: Record,
    {
        let table = RowOf::<R>::TABLE;
        (!R::HAS_TURNSTILE).then_some(Self { table, dependents: &[], read: read_objects::<R> })
    }
}

/// Stamps of rows that were read without a lock.
///
/// A stamp is the transaction that wrote the row (`xmin`; PostgreSQL 18, section 5.6). The version is
/// not enough: some columns change without it.
pub struct Stamps {
    rows: StampedTable,
    by_id: ById,
}

impl Stamps {
    /// A stamp that no row has.
    pub(crate) const NONE: i64 = -1;

    /// The stamp of a row. One that was not read this way has none.
    pub(crate) fn of(&self, id: &str) -> i64 {
        self.by_id.get(id).copied().unwrap_or(Self::NONE)
    }

    /// Whether rows of a table are only saved if they have their stamps.
    ///
    /// Nothing guards a row of a third table, unless it is a dependent. It has no stamp, and fails the
    /// save.
    pub(crate) fn are_required_of(&self, table: &str) -> bool {
        !self.rows.dependents.contains(&table)
    }
}

impl Db {
    /// Whether this connection can save without locks: not on SQLite, whose lock is the file's.
    pub fn can_save_unlocked(&self) -> bool {
        let has_row_locks = matches!(self, Self::Postgres(_));
        has_row_locks && !NEED_A_TRANSACTION.iter().any(|mutant| mutant.is_planted())
    }

    /// Reads rows of one class for [`save_unlocked`](Self::save_unlocked).
    ///
    /// `None` if they must be locked.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub fn read_unlocked(
        &mut self,
        class: LockClass,
        ids: &BTreeSet<String>,
        state: &mut State,
    ) -> Result<Option<Stamps>, StoreError> {
        let (Self::Postgres(db), Some(rows)) = (self, systems::stamped_table(class)) else {
            return Ok(None);
        };
        db.refuse_standby()?;
        let by_id = (rows.read)(db, ids, state)?;
        Ok(Some(Stamps { rows, by_id }))
    }

    /// Saves a batch that locked nothing, and commits it durably.
    ///
    /// Returns `false`, with nothing written, if the batch does not fit into one statement.
    ///
    /// # Errors
    ///
    /// [`StoreError::Raced`] if a row was changed since it was read, or a unique key was taken.
    /// Nothing was written then. After [`StoreError::Gone`] it is not known whether the commit took
    /// place, or stays.
    pub fn save_unlocked(
        &mut self,
        state: &State,
        now: Timestamp,
        stamps: Stamps,
    ) -> Result<bool, StoreError> {
        let mut writes = Writes::unlocked(stamps);
        add_all(state, now, &mut writes);
        let Self::Postgres(db) = self else { return Ok(false) };
        let Some(statement) = writes.into_one_statement(&unlocked_settings()) else {
            return Ok(false);
        };
        statement.load::<i64>(db.connection())?;
        self.confirm_commit()?;
        Ok(true)
    }

    /// Gives rows other stamps, inside a transaction that has locked them. After its commit, whatever
    /// read them without locks before cannot be saved.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub fn outdate(&mut self, class: LockClass, ids: &BTreeSet<String>) -> Result<(), StoreError> {
        let Some(StampedTable { table, .. }) = systems::stamped_table(class) else { return Ok(()) };
        let sql = Sql::new(format!("UPDATE {table} SET version = version WHERE id = ANY("))
            .array(Column::Text(ids.iter().cloned().collect()))
            .text(")");
        crate::on_backend!(self, connection => sql.execute(connection))?;
        Ok(())
    }
}

fn read_objects<R: StoredObject>(
    db: &mut PostgresDb,
    ids: &BTreeSet<String>,
    state: &mut State,
) -> Result<ById, StoreError>
where
    Row<R>: Record,
{
    let (rows, stamps) = read_stamped(db, ids)?;
    let ids = ids.iter().map(|id| (id.clone(), Lock::None)).collect();
    put_objects::<R>(rows, ids, false, state)?;
    Ok(stamps)
}

/// Reads rows by their ids, and their stamps.
pub(crate) fn read_stamped<R: StoredRow>(
    db: &mut PostgresDb,
    ids: &BTreeSet<String>,
) -> Result<(Vec<R>, ById), StoreError> {
    let sql = Sql::new("SELECT ")
        .text(R::column_list())
        .text(", xmin::text::bigint FROM ")
        .text(R::TABLE)
        .text(" WHERE id = ANY(")
        .array(Column::Text(ids.iter().cloned().collect()))
        .text(")");
    let (rows, stamps): (Vec<R>, Vec<i64>) =
        R::query_stamped(db.connection(), sql)?.into_iter().unzip();
    let stamps = rows.iter().map(R::name).zip(stamps).collect();
    Ok((rows, stamps))
}
