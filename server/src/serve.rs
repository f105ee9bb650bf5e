//! `serve`: starts everything from the database to the open port, and stops it in order.

use crate::{
    app::App,
    budget::Budget,
    commands::{self, CommandError, WantedKey},
    config::Config,
    http::{
        core::{
            auth::gate,
            denials::{self, Denials},
            endpoint,
            frame::{PublicUrl, frame, no_such_path, wrong_method},
            limit::Limiter,
            openapi::DocumentText,
            ops::Readiness,
            problem,
            refused::Refusals,
        },
        lock::{Locks, look},
    },
    key, keyring,
    keyring::Keyring,
    lane::{Lanes, Refusal},
    listener::{self, Door, Listening, Places},
    metrics::Metrics,
    panel::{Panel, PanelConfig, PanelError},
    reads::Reads,
    routes, streams,
    tail::Tail,
    tls,
    workers::{self, health::Workers},
};
use actix_web::{App as ActixApp, middleware::from_fn, web};
use ifmatch_domain::{Action, Outcome, Rejection, access, core, lock::OwnerSecret};
use ifmatch_types::{ApiKeyId, Role};
use sd_notify::NotifyState;
use secrecy::ExposeSecret;
use std::{
    io::{ErrorKind, Write},
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::{interval, sleep},
};

/// The name of the admin keys that a server makes at its start.
const ADMIN: &str = "admin";
/// Maximum number of keys whose use is stored in one commit.
const USES_MAX: usize = 100;
/// Maximum bytes of large answers that wait for their clients.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Maximum bytes of large answers that wait for the clients of one key.
const ANSWER_BYTES_MAX_PER_KEY: usize = 16 * 1024 * 1024;
/// How often recorded times are put into their buckets.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);
/// Maximum time for running requests to end when the server stops, in seconds.
const SHUTDOWN_TIMEOUT_S: u64 = 20;
/// Maximum time from the end of the drain to the end of the process, in seconds.
const STOP_TIMEOUT_S: u64 = 27;

/// Serves until it is told to stop.
pub fn serve(config: &Config) -> Result<(), CommandError> {
    let panel = panel(config)?;
    let lanes = config.lanes().saturating_add(usize::from(config.has_background_lane()));
    commands::prepare(config, lanes.saturating_add(Reads::MAX_CONNECTIONS))?;
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
        let secret = lock_secret(config, &reads).await?;
        let app = web::Data::new(App {
            lanes,
            tail: Tail::new(Arc::clone(&reads)),
            reads,
            keyring,
            workers: Workers::start(),
            denials: Denials::default(),
            readiness: Readiness::default(),
            metrics,
            answers: Budget::new(ANSWER_BYTES_MAX, ANSWER_BYTES_MAX_PER_KEY),
            stopping: AtomicBool::new(false),
            places: Places::new(
                config.connections(),
                config.connections_per_address(),
                &config.trusted_proxies(),
            ),
            locks: Locks { room: Arc::default(), secret },
            windows: config.windows(),
            streams: Arc::default(),
        });
        make_first_keys(config, &app).await?;
        listen(config, app, panel).await
    });
    for thread in lane_threads {
        // Every accepted write has been answered. A lane that panicked has logged it.
        let _ = thread.join();
    }
    tracing::info!("stopped");
    outcome
}

/// Makes the operator's admin key, or the very first key.
///
/// Several servers may start at once. The name of a living key is unique, so one of them makes it.
async fn make_first_keys(config: &Config, app: &App) -> Result<(), CommandError> {
    if let Some(admin_key) = &config.admin_key {
        let digest = key::digest_of(admin_key);
        if !app.keyring.knows(&digest) {
            add_admin_key(app, digest).await?;
        }
    } else if app.keyring.is_empty() {
        let id = key::fresh_id();
        let secret = key::mint(&id)
            .map_err(|error| CommandError::Refused(format!("no random numbers: {error}")))?;
        if add_key(app, id, ADMIN, key::digest_of(&secret)).await? {
            println!("admin key, shown this once: {}", secret.expose_secret());
        } else {
            // Another process has just made it, and shows it.
            app.keyring.refresh().await?;
        }
    }
    Ok(())
}

/// The secret that owner tokens of locks are derived from: the operator's, else the one that the
/// first server made.
async fn lock_secret(config: &Config, reads: &Reads) -> Result<OwnerSecret, CommandError> {
    let secret = match &config.secret {
        Some(secret) => secret.expose_secret().to_owned(),
        None => {
            let fresh = key::random_digits()
                .map_err(|error| CommandError::Refused(format!("no random numbers: {error}")))?;
            reads.run(move |db| db.lock_secret(&fresh)).await?
        }
    };
    Ok(OwnerSecret::new(secret.as_bytes()))
}

