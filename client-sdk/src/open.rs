//! The open conflicts of a client: in memory for reading, in the storage first for keeping.

use crate::{Conflict, ConflictStorage, Error};
use ifmatch_types::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{
    fmt, io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::watch;

/// The id of an open conflict; it stays the same when the conflict opens again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct ConflictId(String);

impl ConflictId {
    fn fresh() -> Self {
        Self(format!("open_{}", uuid::Uuid::now_v7().simple()))
    }
}

impl fmt::Display for ConflictId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for ConflictId {
    type Error = String;

    /// Accepts only plain file names, because an id may come from outside.
    fn try_from(text: String) -> Result<Self, String> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if text.starts_with("open_") && text.bytes().all(plain) {
            Ok(Self(text))
        } else {
            Err("not the id of an open conflict".to_owned())
        }
    }
}

impl std::str::FromStr for ConflictId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::try_from(text.to_owned())
    }
}

/// A conflict that waits for a decision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct OpenConflict {
    /// Its id.
    pub id: ConflictId,
    /// When the edit was parked.
    pub parked_at: Timestamp,
    /// 1 at first, plus one each time the object moved and the conflict opened again.
    pub revision: u32,
    /// The conflict, with the edit.
    pub conflict: Conflict<Value>,
}

/// All open conflicts of a client.
pub(crate) struct OpenConflicts {
    open: Mutex<Vec<Arc<OpenConflict>>>,
    open_max: usize,
    storage: Option<Arc<dyn ConflictStorage>>,
    /// Held during a change, from the write to the storage to the announcement.
    changing: tokio::sync::Mutex<()>,
    changes: watch::Sender<u64>,
}

/// A change of the storage.
enum StorageChange {
    Save(Arc<OpenConflict>),
    Remove(ConflictId),
}

/// Carries a change out even if its caller stopped waiting: storage and memory must stay equal.
async fn to_its_end<O: Send + 'static>(
    change: impl Future<Output = Result<O, Error>> + Send + 'static,
) -> Result<O, Error> {
    match tokio::spawn(change).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => Err(Error::Storage(io::Error::other(error))),
        },
    }
}

impl OpenConflicts {
    pub(crate) fn load(
        storage: Option<Arc<dyn ConflictStorage>>,
        open_max: usize,
    ) -> Result<Self, Error> {
        let mut open = match &storage {
            Some(storage) => storage.load().map_err(Error::Storage)?,
            None => Vec::new(),
        };
        open.sort_by(|one, other| (one.parked_at, &one.id).cmp(&(other.parked_at, &other.id)));
        Ok(Self {
            open: Mutex::new(open.into_iter().map(Arc::new).collect()),
            open_max,
            storage,
            changing: tokio::sync::Mutex::new(()),
            changes: watch::Sender::new(0),
        })
    }

    pub(crate) fn list(&self) -> Vec<Arc<OpenConflict>> {
        self.lock().clone()
    }

    pub(crate) fn get(&self, id: &ConflictId) -> Option<Arc<OpenConflict>> {
        self.lock().iter().find(|open| open.id == *id).cloned()
    }

    /// Signals every change. The receiver looks up the changes itself, so nothing queues up.
    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Keeps a conflict for a decision.
    pub(crate) async fn park(
        self: &Arc<Self>,
        conflict: Conflict<Value>,
    ) -> Result<ConflictId, Error> {
        let store = Arc::clone(self);
        to_its_end(async move { store.park_now(conflict).await }).await
    }

    async fn park_now(&self, conflict: Conflict<Value>) -> Result<ConflictId, Error> {
        let changing = self.changing.lock().await;
        let open = self.lock().len();
        if open >= self.open_max {
            tracing::error!(open, id = conflict.resource_id, "conflict store full");
            return Err(Error::ConflictStoreFull { open, conflict: Box::new(conflict) });
        }
        let id = ConflictId::fresh();
        let parked_at = Timestamp::now();
        let parked = Arc::new(OpenConflict { id: id.clone(), parked_at, revision: 1, conflict });
        if let Err(cause) = self.store(StorageChange::Save(parked.clone())).await {
            let conflict = Box::new(parked.conflict.clone());
            return Err(Error::NotParked { conflict, cause });
        }
        tracing::warn!(
            conflict = %id, kind = parked.conflict.kind.name(), id = parked.conflict.resource_id,
            attempts = parked.conflict.attempts, verdict = ?parked.conflict.verdict, "parked"
        );
        self.lock().push(parked);
        self.announce();
        drop(changing);
        Ok(id)
    }

    /// Opens a conflict again, because the object moved while it was resolved.
    pub(crate) async fn reopen(
        self: &Arc<Self>,
        seen: &Arc<OpenConflict>,
        conflict: Conflict<Value>,
    ) -> Result<(), Error> {
        let (store, seen) = (Arc::clone(self), Arc::clone(seen));
        to_its_end(async move { store.reopen_now(&seen, conflict).await }).await
    }

    async fn reopen_now(
        &self,
        seen: &OpenConflict,
        conflict: Conflict<Value>,
    ) -> Result<(), Error> {
        let changing = self.changing.lock().await;
        self.still(seen)?;
        let again = Arc::new(OpenConflict {
            id: seen.id.clone(),
            parked_at: seen.parked_at,
            revision: seen.revision.saturating_add(1),
            conflict,
        });
        if let Err(cause) = self.store(StorageChange::Save(again.clone())).await {
            let conflict = Box::new(again.conflict.clone());
            return Err(Error::NotParked { conflict, cause });
        }
        tracing::warn!(conflict = %again.id, revision = again.revision, "opened again");
        for open in self.lock().iter_mut().filter(|open| open.id == again.id) {
            *open = again.clone();
        }
        self.announce();
        drop(changing);
        Ok(())
    }

    /// Forgets a conflict that was resolved.
    pub(crate) async fn close(self: &Arc<Self>, seen: &Arc<OpenConflict>) -> Result<(), Error> {
        let (store, seen) = (Arc::clone(self), Arc::clone(seen));
        to_its_end(async move { store.close_now(&seen).await }).await
    }

    async fn close_now(&self, seen: &OpenConflict) -> Result<(), Error> {
        let changing = self.changing.lock().await;
        self.still(seen)?;
        self.store(StorageChange::Remove(seen.id.clone())).await.map_err(Error::Storage)?;
        tracing::info!(conflict = %seen.id, "resolved");
        self.lock().retain(|open| open.id != seen.id);
        self.announce();
        drop(changing);
        Ok(())
    }

    /// Checks that the conflict is still open at the revision that was seen.
    pub(crate) fn still(&self, seen: &OpenConflict) -> Result<(), Error> {
        match self.get(&seen.id) {
            Some(open) if open.revision == seen.revision => Ok(()),
            _ => Err(Error::AlreadyResolved(seen.id.clone())),
        }
    }

    async fn store(&self, change: StorageChange) -> io::Result<()> {
        let Some(storage) = self.storage.clone() else { return Ok(()) };
        let written = tokio::task::spawn_blocking(move || match change {
            StorageChange::Save(conflict) => storage.save(&conflict),
            StorageChange::Remove(id) => storage.remove(&id),
        });
        written.await.map_err(io::Error::other)?
    }

    fn announce(&self) {
        self.changes.send_modify(|changes| *changes = changes.wrapping_add(1));
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<OpenConflict>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
