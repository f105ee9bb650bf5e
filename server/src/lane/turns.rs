//! Turns: stale writes that wait, first in, first out per object (`API.md` 3.6).
//!
//! A turn is the right to be told what an object is now, and to be the next to write it. The first
//! waiter's command goes into the lane right behind a write of the object, so that both are in one
//! batch, and its refusal tells the object as that write leaves it. The turn passes on when the next
//! PATCH, PUT or DELETE of the object arrives, when its slot ends, or when its caller is gone.
//!
//! A turn admits nothing. Each write is decided by the version it names, in a lane, and the queues
//! of several processes know nothing of each other.

use super::{Entrances, Job, Refusal};
use crate::{budget::Budget, metrics};
use ifmatch_domain::{
    Action, Command, Mutant, Outcome,
    core::{self, Mode, Precondition},
};
use ifmatch_types::{Conflict, Version};
use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::oneshot;

/// Maximum bytes of the commands that wait for their turns.
const WAITING_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Maximum bytes of the commands of one API key that wait for their turns.
const WAITING_BYTES_MAX_PER_KEY: usize = 16 * 1024 * 1024;
/// The shortest slot of a turn.
const SLOT_MIN: Duration = Duration::from_millis(10);
/// The longest slot of a turn.
const SLOT_MAX: Duration = Duration::from_millis(250);
/// The last turns of an object whose use is awaited, also if their slots are over.
const TOLD_MAX: usize = 16;

/// The answer of a lane.
pub(super) type Answer = Result<Outcome, Refusal>;

/// The turns of all objects.
pub(super) struct Turns {
    entrances: Arc<Entrances>,
    pub(super) waiting: Arc<Budget>,
    objects: Mutex<Objects>,
    /// How many objects have a turn, so that other writes need not lock them.
    contended: AtomicUsize,
}

#[derive(Default)]
struct Objects {
    by_id: HashMap<String, Contended>,
    last_number: u64,
    is_closed: bool,
}

/// An object for which writers wait. There is always one whose turn it is.
struct Contended {
    turn: Turn,
    waiters: VecDeque<Waiter>,
    /// The latest version that a caller was told. All lower ones are stale.
    version: Version,
    pace: Pace,
}

struct Turn {
    number: u64,
    /// Whether its caller was told the object, so that its next write is awaited.
    is_told: bool,
    /// Whether its caller names its turn in its next write. All other writes that would wait then do.
    names_turns: bool,
    /// The name of the turn: the id of the conflict that its caller was told.
    token: Option<String>,
}

struct Waiter {
    number: u64,
    names_turns: bool,
    job: Job,
    has_ended: HasEnded,
}

/// Whether the API key of a waiter has ended meanwhile.
pub type HasEnded = Box<dyn Fn() -> bool + Send + Sync>;

/// What a writer says about waiting for its turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patience {
    /// For how long it would wait.
    pub wait: Duration,
    /// The turn that it names, empty if it has none yet; `None` if it does not name turns.
    pub turn: Option<String>,
}

/// A writer that would wait for its turn.
pub(super) struct Contender {
    pub(super) command: Command,
    pub(super) bytes: usize,
    /// The turn that it names; see [`Patience`].
    pub(super) turn: Option<String>,
    pub(super) has_ended: HasEnded,
}

impl Contender {
    /// Makes it a waiter, unless too much waits.
    fn wait(
        self: Box<Self>,
        number: u64,
        budget: &Arc<Budget>,
    ) -> Result<(Waiter, oneshot::Receiver<Answer>), Box<Self>> {
        let key = self.command.meta.actor.key_id.as_ref();
        let Some(weight) = budget.reserve(key, self.bytes) else { return Err(self) };
        let (job, answer) = Job::new(self.command, weight);
        let (names_turns, has_ended) = (self.turn.is_some(), self.has_ended);
        Ok((Waiter { number, names_turns, job, has_ended }, answer))
    }
}

/// How long callers take from their turn's beginning to their next write.
struct Pace {
    slot: Duration,
    told: VecDeque<(Version, Instant)>,
}

