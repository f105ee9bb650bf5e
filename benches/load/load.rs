//! The load: each connection sends its next request after the answer to the last one.

use crate::{
    Failure, http::Connection, locks::Handover, process::KEY, seed::Seeded, system::System,
    workload::Workload,
};
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// The first subscriptions are reserved for hot workloads; uniform load does not use them.
const HOT: usize = 8;
/// Metadata allows 50 keys. With more clients than this some share a key and meet conflicts.
const METADATA_KEYS: usize = 48;
/// How long a cell runs before it is measured.
pub const WARM_UP: Duration = Duration::from_secs(1);

/// Servers on one database, and what the clients know about its objects.
pub struct Target {
    pub system: System,
    addresses: Vec<SocketAddr>,
    seeded: Arc<Seeded>,
    versions: Vec<AtomicI64>,
    /// The bytes of an object's state.
    pub width: usize,
    /// Acknowledged writes with an effect since this was last reset.
    pub written: AtomicU64,
    pub handover: Handover,
}

impl Target {
    pub fn new(
        system: System,
        addresses: Vec<SocketAddr>,
        seeded: Arc<Seeded>,
        width: usize,
    ) -> Self {
        let versions = seeded.subscriptions.iter().map(|_| AtomicI64::new(1)).collect();
        let (written, handover) = (AtomicU64::new(0), Handover::new());
        Self { system, addresses, seeded, versions, width, written, handover }
    }

    /// The server that a client connects to.
    pub fn address(&self, client: usize) -> Result<SocketAddr, Failure> {
        let place = client % self.addresses.len().max(1);
        Ok(*self.addresses.get(place).ok_or("a server")?)
    }

    /// The id of the workload's object.
    pub fn hot_id(&self, workload: Workload) -> Result<&str, Failure> {
        Ok(self.seeded.subscriptions.get(workload.hot_place()).ok_or("too few objects")?)
    }

    /// The body of an order of a server.
    pub fn order(&self) -> Result<String, Failure> {
        Ok(self.seeded.order.clone().ok_or("a product")?)
    }

    /// The number of subscriptions.
    pub fn subscriptions(&self) -> usize {
        self.seeded.subscriptions.len()
    }

    /// The last version that was seen of an object. Only its own client changes it.
    pub fn version(&self, place: usize) -> Result<&AtomicI64, Failure> {
        Ok(self.versions.get(place).ok_or("a place in the list")?)
    }

    fn path(&self, place: usize) -> Result<String, Failure> {
        let id = self.seeded.subscriptions.get(place).ok_or("a place in the list")?;
        Ok(format!("/v1/subscriptions/{id}"))
    }
}

/// The time window in which a cell is measured.
#[derive(Clone, Copy)]
pub struct Window {
    pub begin: Instant,
    pub end: Instant,
}

impl Window {
    pub fn from_now(seconds: u64) -> Option<Self> {
        let begin = Instant::now().checked_add(WARM_UP)?;
        Some(Self { begin, end: begin.checked_add(Duration::from_secs(seconds))? })
    }

    pub fn is_over(&self) -> bool {
        Instant::now() >= self.end
    }
}

/// The measurements of one client.
#[derive(Default)]
pub struct Tally {
    pub latencies_us: Vec<u64>,
    pub conflicts: u64,
    /// The operations of each client whose work is added here.
    pub shares: Vec<usize>,
}

impl Tally {
    /// Records an operation if it ended within the window.
    pub fn record(&mut self, window: &Window, started: Instant) {
        let now = Instant::now();
        if now >= window.begin && now < window.end {
            let latency = now.duration_since(started).as_micros();
            self.latencies_us.push(u64::try_from(latency).unwrap_or(u64::MAX));
        }
    }

    /// Adds the work of one client.
    pub fn add_client(&mut self, client: Self) {
        self.shares.push(client.latencies_us.len());
        self.add(client);
    }

