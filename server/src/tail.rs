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
//!
//! If the log was replaced, the places of followers mean nothing any more. A batch carries the name
//! of its log, and a follower of another one ends.

mod follower;
mod place;

pub use follower::{Follower, Wanted};
pub use place::{Lost, Place, Start};

use crate::{metrics, reads::Reads};
use ifmatch_store::{EventLog, EventsQuery, StoreError};
use ifmatch_types::Event;
use std::{
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
/// The size of a batch. A follower that lags behind keeps all batches in memory until it reads.
pub const BATCH: Bounds = Bounds { events: 100, bytes: 256 * 1024 };
/// Maximum places that one statement looks at. Others may read between two of them.
const SCAN_MAX: i64 = 10_000;
/// Maximum number of batches that a follower may lag behind. Then it reads the table.
const BATCHES_KEPT: usize = 32;

/// The size of a page or batch of events. An event with more bytes is a page of its own.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Maximum events.
    pub events: i64,
    /// About how many bytes of JSON.
    pub bytes: usize,
}

/// An event that many followers share.
pub struct SharedEvent {
    /// The event.
    pub event: Event,
    text: OnceLock<bytes::Bytes>,
}

impl SharedEvent {
    fn new(event: Event) -> Arc<Self> {
        Arc::new(Self { event, text: OnceLock::new() })
    }

    /// The event as a server-sent event; rendered once for all streams.
    pub fn text(&self) -> bytes::Bytes {
        let render = || {
            let Event { cursor, event_type, .. } = &self.event;
            let json = serde_json::to_string(&self.event).expect("an event is a JSON object");
            format!("id: {cursor}\nevent: {event_type}\ndata: {json}\n\n").into()
        };
        self.text.get_or_init(render).clone()
    }
}

/// All settled events in `(after, until]`, in order.
struct Batch {
    epoch: Arc<str>,
    after: i64,
    until: i64,
    events: Vec<Arc<SharedEvent>>,
}

/// A broadcast of the tail.
#[derive(Clone)]
enum News {
    Batch(Arc<Batch>),
    /// The tail could not read, or the log was replaced. Followers read for themselves, and see the
    /// error if it lasts.
    Broken,
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

    /// Follows the wanted events after this place.
    pub fn follow(&self, after: Place, wanted: Wanted) -> Follower {
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
                    let _ = self.feed.send(News::Broken);
                }
            }
            sleep_until(next_read).await;
            let _ = timeout(POLL_INTERVAL, commits.changed()).await;
        }
    }

    /// Broadcasts everything after the end of `reached`, batch by batch.
    ///
    /// A tail that has reached nothing yet begins at the end and says so with an empty batch. A
    /// follower that read the table before that place then catches up.
    async fn advance(&self, reached: &mut Option<EventLog>) -> Result<(), StoreError> {
        let log = self.reads.event_log().await?;
        let known = reached.as_ref();
        let Some(known) = known.filter(|known| known.leads_to(&log)) else {
            if reached.is_some() {
                tracing::warn!("the log of events was replaced; its followers end");
                let _ = self.feed.send(News::Broken);
            }
            let (epoch, newest) = (Arc::clone(&log.epoch), log.newest);
            *reached = Some(log);
            self.publish(Batch { epoch, after: newest, until: newest, events: Vec::new() });
            return Ok(());
        };
        let mut after = known.newest;
        while after < log.newest {
            let place = Place { epoch: Arc::clone(&log.epoch), seq: after };
            let page =
                read_up_to(&self.reads, &place, log.newest, BATCH, Wanted::default()).await?;
            let (epoch, end) = (place.epoch, page.end);
            self.publish(Batch { epoch, after, until: end, events: page.events });
            *reached = Some(EventLog { newest: end, ..log.clone() });
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
}

/// Reads wanted events in `(after, until]`, or in the beginning of that interval.
async fn read_up_to(
    reads: &Arc<Reads>,
    after: &Place,
    until: i64,
    bounds: Bounds,
    wanted: Wanted,
) -> Result<Page, StoreError> {
    if until <= after.seq {
        return Ok(Page { events: Vec::new(), end: after.seq });
    }
    let query = EventsQuery {
        after: after.seq,
        until: until.min(after.seq.saturating_add(SCAN_MAX)),
        epoch: Arc::clone(&after.epoch),
        resource: wanted.resource.map(str::to_owned),
        change: wanted.change,
        workspace_id: wanted.workspace_id.as_ref().map(ToString::to_string),
        limit: bounds.events,
        bytes_max: Some(bounds.bytes),
    };
    let page = reads.run(move |db| db.events(&query)).await?;
    let events = page.events.into_iter().map(SharedEvent::new).collect();
    Ok(Page { events, end: page.end })
}
