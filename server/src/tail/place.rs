//! Places in the log of all changes, as clients name them.

use super::Tail;
use crate::reads::Reads;
use ifmatch_store::{EventLog, StoreError};
use ifmatch_types::EventCursor;
use std::sync::Arc;

/// A place in the log: every event up to it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The name of the log.
    pub epoch: Arc<str>,
    /// The number of the last event that was seen.
    pub seq: i64,
}

impl Place {
    /// The cursor that names it.
    pub fn cursor(&self) -> EventCursor {
        EventCursor::in_epoch(&self.epoch, self.seq)
    }
}

/// Where in the log a reader begins.
#[derive(Clone, Debug, Default)]
pub struct Start {
    /// After this place; without one, at the beginning.
    pub after: Option<EventCursor>,
    /// At most this many places before the end.
    pub last: Option<u32>,
}

/// Why a follower cannot go on.
#[derive(Debug)]
pub enum Lost {
    /// The log has no such place, or not all events after it.
    Unknown {
        /// The first place that can be named.
        oldest: EventCursor,
        /// The last one.
        newest: EventCursor,
    },
    /// A technical failure.
    Failed(StoreError),
}

impl From<StoreError> for Lost {
    fn from(error: StoreError) -> Self {
        Self::Failed(error)
    }
}

impl Lost {
    pub(super) fn of(log: &EventLog) -> Self {
        let cursor = |seq| EventCursor::in_epoch(&log.epoch, seq);
        Self::Unknown { oldest: cursor(log.oldest), newest: cursor(log.newest) }
    }
}

impl Tail {
    /// The place at which a reader begins.
    ///
    /// # Errors
    ///
    /// [`Lost::Unknown`] if the log does not have all events after its cursor.
    pub async fn place(&self, start: &Start) -> Result<Place, Lost> {
        let log = self.reads.event_log().await?;
        let after = match start.after.as_ref().and_then(EventCursor::parts) {
            // The beginning is in every log.
            None | Some(("", 0)) => log.oldest,
            Some((epoch, seq)) if epoch == &*log.epoch && seq >= log.oldest => seq,
            Some(_) => return Err(Lost::of(&log)),
        };
        if after > log.newest {
            check_end(&self.reads, &log, after).await?;
        }
        let seq = match start.last {
            Some(last) => after.max(log.newest.saturating_sub(last.into())),
            None => after,
        };
        Ok(Place { epoch: log.epoch, seq })
    }
}

/// Refuses a place beyond the end of the log.
///
/// A place after the newest one can be right: this process may still wait for a writer that another
/// process has seen to end. But no process names a place that is not committed.
pub(super) async fn check_end(reads: &Reads, log: &EventLog, seq: i64) -> Result<(), Lost> {
    let last = reads.run(|db| db.last_event()).await?;
    if seq > last.max(log.oldest) { Err(Lost::of(log)) } else { Ok(()) }
}
