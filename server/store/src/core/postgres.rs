//! PostgreSQL: how it is reached, and the settings of a session or of a transaction.
//!
//! A direct connection gets its settings when it begins, as options of the start-up packet. Nothing
//! is sent for them later, and they end with the connection.
//!
//! Behind a pool (PgBouncer and its kin) there is no such session: each transaction may run on
//! another one, and a setting that is made there stays for other clients. A pool refuses these
//! options or drops them, which is how it is recognised. Its transactions make their settings with
//! `SET LOCAL`, in the round trip of their `BEGIN`.

use super::{
    db::Use,
    engine::PoolError,
    error::StoreError,
    sql::Sql,
    standby::Standbys,
    url::UrlError,
    watch::{self, Watch},
};
use diesel::{
    Connection, PgConnection, RunQueryDsl,
    connection::SimpleConnection,
    sql_types::{BigInt, Nullable, Text},
};
use std::{
    fmt::Write,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Settings of every session.
const SETTINGS: [(&str, &str); 4] = [
    ("synchronous_commit", "on"),
    ("TimeZone", "UTC"),
    ("client_min_messages", "warning"),
    ("jit", "off"),
];

/// Further settings of the lane.
///
/// Every statement has one plan for all batch sizes, always by index. Otherwise a small hot table
/// would get a sequential scan over its own dead rows, and a plan without an order would lock rows
/// without an order. `idle_in_transaction_session_timeout` frees the locks of a process that
/// freezes within a transaction.
const LANE_SETTINGS: [(&str, &str); 7] = [
    ("plan_cache_mode", "force_generic_plan"),
    ("enable_seqscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("enable_bitmapscan", "off"),
    ("lock_timeout", "2s"),
    ("idle_in_transaction_session_timeout", "5s"),
];

/// The settings that a statement makes itself that saves a batch without locks. They count while it waits
/// for a row and when it commits. Behind a pool, its plan is made before, and may lock rows in any order.
///
/// It hardly waits. A row that another writer has is lost to it, mostly, and readers of events wait
/// with it: it counts as their writer from its beginning.
const UNLOCKED_SETTINGS: [(&str, &str); 2] =
    [("synchronous_commit", "on"), ("lock_timeout", "20ms")];

/// What a statement selects first that saves a batch without locks, to make its settings.
pub(crate) fn unlocked_settings() -> String {
    let made =
        UNLOCKED_SETTINGS.map(|(name, value)| format!("set_config('{name}', '{value}', true)"));
    made.join(" || ")
}

/// The setting by which a session knows that its options arrived. Nothing else reads it.
const NAME: &str = "ifmatch.session";

/// Parameters that a URL gets if it does not set them. With the timeouts and keepalives, a connection
/// gives up on a server that does not answer.
const DEFAULTS: [(&str, &str); 5] = [
    ("connect_timeout", "3"),
    ("keepalives_idle", "10"),
    ("keepalives_interval", "5"),
    ("keepalives_count", "3"),
    ("application_name", "ifmatch"),
];

/// What PostgreSQL's client accepts in a URL (PostgreSQL 18, section 34.1.2; `ssl` is for JDBC).
const KNOWN: [&str; 52] = [
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "passfile",
    "require_auth",
    "channel_binding",
    "connect_timeout",
    "client_encoding",
    "options",
    "application_name",
    "fallback_application_name",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_count",
    "tcp_user_timeout",
    "replication",
    "gssencmode",
    "ssl",
    "sslmode",
    "requiressl",
    "sslnegotiation",
    "sslcompression",
    "sslcert",
    "sslkey",
    "sslkeylogfile",
    "sslpassword",
    "sslcertmode",
    "sslrootcert",
    "sslcrl",
    "sslcrldir",
    "sslsni",
    "requirepeer",
    "ssl_min_protocol_version",
    "ssl_max_protocol_version",
    "min_protocol_version",
    "max_protocol_version",
    "krbsrvname",
    "gsslib",
    "gssdelegation",
    "scram_client_key",
    "scram_server_key",
    "service",
    "target_session_attrs",
    "load_balance_hosts",
    "oauth_issuer",
    "oauth_client_id",
    "oauth_client_secret",
    "oauth_scope",
];

/// A PostgreSQL database, and the schema that holds the tables.
#[derive(Clone)]
pub struct PostgresTarget {
    url: String,
    schema: Option<String>,
    /// Whether a pool is known to be in between. Shared by all that connect with this target.
    is_pooled: Arc<AtomicBool>,
}

impl PartialEq for PostgresTarget {
    fn eq(&self, other: &Self) -> bool {
        (&self.url, &self.schema) == (&other.url, &other.schema)
    }
}

impl Eq for PostgresTarget {}

impl PostgresTarget {
    /// The target of a `postgres://…` URL, in the schema that the database chooses.
    pub(crate) fn new(url: &str) -> Option<Self> {
        let is_postgres = url.starts_with("postgres://") || url.starts_with("postgresql://");
        let url = url.to_owned();
        is_postgres.then(|| Self { url, schema: None, is_pooled: Arc::default() })
    }

    pub(crate) fn in_schema(self, schema: &str) -> Result<Self, UrlError> {
        let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        let is_good = (1..=63).contains(&schema.len())
            && schema.bytes().all(is_name)
            && !schema.starts_with(|first: char| first.is_ascii_digit())
            && !schema.starts_with("pg_")
            && schema != "information_schema";
        if !is_good {
            return Err(UrlError::SchemaName);
        }
        Ok(Self { schema: Some(schema.to_owned()), ..self })
    }

    pub(crate) fn is_pooled(&self) -> bool {
        self.is_pooled.load(Ordering::Relaxed)
    }

    /// The host and the database's name, without user and password.
    pub(crate) fn place(&self) -> &str {
        // Parameters may hold a password, too.
        let address = self.behind_credentials().split('?').next().unwrap_or_default();
        address.rsplit_once('@').map_or(address, |(_, place)| place)
    }

    /// The URL behind user and password, which end where libpq lets them end: at the first `@`, if no
    /// `/` comes before it.
    fn behind_credentials(&self) -> &str {
        let (_, rest) = self.url.split_once("://").unwrap_or_default();
        match rest.find(['@', '/']) {
            Some(end) if rest[end..].starts_with('@') => &rest[end + 1..],
            _ => rest,
        }
    }

    /// Checks what libpq would refuse with a message that repeats secrets or names no way out.
    pub(crate) fn check(&self) -> Result<(), UrlError> {
        let address = self.behind_credentials().split('?').next().unwrap_or_default();
        if address.contains('@') {
            return Err(UrlError::Credentials);
        }
        for (name, value) in self.parameters() {
            // libpq takes `ssl=true` for JDBC's sake, and no other value.
            if !KNOWN.contains(&name) || (name == "ssl" && value != "true") {
                return Err(UrlError::Parameter { name: shown(name), way_out: way_out(name) });
            }
            let needs_tls = match name {
                "sslmode" => ["require", "verify-ca", "verify-full"].contains(&value),
                "sslrootcert" => value == "system",
                "channel_binding" => value == "require",
                "ssl" => value == "true",
                _ => false,
            };
            if needs_tls && !cfg!(feature = "postgres-tls") {
                let name = KNOWN.iter().find(|known| **known == name).copied().unwrap_or_default();
                return Err(UrlError::NoTls { name, value: value.to_owned() });
            }
        }
        Ok(())
    }

    /// The parameters behind the `?`, as they are written.
    fn parameters(&self) -> impl Iterator<Item = (&str, &str)> {
        let (_, parameters) = self.behind_credentials().split_once('?').unwrap_or_default();
        let each = parameters.split('&').filter(|one| !one.is_empty());
        each.map(|one| one.split_once('=').unwrap_or((one, "")))
    }

    /// The first URL parameter of this name.
    fn parameter(&self, wanted: &str) -> Option<&str> {
        self.parameters().find(|(name, _)| *name == wanted).map(|(_, value)| value)
    }

    /// Whether there are several hosts to choose from.
    fn has_several_hosts(&self) -> bool {
        self.place().split('/').next().is_some_and(|hosts| hosts.contains(','))
            || ["host", "hostaddr"]
                .iter()
                .any(|name| self.parameter(name).is_some_and(|hosts| hosts.contains(',')))
    }

    /// The URL to connect with. `options` are settings for the start-up packet. `mark` marks the
    /// connection for the watch.
    fn url_with(&self, options: &[(&str, &str)], mark: u32) -> String {
        let parameters_at =
            self.behind_credentials().split_once('?').map_or(0, |(_, p)| p.len() + 1);
        let address = &self.url[..self.url.len() - parameters_at];
        let kept = self.parameters().filter(|(name, _)| *name != "options" || options.is_empty());
        let mut parameters: Vec<String> =
            kept.map(|(name, value)| format!("{name}={value}")).collect();
        if let Some(file) = self.system_certificates() {
            let is_ours =
                |one: &String| one.starts_with("sslrootcert=") || one.starts_with("sslmode=");
            parameters.retain(|one| !is_ours(one));
            parameters.push(format!("sslmode=verify-full&sslrootcert={file}"));
        }
        for (name, value) in DEFAULTS {
            if self.parameter(name).is_none() {
                parameters.push(format!("{name}={value}"));
            }
        }
        if self.parameter("tcp_user_timeout").is_none() {
            parameters.push(format!("tcp_user_timeout={mark}"));
        }
        // Only the primary takes writes. It may become another one of them at any time.
        if self.has_several_hosts() && self.parameter("target_session_attrs").is_none() {
            parameters.push("target_session_attrs=read-write".to_owned());
        }
        if !options.is_empty() {
            let mut text = self.parameter("options").unwrap_or_default().to_owned();
            for (name, value) in options {
                // Spaces and equality signs, percent-encoded.
                let _ = write!(text, "%20-c%20{name}%3D{value}");
            }
            parameters.push(format!("options={text}"));
        }
        format!("{address}?{}", parameters.join("&"))
    }

    /// The file of the system's certificates, if they are asked for.
    ///
    /// OpenSSL looks for them where it was built, which is no place of this system.
    fn system_certificates(&self) -> Option<String> {
        let is_asked = self.parameter("sslrootcert") == Some("system")
            && self.parameter("sslmode").is_none_or(|mode| mode == "verify-full");
        let file = is_asked.then(system_certificates).flatten()?;
        Some(file.to_str()?.replace('%', "%25").replace('&', "%26"))
    }

    /// Opens a connection with the settings of its purpose.
    pub(crate) fn connect(&self, purpose: Use) -> Result<PostgresDb, StoreError> {
        let mark = watch::fresh_mark();
        if !self.is_pooled() {
            let name = fresh_name();
            let mut options = settings(purpose);
            options.push((NAME, &name));
            options.extend(self.schema.as_deref().map(|schema| ("search_path", schema)));
            match PgConnection::establish(&self.url_with(&options, mark)) {
                Ok(connection) => {
                    let mut db = self.over(connection, mark, None);
                    if db.text(NAME).map_err(mixed_up)?.as_deref() == Some(&name) {
                        return Ok(db);
                    }
                }
                Err(error) if !refuses_options(&error) => return Err(unreachable(error)),
                Err(_) => {}
            }
            self.is_pooled.store(true, Ordering::Relaxed);
        }
        let connection = PgConnection::establish(&self.url_with(&[], mark)).map_err(unreachable)?;
        let mut db = self.over(connection, mark, Some(purpose));
        // Its first prepared statement is the one that an old pool mixes up.
        db.text(NAME).map_err(mixed_up)?;
        self.check_path(&mut db)?;
        Ok(db)
    }

    /// Behind a pool, its transactions make their own settings, for this purpose.
    fn over(&self, connection: PgConnection, mark: u32, local: Option<Use>) -> PostgresDb {
        let mut begin = "BEGIN ISOLATION LEVEL READ COMMITTED".to_owned();
        for (name, value) in local.map(settings).unwrap_or_default() {
            let _ = write!(begin, "; SET LOCAL {name} = '{value}'");
        }
        let schema = self.schema.clone();
        let standbys = Standbys::default();
        let is_pooled = local.is_some();
        PostgresDb { connection, mark, watch: None, begin, schema, is_pooled, standbys }
    }

    /// Behind a pool, only the role can say which schema its sessions use.
    fn check_path(&self, db: &mut PostgresDb) -> Result<(), StoreError> {
        let Some(schema) = &self.schema else { return Ok(()) };
        let path = db.text("search_path")?.unwrap_or_default();
        let first = path.split(',').next().unwrap_or_default().trim().trim_matches('"');
        if first == schema {
            return Ok(());
        }
        let what = format!(
            "a pool is in front of the database, and there only the role can choose the schema: \
             ALTER ROLE … IN DATABASE … SET search_path = {schema}, and reconnect the pool (now its \
             search_path is {path})"
        );
        Err(StoreError::Impaired(what.into()))
    }
}

/// A connection to PostgreSQL.
pub struct PostgresDb {
    connection: PgConnection,
    /// The mark by which the watch finds it.
    mark: u32,
    watch: Option<Arc<Watch>>,
    /// What a transaction of the lane begins with.
    begin: String,
    schema: Option<String>,
    is_pooled: bool,
    pub(super) standbys: Standbys,
}

impl PostgresDb {
    /// The connection, for one statement.
    pub fn connection(&mut self) -> &mut PgConnection {
        self.note_statement();
        &mut self.connection
    }

    fn note_statement(&self) {
        if let Some(watch) = &self.watch {
            watch.busy();
        }
    }

    /// Cuts the connection whenever a statement takes longer than this from now on.
    pub(crate) fn watch(&mut self, limit: Duration) {
        self.watch = Some(Watch::begin(self.mark, limit));
    }

    /// Says that no statement runs until the next one.
    pub(crate) fn rest(&self) {
        if let Some(watch) = &self.watch {
            watch.idle();
        }
    }

    /// The schema that was asked for.
    pub(crate) fn schema(&self) -> Option<&str> {
        self.schema.as_deref()
    }

    /// Whether a pool is in between, so that no setting of a session may be made.
    pub(crate) fn is_pooled(&self) -> bool {
        self.is_pooled
    }

    /// Begins a transaction of the lane.
    pub(crate) fn begin(&mut self) -> Result<(), StoreError> {
        self.refuse_standby()?;
        self.begin_anywhere()
    }

    /// Begins a transaction that decides nothing, also on a standby.
    pub(crate) fn begin_anywhere(&mut self) -> Result<(), StoreError> {
        self.note_statement();
        Ok(self.connection.batch_execute(&self.begin)?)
    }

    /// The value of a setting. `None` if there is no such setting.
    pub(crate) fn text(&mut self, setting: &str) -> Result<Option<String>, StoreError> {
        let sql = Sql::new("SELECT current_setting(").bind(setting).text(", true)");
        Ok(sql.returning::<Nullable<Text>>().get_result(self.connection())?)
    }

    /// Its version, as it numbers itself: 150018 is 15.18.
    pub(crate) fn version_number(&mut self) -> Result<i64, StoreError> {
        let sql = Sql::new("SELECT current_setting('server_version_num')::bigint");
        Ok(sql.returning::<BigInt>().get_result(self.connection())?)
    }
}

#[cfg(feature = "postgres-tls")]
fn system_certificates() -> Option<PathBuf> {
    openssl_probe::probe().cert_file
}

#[cfg(not(feature = "postgres-tls"))]
fn system_certificates() -> Option<PathBuf> {
    None
}

/// The settings of a purpose.
fn settings(purpose: Use) -> Vec<(&'static str, &'static str)> {
    let mut settings = SETTINGS.to_vec();
    if purpose == Use::Lane {
        settings.extend(LANE_SETTINGS);
    }
    settings
}

/// A text that no other connection has.
fn fresh_name() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{}-{}-{number}", std::process::id(), now.as_nanos())
}

/// Whether a connection failed because something in between does not pass options on.
///
/// PgBouncer says "unsupported startup parameter", Amazon's RDS Proxy that it does not support
/// command-line options, CockroachDB that a setting does not exist.
fn refuses_options(error: &diesel::ConnectionError) -> bool {
    let text = error.to_string();
    ["startup parameter", "options", "unrecognized configuration parameter"]
        .iter()
        .any(|known| text.contains(known))
}

/// Why no connection was made, with the way out if the program cannot do what its environment asks.
fn unreachable(error: diesel::ConnectionError) -> StoreError {
    if error.to_string().contains("SSL support is not compiled in") {
        let what = format!("{error}; {}", UrlError::WITHOUT_TLS);
        return StoreError::Gone(what.into());
    }
    error.into()
}

/// Says of a prepared statement of somebody else's that it comes from the pool.
fn mixed_up(error: StoreError) -> StoreError {
    let text = error.to_string();
    if text.contains("prepared statement") {
        return StoreError::Impaired(PoolError::MixesUp(text).into());
    }
    error
}

/// The name of an unknown parameter. One that may be a part of a password is not shown.
fn shown(name: &str) -> String {
    let is_name = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    if is_name { name.to_owned() } else { "…".to_owned() }
}

fn way_out(name: &str) -> &'static str {
    match name {
        "ssl" => "set sslmode instead",
        "schema" | "search_path" | "currentSchema" => "set the schema with --schema",
        "pgbouncer" | "prepareThreshold" | "statement_cache_size" => {
            "leave it out: a pool is recognised"
        }
        "pool_timeout" | "connection_limit" | "max_connections" | "socket_timeout" => {
            "leave it out: the number of connections follows from --lanes"
        }
        _ => "leave it out",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(url: &str) -> PostgresTarget {
        PostgresTarget::new(url).unwrap()
    }

    #[test]
    fn a_url_keeps_what_it_sets_and_gets_the_rest() {
        let url =
            target("postgres://db/x?connect_timeout=9&application_name=mine").url_with(&[], 15_000);
        assert_eq!(url.matches("connect_timeout").count(), 1);
        assert!(url.contains("connect_timeout=9") && url.contains("application_name=mine"));
        assert!(url.contains("tcp_user_timeout=15000") && url.contains("keepalives_idle=10"));
    }

    #[test]
    fn options_are_added_to_those_of_the_url() {
        let url = target("postgres://db/x?options=-c%20work_mem%3D8MB")
            .url_with(&[("jit", "off")], 15_000);
        assert!(url.ends_with("options=-c%20work_mem%3D8MB%20-c%20jit%3Doff"), "{url}");
    }

    #[test]
    fn the_primary_is_looked_for_among_several_hosts() {
        for several in ["postgres://a,b/x", "postgres://me:p@a:1,b:2/x", "postgres:///x?host=a,b"] {
            assert!(
                target(several).url_with(&[], 15_000).contains("target_session_attrs=read-write")
            );
        }
        for other in ["postgres://a/x,y", "postgres://a,b/x?target_session_attrs=any"] {
            assert!(!target(other).url_with(&[], 15_000).contains("read-write"), "{other}");
        }
    }

    #[test]
    fn what_the_client_does_not_know_is_named_with_a_way_out() {
        for (url, expected) in [
            ("postgres://db/x?schema=shop", "`schema`; set the schema with --schema"),
            ("postgres://db/x?pgbouncer=true", "`pgbouncer`; leave it out: a pool is recognised"),
            ("postgres://db/x?s3cret.word=1", "`…`; leave it out"),
            ("postgres://db/x?ssl=1", "`ssl`; set sslmode instead"),
            ("postgres://db/x?servicefile=f", "`servicefile`; leave it out"),
        ] {
            let error = target(url).check().unwrap_err().to_string();
            assert!(error.ends_with(expected), "{error}");
        }
        target("postgresql://me:p%40ss@db/x?sslmode=prefer&connect_timeout=3").check().unwrap();
    }

    #[test]
    fn a_password_that_ends_early_is_refused_and_not_shown() {
        for url in ["postgres://me:p@s3cret@db/x", "postgres://me:p/s3cret@db/x"] {
            let error = target(url).check().unwrap_err();
            assert_eq!(error, UrlError::Credentials, "{url}");
            assert!(!error.to_string().contains("s3cret"));
        }
    }

    #[test]
    fn other_characters_of_a_password_do_not_end_it() {
        let target = target("postgres://me:p?a#b=c&d@db/x?connect_timeout=9");
        target.check().unwrap();
        assert_eq!((target.place(), target.parameter("connect_timeout")), ("db/x", Some("9")));
        assert!(
            target
                .url_with(&[], 15_000)
                .starts_with("postgres://me:p?a#b=c&d@db/x?connect_timeout=9&")
        );
        PostgresTarget::new("postgres://db/x?user=a@b").unwrap().check().unwrap();
    }

    #[test]
    fn tls_is_refused_by_a_program_without_it() {
        for url in ["postgres://db/x?sslmode=require", "postgres://db/x?channel_binding=require"] {
            assert_eq!(target(url).check().is_ok(), cfg!(feature = "postgres-tls"), "{url}");
        }
    }

    #[test]
    fn a_schema_has_a_plain_name() {
        for good in ["shop", "_s", "s1", &"a".repeat(63)] {
            let target = target("postgres://db/x").in_schema(good).unwrap();
            assert_eq!(target.schema.as_deref(), Some(good));
        }
        for bad in ["", "Shop", "1s", "a-b", "pg_x", "information_schema", &"a".repeat(64)] {
            assert!(target("postgres://db/x").in_schema(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_transaction_behind_a_pool_makes_its_own_settings() {
        let names: Vec<&str> = settings(Use::Lane).iter().map(|(name, _)| *name).collect();
        assert!(names.contains(&"synchronous_commit") && names.contains(&"plan_cache_mode"));
        assert_eq!(settings(Use::Read).len(), SETTINGS.len());
    }
}
