//! Every interleaving of a few clients that read, modify and write under one lock.
//!
//! The search is exhaustive: breadth-first over all states. Each transition of the lock calls the
//! real rules, so the model cannot drift from the code. The network delivers a message at any time,
//! in any order, or never. Clients and the server crash, admins force the lock, its grant expires at
//! any time, and its row is swept.

use crate::{
    commands::{command, key},
    locks::{acquire_as, force, kept, release, release_unclaimed},
    world::Decided,
};
use ifmatch_domain::{
    Action, Outcome, State,
    core::{self, Fence, Guard, RecordDenied},
    decide,
    lock::{self, LockName, LockRecord},
    needs,
};
use ifmatch_types::{LockScope, Timestamp};
use std::{
    collections::{HashSet, VecDeque},
    rc::Rc,
};

const TTL_MS: i64 = 10_000;
const SWEPT_AFTER_US: i64 = 8 * 86_400_000_000;
const LOCK: &str = "/global//a";

/// How much may happen.
#[derive(Clone, Copy)]
struct Bounds {
    clients: usize,
    /// Crashes of clients and of the server.
    crashes: u8,
    /// Times that the first client sends its request for the lock. The others send theirs once.
    sends: u8,
    /// Times that an admin takes the lock away.
    forces: u8,
    /// Times that the row is swept.
    sweeps: u8,
}

/// What a write says about the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writes {
    /// It names its fence.
    Fenced,
    /// Nothing.
    Unfenced,
    /// Nothing, but its client sends it only before the end of its grant. Its clock is right.
    JudgedByClient,
}

/// What must be true in each history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Property {
    OneUnexpiredGrant,
    FencesGrow,
    WritesHoldTheGrant,
    NewerWritesStay,
    /// A caller that got a grant keeps it although the first send of its request hung up.
    ClaimedGrantsStay,
}

const ALL: [Property; 5] = [
    Property::OneUnexpiredGrant,
    Property::FencesGrow,
    Property::WritesHoldTheGrant,
    Property::NewerWritesStay,
    Property::ClaimedGrantsStay,
];

#[derive(Clone, Debug, PartialEq)]
enum Phase {
    Idle,
    /// It has asked for the lock.
    Waiting,
    Holding {
        fence: i64,
        owner: Rc<str>,
        expires_at: Timestamp,
        has_written: bool,
    },
    Done,
}

/// An answer on its way to a client.
#[derive(Clone, Debug)]
struct Answer {
    lock: Rc<LockRecord>,
    owner: Rc<str>,
    is_repeat: bool,
}

#[derive(Clone, Debug)]
struct Client {
    phase: Phase,
    /// Makes its Idempotency-Key another one after a crash.
    session: u8,
    sends_left: u8,
    /// The fence of the grant that its Idempotency-Key has got.
    granted: Option<i64>,
    /// Its requests on the way: acquisitions, and writes by their fences.
    acquires: u8,
    writes: Vec<i64>,
    answers: Vec<Answer>,
}

#[derive(Clone, Debug)]
struct Model {
    now: Timestamp,
    /// The lock in the database.
    lock: Option<Rc<LockRecord>>,
    /// The fence of the grant that wrote the object last.
    object: i64,
    clients: Vec<Client>,
    /// Grants whose callers hung up, which the server is about to release.
    unclaimed: Vec<Rc<LockRecord>>,
    crashes_left: u8,
    forces_left: u8,
    sweeps_left: u8,
    /// What an observer of all answers knows: the current grant with its end, and the last fence.
    current: Option<(i64, Timestamp)>,
    last_fence: i64,
}

/// A step that was taken, and the model after it or what it violated.
type Step = (String, Result<Model, Property>);

