//! Point reads on PostgreSQL: a thread drains a queue into one query per kind.
//!
//! An API key has a share of the queue. Counting costs a lock, so it begins when half of the queue
//! is full: a key may fill that half, and has its share of the other one.

use super::{
    Connection, QUEUE, READ_TIMEOUT, first, same,
    shares::{Inside, Shares, reader},
    start_thread,
};
use ifmatch_store::{DatabaseUrl, Found, StoreError};
use ifmatch_types::Kind;
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

/// Maximum number of ids in one query.
const BATCH_MAX: usize = 512;
/// A key has this part of a crowded queue, as it has of the reads that wait for a connection.
const SHARES: usize = 16;

/// A read of one object that waits for its turn.
struct Lookup {
    kind: Kind,
    id: String,
    answer: oneshot::Sender<Result<Option<Found>, StoreError>>,
    /// Given back with the answer, and not earlier if the client hung up: the read still waits.
    _share: Option<Inside>,
}

/// The queue of point reads.
pub struct PointQueue {
    lookups: mpsc::Sender<Lookup>,
    shares: Arc<Shares>,
}

impl PointQueue {
    /// Starts the thread that drains the queue.
    pub fn start(url: &DatabaseUrl) -> std::io::Result<Self> {
        let (points, queue) = Self::new(QUEUE);
        let connection = Connection::new(url);
        start_thread("point-reads", move || look_up_all(connection, queue))?;
        Ok(points)
    }

    fn new(waiting_max: usize) -> (Self, mpsc::Receiver<Lookup>) {
        let (lookups, queue) = mpsc::channel(waiting_max);
        let share = waiting_max / SHARES;
        // The thread reads for all at once, so a key has no limit of reads that run.
        (Self { lookups, shares: Shares::new(share, share) }, queue)
    }

    /// Looks up one object.
    ///
    /// # Errors
    ///
    /// Technical ones only. [`StoreError::Raced`] if there is no result in time, or if too many
    /// reads wait.
    pub async fn find(&self, kind: Kind, id: &str) -> Result<Option<Found>, StoreError> {
        let (answer, found) = oneshot::channel();
        let lookup = Lookup { kind, id: id.to_owned(), answer, _share: self.share()? };
        self.lookups.try_send(lookup).map_err(|_| busy("too many reads are waiting"))?;
        match timeout(READ_TIMEOUT, found).await {
            Ok(Ok(found)) => found,
            Ok(Err(_)) => Err(StoreError::Gone("the reader ended".into())),
            Err(_) => Err(busy("a read took too long")),
        }
    }

    /// A place in the share of the caller's key, if the queue is crowded.
    fn share(&self) -> Result<Option<Inside>, StoreError> {
        let is_crowded = self.lookups.capacity() < self.lookups.max_capacity() / 2;
        let Some(key) = is_crowded.then(reader).flatten() else { return Ok(None) };
        let inside = self.shares.enter(key);
        inside.map(Some).ok_or_else(|| busy("too many reads of this key are waiting"))
    }
}

fn busy(why: &str) -> StoreError {
    StoreError::Raced(why.into())
}

/// The thread of point reads. It drains its queue into one query per kind.
fn look_up_all(mut connection: Connection, mut queue: mpsc::Receiver<Lookup>) {
    while let Some(first) = queue.blocking_recv() {
        let mut by_kind: BTreeMap<Kind, Vec<Lookup>> = BTreeMap::new();
        by_kind.entry(first.kind).or_default().push(first);
        for _ in 1..BATCH_MAX {
            let Ok(lookup) = queue.try_recv() else { break };
            by_kind.entry(lookup.kind).or_default().push(lookup);
        }
        for (kind, lookups) in by_kind {
            connection.serve(|connection| look_up(connection, kind, lookups));
        }
    }
}

fn look_up(connection: &mut Connection, kind: Kind, mut lookups: Vec<Lookup>) {
    // A client that hung up is not worked for.
    lookups.retain(|lookup| !lookup.answer.is_closed());
    if lookups.is_empty() {
        return;
    }
    let mut ids: Vec<String> = lookups.iter().map(|lookup| lookup.id.clone()).collect();
    ids.sort_unstable();
    ids.dedup();
    match connection.read(|db| db.find(kind, ids.clone())) {
        Ok(found) => {
            let found: HashMap<String, Found> = found.into_iter().collect();
            for Lookup { id, answer, .. } in lookups {
                let _ = answer.send(Ok(found.get(&id).cloned()));
            }
        }
        // A row that cannot be read fails only its own readers.
        Err(StoreError::Corrupt { .. }) => {
            for Lookup { id, answer, .. } in lookups {
                let _ =
                    answer.send(connection.read(|db| db.find(kind, vec![id.clone()])).map(first));
            }
        }
        Err(error) => {
            for Lookup { answer, .. } in lookups {
                let _ = answer.send(Err(same(&error)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reads::in_the_name_of;
    use futures::future::FutureExt;
    use ifmatch_types::ApiKeyId;
    use std::{future::Future, pin::Pin};

    type Read<'q> = Pin<Box<dyn Future<Output = Result<Option<Found>, StoreError>> + 'q>>;

    /// Asks for objects in the name of a key, until it is refused. Returns the reads that wait.
    fn ask<'q>(points: &'q PointQueue, key: &str) -> Vec<Read<'q>> {
        let mut waiting = Vec::new();
        loop {
            let find = points.find(Kind::Plan, "pln_1");
            let mut read: Read<'q> = Box::pin(in_the_name_of(ApiKeyId::from_unchecked(key), find));
            match (&mut read).now_or_never() {
                None => waiting.push(read),
                Some(refused) => {
                    assert!(matches!(refused, Err(StoreError::Raced(_))), "{refused:?}");
                    return waiting;
                }
            }
        }
    }

    #[actix_web::test]
    async fn a_key_leaves_room_in_the_queue_for_other_keys() {
        let (points, mut queue) = PointQueue::new(64);
        let greedy = ask(&points, "greedy");
        assert_eq!(greedy.len(), 33 + 4, "half of the queue, and a share of the other one");
        drop(greedy);
        assert_eq!(ask(&points, "greedy").len(), 0, "reads that were given up still wait");
        let _others: Vec<_> = (0..6).map(|key| ask(&points, &format!("key {key}"))).collect();
        let mut of_nobody = Box::pin(points.find(Kind::Plan, "pln_1"));
        assert!((&mut of_nobody).now_or_never().is_none(), "background work has no share");
        while queue.try_recv().is_ok() {}
        assert_eq!(ask(&points, "greedy").len(), 33 + 4, "what was read is not counted any more");
    }
}
