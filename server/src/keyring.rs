//! The API keys this process accepts: all of them in memory, by digest.
//!
//! Re-read every second, so that a key revoked in another process stops working here within three;
//! a key revoked in this process stops at once.

use crate::{key, reads::Reads};
use ifmatch_domain::StoredApiKey;
use ifmatch_store::StoreError;
use ifmatch_types::Timestamp;
use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

/// So often the keys are read again.
pub const REFRESH_INTERVAL: Duration = Duration::from_secs(1);
/// A key that is not known yet is looked for at once, but not more often than this.
const LOOKUP_INTERVAL: Duration = Duration::from_millis(100);

/// All API keys, by digest.
pub struct Keyring {
    keys: RwLock<Keys>,
    reads: Arc<Reads>,
}

struct Keys {
    by_digest: HashMap<String, StoredApiKey>,
    read_at: Instant,
}

impl Keyring {
    /// Reads all keys.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub async fn open(reads: Arc<Reads>) -> Result<Self, StoreError> {
        let keys = Keys { by_digest: HashMap::new(), read_at: Instant::now() };
        let keyring = Self { keys: RwLock::new(keys), reads };
        keyring.refresh().await?;
        Ok(keyring)
    }

    /// Reads all keys again.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`]. The keys that were known stay.
    pub async fn refresh(&self) -> Result<(), StoreError> {
        let keys = self.reads.run(ifmatch_store::Db::api_keys).await?;
        let by_digest = keys.into_iter().map(|stored| (stored.digest.clone(), stored)).collect();
        *self.write() = Keys { by_digest, read_at: Instant::now() };
        Ok(())
    }

    /// The key with this text, if it is accepted now.
    pub async fn accept(&self, text: &str) -> Option<StoredApiKey> {
        let digest = key::digest(text);
        if let Some(stored) = self.find(&digest) {
            return is_valid(&stored).then_some(stored);
        }
        // It may have been made by another process a moment ago. What does not even have the form
        // of a key never reaches the database.
        let stale = self.read().read_at.elapsed() >= LOOKUP_INTERVAL;
        if key::looks_minted(text) && stale {
            if let Err(error) = self.refresh().await {
                tracing::warn!(%error, "the API keys could not be read again");
            }
            return self.find(&digest).filter(is_valid);
        }
        None
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
        self.write().by_digest.insert(stored.digest.clone(), stored);
    }

    fn find(&self, digest: &str) -> Option<StoredApiKey> {
        let keys = self.read();
        let stored = keys.by_digest.get(digest)?;
        key::same_digest(&stored.digest, digest).then(|| stored.clone())
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
