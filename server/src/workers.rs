//! The background work of the server.
//!
//! It finds what is due in the database and submits commands for it. Any number of servers may do
//! so, because these commands are decided like all others.

pub mod billing;
pub mod health;
pub mod history;
pub mod locks;
pub mod redactions;
pub mod reservations;
pub mod servers;
pub mod unsettled;

use crate::app::App;
use futures::{StreamExt, future::join, stream};
use ifmatch_domain::{
    Action, Command, Outcome,
    booking::{self, ExpireBookings},
    core::{Actor, Guard, Meta},
    entitlement::{self, ExpireEntitlements, ScopeRef},
};
use ifmatch_types::Source;
use std::{future::Future, sync::atomic::Ordering, time::Duration};
use tokio::time::{MissedTickBehavior, interval};
use uuid::Uuid;

/// Time between two searches for what is due.
const INTERVAL: Duration = Duration::from_secs(1);
/// Maximum number of scopes or bookables that one search returns.
const DUE_MAX: i64 = 500;
/// Maximum number of commands that are submitted at the same time. They share commits.
const CONCURRENT: usize = 64;

/// Does what is due until the server stops.
pub async fn run(app: &App) {
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if app.stopping.load(Ordering::Relaxed) {
            return;
        }
        let (entitlements, bookings) = join(expire_entitlements(app), expire_bookings(app)).await;
        app.workers.entitlements.record(&entitlements);
        app.workers.bookings.record(&bookings);
    }
}

/// Ends what is over in every scope. Returns the failures.
async fn expire_entitlements(app: &App) -> Vec<String> {
    let scopes = app.reads.run(|db| {
        let now = db.clock()?;
        db.scopes_with_something_over(now, DUE_MAX)
    });
    match scopes.await {
        Ok(scopes) => failures(scopes.into_iter().map(|scope| expire_scope(app, scope))).await,
        Err(error) => vec![error.to_string()],
    }
}

/// Runs tasks, many at the same time. Returns the failures.
async fn failures(
    tasks: impl Iterator<Item = impl Future<Output = Result<(), String>>>,
) -> Vec<String> {
    let ended = stream::iter(tasks).buffer_unordered(CONCURRENT);
    ended.filter_map(|ended| async { ended.err() }).collect().await
}

async fn expire_scope(app: &App, scope: String) -> Result<(), String> {
    let scope = ScopeRef::parse(&scope).ok_or_else(|| format!("{scope} is no scope"))?;
    end_all(app, || {
        Action::Entitlement(entitlement::Action::ExpireEntitlements(ExpireEntitlements {
            scope: scope.clone(),
        }))
    })
    .await
}

/// Ends what is over of one scope or bookable, slice by slice.
///
/// Each slice is its own commit, so that other commands about it get their turn in between.
async fn end_all(app: &App, expire: impl Fn() -> Action) -> Result<(), String> {
    while !app.stopping.load(Ordering::Relaxed) {
        let ended = app.lanes.submit_in_background(command("expiry", expire())).await;
        match ended.map_err(|refusal| format!("{refusal:?}"))? {
            Outcome::Entitlement(entitlement::Outcome::Expired { more: true })
            | Outcome::Booking(booking::Outcome::Expired { more: true }) => {}
            _ => break,
        }
    }
    Ok(())
}

/// Ends expired holds of bookings, so that bookings show it. Returns the failures.
async fn expire_bookings(app: &App) -> Vec<String> {
    let due = app.reads.run(|db| {
        let now = db.clock()?;
        db.bookables_with_due_holds(now, DUE_MAX)
    });
    match due.await {
        Ok(due) => failures(due.into_iter().map(|bookable| expire_bookable(app, bookable))).await,
        Err(error) => vec![error.to_string()],
    }
}

async fn expire_bookable(app: &App, bookable_id: String) -> Result<(), String> {
    let expire = ExpireBookings { bookable_id };
    end_all(app, || Action::Booking(booking::Action::ExpireBookings(expire.clone()))).await
}

/// A command of the worker with this name.
pub fn command(name: &str, action: Action) -> Command {
    let seed = Uuid::now_v7();
    Command {
        meta: Meta {
            actor: Actor::without_key(name),
            on_behalf_of: None,
            source: Source::Worker,
            request_id: format!("{name}-{}", seed.simple()),
            key_digest: None,
        },
        seed,
        idempotency: None,
        guard: Guard::default(),
        action,
    }
}
