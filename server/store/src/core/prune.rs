//! Deletes kept answers that are too old to be asked for again.

use super::{db::Db, error::StoreError, sql::Sql};
use crate::on_backend;
use diesel::RunQueryDsl;
use ifmatch_types::Timestamp;

/// Maximum number of kept answers that one call deletes.
pub const PRUNED_AT_ONCE: usize = 1_000;

impl Db {
    /// Deletes kept answers older than an instant, at most [`PRUNED_AT_ONCE`]. Returns how many.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub fn prune_answers(&mut self, before: Timestamp) -> Result<usize, StoreError> {
        let sql = Sql::new(
            "DELETE FROM answers WHERE (scope, key) IN \
             (SELECT scope, key FROM answers WHERE created_at < ",
        )
        .bind(before.as_micros())
        .text(format!(" ORDER BY created_at LIMIT {PRUNED_AT_ONCE})"));
        Ok(on_backend!(self, c => sql.execute(c))?)
    }
}
