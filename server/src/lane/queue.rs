//! A lane's queue, and the order in which its commands are taken.

use super::{Job, Subject};
use crate::metrics;
use std::{
    collections::{HashSet, VecDeque},
    time::{Duration, Instant},
};
use tokio::sync::mpsc;

/// Maximum bytes of commands in a batch. Deciding them takes a multiple of it.
const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How long a lane for background work waits for more commands, at most.
///
/// A batch of few commands costs the database and the callers' lanes nearly as much as a large one.
const GATHERING: Duration = Duration::from_millis(10);
/// A batch of background work waits for no more once this many commands are there.
const GATHERED: usize = 64;

/// How often a lane gives way to threads that send commands before it takes a batch, at most.
///
/// A batch of few commands holds up those that come a moment later. With 8 clients this makes 7 to 11
/// percent more updates a second (`docs/design.md`).
const GIVEN_WAY_MAX: usize = 8;

/// The lane's end of its queue.
pub(super) struct Queue {
    arriving: mpsc::Receiver<Job>,
    /// Whether it is the queue for background work.
    gathers: bool,
    /// Taken from the queue but not into a batch; first in the next batch.
    passed_over: VecDeque<Job>,
    batch_max: usize,
}

impl Queue {
    /// A queue that hands out batches of at most `batch_max` commands.
    pub(super) fn new(arriving: mpsc::Receiver<Job>, batch_max: usize) -> Self {
        Self { arriving, gathers: false, passed_over: VecDeque::new(), batch_max }
    }

    /// Like [`new`](Self::new), for background work: it waits a little until there are more commands.
    pub(super) fn gathering(arriving: mpsc::Receiver<Job>, batch_max: usize) -> Self {
        Self { gathers: true, ..Self::new(arriving, batch_max) }
    }

    /// The next batch: the commands that wait now, or else the first one that arrives.
    ///
    /// `None` once all senders are gone and nothing waits.
    pub(super) fn next_batch(&mut self) -> Option<Vec<Job>> {
        let first = match self.take() {
            Some(job) => job,
            None => self.arriving.blocking_recv()?,
        };
        if self.gathers {
            self.gather();
        } else {
            self.give_way();
        }
        let mut batch = Vec::new();
        admit(&mut batch, first);
        while batch.len() < self.batch_max
            && bytes(&batch) < BATCH_BYTES_MAX
            && let Some(job) = self.take()
        {
            admit(&mut batch, job);
        }
        Some(batch)
    }

    /// Lets threads run that are about to send a command, as long as some do. Waits for nothing.
    fn give_way(&self) {
        for _ in 0..GIVEN_WAY_MAX {
            let waiting = self.arriving.len();
            std::thread::yield_now();
            if self.arriving.len() == waiting {
                return;
            }
        }
    }

