//! One billing run. Each due subscription is decided separately, and the answer says what was done.
//!
//! A run that is raced, killed or repeated bills nothing twice. What is due is decided on the
//! locked subscription, and the database refuses a second invoice for a period.

use super::command;
use crate::{app::App, http::core::problem::HttpProblem, lane::Refusal};
use futures::{StreamExt, stream};
use ifmatch_domain::{
    Action, Command, Outcome, Rejection,
    billing::{self, BillSubscription},
    core,
};
use ifmatch_store::{DueSubscription, StoreError};
use ifmatch_types::{BillingRun, Timestamp};
use std::{
    cell::Cell,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};
use tokio::time::{MissedTickBehavior, interval};

/// Maximum number of due subscriptions that are looked up at a time.
const PAGE: i64 = 500;
/// Maximum number of subscriptions that are billed at the same time. They share commits.
const CONCURRENT: usize = 256;
/// The run ends early if nothing could be decided for this long.
///
/// A lane gives up on a batch after waiting 10 s for locks. One locked row may cost the run its
/// batch and its own second try, and that must not end the run.
const STALLED_AFTER: Duration = Duration::from_secs(25);
/// Maximum pause before a subscription that met a busy database is tried again, in milliseconds.
const PAUSE_MS_MAX: u64 = 100;

/// Makes a billing run every so often, until the server stops. Without an interval, never.
///
/// Other servers may do the same: each period is billed once.
pub async fn run(app: &App, every: Option<Duration>) {
    let Some(every) = every else { return };
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let bill = |action: Action| command("billing", action);
    loop {
        ticks.tick().await;
        if app.stopping.load(Ordering::Relaxed) {
            return;
        }
        match Run::new(app, &bill, Timestamp::now()).carry_out().await {
            Ok(BillingRun { made, skipped, failed, remaining, .. }) => {
                if (made, skipped, failed, remaining) != (0, 0, 0, 0) {
                    tracing::info!(made, skipped, failed, remaining, "a billing run");
                }
                app.workers.billing.record(&[]);
            }
            Err(problem) => app.workers.billing.record(&[problem.to_string()]),
        }
    }
}

/// A billing run in progress.
pub struct Run<'a> {
    app: &'a App,
    /// Makes a command of an action, in the name of who asked for the run.
    command: &'a dyn Fn(Action) -> Command,
    as_of: Timestamp,
    progress: Cell<Progress>,
}

/// The progress of a run.
#[derive(Clone, Copy)]
struct Progress {
    made: i64,
    skipped: i64,
    failed: i64,
    /// Whether the request's fence is stale, so that nothing more can be written for it.
    is_fenced_off: bool,
    /// When a subscription was last decided.
    decided_at: Instant,
}

/// The outcome for one subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bill {
    /// It was billed, needs no invoice, or cannot be billed.
    Decided,
    /// The database was busy or away. The subscription is still due.
    Busy,
}

impl<'a> Run<'a> {
    /// A run that bills everything that is due at an instant.
    pub fn new(app: &'a App, command: &'a dyn Fn(Action) -> Command, as_of: Timestamp) -> Self {
        let progress = Progress {
            made: 0,
            skipped: 0,
            failed: 0,
            is_fenced_off: false,
            decided_at: Instant::now(),
        };
        Self { app, command, as_of, progress: Cell::new(progress) }
    }

    /// Bills what is due, as far as the database allows it.
    ///
    /// # Errors
    ///
    /// Only if nothing was written.
    pub async fn carry_out(&self) -> Result<BillingRun, HttpProblem> {
        let as_of = self.as_of;
        let due = self.app.reads.run(move |db| db.count_due_subscriptions(as_of)).await?;
        let (mut seen, mut busy) = (0i64, 0i64);
        let mut after = DueSubscription::first();
        while !self.is_stalled() {
            let page = match self.page(&after).await {
                Ok(page) => page,
                Err(error) => {
                    tracing::warn!(%error, "a billing run ends early: due subscriptions cannot be read");
                    break;
                }
            };
            let Some(last) = page.last() else { return self.result(busy) };
            after.clone_from(last);
            seen = seen.saturating_add(length(&page));
            busy = busy.saturating_add(self.bill_page(page).await);
        }
        let unseen = due.saturating_sub(seen).max(0);
        self.result(busy.saturating_add(unseen))
    }

