//! Reads beside the lanes, from the same database.
//!
//! A read that was asked for after a write was answered sees it: every read is a statement of its
//! own on the primary. Point reads are inline on SQLite and batched on PostgreSQL, where one
//! connection that drains its queue into one query serves more than many connections would.

use ifmatch_store::{DatabaseUrl, Db, Found, StoreError, Use};
use ifmatch_types::Kind;
use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
    sync::{Mutex, PoisonError},
};
use tokio::sync::{Semaphore, mpsc, oneshot};

/// So many connections serve lists, histories and the like.
const CONNECTIONS_MAX: usize = 8;
/// So many point reads may wait.
const QUEUE: usize = 16_384;
/// So many ids are looked up in one query.
const BATCH_MAX: usize = 512;

thread_local! {
    /// SQLite: each worker thread reads through a connection of its own.
    static LOCAL: RefCell<Option<Db>> = const { RefCell::new(None) };
}

type Lookup = (Kind, String, oneshot::Sender<Result<Option<Found>, StoreError>>);

/// All reading connections of this process.
pub struct Reads {
    url: DatabaseUrl,
    lookups: Option<mpsc::Sender<Lookup>>,
    settler: mpsc::Sender<Settling>,
    idle: Mutex<Vec<Db>>,
    permits: Semaphore,
}

impl Reads {
    /// Readers of this database; they connect when they are needed.
    pub fn start(url: &DatabaseUrl) -> std::io::Result<Self> {
        let spawn = |name: &str, work: Box<dyn FnOnce() + Send>| {
            std::thread::Builder::new().name(name.to_owned()).spawn(work)
        };
        let lookups = match url {
            DatabaseUrl::Sqlite(_) => None,
            DatabaseUrl::Postgres(_) => {
                let (sender, queue) = mpsc::channel(QUEUE);
                let connection = Connection::new(url);
                spawn("point-reads", Box::new(move || look_up_all(connection, queue)))?;
                Some(sender)
            }
        };
        let (settler, queue) = mpsc::channel(QUEUE);
        let connection = Connection::new(url);
        spawn("settler", Box::new(move || settle_all(connection, queue)))?;
        let permits = Semaphore::new(CONNECTIONS_MAX);
        Ok(Self { url: url.clone(), lookups, settler, idle: Mutex::default(), permits })
    }

    /// The place up to which the event stream can be read; everything that was committed before
    /// this was asked is below it.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub async fn settled_seq(&self) -> Result<i64, StoreError> {
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
        let Some(lookups) = &self.lookups else {
            return self.locally(|db| db.find(kind, vec![id.to_owned()]).map(first));
        };
        let (answer, found) = oneshot::channel();
        let busy = |_| StoreError::Raced("too many reads are waiting".into());
        lookups.try_send((kind, id.to_owned(), answer)).map_err(busy)?;
        found.await.unwrap_or_else(|_| Err(StoreError::Gone("the reader ended".into())))
    }

    /// Runs any read on a connection of the pool, off the worker threads.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub async fn run<T: Send + 'static>(
        self: &std::sync::Arc<Self>,
        read: impl Fn(&mut Db) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let reads = std::sync::Arc::clone(self);
        let ended = |_| StoreError::Unforeseen("the server is stopping".into());
        let _permit = self.permits.acquire().await.map_err(ended)?;
        let running = tokio::task::spawn_blocking(move || {
            let mut db = reads.checkout()?;
            let mut outcome = read(&mut db);
            if outcome.as_ref().is_err_and(StoreError::is_gone) {
                // The connection may have died while it was idle; reads can be repeated.
                db = Db::connect(&reads.url, Use::Read)?;
                outcome = read(&mut db);
            }
            if outcome.is_ok() {
                reads.idle.lock().unwrap_or_else(PoisonError::into_inner).push(db);
            }
            outcome
        });
        running.await.map_err(|_| StoreError::Unforeseen("a read panicked".into()))?
    }

    fn checkout(&self) -> Result<Db, StoreError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        match idle {
            Some(db) => Ok(db),
            None => Db::connect(&self.url, Use::Read),
        }
    }

    fn locally<T>(
        &self,
        read: impl FnOnce(&mut Db) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        LOCAL.with_borrow_mut(|local| {
            let db = match local {
                Some(db) => db,
                None => local.insert(Db::connect(&self.url, Use::Read)?),
            };
            read(db)
        })
    }
}

