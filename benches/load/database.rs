//! The databases of a run: seeded once, then copied for every measured server.

use crate::{Failure, cluster::Cluster, seed::ROLLING_DAYS, workload::Workload};
use diesel::{
    Connection, PgConnection, QueryableByName, RunQueryDsl, SqliteConnection,
    connection::SimpleConnection, sql_query, sql_types::Text,
};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};
use tempfile::TempDir;

/// The settings of every system's cluster. Durability keeps PostgreSQL's defaults: fsync,
/// full_page_writes and synchronous_commit are on.
const SETTINGS: [&str; 3] = ["shared_buffers=512MB", "max_connections=400", "max_wal_size=4GB"];

/// How the ids of added subscriptions begin: in the past, so that they are not the newest.
const FILLED_ID: &str = "sub_0190000000000";
/// The number of subscriptions that are copied.
const COPIED_SUBSCRIPTIONS: u64 = 1_000;
/// Rows added per transaction.
const FILLED_AT_ONCE: u64 = 500_000;

/// Where databases are made and copied.
pub enum Place {
    /// Files in a directory.
    Sqlite(TempDir),
    /// Databases of a cluster that only this benchmark uses.
    Postgres(Arc<Cluster>, TempDir),
}

#[derive(QueryableByName)]
struct OneText {
    #[diesel(sql_type = Text)]
    text: String,
}

impl Place {
    pub fn sqlite() -> Result<Self, Failure> {
        Ok(Self::Sqlite(fresh_dir()?))
    }

    pub fn postgres() -> Result<Self, Failure> {
        Ok(Self::Postgres(Cluster::create_with(&SETTINGS), fresh_dir()?))
    }

