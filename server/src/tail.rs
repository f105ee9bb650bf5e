//! The tail of the event stream: new events are read once for all followers.
//!
//! One task per process reads what was committed since its last read, and broadcasts it in batches.
//! A follower filters them in memory. It reads the table itself only to catch up: at its start, and
//! when it was too slow for the broadcast.
//!
//! Hand-over: a batch covers an interval of the stream, `(after, until]`, and holds every settled
//! event in it. A follower knows the place up to which it has seen everything (`seen`).
//! - `after <= seen`: no gap. The follower takes the events beyond `seen`; none comes twice.
//! - `after > seen`: events are missing. The follower reads the table from `seen` on.
//!
//! So no event is lost or doubled, whatever the broadcast drops. No event is late either, because a
//! follower subscribes before it first reads the table. Events that the tail publishes later are in
//! the channel. Events that it published earlier were already settled, so the follower finds them
//! in the table.

mod follower;

pub use follower::{Follower, Wanted};

use crate::{metrics, reads::Reads};
use ifmatch_store::{Db, EventsQuery, StoreError};
use ifmatch_types::Event;
use std::{
    io::{self, Write},
    sync::{Arc, OnceLock},
    time::Duration,
};
use tokio::{
    sync::{Notify, broadcast, watch},
    time::{Instant, sleep_until, timeout},
};

/// Commits of other processes are seen after this long at the latest.
const POLL_INTERVAL: Duration = Duration::from_millis(250);
/// Minimum time between two reads. The first event after a pause is not delayed.
const READ_INTERVAL: Duration = Duration::from_millis(10);
/// Maximum events in a batch.
pub const BATCH_MAX: i64 = 100;
/// Maximum number of batches that a follower may lag behind. Then it reads the table.
const BATCHES_KEPT: usize = 32;

/// Maximum bytes of the events in a batch or page. A single event may be larger.
const BYTES_MAX: usize = 1024 * 1024;
/// Maximum events that are read at once, because each may be large.
const ROWS_MAX: i64 = 50;

/// An event that many followers share.
pub struct SharedEvent {
    /// The event.
    pub event: Event,
    /// The size of its JSON.
    bytes: usize,
    text: OnceLock<bytes::Bytes>,
}

impl SharedEvent {
    fn new(event: Event) -> Arc<Self> {
        let mut size = Size(0);
        serde_json::to_writer(&mut size, &event).expect("an event is a JSON object");
        Arc::new(Self { event, bytes: size.0, text: OnceLock::new() })
    }

    /// The event as a server-sent event; rendered once for all streams.
    pub fn text(&self) -> bytes::Bytes {
        let render = || {
            let Event { seq, event_type, .. } = &self.event;
            let json = serde_json::to_string(&self.event).expect("an event is a JSON object");
            format!("id: {seq}\nevent: {event_type}\ndata: {json}\n\n").into()
        };
        self.text.get_or_init(render).clone()
    }
}

/// Counts what is written to it.
struct Size(usize);

impl Write for Size {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.saturating_add(bytes.len());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// How many of these events fit into a batch or page: one at least, and `limit` at most.
fn fitting(events: &[Arc<SharedEvent>], limit: i64) -> usize {
    let mut bytes = events.first().map_or(0, |shared| shared.bytes);
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = events.iter().take(limit).skip(1).take_while(|shared| {
        bytes = bytes.saturating_add(shared.bytes);
        bytes <= BYTES_MAX
    });
    more.count().saturating_add(1).min(events.len())
}

/// All settled events in `(after, until]`, in order.
struct Batch {
    after: i64,
    until: i64,
    events: Vec<Arc<SharedEvent>>,
}

/// A broadcast of the tail.
#[derive(Clone)]
enum News {
    Batch(Arc<Batch>),
    /// The tail could not read. Followers read for themselves, and see the error if it lasts.
    Failed,
}

/// The reader of new events. It reads only while there are followers.
pub struct Tail {
    reads: Arc<Reads>,
    feed: broadcast::Sender<News>,
    called: Arc<Notify>,
}

impl Tail {
    /// A tail without followers. [`run`](Self::run) does the reading.
    pub fn new(reads: Arc<Reads>) -> Self {
        let (feed, _) = broadcast::channel(BATCHES_KEPT);
        Self { reads, feed, called: Arc::default() }
    }

