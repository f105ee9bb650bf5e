//! Servers in flight: ordered all at once, and made on a slow panel while something is measured.

use crate::{
    Failure,
    http::Connection,
    load::Target,
    measure::{Measure, measure},
    panel::{self, Kind},
    process::KEY,
    workload::Workload,
};
use serde_json::Value;
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};
use tokio::{
    runtime::{Builder, Runtime},
    time::sleep,
};

/// The number of servers that are ordered at once.
const SERVERS: usize = 1_000;
/// How long the panel takes for a call.
const LATENCY: Duration = Duration::from_secs(2);
/// Concurrent connections for orders. Orders are writes, too: a burst of them would be measured
/// instead of servers in flight.
const CONNECTIONS: usize = 2;
/// Pause between two looks at whether all servers are made.
const PACE: Duration = Duration::from_millis(200);
/// Maximum time until all servers are made.
const PATIENCE: Duration = Duration::from_secs(300);

/// The panel of every measured Ifmatch, in this process. It works on a thread of its own.
pub struct Panel {
    panel: panel::Panel,
    _runtime: Runtime,
}

impl Panel {
    pub fn start() -> Result<Self, Failure> {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let panel = runtime.block_on(panel::Panel::start(Kind::Pterodactyl));
        panel.set_latency(LATENCY);
        Ok(Self { panel, _runtime: runtime })
    }

    /// The settings of a server that uses it.
    pub fn settings(&self) -> [(&'static str, String); 2] {
        let key = panel::Panel::KEY.to_owned();
        [("IFMATCH_PANEL_URL", self.panel.url()), ("IFMATCH_PANEL_KEY", key)]
    }
}

/// Measures updates while servers are in flight. Returns when all of them are active.
pub fn measure_updates(
    target: &Arc<Target>,
    clients: usize,
    seconds: u64,
) -> Result<Measure, Failure> {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let making = scope.spawn(|| {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(keep_making(target, &is_over))
        });
        let measured = measure(target, Workload::Provisioning, clients, seconds);
        is_over.store(true, Ordering::Relaxed);
        let slowest = making.join().map_err(|_| "the orders panicked")??;
        Ok(Measure { servers_s: Some(slowest.as_secs_f64()), ..measured? })
    })
}

/// Orders servers, and again when all of them are made, until the measurement is over.
///
/// Returns the longest time from the first order of a round until its last server was active.
async fn keep_making(target: &Arc<Target>, is_over: &AtomicBool) -> Result<Duration, Failure> {
    let address = target.address(0)?;
    let mut slowest = Duration::ZERO;
    while !is_over.load(Ordering::Relaxed) {
        let began_at = Instant::now();
        let mut parts = Vec::new();
        for _ in 0..CONNECTIONS {
            parts.push(tokio::spawn(order(address, target.order()?)));
        }
        for part in parts {
            part.await??;
        }
        all_active(address, began_at).await?;
        slowest = slowest.max(began_at.elapsed());
    }
    Ok(slowest)
}

async fn order(address: SocketAddr, body: String) -> Result<(), Failure> {
    let mut connection = Connection::open(address, KEY).await?;
    for _ in 0..SERVERS / CONNECTIONS {
        let answer = connection.post("/v1/servers", &body).await?;
        if answer.status != 202 {
            return Err(format!("an order: {}", answer.text()).into());
        }
    }
    Ok(())
}

async fn all_active(address: SocketAddr, began_at: Instant) -> Result<(), Failure> {
    let mut connection = Connection::open(address, KEY).await?;
    while has_servers(&mut connection, "provisioning").await? {
        if began_at.elapsed() > PATIENCE {
            return Err(format!("the servers are not made after {PATIENCE:?}").into());
        }
        sleep(PACE).await;
    }
    for status in ["pending_reconciliation", "failed"] {
        if has_servers(&mut connection, status).await? {
            return Err(format!("a server is {status}").into());
        }
    }
    Ok(())
}

async fn has_servers(connection: &mut Connection, status: &str) -> Result<bool, Failure> {
    let answer = connection.get(&format!("/v1/servers?status={status}&limit=1")).await?;
    if answer.status != 200 {
        return Err(format!("a list: {}", answer.text()).into());
    }
    let page: Value = serde_json::from_slice(answer.body)?;
    let items = page.get("items").and_then(Value::as_array).ok_or("items")?;
    Ok(!items.is_empty())
}
