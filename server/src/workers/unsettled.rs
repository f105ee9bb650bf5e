//! Watches servers that are neither active nor ended: how many there are, and for how long.
//!
//! Their number and age are metrics. Each that is 15 minutes or a day old gets a line in the log of
//! each server process.

use crate::{app::App, metrics};
use ifmatch_store::UnsettledServer;
use ifmatch_types::{ServerStatus, Timestamp};
use std::{sync::atomic::Ordering, time::Duration};
use tokio::time::{MissedTickBehavior, interval};

/// Time between two looks.
const INTERVAL: Duration = Duration::from_secs(15);
/// The ages that are told, in microseconds: 15 min and 24 h.
const AGES_US: [i64; 2] = [15 * 60 * 1_000_000, 24 * 60 * 60 * 1_000_000];
/// Maximum number of lines of one look.
const LINES_MAX: i64 = 100;
/// The statuses that are neither active nor ended.
const UNSETTLED: [ServerStatus; 3] =
    [ServerStatus::Provisioning, ServerStatus::PendingReconciliation, ServerStatus::Deprovisioning];

/// The last server that was told at an age.
type Told = Option<(Timestamp, String)>;

/// Watches until the server stops.
pub async fn run(app: &App) {
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // After a start, old servers are told once more.
    let mut told: [Told; 2] = [None, None];
    loop {
        ticks.tick().await;
        let mut failed = measure(app).await.err();
        for (age_us, told) in AGES_US.into_iter().zip(&mut told) {
            failed = failed.or(tell(app, age_us, told).await.err());
        }
        app.workers.unsettled.record(failed.as_slice());
        if app.stopping.load(Ordering::Relaxed) {
            return;
        }
    }
}

async fn measure(app: &App) -> Result<(), String> {
    let looked = app.reads.run(|db| Ok((db.clock()?, db.unsettled_by_status()?)));
    let (now, found) = looked.await.map_err(|error| error.to_string())?;
    for status in UNSETTLED {
        let of_status = found.iter().find(|found| found.status == status);
        let count = of_status.map_or(0, |found| found.count);
        let oldest = of_status.and_then(|found| found.oldest);
        let age = oldest.map_or(Duration::ZERO, |since| age(since, now));
        metrics::servers_unsettled(status.name(), count, age);
    }
    Ok(())
}

/// Logs the servers that have come to an age since the last look.
async fn tell(app: &App, age_us: i64, told: &mut Told) -> Result<(), String> {
    let after = told.clone();
    let looked = app.reads.run(move |db| {
        let now = db.clock()?;
        let old = match Timestamp::from_micros(now.as_micros().saturating_sub(age_us)) {
            Some(until) => db.servers_unsettled_until(until, after.as_ref(), LINES_MAX)?,
            None => Vec::new(),
        };
        Ok((now, old))
    });
    let (now, old) = looked.await.map_err(|error| error.to_string())?;
    for UnsettledServer { id, workspace_id, status, since } in old {
        tracing::warn!(
            event = "server.unsettled",
            server_id = id,
            workspace_id,
            status,
            age_s = age(since, now).as_secs(),
            "a server is neither active nor ended; its timeline says why"
        );
        *told = Some((since, id));
    }
    Ok(())
}

fn age(since: Timestamp, now: Timestamp) -> Duration {
    let micros = now.as_micros().saturating_sub(since.as_micros());
    Duration::from_micros(u64::try_from(micros).unwrap_or_default())
}
