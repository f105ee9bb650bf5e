//! Databases that speak PostgreSQL's protocol and would break what is promised, and pools that would.

use super::{
    db::{Db, Use},
    error::StoreError,
    sql::Sql,
    url::DatabaseUrl,
};
use diesel::{
    RunQueryDsl,
    sql_types::{BigInt, Bool, Nullable, Text},
};
use std::{sync::mpsc, time::Duration};

/// The oldest PostgreSQL that is tested, as it numbers itself.
const OLDEST: i64 = 130_000;
/// The first PostgreSQL that keeps the version of a database's text order.
const TELLS_TEXT_ORDER: i64 = 150_000;
/// How long a pool may take for one more connection.
const POOL_PATIENCE: Duration = Duration::from_secs(5);

/// What a database says of itself.
#[derive(Debug, Default)]
struct Facts {
    version: String,
    number: i64,
    /// Tables of the schema that Citus distributes by a column.
    by_column: i64,
    /// Tables of the schema that are on another node of Citus than this one.
    elsewhere: i64,
}

impl Facts {
    /// Why the database must not be worked with.
    fn refusal(&self) -> Option<String> {
        let why = if self.version.contains("CockroachDB") {
            "this is CockroachDB, which has no settings of the planner and does not show its locks, so \
             that events would be skipped"
        } else if self.version.contains("-YB-") {
            "this is YugabyteDB, which does not show the locks of young transactions, so that events \
             would be skipped in silence"
        } else if self.number < OLDEST {
            return Some(format!("this is {}; PostgreSQL 13 or newer is needed", self.version));
        } else if self.by_column > 0 {
            "Citus distributes its tables by a column, so that events would be skipped in silence; \
             use schema-based sharding, one schema for each installation"
        } else if self.elsewhere > 0 {
            "Citus keeps this schema on another node, and its coordinator would commit in two phases, \
             so that events would be skipped in silence; connect to the node that holds the schema"
        } else {
            return None;
        };
        Some(format!("{why}; use PostgreSQL 13 or newer"))
    }
}

impl Db {
    /// Why this database must not be worked with, for a person. `None` if it can be.
    ///
    /// # Errors
    ///
    /// [`StoreError::Impaired`] if this role cannot see its synchronous standbys. Otherwise technical
    /// ones only; see [`StoreError`].
    pub fn refusal(&mut self) -> Result<Option<String>, StoreError> {
        let Self::Postgres(db) = self else { return Ok(None) };
        let connection = db.connection();
        let version = Sql::new("SELECT version()").returning::<Text>();
        let mut facts = Facts { version: version.get_result(connection)?, ..Facts::default() };
        if facts.refusal().is_some_and(|_| !facts.version.starts_with("PostgreSQL")) {
            return Ok(facts.refusal());
        }
        facts.number = db.version_number()?;
        db.learn_standbys()?;
        let connection = db.connection();
        let citus = Sql::new("SELECT to_regclass('pg_dist_partition') IS NOT NULL");
        if citus.returning::<Bool>().get_result(connection)? {
            let tables = |text: &'static str| Sql::new(text).returning::<BigInt>();
            facts.by_column = tables(BY_COLUMN).get_result(connection)?;
            facts.elsewhere = tables(ELSEWHERE).get_result(connection)?;
        }
        Ok(facts.refusal())
    }
}

/// Versions of the library by whose rules a database orders text.
#[derive(Debug, PartialEq, Eq)]
pub struct TextOrder {
    /// The one that its indexes were made with.
    pub recorded: String,
    /// The one that is installed.
    pub installed: String,
}

impl Db {
    /// By which library's rules this database orders text.
    ///
    /// `None` if it orders by bytes or does not tell: SQLite, and PostgreSQL before 15.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub fn text_order(&mut self) -> Result<Option<TextOrder>, StoreError> {
        let Self::Postgres(db) = self else { return Ok(None) };
        if db.version_number()? < TELLS_TEXT_ORDER {
            return Ok(None);
        }
        let versions = "SELECT datcollversion, pg_database_collation_actual_version(oid) \
             FROM pg_database WHERE datname = current_database()";
        let versions = Sql::new(versions).returning::<(Nullable<Text>, Nullable<Text>)>();
        let (recorded, installed): (Option<String>, _) = versions.get_result(db.connection())?;
        Ok(recorded.zip(installed).map(|(recorded, installed)| TextOrder { recorded, installed }))
    }
}

