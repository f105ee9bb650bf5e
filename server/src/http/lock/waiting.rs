//! The waiting room: callers that wait for locks, first in, first out per lock.
//!
//! Only the first waiter of a lock tries to acquire it: when it becomes the first and the lock may be
//! free, when the lock is about to be released in this process, when the holder's time is over, and
//! when a look at the database shows that another process released it. One task looks for all
//! waiters together.

use crate::app::App;
use ifmatch_types::{ApiKeyId, LockHeld};
use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering},
    time::{Duration, Instant},
};
use tokio::{sync::Notify, time::sleep};

/// Maximum waiters of a process.
const WAITERS_MAX: usize = 32_768;
/// Maximum waiters of an API key.
const WAITERS_MAX_PER_KEY: usize = 16_384;
/// Minimum pause between two looks at the database for locks that other processes released.
const LOOK_PAUSE_MS: u64 = 100;
/// Number of locks that one statement looks at.
const LOOKED_AT_ONCE: usize = 1_000;

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
}

struct Waiter {
    number: u64,
    turn: Arc<Notify>,
}

/// A waiter's place. It is given up when this is dropped, also if the client hangs up.
pub struct Place {
    room: Arc<WaitingRoom>,
    lock_id: String,
    key_id: ApiKeyId,
    number: u64,
    turn: Arc<Notify>,
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
}

impl WaitingRoom {
    /// Takes the last place in the queue of a lock. `None` if the room or the key's share is full.
    pub fn enter(self: &Arc<Self>, lock_id: &str, key_id: &ApiKeyId) -> Option<Place> {
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
        queue.waiters.push_back(Waiter { number, turn: Arc::clone(&turn) });
        if queue.waiters.len() == 1 || is_closed {
            turn.notify_one();
        }
        let (lock_id, key_id) = (lock_id.to_owned(), key_id.clone());
        Some(Place { room: Arc::clone(self), lock_id, key_id, number, turn })
    }

    /// Gives the first waiter of a lock its turn, because the lock may be free.
    pub fn wake(&self, lock_id: &str) {
        if let Some(queue) = self.lock().queues.get_mut(lock_id) {
            queue.holder_ends_at = None;
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

    fn awaited(&self) -> Vec<String> {
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

    /// Whether the server stops.
    pub fn is_closed(&self) -> bool {
        self.room.lock().is_closed
    }

    /// Notes who holds the lock, and for how long.
    pub fn note_held(&self, held: &LockHeld, remaining: Duration) {
        if let Some(queue) = self.room.lock().queues.get_mut(&self.lock_id) {
            queue.held = Some(held.clone());
            queue.holder_ends_at = Some(Instant::now() + remaining);
        }
    }

    /// Notes for how long this waiter now holds the lock, so that the next one need not try.
    pub fn note_granted(&self, remaining: Duration) {
        if let Some(queue) = self.room.lock().queues.get_mut(&self.lock_id) {
            queue.holder_ends_at = Some(Instant::now() + remaining);
        }
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
        // Numbers ascend, so that 10,000 waiters who leave at once do not search 10,000 each.
        if let Ok(index) = queue.waiters.binary_search_by_key(&self.number, |one| one.number) {
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

/// Looks for locks that other processes released, until the server stops.
///
/// It is at work for at most a tenth of the time, however many locks are waited for.
pub async fn watch(app: &App) {
    let mut last = Duration::ZERO;
    while !app.stopping.load(Ordering::Relaxed) {
        let jitter = Duration::from_millis(fastrand::u64(0..=LOOK_PAUSE_MS));
        sleep(Duration::from_millis(LOOK_PAUSE_MS).max(last.saturating_mul(9)) + jitter).await;
        let began_at = Instant::now();
        let room = &app.locks.room;
        for ids in room.awaited().chunks(LOOKED_AT_ONCE) {
            let ids = ids.to_vec();
            match app.reads.run(move |db| db.free_locks(&ids)).await {
                Ok(free) => free.iter().for_each(|id| room.wake(id)),
                Err(error) => tracing::debug!(%error, "awaited locks could not be looked at"),
            }
        }
        last = began_at.elapsed();
    }
    app.locks.room.close();
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    fn key(name: &str) -> ApiKeyId {
        ApiKeyId::from_unchecked(name)
    }

    fn has_turn(place: &Place) -> bool {
        place.turn().now_or_never().is_some()
    }

    #[test]
    fn the_first_waiter_has_the_turn_and_passes_it_on_when_it_leaves() {
        let room = Arc::new(WaitingRoom::default());
        let enter = || room.enter("/global//a", &key("k")).unwrap();
        let (first, second, third) = (enter(), enter(), enter());
        assert!(has_turn(&first) && !has_turn(&second) && !has_turn(&third));
        room.wake("/global//a");
        assert!(has_turn(&first) && !has_turn(&second));
        drop(second);
        assert!(!has_turn(&third), "the first is still there");
        drop(first);
        assert!(has_turn(&third));
        assert_eq!((room.waiters(), room.waiters_of("/global//a")), (1, 1));
        drop(third);
        assert_eq!((room.waiters(), room.lock().queues.len()), (0, 0));
        assert!(room.lock().by_key.is_empty(), "a key that stopped takes no memory");
    }

    #[test]
    fn a_release_between_two_tries_is_not_missed() {
        let room = Arc::new(WaitingRoom::default());
        let place = room.enter("/global//a", &key("k")).unwrap();
        assert!(has_turn(&place));
        room.wake("/global//a");
        assert!(has_turn(&place), "the wake came before the wait");
        assert!(!has_turn(&place));
    }

    #[test]
    fn the_next_waiter_knows_how_long_the_one_before_holds_the_lock() {
        let room = Arc::new(WaitingRoom::default());
        let enter = || room.enter("/global//a", &key("k")).unwrap();
        let (first, second) = (enter(), enter());
        first.note_granted(Duration::from_secs(60));
        assert_eq!(second.holder_ends_at(), None, "only the first waits for that");
        drop(first);
        assert!(has_turn(&second) && second.holder_ends_at().is_some());
        room.wake("/global//a");
        assert!(has_turn(&second));
        assert_eq!(second.holder_ends_at(), None, "it may be free");
    }

    #[test]
    fn a_key_has_a_share_of_the_places() {
        let room = Arc::new(WaitingRoom::default());
        let mut places = Vec::new();
        while let Some(place) = room.enter("/global//a", &key("greedy")) {
            places.push(place);
        }
        assert_eq!(places.len(), WAITERS_MAX_PER_KEY);
        places.push(room.enter("/global//a", &key("other")).unwrap());
        places.remove(0);
        assert!(room.enter("/global//b", &key("greedy")).is_some());
    }

    #[test]
    fn all_waiters_end_when_the_server_stops() {
        let room = Arc::new(WaitingRoom::default());
        let enter = || room.enter("/global//a", &key("k")).unwrap();
        let (_first, second) = (enter(), enter());
        room.close();
        assert!(has_turn(&second) && second.is_closed());
        assert!(has_turn(&enter()), "a later waiter does not wait");
    }
}
