//! Batches without locks, on PostgreSQL: two round trips instead of four.
//!
//! Objects are read without a lock, each with its stamp. One statement then saves the whole batch and
//! commits itself. It fails, and writes nothing, if a row is no longer the one that was read. This is
//! for batches that depend on nothing but the objects that they change.

use super::{
    bulk::Writes,
    db::Db,
    error::StoreError,
    object::{RowOf, StoredObject, put_objects},
    postgres::PostgresDb,
    record::Record,
    save::add_all,
    select::Lock,
    sql::{Column, Sql},
};
use crate::{schema::StoredRow, systems::stored_kind};
use diesel::RunQueryDsl;
use ifmatch_domain::{Mutant, State, core::Row};
use ifmatch_types::{Kind, Timestamp};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// The bugs that are planted between a save and its commit. Without locks, these are one.
const NEED_A_TRANSACTION: [Mutant; 3] =
    [Mutant::SplitAnswer, Mutant::AnswerBeforeCommit, Mutant::ReadUnsettledEvents];

/// Stamps of rows that were read without a lock, by id.
///
/// A stamp is the transaction that wrote the row (`xmin`; PostgreSQL 18, section 5.6). The version is
/// not enough: some columns change without it.
#[derive(Debug, Default)]
pub struct Stamps(HashMap<String, i64>);

impl Stamps {
    /// A stamp that no row has.
    pub(crate) const NONE: i64 = -1;

    /// The stamp of a row. One that was not read this way has none.
    pub(crate) fn of(&self, id: &str) -> i64 {
        self.0.get(id).copied().unwrap_or(Self::NONE)
    }
}

impl Db {
    /// Whether this connection can save without locks: not on SQLite, whose lock is the file's, nor
    /// behind a pool, whose sessions lack the lane's settings.
    pub fn can_save_unlocked(&self) -> bool {
        let is_direct = matches!(self, Self::Postgres(db) if !db.is_pooled());
        is_direct && !NEED_A_TRANSACTION.iter().any(|mutant| mutant.is_planted())
    }

    /// Reads objects of one kind for [`save_unlocked`](Self::save_unlocked).
    ///
    /// `None` if they must be locked, also for kinds whose changes wait at a turnstile.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub fn read_unlocked(
        &mut self,
        kind: Kind,
        ids: &BTreeSet<String>,
        state: &mut State,
    ) -> Result<Option<Stamps>, StoreError> {
        match self {
            Self::Postgres(db) => stored_kind!(kind, R => read::<R>(db, ids, state)),
            Self::Sqlite(_) => Ok(None),
        }
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
        let Some(statement) = writes.into_one_statement() else { return Ok(false) };
        statement.load::<i64>(db.connection())?;
        self.confirm_commit()?;
        Ok(true)
    }

    /// Gives rows of one kind other stamps, inside a transaction that has locked them. After its
    /// commit, whatever read them without locks before cannot be saved.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub fn outdate(&mut self, kind: Kind, ids: &BTreeSet<String>) -> Result<(), StoreError> {
        let table = stored_kind!(kind, R => RowOf::<R>::TABLE);
        let sql = Sql::new(format!("UPDATE {table} SET version = version WHERE id = ANY("))
            .array(Column::Text(ids.iter().cloned().collect()))
            .text(")");
        crate::on_backend!(self, connection => sql.execute(connection))?;
        Ok(())
    }
}

fn read<R: StoredObject>(
    db: &mut PostgresDb,
    ids: &BTreeSet<String>,
    state: &mut State,
) -> Result<Option<Stamps>, StoreError>
where
    Row<R>: Record,
{
    if R::HAS_TURNSTILE {
        return Ok(None);
    }
    db.learn_standbys()?;
    let sql = Sql::new("SELECT ")
        .text(RowOf::<R>::column_list())
        .text(", xmin::text::bigint FROM ")
        .text(RowOf::<R>::TABLE)
        .text(" WHERE id = ANY(")
        .array(Column::Text(ids.iter().cloned().collect()))
        .text(")");
    let (rows, stamps): (Vec<_>, Vec<_>) =
        RowOf::<R>::query_stamped(db.connection(), sql)?.into_iter().unzip();
    let stamps = rows.iter().map(RowOf::<R>::name).zip(stamps).collect();
    let ids: BTreeMap<String, Lock> = ids.iter().map(|id| (id.clone(), Lock::None)).collect();
    put_objects::<R>(rows, ids, false, state)?;
    Ok(Some(Stamps(stamps)))
}
