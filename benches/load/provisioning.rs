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
    sync::Arc,
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
/// Concurrent connections for orders.
const CONNECTIONS: usize = 20;
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
///
/// The servers are ordered before: orders are writes, too, and would be measured instead.
///
/// # Errors
///
/// Also if the servers are made before the measurement is over.
pub fn measure_updates(
    target: &Arc<Target>,
    clients: usize,
    seconds: u64,
) -> Result<Measure, Failure> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let began_at = Instant::now();
    let address = target.address(0)?;
    runtime.block_on(order_all(target))?;
    let measured = measure(target, Workload::Provisioning, clients, seconds)?;
    runtime.block_on(async {
        let mut connection = Connection::open(address, KEY).await?;
        if !has_servers(&mut connection, "provisioning").await? {
            return Err("the servers were made before the end: measure for fewer seconds".into());
        }
        all_active(&mut connection, began_at).await
    })?;
    Ok(Measure { servers_s: Some(began_at.elapsed().as_secs_f64()), ..measured })
}

async fn order_all(target: &Target) -> Result<(), Failure> {
    let address = target.address(0)?;
    let mut parts = Vec::new();
    for _ in 0..CONNECTIONS {
        parts.push(tokio::spawn(order(address, target.order()?)));
    }
    for part in parts {
        part.await??;
    }
    Ok(())
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

async fn all_active(connection: &mut Connection, began_at: Instant) -> Result<(), Failure> {
    while has_servers(connection, "provisioning").await? {
        if began_at.elapsed() > PATIENCE {
            return Err(format!("the servers are not made after {PATIENCE:?}").into());
        }
        sleep(PACE).await;
    }
    for status in ["pending_reconciliation", "failed"] {
        if has_servers(connection, status).await? {
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
