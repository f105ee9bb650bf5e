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
    idle: Mutex<Vec<Db>>,
    permits: Semaphore,
}

impl Reads {
    /// Readers of this database; they connect when they are needed.
    pub fn start(url: &DatabaseUrl) -> std::io::Result<Self> {
        let lookups = match url {
            DatabaseUrl::Sqlite(_) => None,
            DatabaseUrl::Postgres(_) => {
                let (sender, queue) = mpsc::channel(QUEUE);
                let url = url.clone();
                std::thread::Builder::new()
                    .name("point-reads".to_owned())
                    .spawn(move || look_up_all(&url, queue))?;
                Some(sender)
            }
        };
        let permits = Semaphore::new(CONNECTIONS_MAX);
        Ok(Self { url: url.clone(), lookups, idle: Mutex::default(), permits })
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
        let busy = |_| StoreError::Raced("too many reads are waiting".to_owned());
        lookups.try_send((kind, id.to_owned(), answer)).map_err(busy)?;
        found.await.unwrap_or_else(|_| Err(StoreError::Gone("the reader ended".to_owned())))
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
        let ended = |_| StoreError::Unforeseen("the server is stopping".to_owned());
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
        running.await.map_err(|_| StoreError::Unforeseen("a read panicked".to_owned()))?
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

/// The reader's thread: drains its queue into one query per kind.
fn look_up_all(url: &DatabaseUrl, mut queue: mpsc::Receiver<Lookup>) {
    let mut db: Option<Db> = None;
    while let Some(first) = queue.blocking_recv() {
        let mut by_kind: BTreeMap<Kind, Vec<Lookup>> = BTreeMap::new();
        by_kind.entry(first.0).or_default().push(first);
        for _ in 1..BATCH_MAX {
            let Ok(lookup) = queue.try_recv() else { break };
            by_kind.entry(lookup.0).or_default().push(lookup);
        }
        for (kind, lookups) in by_kind {
            look_up(url, &mut db, kind, lookups);
        }
    }
}

fn look_up(url: &DatabaseUrl, db: &mut Option<Db>, kind: Kind, lookups: Vec<Lookup>) {
    let mut ids: Vec<String> = lookups.iter().map(|(_, id, _)| id.clone()).collect();
    ids.sort_unstable();
    ids.dedup();
    // The connection may have died while it was idle: a second try on a fresh one.
    let mut found = find_on(url, db, kind, ids.clone());
    if found.as_ref().is_err_and(StoreError::is_gone) {
        *db = None;
        found = find_on(url, db, kind, ids);
    }
    match found {
        Ok(found) => {
            let found: HashMap<String, Found> = found.into_iter().collect();
            for (_, id, answer) in lookups {
                let _ = answer.send(Ok(found.get(&id).cloned()));
            }
        }
        Err(error) => {
            *db = None;
            let gone = error.is_gone();
            let text = error.to_string();
            for (_, _, answer) in lookups {
                let again = if gone {
                    StoreError::Gone(text.clone())
                } else {
                    StoreError::Unforeseen(text.clone())
                };
                let _ = answer.send(Err(again));
            }
        }
    }
}

fn find_on(
    url: &DatabaseUrl,
    db: &mut Option<Db>,
    kind: Kind,
    ids: Vec<String>,
) -> Result<Vec<(String, Found)>, StoreError> {
    let db = match db {
        Some(db) => db,
        None => db.insert(Db::connect(url, Use::Read)?),
    };
    db.find(kind, ids)
}