    async fn page(&self, after: &DueSubscription) -> Result<Vec<DueSubscription>, StoreError> {
        let (as_of, after) = (self.as_of, after.clone());
        self.app.reads.run(move |db| db.due_subscriptions(as_of, &after, PAGE)).await
    }

    /// Bills a page of subscriptions. Returns how many of them are still due.
    ///
    /// A batch fails as a whole if one of its rows stays locked. Its other subscriptions are then
    /// billed one by one in a second try.
    async fn bill_page(&self, page: Vec<DueSubscription>) -> i64 {
        let refused: Vec<String> = stream::iter(page)
            .map(|DueSubscription { id, .. }| async move {
                (self.bill(&id).await == Bill::Busy).then_some(id)
            })
            .buffer_unordered(CONCURRENT)
            .filter_map(std::future::ready)
            .collect()
            .await;
        let mut busy = 0i64;
        let mut must_pause = true;
        for id in refused {
            if std::mem::take(&mut must_pause) && !self.is_stalled() {
                tokio::time::sleep(Duration::from_millis(fastrand::u64(0..=PAUSE_MS_MAX))).await;
            }
            if self.bill(&id).await == Bill::Busy {
                busy = busy.saturating_add(1);
                must_pause = true;
            }
        }
        busy
    }

    /// Bills one subscription, however many steps it is behind.
    async fn bill(&self, id: &str) -> Bill {
        let mut made_here = 0i64;
        loop {
            if self.is_stalled() {
                return Bill::Busy;
            }
            match self.step(id).await {
                Ok(Outcome::Billing(billing::Outcome::Billed { made, more, .. })) => {
                    made_here = made_here.saturating_add(made);
                    let skipped = i64::from(!more && made_here == 0);
                    self.count(made, skipped, 0);
                    if !more {
                        return Bill::Decided;
                    }
                }
                Err(Refusal::Rejected(
                    Rejection::Core(core::Rejection::Deleted(..))
                    | Rejection::Core(core::Rejection::NotFound { .. }),
                )) => {
                    self.count(0, i64::from(made_here == 0), 0);
                    return Bill::Decided;
                }
                Err(Refusal::Rejected(Rejection::Core(core::Rejection::StaleFence))) => {
                    self.progress.set(Progress { is_fenced_off: true, ..self.progress.get() });
                    return Bill::Busy;
                }
                Err(Refusal::Rejected(rejection)) => {
                    let problem = HttpProblem::from(rejection);
                    tracing::warn!(subscription_id = id, %problem, "a subscription could not be billed");
                    self.count(0, 0, 1);
                    return Bill::Decided;
                }
                Err(Refusal::TryAgain | Refusal::KeyEnded) => return Bill::Busy,
                Err(Refusal::Internal) | Ok(_) => {
                    tracing::error!(subscription_id = id, "a subscription could not be billed");
                    self.count(0, 0, 1);
                    return Bill::Decided;
                }
            }
        }
    }

    async fn step(&self, id: &str) -> Result<Outcome, Refusal> {
        let bill = BillSubscription { subscription_id: id.to_owned(), as_of: self.as_of };
        let command = (self.command)(Action::Billing(billing::Action::BillSubscription(bill)));
        self.app.lanes.submit_in_background(command).await
    }

    fn count(&self, made: i64, skipped: i64, failed: i64) {
        let so_far = self.progress.get();
        self.progress.set(Progress {
            made: so_far.made.saturating_add(made),
            skipped: so_far.skipped.saturating_add(skipped),
            failed: so_far.failed.saturating_add(failed),
            is_fenced_off: so_far.is_fenced_off,
            decided_at: Instant::now(),
        });
    }

    /// Whether the run should end: its fence is stale, or nothing could be decided for long.
    fn is_stalled(&self) -> bool {
        let progress = self.progress.get();
        progress.is_fenced_off || progress.decided_at.elapsed() >= STALLED_AFTER
    }

    fn result(&self, remaining: i64) -> Result<BillingRun, HttpProblem> {
        let Progress { made, skipped, failed, is_fenced_off, .. } = self.progress.get();
        if remaining > 0 && (made, skipped, failed) == (0, 0, 0) {
            let stale = || Refusal::Rejected(core::Rejection::StaleFence.into());
            return Err(if is_fenced_off { stale() } else { Refusal::TryAgain }.into());
        }
        Ok(BillingRun { as_of: self.as_of, made, skipped, failed, remaining })
    }
}

fn length(page: &[DueSubscription]) -> i64 {
    i64::try_from(page.len()).unwrap_or(i64::MAX)
}
