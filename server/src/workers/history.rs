//! Prunes old versions, if the operator wants that.

use crate::app::App;
use ifmatch_store::PrunedHistory;
use ifmatch_types::Timestamp;
use std::{sync::atomic::Ordering, time::Duration};
use tokio::time::{MissedTickBehavior, interval, sleep};

/// Time between two searches for old versions.
const INTERVAL: Duration = Duration::from_secs(60);
/// Pause between two slices, so that writers get their turn.
const PAUSE: Duration = Duration::from_millis(20);
/// Minimum age of what is pruned, in hours.
///
/// Kept answers refer to versions, and are kept for 48 hours.
const KEPT_MIN_H: u64 = 72;

/// Prunes versions that were replaced so many days ago, until the server stops. 0 prunes nothing.
pub async fn run(app: &App, days: u64) {
    if days == 0 {
        return;
    }
    let kept = Duration::from_secs(days.saturating_mul(24).max(KEPT_MIN_H).saturating_mul(3_600));
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let failed = prune(app, kept).await.err();
        app.workers.history.record(failed.as_slice());
        if app.stopping.load(Ordering::Relaxed) {
            return;
        }
    }
}

/// Prunes slice after slice, from the oldest event to the first that is too young.
async fn prune(app: &App, kept: Duration) -> Result<(), String> {
    let mut after = 0;
    let mut versions = 0usize;
    while !app.stopping.load(Ordering::Relaxed) {
        let pruned = app.reads.run(move |db| {
            let now = db.clock()?.as_micros();
            let kept = i64::try_from(kept.as_micros()).unwrap_or(i64::MAX);
            match Timestamp::from_micros(now.saturating_sub(kept)) {
                Some(before) => db.prune_history(before, after),
                None => Ok(PrunedHistory { reached: None, versions: 0 }),
            }
        });
        let pruned = pruned.await.map_err(|error| error.to_string())?;
        versions = versions.saturating_add(pruned.versions);
        let Some(reached) = pruned.reached else { break };
        after = reached;
        sleep(PAUSE).await;
    }
    if versions > 0 {
        tracing::info!(versions, "old versions were pruned");
    }
    Ok(())
}