    pub fn add(&mut self, other: Self) {
        self.shares.extend(other.shares);
        self.latencies_us.extend(other.latencies_us);
        self.conflicts = self.conflicts.saturating_add(other.conflicts);
    }
}

/// The random choices of one client.
pub struct Draws {
    number: usize,
    clients: usize,
    random: u64,
}

impl Draws {
    pub fn of(number: usize, clients: usize) -> Result<Self, Failure> {
        let random = u64::try_from(number)?.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        Ok(Self { number, clients, random })
    }

    /// A random number.
    fn draw(&mut self) -> Result<usize, Failure> {
        // xorshift64
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        Ok(usize::try_from(self.random >> 16)?)
    }

    /// A random object of this client's share.
    pub fn own_place(&mut self, target: &Target) -> Result<usize, Failure> {
        let draw = self.draw()?;
        let objects = target.subscriptions().saturating_sub(HOT);
        let share = (objects / self.clients).max(1);
        let place = draw % share;
        Ok(place * self.clients + self.number + HOT)
    }
}

/// One client of a cell.
pub struct Client {
    pub target: Arc<Target>,
    pub number: usize,
    pub clients: usize,
    pub window: Window,
    connection: Connection,
    draws: Draws,
    tally: Tally,
}

impl Client {
    pub async fn connect(
        target: Arc<Target>,
        number: usize,
        clients: usize,
        window: Window,
    ) -> Result<Self, Failure> {
        let connection = Connection::open(target.address(number)?, KEY).await?;
        let draws = Draws::of(number, clients)?;
        Ok(Self { target, number, clients, window, connection, draws, tally: Tally::default() })
    }

    /// Works until the window closes. Waits for the last request, because its effect counts when
    /// the database is checked.
    pub async fn run(mut self, workload: Workload) -> Result<Tally, Failure> {
        while !self.window.is_over() {
            match workload {
                Workload::Update | Workload::Provisioning => self.update().await?,
                Workload::Read => self.read().await?,
                Workload::HotMerge => self.merge_until_over().await?,
                Workload::HotRefetch => self.refetch().await?,
                Workload::HotSdk => return Err("the SDK has a client of its own".into()),
                Workload::HotCounter
                | Workload::HotRolling
                | Workload::HotDay
                | Workload::CreditHot => self.post_until_over(workload).await?,
                Workload::CreditMany => self.reserve().await?,
                Workload::SignUps => self.sign_up().await?,
                Workload::LockPairs | Workload::LockHandover => {
                    return Err("locks have clients of their own".into());
                }
                Workload::BillingRun => return Err("a run is not repeated".into()),
            }
        }
        Ok(self.tally)
    }

    async fn update(&mut self) -> Result<(), Failure> {
        let target = Arc::clone(&self.target);
        let place = self.draws.own_place(&target)?;
        let slot = target.version(place)?;
        let version = slot.load(Ordering::Relaxed);
        let path = target.path(place)?;
        let body = edit(version);
        let started = Instant::now();
        let answer = self.connection.patch(&path, &body).await?;
        match (answer.status, answer.version) {
            (200, Some(new)) if new == version.saturating_add(1) => {
                slot.store(new, Ordering::Relaxed);
                target.written.fetch_add(1, Ordering::Relaxed);
            }
            _ => return Err(format!("an update at {version}: {}", answer.text()).into()),
        }
        self.tally.record(&self.window, started);
        Ok(())
    }

    async fn read(&mut self) -> Result<(), Failure> {
        let place = self.draws.own_place(&self.target)?;
        let path = self.target.path(place)?;
        let started = Instant::now();
        let answer = self.connection.get(&path).await?;
        if answer.status != 200 || answer.version.is_none() {
            return Err(format!("a read: {}", answer.text()).into());
        }
        self.tally.record(&self.window, started);
        Ok(())
    }

