//! Everything that can happen next, and what it leads to.

use super::{
    bounds::Search,
    clock::now,
    panel::{Deed, Reply},
    promise::{PROPERTIES, REACHED},
    world::{IDLE, Phase, Row, Server, World},
};
use ifmatch_domain::provisioning::Seen;
use ifmatch_types::{PanelCall, ServerStatus as Status};
use stateright::{Model, Property};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
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
