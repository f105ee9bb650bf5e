//! Commits at the wrong time, for two mutants. See `ifmatch_domain::Mutant`.

use super::{bulk::Writes, db::Db, error::StoreError};
use ifmatch_types::Timestamp;
use std::time::Duration;

/// Long enough for a test to kill the process meanwhile.
const PAUSE: Duration = Duration::from_millis(60);

/// Commits the writes so far, and begins another transaction for the rest.
pub(crate) fn commit_early(writes: Writes, db: &mut Db) -> Result<Writes, StoreError> {
    writes.run(db)?;
    db.commit()?;
    std::thread::sleep(PAUSE);
    db.begin()?;
    Ok(Writes::to(db))
}

/// Delays a commit, so that now and then a transaction with later places commits first.
pub(crate) fn dawdle(now: Timestamp) {
    std::thread::sleep(Duration::from_millis(now.as_micros().unsigned_abs() % 16));
}
