//! What the server is told: the command line, the environment, a file, and what holds otherwise.
//!
//! Every setting is one row of the table in [`settings!`]; its flag, its environment variable, its
//! key in the file, its help and its field of [`Config`] come from there. [`read`] is a pure
//! function, so that the rules are tested without a process.

mod action;
mod value;

pub use action::{Action, KeysAction};

use crate::log::LogFormat;
use clap::{Arg, Command, FromArgMatches, Subcommand};
use ifmatch_store::DatabaseUrl;
use secrecy::SecretString;
use std::{
    collections::BTreeMap,
    ffi::OsString,
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
};
use value::{
    admin_key, between, file, log_filter, log_format, milliseconds, parsed, secret, visible,
    web_url,
};

/// The largest request body, in bytes.
pub const BODY_LIMIT_BYTES: usize = 64 * 1024;

/// Why the process does not start.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The command line cannot be read, or asks for help.
    #[error("{0}")]
    Usage(#[from] clap::Error),
    /// A setting is wrong; the sentence names it.
    #[error("{0}")]
    Setting(String),
}

impl ConfigError {
    /// Says what is wrong on stderr (help goes to stdout) and gives the exit code: 2, or 0 for help.
    pub fn report(&self) -> u8 {
        match self {
            Self::Usage(error) => {
                // Nobody is left to tell if stderr is closed.
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

/// A row of the table of settings, as far as text goes.
struct Setting {
    /// The key in the file; the flag is the same with dashes.
    key: &'static str,
    env: &'static str,
    /// Secrets are no flags: a command line is readable by every process.
    door: Door,
    help: &'static str,
    default: Option<&'static str>,
    /// What a value is, for the sentence about one that is none.
    expected: &'static str,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Door {
    /// Flag, environment, file.
    Open,
    /// The same; the flag needs no value.
    Switch,
    /// Environment and file.
    NoFlag,
    /// Environment and file, and a wrong value is not repeated.
    Secret,
}

macro_rules! settings {
    (
        always { $($(#[doc = $help:literal])+ $field:ident: $type:ty = $default:literal,
            $env:literal, $door:ident, $parse:expr, $expected:literal;)* }
        maybe { $($(#[doc = $maybe_help:literal])+ $maybe:ident: $maybe_type:ty,
            $maybe_env:literal, $maybe_door:ident, $maybe_parse:expr, $maybe_expected:literal;)* }
    ) => {
        /// What the server was told, checked.
        #[derive(Clone, Debug)]
        #[expect(dead_code, reason = "the settings of locks and the panel are read and checked already, and used once those are served")]
        pub struct Config {
            $($(#[doc = $help])+ pub $field: $type,)*
            $($(#[doc = $maybe_help])+ pub $maybe: Option<$maybe_type>,)*
        }

        /// Every setting there is.
        const SETTINGS: &[Setting] = &[
            $(Setting { key: stringify!($field), env: $env, door: Door::$door,
                help: concat!($($help),+), default: Some($default), expected: $expected },)*
            $(Setting { key: stringify!($maybe), env: $maybe_env, door: Door::$maybe_door,
                help: concat!($($maybe_help),+), default: None, expected: $maybe_expected },)*
        ];

        impl Config {
            fn from_values(values: &Values) -> Result<Self, ConfigError> {
                Ok(Self {
                    $($field: values.read(stringify!($field), $parse)?
                        .expect("a setting of this list has a default"),)*
                    $($maybe: values.read(stringify!($maybe), $maybe_parse)?,)*
                })
            }
        }
    };
}

settings! {
    always {
        /// Where to listen; port 0 picks a free one
        listen: SocketAddr = "127.0.0.1:8080", "IFMATCH_LISTEN", Open,
            parsed, "an address such as 127.0.0.1:8080";
        /// The database: sqlite://FILE or postgres://…
        database_url: DatabaseUrl = "sqlite://ifmatch.db", "IFMATCH_DATABASE_URL", Open,
            parsed, "a database such as sqlite://ifmatch.db or postgres://user@host/name";
        /// How a line of the log looks: text or json
        log_format: LogFormat = "text", "IFMATCH_LOG_FORMAT", Open,
            log_format, "text or json";
        /// What is logged, such as info or info,ifmatch_server=debug
        log_level: String = "info", "IFMATCH_LOG", Open,
            log_filter, "a log filter such as info or info,ifmatch_server=debug";
        /// Whether a proxy that is trusted with TLS stands in front
        behind_proxy: bool = "false", "IFMATCH_BEHIND_PROXY", Switch,
            parsed, "true or false";
        /// How many writes may wait in a lane before more are turned away
        queue: usize = "4096", "IFMATCH_QUEUE", Open,
            |text| between(text, 1, 1_000_000), "a whole number from 1 to 1000000";
        /// How many writes share one commit at most
        batch_max: usize = "512", "IFMATCH_BATCH_MAX", Open,
            |text| between(text, 1, 10_000), "a whole number from 1 to 10000";
        /// So long requests are still taken after a signal to stop, while `/readyz` is 503 already
        drain_ms: u64 = "200", "IFMATCH_DRAIN_MS", Open,
            |text| between(text, 0, 600_000), "a whole number of milliseconds from 0 to 600000";
        /// How long a call to the panel may take, in milliseconds
        panel_timeout_ms: u64 = "40000", "IFMATCH_PANEL_TIMEOUT_MS", NoFlag,
            milliseconds, "a whole number of milliseconds from 1 to 86400000";
        /// How long after a panel call its outcome may still show, in milliseconds
        settle_ms: u64 = "60000", "IFMATCH_SETTLE_MS", NoFlag,
            milliseconds, "a whole number of milliseconds from 1 to 86400000";
        /// The least time between two findings that a server is absent, in milliseconds
        absent_gap_ms: u64 = "30000", "IFMATCH_ABSENT_GAP_MS", NoFlag,
            milliseconds, "a whole number of milliseconds from 1 to 86400000";
        /// The first pause of the reconciler, in milliseconds
        reconcile_ms: u64 = "30000", "IFMATCH_RECONCILE_MS", NoFlag,
            milliseconds, "a whole number of milliseconds from 1 to 86400000";
    }
    maybe {
        /// Requests a second per key, burst twice that; 0 is no limit
        /// [default: 0 on loopback, 500 elsewhere]
        rate_limit: u32, "IFMATCH_RATE_LIMIT", Open,
            |text| between(text, 0, 1_000_000), "a whole number from 0 to 1000000";
        /// How many lanes decide writes at the same time on PostgreSQL; SQLite has one writer
        /// [default: one per processor, 2 to 4]
        lanes: usize, "IFMATCH_LANES", Open,
            |text| between(text, 1, 64), "a whole number from 1 to 64";
        /// How many threads speak HTTP
        /// [default: one per processor]
        http_threads: usize, "IFMATCH_HTTP_THREADS", Open,
            |text| between(text, 1, 64), "a whole number from 1 to 64";
        /// The TLS certificate, a PEM file
        tls_cert: PathBuf, "IFMATCH_TLS_CERT", Open, file, "a file";
        /// The TLS certificate's private key, a PEM file
        tls_key: PathBuf, "IFMATCH_TLS_KEY", Open, file, "a file";
        /// A key that is made an admin key at start
        admin_key: SecretString, "IFMATCH_ADMIN_KEY", Secret,
            admin_key, "a key of 24 to 255 visible characters";
        /// What lock tokens are derived from
        secret: SecretString, "IFMATCH_SECRET", Secret,
            secret, "a secret of at least 24 characters";
        /// The Pterodactyl panel
        panel_url: String, "IFMATCH_PANEL_URL", NoFlag,
            web_url, "an address such as https://panel.example.com";
        /// The panel's API key
        panel_key: SecretString, "IFMATCH_PANEL_KEY", Secret,
            visible, "a key of visible characters";
    }
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from)
}

/// Environment variables of clients and examples, which the server leaves alone.
const FOREIGN: [&str; 2] = ["IFMATCH_URL", "IFMATCH_KEY"];
/// What the environment variables of tests begin with, which the server leaves alone too.
const FOREIGN_PREFIX: &str = "IFMATCH_TEST_";
const PREFIX: &str = "IFMATCH_";
const FILE_ENV: &str = "IFMATCH_CONFIG";

impl Config {
    /// Requests a second per key; 0 is no limit.
    pub fn requests_per_s(&self) -> u32 {
        let elsewhere = if self.listen.ip().is_loopback() { 0 } else { 500 };
        self.rate_limit.unwrap_or(elsewhere)
    }

    /// How many lanes decide writes at the same time.
    pub fn lanes(&self) -> usize {
        match self.database_url {
            // One writer at a time: a second lane would only wait for the first one's lock.
            DatabaseUrl::Sqlite(_) => 1,
            // While one lane waits for its commit, another decides.
            DatabaseUrl::Postgres(_) => self.lanes.unwrap_or_else(|| processors().clamp(2, 4)),
        }
    }

    /// How many threads speak HTTP.
    pub fn http_threads(&self) -> usize {
        self.http_threads.unwrap_or_else(processors)
    }

    /// The certificate and key to serve TLS with, if it is served.
    pub fn tls(&self) -> Option<(&Path, &Path)> {
        self.tls_cert.as_deref().zip(self.tls_key.as_deref())
    }

    /// Rules that more than one setting takes part in.
    fn check(self) -> Result<Self, ConfigError> {
        let wrong = |sentence: &str| Err(ConfigError::Setting(sentence.to_owned()));
        if self.tls_cert.is_some() != self.tls_key.is_some() {
            return wrong("tls_cert, tls_key: one is set and the other is not; TLS needs both");
        }
        if self.panel_url.is_some() != self.panel_key.is_some() {
            return wrong("panel_url, panel_key: one is set and the other is not");
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
    let command = Command::new("ifmatch-server").version(env!("CARGO_PKG_VERSION"));
    Action::augment_subcommands(command)
        .about("A subscription-billing backend in which no write is ever lost")
        .subcommand_required(false)
        .args(flags)
        .arg(file)
}

/// Reads what this process was told.
///
/// # Errors
/// If anything of it is wrong.
pub fn from_process() -> Result<(Action, Config), ConfigError> {
    let ours = |name: &OsString| name.to_string_lossy().starts_with(PREFIX);
    let lossy = |text: OsString| text.to_string_lossy().into_owned();
    let environment = std::env::vars_os()
        .filter(|(name, _)| ours(name))
        .map(|(name, value)| (lossy(name), lossy(value)));
    read(std::env::args_os(), environment, |path| std::fs::read_to_string(path))
}

/// Reads what a process with these arguments, this environment and these files was told.
///
/// `arguments` begin with the program's name; of `environment` only names that begin with
/// `IFMATCH_` count.
///
/// # Errors
/// If anything of it is wrong: an unknown name, a value that is none, two settings at odds.
pub fn read<A: Into<OsString> + Clone>(
    arguments: impl IntoIterator<Item = A>,
    environment: impl IntoIterator<Item = (String, String)>,
    read_file: impl FnOnce(&Path) -> io::Result<String>,
) -> Result<(Action, Config), ConfigError> {
    let matches = command().try_get_matches_from(arguments)?;
    let action = match matches.subcommand() {
        Some(_) => Action::from_arg_matches(&matches)?,
        None => Action::Serve,
    };
    let flag = |name: &str| matches.try_get_one::<String>(name).ok().flatten().cloned();
    let mut environment: BTreeMap<String, String> =
        environment.into_iter().filter(|(name, _)| name.starts_with(PREFIX)).collect();

    let mut values = Values::default();
    if let Some(path) = flag("config").or_else(|| environment.get(FILE_ENV).cloned()) {
        values.add_file(&path, read_file(Path::new(&path)))?;
    }
    environment.remove(FILE_ENV);
    values.add_environment(environment)?;
    for setting in SETTINGS.iter().filter(|setting| setting.has_flag()) {
        if let Some(text) = flag(setting.key) {
            values.add(setting, setting.flag(), text);
        }
    }
    Ok((action, Config::from_values(&values)?.check()?))
}

impl Setting {
    fn has_flag(&self) -> bool {
        matches!(self.door, Door::Open | Door::Switch)
    }

    fn flag(&self) -> String {
        format!("--{}", self.key.replace('_', "-"))
    }

    fn arg(&self) -> Option<Arg> {
        if !self.has_flag() {
            return None;
        }
        let default = self.default.map(|text| format!(" [default: {text}]")).unwrap_or_default();
        let arg = Arg::new(self.key)
            .long(self.flag().trim_start_matches('-').to_owned())
            .value_name(self.key.to_uppercase())
            .global(true)
            .help(format!("{}{default} [env: {}]", self.help.trim(), self.env));
        Some(match self.door {
            Door::Switch => arg
                .value_name("BOOL")
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value("true"),
            Door::Open | Door::NoFlag | Door::Secret => arg,
        })
    }
}

/// What was said of each setting, with the name it was said under; the latest counts.
#[derive(Default)]
struct Values(BTreeMap<&'static str, (String, String)>);

impl Values {
    fn add(&mut self, setting: &Setting, said_as: String, text: String) {
        self.0.insert(setting.key, (said_as, text));
    }

    fn add_file(&mut self, path: &str, content: io::Result<String>) -> Result<(), ConfigError> {
        let wrong = |what: String| ConfigError::Setting(format!("{path}: {what}"));
        let content = content.map_err(|cause| wrong(format!("it cannot be read: {cause}")))?;
        // The parser's own message would repeat the line, and a line may hold a secret.
        let table: toml::Table = content.parse().map_err(|error: toml::de::Error| {
            let before = error.span().and_then(|span| content.get(..span.start));
            let line = before.map_or(1, |text| text.matches('\n').count() + 1);
            wrong(format!("line {line} is not TOML: {}", error.message()))
        })?;
        for (key, value) in table {
            let setting = SETTINGS
                .iter()
                .find(|setting| setting.key == key)
                .ok_or_else(|| wrong(format!("`{key}` is not a setting")))?;
            let text = match value {
                toml::Value::String(text) => text,
                toml::Value::Integer(number) => number.to_string(),
                toml::Value::Boolean(truth) => truth.to_string(),
                _ => return Err(wrong(format!("`{key}` is not {}", setting.expected))),
            };
            self.add(setting, format!("{path}: {key}"), text);
        }
        Ok(())
    }

    fn add_environment(&mut self, said: BTreeMap<String, String>) -> Result<(), ConfigError> {
        for (name, text) in said {
            if FOREIGN.contains(&name.as_str()) || name.starts_with(FOREIGN_PREFIX) {
                continue;
            }
            let setting = SETTINGS
                .iter()
                .find(|setting| setting.env == name)
                .ok_or_else(|| ConfigError::Setting(format!("{name}: there is no such setting")))?;
            self.add(setting, name, text);
        }
        Ok(())
    }

    /// The value of a setting: what was said, else its default, else nothing.
    fn read<T>(
        &self,
        key: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, ConfigError> {
        let setting = SETTINGS.iter().find(|setting| setting.key == key);
        let setting = setting.expect("the table makes both the fields and the rows");
        let (said_as, text) = match self.0.get(key) {
            Some((said_as, text)) => (said_as.as_str(), text.as_str()),
            None => match setting.default {
                Some(default) => (key, default),
                None => return Ok(None),
            },
        };
        let hidden = setting.door == Door::Secret || text.contains(['@', '?']);
        let shown = if hidden { "the value".to_owned() } else { format!("`{text}`") };
        parse(text).map(Some).ok_or_else(|| {
            ConfigError::Setting(format!("{said_as}: {shown} is not {}", setting.expected))
        })
    }
}

#[cfg(test)]
mod tests;
