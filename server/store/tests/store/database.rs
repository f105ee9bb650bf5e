//! One database per test, and raw SQL on it.

use crate::cluster::Cluster;
use diesel::{RunQueryDsl, connection::SimpleConnection, sql_query, sql_types::Text};
use ifmatch_store::{Db, Use, on_backend};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};
use tempfile::TempDir;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    Sqlite,
    Postgres,
}

/// A migrated database without rows.
pub struct Database {
    url: String,
    _dir: TempDir,
    cluster: Option<(Arc<Cluster>, String)>,
}

impl Database {
    pub fn create(backend: Backend) -> Self {
        let database = Self::create_empty(backend);
        assert_ne!(database.connect(Use::Read).migrate().unwrap(), Vec::<String>::new());
        database
    }

    /// A database without migrations.
    pub fn create_empty(backend: Backend) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let dir = tempfile::Builder::new().prefix("ifmatch-store-").tempdir().unwrap();
        let cluster = (backend == Backend::Postgres).then(|| {
            let cluster = Cluster::shared();
            let name = format!("store_{}", COUNT.fetch_add(1, Ordering::Relaxed));
            cluster.execute("postgres", &format!("CREATE DATABASE {name}"));
            (cluster, name)
        });
        let url = match &cluster {
            Some((cluster, name)) => cluster.url(name),
            None => format!("sqlite://{}", dir.path().join("test.db").display()),
        };
        Self { url, _dir: dir, cluster }
    }

    pub fn connect(&self, purpose: Use) -> Db {
        Db::create(&self.url.parse().unwrap(), purpose).unwrap()
    }

    pub fn lane(&self) -> Db {
        self.connect(Use::Lane)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if let Some((cluster, name)) = &self.cluster {
            cluster.try_execute("postgres", &format!("DROP DATABASE {name} WITH (FORCE)"));
        }
    }
}

/// Runs statements.
#[track_caller]
pub fn execute(db: &mut Db, sql: &str) {
    let done = on_backend!(db, connection => connection.batch_execute(sql));
    done.unwrap_or_else(|error| panic!("{sql}: {error}"));
}

/// The text column `found` of a query's rows.
#[track_caller]
pub fn texts(db: &mut Db, sql: &str) -> Vec<String> {
    #[derive(diesel::QueryableByName)]
    struct Found {
        #[diesel(sql_type = Text)]
        found: String,
    }
    let rows: Vec<Found> = on_backend!(db, connection => sql_query(sql).load(connection))
        .unwrap_or_else(|error| panic!("{sql}: {error}"));
    rows.into_iter().map(|row| row.found).collect()
}

/// Makes two tests, `name::sqlite` and `name::postgres`, of each `fn name(database: &Database)`.
macro_rules! both_databases {
    ($($name:ident),* $(,)?) => {
        $(
            mod $name {
                use crate::database::{Backend, Database};

                #[test]
                fn sqlite() {
                    super::$name(&Database::create(Backend::Sqlite));
                }

                #[test]
                fn postgres() {
                    super::$name(&Database::create(Backend::Postgres));
                }
            }
        )*
    };
}
pub(crate) use both_databases;
