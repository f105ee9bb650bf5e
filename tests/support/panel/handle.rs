//! A running panel, as a test, an example or a benchmark holds it.

use super::{Call, Chaos, Kind, On, Remote, Trouble, connection::Port, state::Shared};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::sync::Mutex;

/// A running panel on a port of 127.0.0.1. It ends when dropped.
pub struct Panel {
    at: SocketAddr,
    shared: Arc<Shared>,
    port: Mutex<Port>,
}

impl Panel {
    /// The key of its Application API.
    pub const KEY: &str = "ptla_the-key-of-the-nasty-panel";

    /// Starts a panel without servers that is well and answers at once.
    pub async fn start(kind: Kind) -> Self {
        let shared = Arc::new(Shared::new(kind));
        let (mut port, at) = Port::take().expect("a port is free");
        port.open(&shared).expect("its port is its own");
        Self { at, shared, port: Mutex::new(port) }
    }

    /// `http://127.0.0.1:port`
    pub fn url(&self) -> String {
        format!("http://{}", self.at)
    }

    /// Which panel it plays.
    pub fn kind(&self) -> Kind {
        self.shared.kind
    }

    /// The next call of this sort meets this trouble, after the ones that are already queued.
    pub fn script(&self, on: On, trouble: Trouble) -> &Self {
        self.shared.state().script.push_back((on, None, trouble));
        self
    }

    /// The next call of this sort for the server with this external id meets this trouble.
    pub fn script_for(&self, external_id: &str, on: On, trouble: Trouble) -> &Self {
        let whose = Some(external_id.to_owned());
        self.shared.state().script.push_back((on, whose, trouble));
        self
    }

    /// The number of queued troubles that no call has met yet.
    pub fn scripted(&self) -> usize {
        self.shared.state().script.len()
    }

    /// The queued troubles that no call has met yet, each with the server that it is meant for.
    pub fn queued(&self) -> Vec<(On, Option<String>, Trouble)> {
        self.shared.state().script.iter().cloned().collect()
    }

    /// Every call of this sort meets this trouble, unless a queued one comes first; `None` ends it.
    pub fn always(&self, on: On, trouble: Option<Trouble>) {
        let always = &mut self.shared.state().always;
        always.retain(|(other, _)| *other != on);
        // The latest one comes first.
        always.splice(0..0, trouble.map(|trouble| (on, trouble)));
    }

    /// Every other call meets a random trouble with some probability; `None` ends it.
    pub fn chaos(&self, chaos: Option<Chaos>) {
        self.shared.state().chaos = chaos.map(|chaos| {
            let generator = chaos.generator();
            (chaos, generator)
        });
    }

    /// Every call takes so long: half of it before something is done, half of it after that.
    pub fn set_latency(&self, latency: Duration) {
        self.shared.state().latency = latency;
    }

    /// Answers 429 after this number of calls within a minute; `None` for no limit.
    pub fn set_calls_per_minute(&self, limit: Option<usize>) {
        self.shared.state().calls_per_minute = limit;
    }

    /// Ends every trouble that has not begun, the latency, and the limit of calls.
    pub fn heal(&self) {
        let mut state = self.shared.state();
        state.script.clear();
        state.always.clear();
        state.chaos = None;
        state.latency = Duration::ZERO;
        state.calls_per_minute = None;
    }

    /// Ends every connection and refuses new ones. Work that has begun goes on.
    pub async fn go_down(&self) {
        let mut port = self.port.lock().await;
        port.close(self.at).await.expect("its port can be bound again");
    }

    /// Listens again on the same port.
    pub async fn come_up(&self) {
        self.port.lock().await.open(&self.shared).expect("its port is its own");
    }

    /// The servers that exist now, by id.
    pub fn servers(&self) -> Vec<Remote> {
        self.shared.state().rows.all()
    }

    /// The server with this external id, if it exists now.
    pub fn server(&self, external_id: &str) -> Option<Remote> {
        self.shared.state().rows.find(external_id).cloned()
    }

    /// Makes a server as if by hand, and returns it with its id. The external id must be free.
    pub fn plant(&self, server: Remote) -> Remote {
        let planted = self.shared.state().rows.insert(server);
        planted.ok().expect("the external id is free")
    }

    /// Takes a server away as if by hand, and returns what it was.
    pub fn remove(&self, external_id: &str) -> Option<Remote> {
        let rows = &mut self.shared.state().rows;
        let id = rows.find(external_id)?.id;
        rows.remove(id)
    }

    /// Sets the status of a server: `None` as a restart of the node does.
    pub fn set_status(&self, external_id: &str, status: Option<&str>) {
        let rows = &mut self.shared.state().rows;
        if let Some(id) = rows.find(external_id).map(|row| row.id) {
            rows.set_status(id, status);
        }
    }

    /// Every request so far, in order of arrival.
    pub fn calls(&self) -> Vec<Call> {
        self.shared.state().calls.clone()
    }

    /// The requests of this sort so far, in order of arrival.
    pub fn calls_of(&self, on: On) -> Vec<Call> {
        let state = self.shared.state();
        let is_meant = |call: &&Call| call.on.is_some_and(|call| on.covers(call));
        state.calls.iter().filter(is_meant).cloned().collect()
    }

    /// The number of creates with this external id that arrived, whatever became of them.
    pub fn creates_of(&self, external_id: &str) -> usize {
        self.shared.state().creates.get(external_id).copied().unwrap_or_default()
    }

    /// The number of rows that were ever committed for this external id.
    pub fn rows_made_of(&self, external_id: &str) -> usize {
        self.shared.state().rows.made_of(external_id)
    }

    /// The most rows that were ever committed for one external id.
    ///
    /// There is never more than one at a time: the table has a unique key, as the real one.
    pub fn most_rows_made(&self) -> usize {
        self.shared.state().rows.most_made()
    }

    /// The most calls that it ever worked on at the same time.
    pub fn most_at_once(&self) -> usize {
        self.shared.state().most_at_once
    }
}
