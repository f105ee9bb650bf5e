//! Forgets what nobody may ask for any more.

use crate::{Db, StoreError, on_backend, sql::Sql};
use diesel::RunQueryDsl;
use ifmatch_types::Timestamp;

impl Db {
    /// Forgets kept answers from before an instant, a thousand at most; returns how many.
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
        .text(" ORDER BY created_at LIMIT 1000)");
        Ok(on_backend!(self, c => sql.execute(c))?)
    }
}