    /// Follows the wanted events after this place of the stream.
    pub fn follow(&self, after: i64, wanted: Wanted) -> Follower {
        let (reads, called) = (Arc::clone(&self.reads), Arc::clone(&self.called));
        Follower::new(reads, self.feed.subscribe(), called, after, wanted)
    }

    /// Measures how many streams and waiting reads there are now.
    pub fn measure(&self) {
        metrics::event_followers(self.feed.receiver_count());
    }

    /// Reads and broadcasts new events. `commits` signals commits of this process.
    pub async fn run(&self, mut commits: watch::Receiver<u64>) {
        let mut reached = None;
        let mut is_failing = false;
        loop {
            if self.feed.receiver_count() == 0 {
                // Otherwise the next follower would cost a read of everything since the last one
                // left.
                reached = None;
                self.called.notified().await;
                continue;
            }
            let next_read = Instant::now() + READ_INTERVAL;
            commits.mark_unchanged();
            match self.advance(&mut reached).await {
                Ok(()) => is_failing = false,
                Err(error) => {
                    if !is_failing {
                        tracing::warn!(%error, "new events could not be read; trying again");
                    }
                    is_failing = true;
                    let _ = self.feed.send(News::Failed);
                }
            }
            sleep_until(next_read).await;
            let _ = timeout(POLL_INTERVAL, commits.changed()).await;
        }
    }

    /// Broadcasts everything after `reached`, batch by batch.
    ///
    /// A tail that has reached nothing yet begins at the end and says so with an empty batch. A
    /// follower that read the table before that place then catches up.
    async fn advance(&self, reached: &mut Option<i64>) -> Result<(), StoreError> {
        let until = self.reads.settled_seq().await?;
        let Some(mut after) = *reached else {
            *reached = Some(until);
            self.publish(Batch { after: until, until, events: Vec::new() });
            return Ok(());
        };
        while after < until {
            let page = read_up_to(&self.reads, after, until, BATCH_MAX, Wanted::default()).await?;
            let end = page.end;
            self.publish(Batch { after, until: end, events: page.events });
            *reached = Some(end);
            after = end;
        }
        Ok(())
    }

    fn publish(&self, batch: Batch) {
        // An error only says that the last follower has left.
        let _ = self.feed.send(News::Batch(Arc::new(batch)));
    }
}

/// A page of the table.
struct Page {
    events: Vec<Arc<SharedEvent>>,
    /// Every wanted event up to this place is in this page or an earlier one.
    end: i64,
    is_full: bool,
}

/// Reads wanted events in `(after, until]`.
async fn read_up_to(
    reads: &Arc<Reads>,
    after: i64,
    until: i64,
    limit: i64,
    wanted: Wanted,
) -> Result<Page, StoreError> {
    if until <= after {
        return Ok(Page { events: Vec::new(), end: after, is_full: false });
    }
    let resource = wanted.resource.map(str::to_owned);
    let workspace_id = wanted.workspace_id.as_ref().map(ToString::to_string);
    let query = EventsQuery { after, until, resource, change: wanted.change, workspace_id, limit };
    let (mut events, is_end) = reads.run(move |db| read(db, &query)).await?;
    let fitting = fitting(&events, limit);
    let is_full = !is_end || fitting < events.len();
    events.truncate(fitting);
    let end = events.last().filter(|_| is_full).map_or(until, |last| last.event.seq);
    Ok(Page { events, end, is_full })
}

/// Reads events until there are no more, or enough for a batch or page. Says whether it was the end.
fn read(db: &mut Db, query: &EventsQuery) -> Result<(Vec<Arc<SharedEvent>>, bool), StoreError> {
    let (mut events, mut bytes, mut missing) = (Vec::new(), 0_usize, query.limit);
    let mut query = query.clone();
    while missing > 0 && bytes <= BYTES_MAX {
        query.limit = missing.min(ROWS_MAX);
        let part = db.events(&query)?;
        let count = i64::try_from(part.len()).unwrap_or(i64::MAX);
        if let Some(last) = part.last() {
            query.after = last.seq;
        }
        for event in part.into_iter().map(SharedEvent::new) {
            bytes = bytes.saturating_add(event.bytes);
            events.push(event);
        }
        if count < query.limit {
            return Ok((events, true));
        }
        missing = missing.saturating_sub(count);
    }
    Ok((events, false))
}
