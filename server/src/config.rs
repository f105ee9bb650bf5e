//! The configuration: from the command line, the environment, a file, and defaults.
//!
//! Every setting is one row of the table in `config/setting.rs`. [`read`] is a pure function, so
//! the rules are tested without a process.

mod said;
mod setting;
mod task;
mod value;

pub use setting::{Config, SETTINGS};
pub use task::{KeysTask, Task};

use crate::network::Networks;
use clap::{Arg, Command, FromArgMatches, Subcommand};
use ifmatch_domain::{Settings, provisioning::Windows};
use ifmatch_store::DatabaseUrl;
use rustix::process::{Resource, getrlimit};
use said::Said;
use setting::Setting;
use std::{collections::BTreeMap, ffi::OsString, io, path::Path};

/// Why the process does not start.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The command line cannot be read, or asks for help.
    #[error("{0}")]
    Usage(#[from] clap::Error),
    /// A setting is wrong. The sentence names it.
    #[error("{0}")]
    Setting(String),
}

impl ConfigError {
    /// Prints what is wrong to stderr (help goes to stdout). Returns the exit code: 2, or 0 for
    /// help.
    pub fn report(&self) -> u8 {
        match self {
            Self::Usage(error) => {
                // If stderr is closed, the error cannot be reported.
                let _ = error.print();
                u8::try_from(error.exit_code()).unwrap_or(2)
            }
            Self::Setting(sentence) => {
                eprintln!("{sentence}");
                2
            }
        }
    }
}

const PREFIX: &str = "IFMATCH_";
const FILE_ENV: &str = "IFMATCH_CONFIG";

fn processors() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from)
}

impl Config {
    /// Maximum requests per second and key; 0 is no limit.
    pub fn requests_per_s(&self) -> u32 {
        // Behind a proxy, the callers of a loopback address are on other machines.
        let is_local = self.listen.ip().is_loopback() && !self.behind_proxy;
        self.rate_limit.unwrap_or(if is_local { 0 } else { 500 })
    }

    /// Maximum number of connections of clients.
    ///
    /// By default a quarter of the files is left for the database, the log and all others.
    pub fn connections(&self) -> usize {
        self.connections.unwrap_or_else(|| {
            let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
            let files = usize::try_from(files).unwrap_or(usize::MAX);
            (files / 4).saturating_mul(3).clamp(1, 1_000_000)
        })
    }

    /// Maximum number of connections of an address; 0 is no limit.
    pub fn connections_per_address(&self) -> usize {
        self.connections_per_address.unwrap_or_else(|| (self.connections() / 4).clamp(1, 256))
    }

    /// The proxies whose `X-Forwarded-For` counts.
    pub fn trusted_proxies(&self) -> Networks {
        match &self.trusted_proxies {
            Some(networks) => networks.clone(),
            None if self.behind_proxy => Networks::loopback(),
            None => Networks::default(),
        }
    }

    /// Number of lanes that decide writes at the same time.
    pub fn lanes(&self) -> usize {
        match self.database_url {
            // SQLite has one writer at a time. A second lane would only wait for the first one's
            // lock.
            DatabaseUrl::Sqlite(_) => 1,
            // While one lane waits for its commit, another decides.
            DatabaseUrl::Postgres(_) => self.lanes.unwrap_or_else(|| processors().clamp(2, 4)),
        }
    }

    /// Whether one more lane decides background work. SQLite has one writer.
    pub fn has_background_lane(&self) -> bool {
        matches!(self.database_url, DatabaseUrl::Postgres(_))
    }

    /// The settings that rules depend on.
    pub fn settings(&self) -> Settings {
        Settings { panel: self.panel_url.is_some().then_some(self.panel_kind) }
    }

    /// The windows of provisioning.
    pub fn windows(&self) -> Windows {
        let ms = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
        Windows {
            timeout_ms: ms(self.panel_timeout_ms),
            settle_ms: ms(self.settle_ms),
            absent_gap_ms: ms(self.absent_gap_ms),
            reconcile_ms: ms(self.reconcile_ms),
        }
    }

    /// Number of threads that serve HTTP.
    pub fn http_threads(&self) -> usize {
        self.http_threads.unwrap_or_else(processors)
    }

    /// The certificate and key to serve TLS with, if it is served.
    pub fn tls(&self) -> Option<(&Path, &Path)> {
        self.tls_cert.as_deref().zip(self.tls_key.as_deref())
    }

