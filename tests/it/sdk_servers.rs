//! The Rust SDK's servers against a real server and a panel: from the order to the end.

use crate::harness::{
    ADMIN_KEY, Database, Server, Settings, both_databases, eventually,
    panel::{Kind, On, Panel, Trouble},
};
use futures::TryStreamExt;
use ifmatch::{
    Client, Code, Credits, Deploy, Environment, FeatureLimits, NewResolution, Product,
    ProductFields, ServerEntry, ServerFields, ServerId, ServerLimits, ServerStatus, ServerStep,
    Versioned, WorkspaceFields, WorkspaceId,
};
use std::{sync::Arc, time::Duration};

both_databases![
    a_server_is_ordered_suspended_and_deprovisioned,
    an_order_without_credits_or_beyond_the_limit_is_refused_by_its_code,
    an_admin_decides_about_a_server_that_the_panel_does_not_tell_of,
];

const WAIT: Duration = Duration::from_secs(30);

/// A server of its own with a panel, since the one that a scenario gets has none.
async fn with_panel(server: &Server) -> (Server, Panel) {
    let panel = Panel::start(Kind::Pterodactyl).await;
    let setting = |name: &str, value: String| (name.to_owned(), value);
    let env = vec![
        setting("IFMATCH_PANEL_URL", panel.url()),
        setting("IFMATCH_PANEL_KEY", Panel::KEY.to_owned()),
        setting("IFMATCH_PANEL_KIND", "pterodactyl".to_owned()),
    ];
    let database = Arc::new(Database::create(server.database().backend()));
    (Server::start_with(database, Settings { env, ..Settings::default() }).await, panel)
}

/// A workspace with credits, and a product that costs 5 of them, one for each workspace.
async fn shop(server: &Server, credits: i64) -> (Client, WorkspaceId, Versioned<Product>) {
    let billing = Client::builder(server.url()).key(ADMIN_KEY).build().unwrap();
    let acme = WorkspaceFields { name: "Acme".to_owned(), ..Default::default() };
    let workspace = billing.workspaces().create(acme).await.unwrap().id.clone();
    billing.credits(&workspace).top_up(credits, "order 1").await.unwrap();
    let product = ProductFields {
        name: "Small".to_owned(),
        price_credits: 5,
        egg: 1,
        docker_image: "ghcr.io/example/java:21".to_owned(),
        startup: "java -jar server.jar".to_owned(),
        environment: Environment::new(),
        limits: ServerLimits { memory: 1024, disk: 4096, ..Default::default() },
        feature_limits: FeatureLimits::default(),
        deploy: Deploy { locations: vec![1], ..Default::default() },
        max_per_workspace: Some(1),
        status: None,
    };
    let product = billing.products().create(product).await.unwrap();
    (billing, workspace, product)
}

async fn left(billing: &Client, workspace: &WorkspaceId) -> (i64, i64) {
    let Credits { available, reserved, .. } = billing.credits(workspace).get().await.unwrap();
    (available, reserved)
}

/// Waits until a server has this status.
async fn becomes(billing: &Client, id: &ServerId, status: ServerStatus) {
    eventually(&format!("{id} is {}", status.name()), async || {
        let server = billing.servers().get(id).await.unwrap();
        (server.status == status).then_some(())
    })
    .await;
}

async fn a_server_is_ordered_suspended_and_deprovisioned(server: Server) {
    let (server, panel) = with_panel(&server).await;
    let (billing, workspace, product) = shop(&server, 12).await;
    let servers = billing.servers();
    let order = ServerFields::new(workspace.clone(), product.id.clone(), "Survival", 7);
    let made = servers.create_and_wait(order, WAIT).await.unwrap();
    assert_eq!((made.status, made.name.as_str()), (ServerStatus::Active, "Survival"));
    let remote = panel.server(&made.external_id).expect("it is on the panel");
    assert_eq!((made.remote_id, panel.creates_of(&made.external_id)), (Some(remote.id), 1));
    assert_eq!(left(&billing, &workspace).await, (7, 0));

    servers.update(&made.id, |s| s.suspended = true).await.unwrap();
    let suspended = eventually("it is suspended on the panel", async || {
        let now = servers.get(&made.id).await.unwrap();
        now.suspended_on_panel.then_some(now)
    })
    .await;
    assert!(panel.server(&made.external_id).unwrap().suspended());

    let going = servers.deprovision(&made.id, suspended.version()).await.unwrap();
    assert_eq!(going.status, ServerStatus::Deprovisioning);
    becomes(&billing, &made.id, ServerStatus::Deleted).await;
    assert!(panel.server(&made.external_id).is_none());
    assert_eq!(left(&billing, &workspace).await, (7, 0), "nothing is given back");
    let error = servers.update(&made.id, |s| s.name.push('!')).await.unwrap_err();
    assert_eq!(error.code(), Some(Code::Deleted));

    let timeline = servers.timeline(&made.id).limit(2).stream();
    let timeline: Vec<ServerEntry> = timeline.try_collect().await.unwrap();
    let numbers: Vec<i64> = timeline.iter().map(|entry| entry.seq).collect();
    assert!(numbers.iter().copied().eq((1..).take(numbers.len())), "{numbers:?}");
    let has = |step| timeline.iter().any(|entry| entry.step == step);
    assert!(has(ServerStep::Switched) && has(ServerStep::Deprovisioned), "{timeline:?}");
    let (first, last) = (timeline.first().unwrap(), timeline.last().unwrap());
    assert_eq!((first.step, last.status), (ServerStep::Requested, ServerStatus::Deleted));
}

async fn an_order_without_credits_or_beyond_the_limit_is_refused_by_its_code(server: Server) {
    let (server, panel) = with_panel(&server).await;
    let (billing, workspace, product) = shop(&server, 11).await;
    let order = || ServerFields::new(workspace.clone(), product.id.clone(), "Survival", 7);
    let code = async || billing.servers().create_and_wait(order(), WAIT).await.unwrap_err().code();
    billing.servers().create_and_wait(order(), WAIT).await.unwrap();
    assert_eq!(code().await, Some(Code::ServerLimitReached));
    billing.products().update(&product.id, |p| p.max_per_workspace = None).await.unwrap();
    billing.servers().create_and_wait(order(), WAIT).await.unwrap();
    assert_eq!(code().await, Some(Code::InsufficientCredits));
    assert_eq!(panel.servers().len(), 2);
}

async fn an_admin_decides_about_a_server_that_the_panel_does_not_tell_of(server: Server) {
    let (server, panel) = with_panel(&server).await;
    let (billing, workspace, product) = shop(&server, 5).await;
    panel.script(On::Create, Trouble::LoseRequest);
    panel.always(On::LookUp, Some(Trouble::LoseRequest));
    let order = ServerFields::new(workspace.clone(), product.id.clone(), "Survival", 7);
    let servers = billing.servers();
    let lost = servers.create(order).await.unwrap();
    becomes(&billing, &lost.id, ServerStatus::PendingReconciliation).await;
    assert_eq!(left(&billing, &workspace).await, (0, 5), "neither charged nor given back");
    let failed = eventually("the decision meets the current version", async || {
        let now = servers.get(&lost.id).await.unwrap();
        let absent = NewResolution::fail("it is not on the panel");
        match servers.resolve(&lost.id, now.version(), absent).await {
            Ok(failed) => Some(failed),
            Err(error) if error.is_conflict() => None,
            Err(error) => panic!("{error}"),
        }
    })
    .await;
    assert_eq!(failed.status, ServerStatus::Failed);
    assert_eq!(left(&billing, &workspace).await, (5, 0));
}
