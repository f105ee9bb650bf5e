//! Every interleaving of two workers that call a panel which fails, is late and takes back.
//!
//! The search is exhaustive within its bounds. Each judgement is the real [`step`], and the workers
//! commit as `calls.rs` does: claim, start, (call the panel), record. A worker may die or stand
//! still between any two of these, and a worker that stands still may go on at any later time.
//!
//! The panel ends each create within [`Search::panel_limit`] ticks after it was sent. Until then it
//! may commit the row, call the node, and keep the row or delete it again, whether or not somebody
//! still waits for the answer. It answers 201, garbage, an error before or after the commit, 422
//! for the fields, 422 for a duplicate (a proxy sent the request twice), or 429, or the connection
//! never opens. It does not reject a second create by itself: that there is none is a property. A
//! lookup may fail, and one may be answered with 404 although the server exists. A deletion may
//! fail, and its answer may be lost.
//!
//! **Bounds.** Time is counted in ticks of a second: call timeout 1, settle window 3, gap between two
//! absences 1, first back-off 1, so a lease of 3; the panel ends a create within 2. States are
//! compared relative to their present. Time passes only when each worker that stands not still has
//! nothing to do. Creates take their time; other calls do only if their worker stands still. A
//! failed server is watched for as long as it can still appear. Suspensions are in `table.rs`.
//!
//! | search | servers | crashes | pauses | faults | false 404s | deletions | resolutions | states |
//! |---|---|---|---|---|---|---|---|---|
//! | [`TWO_SERVERS`] | 2 | 2 | 1 | 1 | 0 | 0 | 0 | 203,781 |
//! | [`ONE_SERVER`] | 1 | 2 | 1 | 2 | 1 | 1 | 1 | 582,029 |
//! | [`LATE_SENDER`] | 1 | 2 | 1 | 2 | 0 | 1 | 1 | 314,633 |
//!
//! **Assumptions**, each with a search that finds the violation without it:
//!
//! - The settle window is longer than the panel's longest create, from its sending to the deletion
//!   of its row. A panel that takes longer may take back a server that was adopted and charged.
//! - A worker sends a create at most one call timeout after the commit that says so. It looks at its
//!   own clock before it sends. The lease does not help: nothing fences the panel. A create that is
//!   sent later can be adopted by a lookup before the panel takes it back. If the panel takes
//!   nothing back, a late create does no harm ([`LATE_SENDER`]): it is adopted, or its server is
//!   deleted as an orphan.
//! - A lookup that answers 404 for a server that exists does so less than twice. That is all that
//!   the second lookup protects from: after the settle window a true 404 stays true. Such a 404
//!   comes from a replica of the panel's database that is behind, or from a proxy.

use ifmatch_domain::provisioning::{Effect, EndedCall, Saga, Seen, Step, Windows, later, step};
use ifmatch_types::{PanelCall, ServerStatus as Status, ServerVerdict as Verdict, Timestamp};
use stateright::{Checker, HasDiscoveries, Model, Property};
use std::{
    collections::{BTreeSet, HashMap},
    hash::{DefaultHasher, Hash, Hasher},
};

/// The length of a tick. A refusal for too many requests lasts at least as long.
const TICK_MS: i64 = 1_000;
/// How long a worker waits for an answer, and until when it may send its call.
const TIMEOUT: i64 = 1;

/// The present. Each state is moved, so that its present is this instant.
fn now() -> Timestamp {
    Timestamp::from_micros(1_800_000_000_000_000).unwrap()
}

fn tick(number: i64) -> Timestamp {
    later(now(), number * TICK_MS)
}

/// How many ticks from now.
fn ticks_until(at: Timestamp) -> i64 {
    (at.as_micros() - now().as_micros()) / (TICK_MS * 1_000)
}

/// The remaining number of each kind of trouble.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Trouble {
    /// A worker dies and begins anew.
    crashes: u8,
    /// A worker stands still, for any time.
    pauses: u8,
    /// The panel fails a call, or undoes a create, or loses an answer.
    faults: u8,
    /// A lookup is answered with 404 although the server exists.
    false_absences: u8,
    /// A customer deletes an active server.
    deletions: u8,
    /// An admin decides about a server whose fate is unknown.
    resolutions: u8,
}

