//! The lane: the only code that knows both the rules and the database.
//!
//! It collects what is queued, loads what that needs, decides it in memory, saves it in one commit,
//! and answers only after that. Its queue is bounded; a full one is told to try again.

mod batch;
mod habit;
mod queue;

use crate::{log, metrics};
use ifmatch_domain::{Action, Answer, Command, CreateObject, Operation, Outcome, Rejection};
use ifmatch_store::DatabaseUrl;
use queue::Queue;
use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    thread::JoinHandle,
    time::Instant,
};
use tokio::sync::{mpsc, oneshot, watch};
use tracing::Span;

/// Why a command has no outcome.
#[derive(Debug)]
pub enum Refusal {
    /// A rule refused it.
    Rejected(Rejection),
    /// Busy or away; nothing was written.
    TryAgain,
    /// Something unforeseen; nothing is known of its effect. The log says more.
    Internal,
}

/// A command on its way through the lane.
struct Job {
    command: Command,
    subject: Subject,
    /// The request's span: what is logged for this command carries its request id.
    span: Span,
    answer: oneshot::Sender<Result<Outcome, Refusal>>,
    queued_at: Instant,
}

/// What a command is about, as a hash: commands about one object share a lane, so that they meet in
/// memory and not in the database. Two objects with one hash share it as well; nothing else follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Subject(u64);

impl Subject {
    fn of(command: &Command) -> Self {
        let mut hasher = DefaultHasher::new();
        match object_of(&command.action) {
            Some(id) => id.hash(&mut hasher),
            None => match &command.idempotency {
                Some(key) => key.key.hash(&mut hasher),
                None => command.seed.hash(&mut hasher),
            },
        }
        Self(hasher.finish())
    }
}

/// What the lane does with outcomes but does not know itself, since it knows no system.
#[derive(Clone, Copy, Debug)]
pub struct Seams {
    /// Makes the answer that is kept for repeats, from an outcome and the request's fingerprint.
    pub kept: fn(&Outcome, &str) -> Answer,
    /// Counts and logs an outcome: the one observer of all commands of this process.
    pub observe: fn(&Result<Outcome, Refusal>),
}

/// How lanes are set up.
#[derive(Clone, Debug)]
pub struct LaneConfig {
    /// The database.
    pub url: DatabaseUrl,
    /// How many lanes.
    pub lanes: usize,
    /// How many commands may wait in each.
    pub queue: usize,
    /// Maximum commands that share a commit.
    pub batch_max: usize,
    /// What is done with outcomes.
    pub seams: Seams,
}

/// All lanes of this process.
pub struct Lanes {
    queues: Vec<mpsc::Sender<Job>>,
    commits: watch::Receiver<u64>,
    observe: fn(&Result<Outcome, Refusal>),
}

impl Lanes {
    /// Starts the lanes, one thread each; they end when this is dropped and their queues are empty.
    pub fn start(config: &LaneConfig) -> std::io::Result<(Self, Vec<JoinHandle<()>>)> {
        let (committed, commits) = watch::channel(0);
        let committed = Arc::new(committed);
        let mut queues = Vec::new();
        let mut threads = Vec::new();
        for number in 0..config.lanes {
            let (sender, arriving) = mpsc::channel(config.queue);
            let queue = Queue::new(arriving, config.batch_max);
            let lane = batch::Lane::new(number, config, queue, Arc::clone(&committed));
            let name = format!("lane-{number}");
            threads.push(std::thread::Builder::new().name(name).spawn(move || lane.run())?);
            queues.push(sender);
        }
        Ok((Self { queues, commits, observe: config.seams.observe }, threads))
    }

    /// Decides a command and makes its effect durable.
    ///
    /// # Errors
    ///
    /// Why it has no effect; after [`Refusal::Internal`] only the log may know.
    pub async fn submit(&self, command: Command) -> Result<Outcome, Refusal> {
        let outcome = self.decide(command).await;
        (self.observe)(&outcome);
        outcome
    }

    async fn decide(&self, command: Command) -> Result<Outcome, Refusal> {
        let (answer, outcome) = oneshot::channel();
        let subject = Subject::of(&command);
        let span = log::span_of(&command.meta);
        let job = Job { command, subject, span, answer, queued_at: Instant::now() };
        let queued = self.queue_of(subject).is_some_and(|queue| queue.try_send(job).is_ok());
        if !queued {
            tracing::debug!("a lane's queue is full");
            return Err(Refusal::TryAgain);
        }
        outcome.await.unwrap_or_else(|_| {
            tracing::error!("the lane dropped a command");
            Err(Refusal::Internal)
        })
    }

    fn queue_of(&self, subject: Subject) -> Option<&mpsc::Sender<Job>> {
        let lanes = u64::try_from(self.queues.len()).ok()?;
        let lane = subject.0.checked_rem(lanes)?;
        self.queues.get(usize::try_from(lane).ok()?)
    }

    /// Measures how many commands wait in each queue now.
    pub fn measure(&self) {
        for (lane, queue) in self.queues.iter().enumerate() {
            metrics::queue_depth(lane, queue.max_capacity().saturating_sub(queue.capacity()));
        }
    }

    /// Whether every lane still takes commands.
    pub fn are_alive(&self) -> bool {
        self.queues.iter().all(|queue| !queue.is_closed())
    }

    /// Tells when something was committed in this process; the number only grows.
    pub fn commits(&self) -> watch::Receiver<u64> {
        self.commits.clone()
    }
}

fn object_of(action: &Action) -> Option<&str> {
    match action {
        Action::Update(update) => Some(&update.id),
        Action::Delete(delete) => Some(&delete.id),
        Action::RecordPayment(record) => Some(&record.invoice_id),
        Action::ReversePayment(reverse) => Some(&reverse.invoice_id),
        Action::BillSubscription(bill) => Some(&bill.subscription_id),
        Action::RevokeApiKey(revoke) => Some(&revoke.id),
        Action::AssignPackage(assign) => Some(&assign.scope.id),
        Action::GrantBoost(grant) => Some(&grant.scope.id),
        Action::CheckAndRecord(check) => Some(&check.scope.id),
        Action::PlaceHold(place) => Some(&place.scope.id),
        Action::EndHold(end) => Some(&end.scope.id),
        Action::ReverseUsage(reverse) => Some(&reverse.scope.id),
        Action::ExpireEntitlements(expire) => Some(&expire.scope.id),
        Action::Transact(transact) => transact.operations.iter().find_map(|op| match op {
            Operation::Update(update) => Some(update.id.as_str()),
            Operation::Delete(delete) => Some(delete.id.as_str()),
            Operation::Check { id, .. } => Some(id.as_str()),
            Operation::Create(create) => bookable_of(create),
        }),
        Action::Create(create) => bookable_of(create),
        Action::ExpireBookings(expire) => Some(&expire.bookable_id),
        Action::Admit(about) => about.as_ref().map(|(_, id)| id.as_str()),
        Action::CreateApiKey(_) | Action::FinishBillingRun(_) | Action::RecordDenied(_) => None,
    }
}

/// What a new object will be an addition to; its lane, since all of them change its days.
fn bookable_of(create: &CreateObject) -> Option<&str> {
    create.body.get("bookable_id")?.as_str()
}