/// A place in the queue of an object. It is given up when this is dropped.
pub(super) struct Place {
    turns: Arc<Turns>,
    object: String,
    number: u64,
    answer: oneshot::Receiver<Answer>,
    is_left: bool,
}

/// What became of a writer that wants a turn.
pub(super) enum Entered {
    /// It has the turn, because no other writer contends for the object.
    First,
    /// It waits.
    Waiting(Place),
    /// Too many wait.
    Full,
}

impl Turns {
    pub(super) fn new(entrances: Arc<Entrances>) -> Arc<Self> {
        Arc::new(Self {
            entrances,
            waiting: Budget::new(WAITING_BYTES_MAX, WAITING_BYTES_MAX_PER_KEY),
            objects: Mutex::default(),
            contended: AtomicUsize::new(0),
        })
    }

    /// Takes a turn at an object, or the last place in its queue, for a writer that was just refused.
    pub(super) fn enter(
        self: &Arc<Self>,
        conflict: &Conflict,
        contender: Box<Contender>,
    ) -> Entered {
        let object = &conflict.resource.id;
        let version = conflict.current_version;
        let mut objects = self.lock();
        let is_closed = objects.is_closed;
        let number = objects.next_number();
        if let Some(contended) = objects.by_id.get_mut(object) {
            contended.version = contended.version.max(version);
            let waiting =
                (!is_closed).then(|| contender.wait(number, &self.waiting).ok()).flatten();
            let Some((waiter, answer)) = waiting else { return Entered::Full };
            contended.waiters.push_back(waiter);
            return Entered::Waiting(self.place(object, number, answer));
        }
        let mut pace = Pace { slot: SLOT_MIN, told: VecDeque::new() };
        pace.told(version);
        let token = contender.turn.map(|_| conflict.conflict_id.clone());
        let turn = Turn { number, is_told: true, names_turns: token.is_some(), token };
        self.await_use(object, number, pace.slot);
        let contended = Contended { turn, waiters: VecDeque::new(), version, pace };
        objects.by_id.insert(object.clone(), contended);
        self.contended.store(objects.by_id.len(), Ordering::Relaxed);
        metrics::turn("given");
        Entered::First
    }

    /// The last place in the queue of an object, for a writer whose turn it is not: its version is
    /// known to be stale, or the caller whose turn it is names it, and this one does not.
    pub(super) fn enter_undecided(
        self: &Arc<Self>,
        contender: Box<Contender>,
    ) -> Result<Place, Box<Contender>> {
        // A wait must not tell the holder of a scoped key that a foreign object is contended for.
        let is_scoped = contender.command.meta.actor.workspace_id.is_some();
        if is_scoped || !self.are_given() {
            return Err(contender);
        }
        let Some(written) = Written::of(&contender.command.action) else { return Err(contender) };
        let (object, names) = (written.object.to_owned(), written.names);
        let is_strict = written.is_strict;
        let mut objects = self.lock();
        let number = objects.next_number();
        let is_closed = objects.is_closed;
        let Some(contended) = objects.by_id.get_mut(&object).filter(|_| !is_closed) else {
            return Err(contender);
        };
        let is_stale = is_strict && names.is_some_and(|named| named < contended.version);
        let is_own = contended.turn.token.is_some() && contender.turn == contended.turn.token;
        let is_foreign = contended.turn.names_turns
            && !is_own
            && is_strict
            && names.is_some()
            && contender.turn.is_some();
        if !(is_stale || is_foreign) {
            return Err(contender);
        }
        let (waiter, answer) = contender.wait(number, &self.waiting)?;
        contended.waiters.push_back(waiter);
        if is_own {
            // Another write came first, so this was its turn.
            metrics::turn("used");
            self.pass_on(&mut objects, &object);
        }
        Ok(self.place(&object, number, answer))
    }

    fn place(
        self: &Arc<Self>,
        object: &str,
        number: u64,
        answer: oneshot::Receiver<Answer>,
    ) -> Place {
        let (turns, object) = (Arc::clone(self), object.to_owned());
        Place { turns, object, number, answer, is_left: false }
    }