/// What is searched.
#[derive(Clone, Copy)]
struct Search {
    servers: usize,
    workers: usize,
    trouble: Trouble,
    /// What the saga is told.
    windows: Windows,
    /// The panel has ended a create this many ticks after it was sent.
    panel_limit: i64,
    /// Whether the panel may undo a create whose row it has committed.
    undoes: bool,
    /// Whether the record of a call is guarded by the generation.
    checks_generation: bool,
    /// Whether a server fails only when it was absent twice.
    looks_twice: bool,
    /// Whether a worker sends a create however long it stood still before.
    sends_late: bool,
}

/// A promise that was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Broken {
    ChargedWithoutServer,
    ServerLost,
    DeletedInPart,
    TwoServers,
    StatusLeft,
}

/// A server on the panel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Row {
    /// The panel may still undo it.
    Unsettled,
    Settled,
}

/// A create that the panel has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Request {
    /// The worker that waits for the answer.
    worker: Option<usize>,
    ends_by: Timestamp,
    is_committed: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Server {
    saga: Saga,
    generation: i64,
    lease_until: Option<Timestamp>,
    running_call: Option<PanelCall>,
    call_started_at: Option<Timestamp>,
    charged: u8,
    given_back: u8,
    freed: u8,
    /// Orphans that were deleted and not recorded yet. Below zero if the panel deleted one itself.
    unrecorded: i8,
    row: Option<Row>,
    request: Option<Request>,
    was_created: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Phase {
    Idle,
    Claimed(PanelCall),
    /// Its call was recorded as begun. It is sent until this instant.
    Started(PanelCall, Timestamp),
    /// It waits for an answer until this instant.
    Calling(PanelCall, Timestamp),
    Told(Seen),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Worker {
    phase: Phase,
    server: usize,
    generation: i64,
    is_paused: bool,
}

const IDLE: Worker = Worker { phase: Phase::Idle, server: 0, generation: 0, is_paused: false };

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct World {
    servers: Vec<Server>,
    workers: Vec<Worker>,
    left: Trouble,
    broken: Option<Broken>,
}

/// What the panel does with a create.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deed {
    Commit,
    Succeed,
    /// It succeeds, and its answer cannot be read.
    Garble,
    /// The node fails, and the row is deleted again.
    Undo,
    /// A proxy sends the request twice, and the second one is answered first.
    AnswerTaken,
    Refuse,
    Throttle,
    NotConnected,
    /// An error before the row is committed.
    Fail,
}

/// What the panel does with another call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reply {
    Truth,
    Unclear,
    FalseAbsence,
    /// A deletion is carried out, and its answer is lost.
    DoneUnclear,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Claim { worker: usize, server: usize },
    Start(usize),
    Send(usize),
    GiveUp(usize),
    Record(usize),
    Crash(usize),
    Pause(usize),
    Wake(usize),
    Create(usize, Deed),
    Answer(usize, Reply),
    OrderDeletion(usize),
    Adopt(usize),
    Fail(usize),
    Tick,
}

impl Server {
    fn new() -> Self {
        Self {
            saga: Saga::begin(now()),
            generation: 0,
            lease_until: None,
            running_call: None,
            call_started_at: None,
            charged: 0,
            given_back: 0,
            freed: 0,
            unrecorded: 0,
            row: None,
            request: None,
            was_created: false,
        }
    }

    fn due_at(&self) -> Option<Timestamp> {
        self.lease_until.or(self.saga.next.map(|(_, at)| at))
    }

    fn end_claim(&mut self) {
        self.lease_until = None;
        self.running_call = None;
        self.call_started_at = None;
    }
}

impl World {
    /// When a worker must look at a server. A failed server that cannot appear is left alone.
    fn due_at(&self, at: usize, search: &Search) -> Option<Timestamp> {
        let server = &self.servers[at];
        let may_send = |worker: &Worker| match worker.phase {
            _ if worker.server != at => false,
            Phase::Claimed(call) => {
                call == PanelCall::Create && worker.generation == server.generation
            }
            Phase::Started(call, until) => {
                call == PanelCall::Create && (search.sends_late || now() <= until)
            }
            _ => false,
        };
        let is_watched = server.row.is_some()
            || server.request.is_some()
            || server.saga.remote_id.is_some()
            || server.lease_until.is_some()
            || self.workers.iter().any(may_send);
        if server.saga.status == Status::Failed && !is_watched {
            return None;
        }
        server.due_at()
    }

    fn is_due(&self, at: usize, search: &Search) -> bool {
        self.due_at(at, search).is_some_and(|at| at <= now())
    }

