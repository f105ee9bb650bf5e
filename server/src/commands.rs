//! The subcommands other than `serve`. Each does its work and stops.

mod keys;
mod paper;
mod restored;

pub use keys::{WantedKey, keys, new_key};
pub use paper::{completions, man, settings};
pub use restored::restored;

use crate::{
    config::Config,
    http::{core::problem, systems},
    lane::{LaneConfig, Lanes, Refusal},
    log::RequestId,
    routes,
};
use ifmatch_domain::{
    Action, Command, Outcome, Rejection,
    core::{self, Actor, Guard, Meta},
};
use ifmatch_store::{Db, PoolError, StoreError, TextOrder, Use, sqlite_version};
use ifmatch_types::{Source, Timestamp};
use std::{
    io::{ErrorKind, Write},
    process::ExitCode,
    time::Duration,
};
use uuid::Uuid;

/// The oldest safe SQLite. In older ones, a reset of the write-ahead log could corrupt the
/// database.
const SQLITE_OLDEST: i32 = 3_051_003;
/// Maximum difference between clocks. A larger one makes deadlines and histories confusing.
const CLOCK_SKEW_MAX: Duration = Duration::from_secs(1);

/// Connections of a subcommand at a time: its own, and one of a lane.
const COMMAND_CONNECTIONS: usize = 2;

/// What to do about a database whose migrations have not all run.
const NOT_CURRENT: &str = "the schema is not current; run `ifmatch-server migrate`";