    /// The name in JSON and in the table.
    pub fn backend(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "sqlite",
            Self::Postgres(..) => "postgres",
        }
    }

    pub fn is_postgres(&self) -> bool {
        matches!(self, Self::Postgres(..))
    }

    /// A directory for the files of servers and tools.
    pub fn dir(&self) -> &Path {
        match self {
            Self::Sqlite(dir) | Self::Postgres(_, dir) => dir.path(),
        }
    }

    /// The `--database-url` of a database.
    pub fn url(&self, name: &str) -> String {
        match self {
            Self::Sqlite(_) => format!("sqlite://{}", self.file(name).display()),
            Self::Postgres(cluster, _) => cluster.url(name),
        }
    }

    /// Creates an empty database.
    pub fn create(&self, name: &str) {
        if let Self::Postgres(cluster, _) = self {
            cluster.execute("postgres", &format!("CREATE DATABASE {name}"));
        }
    }

    /// Brings a seeded database into the state that every copy starts from.
    pub fn settle(&self, name: &str) -> Result<(), Failure> {
        match self {
            Self::Sqlite(_) => self.execute(name, "PRAGMA wal_checkpoint(TRUNCATE)"),
            Self::Postgres(..) => {
                self.execute(name, "VACUUM (ANALYZE, FREEZE)")?;
                self.execute(name, "CHECKPOINT")
            }
        }
    }

    /// Copies a database. It must have no open connections.
    pub fn copy(&self, from: &str, to: &str) -> Result<(), Failure> {
        match self {
            Self::Sqlite(_) => {
                fs::copy(self.file(from), self.file(to))?;
            }
            Self::Postgres(cluster, _) => {
                cluster.execute("postgres", &format!("CREATE DATABASE {to} TEMPLATE {from}"));
                cluster.execute("postgres", "CHECKPOINT");
            }
        }
        Ok(())
    }

    /// Deletes a database.
    pub fn remove(&self, name: &str) -> Result<(), Failure> {
        match self {
            Self::Sqlite(_) => {
                for suffix in ["", "-wal", "-shm"] {
                    let file = self.file(&format!("{name}{suffix}"));
                    if file.exists() {
                        fs::remove_file(file)?;
                    }
                }
            }
            Self::Postgres(cluster, _) => {
                cluster.execute("postgres", &format!("DROP DATABASE {name} WITH (FORCE)"));
            }
        }
        Ok(())
    }

    /// Runs a query that returns one integer.
    pub fn number(&self, name: &str, sql: &str) -> Result<u64, Failure> {
        // As text, because the databases disagree about the type of a sum.
        Ok(self.text(name, &format!("SELECT CAST(({sql}) AS text)"))?.parse()?)
    }

    /// Runs a query that returns one text.
    fn text(&self, name: &str, sql: &str) -> Result<String, Failure> {
        let query = sql_query(format!("SELECT ({sql}) AS text"));
        let row: OneText = match self {
            Self::Sqlite(_) => query.get_result(&mut self.open(name)?)?,
            Self::Postgres(..) => {
                query.get_result(&mut PgConnection::establish(&self.url(name))?)?
            }
        };
        Ok(row.text)
    }

    /// The columns of a table, without the number that the database gives each event.
    fn columns(&self, name: &str, table: &str) -> Result<String, Failure> {
        let numbered = if table == "events" { "seq" } else { "" };
        let sql = match self {
            Self::Sqlite(_) => format!(
                "SELECT group_concat(name, ', ') FROM pragma_table_info('{table}') \
                 WHERE name <> '{numbered}'"
            ),
            Self::Postgres(..) => format!(
                "SELECT string_agg(column_name, ', ' ORDER BY ordinal_position) \
                 FROM information_schema.columns \
                 WHERE table_name = '{table}' AND column_name <> '{numbered}'"
            ),
        };
        self.text(name, &sql)
    }

    /// Adds rows until a workload finds so many.
    pub fn fill(&self, name: &str, workload: Workload, records: u64) -> Result<(), Failure> {
        match workload {
            workload if workload.is_credit() => self.fill_transfers(name, records),
            workload if workload.is_usage() => self.fill_usage(name, workload, records),
            _ => self.fill_subscriptions(name, records),
        }
    }

    /// Adds subscriptions, each with its event and its terms, in ascending order of their ids.
    ///
    /// Each copies one that the server wrote. They are spread over the workspaces as those are.
    fn fill_subscriptions(&self, name: &str, records: u64) -> Result<(), Failure> {
        let mut there = self.number(name, "SELECT count(*) FROM subscriptions")?;
        let copied = COPIED_SUBSCRIPTIONS.min(there);
        while there < records {
            let next = records.min(there.saturating_add(FILLED_AT_ONCE));
            for (table, key) in [
                ("subscriptions", "id"),
                ("events", "resource_id"),
                ("subscription_terms", "subscription_id"),
            ] {
                let columns = self.columns(name, table)?;
                let id = "m.new_id";
                let values = columns.split(", ").map(|column| match column {
                    column if column == key => id.to_owned(),
                    "state" => format!("replace(t.state, m.old_id, {id})"),
                    column => format!("t.{column}"),
                });
                let values = values.collect::<Vec<_>>().join(", ");
                self.execute(
                    name,
                    &format!(
                        "INSERT INTO {table} ({columns}) \
                         WITH RECURSIVE numbers (n) AS (SELECT CAST({there} AS bigint) UNION ALL \
                         SELECT n + 1 FROM numbers WHERE n + 1 < {next}), \
                         copied AS (SELECT id, row_number() OVER (ORDER BY id) - 1 AS place FROM \
                         (SELECT id FROM subscriptions WHERE id > '{FILLED_ID}9' ORDER BY id \
                         LIMIT {copied}) AS source), \
                         m AS (SELECT n, c.id AS old_id, '{FILLED_ID}' || \
                         CAST(1000000000000000000 + n AS text) AS new_id \
                         FROM numbers JOIN copied AS c ON c.place = n % {copied}) \
                         SELECT {values} FROM m JOIN {table} AS t ON t.{key} = m.old_id ORDER BY m.n"
                    ),
                )?;
            }
            there = next;
        }
        self.settle(name)
    }

    /// The ids of the subscriptions that were added until there are so many.
    pub fn filled_ids(there: u64, records: u64) -> impl Iterator<Item = String> {
        (there..records).map(|n| format!("{FILLED_ID}{}", 1_000_000_000_000_000_000 + n))
    }

    /// Adds usage records until a workload has `records`, and adds them to its counter.
    ///
    /// Each copies a record that the server wrote, with an older id. Their times are spread over a
    /// rolling counter's window, so that some leave the window during the measurement.
    fn fill_usage(&self, name: &str, workload: Workload, records: u64) -> Result<(), Failure> {
        let feature = workload.name();
        let count = format!("SELECT count(*) FROM usage_records WHERE feature = '{feature}'");
        let mut there = self.number(name, &count)?;
        let missing = records.saturating_sub(there);
        let until = jiff::Timestamp::now().as_microsecond();
        let step = ROLLING_DAYS * 86_400_000_000 / i64::try_from(missing.max(1))?;
        while there < records {
            let next = records.min(there.saturating_add(FILLED_AT_ONCE));
            self.execute(
                name,
                &format!(
                    "INSERT INTO usage_records (id, version, counter_id, scope, charged_scope, \
                     feature, quantity, reversed, is_rolling, metadata, at, actor, source, \
                     request_id) \
                     WITH RECURSIVE numbers (n) AS (SELECT CAST({there} AS bigint) UNION ALL \
                     SELECT n + 1 FROM numbers WHERE n + 1 < {next}) \
                     SELECT 'usg_0190000000000' || CAST(1000000000000000000 + n AS text), version, \
                     counter_id, scope, charged_scope, feature, quantity, reversed, is_rolling, \
                     metadata, {until} - ({records} - n) * {step}, actor, \
                     source, request_id FROM numbers CROSS JOIN (SELECT * FROM usage_records \
                     WHERE feature = '{feature}' ORDER BY id DESC LIMIT 1) AS one"
                ),
            )?;
            there = next;
        }
        self.execute(
            name,
            "UPDATE counters SET version = version + 1, used = (SELECT sum(quantity - reversed) \
             FROM usage_records WHERE counter_id = counters.id \
             AND (rolled_until IS NULL OR at > rolled_until))",
        )?;
        self.settle(name)
    }

    /// Adds top-ups of one credit, spread over all accounts, until there are so many transfers.
    fn fill_transfers(&self, name: &str, records: u64) -> Result<(), Failure> {
        let mut there = self.number(name, "SELECT count(*) FROM transfers")?;
        while there < records {
            let more = FILLED_AT_ONCE.min(records.saturating_sub(there));
            // As a constant, so that a hash finds each account.
            let places = self.number(name, "SELECT count(*) FROM ledger_accounts")?;
            self.execute(
                name,
                &format!(
                    "INSERT INTO transfers (id, account_id, version, kind, amount, available, \
                     reserved, reason, at, actor, source, request_id) \
                     WITH RECURSIVE numbers (n) AS (SELECT CAST(0 AS bigint) UNION ALL \
                     SELECT n + 1 FROM numbers WHERE n + 1 < {more}) \
                     SELECT 'trf_0190000000000' || CAST(1000000000000000000 + {there} + n AS text), \
                     a.id, a.version + 1 + n / {places}, 'topup', 1, \
                     a.available + 1 + n / {places}, a.reserved, 'bench', 1700000000000000, \
                     'admin', 'api', 'bench' FROM numbers JOIN (SELECT id, version, available, \
                     reserved, row_number() OVER (ORDER BY id) - 1 AS place \
                     FROM ledger_accounts) AS a ON a.place = n % {places}"
                ),
            )?;
            self.execute(
                name,
                &format!(
                    "UPDATE ledger_accounts SET version = version + a.added, \
                     available = available + a.added FROM (SELECT id AS account, \
                     ({more} + {places} - row_number() OVER (ORDER BY id)) / {places} AS added \
                     FROM ledger_accounts) AS a WHERE a.account = ledger_accounts.id"
                ),
            )?;
            there = there.saturating_add(more);
        }
        self.settle(name)
    }

    /// Runs one statement.
    pub fn execute(&self, name: &str, sql: &str) -> Result<(), Failure> {
        match self {
            Self::Sqlite(_) => Ok(self.open(name)?.batch_execute(sql)?),
            Self::Postgres(cluster, _) => {
                cluster.execute(name, sql);
                Ok(())
            }
        }
    }

    fn open(&self, name: &str) -> Result<SqliteConnection, Failure> {
        Ok(SqliteConnection::establish(&self.file(name).display().to_string())?)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir().join(name)
    }
}

/// A new directory, deleted when dropped.
pub fn fresh_dir() -> Result<TempDir, Failure> {
    Ok(tempfile::Builder::new().prefix("ifmatch-bench-").tempdir()?)
}
