//! Calls the panel for servers: claims what is due, calls, and records what the call told.
//!
//! Each of these is a commit of its own, and the call is between two of them. If this process ends
//! at any point, its claim runs out, and any process goes on. Nothing waits for the panel but the
//! tasks here.

mod circuit;

use super::command;
use crate::{app::App, lane::Refusal, panel::Panel};
use actix_web::{rt::spawn, web};
use circuit::{Circuit, Underway};
use ifmatch_domain::{
    Action, Outcome,
    provisioning::{
        self, ClaimServer, JITTER_MAX_PERMILLE, Outcome as ServerOutcome, RecordCall, ServerRecord,
        StartCall,
    },
};
use ifmatch_types::Timestamp;
use std::{
    cell::RefCell,
    rc::Rc,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};

/// Maximum number of calls at the same time.
const CALLS_MAX: usize = 256;
/// Maximum time between two looks for what is due.
const INTERVAL: Duration = Duration::from_secs(1);
/// Minimum time between two looks, however often something is committed.
const PACE: Duration = Duration::from_millis(20);
/// Maximum number of calls that begin after one look, 200 a second.
///
/// Calls that begin together end together, and what they told would be written in one burst, at the
/// expense of everybody else.
const BEGUN_AT_ONCE: usize = 4;
/// Pause before an outcome is sent to the lane again.
const RESEND_PAUSE: Duration = Duration::from_millis(200);
/// The name of this worker in timelines and histories.
const NAME: &str = "provisioning";

/// Everything that the tasks share.
struct Desk {
    app: web::Data<App>,
    panel: Panel,
    circuit: RefCell<Circuit>,
    failures: RefCell<Vec<String>>,
    places: Arc<Semaphore>,
}

/// Works until the server stops.
pub async fn run(app: web::Data<App>, panel: Panel) {
    let mut commits = app.lanes.commits();
    let desk = Rc::new(Desk {
        app,
        panel,
        circuit: RefCell::new(Circuit::default()),
        failures: RefCell::default(),
        places: Arc::new(Semaphore::new(CALLS_MAX)),
    });
    while !desk.app.stopping.load(Ordering::Relaxed) {
        let pause = match desk.look().await {
            Ok(pause) => pause,
            Err(error) => {
                desk.failures.borrow_mut().push(error);
                INTERVAL
            }
        };
        let failures = desk.failures.take();
        desk.app.workers.servers.record(&failures);
        sleep(PACE).await;
        // A commit of this process may have made something due. Commits of others are seen later.
        let _ = timeout(pause, commits.changed()).await;
    }
}

impl Desk {
    /// Begins a task for each server that is due. Returns how long the next look can wait.
    async fn look(self: &Rc<Self>) -> Result<Duration, String> {
        let free = self.places.available_permits();
        let allowed = self.circuit.borrow().allows(Instant::now()).min(free).min(BEGUN_AT_ONCE);
        if allowed == 0 {
            return Ok(INTERVAL);
        }
        let limit = i64::try_from(allowed).unwrap_or(i64::MAX);
        let looked = self.app.reads.run(move |db| {
            let now = db.clock()?;
            let due = db.due_servers(now, limit)?;
            let next = if due.is_empty() { db.next_due_server()? } else { None };
            Ok((now, due, next))
        });
        let (now, due, next) = looked.await.map_err(|error| error.to_string())?;
        let may_be_more = due.len() == allowed;
        for id in due {
            let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else { break };
            let desk = Rc::clone(self);
            let underway = self.circuit.borrow().begin();
            spawn(async move { desk.work(id, place, underway).await });
        }
        if may_be_more {
            return Ok(Duration::ZERO);
        }
        Ok(next.map_or(INTERVAL, |at| until(now, at).min(INTERVAL)))
    }

    /// Works on a server. What the call holds is given back, even if this panics.
    async fn work(self: Rc<Self>, id: String, _place: OwnedSemaphorePermit, _underway: Underway) {
        if let Err(refusal) = self.call(&id).await {
            self.failures.borrow_mut().push(format!("{id}: {refusal:?}"));
        }
    }

    /// Claims a server, makes the call that it is due, and records what the call told.
    async fn call(&self, server_id: &str) -> Result<(), Refusal> {
        let began_at = Instant::now();
        let Some(record) = self.claim(server_id).await? else { return Ok(()) };
        let (Some(call), generation) = (record.progress.running_call, record.generation) else {
            return Ok(());
        };
        let start = StartCall { server_id: server_id.to_owned(), generation };
        let started = self.submit(provisioning::Action::StartCall(start)).await?;
        let patience = millis(self.app.windows.timeout_ms);
        // A process that was stopped in between must not make a call that nobody expects any more.
        if started != Outcome::Provisioning(ServerOutcome::Called(true))
            || began_at.elapsed() > patience
        {
            return Ok(());
        }
        let answered = self.panel.call(call, &record).await;
        self.circuit.borrow_mut().note(&answered.observation, &self.app.windows, Instant::now());
        let record = RecordCall {
            server_id: server_id.to_owned(),
            workspace_id: record.server.workspace_id.clone(),
            generation,
            observation: answered.observation,
            detail: answered.detail,
            windows: self.app.windows,
            jitter_permille: jitter(),
        };
        self.record(record, began_at).await
    }

    async fn claim(&self, server_id: &str) -> Result<Option<Box<ServerRecord>>, Refusal> {
        let claim = ClaimServer {
            server_id: server_id.to_owned(),
            windows: self.app.windows,
            jitter_permille: jitter(),
        };
        match self.submit(provisioning::Action::ClaimServer(claim)).await? {
            Outcome::Provisioning(ServerOutcome::Claimed(claimed)) => Ok(claimed),
            _ => Ok(None),
        }
    }

    /// Records an outcome. A database that is away is asked again while the claim lasts.
    async fn record(&self, record: RecordCall, began_at: Instant) -> Result<(), Refusal> {
        let lease = millis(self.app.windows.lease_ms());
        loop {
            let action = provisioning::Action::RecordCall(record.clone());
            match self.submit(action).await {
                Err(Refusal::TryAgain) if began_at.elapsed() < lease => sleep(RESEND_PAUSE).await,
                Err(refusal) => return Err(refusal),
                Ok(_) => return Ok(()),
            }
        }
    }

    async fn submit(&self, action: provisioning::Action) -> Result<Outcome, Refusal> {
        self.app.lanes.submit_in_background(command(NAME, Action::Provisioning(action))).await
    }
}

/// The time from one instant until another.
fn until(now: Timestamp, at: Timestamp) -> Duration {
    let micros = at.as_micros().saturating_sub(now.as_micros());
    Duration::from_micros(u64::try_from(micros).unwrap_or_default())
}

fn millis(ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or_default())
}

fn jitter() -> i64 {
    fastrand::i64(-JITTER_MAX_PERMILLE..=JITTER_MAX_PERMILLE)
}
