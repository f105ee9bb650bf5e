//! When time passes, and which states are alike.

use super::{
    act::Act,
    bounds::Search,
    clock::{TICK_MS, TIMEOUT, now, tick, ticks_until},
    world::{Phase, Request, Server, Worker, World},
};
use ifmatch_domain::provisioning::{Windows, later};
use ifmatch_types::{PanelCall, ServerStatus as Status, Timestamp};
use stateright::Model;
use std::hash::{DefaultHasher, Hash, Hasher};

impl World {
    /// When a worker must look at a server. A failed server that cannot appear is left alone.
    pub fn due_at(&self, at: usize, search: &Search) -> Option<Timestamp> {
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

    pub fn is_due(&self, at: usize, search: &Search) -> bool {
        self.due_at(at, search).is_some_and(|at| at <= now())
    }

    /// Whether somebody must act before time passes.
    pub fn is_pressed(&self, search: &Search) -> bool {
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
    pub fn pause(&self, search: &Search) -> Option<i64> {
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

    /// Lets time pass: all instants come nearer.
    pub fn pass(&mut self, ticks: i64) {
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
    pub fn simplify(&mut self, windows: &Windows) {
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
    pub fn sort(&mut self) {
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
    pub fn is_over(&self, search: &Search) -> bool {
        let mut acts = Vec::new();
        search.actions(self, &mut acts);
        acts.iter().all(|act| matches!(act, Act::OrderDeletion(_)))
    }
}

pub fn print<T: Hash>(value: &T) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// The old places of the items, in their new order.
pub fn order<T>(items: &[T], key: impl Fn(&T) -> u64) -> Vec<usize> {
    let mut places: Vec<usize> = (0..items.len()).collect();
    places.sort_by_cached_key(|at| key(&items[*at]));
    places
}
