//! The public conflict store: lists and watches open conflicts.

use crate::{Client, ConflictId, OpenConflict, Parked, open::OpenConflicts};
use futures::stream::{self, BoxStream, Stream, StreamExt};
use std::{
    collections::HashMap,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tokio::sync::watch;

/// The conflicts of a client that wait for a decision.
///
/// ```
/// # async fn example(billing: ifmatch::Client) -> Result<(), ifmatch::Error> {
/// for parked in billing.conflicts().list() {
///     println!("{}\n{}", parked.id, parked.conflict.diff());
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct ConflictStore {
    client: Client,
}

impl ConflictStore {
    pub(crate) fn new(client: &Client) -> Self {
        Self { client: client.clone() }
    }

    fn open(&self) -> &Arc<OpenConflicts> {
        self.client.store()
    }

    /// The open conflicts, oldest first.
    ///
    /// ```
    /// # fn example(billing: ifmatch::Client) {
    /// println!("{} conflicts are open", billing.conflicts().list().len());
    /// # }
    /// ```
    pub fn list(&self) -> Vec<Parked> {
        self.open().list().into_iter().map(|open| self.parked(open)).collect()
    }

    /// The open conflict with this id.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client, id: ifmatch::ConflictId)
    /// # -> Result<(), ifmatch::Error> {
    /// if let Some(parked) = billing.conflicts().get(&id) {
    ///     parked.resolve(ifmatch::Decision::Merge).await?;
    /// }
    /// # Ok(()) }
    /// ```
    pub fn get(&self, id: &ConflictId) -> Option<Parked> {
        self.open().get(id).map(|open| self.parked(open))
    }

    /// Streams the conflicts that are open now and then new ones, without end.
    ///
    /// A conflict that opens again because the object moved comes again, after those that never
    /// came. Nothing is queued: a slow subscriber gets each conflict in its latest form, and none
    /// that is resolved by then.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client) -> Result<(), ifmatch::Error> {
    /// let mut parked = billing.conflicts().subscribe();
    /// while let Some(conflict) = parked.next().await {
    ///     println!("{}", conflict.conflict.diff());
    /// }
    /// # Ok(()) }
    /// ```
    pub fn subscribe(&self) -> ConflictStream {
        let (changes, store) = (self.open().watch(), self.clone());
        let watcher = Watcher { store, changes, seen: HashMap::new(), deliveries: 0 };
        let conflicts = stream::unfold(watcher, |mut watcher| async {
            let next = watcher.next().await?;
            Some((next, watcher))
        });
        ConflictStream { conflicts: conflicts.boxed() }
    }

    fn parked(&self, open: Arc<OpenConflict>) -> Parked {
        Parked::new(open, &self.client)
    }
}

/// The open conflicts as they come; see [`ConflictStore::subscribe`].
pub struct ConflictStream {
    conflicts: BoxStream<'static, Parked>,
}

impl fmt::Debug for ConflictStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConflictStream").finish_non_exhaustive()
    }
}

impl ConflictStream {
    /// The next open conflict; waits for one if there is none.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client) {
    /// let mut parked = billing.conflicts().subscribe();
    /// if let Some(conflict) = parked.next().await {
    ///     println!("{}", conflict.id);
    /// }
    /// # }
    /// ```
    pub async fn next(&mut self) -> Option<Parked> {
        self.conflicts.next().await
    }
}

impl Stream for ConflictStream {
    type Item = Parked;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Parked>> {
        self.conflicts.poll_next_unpin(context)
    }
}

/// One subscriber, with what it has seen.
struct Watcher {
    store: ConflictStore,
    changes: watch::Receiver<u64>,
    seen: HashMap<ConflictId, Seen>,
    deliveries: u64,
}

/// The last delivery of a conflict: its number, and the revision that was delivered.
struct Seen {
    delivery: u64,
    revision: u32,
}

impl Watcher {
    async fn next(&mut self) -> Option<Parked> {
        loop {
            // Marked before listing, so that a change during it wakes the next wait.
            self.changes.mark_unchanged();
            let open = self.store.open().list();
            self.seen.retain(|id, _| open.iter().any(|one| one.id == *id));
            let seen = |one: &OpenConflict| self.seen.get(&one.id);
            // Those that never came first, so that one that opens again and again starves no other.
            let news = open
                .into_iter()
                .filter(|one| seen(one).is_none_or(|seen| seen.revision != one.revision))
                .min_by_key(|one| seen(one).map(|seen| seen.delivery));
            if let Some(news) = news {
                self.deliveries += 1;
                let seen = Seen { delivery: self.deliveries, revision: news.revision };
                self.seen.insert(news.id.clone(), seen);
                return Some(self.store.parked(news));
            }
            self.changes.changed().await.ok()?;
        }
    }
}
