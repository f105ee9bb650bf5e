//! The databases of a run: seeded once, copied for every server that is measured.

use crate::{Failure, cluster::Cluster};
use diesel::{
    Connection, PgConnection, QueryableByName, RunQueryDsl, SqliteConnection,
    connection::SimpleConnection, sql_query, sql_types::BigInt,
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

/// Where databases are made and copied.
pub enum Place {
    /// Files in a directory.
    Sqlite(TempDir),
    /// Databases of a cluster that only this benchmark uses.
    Postgres(Arc<Cluster>, TempDir),
}

#[derive(QueryableByName)]
struct Number {
    #[diesel(sql_type = BigInt)]
    number: i64,
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
            Self::Sqlite(_) => self.sqlite_execute(name, "PRAGMA wal_checkpoint(TRUNCATE)"),
            Self::Postgres(cluster, _) => {
                cluster.execute(name, "VACUUM (ANALYZE, FREEZE)");
                Ok(())
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

    /// Runs one statement of PostgreSQL; nothing on SQLite.
    pub fn postgres_execute(&self, name: &str, sql: &str) {
        if let Self::Postgres(cluster, _) = self {
            cluster.execute(name, sql);
        }
    }

    /// The number that a query answers, as `number`.
    pub fn number(&self, name: &str, sql: &str) -> Result<i64, Failure> {
        let query = sql_query(sql);
        let row: Number = match self {
            Self::Sqlite(_) => query.get_result(&mut self.open(name)?)?,
            Self::Postgres(..) => {
                query.get_result(&mut PgConnection::establish(&self.url(name))?)?
            }
        };
        Ok(row.number)
    }

    /// How many new versions there are since the subscriptions were made.
    pub fn growth(&self, name: &str) -> Result<i64, Failure> {
        let sql = "SELECT CAST(sum(version) - count(*) AS bigint) AS number FROM subscriptions";
        self.number(name, sql)
    }

    fn sqlite_execute(&self, name: &str, sql: &str) -> Result<(), Failure> {
        Ok(self.open(name)?.batch_execute(sql)?)
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