    /// Checks the rules that involve more than one setting.
    fn check(mut self) -> Result<Self, ConfigError> {
        let wrong = |sentence: &str| Err(ConfigError::Setting(sentence.to_owned()));
        self.database_url
            .check()
            .map_err(|error| ConfigError::Setting(format!("database_url: {error}")))?;
        if let Some(schema) = &self.schema {
            self.database_url = self
                .database_url
                .in_schema(schema)
                .map_err(|error| ConfigError::Setting(format!("schema: {error}")))?;
        }
        if self.tls_cert.is_some() != self.tls_key.is_some() {
            return wrong("tls_cert, tls_key: one is set and the other is not; TLS needs both");
        }
        if self.panel_url.is_some() != self.panel_key.is_some() {
            return wrong("panel_url, panel_key: one is set and the other is not");
        }
        if self.trusted_proxies.is_some() && !self.behind_proxy {
            return wrong("trusted_proxies: it is set and behind_proxy is not");
        }
        if !self.listen.ip().is_loopback() && self.tls().is_none() && !self.behind_proxy {
            return Err(ConfigError::Setting(format!(
                "listen: {} can be reached from other machines, which needs --tls-cert and \
                 --tls-key, or --behind-proxy if a proxy serves TLS",
                self.listen
            )));
        }
        Ok(self)
    }
}

/// The command line of the binary.
pub fn command() -> Command {
    let flags = SETTINGS.iter().filter_map(Setting::arg);
    let file = Arg::new("config")
        .long("config")
        .value_name("FILE")
        .global(true)
        .help(format!("Settings in TOML; flags and environment win [env: {FILE_ENV}]"));
    // The builder of a package names the commit.
    let version = match option_env!("IFMATCH_COMMIT") {
        Some(commit) => format!("{} ({commit})", env!("CARGO_PKG_VERSION")),
        None => env!("CARGO_PKG_VERSION").to_owned(),
    };
    let command = Command::new("ifmatch-server").version(version);
    Task::augment_subcommands(command)
        .about("A subscription-billing backend in which no write is ever lost")
        .subcommand_required(false)
        .args(flags)
        .arg(file)
}

/// Reads the settings of this process.
///
/// # Errors
/// If anything is wrong.
pub fn from_process() -> Result<(Task, Config), ConfigError> {
    let ours = |name: &OsString| name.to_string_lossy().starts_with(PREFIX);
    let lossy = |text: OsString| text.to_string_lossy().into_owned();
    let environment = std::env::vars_os()
        .filter(|(name, _)| ours(name))
        .map(|(name, value)| (lossy(name), lossy(value)));
    read(std::env::args_os(), environment, |path| std::fs::read_to_string(path))
}

/// Reads the settings of a process with these arguments, this environment and these files.
///
/// `arguments` begin with the program's name. Names in `environment` that do not begin with
/// `IFMATCH_` are ignored.
///
/// # Errors
/// If anything is wrong: an unknown name, an invalid value, or two settings at odds.
pub fn read<A: Into<OsString> + Clone>(
    arguments: impl IntoIterator<Item = A>,
    environment: impl IntoIterator<Item = (String, String)>,
    read_file: impl FnOnce(&Path) -> io::Result<String>,
) -> Result<(Task, Config), ConfigError> {
    let matches = command().try_get_matches_from(arguments)?;
    let action = match matches.subcommand() {
        Some(_) => Task::from_arg_matches(&matches)?,
        None => Task::Serve,
    };
    if action.is_paper() {
        return Ok((action, Config::from_said(&Said::default())?.check()?));
    }
    let flag = |name: &str| matches.try_get_one::<String>(name).ok().flatten().cloned();
    let mut environment: BTreeMap<String, String> =
        environment.into_iter().filter(|(name, _)| name.starts_with(PREFIX)).collect();

    let mut said = Said::default();
    if let Some(path) = flag("config").or_else(|| environment.get(FILE_ENV).cloned()) {
        said.add_file(&path, read_file(Path::new(&path)))?;
    }
    environment.remove(FILE_ENV);
    said.add_environment(environment)?;
    for setting in SETTINGS.iter().filter(|setting| setting.has_flag()) {
        if let Some(text) = flag(setting.key) {
            said.add(setting, setting.flag(), text);
        }
    }
    Ok((action, Config::from_said(&said)?.check()?))
}

#[cfg(test)]
mod tests;
