//! What the panel does with a create, and what it answers to other calls.

use super::{
    act::Act,
    bounds::Search,
    clock::TICK_MS,
    world::{Broken, Phase, Request, Row, World},
};
use ifmatch_domain::provisioning::Seen;
use ifmatch_types::{PanelCall, ServerStatus as Status};

/// What the panel does with a create.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
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
pub enum Reply {
    Truth,
    Unclear,
    FalseAbsence,
    /// A deletion is carried out, and its answer is lost.
    DoneUnclear,
}

impl World {
    pub fn create(&mut self, at: usize, deed: Deed) {
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

    pub fn answer(&mut self, at: usize, call: PanelCall, reply: Reply) {
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

    pub fn tell(&mut self, worker: Option<usize>, seen: Seen) {
        if let Some(at) = worker {
            self.workers[at].phase = Phase::Told(seen);
        }
    }
}

impl Search {
    /// What the panel may do with a create.
    pub fn deeds(&self, world: &World, request: Request) -> Vec<Deed> {
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
    pub fn replies(&self, world: &World, at: usize, call: PanelCall, acts: &mut Vec<Act>) {
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
