//! Reads outside the lanes, from the same database.
//!
//! A read that is asked for after a write was answered sees that write, because it is a statement
//! or a snapshot on the primary. Point reads run inline on SQLite and are batched on PostgreSQL.
//! There, one connection that drains its queue into one query serves more reads than many
//! connections would. No read blocks an asynchronous worker.

mod points;
mod pool;
mod shares;

use crate::metrics;
use ifmatch_store::{DatabaseUrl, Db, EventLog, Found, StoreError, Use};
use ifmatch_types::Kind;
use points::PointQueue;
use pool::{Pool, is_usable_after};
pub use shares::in_the_name_of;
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};
use tokio::sync::{mpsc, oneshot};

/// Maximum number of reads that wait in each queue.
const QUEUE: usize = 16_384;
/// Maximum connections for lists and other reads, and for point reads on SQLite.
const CONNECTIONS: usize = 8;
/// Maximum connections for API keys.
const CONNECTIONS_FOR_KEYS: usize = 2;
/// Maximum connections for readiness.
const CONNECTIONS_FOR_PROBES: usize = 1;
/// Give up on a read after this long, waiting included.
const READ_TIMEOUT: Duration = Duration::from_secs(5);
/// All reading connections of this process.
pub struct Reads {
    points: Points,
    settler: mpsc::Sender<Settling>,
    pool: Arc<Pool>,
    /// For API keys. Lists do not delay a revocation.
    keys: Arc<Pool>,
    /// For readiness. Lists do not make the server look unready.
    probe: Arc<Pool>,
}

/// How single objects are read.
enum Points {
    /// SQLite: on the caller's thread. They have their own connections, so that lists do not delay
    /// them.
    Inline(Arc<Pool>),
    /// PostgreSQL: by a thread that drains this queue.
    Drained(PointQueue),
}

impl Reads {
    /// Maximum number of connections to PostgreSQL, with the threads for point reads and the log.
    pub const MAX_CONNECTIONS: usize =
        CONNECTIONS + CONNECTIONS_FOR_KEYS + CONNECTIONS_FOR_PROBES + 2;

    /// Starts the readers of a database. They connect when they are needed.
    ///
    /// # Errors
    ///
    /// If the operating system has no more threads.
    pub fn start(url: &DatabaseUrl) -> std::io::Result<Self> {
        let points = match url {
            DatabaseUrl::Sqlite(_) => Points::Inline(Pool::new(url, CONNECTIONS)),
            DatabaseUrl::Postgres(_) => Points::Drained(PointQueue::start(url)?),
        };
        let (settler, queue) = mpsc::channel(QUEUE);
        let connection = Connection::new(url);
        start_thread("settler", move || settle_all(connection, queue))?;
        Ok(Self {
            points,
            settler,
            pool: Pool::new(url, CONNECTIONS),
            keys: Pool::new(url, CONNECTIONS_FOR_KEYS),
            probe: Pool::new(url, CONNECTIONS_FOR_PROBES),
        })
    }

    /// The log of all changes, with the place up to which it can be read.
    ///
    /// That includes everything that was committed before this call, unless another writer of events
    /// takes too long.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub async fn event_log(&self) -> Result<EventLog, StoreError> {
        let (answer, settled) = oneshot::channel();
        let busy = |_| StoreError::Raced("too many readers of events are waiting".into());
        self.settler.try_send(answer).map_err(busy)?;
        settled.await.unwrap_or_else(|_| Err(StoreError::Gone("the settler ended".into())))
    }

    /// Looks up one object.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub async fn find(&self, kind: Kind, id: &str) -> Result<Option<Found>, StoreError> {
        match &self.points {
            Points::Inline(pool) => {
                if let Some(found) = pool.run_inline(|db| db.find(kind, vec![id.to_owned()])) {
                    return Ok(first(found));
                }
                let id = id.to_owned();
                pool.run(move |db| db.find(kind, vec![id.clone()])).await.map(first)
            }
            Points::Drained(queue) => queue.find(kind, id).await,
        }
    }

    /// Runs any read on a connection of the pool, not on the caller's thread.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub async fn run<T: Send + 'static>(
        &self,
        read: impl Fn(&mut Db) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.pool.run(read).await
    }

    /// Like [`run`](Self::run), on connections for API keys.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub async fn run_for_keys<T: Send + 'static>(
        &self,
        read: impl Fn(&mut Db) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.keys.run(read).await
    }

    /// Like [`run`](Self::run), on the connection for readiness.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub async fn run_probe<T: Send + 'static>(
        &self,
        read: impl Fn(&mut Db) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.probe.run(read).await
    }
}

fn start_thread(name: &str, work: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    std::thread::Builder::new().name(name.to_owned()).spawn(work).map(|_| ())
}

fn first(found: Vec<(String, Found)>) -> Option<Found> {
    found.into_iter().next().map(|(_, found)| found)
}

/// A thread's own connection. It is made when it is needed, and again after a failure.
struct Connection {
    url: DatabaseUrl,
    db: Option<Db>,
}

impl Connection {
    fn new(url: &DatabaseUrl) -> Self {
        Self { url: url.clone(), db: None }
    }

    /// Runs a read. If the failure may be the connection's, runs it again on a new connection.
    fn read<T>(
        &mut self,
        read: impl Fn(&mut Db) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        if let Some(mut db) = self.db.take() {
            let outcome = read(&mut db);
            if is_usable_after(&outcome) {
                self.keep(db);
                return outcome;
            }
            metrics::reconnected();
        }
        let mut db = Db::connect(&self.url, Use::Read)?;
        db.give_up_after(READ_TIMEOUT)?;
        let outcome = read(&mut db);
        if is_usable_after(&outcome) {
            self.keep(db);
        }
        outcome
    }

    fn keep(&mut self, db: Db) {
        db.rest();
        self.db = Some(db);
    }

    /// Serves some callers. After a panic, only their answers are lost: the thread continues with a
    /// new connection.
    fn serve(&mut self, serve: impl FnOnce(&mut Self)) {
        if catch_unwind(AssertUnwindSafe(|| serve(self))).is_err() {
            tracing::error!("a read panicked; its callers are told to try again");
        }
    }
}

/// A copy of a failure, for one more caller.
fn same(error: &StoreError) -> StoreError {
    match error {
        StoreError::Gone(cause) => StoreError::Gone(cause.to_string().into()),
        StoreError::Impaired(cause) => StoreError::Impaired(cause.to_string().into()),
        StoreError::Raced(cause) => StoreError::Raced(cause.to_string().into()),
        other => StoreError::Unforeseen(other.to_string().into()),
    }
}

type Settling = oneshot::Sender<Result<EventLog, StoreError>>;

/// The thread that finds out how far the event log is settled, once for all waiting callers.
fn settle_all(mut connection: Connection, mut queue: mpsc::Receiver<Settling>) {
    let mut known = EventLog::default();
    while let Some(first) = queue.blocking_recv() {
        let mut waiting = vec![first];
        while let Ok(asked) = queue.try_recv() {
            waiting.push(asked);
        }
        connection.serve(|connection| settle(connection, &mut known, waiting));
    }
}

/// Answers all waiting callers. `known` is what was settled before, and then what is now.
fn settle(connection: &mut Connection, known: &mut EventLog, waiting: Vec<Settling>) {
    let settled = connection.read(|db| db.event_log(known));
    for answer in waiting {
        let _ = answer.send(match &settled {
            Ok(settled) => Ok(settled.clone()),
            Err(error) => Err(same(error)),
        });
    }
    if let Ok(settled) = settled {
        *known = settled;
    }
}

#[cfg(test)]
pub mod tests;
