//! The databases of a run: seeded once, copied for every server that is measured.

use crate::{Failure, cluster::Cluster, load::Workload, seed::ROLLING_DAYS};
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

/// What every system finds: the same cluster with the same settings. Everything about durability
/// is at PostgreSQL's own default: fsync, full_page_writes and synchronous_commit are on.
const SETTINGS: [&str; 3] = ["shared_buffers=512MB", "max_connections=400", "max_wal_size=4GB"];

/// So many usage records are added in one transaction.
const FILLED_AT_ONCE: u64 = 500_000;

/// Where databases are made and copied.
pub enum Place {
    /// Files in a directory.
    Sqlite(TempDir),
    /// Databases of a cluster that only this benchmark uses.
    Postgres(Arc<Cluster>, TempDir),
}

#[derive(QueryableByName)]
struct Number {
    #[diesel(sql_type = Text)]
    number: String,
}

impl Place {
    pub fn sqlite() -> Result<Self, Failure> {
        Ok(Self::Sqlite(fresh_dir()?))
    }

    pub fn postgres() -> Result<Self, Failure> {
        Ok(Self::Postgres(Cluster::create_with(&SETTINGS), fresh_dir()?))
    }

    /// For JSON and the table.
    pub fn backend(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "sqlite",
            Self::Postgres(..) => "postgres",
        }
    }

    pub fn is_postgres(&self) -> bool {
        matches!(self, Self::Postgres(..))
    }

    /// A directory for what a server or a tool leaves behind.
    pub fn dir(&self) -> &Path {
        match self {
            Self::Sqlite(dir) | Self::Postgres(_, dir) => dir.path(),
        }
    }

    /// What `--database-url` takes.
    pub fn url(&self, name: &str) -> String {
        match self {
            Self::Sqlite(_) => format!("sqlite://{}", self.file(name).display()),
            Self::Postgres(cluster, _) => cluster.url(name),
        }
    }

    /// An empty database.
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

    /// A copy of a database that nobody is connected to.
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

    /// Removes a database.
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

    /// The whole number that a query answers.
    pub fn number(&self, name: &str, sql: &str) -> Result<u64, Failure> {
        // As text, because the databases disagree about the type of a sum.
        let query = sql_query(format!("SELECT CAST(({sql}) AS text) AS number"));
        let row: Number = match self {
            Self::Sqlite(_) => query.get_result(&mut self.open(name)?)?,
            Self::Postgres(..) => {
                query.get_result(&mut PgConnection::establish(&self.url(name))?)?
            }
        };
        Ok(row.number.parse()?)
    }

    /// Adds usage records until there are so many of a workload, and counts them as used.
    ///
    /// Each is a copy of one that the server wrote, with an older id. Their times are spread over
    /// the days that a rolling counter looks back on, so that some leave it while it is measured.
    pub fn fill(&self, name: &str, workload: Workload, records: u64) -> Result<(), Failure> {
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

fn fresh_dir() -> Result<TempDir, Failure> {
    Ok(tempfile::Builder::new().prefix("ifmatch-bench-").tempdir()?)
}
