//! Moves SQLite's log into the database beside the lane, so that hardly any commit has to.
//!
//! It may fail at any time, and it may end at any point. Nothing is lost, because the log keeps what
//! was not moved: a later checkpoint moves it, or else a commit does.

use ifmatch_store::{DatabaseUrl, Db, StoreError, Use};
use std::{thread, time::Duration};
use tokio::{runtime, sync::watch};

/// Minimum number of pages that are moved at once. Fewer would be moved again after their next
/// change.
const PAGES_MIN: i64 = 2_000;
/// Minimum time between two looks at the log.
const PACE: Duration = Duration::from_millis(20);
/// Pause after a failure.
const PAUSE: Duration = Duration::from_secs(1);

/// Works until the lanes have ended.
pub(super) fn run(url: &DatabaseUrl, mut commits: watch::Receiver<u64>) {
    let Ok(runtime) = runtime::Builder::new_current_thread().build() else { return };
    let mut db = None;
    while runtime.block_on(commits.changed()).is_ok() {
        if let Err(error) = checkpoint(&mut db, url) {
            tracing::debug!(%error, "the log could not be moved");
            db = None;
            thread::sleep(PAUSE);
        }
        thread::sleep(PACE);
    }
}

fn checkpoint(db: &mut Option<Db>, url: &DatabaseUrl) -> Result<(), StoreError> {
    let db = match db {
        Some(db) => db,
        None => db.insert(Db::connect(url, Use::Read)?),
    };
    db.checkpoint(PAGES_MIN)
}