    /// Whether somebody must act before time passes.
    fn is_pressed(&self, search: &Search) -> bool {
        let is_any_due = (0..self.servers.len()).any(|at| self.is_due(at, search));
        let is_pressed = |worker: &Worker| match worker.phase {
            _ if worker.is_paused => false,
            Phase::Idle => is_any_due,
            Phase::Calling(PanelCall::Create, until) => until <= now(),
            // Only a create may take its time.
            Phase::Calling(..) | Phase::Claimed(_) | Phase::Started(..) | Phase::Told(_) => true,
        };
        let requests = self.servers.iter().filter_map(|server| server.request);
        self.workers.iter().any(is_pressed)
            || requests.into_iter().any(|request| request.ends_by <= now())
    }

    /// How many ticks may pass at once, until something else can happen.
    fn pause(&self, search: &Search) -> Option<i64> {
        let is_any_busy = self.workers.iter().any(|worker| worker.phase != Phase::Idle);
        if is_any_busy || self.servers.iter().any(|server| server.request.is_some()) {
            let has_future = |server: &Server| {
                server.request.is_some() || server.due_at().is_some_and(|at| at > now())
            };
            return self.servers.iter().any(has_future).then_some(1);
        }
        let due = (0..self.servers.len()).filter_map(|at| self.due_at(at, search));
        due.map(ticks_until).filter(|ticks| *ticks > 0).min()
    }

    fn break_if(&mut self, is_broken: bool, promise: Broken) {
        if is_broken && self.broken.is_none() {
            self.broken = Some(promise);
        }
    }

    /// Carries out what follows from a call, in one commit.
    fn judge(&mut self, at: usize, ended: &EndedCall, seen: Seen, search: &Search) {
        let before = self.servers[at].saga;
        let mut step = step(&before, ended, seen, now(), &search.windows);
        if step.verdict == Verdict::AbsentOnce && !search.looks_twice {
            let (saga, effects) = before.undo(now(), &search.windows);
            step = Step { saga, effects, verdict: Verdict::Failed };
        }
        let is_lost = step.verdict == Verdict::Failed && !search.sends_late;
        let server = &self.servers[at];
        let is_there = server.row.is_some() || server.request.is_some();
        self.break_if(is_lost && is_there, Broken::ServerLost);
        self.servers[at].end_claim();
        self.turn_into(at, step.saga, &step.effects, search);
    }

    fn turn_into(&mut self, at: usize, saga: Saga, effects: &[Effect], search: &Search) {
        let before = self.servers[at].saga.status;
        let server = &mut self.servers[at];
        server.saga = saga;
        let row = server.row;
        for effect in effects {
            match effect {
                Effect::Charge => server.charged += 1,
                Effect::GiveBack => server.given_back += 1,
                Effect::FreeSlot => server.freed += 1,
                Effect::RecordOrphan => server.unrecorded -= 1,
            }
        }
        let after = saga.status;
        let is_settled = row == Some(Row::Settled) || (row.is_some() && !search.undoes);
        let is_charged = effects.contains(&Effect::Charge);
        self.break_if(is_charged && !is_settled, Broken::ChargedWithoutServer);
        self.break_if(after == Status::Deleted && row.is_some(), Broken::DeletedInPart);
        let is_left = match before {
            Status::Failed | Status::Deleted => after != before,
            Status::Active => !matches!(after, Status::Active | Status::Deprovisioning),
            Status::Deprovisioning => !matches!(after, Status::Deprovisioning | Status::Deleted),
            _ => false,
        };
        self.break_if(is_left, Broken::StatusLeft);
    }

    fn claim(&mut self, worker: usize, at: usize, search: &Search) {
        let server = &mut self.servers[at];
        if let (Some(call), Some(started_at)) = (server.running_call, server.call_started_at) {
            let ended = EndedCall { call, started_at, jitter_permille: 0 };
            return self.judge(at, &ended, Seen::Lost, search);
        }
        let (call, _) = server.saga.next.expect("a call is due");
        server.generation += 1;
        server.lease_until = Some(later(now(), search.windows.lease_ms()));
        server.running_call = Some(call);
        let generation = server.generation;
        self.workers[worker] =
            Worker { phase: Phase::Claimed(call), server: at, generation, is_paused: false };
    }

    fn start(&mut self, at: usize) {
        let worker = &mut self.workers[at];
        let server = &mut self.servers[worker.server];
        let is_held = server.generation == worker.generation
            && server.lease_until.is_some_and(|until| now() < until)
            && server.call_started_at.is_none();
        match server.running_call {
            Some(call) if is_held => {
                server.call_started_at = Some(now());
                worker.phase = Phase::Started(call, tick(TIMEOUT));
            }
            _ => *worker = IDLE,
        }
    }