/// Tables of the current schema whose rows Citus distributes (its method `h`).
const BY_COLUMN: &str = "SELECT count(*) FROM pg_dist_partition AS d \
     JOIN pg_class AS c ON c.oid = d.logicalrelid \
     WHERE c.relnamespace = to_regnamespace(current_schema()) AND d.partmethod = 'h'";

/// Tables of the current schema with a shard in another group of nodes than this one's.
const ELSEWHERE: &str = "SELECT count(DISTINCT c.oid) FROM pg_class AS c \
     JOIN pg_dist_shard AS s ON s.logicalrelid = c.oid \
     JOIN pg_dist_placement AS p ON p.shardid = s.shardid \
     WHERE c.relnamespace = to_regnamespace(current_schema()) \
     AND p.groupid <> (SELECT groupid FROM pg_dist_local_group)";

/// Why a pool in front of PostgreSQL cannot be worked with.
#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    /// It gives too few connections at a time.
    #[error(
        "the pool in front of the database gives this server {got} connections at a time and it needs \
         {needed}; raise pool_size and default_pool_size of PgBouncer, or lower --lanes"
    )]
    Small {
        /// Connections that it gave.
        got: usize,
        /// Connections that are needed.
        needed: usize,
    },
    /// It does not keep the transactions or the prepared statements of its clients apart.
    #[error(
        "the pool in front of the database mixes up its clients: {0}; PgBouncer works from version \
         1.21 on with pool_mode=transaction and max_prepared_statements above 0, and before that with \
         pool_mode=session"
    )]
    MixesUp(String),
    /// A connection through it failed.
    #[error(transparent)]
    Failed(#[from] StoreError),
}

impl DatabaseUrl {
    /// Checks that a pool in front of the database can be worked with. Without a pool, does nothing.
    ///
    /// Opens as many connections as the server needs, with a transaction on each of them. They are
    /// closed again, and their transactions write nothing.
    ///
    /// # Errors
    ///
    /// See [`PoolError`].
    pub fn check_pool(&self, needed: usize) -> Result<(), PoolError> {
        if !self.is_pooled() {
            return Ok(());
        }
        let (sender, opened) = mpsc::channel();
        let url = self.clone();
        // A connection that the pool does not give can be waited for, but not given up: this thread
        // is left behind, and the process stops.
        std::thread::spawn(move || {
            let mut open = Vec::new();
            for _ in 0..needed {
                let one = begun(&url);
                let is_last = one.is_err();
                if sender.send(one.map(|db| open.push(db))).is_err() || is_last {
                    return;
                }
            }
        });
        for got in 0..needed {
            match opened.recv_timeout(POOL_PATIENCE) {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return Err(error),
                Err(_) => return Err(PoolError::Small { got, needed }),
            }
        }
        Ok(())
    }
}

/// A connection with a transaction, in which a prepared statement was used.
fn begun(url: &DatabaseUrl) -> Result<Db, PoolError> {
    // A transaction of a lane would be ended while it waits for the others.
    let mut db = Db::connect(url, Use::Read)?;
    let mixes_up = |error: StoreError| PoolError::MixesUp(error.to_string());
    if let Db::Postgres(postgres) = &mut db {
        postgres.begin_anywhere().map_err(mixes_up)?;
        postgres.text("search_path").map_err(mixes_up)?;
    }
    Ok(db)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(version: &str) -> Facts {
        Facts { version: version.to_owned(), number: 150_018, ..Facts::default() }
    }

    #[test]
    fn databases_that_would_break_a_promise_are_refused_by_what_they_say() {
        let refused = |facts: Facts, because: &str| {
            let why = facts.refusal().unwrap();
            assert!(why.contains(because), "{why}");
        };
        refused(facts("CockroachDB CCL v25.1.0 (x86_64-pc-linux-gnu)"), "CockroachDB");
        refused(facts("PostgreSQL 15.2-YB-2025.1.0.0-b0 on x86_64"), "YugabyteDB");
        refused(Facts { number: 120_022, ..facts("PostgreSQL 12.22") }, "13 or newer");
        refused(Facts { by_column: 3, ..facts("PostgreSQL 17.5") }, "by a column");
        refused(Facts { elsewhere: 40, ..facts("PostgreSQL 17.5") }, "another node");
        assert_eq!(facts("PostgreSQL 15.18 (Debian 15.18-0+deb12u1)").refusal(), None);
    }
}