    /// Passes the turn on, because a write of the object has just gone into its lane.
    pub(super) fn follow(self: &Arc<Self>, object: &str, names: Option<Version>) {
        let mut objects = self.lock();
        let Some(contended) = objects.by_id.get_mut(object) else { return };
        if let Some(version) = names {
            contended.pace.used(version);
        }
        let is_current = names.is_none_or(|version| version >= contended.version);
        if is_current && contended.turn.is_told {
            metrics::turn("used");
            self.pass_on(&mut objects, object);
        }
    }

    /// Whether a write of an object may end somebody's turn.
    pub(super) fn are_given(&self) -> bool {
        self.contended.load(Ordering::Relaxed) > 0
    }

    /// Lets all waiters be decided now, because the server stops. Nobody waits from now on.
    pub(super) fn close(&self) {
        let mut objects = self.lock();
        objects.is_closed = true;
        for (_, contended) in objects.by_id.drain() {
            for waiter in contended.waiters {
                self.decide_now(waiter);
            }
        }
        self.contended.store(0, Ordering::Relaxed);
    }

    /// Gives the turn at an object to its first waiter. Without one, nobody contends for it.
    ///
    /// If the lane is full, the waiter keeps its place until another slot is over.
    fn pass_on(self: &Arc<Self>, objects: &mut Objects, object: &str) {
        let Some(contended) = objects.by_id.get_mut(object) else { return };
        while let Some(waiter) = contended.waiters.pop_front() {
            let Waiter { number, names_turns, mut job, has_ended } = waiter;
            if job.refuse_ended(&has_ended) {
                continue;
            }
            if Mutant::AdmitInTurn.is_planted() {
                admit(&mut job, contended.version);
            }
            if let Err(job) = self.entrances.enter(job) {
                let waiter = Waiter { number, names_turns, job: *job, has_ended };
                contended.waiters.push_front(waiter);
                self.await_use(object, contended.turn.number, contended.pace.slot);
                return;
            }
            contended.turn = Turn { number, is_told: false, names_turns, token: None };
            metrics::turn("given");
            return;
        }
        objects.by_id.remove(object);
        self.contended.store(objects.by_id.len(), Ordering::Relaxed);
    }

    /// Puts a waiter's command into its lane, unless its client is gone or its key has ended.
    fn decide_now(&self, waiter: Waiter) {
        let Waiter { mut job, has_ended, .. } = waiter;
        if !job.refuse_ended(&has_ended) {
            self.entrances.enter_or_answer(job);
        }
    }

    /// Ends a turn that was not used, or a wait.
    fn end(self: &Arc<Self>, object: &str, number: u64) {
        let mut objects = self.lock();
        let Some(contended) = objects.by_id.get_mut(object) else { return };
        if contended.turn.number == number {
            metrics::turn("passed");
            self.pass_on(&mut objects, object);
        } else if let Some(index) = contended.index_of(number) {
            contended.waiters.remove(index);
        }
    }

    /// Ends a turn at the end of its slot, unless it was used by then.
    fn await_use(self: &Arc<Self>, object: &str, number: u64, slot: Duration) {
        let (turns, object) = (Arc::clone(self), object.to_owned());
        tokio::spawn(async move {
            tokio::time::sleep(slot).await;
            turns.end(&object, number);
        });
    }

    fn lock(&self) -> MutexGuard<'_, Objects> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Job {
    /// Whether its client is gone or its key has ended, and tells the client so.
    fn refuse_ended(&mut self, has_ended: &HasEnded) -> bool {
        let has_ended = has_ended();
        if has_ended {
            let (gone, _) = oneshot::channel();
            let answer = std::mem::replace(&mut self.answer, gone);
            // The client may be gone as well.
            let _ = answer.send(Err(Refusal::KeyEnded));
        }
        has_ended || self.answer.is_closed()
    }
}

impl Objects {
    fn next_number(&mut self) -> u64 {
        self.last_number = self.last_number.saturating_add(1);
        self.last_number
    }
}

impl Contended {
    /// A waiter's index. Numbers ascend, so that many waiters do not search each other.
    fn index_of(&self, number: u64) -> Option<usize> {
        self.waiters.binary_search_by_key(&number, |waiter| waiter.number).ok()
    }
}