    fn send(&mut self, at: usize, call: PanelCall, until: Timestamp, search: &Search) {
        if call == PanelCall::Create {
            if !search.sends_late && until < now() {
                self.workers[at] = IDLE;
                return;
            }
            let server = &mut self.servers[self.workers[at].server];
            let is_second = server.request.is_some();
            let (ends_by, is_committed) = (tick(search.panel_limit), false);
            server.request = Some(Request { worker: Some(at), ends_by, is_committed });
            self.break_if(is_second, Broken::TwoServers);
        }
        self.workers[at].phase = Phase::Calling(call, tick(TIMEOUT));
    }

    fn record(&mut self, at: usize, seen: Seen, search: &Search) {
        let Worker { server, generation, .. } = self.workers[at];
        self.workers[at] = IDLE;
        let stored = &self.servers[server];
        let is_current = stored.generation == generation || !search.checks_generation;
        let running = stored.running_call.zip(stored.call_started_at);
        if let Some((call, started_at)) = running.filter(|_| is_current) {
            let ended = EndedCall { call, started_at, jitter_permille: 0 };
            self.judge(server, &ended, seen, search);
        }
    }

    /// This worker's call has no reader for its answer.
    fn hang_up(&mut self, at: usize) {
        for request in self.servers.iter_mut().filter_map(|server| server.request.as_mut()) {
            request.worker = request.worker.filter(|worker| *worker != at);
        }
    }

    fn create(&mut self, at: usize, deed: Deed) {
        let server = &mut self.servers[at];
        let Some(request) = &mut server.request else { panic!("there is no create") };
        let waits = request.worker;
        let seen = match deed {
            Deed::Commit => {
                let is_second = server.was_created;
                request.is_committed = true;
                server.row = Some(Row::Unsettled);
                server.was_created = true;
                return self.break_if(is_second, Broken::TwoServers);
            }
            Deed::AnswerTaken => {
                request.worker = None;
                self.left.faults -= 1;
                return self.tell(waits, Seen::Taken);
            }
            Deed::Succeed | Deed::Garble => {
                server.row = server.row.map(|_| Row::Settled);
                let exists = Seen::Exists { remote_id: 1, is_ours: true };
                if deed == Deed::Succeed { exists } else { Seen::Unclear }
            }
            Deed::Undo => {
                server.row = None;
                Seen::Unclear
            }
            Deed::Refuse => Seen::Refused,
            Deed::Throttle => Seen::Throttled { retry_after_ms: TICK_MS },
            Deed::NotConnected => Seen::NotConnected,
            Deed::Fail => Seen::Unclear,
        };
        server.request = None;
        self.left.faults -= u8::from(deed != Deed::Succeed);
        self.tell(waits, seen);
    }

    fn answer(&mut self, at: usize, call: PanelCall, reply: Reply) {
        self.left.faults -= u8::from(matches!(reply, Reply::Unclear | Reply::DoneUnclear));
        self.left.false_absences -= u8::from(reply == Reply::FalseAbsence);
        let server = &mut self.servers[self.workers[at].server];
        let is_deletion = call == PanelCall::Delete;
        let is_there = server.row.is_some();
        if is_deletion && is_there && reply != Reply::Unclear {
            server.row = None;
            server.unrecorded += i8::from(server.saga.status == Status::Failed);
        }
        let seen = match reply {
            Reply::FalseAbsence => Seen::Absent,
            Reply::Unclear | Reply::DoneUnclear => Seen::Unclear,
            Reply::Truth if !is_there => Seen::Absent,
            Reply::Truth if is_deletion => Seen::Done,
            Reply::Truth => Seen::Exists { remote_id: 1, is_ours: true },
        };
        self.tell(Some(at), seen);
    }

    fn tell(&mut self, worker: Option<usize>, seen: Seen) {
        if let Some(at) = worker {
            self.workers[at].phase = Phase::Told(seen);
        }
    }

    /// Lets time pass: all instants come nearer.
    fn pass(&mut self, ticks: i64) {
        let shift = |at: &mut Timestamp| *at = later(*at, -ticks * TICK_MS);
        for server in &mut self.servers {
            let saga = &mut server.saga;
            saga.next.iter_mut().for_each(|(_, at)| shift(at));
            saga.settle_at.iter_mut().for_each(shift);
            saga.absent_at.iter_mut().for_each(shift);
            server.lease_until.iter_mut().for_each(shift);
            server.call_started_at.iter_mut().for_each(shift);
            server.request.iter_mut().for_each(|request| shift(&mut request.ends_by));
        }
        for worker in &mut self.workers {
            match &mut worker.phase {
                Phase::Started(_, at) | Phase::Calling(_, at) => shift(at),
                Phase::Idle | Phase::Claimed(_) | Phase::Told(_) => {}
            }
        }
    }

