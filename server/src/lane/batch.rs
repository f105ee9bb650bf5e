//! One lane's thread: batches, their retries, and what becomes of a batch that keeps failing.

mod unlocked;

use self::unlocked::Caution;
use super::{
    Job, LaneConfig, Outage, Refusal, Seams,
    queue::Queue,
    rounds::{Round, Rounds},
};
use crate::metrics;
use ifmatch_domain::{
    Mutant, Need, Outcome, Settings, State,
    core::{self, LockClass, Recent},
    decide, needs,
};
use ifmatch_store::{DatabaseUrl, Db, Evidence, PRUNED_AT_ONCE, StoreError, Use};
use ifmatch_types::{Timestamp, Version};
use std::{
    collections::BTreeSet,
    convert::Infallible,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::watch;

/// Maximum reruns of a batch after conflicts with other writers.
const RERUNS_MAX: u32 = 5;
/// Give up on a batch after this long; the whole lane is waiting.
const PATIENCE: Duration = Duration::from_secs(10);
/// Maximum time to find out whether a commit took place whose answer was lost.
const DOUBT_TIMEOUT: Duration = Duration::from_secs(30);
/// Give up on a statement after this long: the database does not answer. A commit is in doubt then.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(15);
/// Pause between two tries to reach the database.
const RECONNECT_PAUSE: Duration = Duration::from_millis(100);
/// How long kept answers are stored, in hours. At least 24 are promised.
const ANSWERS_KEPT_H: i64 = 48;
/// Time between two searches for old kept answers.
const PRUNE_INTERVAL: Duration = Duration::from_secs(60);

type Decided = Vec<Result<Outcome, Refusal>>;

/// One lane's thread.
pub(super) struct Lane {
    number: usize,
    url: DatabaseUrl,
    queue: Queue,
    committed: Arc<watch::Sender<u64>>,
    outage: Outage,
    settings: Settings,
    seams: Seams,
    db: Option<Db>,
    was_connected: bool,
    /// Whether the connection was made again, and nothing was committed over it yet. A database that
    /// can be reached may still be full.
    is_untried: bool,
    /// Whether the batch was run again because it was torn. Whatever another process had made meanwhile
    /// is visible to the second run, so what that finds is so.
    was_torn: bool,
    pruned_at: Instant,
    /// The state of the last batch. It is freed only after the batch's commands were answered.
    spent: Option<State>,
    recent: Recent,
    caution: Caution,
}

/// The purpose of a run of a batch.
enum Run<'a> {
    /// A batch from the queue. Commands for the same objects that arrive before it is decided join
    /// it.
    Together,
    /// One command of a batch that failed.
    Alone,
    /// To find out whether one of these commits took place.
    InDoubt(&'a mut Vec<Doubt>),
}

/// How one run of a batch ended.
enum Ended {
    /// Committed, or there was nothing to commit.
    Decided(Decided),
    /// Nothing of the batch was written.
    Failed(StoreError),
    /// The commit was sent, but its answer was lost.
    InDoubt(Box<Doubt>),
}

impl Ended {
    /// How a run ended whose commit answered with an error.
    fn uncommitted(
        decided: Decided,
        unlocked: Option<Rows>,
        state: &State,
        now: Timestamp,
        error: StoreError,
    ) -> Self {
        match Evidence::of(state, now) {
            Some(evidence) if error.is_gone() => {
                Self::InDoubt(Box::new(Doubt { decided, evidence, unlocked }))
            }
            _ => Self::Failed(error),
        }
    }
}

impl From<StoreError> for Ended {
    fn from(error: StoreError) -> Self {
        Self::Failed(error)
    }
}

/// A commit whose answer was lost. It took place if and only if its evidence is stored.
struct Doubt {
    /// What that commit decided for the batch.
    decided: Decided,
    evidence: Evidence,
    /// The rows that it read without locks.
    unlocked: Option<Rows>,
}

/// Rows of one class.
struct Rows {
    class: LockClass,
    ids: BTreeSet<String>,
}

/// Why a batch has no outcomes.
enum Failure {
    /// Nothing of the batch was written.
    Store(StoreError),
    /// It is unknown whether the batch was written.
    Unknown,
}

impl Lane {
    pub(super) fn new(
        number: usize,
        config: &LaneConfig,
        queue: Queue,
        committed: Arc<watch::Sender<u64>>,
        outage: Outage,
    ) -> Self {
        Self {
            number,
            url: config.url.clone(),
            queue,
            committed,
            outage,
            settings: config.settings,
            seams: config.seams,
            db: None,
            was_connected: false,
            is_untried: false,
            was_torn: false,
            pruned_at: Instant::now(),
            spent: None,
            recent: Recent::default(),
            caution: Caution::default(),
        }
    }

    /// Works until all senders are gone and the queue is empty.
    pub(super) fn run(mut self) {
        while let Some(batch) = self.queue.next_batch() {
            // A panic outside the rules is a bug that must not end the lane. The jobs of the batch
            // are dropped, and their callers get a failure.
            let carried_out = catch_unwind(AssertUnwindSafe(|| {
                self.carry_out(batch);
                if Mutant::AnswerBeforeCommit.is_planted() {
                    self.commit_late();
                }
                if let Some(spent) = self.spent.take() {
                    self.recent.keep(&spent);
                }
                self.prune();
                if let Some(db) = &self.db {
                    db.rest();
                }
            }));
            if carried_out.is_err() {
                tracing::error!(lane = self.number, "the lane panicked and goes on");
                self.db = None;
            }
        }
    }

    /// Carries out a batch and answers each of its commands.
    fn carry_out(&mut self, mut batch: Vec<Job>) {
        if batch.is_empty() {
            return;
        }
        let deadline = Instant::now() + PATIENCE;
        self.was_torn = false;
        match self.run_until(&mut batch, false, deadline) {
            Ok(decided) => answer(batch, decided, self.seams),
            Err(failure) if batch.len() == 1 || failure.concerns_all() => {
                self.fail(batch, &failure);
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

    /// Commits after the answer, for a mutant. If nothing was written, there is nothing to commit.
    fn commit_late(&mut self) {
        std::thread::sleep(Duration::from_millis(5));
        let _ = self.db.as_mut().map(Db::commit);
    }

    /// Carries out one command of a failed batch, so that a command that always fails hurts only
    /// itself.
    fn carry_out_alone(&mut self, job: Job, deadline: Instant) {
        if Instant::now() >= deadline {
            let late = StoreError::Raced("the batch took too long".into());
            return self.fail(vec![job], &Failure::Store(late));
        }
        let mut batch = vec![job];
        match self.run_until(&mut batch, true, deadline) {
            Ok(decided) => answer(batch, decided, self.seams),
            Err(failure) => self.fail(batch, &failure),
        }
    }

    /// Answers commands that failed for a technical reason.
    fn fail(&self, batch: Vec<Job>, failure: &Failure) {
        if failure.concerns_all() {
            self.outage.begin();
        }
        answer_all(batch, failure, &self.url);
    }

    /// Runs a batch until it is committed, cannot succeed, or has used up its reruns or its time.
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
                Ended::InDoubt(doubt) => return self.resolve(batch, *doubt),
                Ended::Failed(error) => {
                    self.give_up_transaction(&error);
                    let most = if error.is_transient() { reruns_max } else { 1 };
                    if error.is_outage() || reruns >= most || Instant::now() >= deadline {
                        return Err(Failure::Store(error));
                    }
                    metrics::batch_rerun(reason(&error));
                    std::thread::sleep(jitter(reruns));
                    reruns = reruns.saturating_add(1);
                }
            }
        }
    }

    /// Finds out whether a commit took place whose answer was lost. If not, carries the batch out.
    ///
    /// Meanwhile, queued commands are told to try again, because the database is away.
    fn resolve(&mut self, batch: &mut Vec<Job>, doubt: Doubt) -> Result<Decided, Failure> {
        let mut doubts = vec![doubt];
        tracing::warn!("the answer to a commit was lost; finding out what became of it");
        metrics::batch_rerun("in_doubt");
        let deadline = Instant::now() + DOUBT_TIMEOUT;
        while Instant::now() < deadline {
            self.db = None;
            match self.run_once(batch, Run::InDoubt(&mut doubts)) {
                Ended::Decided(decided) => return Ok(decided),
                Ended::InDoubt(newer) => doubts.push(*newer),
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
            self.fail(vec![job], &Failure::Store(gone));
        }
    }

    /// Loads, decides, saves and commits once. In doubt, first checks whether it was committed
    /// before.
    fn run_once(&mut self, batch: &mut Vec<Job>, run: Run<'_>) -> Ended {
        self.try_once(batch, run).unwrap_or_else(|ended| ended)
    }

    fn try_once(&mut self, batch: &mut Vec<Job>, run: Run<'_>) -> Result<Ended, Ended> {
        if let Some(ended) = self.run_unlocked(batch, &run) {
            return Ok(ended);
        }
        let started_at = Instant::now();
        self.begin()?;
        let mut state = self.load(batch, matches!(run, Run::Together))?;
        let mut was_outdated = false;
        if let Run::InDoubt(doubts) = run {
            if let Some(decided) = self.earlier_commit(doubts)? {
                self.end_unchanged();
                return Ok(Ended::Decided(decided));
            }
            was_outdated = self.outdate(doubts)?;
        }
        let now = state.clock.unwrap_or_else(Timestamp::now);
        let decided: Decided = batch.iter().map(|job| self.decide(job, &mut state, now)).collect();
        if state.is_torn && !std::mem::replace(&mut self.was_torn, true) {
            return Err(StoreError::Raced("a row was made between two reads".into()).into());
        }
        if !state.is_changed() && !was_outdated {
            self.end_unchanged();
            return Ok(Ended::Decided(decided));
        }
        let db = self.connection()?;
        db.save(&state, now)?;
        let is_late = Mutant::AnswerBeforeCommit.is_planted();
        let committed = if is_late { Ok(()) } else { db.commit() };
        if let Err(error) = committed {
            return Err(Ended::uncommitted(decided, None, &state, now, error));
        }
        self.note_commit(state, batch.len(), started_at);
        Ok(Ended::Decided(decided))
    }

    /// What was decided by the one of these commits that took place, if one did.
    ///
    /// The rows of the batch are locked now, so a commit that had locked them has either taken place
    /// or failed.
    fn earlier_commit(&mut self, doubts: &mut [Doubt]) -> Result<Option<Decided>, StoreError> {
        let db = self.connection()?;
        for doubt in doubts {
            let is_there =
                db.was_committed(&doubt.evidence)? && !Mutant::ForgetLostCommit.is_planted();
            if is_there || Mutant::TrustLostCommit.is_planted() {
                // It may be on this primary alone, and be lost in a failover.
                db.confirm_commit()?;
                return Ok(Some(std::mem::take(&mut doubt.decided)));
            }
        }
        Ok(None)
    }

    /// Makes sure that no save without locks takes place later. Returns whether there was one.
    ///
    /// PostgreSQL may have received it and not yet begun with it. It fails once its rows are other
    /// ones than it read.
    fn outdate(&mut self, doubts: &[Doubt]) -> Result<bool, StoreError> {
        let db = self.connection()?;
        let mut was_there = false;
        for Rows { class, ids } in doubts.iter().filter_map(|doubt| doubt.unlocked.as_ref()) {
            db.outdate(*class, ids)?;
            was_there = true;
        }
        Ok(was_there)
    }

    /// Decides a command of a batch.
    fn decide(&self, job: &Job, state: &mut State, now: Timestamp) -> Result<Outcome, Refusal> {
        job.context.within(|| decide_one(state, job, now, self.seams))
    }

    /// Tells the rest of the process about a commit.
    fn note_commit(&mut self, state: State, commands: usize, started_at: Instant) {
        self.outage.end();
        if std::mem::take(&mut self.is_untried) {
            tracing::info!(lane = self.number, "the database is back");
        }
        metrics::batch_committed(commands, started_at.elapsed());
        (self.seams.committed)(&state);
        self.committed.send_modify(|commits| *commits = commits.wrapping_add(1));
        self.spent = Some(state);
    }

    /// Loads everything the batch needs, in [`Rounds`]: a need may depend on what was loaded
    /// before.
    ///
    /// A command that arrives during the lock wait and targets the same objects joins the batch, if
    /// the batch may grow. It then costs neither a wait nor a commit of its own. This happens once,
    /// so that loading ends.
    fn load(&mut self, batch: &mut Vec<Job>, mut may_join: bool) -> Result<State, StoreError> {
        let mut rounds = Rounds::default();
        let mut state = State::under(self.settings, Timestamp::now());
        loop {
            if rounds.may_grow() && std::mem::take(&mut may_join) {
                self.queue.join(batch);
            }
            let wanted = needs(batch.iter().map(|job| &job.command), &state);
            let wanted = match rounds.next(wanted, &state) {
                Round::Complete => return Ok(state),
                Round::Load(wanted) => wanted,
                Round::BeginAnew(wanted) => {
                    let db = self.connection()?;
                    db.rollback()?;
                    db.begin()?;
                    state = State::under(self.settings, Timestamp::now());
                    wanted
                }
                Round::Unanswered(wanted) => {
                    let what = format!("these needs are never loaded: {wanted:?}");
                    return Err(StoreError::Unforeseen(what.into()));
                }
            };
            let wanted = self.recall(wanted, &mut state);
            self.connection()?.load(wanted, &mut state)?;
        }
    }

    /// Answers needs of the past from memory. Returns the others.
    fn recall(&mut self, mut wanted: BTreeSet<Need>, state: &mut State) -> BTreeSet<Need> {
        let of_the_past = |need: &Need| matches!(need, Need::Core(core::Need::History(..)));
        let past: BTreeSet<_> = wanted.extract_if(.., of_the_past).filter_map(past_of).collect();
        if !past.is_empty() {
            let unknown = self.recent.recall(past, state);
            let need = |(id, version)| Need::Core(core::Need::History(id, version));
            wanted.extend(unknown.into_iter().map(need));
        }
        wanted
    }

    /// Ends a transaction that wrote nothing. If even that fails, only the connection is lost.
    fn end_unchanged(&mut self) {
        if self.db.as_mut().is_some_and(|db| db.rollback().is_err()) {
            self.db = None;
        }
    }

    /// Begins a transaction. If the connection died while it was idle, begins it on a new one.
    ///
    /// Nothing was sent before, so that this is never a repetition of anything.
    fn begin(&mut self) -> Result<(), StoreError> {
        let was_idle = self.db.is_some();
        match self.connection()?.begin() {
            Err(error) if was_idle && !error.spares_connection() => {
                self.db = None;
                self.connection()?.begin()
            }
            begun => begun,
        }
    }

    fn connection(&mut self) -> Result<&mut Db, StoreError> {
        if self.db.is_none() {
            let mut db = Db::connect(&self.url, Use::Lane)?;
            db.cut_after(STATEMENT_TIMEOUT);
            self.db = Some(db);
            self.recent.clear();
            if self.was_connected {
                metrics::reconnected();
                self.is_untried = true;
            }
            self.was_connected = true;
        }
        self.db.as_mut().ok_or_else(|| StoreError::Gone("no connection".into()))
    }

    /// Rolls the failed transaction back. A connection that cannot do that is dropped, and one that
    /// the error may come from.
    fn give_up_transaction(&mut self, error: &StoreError) {
        let usable =
            error.spares_connection() && self.db.as_mut().is_some_and(|db| db.rollback().is_ok());
        if !usable {
            self.db = None;
        }
    }

    /// Deletes old kept answers from time to time, a bounded number at once.
    fn prune(&mut self) {
        if self.number != 0 || self.pruned_at.elapsed() < PRUNE_INTERVAL {
            return;
        }
        let kept_micros = ANSWERS_KEPT_H.saturating_mul(3_600_000_000);
        let before = Timestamp::now().as_micros().saturating_sub(kept_micros);
        let (Some(db), Some(before)) = (self.db.as_mut(), Timestamp::from_micros(before)) else {
            return;
        };
        match db.prune_answers(before) {
            // There may be more. They are deleted after the next batch.
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
    /// Whether every command of the batch would fail alone, too.
    fn concerns_all(&self) -> bool {
        match self {
            Self::Store(error) => error.is_outage(),
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

/// Decides one command. If it panics, only this command fails.
fn decide_one(
    state: &mut State,
    job: &Job,
    now: Timestamp,
    seams: Seams,
) -> Result<Outcome, Refusal> {
    let command = &job.command;
    let decided = catch_unwind(AssertUnwindSafe(|| {
        state.attempt(|state| {
            let decided = decide(state, command, now);
            if let Ok(outcome) = &decided
                && let Some(key) = &command.idempotency
                && outcome.is_kept()
                && !Mutant::IgnoreKeptAnswers.is_planted()
            {
                state.remember(key, (seams.kept)(outcome, &key.fingerprint));
            }
            // A rejection has already been undone, except for the log line of a denial.
            Ok::<_, Infallible>(decided)
        })
    }));
    match decided {
        Ok(Ok(decided)) => decided.map_err(Refusal::Rejected),
        Ok(Err(never)) => match never {},
        Err(_) => {
            tracing::error!("a rule panicked; its command had no effect");
            Err(Refusal::Internal)
        }
    }
}

fn past_of(need: Need) -> Option<(String, Version)> {
    match need {
        Need::Core(core::Need::History(id, version)) => Some((id, version)),
        _ => None,
    }
}

fn answer(batch: Vec<Job>, mut decided: Decided, seams: Seams) {
    if Mutant::SwapAnswers.is_planted() {
        decided.reverse();
    }
    for (job, outcome) in batch.into_iter().zip(decided) {
        // A client that went away needs no answer. Its effect stays, and is counted here.
        if let Err(unheard) = job.answer.send(outcome) {
            job.context.within(|| (seams.observe)(&unheard));
        }
    }
}

fn answer_all(batch: Vec<Job>, failure: &Failure, url: &DatabaseUrl) {
    for job in batch {
        let refusal = job.context.within(|| match failure {
            Failure::Store(error) if error.is_outage() || error.is_transient() => {
                // Its file or host tells which disk is full. It shows no password.
                tracing::warn!(%failure, database = ?url, "nothing was written");
                Refusal::TryAgain
            }
            Failure::Store(_) | Failure::Unknown => {
                tracing::error!(%failure, "a command failed for a technical reason");
                Refusal::Internal
            }
        });
        let _ = job.answer.send(Err(refusal));
    }
}

fn reason(error: &StoreError) -> &'static str {
    match error {
        StoreError::Gone(_) => "gone",
        StoreError::Impaired(_) => "impaired",
        StoreError::Raced(_) => "raced",
        StoreError::LostGuard { .. } => "lost_guard",
        StoreError::Corrupt { .. } => "corrupt",
        StoreError::Unforeseen(_) => "unforeseen",
    }
}

/// A random pause before a rerun, at most 5 ms · 2ⁿ.
fn jitter(reruns: u32) -> Duration {
    let most_us = 5_000u64.saturating_mul(1u64 << reruns.min(6));
    Duration::from_micros(fastrand::u64(0..=most_us))
}
