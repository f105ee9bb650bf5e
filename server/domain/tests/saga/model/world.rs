//! Servers, workers and the panel, as they are between two acts.

use super::{
    bounds::{Search, Trouble},
    clock::now,
};
use ifmatch_domain::provisioning::{Effect, EndedCall, Saga, Seen, Step, step};
use ifmatch_types::{PanelCall, ServerStatus as Status, ServerVerdict as Verdict, Timestamp};

/// A promise that was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Broken {
    ChargedWithoutServer,
    ServerLost,
    DeletedInPart,
    TwoServers,
    StatusLeft,
}

/// A server on the panel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Row {
    /// The panel may still undo it.
    Unsettled,
    Settled,
}

/// A create that the panel has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Request {
    /// The worker that waits for the answer.
    pub worker: Option<usize>,
    pub ends_by: Timestamp,
    pub is_committed: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Server {
    pub saga: Saga,
    pub generation: i64,
    pub lease_until: Option<Timestamp>,
    pub running_call: Option<PanelCall>,
    pub call_started_at: Option<Timestamp>,
    pub charged: u8,
    pub given_back: u8,
    pub freed: u8,
    /// Orphans that were deleted and not recorded yet. Below zero if the panel deleted one itself.
    pub unrecorded: i8,
    pub row: Option<Row>,
    pub request: Option<Request>,
    pub was_created: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    Idle,
    Claimed(PanelCall),
    /// Its call was recorded as begun. It is sent until this instant.
    Started(PanelCall, Timestamp),
    /// It waits for an answer until this instant.
    Calling(PanelCall, Timestamp),
    Told(Seen),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Worker {
    pub phase: Phase,
    pub server: usize,
    pub generation: i64,
    pub is_paused: bool,
}

pub const IDLE: Worker = Worker { phase: Phase::Idle, server: 0, generation: 0, is_paused: false };

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    pub servers: Vec<Server>,
    pub workers: Vec<Worker>,
    pub left: Trouble,
    pub broken: Option<Broken>,
}

impl Server {
    pub fn new() -> Self {
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

    pub fn due_at(&self) -> Option<Timestamp> {
        self.lease_until.or(self.saga.next.map(|(_, at)| at))
    }

    pub fn end_claim(&mut self) {
        self.lease_until = None;
        self.running_call = None;
        self.call_started_at = None;
    }
}

impl World {
    pub fn break_if(&mut self, is_broken: bool, promise: Broken) {
        if is_broken && self.broken.is_none() {
            self.broken = Some(promise);
        }
    }

    /// Carries out what follows from a call, in one commit.
    pub fn judge(&mut self, at: usize, ended: &EndedCall, seen: Seen, search: &Search) {
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

    pub fn turn_into(&mut self, at: usize, saga: Saga, effects: &[Effect], search: &Search) {
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
}