    /// Makes states equal that differ in nothing that matters.
    fn simplify(&mut self, windows: &Windows) {
        let not_before = |at: &mut Timestamp, ticks: i64| *at = (*at).max(tick(ticks));
        for worker in &mut self.workers {
            if worker.phase != Phase::Idle {
                worker.generation -= self.servers[worker.server].generation;
                worker.generation = worker.generation.max(-1);
            }
            match &mut worker.phase {
                Phase::Started(_, at) => not_before(at, -1),
                Phase::Calling(_, at) => not_before(at, 0),
                Phase::Idle | Phase::Claimed(_) | Phase::Told(_) => {}
            }
        }
        let gap = windows.absent_gap_ms / TICK_MS;
        for server in &mut self.servers {
            server.generation = 0;
            let saga = &mut server.saga;
            saga.next.iter_mut().for_each(|(_, at)| not_before(at, 0));
            saga.settle_at.iter_mut().for_each(|at| not_before(at, 0));
            saga.absent_at.iter_mut().for_each(|at| not_before(at, -gap));
            saga.unsettled_since = saga.unsettled_since.map(|_| now());
            // The watch lasts longer than everything else.
            saga.watch_until = saga.watch_until.map(|_| tick(7 * 24 * 60 * 60));
            server.lease_until.iter_mut().for_each(|at| not_before(at, 0));
            server.call_started_at.iter_mut().for_each(|at| not_before(at, -TIMEOUT));
        }
        self.sort();
    }

    /// Servers are alike, and so are workers.
    fn sort(&mut self) {
        let bare = |server: &Server| {
            let request = server.request.map(|request| Request { worker: None, ..request });
            print(&(Server { request, ..server.clone() }))
        };
        let places = order(&self.servers, bare);
        self.servers = places.iter().map(|at| self.servers[*at].clone()).collect();
        for worker in self.workers.iter_mut().filter(|worker| worker.phase != Phase::Idle) {
            worker.server = places.iter().position(|at| *at == worker.server).unwrap();
        }
        let places = order(&self.workers, print);
        self.workers = places.iter().map(|at| self.workers[*at]).collect();
        for request in self.servers.iter_mut().filter_map(|server| server.request.as_mut()) {
            let moved = |worker| places.iter().position(|at| *at == worker).unwrap();
            request.worker = request.worker.map(moved);
        }
    }

    /// Whether nothing goes on by itself any more.
    fn is_over(&self, search: &Search) -> bool {
        let mut acts = Vec::new();
        search.actions(self, &mut acts);
        acts.iter().all(|act| matches!(act, Act::OrderDeletion(_)))
    }
}

fn print<T: Hash>(value: &T) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// The old places of the items, in their new order.
fn order<T>(items: &[T], key: impl Fn(&T) -> u64) -> Vec<usize> {
    let mut places: Vec<usize> = (0..items.len()).collect();
    places.sort_by_cached_key(|at| key(&items[*at]));
    places
}

impl Model for Search {
    type State = World;
    type Action = Act;

    fn init_states(&self) -> Vec<World> {
        let servers = vec![Server::new(); self.servers];
        let workers = vec![IDLE; self.workers];
        let mut world = World { servers, workers, left: self.trouble, broken: None };
        world.simplify(&self.windows);
        vec![world]
    }

