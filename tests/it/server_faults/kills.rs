//! A thousand servers, a panel in bad weather, and processes that are killed all the time.

use super::invariants::{CREDITS, PRICE, assert_all_is_right};
use crate::{
    harness::{
        Api, Server, id,
        panel::{Chaos, Kind, Panel},
        postgres_only, unique, with,
    },
    servers::{Shop, alone, settings_with},
};
use serde_json::{Value, json};
use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, timeout},
};

postgres_only![a_thousand_servers_outlive_their_processes];

/// Kills, one about each second.
const ROUNDS: usize = 20;
/// Servers ordered in each round.
const ORDERS: usize = 50;
/// The round in which a process is frozen instead of killed.
const FREEZE: usize = 5;
/// Longer than a claim: other processes go on with the frozen one's servers.
const FROZEN: Duration = Duration::from_millis(7_000);
/// The longest wait for the answer to an order.
const ANSWER_MAX: Duration = Duration::from_secs(3);
/// The seed of the panel's troubles and of the kills.
const SEED: u64 = 20_261_129;

/// A create is settled 6 s after its begin. The panel never takes longer than 2 s to undo it, so
/// that a busy machine may delay either side by 4 s.
const WINDOWS: [(&str, &str); 4] = [
    ("IFMATCH_PANEL_TIMEOUT_MS", "3000"),
    ("IFMATCH_SETTLE_MS", "3000"),
    ("IFMATCH_ABSENT_GAP_MS", "300"),
    ("IFMATCH_RECONCILE_MS", "200"),
];
const CHAOS: Chaos = Chaos { seed: SEED, percent: 40, within: Duration::from_secs(2) };

/// The processes as their clients know them. The port changes with each start.
type Apis = Arc<Mutex<Vec<Api>>>;

async fn a_thousand_servers_outlive_their_processes(server: Server) {
    let panel = Panel::start(Kind::Pelican).await;
    panel.set_calls_per_minute(None);
    let first = Server::start_with(alone(server), settings_with(&panel, WINDOWS)).await;
    let (second, third) = (first.sibling().await, first.sibling().await);
    let mut processes = [first, second, third];
    let mut shops = Vec::new();
    for _ in 0..8 {
        shops.push(Shop::open(&processes[0].api(), &panel, CREDITS, PRICE).await);
    }
    panel.chaos(Some(CHAOS));
    let ordered = order_under_kills(&mut processes, &shops).await;
    panel.heal();
    panel.set_calls_per_minute(None);
    let servers = assert_all_is_right(&processes[0], &panel, &shops).await;
    let found: HashSet<&str> = servers.iter().map(id).collect();
    assert_eq!(servers.len(), ROUNDS * ORDERS, "each order is one server");
    assert!(ordered.iter().all(|id| found.contains(id.as_str())), "no acknowledged order is lost");
    let active = servers.iter().filter(|server| server["status"] == "active").count();
    assert!((1..servers.len()).contains(&active), "{active} active: some fail, not all");
}

/// Orders servers from all processes while one after the other is killed. Returns their ids.
async fn order_under_kills(processes: &mut [Server; 3], shops: &[Shop]) -> Vec<String> {
    let apis: Apis = Arc::new(Mutex::new(processes.iter().map(Server::api).collect()));
    let mut random = fastrand::Rng::with_seed(SEED);
    let mut frozen: Option<(usize, Instant)> = None;
    let mut orders = JoinSet::new();
    // The pace of the kills, and not a wait for anything.
    let mut pace = interval(Duration::from_secs(1));
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for round in 0..ROUNDS {
        for n in 0..ORDERS {
            let suspended = json!({"suspended": n % 4 == 0});
            let body = with(shops[n % shops.len()].order(), &suspended);
            orders.spawn(order(apis.clone(), n, body));
        }
        pace.tick().await;
        if let Some((n, _)) = frozen.take_if(|(_, since)| since.elapsed() > FROZEN) {
            processes[n].thaw();
        }
        let others: Vec<usize> = (0..3).filter(|n| frozen.is_none_or(|(it, _)| it != *n)).collect();
        let victim = others[random.usize(..others.len())];
        if round == FREEZE {
            processes[victim].freeze().await;
            frozen = Some((victim, Instant::now()));
            continue;
        }
        processes[victim].kill9().await;
        processes[victim].restart().await;
        apis.lock().unwrap()[victim] = processes[victim].api();
    }
    assert!(frozen.is_none(), "the frozen process went on while others were killed");
    orders.join_all().await
}

/// Orders a server from one process or another until one answers.
async fn order(apis: Apis, first: usize, body: Value) -> String {
    let key = unique("outlive");
    for n in first.. {
        let api = apis.lock().unwrap()[n % 3].clone();
        let call = api.post("/v1/servers", &body).key(&key).send();
        // No answer: its process was killed or is frozen.
        let Ok(Ok(answer)) = timeout(ANSWER_MAX, call).await else { continue };
        match answer.status {
            202 => return id(&answer.body).to_owned(),
            status => assert_eq!(status, 503, "{}", answer.text),
        }
    }
    unreachable!("it is ordered until there is an answer")
}