    /// Writes the client's own metadata key, from the version that it last saw.
    async fn merge_until_over(&mut self) -> Result<(), Failure> {
        let path = self.target.path(Workload::HotMerge.hot_place())?;
        let merging = format!("{path}?on_conflict=merge");
        let mut version = self.connection.get(&path).await?.version.ok_or("a version")?;
        let key = self.number % METADATA_KEYS;
        let mut count = 0u64;
        while !self.window.is_over() {
            count = count.saturating_add(1);
            let value = format!("{}-{}-{count}", self.clients, self.number);
            let started = Instant::now();
            loop {
                let body =
                    format!(r#"{{"version":{version},"metadata":{{"key_{key}":"{value}"}}}}"#);
                let answer = self.connection.patch(&merging, &body).await?;
                match (answer.status, answer.version) {
                    (200, Some(new)) => {
                        version = new;
                        self.target.written.fetch_add(1, Ordering::Relaxed);
                        self.tally.record(&self.window, started);
                        break;
                    }
                    (409, _) => {
                        version = answer.number("current_version").ok_or("a current version")?;
                        self.tally.conflicts = self.tally.conflicts.saturating_add(1);
                        if self.window.is_over() {
                            break;
                        }
                    }
                    _ => return Err(format!("a merge: {}", answer.text()).into()),
                }
            }
        }
        Ok(())
    }

    /// Reads, writes and starts over at once after a conflict: the loop that teams write.
    async fn refetch(&mut self) -> Result<(), Failure> {
        let path = self.target.path(Workload::HotRefetch.hot_place())?;
        let started = Instant::now();
        loop {
            let read = self.connection.get(&path).await?;
            let version = read.version.ok_or_else(|| format!("a read: {}", read.text()))?;
            let answer = self.connection.patch(&path, &edit(version)).await?;
            match answer.status {
                200 => {
                    self.target.written.fetch_add(1, Ordering::Relaxed);
                    self.tally.record(&self.window, started);
                    return Ok(());
                }
                409 => self.tally.conflicts = self.tally.conflicts.saturating_add(1),
                _ => return Err(format!("a write: {}", answer.text()).into()),
            }
            if self.window.is_over() {
                return Ok(());
            }
        }
    }

    /// Repeats the same request. Each adds to one row.
    async fn post_until_over(&mut self, workload: Workload) -> Result<(), Failure> {
        let target = Arc::clone(&self.target);
        let post = target.seeded.post(workload, self.clients).ok_or("a workload that posts")?;
        while !self.window.is_over() {
            let started = Instant::now();
            let answer = post.send(&mut self.connection).await?;
            if answer.status != 201 {
                return Err(format!("{}: {}", workload.name(), answer.text()).into());
            }
            target.written.fetch_add(1, Ordering::Relaxed);
            self.tally.record(&self.window, started);
        }
        Ok(())
    }

    /// Reserves a credit of a random account.
    async fn reserve(&mut self) -> Result<(), Failure> {
        let target = Arc::clone(&self.target);
        let path = target.seeded.reservation(self.draws.draw()?).ok_or("an account")?;
        let started = Instant::now();
        let answer = self.connection.post(&path, r#"{"amount":1}"#).await?;
        if answer.status != 201 {
            return Err(format!("a reservation: {}", answer.text()).into());
        }
        target.written.fetch_add(1, Ordering::Relaxed);
        self.tally.record(&self.window, started);
        Ok(())
    }

    /// Creates a subscription to the plan in a random workspace.
    async fn sign_up(&mut self) -> Result<(), Failure> {
        let target = Arc::clone(&self.target);
        let draw = self.draws.draw()?;
        let body = target.seeded.sign_up(draw).ok_or("a workspace")?;
        let started = Instant::now();
        let answer = self.connection.post("/v1/subscriptions", &body).await?;
        if answer.status != 201 {
            return Err(format!("a sign-up: {}", answer.text()).into());
        }
        target.written.fetch_add(1, Ordering::Relaxed);
        self.tally.record(&self.window, started);
        Ok(())
    }
}

/// An edit that differs at every version.
fn edit(version: i64) -> String {
    format!(r#"{{"version":{version},"quantity":{}}}"#, 1 + version % 1_000_000)
}