    fn actions(&self, world: &World, acts: &mut Vec<Act>) {
        if world.broken.is_some() {
            return;
        }
        for (at, worker) in world.workers.iter().enumerate() {
            let is_busy = worker.phase != Phase::Idle;
            if is_busy && world.left.crashes > 0 {
                acts.push(Act::Crash(at));
            }
            if let Phase::Calling(call, _) = worker.phase
                && call != PanelCall::Create
            {
                self.replies(world, at, call, acts);
            }
            if worker.is_paused {
                acts.push(Act::Wake(at));
                continue;
            }
            if is_busy && world.left.pauses > 0 {
                acts.push(Act::Pause(at));
            }
            match worker.phase {
                Phase::Idle => {
                    let due = (0..self.servers).filter(|server| world.is_due(*server, self));
                    acts.extend(due.map(|server| Act::Claim { worker: at, server }));
                }
                Phase::Claimed(_) => acts.push(Act::Start(at)),
                Phase::Started(..) => acts.push(Act::Send(at)),
                Phase::Calling(PanelCall::Create, until) if until <= now() => {
                    acts.push(Act::GiveUp(at));
                }
                Phase::Calling(..) => {}
                Phase::Told(_) => acts.push(Act::Record(at)),
            }
        }
        for (at, server) in world.servers.iter().enumerate() {
            if let Some(request) = server.request {
                let deeds = self.deeds(world, request);
                acts.extend(deeds.into_iter().map(|deed| Act::Create(at, deed)));
            }
            if server.saga.status == Status::Active && world.left.deletions > 0 {
                acts.push(Act::OrderDeletion(at));
            }
            if server.saga.status == Status::PendingReconciliation && world.left.resolutions > 0 {
                acts.push(Act::Fail(at));
                if server.row == Some(Row::Settled) {
                    acts.push(Act::Adopt(at));
                }
            }
        }
        if !world.is_pressed(self) && world.pause(self).is_some() {
            acts.push(Act::Tick);
        }
    }

    fn next_state(&self, last: &World, act: Act) -> Option<World> {
        let mut world = last.clone();
        match act {
            Act::Claim { worker, server } => world.claim(worker, server, self),
            Act::Start(at) => world.start(at),
            Act::Send(at) => {
                if let Phase::Started(call, until) = world.workers[at].phase {
                    world.send(at, call, until, self);
                }
            }
            Act::GiveUp(at) => {
                world.hang_up(at);
                world.tell(Some(at), Seen::Unclear);
            }
            Act::Record(at) => {
                if let Phase::Told(seen) = world.workers[at].phase {
                    world.record(at, seen, self);
                }
            }
            Act::Crash(at) => {
                world.left.crashes -= 1;
                world.hang_up(at);
                world.workers[at] = IDLE;
            }
            Act::Pause(at) => {
                world.left.pauses -= 1;
                world.workers[at].is_paused = true;
            }
            Act::Wake(at) => world.workers[at].is_paused = false,
            Act::Create(at, deed) => world.create(at, deed),
            Act::Answer(at, reply) => {
                if let Phase::Calling(call, _) = world.workers[at].phase {
                    world.answer(at, call, reply);
                }
            }
            Act::OrderDeletion(at) => {
                world.left.deletions -= 1;
                let saga = world.servers[at].saga.deprovision(now());
                world.servers[at].end_claim();
                world.servers[at].generation += 1;
                world.turn_into(at, saga, &[], self);
            }
            Act::Adopt(at) | Act::Fail(at) => {
                world.left.resolutions -= 1;
                let saga = world.servers[at].saga;
                let (saga, effects) = match act {
                    Act::Adopt(_) => saga.keep(1, now()),
                    _ => saga.undo(now(), &self.windows),
                };
                world.servers[at].end_claim();
                world.servers[at].generation += 1;
                world.turn_into(at, saga, &effects, self);
            }
            Act::Tick => {
                let ticks = world.pause(self)?;
                world.pass(ticks);
            }
        }
        world.simplify(&self.windows);
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let always = PROPERTIES.map(|(name, holds)| Property::always(name, holds));
        let sometimes = REACHED.map(|(name, holds)| Property::sometimes(name, holds));
        always.into_iter().chain(sometimes).collect()
    }
}

impl Search {
    /// What the panel may do with a create.
    fn deeds(&self, world: &World, request: Request) -> Vec<Deed> {
        let has_faults = world.left.faults > 0;
        let waits = request.worker.is_some();
        let mut deeds = Vec::new();
        if !request.is_committed {
            deeds.push(Deed::Commit);
            if has_faults {
                deeds.push(Deed::Fail);
                if waits {
                    deeds.extend([Deed::Refuse, Deed::Throttle, Deed::NotConnected]);
                }
            }
            return deeds;
        }
        deeds.push(Deed::Succeed);
        if has_faults {
            if self.undoes {
                deeds.push(Deed::Undo);
            }
            if waits {
                deeds.extend([Deed::Garble, Deed::AnswerTaken]);
            }
        }
        deeds
    }

