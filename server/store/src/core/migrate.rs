//! Migrations, and the version of the embedded SQLite.

use super::{
    db::{Db, is_english, messages_locale},
    error::StoreError,
    sql::Sql,
};
use crate::on_backend;
use diesel::{
    RunQueryDsl, sql_query,
    sql_types::{BigInt, Text},
};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};
use ifmatch_types::Timestamp;

const SQLITE: EmbeddedMigrations = embed_migrations!("../../migrations/sqlite");
const POSTGRES: EmbeddedMigrations = embed_migrations!("../../migrations/postgres");

/// The advisory lock of a migration. Servers that start at the same time migrate one after the
/// other.
const MIGRATION_LOCK: &str = "SELECT pg_advisory_lock(7301240954)";
const MIGRATION_UNLOCK: &str = "SELECT pg_advisory_unlock(7301240954)";

/// PostgreSQL's clock at the statement, not at the start of the transaction.
pub(crate) const CLOCK: &str =
    "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS number";

impl Db {
    /// Runs the migrations that have not run yet and returns their names.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub fn migrate(&mut self) -> Result<Vec<String>, StoreError> {
        let done = match self {
            // Pending migrations are read again under the write lock, so that processes migrate one
            // after the other. A process with nothing to migrate does not wait for a busy server.
            Self::Sqlite(connection) => match connection.has_pending_migration(SQLITE) {
                Ok(true) => connection.immediate_transaction(|connection| {
                    connection.run_pending_migrations(SQLITE).map(|done| names(&done))
                }),
                Ok(false) => Ok(Vec::new()),
                Err(error) => Err(error),
            },
            Self::Postgres(connection) => {
                sql_query(MIGRATION_LOCK).execute(connection)?;
                let done = connection.run_pending_migrations(POSTGRES).map(|done| names(&done));
                sql_query(MIGRATION_UNLOCK).execute(connection)?;
                done
            }
        };
        done.map_err(StoreError::Unforeseen)
    }

    /// The names of migrations that this program has and the database does not.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub fn pending_migrations(&mut self) -> Result<Vec<String>, StoreError> {
        let pending = match self {
            Self::Sqlite(connection) => connection
                .pending_migrations(SQLITE)
                .map(|pending| pending.iter().map(|m| m.name().to_string()).collect()),
            Self::Postgres(connection) => connection
                .pending_migrations(POSTGRES)
                .map(|pending| pending.iter().map(|m| m.name().to_string()).collect()),
        };
        pending.map_err(StoreError::Unforeseen)
    }

    /// The time on the database's clock. On SQLite it is the process's own clock.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub fn clock(&mut self) -> Result<Timestamp, StoreError> {
        let Self::Postgres(connection) = self else { return Ok(Timestamp::now()) };
        let micros: i64 = Sql::new(CLOCK).returning::<BigInt>().get_result(connection)?;
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
        let Self::Postgres(connection) = self else { return Ok(None) };
        let locale = messages_locale(connection)?;
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

fn names(done: &[diesel::migration::MigrationVersion<'_>]) -> Vec<String> {
    done.iter().map(ToString::to_string).collect()
}

/// The version of the SQLite that is compiled in, as one number: 3 051 003 for 3.51.3.
///
/// Earlier versions are refused at start, because a reset of the write-ahead log could corrupt the
/// database (SQLite 3.51.3 release notes).
pub fn sqlite_version() -> i32 {
    libsqlite3_sys::SQLITE_VERSION_NUMBER
}
