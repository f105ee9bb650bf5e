//! The lane: the only code that knows both the rules and the database.
//!
//! It collects the queued commands, loads what they need, decides them in memory, saves the result
//! in one commit, and answers only after that. Its queue is bounded: if it is full, the caller is
//! told to try again.

mod batch;
mod queue;
mod rounds;
mod turns;

use crate::{
    budget::{Budget, Reserved},
    log::LogContext,
    metrics,
};
use ifmatch_domain::{Command, Outcome, Rejection, Settings, State, core::KeptAnswer};
use ifmatch_store::DatabaseUrl;
use queue::Queue;
use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Instant,
};
use tokio::sync::{mpsc, oneshot, watch};
use turns::{Answer, Contender, Entered, Turns, Written};
pub use turns::{HasEnded, Patience};

/// Maximum bytes of the commands that wait in the lanes.
const WAITING_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Maximum bytes of the commands of one API key that wait in the lanes.
const WAITING_BYTES_MAX_PER_KEY: usize = 16 * 1024 * 1024;
/// The bytes of a command without its body.
const COMMAND_BYTES: usize = 1024;

/// Why a command has no outcome.
#[derive(Debug)]
pub enum Refusal {
    /// A rule rejected it.
    Rejected(Rejection),
    /// The lane is busy or the database is away. Nothing was written.
    TryAgain,
    /// Its API key ended while it waited for its turn. Nothing was written.
    KeyEnded,
    /// Something unforeseen. Its effect is unknown; the log says more.
    Internal,
}

/// A command on its way through the lane.
struct Job {
    command: Command,
    subject: Subject,
    /// Lines that are logged for this command say which request it belongs to.
    context: LogContext,
    answer: oneshot::Sender<Answer>,
    /// Its bytes among all that wait, until it was answered.
    weight: Reserved,
    queued_at: Instant,
    /// Whether no caller waits for it, so that it must delay none.
    is_background: bool,
}

impl Job {
    /// A job for a command, and where its answer arrives.
    fn new(command: Command, weight: Reserved) -> (Self, oneshot::Receiver<Answer>) {
        let (answer, answered) = oneshot::channel();
        let subject = Subject::of(&command);
        let context = LogContext::of_command(&command.meta);
        let queued_at = Instant::now();
        let job =
            Self { command, subject, context, answer, weight, queued_at, is_background: false };
        (job, answered)
    }
}

/// The hash of what a command is about.
///
/// Commands about one object share a lane, so that they meet in memory and not in the database. Two
/// objects with the same hash share a lane as well, without any other effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Subject(u64);

impl Subject {
    fn of(command: &Command) -> Self {
        let mut hasher = DefaultHasher::new();
        match command.action.subject() {
            Some(id) => id.hash(&mut hasher),
            None => match &command.idempotency {
                Some(key) => key.key.hash(&mut hasher),
                None => command.seed.hash(&mut hasher),
            },
        }
        Self(hasher.finish())
    }
}

/// Functions that the lane calls for outcomes, because it knows no system itself.
#[derive(Clone, Copy, Debug)]
pub struct Seams {
    /// Makes the kept answer from an outcome and the request's fingerprint.
    pub kept: fn(&Outcome, &str) -> KeptAnswer,
    /// Counts and logs an outcome: the one observer of all commands of this process.
    pub observe: fn(&Result<Outcome, Refusal>),
    /// Counts what a committed batch did.
    pub committed: fn(&State),
}

/// The configuration of the lanes.
#[derive(Clone, Debug)]
pub struct LaneConfig {
    /// The database.
    pub url: DatabaseUrl,
    /// Number of lanes.
    pub lanes: usize,
    /// Whether there is one more lane for background work.
    pub has_background: bool,
    /// Maximum number of commands that wait in each lane.
    pub queue: usize,
    /// Maximum number of commands that share a commit.
    pub batch_max: usize,
    /// The settings that rules depend on.
    pub settings: Settings,
    /// The functions for outcomes.
    pub seams: Seams,
}

/// Whether a write failed because of the database, and none has succeeded since.
///
/// A database that answers reads may still be full.
#[derive(Clone, Debug, Default)]
struct Outage(Arc<AtomicBool>);

