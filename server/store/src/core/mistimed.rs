//! Commits at the wrong time, as two mutants make them. See `ifmatch_domain::Mutant`.

use super::{bulk::Writes, db::Db, error::StoreError};
use ifmatch_types::Timestamp;
use std::time::Duration;

/// Long enough for a process to be killed in.
const PAUSE: Duration = Duration::from_millis(60);

/// Commits what is to be written so far, and begins another transaction for the rest.
pub(crate) fn commit_early(writes: Writes, db: &mut Db) -> Result<Writes, StoreError> {
    writes.run(db)?;
    db.commit()?;
    std::thread::sleep(PAUSE);
    db.begin()?;
    Ok(Writes::to(db))
}

/// Lets another transaction that was given later places commit first, now and then.
pub(crate) fn dawdle(now: Timestamp) {
    std::thread::sleep(Duration::from_millis(now.as_micros().unsigned_abs() % 16));
}