    /// What the panel may answer to a call other than a create.
    fn replies(&self, world: &World, at: usize, call: PanelCall, acts: &mut Vec<Act>) {
        let server = &world.servers[world.workers[at].server];
        acts.push(Act::Answer(at, Reply::Truth));
        if world.left.faults > 0 {
            acts.push(Act::Answer(at, Reply::Unclear));
            if call == PanelCall::Delete && server.row.is_some() {
                acts.push(Act::Answer(at, Reply::DoneUnclear));
            }
        }
        let is_young =
            matches!(server.saga.status, Status::Provisioning | Status::PendingReconciliation);
        let can_lie = call == PanelCall::LookUp && is_young && server.row.is_some();
        if can_lie && world.left.false_absences > 0 {
            acts.push(Act::Answer(at, Reply::FalseAbsence));
        }
    }
}

type Holds = fn(&Search, &World) -> bool;

const CHARGED_FOR_NOTHING: &str = "a charged server exists and stays";
const SERVER_LOST: &str = "a server that fails does not exist and will not";
const DELETED_IN_PART: &str = "a deleted server does not exist";
const CREATED_TWICE: &str = "nothing is created twice";
const STATUS_LEFT: &str = "a status that ends the saga stays";
const CREDITS: &str = "credits follow the status";
const SLOT: &str = "the slot is freed once, when the server has ended";
const END: &str = "at the end everything is kept or everything is undone";

const PROPERTIES: [(&str, Holds); 8] = [
    (CHARGED_FOR_NOTHING, |_, world| world.broken != Some(Broken::ChargedWithoutServer)),
    (SERVER_LOST, |_, world| world.broken != Some(Broken::ServerLost)),
    (DELETED_IN_PART, |_, world| world.broken != Some(Broken::DeletedInPart)),
    (CREATED_TWICE, |_, world| world.broken != Some(Broken::TwoServers)),
    (STATUS_LEFT, |_, world| world.broken != Some(Broken::StatusLeft)),
    (CREDITS, |_, world| world.servers.iter().all(credits_follow)),
    (SLOT, |_, world| world.servers.iter().all(slot_follows)),
    (END, |search, world| {
        let ends_well = || world.servers.iter().all(ends_well);
        world.broken.is_some() || !world.is_over(search) || ends_well()
    }),
];

/// What a search must reach, so that its properties say something.
const REACHED: [(&str, Holds); 3] = [
    ("both are kept", |_, world| world.servers.iter().all(|server| server.charged == 1)),
    ("both are undone", |_, world| world.servers.iter().all(|server| server.given_back == 1)),
    ("a create is late", |_, world| {
        let is_late = |server: &Server| {
            server.saga.status == Status::PendingReconciliation && server.request.is_some()
        };
        world.servers.iter().any(is_late)
    }),
];

fn credits_follow(server: &Server) -> bool {
    let expected = match server.saga.status {
        Status::Active | Status::Deprovisioning | Status::Deleted => (1, 0),
        Status::Failed => (0, 1),
        _ => (0, 0),
    };
    (server.charged, server.given_back) == expected
}

fn slot_follows(server: &Server) -> bool {
    let has_ended = matches!(server.saga.status, Status::Failed | Status::Deleted);
    server.freed == u8::from(has_ended)
}

fn ends_well(server: &Server) -> bool {
    let row = match server.saga.status {
        Status::Active => Some(Row::Settled),
        Status::Failed | Status::Deleted => None,
        _ => return false,
    };
    server.row == row && server.unrecorded <= 0
}

const WINDOWS: Windows = Windows {
    timeout_ms: TIMEOUT * TICK_MS,
    settle_ms: 3 * TICK_MS,
    absent_gap_ms: TICK_MS,
    reconcile_ms: TICK_MS,
};

const NONE: Trouble =
    Trouble { crashes: 0, pauses: 0, faults: 0, false_absences: 0, deletions: 0, resolutions: 0 };

const TWO_SERVERS: Search = Search {
    servers: 2,
    workers: 2,
    trouble: Trouble { crashes: 2, pauses: 1, faults: 1, ..NONE },
    windows: WINDOWS,
    panel_limit: 2,
    undoes: true,
    checks_generation: true,
    looks_twice: true,
    sends_late: false,
};

/// Everything that can go wrong, around one server.
const ONE_SERVER: Search = Search {
    servers: 1,
    trouble: Trouble {
        crashes: 2,
        pauses: 1,
        faults: 2,
        false_absences: 1,
        deletions: 1,
        resolutions: 1,
    },
    ..TWO_SERVERS
};

/// A worker may send its create at any time. The panel takes nothing back.
const LATE_SENDER: Search = Search {
    trouble: Trouble { false_absences: 0, ..ONE_SERVER.trouble },
    undoes: false,
    sends_late: true,
    ..ONE_SERVER
};

