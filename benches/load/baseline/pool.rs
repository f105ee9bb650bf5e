//! A bounded pool of connections, used off the worker threads.

use super::failed;
use crate::Failure;
use actix_web::web;
use diesel::{
    Connection, PgConnection, QueryResult, SqliteConnection, connection::SimpleConnection,
};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Semaphore;

/// More connections make PostgreSQL slower on the machines where this was tried.
const POSTGRES_CONNECTIONS: usize = 16;
const SQLITE_READERS: usize = 8;
/// SQLite has one writer at a time; waiting here is fairer and faster than its busy handler.
const SQLITE_WRITERS: usize = 1;

const SQLITE_SESSION: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
     PRAGMA foreign_keys = ON; PRAGMA busy_timeout = 5000; PRAGMA cache_size = -65536;";

/// A connection to either database.
pub enum Either {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Either {
    fn open(url: &str) -> Result<Self, Failure> {
        match url.strip_prefix("sqlite://") {
            Some(file) => {
                let mut connection = SqliteConnection::establish(file)?;
                connection.batch_execute(SQLITE_SESSION)?;
                Ok(Self::Sqlite(connection))
            }
            None => Ok(Self::Postgres(PgConnection::establish(url)?)),
        }
    }
}

/// Idle connections, and permits to use them.
struct Shelf {
    idle: Mutex<Vec<Either>>,
    permits: Semaphore,
}

impl Shelf {
    fn fill(url: &str, connections: usize) -> Result<Arc<Self>, Failure> {
        let idle = (0..connections).map(|_| Either::open(url)).collect::<Result<_, _>>()?;
        Ok(Arc::new(Self { idle: Mutex::new(idle), permits: Semaphore::new(connections) }))
    }

    /// Runs work on a connection. Unlike most pools it sends no liveness query first.
    async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&mut Either) -> QueryResult<T> + Send + 'static,
    ) -> actix_web::Result<T> {
        let _permit = self.permits.acquire().await.map_err(failed)?;
        let shelf = Arc::clone(self);
        let done = web::block(move || {
            let mut connection = shelf.lock().pop().ok_or(diesel::NotFound)?;
            let done = work(&mut connection);
            shelf.lock().push(connection);
            done
        });
        done.await?.map_err(failed)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Either>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The pools for reads and writes. On PostgreSQL they are the same pool.
pub struct Pool {
    readers: Arc<Shelf>,
    writers: Arc<Shelf>,
}

impl Pool {
    pub fn open(url: &str) -> Result<Self, Failure> {
        if url.starts_with("sqlite://") {
            let readers = Shelf::fill(url, SQLITE_READERS)?;
            return Ok(Self { readers, writers: Shelf::fill(url, SQLITE_WRITERS)? });
        }
        let all = Shelf::fill(url, POSTGRES_CONNECTIONS)?;
        Ok(Self { readers: Arc::clone(&all), writers: all })
    }

    pub async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Either) -> QueryResult<T> + Send + 'static,
    ) -> actix_web::Result<T> {
        self.readers.run(work).await
    }

    pub async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Either) -> QueryResult<T> + Send + 'static,
    ) -> actix_web::Result<T> {
        self.writers.run(work).await
    }
}
