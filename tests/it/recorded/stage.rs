//! Servers, clients on unreliable networks, and disturbances of the servers.

use super::client::{Client, Clock};
use crate::harness::{Api, Server, Wire, eventually, proxy::Proxy};
use rustix::process::{Signal, kill_process};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

/// Longer than a client's timeout, so that it repeats what a frozen server still holds.
const PAUSE: Duration = Duration::from_millis(600);

/// One of this many commits is lost, if the stage has a wire.
const LOST_ONE_OF: usize = 8;

/// A disturbance of a server while clients use it.
#[derive(Clone, Copy, Debug)]
pub enum Disturbance {
    /// Killed and started again.
    Kill,
    /// Frozen for a while, with everything in progress.
    Pause,
    /// Its database crashes and comes back.
    Crash,
}

/// Disturbances by the percentage of operations done. They rotate over the servers.
pub type Disturbances = &'static [(usize, Disturbance)];

/// Servers on one database, with one proxy per server and client.
pub struct Stage {
    servers: Vec<Server>,
    /// By server, then by client. The last one is for the bystander.
    proxies: Vec<Vec<Arc<Proxy>>>,
    clients: usize,
    /// The proxy before the database that loses commits, if there is one.
    wire: Option<Wire>,
    progress: Arc<AtomicUsize>,
    clock: Clock,
}

impl Stage {
    /// A stage for this many clients.
    pub async fn set(servers: Vec<Server>, clients: usize) -> Self {
        let mut proxies = Vec::new();
        for server in &servers {
            let mut before = Vec::new();
            for _ in 0..=clients {
                before.push(Arc::new(Proxy::before(server.url()).await));
            }
            proxies.push(before);
        }
        Self {
            servers,
            proxies,
            clients,
            wire: None,
            progress: Arc::default(),
            clock: Clock::start(),
        }
    }

    /// Puts the servers behind a wire that loses some commits while clients play.
    pub fn behind(self, wire: Wire) -> Self {
        Self { wire: Some(wire), ..self }
    }

    /// The first server, without faults.
    pub fn server(&self) -> &Server {
        &self.servers[0]
    }

    /// A fault-free client of the last server that survives its restarts.
    pub fn bystander(&self) -> Api {
        let last = self.proxies.len() - 1;
        self.server().api().at(self.proxies[last][self.clients].url())
    }

    /// Runs every client's operations while servers are disturbed. Returns the recordings.
    pub async fn play<T, F>(
        &mut self,
        operations_each: usize,
        disturbances: Disturbances,
        script: impl Fn(Client) -> F,
    ) -> Vec<T>
    where
        T: Send + 'static,
        F: Future<Output = Vec<T>> + Send + 'static,
    {
        let clients = self.clients;
        if let Some(wire) = &self.wire {
            wire.lose_one_of(LOST_ONE_OF);
        }
        let api = self.server().api();
        // The outcome is unknown only if the database's answer to a commit was lost in a crash.
        let is_forgiving = disturbances.iter().any(|(_, one)| matches!(one, Disturbance::Crash));
        let playing: Vec<_> = (0..clients)
            .map(|number| {
                let links = self.proxies.iter().map(|before| Arc::clone(&before[number])).collect();
                let client =
                    Client::new(number, links, api.clone(), self.clock, self.progress.clone());
                let client = client.forgiving(is_forgiving);
                tokio::spawn(script(client))
            })
            .collect();
        for (turn, (share, disturbance)) in disturbances.iter().enumerate() {
            let due = clients * operations_each * share / 100;
            eventually("the clients have done enough operations", async || {
                let is_over = playing.iter().any(tokio::task::JoinHandle::is_finished);
                (is_over || self.progress.load(Ordering::SeqCst) >= due).then_some(())
            })
            .await;
            self.disturb(turn % self.servers.len(), *disturbance).await;
        }
        let mut history = Vec::new();
        for client in playing {
            history.extend(
                client.await.expect("no client gets an answer that the contract rules out"),
            );
        }
        if let Some(wire) = &self.wire {
            wire.lose_one_of(0);
            // On a busy machine the batches are larger, and there are fewer commits.
            assert!(wire.lost() > 2, "some commits were lost: {}", wire.lost());
        }
        history
    }

    async fn disturb(&mut self, at: usize, disturbance: Disturbance) {
        let server = &mut self.servers[at];
        match disturbance {
            Disturbance::Kill => {
                server.kill9().await;
                server.restart().await;
                for proxy in &self.proxies[at] {
                    proxy.point_to(server.url());
                }
            }
            Disturbance::Crash => {
                let database = Arc::clone(server.database());
                let cluster = database.cluster().expect("PostgreSQL can crash");
                tokio::task::block_in_place(|| {
                    cluster.crash();
                    cluster.start();
                });
            }
            Disturbance::Pause => {
                kill_process(server.pid(), Signal::STOP).expect("the server can be frozen");
                tokio::time::sleep(PAUSE).await;
                kill_process(server.pid(), Signal::CONT).expect("the server can go on");
            }
        }
    }
}
