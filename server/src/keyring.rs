//! The API keys this process accepts: all of them in memory, by digest.
//!
//! Re-read every second, so that a key revoked in another process stops working here within three;
//! a key revoked in this process stops at once.

use crate::{key, reads::Reads};
use ifmatch_domain::StoredApiKey;
use ifmatch_store::StoreError;
use ifmatch_types::{ApiKeyId, Timestamp};
use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

/// How often the keys are read again.
pub const REFRESH_INTERVAL: Duration = Duration::from_secs(1);
/// All API keys, by digest.
pub struct Keyring {
    keys: RwLock<Keys>,
    reads: Arc<Reads>,
}

/// What was read, and what this process made or revoked since a reading began.
#[derive(Default)]
struct Keys {
    by_digest: HashMap<String, StoredApiKey>,
    digests: HashMap<ApiKeyId, String>,
    /// Changes of this process's own: a reading that began before one must not undo it.
    own: Vec<(Instant, StoredApiKey)>,
}

impl Keys {
    fn insert(&mut self, stored: StoredApiKey) {
        self.digests.insert(stored.key.id.clone(), stored.digest.clone());
        self.by_digest.insert(stored.digest.clone(), stored);
    }
}

impl Keyring {
    /// Reads all keys.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub async fn open(reads: Arc<Reads>) -> Result<Self, StoreError> {
        let keyring = Self { keys: RwLock::default(), reads };
        keyring.refresh().await?;
        Ok(keyring)
    }

    /// Reads all keys again.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`]. The keys that were known stay.
    pub async fn refresh(&self) -> Result<(), StoreError> {
        let began_at = Instant::now();
        let read = self.reads.run(ifmatch_store::Db::api_keys).await?;
        let mut keys = self.write();
        keys.own.retain(|(changed_at, _)| *changed_at >= began_at);
        let own = keys.own.iter().map(|(_, stored)| stored.clone());
        let known: Vec<_> = read.into_iter().chain(own).collect();
        keys.by_digest.clear();
        keys.digests.clear();
        known.into_iter().for_each(|stored| keys.insert(stored));
        Ok(())
    }

    /// The key with this text, if it is known here and accepted now.
    pub fn accept(&self, text: &str) -> Option<StoredApiKey> {
        let digest = key::digest(text);
        let keys = self.read();
        let stored = keys.by_digest.get(&digest)?;
        (key::same_digest(&stored.digest, &digest) && is_valid(stored)).then(|| stored.clone())
    }

    /// The key with this text, looked for in the database: another process may have made it a
    /// moment ago. What does not even have the form of a key never gets there.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub async fn look_up(&self, text: &str) -> Result<Option<StoredApiKey>, StoreError> {
        if !key::looks_minted(text) {
            return Ok(None);
        }
        let digest = key::digest(text);
        let stored = self.reads.run(move |db| db.api_key(&digest)).await?;
        Ok(stored.filter(is_valid))
    }

    /// Whether a key that was accepted has been revoked or has expired since. A key that is not
    /// known here yet has not: another process made it a moment ago.
    pub fn has_ended(&self, id: &ApiKeyId) -> bool {
        let keys = self.read();
        let stored = keys.digests.get(id).and_then(|digest| keys.by_digest.get(digest));
        stored.is_some_and(|stored| !is_valid(stored))
    }

    /// Whether there is no key at all.
    pub fn is_empty(&self) -> bool {
        self.read().by_digest.is_empty()
    }

    /// Whether a key with this digest exists, valid or not.
    pub fn knows(&self, digest: &str) -> bool {
        self.read().by_digest.contains_key(digest)
    }

    /// Takes over a key that this process just made or revoked.
    pub fn put(&self, stored: StoredApiKey) {
        let mut keys = self.write();
        keys.own.push((Instant::now(), stored.clone()));
        keys.insert(stored);
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Keys> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Keys> {
        self.keys.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_valid(stored: &StoredApiKey) -> bool {
    let expired = stored.key.expires_at.is_some_and(|expires_at| expires_at <= Timestamp::now());
    stored.key.revoked_at.is_none() && !expired
}
