//! A separate database for every scenario.

use super::{Cluster, unique};
use diesel::{Connection, SqliteConnection, connection::SimpleConnection};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};
use tempfile::TempDir;

/// Which database a scenario runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    Sqlite,
    Postgres,
}

/// A fresh database and a directory for the servers that use it.
pub struct Database {
    url: String,
    name: String,
    dir: TempDir,
    cluster: Option<Arc<Cluster>>,
    /// A small disk that holds the SQLite file.
    disk: Option<PathBuf>,
}

impl Database {
    /// An empty database. On PostgreSQL it is in the cluster that all tests share.
    pub fn create(backend: Backend) -> Self {
        match backend {
            Backend::Sqlite => {
                let dir = fresh_dir();
                let url = format!("sqlite://{}", dir.path().join("test.db").display());
                Self { url, name: "test.db".to_owned(), dir, cluster: None, disk: None }
            }
            Backend::Postgres => Self::create_in(Cluster::shared()),
        }
    }

    /// An empty database in a given cluster.
    pub fn create_in(cluster: Arc<Cluster>) -> Self {
        let name = unique("test");
        cluster.execute("postgres", &format!("CREATE DATABASE {name}"));
        let url = cluster.url(&name);
        Self { url, name, dir: fresh_dir(), cluster: Some(cluster), disk: None }
    }

    /// The copy of this database that a standby of its cluster has.
    pub fn on_standby(&self, standby: Arc<Cluster>) -> Self {
        let (url, name) = (standby.url(&self.name), self.name.clone());
        Self { url, name, dir: fresh_dir(), cluster: Some(standby), disk: None }
    }

    /// A SQLite file on a disk of its own of so many MiB. `None` if this user cannot mount one.
    pub fn create_on_small_disk(mib: u32) -> Option<Self> {
        let dir = fresh_dir();
        let disk = dir.path().join("disk");
        fs::create_dir(&disk).unwrap();
        let size = format!("size={mib}m");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&disk);
        let is_mounted = mount.output().is_ok_and(|output| output.status.success());
        let url = format!("sqlite://{}", disk.join("test.db").display());
        let name = "test.db".to_owned();
        is_mounted.then_some(Self { url, name, dir, cluster: None, disk: Some(disk) })
    }

    /// The same PostgreSQL database, for a server of another role.
    pub fn with_role(mut self, role: &str) -> Self {
        self.url = self.url.replace("postgres@", &format!("{role}@"));
        self
    }

    /// The same PostgreSQL database, reached by another URL.
    pub fn with_url(mut self, url: String) -> Self {
        self.url = url;
        self
    }

    /// Its `--database-url`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its name in its cluster, or of its file.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The directory of its servers, their logs and the SQLite file.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn backend(&self) -> Backend {
        if self.cluster.is_some() { Backend::Postgres } else { Backend::Sqlite }
    }

    /// The cluster that holds it; `None` on SQLite.
    pub fn cluster(&self) -> Option<&Cluster> {
        self.cluster.as_deref()
    }

    /// Runs SQL directly on the database, without the server.
    pub fn execute(&self, sql: &str) {
        match &self.cluster {
            Some(cluster) => cluster.execute(&self.name, sql),
            None => {
                let file = self.url.strip_prefix("sqlite://").expect("it is a SQLite file");
                let mut db = SqliteConnection::establish(file).expect("the file can be opened");
                db.batch_execute("PRAGMA busy_timeout = 10000").unwrap();
                db.batch_execute(sql).expect("the SQL is right");
            }
        }
    }

    /// Makes a backup. No server may run.
    pub fn back_up(&self) {
        match &self.cluster {
            Some(cluster) => cluster.execute("postgres", &Self::copy(&self.name, &self.backup())),
            None => self.copy_files("test.db", "backup.db"),
        }
    }

    /// Replaces the database with its backup. No server may run.
    pub fn restore(&self) {
        match &self.cluster {
            Some(cluster) => {
                cluster.execute("postgres", &format!("DROP DATABASE {}", self.name));
                cluster.execute("postgres", &Self::copy(&self.backup(), &self.name));
            }
            None => self.copy_files("backup.db", "test.db"),
        }
    }

    fn backup(&self) -> String {
        format!("{}_backup", self.name)
    }

    fn copy(from: &str, to: &str) -> String {
        format!("CREATE DATABASE {to} TEMPLATE {from}")
    }

    /// Copies a SQLite database with its write-ahead log.
    fn copy_files(&self, from: &str, to: &str) {
        for suffix in ["", "-wal"] {
            let path = |name: &str| self.dir().join(format!("{name}{suffix}"));
            let _ = fs::remove_file(path(to));
            if path(from).is_file() {
                fs::copy(path(from), path(to)).expect("a file can be copied");
            }
        }
        let _ = fs::remove_file(self.dir().join(format!("{to}-shm")));
    }

    /// Every row of every table, as a dump shows it. Freed pages of a SQLite file are left out.
    pub fn dump(&self) -> String {
        if let Some(cluster) = &self.cluster {
            return String::from_utf8_lossy(&cluster.dump(&self.name)).into_owned();
        }
        let file = self.url.strip_prefix("sqlite://").expect("it is a SQLite file");
        let mut db = SqliteConnection::establish(file).expect("the file can be opened");
        let mut found = |sql: &str| -> Vec<String> {
            let sql = diesel::dsl::sql::<diesel::sql_types::Text>(sql);
            diesel::RunQueryDsl::load(sql, &mut db).expect("the SQL is right")
        };
        let tables = found("SELECT name FROM sqlite_master WHERE type = 'table'");
        let rows = tables.iter().flat_map(|table| {
            let columns = found(&format!("SELECT name FROM pragma_table_info('{table}')"));
            let quoted: Vec<_> = columns.iter().map(|name| format!("quote(\"{name}\")")).collect();
            found(&format!("SELECT {} FROM \"{table}\"", quoted.join(" || ',' || ")))
        });
        rows.collect::<Vec<_>>().join("\n")
    }

    /// All stored bytes, as a reader of the disk or of a dump sees them.
    pub fn stored_bytes(&self) -> Vec<u8> {
        match &self.cluster {
            Some(cluster) => cluster.dump(&self.name),
            None => fs::read_dir(self.dir())
                .unwrap()
                .map(|entry| entry.unwrap().path())
                .filter(|path| path.to_string_lossy().contains("test.db"))
                .flat_map(|path| fs::read(path).unwrap())
                .collect(),
        }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if let Some(disk) = &self.disk {
            let _ = Command::new("umount").arg("--lazy").arg(disk).output();
        }
        if let Some(cluster) = &self.cluster {
            for name in [&self.name, &self.backup()] {
                let drop = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
                cluster.try_execute("postgres", &drop);
            }
        }
    }
}

fn fresh_dir() -> TempDir {
    tempfile::Builder::new().prefix("ifmatch-").tempdir().expect("a directory can be made")
}