fn first(found: Vec<(String, Found)>) -> Option<Found> {
    found.into_iter().next().map(|(_, found)| found)
}

/// A thread's own connection: made when it is needed, and again after it was lost.
struct Connection {
    url: DatabaseUrl,
    db: Option<Db>,
}

impl Connection {
    fn new(url: &DatabaseUrl) -> Self {
        Self { url: url.clone(), db: None }
    }

    /// Runs a read. The connection may have died while it was idle: a second try is on a fresh one.
    fn read<T>(
        &mut self,
        read: impl Fn(&mut Db) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut outcome = self.connected().and_then(&read);
        if outcome.as_ref().is_err_and(StoreError::is_gone) {
            self.db = None;
            outcome = self.connected().and_then(&read);
        }
        if outcome.is_err() {
            self.db = None;
        }
        outcome
    }

    fn connected(&mut self) -> Result<&mut Db, StoreError> {
        match &mut self.db {
            Some(db) => Ok(db),
            none => Ok(none.insert(Db::connect(&self.url, Use::Read)?)),
        }
    }
}

/// The thread of point reads: drains its queue into one query per kind.
fn look_up_all(mut connection: Connection, mut queue: mpsc::Receiver<Lookup>) {
    while let Some(first) = queue.blocking_recv() {
        let mut by_kind: BTreeMap<Kind, Vec<Lookup>> = BTreeMap::new();
        by_kind.entry(first.0).or_default().push(first);
        for _ in 1..BATCH_MAX {
            let Ok(lookup) = queue.try_recv() else { break };
            by_kind.entry(lookup.0).or_default().push(lookup);
        }
        for (kind, lookups) in by_kind {
            look_up(&mut connection, kind, lookups);
        }
    }
}

fn look_up(connection: &mut Connection, kind: Kind, lookups: Vec<Lookup>) {
    let mut ids: Vec<String> = lookups.iter().map(|(_, id, _)| id.clone()).collect();
    ids.sort_unstable();
    ids.dedup();
    match connection.read(|db| db.find(kind, ids.clone())) {
        Ok(found) => {
            let found: HashMap<String, Found> = found.into_iter().collect();
            for (_, id, answer) in lookups {
                let _ = answer.send(Ok(found.get(&id).cloned()));
            }
        }
        Err(error) if error.is_gone() => {
            let text = error.to_string();
            for (_, _, answer) in lookups {
                let _ = answer.send(Err(StoreError::Gone(text.clone().into())));
            }
        }
        // A row that cannot be read fails its own reader and nobody else.
        Err(_) => {
            for (_, id, answer) in lookups {
                let _ =
                    answer.send(connection.read(|db| db.find(kind, vec![id.clone()])).map(first));
            }
        }
    }
}

type Settling = oneshot::Sender<Result<i64, StoreError>>;

/// The thread that finds out how far the event stream is settled: once for all who ask.
fn settle_all(mut connection: Connection, mut queue: mpsc::Receiver<Settling>) {
    let mut known = 0i64;
    while let Some(first) = queue.blocking_recv() {
        let mut waiting = vec![first];
        while let Ok(asked) = queue.try_recv() {
            waiting.push(asked);
        }
        let settled = connection.read(|db| db.settled_seq(known));
        if let Ok(settled) = settled {
            known = known.max(settled);
        }
        for answer in waiting {
            let _ = answer.send(match &settled {
                Ok(settled) => Ok(*settled),
                Err(error) => Err(StoreError::Gone(error.to_string().into())),
            });
        }
    }
}