impl Outage {
    fn begin(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn end(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    fn is_on(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// The queues of all lanes.
struct Entrances {
    lanes: Vec<mpsc::Sender<Job>>,
    /// The queue of the lane for background work. Without one, that work is in the others.
    background: Option<mpsc::Sender<Job>>,
}

impl Entrances {
    /// Puts a command into its lane's queue, or returns it because the queue is full.
    fn enter(&self, job: Job) -> Result<(), Box<Job>> {
        match self.queue_of(&job) {
            Some(queue) => queue.try_send(job).map_err(|full| Box::new(full.into_inner())),
            None => Err(Box::new(job)),
        }
    }

    /// Puts a command into its lane's queue, or answers that it must be sent again.
    fn enter_or_answer(&self, job: Job) -> bool {
        match self.enter(job) {
            Ok(()) => true,
            Err(job) => {
                // Its caller may be gone.
                let _ = job.answer.send(Err(Refusal::TryAgain));
                false
            }
        }
    }

    fn queue_of(&self, job: &Job) -> Option<&mpsc::Sender<Job>> {
        let background = self.background.as_ref().filter(|_| job.is_background);
        background.or_else(|| {
            let lanes = u64::try_from(self.lanes.len()).ok()?;
            let lane = job.subject.0.checked_rem(lanes)?;
            self.lanes.get(usize::try_from(lane).ok()?)
        })
    }

    /// Every queue with the name of its lane.
    fn named(&self) -> impl Iterator<Item = (String, &mpsc::Sender<Job>)> {
        let numbered = self.lanes.iter().enumerate().map(|(lane, queue)| (lane.to_string(), queue));
        numbered.chain(self.background.iter().map(|queue| ("background".to_owned(), queue)))
    }
}

/// All lanes of this process.
pub struct Lanes {
    entrances: Arc<Entrances>,
    waiting: Arc<Budget>,
    turns: Arc<Turns>,
    commits: watch::Receiver<u64>,
    outage: Outage,
    observe: fn(&Result<Outcome, Refusal>),
}

impl Lanes {
    /// Starts the lanes, one thread each. They end when this is dropped and their queues are empty.
    pub fn start(config: &LaneConfig) -> std::io::Result<(Self, Vec<JoinHandle<()>>)> {
        let (committed, commits) = watch::channel(0);
        let committed = Arc::new(committed);
        let outage = Outage::default();
        let mut threads = Vec::new();
        let mut start = |number: usize, name: String, queue: fn(_, _) -> Queue| {
            let (sender, arriving) = mpsc::channel(config.queue);
            let queue = queue(arriving, config.batch_max);
            let lane =
                batch::Lane::new(number, config, queue, Arc::clone(&committed), outage.clone());
            threads.push(std::thread::Builder::new().name(name).spawn(move || lane.run())?);
            Ok::<_, std::io::Error>(sender)
        };
        let numbers = 0..config.lanes;
        let lanes = numbers.map(|number| start(number, format!("lane-{number}"), Queue::new));
        let lanes = lanes.collect::<Result<Vec<_>, _>>()?;
        let start_background = || start(config.lanes, "background".to_owned(), Queue::gathering);
        let background = config.has_background.then(start_background);
        let entrances = Arc::new(Entrances { lanes, background: background.transpose()? });
        let waiting = Budget::new(WAITING_BYTES_MAX, WAITING_BYTES_MAX_PER_KEY);
        let turns = Turns::new(Arc::clone(&entrances));
        let observe = config.seams.observe;
        Ok((Self { entrances, waiting, turns, commits, outage, observe }, threads))
    }

    /// Decides a command and makes its effect durable.
    ///
    /// # Errors
    ///
    /// Why it has no effect. After [`Refusal::Internal`] its effect is unknown.
    pub async fn submit(&self, command: Command) -> Result<Outcome, Refusal> {
        self.submit_with_body(command, 0).await
    }

    /// Like [`submit`](Self::submit), for a command that holds a body of so many bytes.
    ///
    /// # Errors
    ///
    /// As [`submit`](Self::submit).
    pub async fn submit_with_body(
        &self,
        command: Command,
        body_bytes: usize,
    ) -> Result<Outcome, Refusal> {
        let bytes = body_bytes.saturating_add(COMMAND_BYTES);
        let outcome = self.decide(command, bytes, false).await;
        (self.observe)(&outcome);
        outcome
    }

    /// Like [`submit`](Self::submit), for one of many commands that no caller waits for by itself.
    ///
    /// On PostgreSQL they have a lane of their own, because a batch takes as long as the slowest of
    /// its commands. On SQLite only one batch can be written at a time.
    ///
    /// # Errors
    ///
    /// As [`submit`](Self::submit).
    pub async fn submit_in_background(&self, command: Command) -> Result<Outcome, Refusal> {
        let outcome = self.decide(command, COMMAND_BYTES, true).await;
        (self.observe)(&outcome);
        outcome
    }

    /// Like [`submit_with_body`](Self::submit_with_body), for a caller that would rather wait for its
    /// turn than be refused because its version is stale. Tells as well whether it was refused in its
    /// turn.
    pub async fn submit_in_turn(
        &self,
        command: Command,
        body_bytes: usize,
        patience: Patience,
        has_ended: HasEnded,
    ) -> (Result<Outcome, Refusal>, bool) {
        let bytes = body_bytes.saturating_add(COMMAND_BYTES);
        let (outcome, had_turn) = self.decide_in_turn(command, bytes, patience, has_ended).await;
        (self.observe)(&outcome);
        let is_refused = turns::conflict(&outcome).is_some();
        (outcome, had_turn && is_refused)
    }

    async fn decide_in_turn(
        &self,
        command: Command,
        bytes: usize,
        patience: Patience,
        has_ended: HasEnded,
    ) -> (Answer, bool) {
        let deadline = Instant::now() + patience.wait;
        let (undecided, turn) = (command.clone(), patience.turn);
        let contender = Box::new(Contender { command: undecided, bytes, turn, has_ended });
        let contender = match self.turns.enter_undecided(contender) {
            Ok(place) => return place.answered(deadline).await,
            Err(contender) => contender,
        };
        let answer = self.decide(command, bytes, false).await;
        let Some(conflict) = turns::conflict(&answer) else { return (answer, false) };
        match self.turns.enter(conflict, contender) {
            Entered::First => (answer, true),
            Entered::Full => (answer, false),
            Entered::Waiting(place) => place.answered(deadline).await,
        }
    }

    async fn decide(&self, command: Command, bytes: usize, is_background: bool) -> Answer {
        let Some(weight) = self.waiting.reserve(command.meta.actor.key_id.as_ref(), bytes) else {
            tracing::debug!("the commands that wait are too large");
            return Err(Refusal::TryAgain);
        };
        let written = Some(&command.action).filter(|_| self.turns.are_given());
        let written = written.and_then(Written::of);
        // One that names no version and needs to is refused for that.
        let written = written.filter(|written| !written.is_strict || written.names.is_some());
        let written = written.map(|written| (written.object.to_owned(), written.names));
        // The object may be foreign to the holder of a scoped key.
        let is_scoped = command.meta.actor.workspace_id.is_some();
        let (job, outcome) = Job::new(command, weight);
        let job = Job { is_background, ..job };
        if self.entrances.enter(job).is_err() {
            tracing::debug!("a lane's queue is full");
            return Err(Refusal::TryAgain);
        }
        if let Some((object, names)) = written.as_ref().filter(|_| !is_scoped) {
            self.turns.follow(object, *names);
        }
        let outcome = outcome.await.unwrap_or_else(|_| {
            tracing::error!("the lane dropped a command");
            Err(Refusal::Internal)
        });
        if let Some((object, names)) = written.filter(|_| is_scoped && outcome.is_ok()) {
            self.turns.follow(&object, names);
        }
        outcome
    }

    /// Lets everybody who waits for a turn be decided now, because the server stops.
    pub fn end_turns(&self) {
        self.turns.close();
    }

    /// Measures how many commands wait in each queue now.
    pub fn measure(&self) {
        for (lane, queue) in self.entrances.named() {
            metrics::queue_depth(lane, queue.max_capacity().saturating_sub(queue.capacity()));
        }
    }

    /// Whether every lane still takes commands.
    pub fn are_alive(&self) -> bool {
        self.entrances.named().all(|(_, queue)| !queue.is_closed())
    }

    /// Whether a write failed because of the database, and none has succeeded since.
    pub fn is_in_outage(&self) -> bool {
        self.outage.is_on()
    }

    /// Ends the outage, because a commit was seen to succeed.
    pub fn end_outage(&self) {
        self.outage.end();
    }

    /// Signals every commit of this process. The number only grows.
    pub fn commits(&self) -> watch::Receiver<u64> {
        self.commits.clone()
    }
}
