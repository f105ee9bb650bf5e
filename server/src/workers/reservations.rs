//! Watches reservations of credits: one that stays pending is somebody's unfinished work.
//!
//! A reservation never ends by itself, because only its owner knows whether the work was done. Its
//! age is a metric, and each that is a day old gets one line in the log of each server.

use crate::{app::App, metrics};
use ifmatch_store::OpenReservations;
use ifmatch_types::Timestamp;
use std::{sync::atomic::Ordering, time::Duration};
use tokio::time::{MissedTickBehavior, interval};

/// Time between two looks.
const INTERVAL: Duration = Duration::from_secs(15);
/// The age at which a reservation gets its line, in microseconds: 24 h.
const OLD_US: i64 = 24 * 60 * 60 * 1_000_000;
/// Maximum number of lines of one look.
const LINES_MAX: i64 = 100;

/// Watches until the server stops.
pub async fn run(app: &App) {
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // After a start, old reservations are told once more.
    let mut told = None;
    loop {
        ticks.tick().await;
        let failed = look(app, &mut told).await.err();
        app.workers.reservations.record(failed.as_slice());
        if app.stopping.load(Ordering::Relaxed) {
            return;
        }
    }
}

async fn look(app: &App, told: &mut Option<(Timestamp, String)>) -> Result<(), String> {
    let after = told.clone();
    let looked = app.reads.run(move |db| {
        let open = db.open_reservations()?;
        let until = Timestamp::from_micros(open.at.as_micros().saturating_sub(OLD_US));
        let old = match until.filter(|until| open.oldest.is_some_and(|oldest| oldest <= *until)) {
            Some(until) => db.reservations_pending_until(until, after.as_ref(), LINES_MAX)?,
            None => Vec::new(),
        };
        Ok((open, old))
    });
    let (OpenReservations { count, oldest, at }, old) =
        looked.await.map_err(|error| error.to_string())?;
    let age = |since: Timestamp| {
        let micros = at.as_micros().saturating_sub(since.as_micros());
        Duration::from_micros(u64::try_from(micros).unwrap_or_default())
    };
    metrics::reservations_pending(count, oldest.map_or(Duration::ZERO, age));
    for reservation in old {
        tracing::warn!(
            event = "credits.reservation_old",
            reservation_id = %reservation.id,
            workspace_id = %reservation.workspace_id,
            amount = reservation.amount,
            age_s = age(reservation.created_at).as_secs(),
            "a reservation is not resolved; post or void it"
        );
        *told = Some((reservation.created_at, reservation.id.to_string()));
    }
    Ok(())
}