impl Model {
    fn new(bounds: Bounds) -> Self {
        let client = Client {
            phase: Phase::Idle,
            session: 0,
            sends_left: 1,
            granted: None,
            acquires: 0,
            writes: Vec::new(),
            answers: Vec::new(),
        };
        let mut clients = vec![client; bounds.clients];
        clients[0].sends_left = bounds.sends;
        Self {
            now: "2027-01-01T00:00:00Z".parse().unwrap(),
            lock: None,
            object: 0,
            clients,
            unclaimed: Vec::new(),
            crashes_left: bounds.crashes,
            forces_left: bounds.forces,
            sweeps_left: bounds.sweeps,
            current: None,
            last_fence: 0,
        }
    }

    /// Carries out a command with the real rules. `sender` has an Idempotency-Key.
    fn decide(&mut self, sender: Option<usize>, fence: Option<i64>, action: Action) -> Decided {
        let mut command = command(1 << 64, action);
        let fence =
            fence.map(|number| Fence { workspace_id: None, lock: "global//a".to_owned(), number });
        command.guard = Guard { claim: None, fence };
        let mut state = State::default();
        state.clock = Some(self.now);
        state.lock_mut().locks.load(LOCK.to_owned(), self.lock.as_deref().cloned());
        if let Some(at) = sender {
            let text = self.key(at);
            command.idempotency = Some(key(&text, "print"));
            let answer = self.clients[at].granted.map(|_| kept());
            state.answers.load(("key_alice".to_owned(), text), answer);
        }
        assert!(needs([&command], &state).is_empty(), "everything is loaded");
        let decided = decide(&mut state, &command, self.now);
        let version = |lock: &LockRecord| (lock.fence, lock.version);
        let after = state.lock().locks.get(LOCK);
        if after.map(version) != self.lock.as_deref().map(version) {
            self.lock = after.cloned().map(Rc::new);
        }
        decided
    }

    fn is_held(&self) -> bool {
        self.lock.as_ref().is_some_and(|lock| lock.is_held(self.now))
    }

    /// Every step that can be next.
    fn steps(&self, writes: Writes) -> Vec<Step> {
        let mut steps = Vec::new();
        for at in 0..self.clients.len() {
            self.steps_of_client(at, writes, &mut steps);
            self.deliveries(at, writes, &mut steps);
        }
        for at in 0..self.unclaimed.len() {
            let mut next = self.clone();
            let granted = next.unclaimed.remove(at);
            let released = next.decide(None, None, release_unclaimed(&granted)).is_ok();
            let is_claimed = |client: &Client| match &client.phase {
                Phase::Holding { fence, .. } => *fence == granted.fence,
                _ => false,
            };
            let result = match released {
                true if next.clients.iter().any(is_claimed) => Err(Property::ClaimedGrantsStay),
                true => {
                    next.current = None;
                    Ok(next)
                }
                false => Ok(next),
            };
            steps.push((format!("{} is released for nobody", granted.fence), result));
        }
        if let Some(lock) = self.lock.as_ref().filter(|_| self.is_held()) {
            let mut next = self.clone();
            next.now = lock.expires_at;
            steps.push(("the grant expires".to_owned(), Ok(next)));
        }
        if self.is_held() && self.forces_left > 0 {
            let mut next = self.clone();
            next.forces_left -= 1;
            next.decide(None, None, force(0)).unwrap();
            next.current = None;
            let fence = next.lock.as_ref().expect("a force leaves the row").fence;
            steps.push(("an admin takes the lock away".to_owned(), next.with_fence(fence)));
        }
        if !self.is_held() && self.lock.is_some() && self.sweeps_left > 0 {
            let mut next = self.clone();
            next.sweeps_left -= 1;
            next.now = Timestamp::from_micros(self.now.as_micros() + SWEPT_AFTER_US).unwrap();
            next.lock = None;
            steps.push(("the row is swept".to_owned(), Ok(next)));
        }
        if self.crashes_left > 0 {
            let mut next = self.clone();
            next.crashes_left -= 1;
            next.unclaimed.clear();
            for client in &mut next.clients {
                client.acquires = 0;
                client.writes.clear();
                client.answers.clear();
            }
            steps.push(("the server crashes".to_owned(), Ok(next)));
        }
        steps
    }

