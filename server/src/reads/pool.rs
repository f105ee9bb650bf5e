//! A small pool of reading connections.
//!
//! A read waits for one of them asynchronously, for a limited time and behind a limited number of
//! others. It then runs on a thread that may block. A connection that fails is never used again.

use super::{
    READ_TIMEOUT,
    shares::{Inside, Shares, reader},
};
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

/// Maximum reads that wait for a connection.
const WAITING_MAX: usize = 4_096;
/// Maximum reads of an API key that run or wait.
const WAITING_MAX_PER_KEY: usize = 256;
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
    shares: Arc<Shares>,
    read_timeout: Duration,
}

impl Pool {
    /// A pool that makes up to this many connections when they are needed.
    ///
    /// An API key gets half of them at most.
    pub fn new(url: &DatabaseUrl, connections: usize) -> Arc<Self> {
        Arc::new(Self {
            url: url.clone(),
            idle: Mutex::default(),
            permits: Arc::new(Semaphore::new(connections)),
            waiting: Semaphore::new(WAITING_MAX),
            shares: Shares::new(connections.div_ceil(2), WAITING_MAX_PER_KEY),
            read_timeout: READ_TIMEOUT,
        })
    }

    /// Runs a read that may block. It may run twice, because reads can be repeated.
    ///
    /// # Errors
    ///
    /// Technical ones only. [`StoreError::Raced`] if there is no result in time, or if too many
    /// reads wait for a connection.
    pub async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        read: impl Fn(&mut Db) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let running = timeout(self.read_timeout, self.run_in_turn(read));
        running.await.unwrap_or_else(|_| Err(busy("a read took too long")))
    }

    async fn run_in_turn<T: Send + 'static>(
        self: &Arc<Self>,
        read: impl Fn(&mut Db) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let turn = self.turn().await?;
        let pool = Arc::clone(self);
        let caller = Arc::new(());
        let is_awaited = Arc::downgrade(&caller);
        let running = tokio::task::spawn_blocking(move || {
            // The turn lives as long as the read, even if its caller goes away earlier.
            let _turn = turn;
            if is_awaited.strong_count() == 0 {
                return Err(busy("the caller is gone"));
            }
            pool.read(&read)
        });
        let outcome = running.await;
        drop(caller);
        outcome.map_err(|_| StoreError::Unforeseen("a read panicked".into()))?
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

    /// Waits for a connection: first for the share of the caller's key, then for all.
    async fn turn(&self) -> Result<Turn, StoreError> {
        let share = match reader() {
            Some(key) => {
                let inside = self.shares.enter(key);
                let inside =
                    inside.ok_or_else(|| busy("too many reads of this key are waiting"))?;
                let running = inside.turn().await;
                Some((running.ok_or_else(|| busy("the pool is closed"))?, inside))
            }
            None => None,
        };
        if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
            return Ok(Turn { _share: share, _permit: permit });
        }
        let place = self.waiting.try_acquire();
        let _place = place.map_err(|_| busy("too many reads are waiting for a connection"))?;
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        Ok(Turn { _share: share, _permit: permit.map_err(|_| busy("the pool is closed"))? })
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
        db.rest();
        self.idle().push(db);
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Db>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to use a connection.
struct Turn {
    _share: Option<(OwnedSemaphorePermit, Inside)>,
    _permit: OwnedSemaphorePermit,
}

fn busy(why: &str) -> StoreError {
    StoreError::Raced(why.into())
}

/// A reading connection on which a statement waits for no lock and ends in time.
fn connect(url: &DatabaseUrl) -> Result<Db, StoreError> {
    let mut db = Db::connect(url, Use::Read)?;
    db.never_wait()?;
    db.give_up_after(READ_TIMEOUT)?;
    Ok(db)
}

/// Whether a connection can be used again after a read with this outcome.
pub fn is_usable_after<T>(outcome: &Result<T, StoreError>) -> bool {
    outcome.as_ref().err().is_none_or(StoreError::spares_connection)
}

#[cfg(test)]
mod tests;
