//! One lane's thread: batches, their retries, and what becomes of a batch that keeps failing.

use super::{Job, LaneConfig, Refusal, habit::Habit, queue::Queue};
use crate::{http::render, metrics};
use ifmatch_domain::{Mutant, Need, Outcome, State, decide, needs};
use ifmatch_store::{DatabaseUrl, Db, Evidence, PRUNED_AT_ONCE, StoreError, Use};
use ifmatch_types::Timestamp;
use std::{
    collections::BTreeSet,
    convert::Infallible,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::watch;

/// So often a batch is run again when other writers are in its way,
const RERUNS_MAX: u32 = 5;
/// and for so long: behind it, everybody else waits.
const PATIENCE: Duration = Duration::from_secs(10);
/// So long the lane tries to learn what became of a commit whose answer was lost.
const DOUBT_TIMEOUT: Duration = Duration::from_secs(30);
/// How long it waits between two tries to reach the database.
const RECONNECT_PAUSE: Duration = Duration::from_millis(100);
/// How long answers are kept for repeats of their requests, in hours. At least 24 are promised.
const ANSWERS_KEPT_H: i64 = 48;
/// So often old answers are looked for.
const PRUNE_INTERVAL: Duration = Duration::from_secs(60);

type Decided = Vec<Result<Outcome, Refusal>>;

/// One lane's thread.
pub(super) struct Lane {
    number: usize,
    url: DatabaseUrl,
    queue: Queue,
    committed: Arc<watch::Sender<u64>>,
    db: Option<Db>,
    /// Whether the last commit began the next transaction; nothing was done in it yet.
    has_begun: bool,
    was_connected: bool,
    pruned_at: Instant,
    habit: Habit,
    /// What the last batch held in memory: let go only after its commands were answered.
    spent: Option<State>,
}

/// What a run of a batch is for.
enum Run<'a> {
    /// All that waited. Whoever arrives for the same objects before they are decided, joins.
    Together,
    /// One command of a batch that failed.
    Alone,
    /// To learn what became of a commit: what it decided, it decided for this batch.
    InDoubt(&'a mut Doubt),
}

/// How one run of a batch ended.
enum Ended {
    /// Committed, or there was nothing to commit.
    Decided(Decided),
    /// Nothing of it was written.
    Failed(StoreError),
    /// The commit was sent and its answer lost.
    InDoubt(Doubt),
}

impl From<StoreError> for Ended {
    fn from(error: StoreError) -> Self {
        Self::Failed(error)
    }
}

/// A commit whose answer was lost: it took place exactly if its evidence is stored.
struct Doubt {
    decided: Decided,
    evidence: Evidence,
}

/// Why a batch has no outcomes.
enum Failure {
    /// Nothing of it was written.
    Store(StoreError),
    /// Nobody knows whether it was.
    Unknown,
}

impl Lane {
    pub(super) fn new(
        number: usize,
        config: &LaneConfig,
        queue: Queue,
        committed: Arc<watch::Sender<u64>>,
    ) -> Self {
        Self {
            number,
            url: config.url.clone(),
            queue,
            committed,
            db: None,
            has_begun: false,
            was_connected: false,
            pruned_at: Instant::now(),
            habit: Habit::default(),
            spent: None,
        }
    }

    /// Works until nobody can submit any more and the queue is empty.
    pub(super) fn run(mut self) {
        while let Some(batch) = self.queue.next_batch() {
            // A panic outside the rules is a bug that must not end the lane: what was under way is
            // answered as a failure by being dropped.
            let carried_out = catch_unwind(AssertUnwindSafe(|| {
                self.carry_out(batch);
                if Mutant::AnswerBeforeCommit.is_planted() {
                    self.commit_late();
                }
                self.spent = None;
                self.prune();
            }));
            if carried_out.is_err() {
                tracing::error!(lane = self.number, "the lane panicked and goes on");
                self.db = None;
            }
            if self.queue.is_empty() && std::mem::take(&mut self.has_begun) {
                self.end_unchanged();
            }
        }
    }

    /// Carries out a batch and answers each of its commands.
    fn carry_out(&mut self, mut batch: Vec<Job>) {
        if batch.is_empty() {
            return;
        }
        let deadline = Instant::now() + PATIENCE;
        match self.run_until(&mut batch, false, deadline) {
            Ok(decided) => answer(batch, decided),
            Err(failure) if batch.len() == 1 || failure.concerns_all() => {
                answer_all(batch, &failure);
            }
            Err(failure) => {
                tracing::warn!(%failure, commands = batch.len(), "a batch keeps failing; running its commands one by one");
                metrics::batch_rerun("one_by_one");
                for job in batch {
                    self.carry_out_alone(job, deadline);
                }
            }
        }
    }

    /// What a mutant does after it has answered; where nothing was written there is nothing to end.
    fn commit_late(&mut self) {
        std::thread::sleep(Duration::from_millis(5));
        let _ = self.db.as_mut().map(Db::commit);
    }

    /// Carries out one command of a batch that failed, so that a poisonous one hurts only itself.
    fn carry_out_alone(&mut self, job: Job, deadline: Instant) {
        if Instant::now() >= deadline {
            let late = StoreError::Raced("the batch took too long".into());
            return answer_all(vec![job], &Failure::Store(late));
        }
        let mut batch = vec![job];
        match self.run_until(&mut batch, true, deadline) {
            Ok(decided) => answer(batch, decided),
            Err(failure) => answer_all(batch, &failure),
        }
    }

    /// Runs a batch until it is committed, is known to be hopeless, or has been tried enough.
    fn run_until(
        &mut self,
        batch: &mut Vec<Job>,
        is_alone: bool,
        deadline: Instant,
    ) -> Result<Decided, Failure> {
        let reruns_max = if is_alone { 1 } else { RERUNS_MAX };
        let mut reruns = 0u32;
        loop {
            let run = if is_alone { Run::Alone } else { Run::Together };
            match self.run_once(batch, run) {
                Ended::Decided(decided) => return Ok(decided),
                Ended::InDoubt(doubt) => return self.resolve(batch, doubt),
                Ended::Failed(error) => {
                    self.give_up_transaction(&error);
                    let most = if error.is_transient() { reruns_max } else { 1 };
                    if error.is_gone() || reruns >= most || Instant::now() >= deadline {
                        return Err(Failure::Store(error));
                    }
                    metrics::batch_rerun(reason(&error));
                    std::thread::sleep(jitter(reruns));
                    reruns = reruns.saturating_add(1);
                }
            }
        }
    }

    /// Finds out what became of a commit whose answer was lost, and carries the batch out if it
    /// did not take place.
    ///
    /// Whoever asks meanwhile is told to try again: the database is away.
    fn resolve(&mut self, batch: &mut Vec<Job>, mut doubt: Doubt) -> Result<Decided, Failure> {
        tracing::warn!("the answer to a commit was lost; finding out what became of it");
        metrics::batch_rerun("in_doubt");
        let deadline = Instant::now() + DOUBT_TIMEOUT;
        while Instant::now() < deadline {
            self.db = None;
            match self.run_once(batch, Run::InDoubt(&mut doubt)) {
                Ended::Decided(decided) => return Ok(decided),
                Ended::InDoubt(newer) => doubt = newer,
                Ended::Failed(error) => {
                    tracing::warn!(%error, "still in doubt about a commit");
                    self.turn_away_the_queue();
                    std::thread::sleep(RECONNECT_PAUSE);
                }
            }
        }
        Err(Failure::Unknown)
    }

    fn turn_away_the_queue(&mut self) {
        while let Some(job) = self.queue.take() {
            let gone = StoreError::Gone("in doubt about a commit".into());
            answer_all(vec![job], &Failure::Store(gone));
        }
    }

    /// Load, decide, save, commit: once. In doubt, first looks whether it was committed before.
    fn run_once(&mut self, batch: &mut Vec<Job>, run: Run<'_>) -> Ended {
        self.try_once(batch, run).unwrap_or_else(|ended| ended)
    }

    fn try_once(&mut self, batch: &mut Vec<Job>, run: Run<'_>) -> Result<Ended, Ended> {
        let started_at = Instant::now();
        let has_begun = std::mem::take(&mut self.has_begun) && self.db.is_some();
        let db = self.connection()?;
        if !has_begun {
            db.begin()?;
        }
        let mut state = self.load(batch, matches!(run, Run::Together))?;
        let db = self.connection()?;
        if let Run::InDoubt(doubt) = run {
            // The rows are locked now, so that the earlier commit is over, one way or the other.
            let is_there =
                db.was_committed(&doubt.evidence)? && !Mutant::ForgetLostCommit.is_planted();
            if is_there || Mutant::TrustLostCommit.is_planted() {
                let decided = std::mem::take(&mut doubt.decided);
                self.end_unchanged();
                return Ok(Ended::Decided(decided));
            }
        }
        let now = state.clock.unwrap_or_else(Timestamp::now);
        let decided: Decided = batch.iter().map(|job| decide_one(&mut state, job, now)).collect();
        if !state.is_changed() {
            self.end_unchanged();
            return Ok(Ended::Decided(decided));
        }
        db.save(&state, now)?;
        let is_late = Mutant::AnswerBeforeCommit.is_planted();
        let committed = if is_late { Ok(()) } else { self.commit() };
        if let Err(error) = committed {
            return Err(match Evidence::of(&state, now) {
                Some(evidence) if error.is_gone() => Ended::InDoubt(Doubt { decided, evidence }),
                _ => Ended::Failed(error),
            });
        }
        metrics::batch_committed(batch.len(), started_at.elapsed());
        for (reserved, capacity) in state.fullest_days() {
            metrics::booking_occupancy(reserved, capacity);
        }
        self.committed.send_modify(|commits| *commits = commits.wrapping_add(1));
        self.spent = Some(state);
        Ok(Ended::Decided(decided))
    }

    /// Loads everything the batch needs, in rounds: what a command needs may depend on what it finds.
    ///
    /// Locks are taken in one order by everybody: objects by kind and id, then sequences. The clock and
    /// kept answers are read when nothing is left to lock: whoever waited for a lock must see the answer
    /// that its holder committed. A round that wants a lock before one that was taken, or after the
    /// clock was read, begins anew with every lock that is known to be needed.
    ///
    /// Waiting for locks takes time, in which others arrive who want them as well. Those join, if they
    /// may: they cost neither a wait nor a commit of their own. Once, so that it ends.
    fn load(&mut self, batch: &mut Vec<Job>, mut may_join: bool) -> Result<State, StoreError> {
        self.habit.begin();
        let mut known: BTreeSet<Need> = BTreeSet::new();
        let mut state = State::default();
        let mut last_lock: Option<(u8, String)> = None;
        let mut is_late = false;
        loop {
            if last_lock.is_some() && !is_late && std::mem::take(&mut may_join) {
                self.queue.join(batch);
            }
            let wanted = needs(batch.iter().map(|job| &job.command), &state);
            let mut wanted: BTreeSet<Need> = wanted.into_iter().collect();
            if wanted.is_empty() {
                return Ok(state);
            }
            if wanted.iter().any(Need::locks) {
                let turn = wanted.iter().map(Need::turn).min();
                wanted.retain(|need| Some(need.turn()) == turn);
                known.extend(wanted.iter().filter(|need| need.locks()).cloned());
                let taken = last_lock.as_ref().map(|(place, id)| (*place, id.as_str()));
                // Also the last one itself: it was locked as a reference, and is to be changed.
                let is_early = |lock| Some(lock) <= taken;
                if is_late || wanted.iter().filter_map(Need::lock).any(is_early) {
                    let db = self.connection()?;
                    db.rollback()?;
                    db.begin()?;
                    state = State::default();
                    is_late = false;
                    last_lock = None;
                    // Everything that is not a lock is asked for again: it depends on what was dropped.
                    let turn = known.iter().map(Need::turn).min();
                    wanted =
                        known.iter().filter(|need| Some(need.turn()) == turn).cloned().collect();
                }
                let locks = wanted.iter().filter_map(Need::lock);
                last_lock = last_lock.max(locks.max().map(|(place, id)| (place, id.to_owned())));
            } else if wanted.iter().any(Need::leads_to_locks) {
                wanted.retain(|need| !need.comes_after_locks());
            }
            self.habit.apply(&mut wanted);
            is_late |= wanted.iter().any(Need::comes_after_locks);
            self.connection()?.load(wanted, &mut state)?;
        }
    }

    /// Commits, durably. If somebody waits already, that begins the next transaction as well: one
    /// way to the database less for every batch.
    fn commit(&mut self) -> Result<(), StoreError> {
        let goes_on = !self.queue.is_empty() && !self.is_time_to_prune();
        let db = self.connection()?;
        if !goes_on {
            return db.commit();
        }
        self.has_begun = db.commit_and_begin()?;
        Ok(())
    }

    /// Ends a transaction that wrote nothing. If even that fails, only the connection is lost.
    fn end_unchanged(&mut self) {
        if self.db.as_mut().is_some_and(|db| db.rollback().is_err()) {
            self.db = None;
        }
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
        self.db.as_mut().ok_or_else(|| StoreError::Gone("no connection".into()))
    }

    /// Leaves the failed transaction; a connection that cannot even do that is thrown away.
    fn give_up_transaction(&mut self, error: &StoreError) {
        let usable = !error.is_gone() && self.db.as_mut().is_some_and(|db| db.rollback().is_ok());
        if !usable {
            self.db = None;
        }
    }

    fn is_time_to_prune(&self) -> bool {
        self.number == 0 && self.pruned_at.elapsed() >= PRUNE_INTERVAL
    }

    /// Forgets answers that are old enough, now and then, a bounded number at a time.
    fn prune(&mut self) {
        // Within a transaction that has begun for others it would be theirs.
        if self.has_begun || !self.is_time_to_prune() {
            return;
        }
        let kept_micros = ANSWERS_KEPT_H.saturating_mul(3_600_000_000);
        let before = Timestamp::now().as_micros().saturating_sub(kept_micros);
        let (Some(db), Some(before)) = (self.db.as_mut(), Timestamp::from_micros(before)) else {
            return;
        };
        match db.prune_answers(before) {
            // There may be more: the next batch is followed by another slice.
            Ok(pruned) if pruned >= PRUNED_AT_ONCE => {}
            Ok(_) => self.pruned_at = Instant::now(),
            Err(error) => {
                tracing::warn!(%error, "old answers could not be pruned");
                self.pruned_at = Instant::now();
                self.db = None;
            }
        }
    }
}

impl Failure {
    /// Whether no command of the batch would fare better alone.
    fn concerns_all(&self) -> bool {
        match self {
            Self::Store(error) => error.is_gone(),
            Self::Unknown => true,
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Store(error) => error.fmt(f),
            Self::Unknown => f.write_str("the outcome of a commit could not be learned"),
        }
    }
}

/// Decides one command; if it panics, only it is answered with a failure.
fn decide_one(state: &mut State, job: &Job, now: Timestamp) -> Result<Outcome, Refusal> {
    let command = &job.command;
    let decided = catch_unwind(AssertUnwindSafe(|| {
        state.attempt(|state| {
            let decided = decide(state, command, now);
            if let Ok(outcome) = &decided
                && let Some(key) = &command.idempotency
                && outcome.is_kept()
                && !Mutant::IgnoreKeptAnswers.is_planted()
            {
                state.remember(key, render::render(outcome).into_answer(&key.fingerprint));
            }
            // A rejection was taken back already, but for the line that a denial leaves in the log.
            Ok::<_, Infallible>(decided)
        })
    }));
    match decided {
        Ok(Ok(decided)) => decided.map_err(Refusal::Rejected),
        Ok(Err(never)) => match never {},
        Err(_) => {
            let request_id = &command.meta.request_id;
            tracing::error!(request_id, "a rule panicked; its command had no effect");
            Err(Refusal::Internal)
        }
    }
}

fn answer(batch: Vec<Job>, mut decided: Decided) {
    if Mutant::SwapAnswers.is_planted() {
        decided.reverse();
    }
    for (job, outcome) in batch.into_iter().zip(decided) {
        // A client that went away needs no answer; its effect stays.
        let _ = job.answer.send(outcome);
    }
}

fn answer_all(batch: Vec<Job>, failure: &Failure) {
    for job in batch {
        let request_id = &job.command.meta.request_id;
        let refusal = match failure {
            Failure::Store(error) if error.is_gone() || error.is_transient() => {
                tracing::warn!(%failure, request_id, "nothing was written");
                Refusal::TryAgain
            }
            _ => {
                tracing::error!(%failure, request_id, "a command failed for a technical reason");
                Refusal::Internal
            }
        };
        let _ = job.answer.send(Err(refusal));
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
