//! `serve`: starts everything from the database to the open port, and stops it in order.

use crate::{
    app::App,
    commands::{self, CommandError},
    config::Config,
    http::core::{
        auth::gate,
        endpoint,
        frame::{frame, no_such_path, wrong_method},
        limit::Limiter,
        openapi::DocumentText,
        problem,
        refused::Refusals,
    },
    key, keyring,
    keyring::Keyring,
    lane::{Lanes, Refusal},
    metrics::Metrics,
    reads::Reads,
    routes,
    tail::Tail,
    tls,
    workers::{self, health::Workers},
};
use actix_web::{App as ActixApp, HttpServer, middleware::from_fn, web};
use ifmatch_domain::{Action, Outcome, access};
use ifmatch_types::{ApiKeyId, Role};
use secrecy::ExposeSecret;
use std::{
    io::Write,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::Semaphore,
    time::{interval, sleep},
};
use uuid::Uuid;

/// Maximum number of open event streams.
const STREAMS_MAX: usize = 256;
/// How often recorded times are put into their buckets.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);
/// Maximum time for running requests to end when the server stops, in seconds.
const SHUTDOWN_TIMEOUT_S: u64 = 20;

/// Serves until it is told to stop.
pub fn serve(config: &Config) -> Result<(), CommandError> {
    commands::prepare(config)?;
    let io = |what: &str| {
        let what = what.to_owned();
        move |cause| CommandError::Io { what, cause }
    };
    let (lanes, lane_threads) =
        Lanes::start(&commands::lane_config(config)).map_err(io("lanes"))?;
    let reads = Arc::new(Reads::start(&config.database_url).map_err(io("reads"))?);
    let metrics =
        Metrics::install().map_err(|error| CommandError::Refused(format!("metrics: {error}")))?;
    let outcome = actix_web::rt::System::new().block_on(async {
        let keyring = Keyring::open(Arc::clone(&reads)).await?;
        let app = web::Data::new(App {
            lanes,
            tail: Tail::new(Arc::clone(&reads)),
            reads,
            keyring,
            workers: Workers::start(),
            metrics,
            stopping: AtomicBool::new(false),
            streams: Arc::new(Semaphore::new(STREAMS_MAX)),
        });
        make_first_keys(config, &app).await?;
        listen(config, app).await
    });
    for thread in lane_threads {
        // Every accepted write has been answered. A lane that panicked has logged it.
        let _ = thread.join();
    }
    tracing::info!("stopped");
    outcome
}

/// Makes the operator's admin key, or the very first key.
async fn make_first_keys(config: &Config, app: &App) -> Result<(), CommandError> {
    if let Some(admin_key) = &config.admin_key {
        let digest = key::digest_of(admin_key);
        if !app.keyring.knows(&digest) {
            add_admin_key(app, digest).await?;
        }
    } else if app.keyring.is_empty() {
        let id = fresh_id();
        let secret = key::mint(&id)
            .map_err(|error| CommandError::Refused(format!("no random numbers: {error}")))?;
        add_key(app, id, key::digest_of(&secret)).await?;
        println!("admin key, shown this once: {}", secret.expose_secret());
    }
    Ok(())
}

fn fresh_id() -> ApiKeyId {
    ApiKeyId::from_unchecked(format!("{}{}", ApiKeyId::PREFIX, Uuid::now_v7().simple()))
}

/// Makes the operator's admin key.
///
/// Several servers may start at once with the same key. One of them makes it.
async fn add_admin_key(app: &App, digest: String) -> Result<(), CommandError> {
    match add_key(app, fresh_id(), digest.clone()).await {
        Ok(()) => Ok(()),
        Err(error) => {
            app.keyring.refresh().await?;
            if app.keyring.knows(&digest) { Ok(()) } else { Err(error) }
        }
    }
}

