//! Sweeps the rows of locks that nobody has held for long.

use crate::app::App;
use ifmatch_store::Swept;
use ifmatch_types::Timestamp;
use std::{sync::atomic::Ordering, time::Duration};
use tokio::time::{MissedTickBehavior, interval, sleep};

/// Time between two searches.
const INTERVAL: Duration = Duration::from_secs(60);
/// Pause between two slices, so that writers get their turn.
const PAUSE: Duration = Duration::from_millis(20);
/// How long the row of a free lock is kept, in microseconds: 7 days.
///
/// The next fence of a swept lock begins at the clock. It would be too low only if the clock were
/// set back by more than this.
const KEPT_US: i64 = 7 * 24 * 60 * 60 * 1_000_000;

/// Sweeps until the server stops.
pub async fn run(app: &App) {
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let failed = sweep(app).await.err();
        app.workers.locks.record(failed.as_slice());
        if app.stopping.load(Ordering::Relaxed) {
            return;
        }
    }
}

/// Sweeps slice after slice.
async fn sweep(app: &App) -> Result<(), String> {
    let mut after = String::new();
    let mut locks = 0usize;
    while !app.stopping.load(Ordering::Relaxed) {
        let place = after.clone();
        let swept = app.reads.run(move |db| {
            let before = db.clock()?.as_micros().saturating_sub(KEPT_US);
            match Timestamp::from_micros(before) {
                Some(before) => db.sweep_locks(before, &place),
                None => Ok(Swept { reached: None, locks: 0 }),
            }
        });
        let swept = swept.await.map_err(|error| error.to_string())?;
        locks = locks.saturating_add(swept.locks);
        let Some(reached) = swept.reached else { break };
        after = reached;
        sleep(PAUSE).await;
    }
    if locks > 0 {
        tracing::info!(locks, "the rows of free locks were swept");
    }
    Ok(())
}
