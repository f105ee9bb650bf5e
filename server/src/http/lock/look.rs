//! Looks at the database for locks that other processes released: one task for all waiters.

use crate::app::App;
use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};
use tokio::time::sleep;

/// Minimum pause between two looks.
const PAUSE_MS: u64 = 100;
/// Maximum pause between two looks, also if the database is slow.
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// Number of locks that one statement looks at.
const LOCKS_AT_ONCE: usize = 1_000;

/// Looks for locks that other processes released, until the server stops.
///
/// It pauses for longer if many locks are waited for, so that looking takes a tenth of the time.
pub async fn watch(app: &App) {
    let mut last = Duration::ZERO;
    while !app.stopping.load(Ordering::Relaxed) {
        let jitter = Duration::from_millis(fastrand::u64(0..=PAUSE_MS));
        let pause = last.saturating_mul(9).min(PAUSE_MAX);
        sleep(pause.max(Duration::from_millis(PAUSE_MS)) + jitter).await;
        let began_at = Instant::now();
        let room = &app.locks.room;
        for ids in room.awaited().chunks(LOCKS_AT_ONCE) {
            let ids = ids.to_vec();
            match app.reads.run(move |db| db.free_locks(&ids)).await {
                Ok(free) => free.iter().for_each(|id| room.wake(id)),
                Err(error) => tracing::debug!(%error, "awaited locks could not be looked at"),
            }
        }
        last = began_at.elapsed();
    }
}
