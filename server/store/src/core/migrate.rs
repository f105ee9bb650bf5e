//! Migrations, and the version of the embedded SQLite.

mod one_by_one;

use self::one_by_one::OneByOne;
use super::{
    db::{Db, is_english},
    error::StoreError,
    postgres::PostgresDb,
    sql::Sql,
};
use crate::on_backend;
use diesel::{
    Connection, RunQueryDsl, SqliteConnection,
    backend::Backend,
    connection::SimpleConnection,
    migration::{MigrationSource, MigrationVersion},
    sql_query,
    sql_types::{BigInt, Bool, Text},
};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};
use ifmatch_types::Timestamp;
use std::collections::BTreeSet;

const SQLITE: EmbeddedMigrations = embed_migrations!("../../migrations/sqlite");
const POSTGRES: EmbeddedMigrations = embed_migrations!("../../migrations/postgres");

/// The advisory lock of a migration. Servers that start at the same time migrate one after the
/// other. It ends with the transaction, also behind a pool.
const TRY_LOCK: &str = "SELECT pg_try_advisory_xact_lock(7301240954)";
const LOCK: &str = "SELECT pg_advisory_xact_lock(7301240954)";

/// PostgreSQL's clock at the statement, not at the start of the transaction.
pub(crate) const CLOCK: &str =
    "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS number";

impl Db {
    /// Runs the migrations that have not run yet and returns their names. On PostgreSQL,
    /// makes the schema first if one was asked for and is missing.
    ///
    /// Without any, it changes nothing and waits for nobody, so that a role without the right to
    /// change the schema can start the server.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub fn migrate(&mut self) -> Result<Vec<String>, StoreError> {
        if self.pending_migrations()?.is_empty() {
            return Ok(Vec::new());
        }
        // Pending migrations are read again under the lock, so that processes migrate one after the
        // other.
        let done = match self {
            Self::Sqlite(db) => migrate_sqlite(db.connection()),
            Self::Postgres(db) => migrate_postgres(db),
        };
        done.map_err(StoreError::Unforeseen)
    }

    /// The names of migrations that this program has and the database does not.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub fn pending_migrations(&mut self) -> Result<Vec<String>, StoreError> {
        let run = self.run_migrations()?;
        let mut pending = self.known_migrations()?;
        pending.retain(|(version, _)| !run.contains(version));
        Ok(pending.into_iter().map(|(_, name)| name).collect())
    }

    /// The newest migration of the database, if it is newer than all of this program's. A newer program has
    /// run it.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub fn unknown_migration(&mut self) -> Result<Option<String>, StoreError> {
        let newest = self.known_migrations()?.into_iter().map(|(version, _)| version).max();
        Ok(self.run_migrations()?.pop_last().filter(|run| Some(run) > newest.as_ref()))
    }

    /// The versions and names of this program's migrations.
    fn known_migrations(&self) -> Result<Vec<(String, String)>, StoreError> {
        let known = match self {
            Self::Sqlite(_) => all_of::<diesel::sqlite::Sqlite>(&SQLITE),
            Self::Postgres(_) => all_of::<diesel::pg::Pg>(&POSTGRES),
        };
        known.map_err(StoreError::Unforeseen)
    }

    /// The versions of the migrations that have run. It only reads: Diesel's own list would create its
    /// table first.
    fn run_migrations(&mut self) -> Result<BTreeSet<String>, StoreError> {
        let exists = match self {
            Self::Sqlite(_) => {
                "SELECT count(*) FROM sqlite_master WHERE name = '__diesel_schema_migrations'"
            }
            Self::Postgres(_) => "SELECT count(to_regclass('__diesel_schema_migrations'))",
        };
        let exists = Sql::new(exists).returning::<BigInt>();
        let exists: i64 = on_backend!(self, c => exists.get_result(c))?;
        if exists == 0 {
            return Ok(BTreeSet::new());
        }
        let run = Sql::new("SELECT version FROM __diesel_schema_migrations").returning::<Text>();
        let run: Vec<String> = on_backend!(self, c => run.load(c))?;
        Ok(run.into_iter().collect())
    }

    /// The time on the database's clock. On SQLite it is the process's own clock.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub fn clock(&mut self) -> Result<Timestamp, StoreError> {
        let Self::Postgres(db) = self else { return Ok(Timestamp::now()) };
        let micros: i64 = Sql::new(CLOCK).returning::<BigInt>().get_result(db.connection())?;
        Timestamp::from_micros(micros).ok_or_else(|| {
            StoreError::Unforeseen(format!("the database's clock says {micros}").into())
        })
    }

    /// The locale of the database's messages, and whether it is English.
    ///
    /// Some errors can only be told apart if it is. `None` on SQLite.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub fn messages_locale(&mut self) -> Result<Option<(String, bool)>, StoreError> {
        let Self::Postgres(db) = self else { return Ok(None) };
        let locale = db.text("lc_messages")?.unwrap_or_default();
        let is_english = is_english(&locale);
        Ok(Some((locale, is_english)))
    }

    /// The product name and version of the database, for people to read.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub fn product(&mut self) -> Result<String, StoreError> {
        #[derive(diesel::QueryableByName)]
        struct Product {
            #[diesel(sql_type = Text)]
            product: String,
        }
        let sql = match self {
            Self::Sqlite(_) => "SELECT 'SQLite ' || sqlite_version() AS product",
            Self::Postgres(_) => {
                "SELECT 'PostgreSQL ' || current_setting('server_version') AS product"
            }
        };
        let found: Product = on_backend!(self, c => sql_query(sql).get_result(c))?;
        Ok(found.product)
    }
}

