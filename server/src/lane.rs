//! The lane: the only code that knows both the rules and the database.
//!
//! It collects what is queued, loads what that needs, decides it in memory, saves it in one commit,
//! and answers only after that. Its queue is bounded; a full one is told to try again.

mod batch;
mod habit;

use crate::metrics;
use ifmatch_domain::{Action, Command, CreateObject, Operation, Outcome, Rejection};
use ifmatch_store::DatabaseUrl;
use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    thread::JoinHandle,
    time::Instant,
};
use tokio::sync::{mpsc, oneshot, watch};

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
    answer: oneshot::Sender<Result<Outcome, Refusal>>,
    queued_at: Instant,
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
    /// How many commands share a commit at most.
    pub batch_max: usize,
}

/// All lanes of this process.
pub struct Lanes {
    queues: Vec<mpsc::Sender<Job>>,
    commits: watch::Receiver<u64>,
}

impl Lanes {
    /// Starts the lanes, one thread each; they end when this is dropped and their queues are empty.
    pub fn start(config: &LaneConfig) -> std::io::Result<(Self, Vec<JoinHandle<()>>)> {
        let (committed, commits) = watch::channel(0);
        let committed = Arc::new(committed);
        let mut queues = Vec::new();
        let mut threads = Vec::new();
        for number in 0..config.lanes {
            let (sender, queue) = mpsc::channel(config.queue);
            let lane = batch::Lane::new(number, config, queue, Arc::clone(&committed));
            let name = format!("lane-{number}");
            threads.push(std::thread::Builder::new().name(name).spawn(move || lane.run())?);
            queues.push(sender);
        }
        Ok((Self { queues, commits }, threads))
    }

    /// Decides a command and makes its effect durable.
    ///
    /// # Errors
    ///
    /// Why it has no effect; after [`Refusal::Internal`] only the log may know.
    pub async fn submit(&self, command: Command) -> Result<Outcome, Refusal> {
        let (answer, outcome) = oneshot::channel();
        let lane = self.lane_of(&command);
        let queue = self.queues.get(lane).ok_or(Refusal::TryAgain)?;
        let job = Job { command, answer, queued_at: Instant::now() };
        queue.try_send(job).map_err(|_| Refusal::TryAgain)?;
        metrics::queue_depth(lane, queue.max_capacity().saturating_sub(queue.capacity()));
        outcome.await.unwrap_or(Err(Refusal::Internal))
    }

    /// Whether every lane still takes commands.
    pub fn are_alive(&self) -> bool {
        self.queues.iter().all(|queue| !queue.is_closed())
    }

    /// Tells when something was committed in this process; the number only grows.
    pub fn commits(&self) -> watch::Receiver<u64> {
        self.commits.clone()
    }

    /// Commands about one object share a lane, so that they meet in memory and not in the database.
    fn lane_of(&self, command: &Command) -> usize {
        let mut hasher = DefaultHasher::new();
        match object_of(&command.action) {
            Some(id) => id.hash(&mut hasher),
            None => match &command.idempotency {
                Some(key) => key.key.hash(&mut hasher),
                None => command.seed.hash(&mut hasher),
            },
        }
        let lanes = u64::try_from(self.queues.len().max(1)).unwrap_or(1);
        usize::try_from(hasher.finish() % lanes).unwrap_or_default()
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
        Action::CreateApiKey(_) | Action::FinishBillingRun(_) | Action::RecordDenied(_) => None,
    }
}

/// What a new object will be an addition to; its lane, since all of them change its days.
fn bookable_of(create: &CreateObject) -> Option<&str> {
    create.body.get("bookable_id")?.as_str()
}
