//! One cell: a workload and a number of clients, measured for a few seconds.

use crate::{
    Failure,
    load::{Client, Tally, Target, Window},
    locks, peers, sdk,
    system::Form,
    workload::Workload,
};
use serde::Serialize;
use std::sync::Arc;

/// The result of one run of a cell.
#[derive(Clone, Debug, Serialize)]
pub struct Measure {
    /// Operations per second.
    pub rate: f64,
    pub p50_us: u64,
    pub p99_us: u64,
    /// Refusals because another client was first.
    pub conflicts: u64,
    /// What the slowest client did, as a part of what the fastest did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slowest_share: Option<f64>,
    /// How long all servers took, in seconds, if some were made meanwhile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub servers_s: Option<f64>,
}

impl Measure {
    pub fn new(rate: f64, mut latencies_us: Vec<u64>, conflicts: u64) -> Self {
        latencies_us.sort_unstable();
        let percentile = |hundredths: usize| {
            let place = latencies_us.len().saturating_mul(hundredths) / 100;
            latencies_us.get(place).copied().unwrap_or_default()
        };
        let (p50_us, p99_us) = (percentile(50), percentile(99));
        Self { rate, p50_us, p99_us, conflicts, slowest_share: None, servers_s: None }
    }
}

/// Runs one cell against a server.
pub fn measure(
    target: &Arc<Target>,
    workload: Workload,
    clients: usize,
    seconds: u64,
) -> Result<Measure, Failure> {
    let window = Window::from_now(seconds).ok_or("a time that the clock can tell")?;
    let threads = threads().min(clients);
    let mut running = Vec::new();
    for thread in 0..threads {
        let target = Arc::clone(target);
        let mine: Vec<usize> = (0..clients).filter(|number| number % threads == thread).collect();
        running.push(std::thread::spawn(move || -> Result<Tally, Failure> {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let load = run_clients(target, workload, mine, clients, window);
            tokio::task::LocalSet::new().block_on(&runtime, load)
        }));
    }
    let mut tally = Tally::default();
    for thread in running {
        tally.add(thread.join().map_err(|_| "a client panicked")??);
    }
    let operations = u32::try_from(tally.latencies_us.len())?;
    let rate = f64::from(operations) / f64::from(u32::try_from(seconds)?);
    let slowest_share = slowest_share(&tally.shares)?;
    Ok(Measure { slowest_share, ..Measure::new(rate, tally.latencies_us, tally.conflicts) })
}

fn slowest_share(shares: &[usize]) -> Result<Option<f64>, Failure> {
    let (Some(slowest), Some(fastest)) = (shares.iter().min(), shares.iter().max()) else {
        return Ok(None);
    };
    let (slowest, fastest) = (u32::try_from(*slowest)?, u32::try_from(*fastest)?);
    Ok((shares.len() > 1 && fastest > 0).then(|| f64::from(slowest) / f64::from(fastest)))
}

async fn run_clients(
    target: Arc<Target>,
    workload: Workload,
    numbers: Vec<usize>,
    clients: usize,
    window: Window,
) -> Result<Tally, Failure> {
    let sdk = (workload == Workload::HotSdk).then(|| sdk::client(&target)).transpose()?;
    let mut running = Vec::new();
    for number in numbers {
        let (target, sdk) = (Arc::clone(&target), sdk.clone());
        running.push(tokio::task::spawn_local(async move {
            match sdk {
                Some(sdk) => sdk::run(sdk, target, window).await,
                None if workload.is_lock() => {
                    locks::run(target, workload, (number, clients), window).await
                }
                None if target.system.form() == Form::Peer => {
                    peers::run(target, (number, clients), window).await
                }
                None => {
                    let client = Client::connect(target, number, clients, window).await?;
                    client.run(workload).await
                }
            }
        }));
    }
    let mut tally = Tally::default();
    for client in running {
        tally.add_client(client.await??);
    }
    Ok(tally)
}

/// The load gets a quarter of the processors, at least one.
fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get().div_ceil(4))
}