/// One server that nobody but the workers and the panel changes, for searches that find something.
const SMALL: Search = Search {
    trouble: Trouble { deletions: 0, resolutions: 0, ..ONE_SERVER.trouble },
    ..ONE_SERVER
};

/// The first way back to a state where a run has been. Each run without one ends.
fn find_circle(search: &Search) -> Option<Vec<Act>> {
    let acts_of = |world: &World| {
        let mut acts = Vec::new();
        search.actions(world, &mut acts);
        acts
    };
    let first = search.init_states().remove(0);
    let acts = acts_of(&first);
    // Whether each state is on the current path.
    let mut seen = HashMap::from([(print(&first), true)]);
    let mut path = vec![(first, acts, None)];
    while let Some((world, acts, _)) = path.last_mut() {
        let Some(act) = acts.pop() else {
            seen.insert(print(world), false);
            path.pop();
            continue;
        };
        let next = search.next_state(world, act).expect("each act is possible");
        match seen.insert(print(&next), true) {
            Some(true) => {
                let taken = path.iter().filter_map(|(_, _, act)| *act);
                return Some(taken.chain([act]).collect());
            }
            Some(false) => {
                seen.insert(print(&next), false);
            }
            None => {
                let acts = acts_of(&next);
                path.push((next, acts, Some(act)));
            }
        }
    }
    None
}

#[track_caller]
fn nothing_breaks(search: Search, states: usize) {
    let checker = search.checker().threads(2).spawn_bfs().join();
    let mut found = checker.discoveries();
    for (name, _) in REACHED {
        assert!(found.remove(name).is_some(), "{name}: never reached");
    }
    let mut found = found.into_iter().map(|(name, path)| (name, path.into_actions()));
    assert_eq!(found.next(), None);
    assert_eq!(checker.unique_state_count(), states, "the number in the documentation above");
}

/// Finds a violation of a property, and prints the way to it. It is about as short as there is.
#[track_caller]
fn breaks(name: &'static str, search: Search) {
    let first = HasDiscoveries::AllOf(BTreeSet::from([name]));
    let checker = search.checker().threads(1).finish_when(first).spawn_bfs().join();
    let path = checker.discovery(name).expect("a violation").into_actions();
    println!("not {name:?}, after {} steps: {path:?}", path.len());
    assert!(path.len() >= 8, "a way without trouble: {path:?}");
}

#[test]
fn nothing_breaks_for_two_servers_two_workers_and_two_crashes() {
    nothing_breaks(TWO_SERVERS, 203_781);
}

#[test]
fn nothing_breaks_when_everything_happens_to_one_server() {
    nothing_breaks(ONE_SERVER, 582_029);
}

#[test]
fn a_late_create_is_adopted_or_deleted_if_the_panel_takes_nothing_back() {
    nothing_breaks(LATE_SENDER, 314_633);
}

#[test]
fn each_run_ends() {
    let trouble = Trouble { faults: 1, ..ONE_SERVER.trouble };
    assert_eq!(find_circle(&Search { trouble, ..ONE_SERVER }), None);
}

#[test]
fn without_the_settle_window_a_server_is_charged_that_the_panel_takes_back() {
    let windows = Windows { settle_ms: 0, ..WINDOWS };
    breaks(CHARGED_FOR_NOTHING, Search { windows, ..SMALL });
}

#[test]
fn without_the_settle_window_a_server_fails_that_the_panel_still_makes() {
    let windows = Windows { settle_ms: 0, ..WINDOWS };
    breaks(SERVER_LOST, Search { windows, ..SMALL });
}

#[test]
fn without_the_generation_an_old_404_ends_a_server_that_exists() {
    let search = Search { trouble: ONE_SERVER.trouble, checks_generation: false, ..SMALL };
    breaks(DELETED_IN_PART, search);
}

#[test]
fn without_the_second_lookup_one_false_404_loses_a_server() {
    breaks(SERVER_LOST, Search { looks_twice: false, ..SMALL });
}

#[test]
fn a_panel_that_is_slower_than_the_settle_window_takes_back_a_charged_server() {
    let panel_limit = WINDOWS.settle_ms / TICK_MS;
    breaks(CHARGED_FOR_NOTHING, Search { panel_limit, ..SMALL });
}

#[test]
fn a_worker_that_sends_its_create_after_its_lease_gets_a_server_charged_and_taken_back() {
    breaks(CHARGED_FOR_NOTHING, Search { sends_late: true, ..SMALL });
}
