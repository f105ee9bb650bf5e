//! Servers are ordered on a panel that fails in many ways, and each is charged exactly if it exists.
//!
//! `cargo run --release --example provision -- --servers 24`
//!
//! The panel is the one that the tests use: it loses answers, succeeds late, takes back what it has
//! made, and refuses. The server is always a private one, because it knows its panel from its start.
//! Exit code 1 unless the charges equal the price of the active servers, the panel has exactly
//! these, and it made none of them twice.

#[path = "../../tests/support/panel/mod.rs"]
mod panel;
#[path = "../support/mod.rs"]
mod support;
mod tables;
mod troubles;
mod verdict;

use clap::Parser;
use futures::{TryStreamExt, future::try_join_all};
use ifmatch::{
    Client, Deploy, Environment, FeatureLimits, PanelObservation, ProductFields, ProductId, Server,
    ServerFields, ServerLimits, ServerStatus, Transfer, Versioned, WorkspaceFields, WorkspaceId,
};
use panel::{Kind, On, Panel};
use std::{
    process::ExitCode,
    time::{Duration, Instant},
};
use support::Result;
use tokio::time::sleep;

/// The price of a server.
const PRICE: i64 = 5;
/// Maximum time until everything is settled.
const PATIENCE: Duration = Duration::from_secs(45);
/// Windows for a panel that takes milliseconds instead of minutes.
const WINDOWS: [(&str, &str); 4] = [
    ("IFMATCH_PANEL_TIMEOUT_MS", "400"),
    ("IFMATCH_SETTLE_MS", "600"),
    ("IFMATCH_ABSENT_GAP_MS", "200"),
    ("IFMATCH_RECONCILE_MS", "100"),
];

/// Servers are ordered on a panel that fails in many ways, and each is charged exactly if it exists.
#[derive(Parser)]
struct Args {
    /// The number of servers.
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u8).range(1..=200))]
    servers: u8,
    /// The private server's database; a new SQLite file if left out.
    #[arg(long, default_value = "sqlite://ifmatch.db", hide_default_value = true)]
    database_url: String,
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let args = Args::parse();
    let panel = Panel::start(Kind::Pterodactyl).await;
    let url = panel.url();
    let named = [("IFMATCH_PANEL_URL", url.as_str()), ("IFMATCH_PANEL_KEY", Panel::KEY)];
    let server = support::Server::start(&args.database_url, &[&named[..], &WINDOWS].concat())?;
    println!("started a panel at {url}, and a private server at {}\n", server.url());
    let billing = server.client()?;

    let troubled = troubles::script(&panel, args.servers);
    let workspace = WorkspaceFields { name: "Acme".to_owned(), ..Default::default() };
    let workspace = billing.workspaces().create(workspace).await?.id.clone();
    let product = make_product(&billing).await?;
    let bought = PRICE * i64::from(args.servers);
    let account = billing.credits(&workspace);
    account.top_up(bought, "order 4711").await?;
    println!(
        "{bought} credits are bought, and {} servers at {PRICE} are ordered; {troubled} of the \
         calls that create them meet a trouble:",
        args.servers
    );
    order(&billing, &workspace, &product, args.servers).await?;
    let servers = settle(&billing, &workspace, &panel).await?;

    for (trouble, name) in troubles::shown() {
        let met = panel.calls_of(On::Create).into_iter().find(|call| call.trouble == Some(trouble));
        let id = met.and_then(|call| call.external_id);
        if let Some(server) = servers.iter().find(|server| Some(&server.external_id) == id.as_ref())
        {
            let timeline = billing.servers().timeline(&server.id).stream();
            tables::print_timeline(server, name, &timeline.try_collect::<Vec<_>>().await?);
        }
    }
    let transfers: Vec<Transfer> = account.transfers().limit(200).stream().try_collect().await?;
    let left = account.get().await?;
    tables::print_ledger(&transfers, &left);
    let is_exact = verdict::print(&servers, &transfers, &left, &panel);
    Ok(if is_exact { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn make_product(billing: &Client) -> Result<ProductId> {
    let product = ProductFields {
        name: "Small".to_owned(),
        price_credits: PRICE,
        egg: 1,
        docker_image: "ghcr.io/example/java:21".to_owned(),
        startup: "java -jar server.jar".to_owned(),
        environment: Environment::new(),
        limits: ServerLimits { memory: 1024, disk: 4096, ..Default::default() },
        feature_limits: FeatureLimits::default(),
        deploy: Deploy { locations: vec![1], ..Default::default() },
        max_per_workspace: None,
        status: None,
    };
    Ok(billing.products().create(product).await?.id.clone())
}

/// Orders all servers at the same time.
async fn order(
    billing: &Client,
    workspace: &WorkspaceId,
    product: &ProductId,
    count: u8,
) -> Result<()> {
    let servers = billing.servers();
    let orders = (1..=count).map(|number| {
        let name = format!("Castle {number}");
        let fields = ServerFields::new(workspace.clone(), product.clone(), name, 7);
        let order = servers.create(fields);
        async move { order.await }
    });
    try_join_all(orders).await?;
    Ok(())
}

/// Shows how far the servers have come, until the panel and the server agree for good.
async fn settle(
    billing: &Client,
    workspace: &WorkspaceId,
    panel: &Panel,
) -> Result<Vec<Versioned<Server>>> {
    use ServerStatus::{Active, Failed, PendingReconciliation, Provisioning};
    let began_at = Instant::now();
    let mut shown = [0; 5];
    while began_at.elapsed() < PATIENCE {
        // The panel first: an orphan that is gone from it was found, and the list tells that.
        let (there, are_over) = (panel.servers().len(), troubles::are_over(panel));
        let list = billing.servers().list().filter("workspace_id", workspace).limit(200);
        let servers: Vec<Versioned<Server>> = list.stream().try_collect().await?;
        let of = |status| servers.iter().filter(|server| server.status == status).count();
        let is_orphan = |server: &Versioned<Server>| {
            server.status == Failed && server.last_observation == Some(PanelObservation::Found)
        };
        let counts = [of(Provisioning), of(PendingReconciliation), of(Active), of(Failed), there];
        if counts != shown {
            shown = counts;
            let [ordered, in_doubt, active, failed, there] = counts;
            println!(
                "{:6.1} s  ordered {ordered:3}  in doubt {in_doubt:3}  active {active:3}  \
                 failed {failed:3}  on the panel {there:3}",
                began_at.elapsed().as_secs_f64()
            );
        }
        let is_decided = of(Active) + of(Failed) == servers.len();
        let is_quiet = are_over && !servers.iter().any(is_orphan);
        if is_decided && is_quiet && there == of(Active) {
            return Ok(servers);
        }
        sleep(Duration::from_millis(100)).await;
    }
    Err(format!("not settled after {PATIENCE:?}").into())
}
