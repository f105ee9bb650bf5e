//! A follower of events. It reads the table until it has caught up, and then follows the tail.

use super::{Batch, Bounds, Lost, News, Place, SharedEvent, place::check_end, read_up_to};
use crate::reads::Reads;
use ifmatch_store::StoreError;
use ifmatch_types::{ChangeKind, Event, WorkspaceId};
use std::sync::Arc;
use tokio::{
    sync::{Notify, broadcast, broadcast::error::RecvError},
    time::{Instant, timeout_at},
};

/// The events that a follower wants.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Only events about objects that hang on this workspace.
    pub workspace_id: Option<WorkspaceId>,
    /// Only events about objects of this type.
    pub resource: Option<&'static str>,
    /// Only changes of this kind.
    pub change: Option<ChangeKind>,
}

impl Wanted {
    fn matches(&self, event: &Event) -> bool {
        let is_within = self.workspace_id.is_none() || self.workspace_id == event.workspace_id;
        is_within
            && self.resource.is_none_or(|resource| event.resource.resource_type == resource)
            && self.change.is_none_or(|change| event.entry.kind == change)
    }
}

/// A reader of events that continues with new ones: a stream, or a read that waits.
pub struct Follower {
    reads: Arc<Reads>,
    feed: broadcast::Receiver<News>,
    /// Notified when the follower first waits.
    sleeping_tail: Option<Arc<Notify>>,
    wanted: Wanted,
    /// The place up to which every wanted event was returned.
    seen: Place,
    is_behind: bool,
}

impl Follower {
    pub(super) fn new(
        reads: Arc<Reads>,
        feed: broadcast::Receiver<News>,
        tail: Arc<Notify>,
        after: Place,
        wanted: Wanted,
    ) -> Self {
        Self { reads, feed, sleeping_tail: Some(tail), wanted, seen: after, is_behind: true }
    }

    /// The place up to which every wanted event was returned.
    pub fn seen(&self) -> &Place {
        &self.seen
    }

    /// Whether the table may have more wanted events now.
    pub fn is_behind(&self) -> bool {
        self.is_behind
    }

    /// The next wanted events. Empty if none was found before the deadline.
    ///
    /// # Errors
    ///
    /// [`Lost::Unknown`] if the log was replaced, or events after this place were pruned.
    pub async fn next(
        &mut self,
        bounds: Bounds,
        deadline: Instant,
    ) -> Result<Vec<Arc<SharedEvent>>, Lost> {
        loop {
            let events = if self.is_behind { self.catch_up(bounds).await? } else { Vec::new() };
            if !events.is_empty() || Instant::now() >= deadline {
                return Ok(events);
            }
            if self.is_behind {
                continue;
            }
            // The tail sleeps until a follower finds no more events in the table.
            if let Some(tail) = self.sleeping_tail.take() {
                tail.notify_one();
            }
            match timeout_at(deadline, self.feed.recv()).await {
                Err(_) => return Ok(Vec::new()),
                Ok(Ok(News::Batch(batch))) => {
                    let events = self.take(&batch, bounds.events);
                    if !events.is_empty() {
                        return Ok(events);
                    }
                }
                Ok(Ok(News::Broken) | Err(RecvError::Lagged(_))) => self.is_behind = true,
                Ok(Err(RecvError::Closed)) => {
                    return Err(StoreError::Gone("the reader of new events ended".into()).into());
                }
            }
        }
    }

    /// Reads a page from the table.
    async fn catch_up(&mut self, bounds: Bounds) -> Result<Vec<Arc<SharedEvent>>, Lost> {
        let log = self.reads.event_log().await?;
        let Place { epoch, seq } = &self.seen;
        if *epoch != log.epoch || *seq < log.oldest {
            return Err(Lost::of(&log));
        }
        if *seq > log.newest {
            check_end(&self.reads, &log, *seq).await?;
        }
        let page =
            read_up_to(&self.reads, &self.seen, log.newest, bounds, self.wanted.clone()).await?;
        self.seen.seq = page.end;
        self.is_behind = page.end < log.newest;
        Ok(page.events)
    }

    /// The new and wanted events of a batch. Empty if events between `seen` and the batch are
    /// missing, or if it is of another log.
    fn take(&mut self, batch: &Batch, limit: i64) -> Vec<Arc<SharedEvent>> {
        if batch.epoch != self.seen.epoch || batch.after > self.seen.seq {
            self.is_behind = true;
            return Vec::new();
        }
        let (seen, wanted) = (self.seen.seq, &self.wanted);
        let is_new =
            |shared: &&Arc<SharedEvent>| shared.event.seq > seen && wanted.matches(&shared.event);
        let mut events: Vec<_> = batch.events.iter().filter(is_new).cloned().collect();
        self.seen.seq = seen.max(batch.until);
        if let Ok(limit) = usize::try_from(limit)
            && events.len() > limit
        {
            // The rest is read from the table if it is asked for.
            events.truncate(limit);
            self.seen.seq = events.last().map_or(seen, |last| last.event.seq);
            self.is_behind = true;
        }
        events
    }
}
