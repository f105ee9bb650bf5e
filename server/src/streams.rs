//! The open event streams of this process: how many there may be, and which are cut off.
//!
//! A stream ends by itself when its key ends or the server stops, unless its client does not read:
//! then nobody asks it for more. `watch` cuts such streams off. Without a reason to end, a stream
//! whose client does not read is ended by its socket, like every other answer.

use crate::{app::App, listener::Line, metrics};
use ifmatch_types::ApiKeyId;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering},
    time::{Duration, Instant},
};
use tokio::time::{MissedTickBehavior, interval};

/// Maximum open streams of a process.
pub const STREAMS_MAX: usize = 256;
/// Maximum open streams of one key, so that no caller takes the place of all others.
pub const STREAMS_PER_KEY_MAX: usize = STREAMS_MAX / 4;
/// A client that has read nothing for this long is slow.
const SLOW: Duration = Duration::from_secs(1);
/// Time between two looks at all streams. An ended key is known within a second, and its streams
/// have one look's time to end by themselves, so they end within 3 s.
const WATCH_INTERVAL: Duration = Duration::from_millis(500);

/// Why there is no place for a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoPlace {
    /// All places are taken.
    Full,
    /// The key has its share.
    KeyFull,
}

/// The open streams.
#[derive(Default)]
pub struct Streams {
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    streams: BTreeMap<u64, Stream>,
    opened: u64,
}

struct Stream {
    key_id: ApiKeyId,
    connection: Option<Arc<Line>>,
    /// Whether it should have ended by itself at the last look.
    should_end: bool,
}

impl Stream {
    /// Whether its client has read nothing for a while.
    fn is_unread(&self, now: Instant) -> bool {
        let stalled_since = self.connection.as_ref().and_then(|line| line.stalled_since());
        stalled_since.is_some_and(|since| now.saturating_duration_since(since) > SLOW)
    }
}

impl Streams {
    /// Takes a place for a stream of this key.
    ///
    /// # Errors
    ///
    /// If there is none.
    pub fn open(
        self: &Arc<Self>,
        key_id: &ApiKeyId,
        connection: Option<Arc<Line>>,
    ) -> Result<StreamPlace, NoPlace> {
        let mut open = self.lock();
        if open.streams.len() >= STREAMS_MAX {
            return Err(NoPlace::Full);
        }
        let of_key = open.streams.values().filter(|stream| stream.key_id == *key_id);
        if of_key.count() >= STREAMS_PER_KEY_MAX {
            return Err(NoPlace::KeyFull);
        }
        let number = open.opened;
        open.opened = number.wrapping_add(1);
        let key_id = key_id.clone();
        open.streams.insert(number, Stream { key_id, connection, should_end: false });
        Ok(StreamPlace { streams: Arc::clone(self), number })
    }

    /// Measures how many streams are not read.
    pub fn measure(&self) {
        let now = Instant::now();
        let open = self.lock();
        let unread = open.streams.values().filter(|stream| stream.is_unread(now));
        metrics::unread_streams(unread.count());
    }

    /// The connections to close now.
    fn overdue(&self, should_end: impl Fn(&ApiKeyId) -> bool) -> Vec<Arc<Line>> {
        let mut overdue = Vec::new();
        for stream in self.lock().streams.values_mut() {
            let has_had_its_time = stream.should_end;
            stream.should_end = should_end(&stream.key_id);
            if stream.should_end && has_had_its_time {
                overdue.extend(stream.connection.clone());
            }
        }
        overdue
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of one open stream. Dropping it frees the place.
pub struct StreamPlace {
    streams: Arc<Streams>,
    number: u64,
}

impl Drop for StreamPlace {
    fn drop(&mut self) {
        self.streams.lock().streams.remove(&self.number);
    }
}

/// Cuts off streams that should end and do not.
pub async fn watch(app: &App) {
    let mut ticks = interval(WATCH_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let is_stopping = app.stopping.load(Ordering::Relaxed);
        let overdue = app.streams.overdue(|key| is_stopping || app.keyring.has_ended(key));
        if !overdue.is_empty() {
            tracing::info!(streams = overdue.len(), "event streams that should end were cut off");
        }
        overdue.iter().for_each(|line| line.hang_up());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listener::Patience;

    fn key(name: &str) -> ApiKeyId {
        ApiKeyId::from_unchecked(name)
    }

    #[test]
    fn a_key_has_a_share_of_the_places() {
        let streams = Arc::new(Streams::default());
        let open = |name: &str| streams.open(&key(name), None);
        let mut places = Vec::new();
        for name in ["a", "b", "c", "d"] {
            places.extend((0..STREAMS_PER_KEY_MAX).map(|_| open(name).ok().unwrap()));
            let refused = if name == "d" { NoPlace::Full } else { NoPlace::KeyFull };
            assert_eq!(open(name).err(), Some(refused));
        }
        assert_eq!(open("e").err(), Some(NoPlace::Full));
        places.pop();
        assert_eq!(open("a").err(), Some(NoPlace::KeyFull));
        assert!(open("e").is_ok(), "a dropped place is free");
    }

    #[test]
    fn a_stream_that_should_have_ended_is_overdue() {
        let line = Arc::new(Line::new(Patience::new(Duration::from_secs(1))));
        let streams = Arc::new(Streams::default());
        let _place = streams.open(&key("a"), Some(line)).ok().unwrap();
        let overdue = |ended: &str| streams.overdue(|id| *id == key(ended)).len();
        assert_eq!(overdue(""), 0);
        assert_eq!(overdue("a"), 0, "it may end by itself");
        assert_eq!(overdue("a"), 1);
        assert_eq!(overdue(""), 0);
    }
}
