//! The server's own work beside requests: what is due is found in the database and submitted like
//! any other command, so that it does not matter how many servers do so.

use crate::app::App;
use futures::{StreamExt, stream};
use ifmatch_domain::{
    Action, Actor, Command, ExpireBookings, ExpireEntitlements, Meta, Outcome, ScopeRef,
};
use ifmatch_types::{ApiKeyId, Source};
use std::{sync::atomic::Ordering, time::Duration};
use tokio::time::{MissedTickBehavior, interval};
use uuid::Uuid;

/// What is due is looked for this often,
const INTERVAL: Duration = Duration::from_secs(1);
/// so much of it at a time,
const DUE_MAX: i64 = 500;
/// and so much is submitted at the same time: it shares commits.
const CONCURRENT: usize = 64;

/// Does what is due until the server stops.
pub async fn run(app: &App) {
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut is_failing = false;
    loop {
        ticks.tick().await;
        if app.stopping.load(Ordering::Relaxed) {
            return;
        }
        let (entitlements, bookings) = (expire_entitlements(app).await, expire_bookings(app).await);
        match entitlements.and(bookings) {
            Ok(()) => is_failing = false,
            Err(error) => {
                if !is_failing {
                    tracing::warn!(error, "what is over could not be ended; trying again");
                }
                is_failing = true;
            }
        }
    }
}

/// Ends what is over in every scope.
async fn expire_entitlements(app: &App) -> Result<(), String> {
    let scopes = app.reads.run(|db| {
        let now = db.clock()?;
        db.scopes_with_something_over(now, DUE_MAX)
    });
    let scopes = scopes.await.map_err(|error| error.to_string())?;
    let ended = stream::iter(scopes)
        .map(|scope| expire_scope(app, scope))
        .buffer_unordered(CONCURRENT)
        .collect::<Vec<_>>()
        .await;
    ended.into_iter().collect()
}

async fn expire_scope(app: &App, scope: String) -> Result<(), String> {
    let scope = ScopeRef::parse(&scope).ok_or_else(|| format!("{scope} is no scope"))?;
    end_all(app, || Action::ExpireEntitlements(ExpireEntitlements { scope: scope.clone() })).await
}

/// Ends what is over of one thing, slice by slice: each is a commit of its own, and whatever else
/// is asked of that thing gets its turn in between.
async fn end_all(app: &App, expire: impl Fn() -> Action) -> Result<(), String> {
    while !app.stopping.load(Ordering::Relaxed) {
        let ended = app.lanes.submit(command("expiry", expire())).await;
        match ended.map_err(|refusal| format!("{refusal:?}"))? {
            Outcome::Expired { more: true } => {}
            _ => break,
        }
    }
    Ok(())
}

/// Ends holds of bookings that are over, so that bookings show it.
async fn expire_bookings(app: &App) -> Result<(), String> {
    let due = app.reads.run(|db| {
        let now = db.clock()?;
        db.bookables_with_due_holds(now, DUE_MAX)
    });
    let due = due.await.map_err(|error| error.to_string())?;
    let ended = stream::iter(due)
        .map(|bookable_id| async move {
            let expire = ExpireBookings { bookable_id };
            end_all(app, || Action::ExpireBookings(expire.clone())).await
        })
        .buffer_unordered(CONCURRENT)
        .collect::<Vec<_>>()
        .await;
    ended.into_iter().collect()
}

/// A command of the worker with this name.
fn command(name: &str, action: Action) -> Command {
    let seed = Uuid::now_v7();
    Command {
        meta: Meta {
            actor: Actor { key_id: ApiKeyId::from_unchecked(name), name: name.to_owned() },
            on_behalf_of: None,
            source: Source::Worker,
            request_id: format!("{name}-{}", seed.simple()),
        },
        seed,
        idempotency: None,
        action,
    }
}
