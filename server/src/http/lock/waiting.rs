//! The waiting room: callers that wait for locks, first in, first out per lock.
//!
//! Only the first waiter of a lock tries to acquire it: when it becomes the first and the lock may be
//! free, when the lock is about to be released in this process, when the holder's time is over, and
//! when a look at the database shows that another process released it (`look.rs`).

use ifmatch_domain::core::IdempotencyKey;
use ifmatch_types::{ApiKeyId, LockHeld};
use std::{
    collections::{HashMap, VecDeque},
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tokio::sync::Notify;

/// Maximum waiters of a process.
const WAITERS_MAX: usize = 32_768;
/// Maximum waiters of an API key.
const WAITERS_MAX_PER_KEY: usize = 16_384;

/// The waiters of this process.
#[derive(Default)]
pub struct WaitingRoom {
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    queues: HashMap<String, Queue>,
    by_key: HashMap<ApiKeyId, usize>,
    waiters: usize,
    last_number: u64,
    is_closed: bool,
}

/// The waiters of one lock, in their order.
#[derive(Default)]
struct Queue {
    waiters: VecDeque<Waiter>,
    /// Who holds the lock, as the first waiter last saw.
    held: Option<LockHeld>,
    /// When the holder's time is over. `None` if the lock may be free.
    holder_ends_at: Option<Instant>,
    /// How often the lock was said to be free.
    wakes: u64,
}

struct Waiter {
    number: u64,
    turn: Arc<Notify>,
    /// The digest of the request's Idempotency-Key, if it has one.
    request: Option<u64>,
    /// Whether another send of its request got the lock, so that it only has to ask for the answer.
    is_answered: bool,
}

/// A waiter's place. It is given up when this is dropped, also if the client hangs up.
pub struct Place {
    room: Arc<WaitingRoom>,
    lock_id: String,
    key_id: ApiKeyId,
    number: u64,
    turn: Arc<Notify>,
    request: Option<u64>,
}

impl Queue {
    fn call_first(&self) {
        if let Some(first) = self.waiters.front() {
            first.turn.notify_one();
        }
    }

    fn is_first(&self, number: u64) -> bool {
        self.waiters.front().is_some_and(|first| first.number == number)
    }

    /// A waiter's index. Numbers ascend, so that 10,000 waiters do not search 10,000 each.
    fn index_of(&self, number: u64) -> Option<usize> {
        self.waiters.binary_search_by_key(&number, |one| one.number).ok()
    }

    /// Notes for how long the lock is held, unless it was said to be free since these wakes.
    fn note_held(&mut self, remaining: Duration, wakes: u64) {
        if self.wakes == wakes {
            self.holder_ends_at = Some(Instant::now() + remaining);
        }
    }
}

impl WaitingRoom {
    /// Takes the last place in the queue of a lock. `None` if the room or the key's share is full.
    pub fn enter(
        self: &Arc<Self>,
        lock_id: &str,
        key_id: &ApiKeyId,
        idempotency: Option<&IdempotencyKey>,
    ) -> Option<Place> {
        let request = idempotency.map(|key| {
            let mut hasher = DefaultHasher::new();
            (key.owner.as_str(), &key.key).hash(&mut hasher);
            hasher.finish()
        });
        let mut waiting = self.lock();
        let of_key = waiting.by_key.get(key_id).copied().unwrap_or_default();
        if waiting.waiters >= WAITERS_MAX || of_key >= WAITERS_MAX_PER_KEY {
            return None;
        }
        waiting.by_key.insert(key_id.clone(), of_key.saturating_add(1));
        waiting.waiters = waiting.waiters.saturating_add(1);
        waiting.last_number = waiting.last_number.saturating_add(1);
        let number = waiting.last_number;
        let is_closed = waiting.is_closed;
        let turn = Arc::new(Notify::new());
        let queue = waiting.queues.entry(lock_id.to_owned()).or_default();
        queue.waiters.push_back(Waiter {
            number,
            turn: Arc::clone(&turn),
            request,
            is_answered: false,
        });
        if queue.waiters.len() == 1 || is_closed {
            turn.notify_one();
        }
        let (lock_id, key_id) = (lock_id.to_owned(), key_id.clone());
        Some(Place { room: Arc::clone(self), lock_id, key_id, number, turn, request })
    }

    /// Gives the first waiter of a lock its turn, because the lock may be free.
    pub fn wake(&self, lock_id: &str) {
        if let Some(queue) = self.lock().queues.get_mut(lock_id) {
            queue.holder_ends_at = None;
            queue.wakes = queue.wakes.wrapping_add(1);
            queue.call_first();
        }
    }

    /// The number of waiters of a lock.
    pub fn waiters_of(&self, lock_id: &str) -> u64 {
        let waiting = self.lock();
        let waiters = waiting.queues.get(lock_id).map_or(0, |queue| queue.waiters.len());
        u64::try_from(waiters).unwrap_or(u64::MAX)
    }

    /// The number of all waiters.
    pub fn waiters(&self) -> usize {
        self.lock().waiters
    }

    /// Wakes all waiters, because the server stops.
    pub fn close(&self) {
        let mut waiting = self.lock();
        waiting.is_closed = true;
        for waiter in waiting.queues.values().flat_map(|queue| &queue.waiters) {
            waiter.turn.notify_one();
        }
    }

    /// The locks that are waited for.
    pub fn awaited(&self) -> Vec<String> {
        let mut ids: Vec<String> = self.lock().queues.keys().cloned().collect();
        ids.sort_unstable();
        ids
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Waits until it may be this waiter's turn.
    pub async fn turn(&self) {
        self.turn.notified().await;
    }

    /// Whether no other waiter is before this one.
    pub fn is_first(&self) -> bool {
        let waiting = self.room.lock();
        waiting.queues.get(&self.lock_id).is_some_and(|queue| queue.is_first(self.number))
    }

    /// Whether the server stops.
    pub fn is_closed(&self) -> bool {
        self.room.lock().is_closed
    }

    /// How often the lock was said to be free. A try notes what it finds only if this is the same.
    pub fn wakes(&self) -> u64 {
        self.room.lock().queues.get(&self.lock_id).map_or(0, |queue| queue.wakes)
    }

    /// Notes who holds the lock, and for how long.
    pub fn note_held(&self, held: &LockHeld, remaining: Duration, wakes: u64) {
        if let Some(queue) = self.room.lock().queues.get_mut(&self.lock_id) {
            queue.held = Some(held.clone());
            queue.note_held(remaining, wakes);
        }
    }

    /// Notes for how long this waiter now holds the lock, so that the next one need not try.
    ///
    /// Other sends of its request have their turn. They would wait for the end of their own grant.
    pub fn note_granted(&self, remaining: Duration, wakes: u64) {
        let mut waiting = self.room.lock();
        let Some(queue) = waiting.queues.get_mut(&self.lock_id) else { return };
        queue.note_held(remaining, wakes);
        if self.request.is_some() {
            for other in queue.waiters.iter_mut().filter(|other| other.request == self.request) {
                other.is_answered = true;
                other.turn.notify_one();
            }
        }
    }

    /// Whether it is not this waiter's turn although it was called: the lock is still held.
    pub fn must_wait(&self) -> bool {
        let waiting = self.room.lock();
        let Some(queue) = waiting.queues.get(&self.lock_id) else { return false };
        let own = queue.index_of(self.number).and_then(|index| queue.waiters.get(index));
        let is_held = queue.holder_ends_at.is_some_and(|end| Instant::now() < end);
        is_held && !own.is_some_and(|own| own.is_answered)
    }

    /// When the holder's time is over, if this waiter is the first and the lock is not free.
    pub fn holder_ends_at(&self) -> Option<Instant> {
        let waiting = self.room.lock();
        let queue = waiting.queues.get(&self.lock_id)?;
        queue.holder_ends_at.filter(|_| queue.is_first(self.number))
    }

    /// Who holds the lock, as the first waiter last saw.
    pub fn held(&self) -> Option<LockHeld> {
        self.room.lock().queues.get(&self.lock_id)?.held.clone()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut waiting = self.room.lock();
        waiting.waiters = waiting.waiters.saturating_sub(1);
        if let Some(of_key) = waiting.by_key.get_mut(&self.key_id) {
            *of_key = of_key.saturating_sub(1);
            if *of_key == 0 {
                waiting.by_key.remove(&self.key_id);
            }
        }
        let Some(queue) = waiting.queues.get_mut(&self.lock_id) else { return };
        if let Some(index) = queue.index_of(self.number) {
            queue.waiters.remove(index);
            if index == 0 {
                queue.call_first();
            }
        }
        if queue.waiters.is_empty() {
            waiting.queues.remove(&self.lock_id);
        }
    }
}

#[cfg(test)]
mod tests;