    /// What a client does by itself.
    fn steps_of_client(&self, at: usize, writes: Writes, steps: &mut Vec<Step>) {
        let mut step = |what: &str, change: &dyn Fn(&mut Client)| {
            let mut next = self.clone();
            change(&mut next.clients[at]);
            steps.push((format!("client {at} {what}"), Ok(next)));
        };
        let client = &self.clients[at];
        match &client.phase {
            Phase::Idle | Phase::Waiting if client.sends_left > 0 => {
                step("asks for the lock", &|client| {
                    client.phase = Phase::Waiting;
                    client.sends_left -= 1;
                    client.acquires += 1;
                });
            }
            Phase::Holding { fence, owner, expires_at, has_written } => {
                let believes = writes != Writes::JudgedByClient || self.now < *expires_at;
                if !has_written && believes {
                    step("writes", &|client| {
                        client.writes.push(*fence);
                        client.phase = Phase::Holding {
                            fence: *fence,
                            owner: owner.clone(),
                            expires_at: *expires_at,
                            has_written: true,
                        };
                    });
                }
                if *has_written {
                    let mut next = self.clone();
                    next.clients[at].phase = Phase::Done;
                    if next.decide(None, None, release(owner)).is_ok() {
                        next.current = None;
                    }
                    steps.push((format!("client {at} releases {fence}"), Ok(next)));
                }
            }
            Phase::Idle | Phase::Waiting | Phase::Done => {}
        }
        if self.crashes_left > 0 && matches!(client.phase, Phase::Holding { .. }) {
            let mut next = self.clone();
            next.crashes_left -= 1;
            let client = &mut next.clients[at];
            client.phase = Phase::Idle;
            client.session += 1;
            client.sends_left = 1;
            client.granted = None;
            // What it has sent may still arrive. A crash before it holds the lock is a hang-up.
            client.acquires = 0;
            client.answers.clear();
            steps.push((format!("client {at} crashes"), Ok(next)));
        }
    }

    /// The callers of these grants are gone. Repeats are not released.
    fn hang_up(&mut self, answers: Vec<Answer>) {
        let lost = answers.into_iter().filter(|answer| !answer.is_repeat);
        self.unclaimed.extend(lost.map(|answer| answer.lock));
    }

    /// The messages from and to a client that may arrive now.
    fn deliveries(&self, at: usize, writes: Writes, steps: &mut Vec<Step>) {
        let client = &self.clients[at];
        if client.acquires > 0 {
            let mut next = self.clone();
            next.clients[at].acquires -= 1;
            steps.push((format!("client {at} is heard"), next.acquire(at)));
        }
        for (number, answer) in client.answers.iter().enumerate() {
            let mut next = self.clone();
            next.clients[at].answers.remove(number);
            let mut lost = next.clone();
            if client.phase == Phase::Waiting {
                next.clients[at].phase = Phase::Holding {
                    fence: answer.lock.fence,
                    owner: answer.owner.clone(),
                    expires_at: answer.lock.expires_at,
                    has_written: false,
                };
            }
            steps.push((format!("client {at} is told of {}", answer.lock.fence), Ok(next)));
            lost.hang_up(vec![answer.clone()]);
            steps.push((format!("client {at} hangs up on {}", answer.lock.fence), Ok(lost)));
        }
        for (number, fence) in client.writes.iter().enumerate() {
            let mut next = self.clone();
            next.clients[at].writes.remove(number);
            let named = (writes == Writes::Fenced).then_some(*fence);
            let write = core::Action::RecordDenied(RecordDenied {
                audit_type: "written",
                resource: None,
                reason: None,
                attempts: 1,
            });
            let result = match next.decide(None, named, Action::Core(write)) {
                Ok(_) => next.written(*fence),
                Err(_) => vec![Ok(next)],
            };
            let label = format!("the write of {fence} arrives");
            steps.extend(result.into_iter().map(|result| (label.clone(), result)));
        }
    }

