//! One lane's thread: batches, their retries, and what becomes of a batch that keeps failing.

use super::{Job, LaneConfig, Refusal};
use crate::{http::render, metrics};
use ifmatch_domain::{Need, NewEvent, Outcome, State, decide, needs};
use ifmatch_store::{DatabaseUrl, Db, StoreError, Use};
use ifmatch_types::Timestamp;
use std::{
    collections::BTreeSet,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::{mpsc, watch};

/// So often a batch is run again when other writers are in its way.
const RERUNS_MAX: u32 = 5;
/// So long the lane tries to learn what became of a commit whose answer was lost.
const DOUBT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long answers are kept for repeats of their requests, in hours. At least 24 are promised.
const ANSWERS_KEPT_H: i64 = 48;
/// So often old answers are looked for.
const PRUNE_INTERVAL: Duration = Duration::from_secs(60);

type Decided = Vec<Result<Outcome, Refusal>>;

/// One lane's thread.
pub(super) struct Lane {
    number: usize,
    url: DatabaseUrl,
    batch_max: usize,
    queue: mpsc::Receiver<Job>,
    committed: Arc<watch::Sender<u64>>,
    db: Option<Db>,
    was_connected: bool,
    pruned_at: Instant,
}

/// Why a batch was not carried out.
enum Failure {
    Store(StoreError),
    /// The commit was sent and its answer lost: it took place exactly if this event exists.
    InDoubt {
        error: StoreError,
        decided: Decided,
        evidence: Option<Box<NewEvent>>,
    },
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// What is known of a commit whose answer was lost.
struct Doubt {
    decided: Decided,
    evidence: Option<Box<NewEvent>>,
}

impl Lane {
    pub(super) fn new(
        number: usize,
        config: &LaneConfig,
        queue: mpsc::Receiver<Job>,
        committed: Arc<watch::Sender<u64>>,
    ) -> Self {
        Self {
            number,
            url: config.url.clone(),
            batch_max: config.batch_max,
            queue,
            committed,
            db: None,
            was_connected: false,
            pruned_at: Instant::now(),
        }
    }

    /// Works until nobody can submit any more and the queue is empty.
    pub(super) fn run(mut self) {
        while let Some(first) = self.queue.blocking_recv() {
            let mut batch = vec![first];
            while batch.len() < self.batch_max
                && let Ok(job) = self.queue.try_recv()
            {
                batch.push(job);
            }
            metrics::queue_depth(self.number, self.queue.len());
            // Whose client went away may be dropped here, before it is decided, and never later.
            batch.retain(|job| !job.answer.is_closed());
            for job in &batch {
                metrics::lane_wait(job.queued_at.elapsed());
            }
            self.carry_out(batch);
            self.prune();
        }
    }

    /// Carries out a batch and answers each of its commands.
    fn carry_out(&mut self, batch: Vec<Job>) {
        if batch.is_empty() {
            return;
        }
        match self.run_again_and_again(&batch) {
            Ok(decided) => answer(batch, decided),
            Err(error) if error.is_gone() => {
                tracing::warn!(%error, "the database is away");
                answer_all(batch, || Refusal::TryAgain);
            }
            Err(error) if batch.len() > 1 => {
                tracing::warn!(%error, commands = batch.len(), "a batch keeps failing; running its commands one by one");
                metrics::batch_rerun("one_by_one");
                for job in batch {
                    self.carry_out(vec![job]);
                }
            }
            Err(error) if error.is_transient() => {
                tracing::warn!(%error, "a command found no way past other writers");
                answer_all(batch, || Refusal::TryAgain);
            }
            Err(error) => {
                for job in &batch {
                    let request_id = &job.command.meta.request_id;
                    tracing::error!(%error, request_id, "a command failed for a technical reason");
                }
                answer_all(batch, || Refusal::Internal);
            }
        }
    }

    /// Runs a batch until it is committed, is known to be hopeless, or has been tried enough.
    fn run_again_and_again(&mut self, batch: &[Job]) -> Result<Decided, StoreError> {
        let mut reruns = 0u32;
        let mut doubt: Option<Doubt> = None;
        let mut doubt_since: Option<Instant> = None;
        loop {
            match self.run_once(batch, &mut doubt) {
                Ok(decided) => return Ok(decided),
                Err(Failure::InDoubt { error, decided, evidence }) => {
                    tracing::warn!(%error, "the answer to a commit was lost; finding out what became of it");
                    metrics::batch_rerun("in_doubt");
                    self.db = None;
                    doubt = Some(Doubt { decided, evidence });
                    doubt_since = Some(Instant::now());
                }
                Err(Failure::Store(error)) => {
                    self.give_up_transaction(&error);
                    let in_doubt = doubt_since.filter(|since| since.elapsed() < DOUBT_TIMEOUT);
                    match (doubt_since, in_doubt) {
                        (Some(_), Some(_)) => std::thread::sleep(Duration::from_millis(100)),
                        (Some(_), None) => {
                            // Not «nothing was written»: nobody knows.
                            return Err(StoreError::Unforeseen(format!(
                                "a commit's outcome could not be learned: {error}"
                            )));
                        }
                        (None, _) => {
                            let most = if error.is_transient() { RERUNS_MAX } else { 1 };
                            if error.is_gone() || reruns >= most {
                                return Err(error);
                            }
                            metrics::batch_rerun(reason(&error));
                            std::thread::sleep(jitter(reruns));
                            reruns = reruns.saturating_add(1);
                        }
                    }
                }
            }
        }
    }

    /// Keys, load, decide, save, commit: once.
    fn run_once(&mut self, batch: &[Job], doubt: &mut Option<Doubt>) -> Result<Decided, Failure> {
        let started_at = Instant::now();
        let db = self.connection()?;
        db.begin()?;
        let mut state = State::default();
        load(db, batch, &mut state)?;
        if let Some(Doubt { decided, evidence: Some(evidence) }) = doubt {
            // The rows are locked now, so that the earlier commit is over, one way or the other.
            if db.was_committed(evidence)? {
                let decided = std::mem::take(decided);
                db.rollback()?;
                return Ok(decided);
            }
        }
        let now = Timestamp::now();
        let decided: Decided = batch.iter().map(|job| decide_one(&mut state, job, now)).collect();
        if !state.is_changed() {
            db.rollback()?;
            return Ok(decided);
        }
        db.save(&state, now)?;
        if let Err(error) = db.commit() {
            if error.is_gone() {
                let evidence = state.events.pop().map(Box::new);
                return Err(Failure::InDoubt { error, decided, evidence });
            }
            return Err(error.into());
        }
        metrics::batch_committed(batch.len(), started_at.elapsed());
        self.committed.send_modify(|commits| *commits = commits.wrapping_add(1));
        Ok(decided)
    }

    fn connection(&mut self) -> Result<&mut Db, StoreError> {
        if self.db.is_none() {
            self.db = Some(Db::connect(&self.url, Use::Lane)?);
            if self.was_connected {
                metrics::reconnected();
                tracing::info!(lane = self.number, "the database is back");
            }
            self.was_connected = true;
        }
        self.db.as_mut().ok_or_else(|| StoreError::Gone("no connection".to_owned()))
    }

    /// Leaves the failed transaction; a connection that cannot even do that is thrown away.
    fn give_up_transaction(&mut self, error: &StoreError) {
        let usable = !error.is_gone() && self.db.as_mut().is_some_and(|db| db.rollback().is_ok());
        if !usable {
            self.db = None;
        }
    }

    /// Forgets answers that are old enough, now and then.
    fn prune(&mut self) {
        if self.number != 0 || self.pruned_at.elapsed() < PRUNE_INTERVAL {
            return;
        }
        self.pruned_at = Instant::now();
        let kept_micros = ANSWERS_KEPT_H.saturating_mul(3_600_000_000);
        let before = Timestamp::now().as_micros().saturating_sub(kept_micros);
        let (Some(db), Some(before)) = (self.db.as_mut(), Timestamp::from_micros(before)) else {
            return;
        };
        if let Err(error) = db.prune_answers(before) {
            tracing::warn!(%error, "old answers could not be pruned");
            self.db = None;
        }
    }
}

/// Loads everything the batch needs, in rounds: what a command needs may depend on what it finds.
fn load(db: &mut Db, batch: &[Job], state: &mut State) -> Result<(), StoreError> {
    loop {
        let mut wanted = Vec::new();
        for job in batch {
            needs(&job.command, state, &mut wanted);
        }
        let mut wanted: BTreeSet<Need> = wanted.into_iter().collect();
        let is_sequence = |need: &Need| matches!(need, Need::Sequence(_));
        if wanted.is_empty() {
            return Ok(());
        }
        // A sequence is always the last lock.
        if !wanted.iter().all(is_sequence) {
            wanted.retain(|need| !is_sequence(need));
        }
        db.load(wanted, state)?;
    }
}

/// Decides one command; if it panics, only it is answered with a failure.
fn decide_one(state: &mut State, job: &Job, now: Timestamp) -> Result<Outcome, Refusal> {
    let command = &job.command;
    let decided = catch_unwind(AssertUnwindSafe(|| {
        state.attempt(|state| {
            let outcome = decide(state, command, now)?;
            if let Some(key) = &command.idempotency
                && !matches!(outcome, Outcome::Replayed(_))
            {
                state.remember(key, render::render(&outcome).into_answer(&key.fingerprint));
            }
            Ok(outcome)
        })
    }));
    match decided {
        Ok(Ok(outcome)) => Ok(outcome),
        Ok(Err(rejection)) => Err(Refusal::Rejected(rejection)),
        Err(_) => {
            let request_id = &command.meta.request_id;
            tracing::error!(request_id, "a rule panicked; its command had no effect");
            Err(Refusal::Internal)
        }
    }
}

fn answer(batch: Vec<Job>, decided: Decided) {
    for (job, outcome) in batch.into_iter().zip(decided) {
        // A client that went away needs no answer; its effect stays.
        let _ = job.answer.send(outcome);
    }
}

fn answer_all(batch: Vec<Job>, refusal: impl Fn() -> Refusal) {
    for job in batch {
        let _ = job.answer.send(Err(refusal()));
    }
}

fn reason(error: &StoreError) -> &'static str {
    match error {
        StoreError::Gone(_) => "gone",
        StoreError::Raced(_) => "raced",
        StoreError::LostGuard { .. } => "lost_guard",
        StoreError::Corrupt { .. } => "corrupt",
        StoreError::Unforeseen(_) => "unforeseen",
    }
}

/// A random pause, longer with each rerun: 5 ms · 2ⁿ at most.
fn jitter(reruns: u32) -> Duration {
    let most_us = 5_000u64.saturating_mul(1u64 << reruns.min(6));
    Duration::from_micros(fastrand::u64(0..=most_us))
}