    /// Waits a little for more commands, unless there are enough.
    fn gather(&self) {
        let began_at = Instant::now();
        while self.arriving.len() < GATHERED.min(self.batch_max)
            && began_at.elapsed() < GATHERING
            && !self.arriving.is_closed()
        {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Adds commands to a batch that arrived since and are about the same objects.
    ///
    /// They wait for the same locks. All other commands keep their place. Between two processes that
    /// change one counter, this makes at least 17 % more changes per second (`docs/design.md`).
    pub(super) fn join(&mut self, batch: &mut Vec<Job>) {
        if self.arriving.is_empty() {
            return;
        }
        let subjects: HashSet<Subject> = batch.iter().map(|job| job.subject).collect();
        while batch.len().saturating_add(self.passed_over.len()) < self.batch_max
            && bytes(batch) < BATCH_BYTES_MAX
            && let Ok(job) = self.arriving.try_recv()
        {
            if subjects.contains(&job.subject) {
                admit(batch, job);
            } else {
                self.passed_over.push_back(job);
            }
        }
    }

    /// The next command, if one waits.
    pub(super) fn take(&mut self) -> Option<Job> {
        self.passed_over.pop_front().or_else(|| self.arriving.try_recv().ok())
    }
}

/// The bytes of a batch's commands.
fn bytes(batch: &[Job]) -> usize {
    batch.iter().map(|job| job.weight.bytes()).sum()
}

/// Adds a job to a batch. Drops it if its client is gone, which is only safe before it is decided.
fn admit(batch: &mut Vec<Job>, job: Job) {
    if !job.answer.is_closed() {
        metrics::lane_wait(job.queued_at.elapsed());
        batch.push(job);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{budget::Budget, lane::Refusal, log::LogContext};
    use ifmatch_domain::{
        Action, Command, Outcome,
        booking::{self, ExpireBookings},
        core::{Actor, Guard, Meta},
    };
    use ifmatch_types::Source;
    use tokio::sync::oneshot;
    use uuid::Uuid;

    type Pending = oneshot::Receiver<Result<Outcome, Refusal>>;

    fn job(about: &str) -> (Job, Pending) {
        job_of(about, 100)
    }

    fn job_of(about: &str, bytes: usize) -> (Job, Pending) {
        let command = Command {
            meta: Meta {
                actor: Actor::without_key("test"),
                on_behalf_of: None,
                source: Source::Api,
                request_id: String::new(),
                key_digest: None,
            },
            seed: Uuid::nil(),
            idempotency: None,
            guard: Guard::default(),
            action: Action::Booking(booking::Action::ExpireBookings(ExpireBookings {
                bookable_id: about.to_owned(),
            })),
        };
        let (answer, outcome) = oneshot::channel();
        (
            Job {
                subject: Subject::of(&command),
                context: LogContext::of_command(&command.meta),
                command,
                answer,
                weight: Budget::new(bytes, bytes).reserve(None, bytes).unwrap(),
                queued_at: Instant::now(),
                is_background: false,
            },
            outcome,
        )
    }

    fn about(batch: &[Job]) -> Vec<&str> {
        batch.iter().filter_map(|job| job.command.action.subject()).collect()
    }

    /// A queue, and a function that lets commands arrive.
    fn queue(batch_max: usize) -> (Queue, impl FnMut(&[&str]) -> Vec<Pending>) {
        let (sender, arriving) = mpsc::channel(100);
        let arrive = move |names: &[&str]| {
            let send = |name: &&str| {
                let (job, answer) = job(name);
                assert!(sender.try_send(job).is_ok());
                answer
            };
            names.iter().map(send).collect()
        };
        (Queue::new(arriving, batch_max), arrive)
    }

    #[test]
    fn who_waits_for_the_same_joins_and_everybody_else_keeps_the_place() {
        let (mut queue, mut arrive) = queue(100);
        let _first = arrive(&["a", "b"]);
        let mut batch = queue.next_batch().unwrap();
        let _later = arrive(&["c", "a", "d", "b", "c"]);
        queue.join(&mut batch);
        assert_eq!(about(&batch), ["a", "b", "a", "b"]);
        let _last = arrive(&["a"]);
        assert_eq!(about(&queue.next_batch().unwrap()), ["c", "d", "c", "a"]);
        assert!(queue.take().is_none());
    }

    #[test]
    fn neither_a_batch_nor_what_is_passed_over_grows_without_bound() {
        let (mut queue, mut arrive) = queue(3);
        let _first = arrive(&["a"]);
        let mut batch = queue.next_batch().unwrap();
        let _later = arrive(&["b", "a", "a", "a", "b"]);
        queue.join(&mut batch);
        assert_eq!(about(&batch), ["a", "a"]);
        assert_eq!(about(&queue.next_batch().unwrap()), ["b", "a", "a"]);
        assert_eq!(about(&queue.next_batch().unwrap()), ["b"]);
    }

    #[test]
    fn a_batch_ends_when_its_commands_are_large() {
        let (sender, arriving) = mpsc::channel(100);
        let mut queue = Queue::new(arriving, 100);
        let mut answers = Vec::new();
        for _ in 0..100 {
            let (job, answer) = job_of("a", 60_000);
            assert!(sender.try_send(job).is_ok());
            answers.push(answer);
        }
        let mut batch = queue.next_batch().unwrap();
        assert_eq!(batch.len(), 70);
        queue.join(&mut batch);
        assert_eq!(batch.len(), 70);
        assert_eq!(queue.next_batch().unwrap().len(), 30);
    }

    #[test]
    fn whose_client_went_away_is_dropped_before_it_is_decided() {
        let (mut queue, mut arrive) = queue(100);
        let _first = arrive(&["a"]);
        let mut batch = queue.next_batch().unwrap();
        drop(arrive(&["a", "b"]));
        queue.join(&mut batch);
        assert_eq!(about(&batch), ["a"]);
        assert_eq!(about(&queue.next_batch().unwrap()), [""; 0]);
    }

    #[test]
    fn a_few_commands_of_background_work_wait_for_more() {
        let (sender, arriving) = mpsc::channel(1000);
        let mut queue = Queue::gathering(arriving, 512);
        let mut answers = Vec::new();
        let mut arrive = |commands: usize| {
            for _ in 0..commands {
                let (job, answer) = job("a");
                assert!(sender.try_send(job).is_ok());
                answers.push(answer);
            }
        };
        arrive(2);
        let began_at = Instant::now();
        assert_eq!(queue.next_batch().unwrap().len(), 2);
        assert!(began_at.elapsed() >= GATHERING);
        arrive(GATHERED + 1);
        assert_eq!(queue.next_batch().unwrap().len(), GATHERED + 1);
    }

    #[test]
    fn it_ends_with_the_last_command() {
        let (mut queue, arrive) = queue(100);
        let mut arrive = arrive;
        let _answers = arrive(&["a"]);
        drop(arrive);
        assert_eq!(about(&queue.next_batch().unwrap()), ["a"]);
        assert!(queue.next_batch().is_none());
    }
}
