//! The load on locks: pairs of an acquire and a release, apart and in a queue.
//!
//! A hand-over is measured from before the release is sent until the next client has its grant. The
//! clients share a process and a clock. They also check that nobody else holds the lock.

mod etcd;
mod redis;

use crate::{
    Failure,
    http::Connection,
    load::{Tally, Target, Window},
    process::KEY,
    system::System,
    workload::Workload,
};
use etcd::EtcdLocks;
use redis::RedisLocks;
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

/// How long a grant would last. Each is released long before.
const TTL_MS: u64 = 60_000;
/// How long a client waits in one request, the maximum that the API allows.
const WAIT_MS: u64 = 45_000;

/// What the clients of a contended lock share.
pub struct Handover {
    epoch: Instant,
    /// When the latest holder began to release, in nanoseconds since the epoch; 0: nobody did yet.
    released_at: AtomicU64,
    holders: AtomicUsize,
}

impl Handover {
    pub fn new() -> Self {
        Self { epoch: Instant::now(), released_at: AtomicU64::new(0), holders: AtomicUsize::new(0) }
    }

    /// Notes a grant and returns when the holder before began to release.
    fn granted(&self) -> Result<Option<Instant>, Failure> {
        if self.holders.fetch_add(1, Ordering::SeqCst) > 0 {
            return Err("two clients hold the same lock".into());
        }
        let released_at = self.released_at.load(Ordering::SeqCst);
        Ok(self.epoch.checked_add(Duration::from_nanos(released_at)).filter(|_| released_at > 0))
    }

    fn releases(&self) -> Result<(), Failure> {
        let now = u64::try_from(self.epoch.elapsed().as_nanos())?;
        self.released_at.store(now, Ordering::SeqCst);
        self.holders.fetch_sub(1, Ordering::SeqCst);
        Ok(())
    }
}

/// A connection to the locks of one of the systems.
enum Locks {
    Ifmatch(Connection),
    Etcd(EtcdLocks),
    Redis(RedisLocks),
}

impl Locks {
    async fn open(system: System, address: SocketAddr) -> Result<Self, Failure> {
        Ok(match system {
            System::Etcd => Self::Etcd(EtcdLocks::open(address).await?),
            System::Redis => Self::Redis(RedisLocks::open(address).await?),
            _ => Self::Ifmatch(Connection::open(address, KEY).await?),
        })
    }

    /// Acquires a lock, after those who wait for it, and returns what its release needs.
    async fn acquire(&mut self, name: &str) -> Result<String, Failure> {
        match self {
            Self::Ifmatch(connection) => {
                let body = format!(r#"{{"ttl_ms":{TTL_MS},"wait_ms":{WAIT_MS}}}"#);
                let path = format!("/v1/locks/{name}/acquire");
                let answer = connection.post_once(&path, &body).await?;
                match answer.text_of("owner") {
                    Some(owner) if answer.status == 201 => Ok(owner.to_owned()),
                    _ => Err(format!("an acquire: {}", answer.text()).into()),
                }
            }
            Self::Etcd(locks) => locks.acquire(name).await,
            Self::Redis(locks) => locks.acquire(name).await,
        }
    }

    async fn release(&mut self, name: &str, grant: &str) -> Result<(), Failure> {
        match self {
            Self::Ifmatch(connection) => {
                let body = format!(r#"{{"owner":"{grant}"}}"#);
                let path = format!("/v1/locks/{name}/release");
                let answer = connection.post_once(&path, &body).await?;
                if answer.status == 200 {
                    return Ok(());
                }
                Err(format!("a release: {}", answer.text()).into())
            }
            Self::Etcd(locks) => locks.release(grant).await,
            Self::Redis(locks) => locks.release(name, grant).await,
        }
    }
}

/// Acquires and releases until the window closes.
pub async fn run(
    target: Arc<Target>,
    workload: Workload,
    (number, clients): (usize, usize),
    window: Window,
) -> Result<Tally, Failure> {
    let mut locks = Locks::open(target.system, target.address(number)?).await?;
    let is_shared = workload == Workload::LockHandover;
    // Twelve characters of base64, because etcd reads names as that.
    let name = format!("lock{clients:04}{:04}", if is_shared { 9999 } else { number });
    let mut tally = Tally::default();
    while !window.is_over() {
        let started = Instant::now();
        let grant = locks.acquire(&name).await?;
        if is_shared {
            if let Some(released_at) = target.handover.granted()? {
                tally.record(&window, released_at);
            }
            target.handover.releases()?;
        }
        locks.release(&name, &grant).await?;
        // The database counts a version for each of the two.
        target.written.fetch_add(2, Ordering::Relaxed);
        if !is_shared {
            tally.record(&window, started);
        }
    }
    Ok(tally)
}
