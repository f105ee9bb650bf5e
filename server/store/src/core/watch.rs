//! The watch over statements that never end.
//!
//! A PostgreSQL that is frozen keeps its connections open and answers nothing. Its kernel still
//! acknowledges what arrives, so that no timeout of TCP applies. A thread of this process looks at all
//! watched connections and cuts one whose statement takes too long. Its caller then gets
//! [`StoreError::Gone`](super::error::StoreError::Gone) and goes on with a new connection.

use std::{
    sync::{
        Arc, Mutex, OnceLock, PoisonError, Weak,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// How often the connections are looked at.
const INTERVAL: Duration = Duration::from_millis(500);
/// The first mark: the timeout of TCP itself, in milliseconds. See [`ifmatch_cut`].
const FIRST_MARK: u32 = 15_000;
/// Number of different marks.
const MARKS: u32 = 10_000;

/// A mark for a new connection, which hardly any other connection of this process has.
pub(super) fn fresh_mark() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    FIRST_MARK + NEXT.fetch_add(1, Ordering::Relaxed) % MARKS
}

/// What a connection tells the watch.
#[derive(Debug)]
pub(super) struct Watch {
    mark: u32,
    limit: Duration,
    /// When its statement began, by [`now_ms`]. 0: it is idle.
    busy_since_ms: AtomicU64,
}

impl Watch {
    /// Begins to watch the connection with this mark.
    pub(super) fn begin(mark: u32, limit: Duration) -> Arc<Self> {
        let watch = Arc::new(Self { mark, limit, busy_since_ms: AtomicU64::new(0) });
        let mut watched = watched().lock().unwrap_or_else(PoisonError::into_inner);
        watched.retain(|one| one.strong_count() > 0);
        watched.push(Arc::downgrade(&watch));
        watch
    }

    /// A statement begins.
    pub(super) fn busy(&self) {
        self.busy_since_ms.store(now_ms(), Ordering::Relaxed);
    }

    /// No statement runs.
    pub(super) fn idle(&self) {
        self.busy_since_ms.store(0, Ordering::Relaxed);
    }

    fn is_stuck(&self) -> bool {
        let since = self.busy_since_ms.load(Ordering::Relaxed);
        since > 0 && u128::from(now_ms().saturating_sub(since)) > self.limit.as_millis()
    }
}

/// All watched connections. The first one starts the thread.
fn watched() -> &'static Mutex<Vec<Weak<Watch>>> {
    static WATCHED: Mutex<Vec<Weak<Watch>>> = Mutex::new(Vec::new());
    static THREAD: OnceLock<bool> = OnceLock::new();
    THREAD.get_or_init(|| {
        let started = thread::Builder::new().name("watch".to_owned()).spawn(look_for_ever);
        if let Err(error) = &started {
            tracing::error!(%error, "nothing watches the connections to the database");
        }
        started.is_ok()
    });
    &WATCHED
}

fn look_for_ever() {
    loop {
        thread::sleep(INTERVAL);
        let all = watched().lock().unwrap_or_else(PoisonError::into_inner).clone();
        for watch in all.iter().filter_map(Weak::upgrade).filter(|watch| watch.is_stuck()) {
            let limit_ms = u64::try_from(watch.limit.as_millis()).unwrap_or(u64::MAX);
            tracing::warn!(limit_ms, "the database does not answer; its connection is cut");
            if let Err(error) = ifmatch_cut::cut_marked(watch.mark) {
                tracing::error!(%error, "a connection could not be cut");
            }
            // Not again at once, if the cut did not help.
            watch.busy();
        }
    }
}

/// Milliseconds since the first call, and at least 1.
fn now_ms() -> u64 {
    static EPOCH: OnceLock<Instant> = OnceLock::new();
    let passed = EPOCH.get_or_init(Instant::now).elapsed().as_millis();
    u64::try_from(passed).unwrap_or(u64::MAX).saturating_add(1)
}