/// Why a subcommand failed. The text is for the person at the terminal.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// A setting is wrong.
    #[error("{0}")]
    Setting(String),
    /// The database failed.
    #[error("database_url: {0}")]
    Store(#[from] StoreError),
    /// The pool in front of the database cannot be worked with.
    #[error("database_url: {0}")]
    Pool(#[from] PoolError),
    /// The command was refused.
    #[error("{0}")]
    Refused(String),
    /// The operating system refused something.
    #[error("{what}: {cause}")]
    Io {
        /// What was tried.
        what: String,
        /// What the system said.
        cause: std::io::Error,
    },
}

impl CommandError {
    /// The exit code: 2 for a wrong setting, as when the process reads its settings.
    pub fn exit_code(&self) -> ExitCode {
        if matches!(self, Self::Setting(_)) { ExitCode::from(2) } else { ExitCode::FAILURE }
    }
}

/// The configuration of the lanes.
pub fn lane_config(config: &Config) -> LaneConfig {
    LaneConfig {
        url: config.database_url.clone(),
        lanes: config.lanes(),
        has_background: config.has_background_lane(),
        queue: config.queue,
        batch_max: config.batch_max,
        settings: config.settings(),
        seams: systems::seams(),
    }
}

/// Writes a line to stdout.
///
/// A reader that has closed its end, such as `head`, is not a failure. The rest is dropped.
fn say(line: impl std::fmt::Display) -> Result<(), CommandError> {
    match write_line(line) {
        Err(CommandError::Io { cause, .. }) if cause.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

fn write_line(line: impl std::fmt::Display) -> Result<(), CommandError> {
    let written = writeln!(std::io::stdout(), "{line}");
    written.map_err(|cause| CommandError::Io { what: "stdout".to_owned(), cause })
}

/// `migrate`
pub fn migrate(config: &Config) -> Result<ExitCode, CommandError> {
    let mut db = open_or_create(config)?;
    config.database_url.check_pool(COMMAND_CONNECTIONS)?;
    let done = db.migrate()?;
    if done.is_empty() {
        say("the schema is up to date")?;
    }
    for name in done {
        say(format_args!("migrated {name}"))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Opens the database, and makes a SQLite file that does not exist.
fn open_or_create(config: &Config) -> Result<Db, CommandError> {
    check(Db::create(&config.database_url, Use::Read)?)
}

/// Opens a database that exists.
pub fn open(config: &Config) -> Result<Db, CommandError> {
    check(Db::connect(&config.database_url, Use::Read)?)
}

/// Opens a database to work with: brings its schema up to date, or requires that it is.
///
/// A pool in front of it must give this many connections at a time.
pub fn prepare(config: &Config, connections: usize) -> Result<Db, CommandError> {
    if !config.no_migrate {
        let mut db = open_or_create(config)?;
        config.database_url.check_pool(connections)?;
        for name in db.migrate()? {
            tracing::info!(name, "migrated");
        }
        return Ok(db);
    }
    open_current(config, connections)
}

/// Opens a database that exists, and requires that its schema is up to date.
fn open_current(config: &Config, connections: usize) -> Result<Db, CommandError> {
    let mut db = open(config)?;
    config.database_url.check_pool(connections)?;
    match db.pending_migrations()?.as_slice() {
        [] => Ok(db),
        names => Err(CommandError::Refused(format!("{NOT_CURRENT} for {}", names.join(", ")))),
    }
}

/// Refuses a database that cannot be worked with.
///
/// A SQLite version may corrupt it. A PostgreSQL with another encoding cannot store every text, and
/// some databases that look like PostgreSQL skip events. A newer program may store what this one does
/// not read.
fn check(mut db: Db) -> Result<Db, CommandError> {
    if sqlite_version() < SQLITE_OLDEST {
        return Err(CommandError::Setting(format!(
            "the SQLite in this program is {}; 3.51.3 or newer is needed",
            sqlite_version()
        )));
    }
    if let Some(why) = db.refusal()? {
        return Err(CommandError::Setting(format!("database_url: {why}")));
    }
    if let Some(version) = db.unknown_migration()? {
        return Err(CommandError::Setting(format!(
            "database_url: a newer ifmatch-server has migrated this database (to {version}); use that \
             version, or restore the backup from before the upgrade"
        )));
    }
    match db.encoding()? {
        Some(encoding) if encoding != "UTF8" => Err(CommandError::Setting(format!(
            "database_url: the database's encoding is {encoding}, which cannot store every text; \
             make one with ENCODING 'UTF8'"
        ))),
        _ => Ok(db),
    }
}

/// `openapi`
pub fn openapi(config: &Config) -> Result<ExitCode, CommandError> {
    let document = routes::document(config.public_url.as_deref());
    say(format_args!("{document:#}"))?;
    Ok(ExitCode::SUCCESS)
}

/// A command from the command line.
pub fn cli_command(action: Action) -> Command {
    Command {
        meta: Meta {
            actor: Actor::without_key("cli"),
            on_behalf_of: None,
            source: Source::Cli,
            request_id: RequestId::new().as_str().to_owned(),
            key_digest: None,
        },
        seed: Uuid::now_v7(),
        idempotency: None,
        guard: Guard::default(),
        action,
    }
}

fn submit(config: &Config, action: Action) -> Result<Outcome, CommandError> {
    let lane = LaneConfig { lanes: 1, has_background: false, ..lane_config(config) };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|cause| CommandError::Io { what: "runtime".to_owned(), cause })?;
    let (lanes, threads) =
        Lanes::start(&lane).map_err(|cause| CommandError::Io { what: "lane".to_owned(), cause })?;
    let outcome = runtime.block_on(lanes.submit(cli_command(action)));
    drop(lanes);
    for thread in threads {
        // A lane that panicked has already answered with a failure.
        let _ = thread.join();
    }
    outcome.map_err(|refusal| match refusal {
        Refusal::Rejected(Rejection::Core(core::Rejection::NotFound { what, id })) => {
            CommandError::Refused(format!("there is no {what} {id}"))
        }
        Refusal::Rejected(Rejection::Core(core::Rejection::AlreadyExists {
            existing_id, ..
        })) => CommandError::Refused(format!(
            "{existing_id} already has this name; choose another name or revoke that key"
        )),
        Refusal::Rejected(Rejection::Core(core::Rejection::InvalidTransition {
            from: "rotated",
            ..
        })) => CommandError::Refused(
            "the key was already replaced; rotate the key that replaced it".to_owned(),
        ),
        refusal => CommandError::Refused(problem::HttpProblem::from(refusal).to_string()),
    })
}

/// `doctor`
pub fn doctor(config: &Config) -> Result<ExitCode, CommandError> {
    let mut healthy = true;
    let mut tell = |what: &str, found: Result<String, String>| match found {
        Ok(text) => say(format_args!("ok    {what}: {text}")),
        Err(text) => {
            healthy = false;
            say(format_args!("FAIL  {what}: {text}"))
        }
    };
    tell("configuration", Ok(format!("listens on {}", config.listen)))?;
    let linked = sqlite_version();
    let sqlite = format!("{}.{}.{}", linked / 1_000_000, linked / 1_000 % 1_000, linked % 1_000);
    tell("SQLite", if linked >= SQLITE_OLDEST { Ok(sqlite) } else { Err(sqlite) })?;
    match open(config) {
        Err(error) => tell("database", Err(error.to_string()))?,
        Ok(mut db) => {
            tell("database", db.product().map_err(|error| error.to_string()))?;
            if config.database_url.is_pooled() {
                let pool = config.database_url.check_pool(COMMAND_CONNECTIONS);
                let pool = pool.map_err(|error| error.to_string());
                tell("pool", pool.map(|()| "keeps its clients apart".to_owned()))?;
            }
            let pending = db.pending_migrations().map_err(|error| error.to_string());
            tell(
                "migrations",
                pending.and_then(|pending| match pending.as_slice() {
                    [] => Ok("all have run".to_owned()),
                    _ => Err(NOT_CURRENT.to_owned()),
                }),
            )?;
            match db.messages_locale() {
                Ok(None) => {}
                Ok(Some((locale, true))) => tell("messages", Ok(locale))?,
                Ok(Some((locale, false))) => tell(
                    "messages",
                    Err(format!(
                        "lc_messages is `{locale}`, and deadlocks and lost connections are known by \
                         their English text; set it to 'C', or GRANT SET ON PARAMETER lc_messages"
                    )),
                )?,
                Err(error) => tell("messages", Err(error.to_string()))?,
            }
            match db.text_order() {
                Ok(None) => {}
                Ok(Some(TextOrder { recorded, installed })) if recorded == installed => {
                    tell("text order", Ok(format!("version {installed} of its library")))?
                }
                Ok(Some(TextOrder { recorded, installed })) => tell(
                    "text order",
                    Err(format!(
                        "its library was version {recorded} when the indexes were made, and is {installed} \
                         now, so rows may not be found and unique values may repeat; stop the servers, \
                         run REINDEX DATABASE, then ALTER DATABASE ... REFRESH COLLATION VERSION"
                    )),
                )?,
                Err(error) => tell("text order", Err(error.to_string()))?,
            }
            let before = Timestamp::now().as_micros();
            let skew = db.clock().map(|clock| clock.as_micros().abs_diff(before));
            tell(
                "clock",
                match skew {
                    Ok(us) if Duration::from_micros(us) <= CLOCK_SKEW_MAX => {
                        Ok(format!("{us} µs from the database's"))
                    }
                    Ok(us) => Err(format!("{us} µs from the database's; synchronize the clocks")),
                    Err(error) => Err(error.to_string()),
                },
            )?;
        }
    }
    Ok(if healthy { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// `verify`
pub fn verify(config: &Config) -> Result<ExitCode, CommandError> {
    let mut db = open(config)?;
    if !db.pending_migrations()?.is_empty() {
        return Err(CommandError::Refused(NOT_CURRENT.to_owned()));
    }
    let broken = db.verify()?;
    if broken.is_empty() {
        say("every stored invariant holds")?;
        return Ok(ExitCode::SUCCESS);
    }
    for broken in broken {
        say(format_args!("{}: broken for {}", broken.invariant, broken.id))?;
    }
    Ok(ExitCode::FAILURE)
}
