//! What workers do: they claim a server, begin a call, make it, and record what it told.

use super::{
    bounds::Search,
    clock::{TIMEOUT, now, tick},
    world::{Broken, IDLE, Phase, Request, Worker, World},
};
use ifmatch_domain::provisioning::{EndedCall, Seen, later};
use ifmatch_types::{PanelCall, Timestamp};

impl World {
    pub fn claim(&mut self, worker: usize, at: usize, search: &Search) {
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

    pub fn start(&mut self, at: usize) {
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

    pub fn send(&mut self, at: usize, call: PanelCall, until: Timestamp, search: &Search) {
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

    pub fn record(&mut self, at: usize, seen: Seen, search: &Search) {
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
    pub fn hang_up(&mut self, at: usize) {
        for request in self.servers.iter_mut().filter_map(|server| server.request.as_mut()) {
            request.worker = request.worker.filter(|worker| *worker != at);
        }
    }
}
