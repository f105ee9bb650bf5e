//! What happens without anybody asking: each tick looks for what is due and submits commands.
//!
//! Nothing depends on a worker for its correctness. One that fails says so in the log and looks
//! again at the next tick; several processes may find the same, and the lane does it once.

use crate::{app::App, lane::Refusal, log::RequestId};
use ifmatch_domain::{Action, Actor, Command, ExpireBookings, Meta};
use ifmatch_store::StoreError;
use ifmatch_types::{ApiKeyId, Source};
use std::{sync::atomic::Ordering, time::Duration};
use tokio::time::{MissedTickBehavior, interval};
use uuid::Uuid;

/// So often is looked for what is due,
const TICK: Duration = Duration::from_secs(1);
/// and so much is done in one tick.
const DUE_MAX: i64 = 500;
/// As whom the workers are recorded, where the rules do not say it better.
const WORKER: &str = "worker";

/// Works until the process stops.
pub async fn work(app: &App) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !app.stopping.load(Ordering::Relaxed) {
        ticks.tick().await;
        if let Err(error) = expire_bookings(app).await {
            tracing::warn!(%error, "holds that are over could not be looked for");
        }
    }
}

/// Ends holds that are over, so that bookings show it.
async fn expire_bookings(app: &App) -> Result<(), StoreError> {
    let due = app.reads.run(|db| {
        let now = db.clock()?;
        db.bookables_with_due_holds(now, DUE_MAX)
    });
    for bookable_id in due.await? {
        submit(app, Action::ExpireBookings(ExpireBookings { bookable_id })).await;
    }
    Ok(())
}

/// Submits a worker's command; one that fails is due again at the next tick.
async fn submit(app: &App, action: Action) {
    let request_id: String = RequestId::new().into();
    let command = Command {
        meta: Meta {
            actor: Actor { key_id: ApiKeyId::default(), name: WORKER.to_owned() },
            on_behalf_of: None,
            source: Source::Worker,
            request_id: request_id.clone(),
        },
        seed: Uuid::now_v7(),
        idempotency: None,
        action,
    };
    match app.lanes.submit(command).await {
        Ok(_) | Err(Refusal::TryAgain) => {}
        Err(refusal) => tracing::warn!(?refusal, request_id, "what was due could not be done"),
    }
}
