//! A small pool of reading connections.
//!
//! A read waits for one of them asynchronously, for a limited time and behind a limited number of
//! others. It then runs on a thread that may block. A connection that fails is never used again.

use crate::metrics;
use ifmatch_store::{DatabaseUrl, Db, StoreError, Use};
use std::{
    sync::{Arc, Mutex, PoisonError},
    thread::sleep,
    time::{Duration, Instant},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

/// Maximum connections of a pool.
const CONNECTIONS_MAX: usize = 8;
/// Maximum reads that wait for a connection.
const WAITING_MAX: usize = 4_096;
/// Give up after waiting this long for a connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// Give up after a SQLite file was locked for this long.
const LOCKED_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause before the next try on a locked file.
const LOCKED_PAUSE: Duration = Duration::from_millis(5);

/// Reading connections, made when they are needed.
pub struct Pool {
    url: DatabaseUrl,
    idle: Mutex<Vec<Db>>,
    permits: Arc<Semaphore>,
    waiting: Semaphore,
    acquire_timeout: Duration,
}

impl Pool {
    /// A pool without connections.
    pub fn new(url: &DatabaseUrl) -> Arc<Self> {
        Arc::new(Self {
            url: url.clone(),
            idle: Mutex::default(),
            permits: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
            waiting: Semaphore::new(WAITING_MAX),
            acquire_timeout: ACQUIRE_TIMEOUT,
        })
    }

    /// Runs a read that may block. It may run twice, because reads can be repeated.
    ///
    /// # Errors
    ///
    /// Technical ones only. [`StoreError::Raced`] if no connection became free in time, or if too
    /// many reads wait for one.
    pub async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        read: impl Fn(&mut Db) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let permit = self.acquire().await?;
        let pool = Arc::clone(self);
        let running = tokio::task::spawn_blocking(move || {
            // The permit lives as long as the read, even if its caller goes away earlier.
            let _permit = permit;
            pool.read(&read)
        });
        running.await.map_err(|_| StoreError::Unforeseen("a read panicked".into()))?
    }

    /// Runs a read that cannot block, on this thread.
    ///
    /// `None` if no connection is idle or the read failed. The caller should then use
    /// [`run`](Self::run).
    pub fn run_inline<T>(&self, read: impl FnOnce(&mut Db) -> Result<T, StoreError>) -> Option<T> {
        let mut db = self.take()?;
        let outcome = read(&mut db);
        if is_usable_after(&outcome) {
            self.put_back(db);
        }
        outcome.ok()
    }

    async fn acquire(&self) -> Result<OwnedSemaphorePermit, StoreError> {
        if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
            return Ok(permit);
        }
        let busy = |why: &str| StoreError::Raced(why.into());
        let _place = self
            .waiting
            .try_acquire()
            .map_err(|_| busy("too many reads are waiting for a connection"))?;
        match timeout(self.acquire_timeout, Arc::clone(&self.permits).acquire_owned()).await {
            Ok(permit) => permit.map_err(|_| busy("the pool is closed")),
            Err(_) => Err(busy("no connection for a read became free in time")),
        }
    }

    /// Reads, and retries while another process has locked the SQLite file.
    fn read<T>(&self, read: &impl Fn(&mut Db) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let deadline = Instant::now() + LOCKED_TIMEOUT;
        loop {
            match self.try_read(read) {
                Err(StoreError::Raced(_)) if Instant::now() < deadline => sleep(LOCKED_PAUSE),
                outcome => return outcome,
            }
        }
    }

    /// Reads once. If the failure may be the connection's, reads again on a new connection.
    fn try_read<T>(
        &self,
        read: &impl Fn(&mut Db) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        if let Some(mut db) = self.take() {
            let outcome = read(&mut db);
            if is_usable_after(&outcome) {
                self.put_back(db);
                return outcome;
            }
            if outcome.is_err_and(|error| error.is_outage()) {
                // The idle connections are most likely broken, too.
                self.idle().clear();
            }
            metrics::reconnected();
        }
        let mut db = connect(&self.url)?;
        let outcome = read(&mut db);
        if is_usable_after(&outcome) {
            self.put_back(db);
        }
        outcome
    }

    fn take(&self) -> Option<Db> {
        self.idle().pop()
    }

    fn put_back(&self, db: Db) {
        self.idle().push(db);
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Db>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A reading connection on which a statement never waits for a lock.
fn connect(url: &DatabaseUrl) -> Result<Db, StoreError> {
    let mut db = Db::connect(url, Use::Read)?;
    db.never_wait()?;
    Ok(db)
}

/// Whether a connection can be used again after a read with this outcome.
pub fn is_usable_after<T>(outcome: &Result<T, StoreError>) -> bool {
    outcome.as_ref().err().is_none_or(StoreError::spares_connection)
}

#[cfg(test)]
mod tests;
