//! The table of settings: one row each, with its flag, environment variable, help and value.

use super::{
    ConfigError,
    said::Said,
    value::{
        admin_key, between, file, log_filter, log_format, milliseconds, parsed, secret, visible,
        web_url,
    },
};
use crate::{log::LogFormat, network::Networks};
use clap::Arg;
use ifmatch_store::DatabaseUrl;
use ifmatch_types::PanelKind;
use secrecy::SecretString;
use std::{net::SocketAddr, path::PathBuf};

/// The texts of one setting.
pub struct Setting {
    /// The key in the file. The flag is the same with dashes.
    pub key: &'static str,
    pub env: &'static str,
    /// Where it can be set. Secrets have no flag, because every process can read a command line.
    pub door: Door,
    pub help: &'static str,
    pub default: Option<&'static str>,
    /// What a valid value is, for the message about an invalid one.
    pub expected: &'static str,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// Flag, environment, file.
    Open,
    /// Flag, environment, file. The flag needs no value.
    Switch,
    /// Environment and file.
    NoFlag,
    /// Environment and file. A wrong value is not repeated.
    Secret,
}

macro_rules! settings {
    (
        always { $($(#[doc = $help:literal])+ $field:ident: $type:ty = $default:literal,
            $env:literal, $door:ident, $parse:expr, $expected:literal;)* }
        maybe { $($(#[doc = $maybe_help:literal])+ $maybe:ident: $maybe_type:ty,
            $maybe_env:literal, $maybe_door:ident, $maybe_parse:expr, $maybe_expected:literal;)* }
    ) => {
        /// The checked settings of the server.
        #[derive(Clone, Debug)]
        pub struct Config {
            $($(#[doc = $help])+ pub $field: $type,)*
            $($(#[doc = $maybe_help])+ pub $maybe: Option<$maybe_type>,)*
        }

        /// Every setting.
        pub const SETTINGS: &[Setting] = &[
            $(Setting { key: stringify!($field), env: $env, door: Door::$door,
                help: concat!($($help),+), default: Some($default), expected: $expected },)*
            $(Setting { key: stringify!($maybe), env: $maybe_env, door: Door::$maybe_door,
                help: concat!($($maybe_help),+), default: None, expected: $maybe_expected },)*
        ];

        impl Config {
            pub fn from_said(said: &Said) -> Result<Self, ConfigError> {
                Ok(Self {
                    $($field: said.read(stringify!($field), $parse)?
                        .expect("a setting of this list has a default"),)*
                    $($maybe: said.read(stringify!($maybe), $maybe_parse)?,)*
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
        /// The format of log lines: text or json
        log_format: LogFormat = "text", "IFMATCH_LOG_FORMAT", Open,
            log_format, "text or json";
        /// The log filter, such as info or info,ifmatch_server=debug
        log_level: String = "info", "IFMATCH_LOG", Open,
            log_filter, "a log filter: error, warn, info, debug, trace or off, with targets such as info,ifmatch_server=debug";
        /// Whether a trusted proxy in front of the server serves TLS
        behind_proxy: bool = "false", "IFMATCH_BEHIND_PROXY", Switch,
            parsed, "true or false";
        /// Whether to start only if the schema is current, instead of changing it
        no_migrate: bool = "false", "IFMATCH_NO_MIGRATE", Switch,
            parsed, "true or false";
        /// Maximum number of writes that wait in a lane; more are refused
        queue: usize = "4096", "IFMATCH_QUEUE", Open,
            |text| between(text, 1, 1_000_000), "a whole number from 1 to 1000000";
        /// Maximum number of writes that share one commit
        batch_max: usize = "512", "IFMATCH_BATCH_MAX", Open,
            |text| between(text, 1, 10_000), "a whole number from 1 to 10000";
        /// How long requests are still accepted after a stop signal; `/readyz` is already 503
        drain_ms: u64 = "200", "IFMATCH_DRAIN_MS", Open,
            |text| between(text, 0, 600_000), "a whole number of milliseconds from 0 to 600000";
        /// How long a connection is kept open without a request, in seconds
        keep_alive_s: u64 = "130", "IFMATCH_KEEP_ALIVE_S", Open,
            |text| between(text, 1, 86_400), "a whole number of seconds from 1 to 86400";
        /// Days after which a replaced version of an object is pruned, at least 3; 0 is never
        history_days: u64 = "0", "IFMATCH_HISTORY_DAYS", Open,
            |text| between(text, 0, 0).or_else(|| between(text, 3, 36_500)),
            "0, or a whole number of days from 3 to 36500";
        /// Time between two billing runs that the server makes by itself, in milliseconds; 0 is never
        billing_interval_ms: u64 = "0", "IFMATCH_BILLING_INTERVAL_MS", Open,
            |text| between(text, 0, 86_400_000), "a whole number of milliseconds from 0 to 86400000";
        /// The kind of the panel: pterodactyl or pelican
        panel_kind: PanelKind = "pterodactyl", "IFMATCH_PANEL_KIND", NoFlag,
            PanelKind::from_name, "pterodactyl or pelican";
        /// Maximum time of a call to the panel, in milliseconds
        panel_timeout_ms: u64 = "40000", "IFMATCH_PANEL_TIMEOUT_MS", NoFlag,
            milliseconds, "a whole number of milliseconds from 1 to 86400000";
        /// How long after a panel call its outcome may still appear, in milliseconds
        settle_ms: u64 = "60000", "IFMATCH_SETTLE_MS", NoFlag,
            milliseconds, "a whole number of milliseconds from 1 to 86400000";
        /// Minimum time between two checks that find a server absent, in milliseconds
        absent_gap_ms: u64 = "30000", "IFMATCH_ABSENT_GAP_MS", NoFlag,
            milliseconds, "a whole number of milliseconds from 1 to 86400000";
        /// The first pause of the reconciler, in milliseconds
        reconcile_ms: u64 = "30000", "IFMATCH_RECONCILE_MS", NoFlag,
            milliseconds, "a whole number of milliseconds from 1 to 86400000";
    }
    maybe {
        /// Maximum requests per second and key, with bursts of twice that; 0 is no limit
        /// [default: 0 on loopback without behind_proxy, otherwise 500]
        rate_limit: u32, "IFMATCH_RATE_LIMIT", Open,
            |text| between(text, 0, 1_000_000), "a whole number from 0 to 1000000";
        /// Maximum number of open connections of clients
        /// [default: three quarters of the limit of open files]
        connections: usize, "IFMATCH_CONNECTIONS", Open,
            |text| between(text, 1, 1_000_000), "a whole number from 1 to 1000000";
        /// Maximum number of open connections of an address; 0 is no limit, which loopback addresses
        /// and trusted proxies always have
        /// [default: a quarter of all connections, at most 256]
        connections_per_address: usize, "IFMATCH_CONNECTIONS_PER_ADDRESS", Open,
            |text| between(text, 0, 1_000_000), "a whole number from 0 to 1000000";
        /// The proxies whose X-Forwarded-For counts: addresses and networks, separated by commas
        /// [default: loopback addresses]
        trusted_proxies: Networks, "IFMATCH_TRUSTED_PROXIES", Open,
            parsed, "a list of addresses and networks such as 10.0.0.7,192.168.0.0/16";
        /// Number of lanes that decide writes in parallel on PostgreSQL; SQLite has one writer
        /// [default: one per processor, 2 to 4]
        lanes: usize, "IFMATCH_LANES", Open,
            |text| between(text, 1, 64), "a whole number from 1 to 64";
        /// Number of threads that serve HTTP
        /// [default: one per processor]
        http_threads: usize, "IFMATCH_HTTP_THREADS", Open,
            |text| between(text, 1, 64), "a whole number from 1 to 64";
        /// The schema that holds the tables on PostgreSQL; `migrate` makes it
        /// [default: the first of the role's search path]
        schema: String, "IFMATCH_SCHEMA", Open,
            |text| (!text.is_empty()).then(|| text.to_owned()), "the name of a schema";
        /// The address at which clients reach the server, for links to it
        /// [default: links are paths]
        public_url: String, "IFMATCH_PUBLIC_URL", Open,
            web_url, "an address such as https://billing.example.com/api";
        /// The TLS certificate, a PEM file
        tls_cert: PathBuf, "IFMATCH_TLS_CERT", Open, file, "a file";
        /// The TLS certificate's private key, a PEM file
        tls_key: PathBuf, "IFMATCH_TLS_KEY", Open, file, "a file";
        /// A key that becomes an admin key at start
        admin_key: SecretString, "IFMATCH_ADMIN_KEY", Secret,
            admin_key, "a key of 24 to 255 visible characters";
        /// The secret that lock tokens are derived from
        secret: SecretString, "IFMATCH_SECRET", Secret,
            secret, "a secret of at least 24 characters";
        /// The address of the panel that servers are made on
        panel_url: String, "IFMATCH_PANEL_URL", NoFlag,
            web_url, "an address such as https://panel.example.com";
        /// The panel's API key
        panel_key: SecretString, "IFMATCH_PANEL_KEY", Secret,
            visible, "a key of visible characters";
    }
}

impl Setting {
    pub fn has_flag(&self) -> bool {
        matches!(self.door, Door::Open | Door::Switch)
    }

    pub fn flag(&self) -> String {
        format!("--{}", self.key.replace('_', "-"))
    }

    pub fn arg(&self) -> Option<Arg> {
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
