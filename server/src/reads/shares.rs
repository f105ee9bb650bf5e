//! The share of each API key in the reads: nobody takes all connections, or the whole queue.

use ifmatch_types::ApiKeyId;
use std::{
    collections::HashMap,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task_local,
};

task_local! {
    static READER: ApiKeyId;
}

/// Runs a request's work in the name of a key: its reads count against the key's share.
pub fn in_the_name_of<F: Future>(key: ApiKeyId, work: F) -> impl Future<Output = F::Output> {
    READER.scope(key, work)
}

/// The key whose request this code works for; `None` for background work.
pub fn reader() -> Option<ApiKeyId> {
    READER.try_with(Clone::clone).ok()
}

/// The shares of all keys that read now.
#[derive(Debug)]
pub struct Shares {
    /// Maximum reads of a key that run at the same time.
    running_max: usize,
    /// Maximum reads of a key that run or wait.
    inside_max: usize,
    by_key: Mutex<HashMap<ApiKeyId, Share>>,
}

#[derive(Debug)]
struct Share {
    running: Arc<Semaphore>,
    inside: usize,
}

/// A read of a key, running or waiting.
#[derive(Debug)]
pub struct Inside {
    shares: Arc<Shares>,
    key: ApiKeyId,
    running: Arc<Semaphore>,
}

impl Shares {
    pub fn new(running_max: usize, inside_max: usize) -> Arc<Self> {
        Arc::new(Self { running_max, inside_max, by_key: Mutex::default() })
    }

    /// Lets one more read of this key in; `None` if it has its share.
    pub fn enter(self: &Arc<Self>, key: ApiKeyId) -> Option<Inside> {
        let mut by_key = self.by_key();
        let share = by_key.entry(key.clone()).or_insert_with(|| Share {
            running: Arc::new(Semaphore::new(self.running_max)),
            inside: 0,
        });
        if share.inside >= self.inside_max {
            return None;
        }
        share.inside = share.inside.saturating_add(1);
        let running = Arc::clone(&share.running);
        drop(by_key);
        Some(Inside { shares: Arc::clone(self), key, running })
    }

    fn by_key(&self) -> MutexGuard<'_, HashMap<ApiKeyId, Share>> {
        self.by_key.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inside {
    /// Waits until one more read of this key may run.
    pub async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.running).acquire_owned().await.ok()
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        let mut by_key = self.shares.by_key();
        if let Some(share) = by_key.get_mut(&self.key) {
            share.inside = share.inside.saturating_sub(1);
            if share.inside == 0 {
                by_key.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(id: &str) -> ApiKeyId {
        ApiKeyId::from_unchecked(id)
    }

    #[actix_web::test]
    async fn a_key_runs_some_reads_and_has_some_more_waiting() {
        let shares = Shares::new(2, 3);
        let inside: Vec<_> = (0..3).map(|_| shares.enter(key("a")).unwrap()).collect();
        assert!(shares.enter(key("a")).is_none());
        assert!(shares.enter(key("b")).is_some(), "another key has its own share");
        let first = inside[0].turn().await.unwrap();
        let _second = inside[1].turn().await.unwrap();
        let mut third = Box::pin(inside[2].turn());
        assert!(futures::poll!(&mut third).is_pending());
        drop(first);
        assert!(third.await.is_some());
        drop(inside);
        assert!(shares.by_key().is_empty(), "a key that stopped takes no memory");
    }

    #[actix_web::test]
    async fn work_is_done_in_the_name_of_a_key_or_of_nobody() {
        assert_eq!(reader(), None);
        assert_eq!(in_the_name_of(key("a"), async { reader() }).await, Some(key("a")));
    }
}