async fn add_key(app: &App, id: ApiKeyId, digest: String) -> Result<(), CommandError> {
    let create = commands::new_key(id, "admin", Role::Admin, None, digest)?;
    match app
        .lanes
        .submit(commands::cli_command(Action::Access(access::Action::CreateApiKey(create))))
        .await
    {
        Ok(Outcome::Access(access::Outcome::ApiKeyCreated(stored))) => {
            app.keyring.put(stored);
            Ok(())
        }
        Ok(_) => Err(CommandError::Refused("the admin key could not be made".to_owned())),
        Err(Refusal::Rejected(rejection)) => {
            Err(CommandError::Refused(problem::HttpProblem::from(rejection).to_string()))
        }
        Err(_) => Err(CommandError::Refused(
            "the admin key could not be made; the log says why".to_owned(),
        )),
    }
}

async fn listen(config: &Config, app: web::Data<App>) -> Result<(), CommandError> {
    let shared = app.clone();
    let limiter = web::Data::new(Limiter::new(config.requests_per_s()));
    let refusals = web::Data::new(Refusals::default());
    let document = web::Data::new(DocumentText(routes::document().to_string()));
    let server = HttpServer::new(move || {
        ActixApp::new()
            .app_data(shared.clone())
            .app_data(limiter.clone())
            .app_data(refusals.clone())
            .app_data(document.clone())
            .configure(|config| endpoint::mount(routes::endpoints(), config, gate, wrong_method))
            .default_service(web::to(no_such_path))
            .wrap(from_fn(frame))
    })
    .workers(config.http_threads())
    // A client that has closed its side is gone. Its handler is dropped, even while it waits.
    .h1_allow_half_closed(false)
    .shutdown_timeout(SHUTDOWN_TIMEOUT_S)
    .disable_signals();
    let refused = |cause| CommandError::Io { what: format!("listen: {}", config.listen), cause };
    let server = match config.tls() {
        Some((cert, key)) => {
            let tls = tls::server_config(cert, key)
                .map_err(|error| CommandError::Setting(error.to_string()))?;
            server.bind_rustls_0_23(config.listen, tls).map_err(refused)?
        }
        None => server.bind(config.listen).map_err(refused)?,
    };
    let scheme = if config.tls().is_some() { "https" } else { "http" };
    let address = server.addrs().first().copied().unwrap_or(config.listen);
    let server = server.run();
    let handle = server.handle();
    // Signals are handled before the address is printed, because a signal may follow at once.
    let stop = StopSignals::listen()
        .map_err(|cause| CommandError::Io { what: "signals".to_owned(), cause })?;
    println!("listening on {scheme}://{address}");
    std::io::stdout()
        .flush()
        .map_err(|cause| CommandError::Io { what: "stdout".to_owned(), cause })?;

    let keeping = app.clone();
    actix_web::rt::spawn(async move { keep_up(&keeping).await });
    let following = app.clone();
    actix_web::rt::spawn(async move { following.tail.run(following.lanes.commits()).await });
    let working = app.clone();
    let drain = Duration::from_millis(config.drain_ms);
    actix_web::rt::spawn(async move { workers::run(&working).await });
    let (pruning, days) = (app.clone(), config.history_days);
    actix_web::rt::spawn(async move { workers::history::run(&pruning, days).await });
    actix_web::rt::spawn(async move {
        stop.received().await;
        app.stopping.store(true, Ordering::Relaxed);
        tracing::info!("stopping: no longer ready");
        // Load balancers that check `/readyz` send requests elsewhere from now on.
        sleep(drain).await;
        tracing::info!("stopping: no new requests, accepted writes are answered");
        handle.stop(true).await;
    });
    server.await.map_err(|cause| CommandError::Io { what: "server".to_owned(), cause })
}

/// Does periodic work: refreshes the API keys, and puts recorded times into their buckets.
async fn keep_up(app: &App) {
    let mut refresh = interval(keyring::REFRESH_INTERVAL);
    let mut upkeep = interval(UPKEEP_INTERVAL);
    loop {
        tokio::select! {
            _ = refresh.tick() => {
                let failed = app.keyring.refresh().await.err().map(|error| error.to_string());
                app.workers.keyring.record(failed.as_slice());
            }
            _ = upkeep.tick() => app.metrics.upkeep(),
        }
    }
}

/// SIGTERM and Ctrl-C.
struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    /// Handles these signals from now on. They no longer end the process.
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn received(mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