/// Makes the operator's admin key.
///
/// If another living key is named `admin`, such as the operator's last one, the name has a part of
/// the key's id behind it.
async fn add_admin_key(app: &App, digest: String) -> Result<(), CommandError> {
    let id = key::fresh_id();
    let tail: String = id.as_str().chars().rev().take(8).collect();
    for name in [ADMIN.to_owned(), format!("{ADMIN}-{tail}")] {
        let added = add_key(app, id.clone(), &name, digest.clone()).await;
        if matches!(added, Ok(true)) {
            return Ok(());
        }
        app.keyring.refresh().await?;
        if app.keyring.knows(&digest) {
            return Ok(());
        }
        added?;
    }
    Err(CommandError::Refused("another admin key has just been made; start again".to_owned()))
}

/// Makes an admin key. Returns whether the name was free.
async fn add_key(
    app: &App,
    id: ApiKeyId,
    name: &str,
    digest: String,
) -> Result<bool, CommandError> {
    let create = commands::new_key(id, name, Role::Admin, WantedKey::default(), digest)?;
    let create = Action::Access(access::Action::CreateApiKey(create));
    match app.lanes.submit(commands::cli_command(create)).await {
        Ok(Outcome::Access(access::Outcome::ApiKeyCreated(stored))) => {
            app.keyring.put(stored);
            Ok(true)
        }
        Ok(_) => Err(CommandError::Refused("the admin key could not be made".to_owned())),
        Err(Refusal::Rejected(Rejection::Core(core::Rejection::AlreadyExists { .. }))) => Ok(false),
        Err(Refusal::Rejected(rejection)) => {
            Err(CommandError::Refused(problem::HttpProblem::from(rejection).to_string()))
        }
        Err(_) => Err(CommandError::Refused(
            "the admin key could not be made; the log says why".to_owned(),
        )),
    }
}

async fn listen(
    config: &Config,
    app: web::Data<App>,
    panel: Option<Panel>,
) -> Result<(), CommandError> {
    let limiter = web::Data::new(Limiter::new(config.requests_per_s()));
    let trusted_proxies = web::Data::new(config.trusted_proxies());
    let listening = Listening {
        threads: config.http_threads(),
        keep_alive: Duration::from_secs(config.keep_alive_s),
        shutdown_timeout_s: SHUTDOWN_TIMEOUT_S,
        places: Arc::clone(&app.places),
        door: Door {
            app: app.clone(),
            limiter: limiter.clone(),
            trusted_proxies: trusted_proxies.clone(),
        },
    };
    let refusals = web::Data::new(Refusals::default());
    let document = routes::document(config.public_url.as_deref());
    let document = web::Data::new(DocumentText(document.to_string()));
    let public_url = web::Data::new(PublicUrl(config.public_url.clone()));
    let shared = app.clone();
    let application = move || {
        ActixApp::new()
            .app_data(shared.clone())
            .app_data(limiter.clone())
            .app_data(trusted_proxies.clone())
            .app_data(refusals.clone())
            .app_data(document.clone())
            .app_data(public_url.clone())
            .configure(|config| endpoint::mount(routes::endpoints(), config, gate, wrong_method))
            .default_service(web::to(no_such_path))
            .wrap(from_fn(frame))
    };
    let refused = |cause| CommandError::Io { what: format!("listen: {}", config.listen), cause };
    let port = TcpListener::bind(config.listen).map_err(|cause| match cause.kind() {
        ErrorKind::AddrInUse => CommandError::Refused(format!(
            "listen: {}: {cause}; stop that program or choose another --listen",
            config.listen
        )),
        _ => refused(cause),
    })?;
    let address = port.local_addr().map_err(refused)?;
    let tls = match config.tls() {
        Some((cert, key)) => Some(
            tls::server_config(cert, key)
                .map_err(|error| CommandError::Setting(error.to_string()))?,
        ),
        None => None,
    };
    let scheme = if tls.is_some() { "https" } else { "http" };
    let server = listener::serve(&listening, port, tls, application).map_err(refused)?;
    let handle = server.handle();
    // Signals are handled before the address is printed, because a signal may follow at once.
    let stop = StopSignals::listen()
        .map_err(|cause| CommandError::Io { what: "signals".to_owned(), cause })?;
    tell_systemd(&[NotifyState::Ready]);
    println!("listening on {scheme}://{address}");
    std::io::stdout()
        .flush()
        .map_err(|cause| CommandError::Io { what: "stdout".to_owned(), cause })?;

    let (keeping, denying) = (app.clone(), app.clone());
    actix_web::rt::spawn(async move { keep_up(&keeping).await });
    let following = app.clone();
    actix_web::rt::spawn(async move { following.tail.run(following.lanes.commits()).await });
    let watching = app.clone();
    actix_web::rt::spawn(async move { streams::watch(&watching).await });
    let working = app.clone();
    let drain = Duration::from_millis(config.drain_ms);
    actix_web::rt::spawn(async move { workers::run(&working).await });
    let waiting = app.clone();
    actix_web::rt::spawn(async move { look::watch(&waiting).await });
    let sweeping = app.clone();
    actix_web::rt::spawn(async move { workers::locks::run(&sweeping).await });
    let watching = app.clone();
    actix_web::rt::spawn(async move { workers::reservations::run(&watching).await });
    let watching = app.clone();
    actix_web::rt::spawn(async move { workers::unsettled::run(&watching).await });
    let billing = app.clone();
    let every = Some(config.billing_interval_ms).filter(|ms| *ms > 0).map(Duration::from_millis);
    actix_web::rt::spawn(async move { workers::billing::run(&billing, every).await });
    if let Some(panel) = panel {
        actix_web::rt::spawn(workers::servers::run(app.clone(), panel));
    }
    let redacting = app.clone();
    actix_web::rt::spawn(async move { workers::redactions::run(&redacting).await });
    let (pruning, days) = (app.clone(), config.history_days);
    actix_web::rt::spawn(async move { workers::history::run(&pruning, days).await });
    actix_web::rt::spawn(async move {
        stop.received().await;
        app.stopping.store(true, Ordering::Relaxed);
        app.locks.room.close();
        app.lanes.end_turns();
        tell_systemd(&[NotifyState::Stopping]);
        tracing::info!("stopping: no longer ready");
        // Load balancers that check `/readyz` send requests elsewhere from now on.
        sleep(drain).await;
        end_within(Duration::from_secs(STOP_TIMEOUT_S));
        tracing::info!("stopping: no new requests, accepted writes are answered");
        handle.stop(true).await;
    });
    let ended = server.await;
    denials::record(&denying, denying.denials.all()).await;
    ended.map_err(|cause| CommandError::Io { what: "server".to_owned(), cause })
}

