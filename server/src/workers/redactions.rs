//! Rewrites what was stored about redacted objects before they were redacted.
//!
//! A request that redacts does so itself before it is answered. The worker does it for those whose
//! process died or whose client hung up.

use crate::app::App;
use std::{sync::atomic::Ordering, time::Duration};
use tokio::time::{MissedTickBehavior, interval, sleep};

/// Time between two searches for unfinished redactions.
const INTERVAL: Duration = Duration::from_secs(1);
/// Pause between two slices, so that writers get their turn.
const PAUSE: Duration = Duration::from_millis(5);

/// Finishes redactions until the server stops.
pub async fn run(app: &App) {
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let failed = finish_some(app, None).await.err();
        app.workers.redactions.record(failed.as_slice());
        if app.stopping.load(Ordering::Relaxed) {
            return;
        }
    }
}

/// Finishes the redactions of an object.
///
/// # Errors
///
/// Why it was given up. The worker tries again.
pub async fn finish(app: &App, object_id: &str) -> Result<(), String> {
    finish_some(app, Some(object_id.to_owned())).await
}

async fn finish_some(app: &App, object_id: Option<String>) -> Result<(), String> {
    let unfinished = app.reads.run(move |db| db.unfinished_redactions(object_id.as_deref()));
    for id in unfinished.await.map_err(|error| error.to_string())? {
        let mut has_more = true;
        while has_more && !app.stopping.load(Ordering::Relaxed) {
            let id = id.clone();
            let slice = app.reads.run(move |db| db.redact_slice(&id));
            has_more = slice.await.map_err(|error| error.to_string())?;
            if has_more {
                sleep(PAUSE).await;
            }
        }
    }
    Ok(())
}