impl Pace {
    /// Notes that a caller was told this version.
    fn told(&mut self, version: Version) {
        self.told.push_back((version, Instant::now()));
        if self.told.len() > TOLD_MAX {
            self.told.pop_front();
        }
    }

    /// Notes that a write arrived that was computed from this version.
    ///
    /// A slot lasts twice as long as the callers take, so that a turn is not over before its write
    /// arrives. It shrinks slowly.
    fn used(&mut self, version: Version) {
        let Some(index) = self.told.iter().position(|(told, _)| *told == version) else { return };
        let Some((_, at)) = self.told.remove(index) else { return };
        let shrunk = self.slot.saturating_sub(self.slot / 8);
        self.slot = at.elapsed().saturating_mul(2).max(shrunk).clamp(SLOT_MIN, SLOT_MAX);
    }
}

impl Place {
    /// The answer in this waiter's turn, or at the deadline; and whether it had its turn.
    pub(super) async fn answered(mut self, deadline: Instant) -> (Answer, bool) {
        let answer = tokio::select! {
            biased;
            answer = &mut self.answer => Some(answer),
            () = tokio::time::sleep_until(deadline.into()) => None,
        };
        let answer = match answer {
            Some(answer) => answer,
            None => {
                self.decide_now();
                (&mut self.answer).await
            }
        };
        let answer = answer.unwrap_or(Err(Refusal::Internal));
        let had_turn = self.begin(conflict(&answer));
        (answer, had_turn)
    }

    /// Lets the command be decided although it is not its turn.
    fn decide_now(&mut self) {
        let mut objects = self.turns.lock();
        let Some(contended) = objects.by_id.get_mut(&self.object) else { return };
        let waiter = contended.index_of(self.number).and_then(|at| contended.waiters.remove(at));
        if let Some(waiter) = waiter {
            self.turns.decide_now(waiter);
        }
    }

    /// Begins the slot of this caller's turn, if it has it and was refused.
    fn begin(&mut self, conflict: Option<&Conflict>) -> bool {
        let mut objects = self.turns.lock();
        let Some(contended) = objects.by_id.get_mut(&self.object) else { return false };
        if contended.turn.number != self.number {
            return false;
        }
        let Some(conflict) = conflict.filter(|told| told.resource.id == self.object) else {
            // It wrote, or cannot write: the turn ends when this is dropped.
            return false;
        };
        contended.turn.is_told = true;
        contended.turn.token = contended.turn.names_turns.then(|| conflict.conflict_id.clone());
        contended.version = contended.version.max(conflict.current_version);
        contended.pace.told(conflict.current_version);
        self.is_left = true;
        self.turns.await_use(&self.object, self.number, contended.pace.slot);
        true
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.is_left {
            self.turns.end(&self.object, self.number);
        }
    }
}

/// A write of one object, as the turns see it.
pub(super) struct Written<'a> {
    pub(super) object: &'a str,
    /// The latest version it names.
    pub(super) names: Option<Version>,
    /// Whether it is refused if that version is stale, or if it names none.
    pub(super) is_strict: bool,
}

impl<'a> Written<'a> {
    /// The object that an action changes, if it is one.
    pub(super) fn of(action: &'a Action) -> Option<Self> {
        let (object, precondition, is_strict) = match action {
            Action::Core(core::Action::Update(update)) => {
                (&update.id, &update.precondition, update.mode == Mode::Strict)
            }
            Action::Core(core::Action::Delete(delete)) => {
                (&delete.id, &delete.precondition, delete.force.is_none())
            }
            _ => return None,
        };
        Some(Self { object, names: precondition.latest(), is_strict })
    }
}

/// The conflict that refused a write.
pub(super) fn conflict(answer: &Answer) -> Option<&Conflict> {
    match answer {
        Err(Refusal::Rejected(rejection)) => rejection.conflict(),
        _ => None,
    }
}

/// Names the current version for a stale write, for a mutant.
fn admit(job: &mut Job, version: Version) {
    if let Action::Core(core::Action::Update(update)) = &mut job.command.action {
        update.precondition = Precondition::Version(version);
    }
}

#[cfg(test)]
mod tests;
