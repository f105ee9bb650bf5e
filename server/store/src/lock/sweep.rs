//! Deletes the rows of locks that nobody has held for long.

use crate::{
    StoreError,
    core::{db::Db, sql::Sql},
    on_backend,
};
use diesel::{RunQueryDsl, sql_types::Text};
use ifmatch_types::Timestamp;

/// Number of locks that one call looks at.
const SLICE: i64 = 1_000;

/// What one call swept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Swept {
    /// The place to go on from. `None` if all locks were looked at.
    pub reached: Option<String>,
    /// Number of locks whose rows were deleted.
    pub locks: usize,
}

impl Db {
    /// Deletes the rows of locks that were free before an instant, from a place of their order on.
    ///
    /// It is one statement. A lock that is acquired meanwhile is looked at again under its row
    /// lock, and stays. The fence of a lock without a row begins at the clock, so only rows are
    /// deleted whose fence is older than `before`, too.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub fn sweep_locks(&mut self, before: Timestamp, after: &str) -> Result<Swept, StoreError> {
        let sql = Sql::new("SELECT id FROM locks WHERE id > ").bind(after);
        let sql = sql.text(" ORDER BY id LIMIT ").bind(SLICE).returning::<Text>();
        let slice: Vec<String> = on_backend!(self, c => sql.load(c))?;
        let Some(last) = slice.last().cloned() else {
            return Ok(Swept { reached: None, locks: 0 });
        };
        let before = before.as_micros();
        let sql = Sql::new("DELETE FROM locks WHERE id > ").bind(after);
        let sql = sql.text(" AND id <= ").bind(last.as_str());
        let sql = sql.text(" AND expires_at < ").bind(before);
        let sql = sql.text(" AND fence < ").bind(before);
        let sql = sql.text(" AND coalesce(cooldown_until, 0) < ").bind(before);
        let locks = on_backend!(self, c => sql.execute(c))?;
        let is_end = slice.len() < usize::try_from(SLICE).unwrap_or(usize::MAX);
        Ok(Swept { reached: (!is_end).then_some(last), locks })
    }
}