    /// The acquisition of a client arrives.
    fn acquire(mut self, at: usize) -> Result<Self, Property> {
        let name = LockName::new(None, LockScope::Global, None, "a").unwrap();
        let decided = self.decide(Some(at), None, acquire_as(&self.key(at), name, TTL_MS));
        let Ok(Outcome::Lock(lock::Outcome::Acquired { lock, owner, is_repeat, .. })) = decided
        else {
            return Ok(self);
        };
        let (fence, end) = (lock.fence, lock.expires_at);
        let (lock, owner) = (Rc::new(lock), owner.expose().into());
        self.clients[at].answers.push(Answer { lock, owner, is_repeat });
        if is_repeat {
            return Ok(self);
        }
        if self.current.is_some_and(|(_, end)| self.now < end) {
            return Err(Property::OneUnexpiredGrant);
        }
        self.clients[at].granted = Some(fence);
        self.current = Some((fence, end));
        self.with_fence(fence)
    }

    /// The Idempotency-Key of a client's request.
    fn key(&self, at: usize) -> String {
        format!("client {at}, session {}", self.clients[at].session)
    }

    fn with_fence(mut self, fence: i64) -> Result<Self, Property> {
        if fence <= self.last_fence {
            return Err(Property::FencesGrow);
        }
        self.last_fence = fence;
        Ok(self)
    }

    /// The model after a write was committed, and each property that the write violates.
    fn written(mut self, fence: i64) -> Vec<Result<Self, Property>> {
        let holds = self.current.is_some_and(|(held, end)| held == fence && self.now < end);
        let mut results = Vec::new();
        if !holds {
            results.push(Err(Property::WritesHoldTheGrant));
        }
        if fence < self.object {
            results.push(Err(Property::NewerWritesStay));
        }
        self.object = fence;
        results.push(Ok(self));
        results
    }

    /// What distinguishes this state: fences by their order, times by whether they are over.
    ///
    /// Clients are alike, so their order does not matter.
    fn fingerprint(&self) -> Vec<i64> {
        let mut numbers = vec![0, self.now.as_micros(), self.object, self.last_fence];
        numbers.extend(self.lock.iter().chain(&self.unclaimed).map(|lock| lock.fence));
        numbers.extend(self.clients.iter().flat_map(Client::fences));
        numbers.sort_unstable();
        numbers.dedup();
        let rank = |number: i64| i64::try_from(numbers.binary_search(&number).unwrap()).unwrap();
        let lock = self.lock.as_deref();
        let mut print = vec![
            rank(self.now.as_micros()),
            rank(self.object),
            rank(self.last_fence),
            i64::from(self.current.is_some_and(|(_, end)| self.now < end)),
            lock.map_or(-1, |lock| rank(lock.fence)),
            lock.map_or(-1, |lock| i64::from(lock.is_held(self.now))),
            self.crashes_left.into(),
            self.forces_left.into(),
            self.sweeps_left.into(),
        ];
        // How many versions ago; -1 if it is another grant.
        let age = |granted: &LockRecord| match lock {
            Some(lock) if lock.fence == granted.fence => lock.version - granted.version,
            _ => -1,
        };
        let mut unclaimed: Vec<_> =
            self.unclaimed.iter().map(|granted| [rank(granted.fence), age(granted)]).collect();
        unclaimed.sort_unstable();
        print.push(-2);
        print.extend(unclaimed.concat());
        let clients = self.clients.iter();
        let mut clients: Vec<_> =
            clients.map(|client| client.fingerprint(self.now, rank, age)).collect();
        clients.sort_unstable();
        print.extend(clients.concat());
        print
    }
}

impl Client {
    fn fences(&self) -> Vec<i64> {
        let mut fences = self.writes.clone();
        fences.extend(self.granted);
        fences.extend(self.answers.iter().map(|answer| answer.lock.fence));
        if let Phase::Holding { fence, .. } = &self.phase {
            fences.push(*fence);
        }
        fences
    }