/// Tells systemd about this process, if it wants to know (`Type=notify`).
fn tell_systemd(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "systemd could not be told");
    }
}

/// Ends the process after this time, whatever is still running.
///
/// A database that does not answer cannot be waited for: a commit or a read hangs in it. To the
/// caller of such a write this is a crash, after which the write took place or did not.
fn end_within(limit: Duration) {
    std::thread::spawn(move || {
        std::thread::sleep(limit);
        tracing::error!("stopped, although the database has not answered everything yet");
        std::process::exit(1);
    });
}

/// The panel that servers are made on, if one is configured.
fn panel(config: &Config) -> Result<Option<Panel>, CommandError> {
    let Some((url, key)) = config.panel_url.as_deref().zip(config.panel_key.as_ref()) else {
        return Ok(None);
    };
    let wrong = |error: &dyn std::fmt::Display| {
        CommandError::Setting(format!("panel_url, panel_key: {error}"))
    };
    let kind = config.panel_kind;
    let url = url.parse().map_err(|error| wrong(&error))?;
    let timeout = Duration::from_millis(config.panel_timeout_ms);
    let config = PanelConfig { kind, url, key: key.clone(), timeout };
    Panel::new(config).map(Some).map_err(|error| match error {
        PanelError::Path => CommandError::Setting(format!("panel_url: {error}")),
        error => wrong(&error),
    })
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
                note_uses(app).await;
            }
            _ = upkeep.tick() => {
                app.metrics.upkeep();
                denials::record(app, app.denials.ended()).await;
            }
        }
    }
}

/// Stores when keys were used. A use that cannot be stored is noted again with the next request.
async fn note_uses(app: &App) {
    let used = app.keyring.take_uses(USES_MAX);
    if used.is_empty() {
        return;
    }
    let note = Action::Access(access::Action::NoteUse(access::NoteUse { used }));
    match app.lanes.submit(workers::command("keys", note)).await {
        Ok(Outcome::Access(access::Outcome::UseNoted(noted))) => {
            noted.into_iter().for_each(|stored| app.keyring.put(stored));
        }
        Ok(_) => {}
        Err(refusal) => tracing::debug!(?refusal, "the use of keys was not noted"),
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