/// Runs the pending migrations, all or none.
///
/// A table that is made anew is dropped in between. References to it are checked at the end, and not
/// while it is gone (sqlite.org/lang_altertable.html, section 7).
fn migrate_sqlite(connection: &mut SqliteConnection) -> Migrated {
    connection.batch_execute("PRAGMA foreign_keys = OFF")?;
    let done = connection.immediate_transaction(|connection| {
        let done = connection.run_pending_migrations(SQLITE).map(|done| names(&done))?;
        let broken = Sql::new("SELECT count(*) FROM pragma_foreign_key_check");
        let broken: i64 = broken.returning::<BigInt>().get_result(connection)?;
        if broken > 0 {
            return Err(format!("{broken} rows refer to rows that do not exist").into());
        }
        Ok(done)
    });
    connection.batch_execute("PRAGMA foreign_keys = ON")?;
    done
}

/// Makes the schema if it is missing, and runs the pending migrations, all or none.
fn migrate_postgres(db: &mut PostgresDb) -> Migrated {
    let schema = db.schema().map(ToOwned::to_owned);
    db.connection().transaction(|connection| {
        let locked: bool = Sql::new(TRY_LOCK).returning::<Bool>().get_result(connection)?;
        if !locked {
            tracing::info!("another process migrates this database; waiting until it is done");
            sql_query(LOCK).execute(connection)?;
        }
        if let Some(schema) = schema {
            connection.batch_execute(&format!("CREATE SCHEMA IF NOT EXISTS {schema}"))?;
        }
        connection.run_pending_migrations(OneByOne(POSTGRES)).map(|done| names(&done))
    })
}

type Migrated = diesel::migration::Result<Vec<String>>;

/// The versions and names of all migrations of this program, in order.
fn all_of<DB: Backend>(source: &EmbeddedMigrations) -> MigrationNames {
    let migrations = MigrationSource::<DB>::migrations(source)?;
    let mut names: Vec<(String, String)> = migrations
        .iter()
        .map(|migration| (migration.name().version().to_string(), migration.name().to_string()))
        .collect();
    names.sort_unstable();
    Ok(names)
}

type MigrationNames = diesel::migration::Result<Vec<(String, String)>>;

fn names(done: &[MigrationVersion<'_>]) -> Vec<String> {
    done.iter().map(ToString::to_string).collect()
}

/// The version of the SQLite that is compiled in, as one number: 3 051 003 for 3.51.3.
///
/// Earlier versions are refused at start, because a reset of the write-ahead log could corrupt the
/// database (SQLite 3.51.3 release notes).
pub fn sqlite_version() -> i32 {
    libsqlite3_sys::SQLITE_VERSION_NUMBER
}
