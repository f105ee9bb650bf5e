//! The API keys that this process accepts: all of them in memory, by digest and by id.
//!
//! Every second it asks the database whether keys were made or revoked, and only then reads them
//! again. A key revoked in another process therefore stops working here within three seconds. A key
//! revoked in this process stops working at once.

use crate::{key, reads::Reads};
use ifmatch_domain::access::StoredApiKey;
use ifmatch_store::{ApiKeyTally, Db, StoreError};
use ifmatch_types::{ApiKeyId, Timestamp};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::{Duration, Instant},
};

/// Time between two checks for changed keys.
pub const REFRESH_INTERVAL: Duration = Duration::from_secs(1);

/// All API keys.
pub struct Keyring {
    keys: RwLock<Keys>,
    /// The keys whose use in this hour is not stored yet.
    used: Mutex<HashMap<ApiKeyId, Timestamp>>,
    reads: Arc<Reads>,
}

/// The keys that were read, and those that this process made or revoked since that read began.
#[derive(Default)]
struct Keys {
    by_digest: HashMap<String, Arc<StoredApiKey>>,
    by_id: HashMap<ApiKeyId, Arc<StoredApiKey>>,
    /// Changes by this process. A read that began before one of them must not undo it.
    own: Vec<(Instant, Arc<StoredApiKey>)>,
}

impl Keys {
    /// Adds a key, unless a later version of it is known. A revocation is never undone.
    fn put(&mut self, stored: Arc<StoredApiKey>) {
        let known = self.by_id.get(&stored.key.id);
        if known.is_some_and(|known| known.version > stored.version) {
            return;
        }
        self.by_digest.insert(stored.digest.clone(), Arc::clone(&stored));
        self.by_id.insert(stored.key.id.clone(), stored);
    }

    fn tally(&self) -> ApiKeyTally {
        let versions = self.by_id.values().map(|stored| stored.version).sum();
        ApiKeyTally { keys: i64::try_from(self.by_id.len()).unwrap_or(i64::MAX), versions }
    }
}

impl Keyring {
    /// Reads all keys.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub async fn open(reads: Arc<Reads>) -> Result<Self, StoreError> {
        let keyring = Self { keys: RwLock::default(), used: Mutex::default(), reads };
        keyring.refresh().await?;
        Ok(keyring)
    }

    /// Reads all keys again if any was made or revoked elsewhere. Returns whether that was so.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`]. The keys known so far stay.
    pub async fn refresh(&self) -> Result<bool, StoreError> {
        let began_at = Instant::now();
        // All keys known now are committed, so they must be counted before the database is asked.
        let known = self.read().tally();
        let read = self.reads.run_for_keys(move |db: &mut Db| match db.api_key_tally()? {
            tally if tally == known => Ok(None),
            _ => db.api_keys().map(Some),
        });
        let read = read.await?;
        let has_changed = read.is_some();
        let mut keys = self.write();
        keys.own.retain(|(changed_at, _)| *changed_at >= began_at);
        if let Some(read) = read {
            keys.by_digest.clear();
            keys.by_id.clear();
            let own: Vec<_> = keys.own.iter().map(|(_, stored)| Arc::clone(stored)).collect();
            read.into_iter().map(Arc::new).chain(own).for_each(|stored| keys.put(stored));
        }
        Ok(has_changed)
    }

    /// The key with this text, if it is known here and valid now.
    pub fn accept(&self, text: &str) -> Option<StoredApiKey> {
        let digest = key::digest(text);
        let keys = self.read();
        let stored = keys.by_digest.get(&digest)?;
        let is_accepted = key::same_digest(&stored.digest, &digest) && is_valid(stored);
        is_accepted.then(|| {
            self.note_use(stored);
            StoredApiKey::clone(stored)
        })
    }

    /// Remembers the hour of a use that is not stored yet. Only such a use takes the mutex.
    fn note_use(&self, stored: &StoredApiKey) {
        let hour = hour_of(Timestamp::now());
        if stored.key.last_used_at.is_none_or(|last| last < hour) {
            let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
            used.insert(stored.key.id.clone(), hour);
        }
    }

    /// The uses that are not stored yet, at most this many. They are forgotten here.
    pub fn take_uses(&self, limit: usize) -> Vec<(ApiKeyId, Timestamp)> {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let ids: Vec<ApiKeyId> = used.keys().take(limit).cloned().collect();
        ids.into_iter().filter_map(|id| used.remove_entry(&id)).collect()
    }

    /// The key with this text, read from the database.
    ///
    /// Another process may have made it a moment ago. A text that does not have the form of a key
    /// is never looked up.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub async fn look_up(&self, text: &str) -> Result<Option<StoredApiKey>, StoreError> {
        if !key::looks_minted(text) {
            return Ok(None);
        }
        let digest = key::digest(text);
        let stored = self.reads.run_for_keys(move |db| db.api_key(&digest)).await?;
        Ok(stored.filter(is_valid))
    }

    /// Whether an accepted key has been revoked or has expired since.
    ///
    /// `false` for a key that is not known here yet: another process made it a moment ago.
    pub fn has_ended(&self, id: &ApiKeyId) -> bool {
        self.read().by_id.get(id).is_some_and(|stored| !is_valid(stored))
    }

    /// Whether there is no key at all.
    pub fn is_empty(&self) -> bool {
        self.read().by_digest.is_empty()
    }

    /// Whether a key with this digest exists, valid or not.
    pub fn knows(&self, digest: &str) -> bool {
        self.read().by_digest.contains_key(digest)
    }

    /// Adds a key that this process just made or revoked.
    pub fn put(&self, stored: StoredApiKey) {
        let stored = Arc::new(stored);
        let mut keys = self.write();
        keys.own.push((Instant::now(), Arc::clone(&stored)));
        keys.put(stored);
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Keys> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Keys> {
        self.keys.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The beginning of the hour.
fn hour_of(at: Timestamp) -> Timestamp {
    const HOUR_US: i64 = 3_600_000_000;
    let micros = at.as_micros();
    Timestamp::from_micros(micros.saturating_sub(micros.rem_euclid(HOUR_US))).unwrap_or(at)
}

fn is_valid(stored: &StoredApiKey) -> bool {
    stored.is_living(Timestamp::now())
}

#[cfg(test)]
mod tests;