    fn fingerprint(
        &self,
        now: Timestamp,
        rank: impl Fn(i64) -> i64,
        age: impl Fn(&LockRecord) -> i64,
    ) -> Vec<i64> {
        let mut print = match &self.phase {
            Phase::Idle => vec![-3, 0],
            Phase::Waiting => vec![-3, 1],
            Phase::Done => vec![-3, 2],
            Phase::Holding { fence, expires_at, has_written, .. } => {
                let is_over = now >= *expires_at;
                vec![-3, 3, rank(*fence), i64::from(is_over), i64::from(*has_written)]
            }
        };
        let granted = self.granted.map_or(-1, &rank);
        print.extend([granted, self.sends_left.into(), self.acquires.into()]);
        let mut on_the_way = Vec::new();
        on_the_way.extend(self.writes.iter().map(|fence| [0, rank(*fence), 0]));
        let answers = self.answers.iter();
        on_the_way.extend(answers.map(|answer| {
            let kind = if answer.is_repeat { 2 } else { 3 };
            [kind, rank(answer.lock.fence), age(&answer.lock)]
        }));
        on_the_way.sort_unstable();
        print.extend(on_the_way.concat());
        print
    }
}

/// What a search has found.
struct Found {
    states: usize,
    /// The steps to the first violation.
    violation: Option<(Property, Vec<String>)>,
}

/// Visits every state, breadth first, up to the first violation of one of these properties.
fn search(bounds: Bounds, writes: Writes, properties: &[Property]) -> Found {
    let first = Model::new(bounds);
    let mut seen = HashSet::from([first.fingerprint()]);
    // The step to each state and the number of the state before.
    let mut path: Vec<(usize, String)> = vec![(0, "the beginning".to_owned())];
    let mut queue = VecDeque::from([(0, first)]);
    while let Some((number, model)) = queue.pop_front() {
        for (step, result) in model.steps(writes) {
            match result {
                Ok(next) => {
                    if seen.insert(next.fingerprint()) {
                        path.push((number, step));
                        queue.push_back((path.len() - 1, next));
                    }
                }
                Err(violated) if properties.contains(&violated) => {
                    let mut steps = vec![step];
                    let mut at = number;
                    while at > 0 {
                        let (before, step) = &path[at];
                        steps.push(step.clone());
                        at = *before;
                    }
                    steps.reverse();
                    return Found { states: seen.len(), violation: Some((violated, steps)) };
                }
                Err(_) => {}
            }
        }
    }
    Found { states: seen.len(), violation: None }
}

/// Three clients, of which two may crash, or the server does.
const CRASHES: Bounds = Bounds { clients: 3, crashes: 2, sends: 1, forces: 0, sweeps: 0 };
/// Requests are sent twice, an admin takes the lock away, the row is swept.
const TROUBLE: Bounds = Bounds { clients: 2, crashes: 1, sends: 2, forces: 1, sweeps: 1 };

#[track_caller]
fn nothing_breaks(bounds: Bounds, states: usize) {
    let found = search(bounds, Writes::Fenced, &ALL);
    assert_eq!(found.violation, None, "after {} states", found.states);
    assert_eq!(found.states, states, "the number in docs/design.md");
}

#[test]
fn no_interleaving_of_three_clients_and_two_crashes_breaks_a_fenced_write() {
    nothing_breaks(CRASHES, 164_069);
}

#[test]
fn no_interleaving_with_repeats_force_and_a_sweep_breaks_a_fenced_write() {
    nothing_breaks(TROUBLE, 95_429);
}

#[test]
fn without_the_fence_the_search_finds_the_overwritten_write() {
    let found = search(CRASHES, Writes::Unfenced, &[Property::NewerWritesStay]);
    let (_, steps) = found.violation.expect("an older write overwrites a newer one");
    assert!(steps.len() >= 8, "a shortest way: {steps:#?}");
}

#[test]
fn a_client_that_judges_the_expiry_itself_overwrites_a_newer_write_too() {
    // Its clock is right and it looks at it just before it sends. The network takes its time.
    let found = search(CRASHES, Writes::JudgedByClient, &[Property::NewerWritesStay]);
    let (_, steps) = found.violation.expect("an older write overwrites a newer one");
    assert!(steps.len() >= 8, "a shortest way: {steps:#?}");
}
