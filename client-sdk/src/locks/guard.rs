//! A lock that is held.

use super::{
    Fence, LockEnd,
    belief::{Belief, Lease},
    grant::Owned,
    keeper,
};
use crate::Error;
use futures::future::poll_fn;
use std::{fmt, pin::pin, sync::Arc, task::Poll, time::Duration};
use tokio_util::sync::CancellationToken;

/// A lock that is held. It renews itself until it is released, dropped or lost.
///
/// Made by [`Locks::acquire`](crate::Locks::acquire). It is renewed in the background, after a third
/// of its time, and a failed renewal is repeated while there is time. Dropped, it is released in the
/// background; [`release`](Self::release) waits for that and tells its result. A program that ends
/// right after the drop may end before the release is sent; the lock then expires.
///
/// # What it promises, and what only the fence promises
///
/// The guard stops believing in the lock before the server does, and cancels the work. It counts
/// from before the request was sent, by a clock that runs while the machine sleeps or by the wall
/// clock, whichever advanced more, and gives up a tenth of the time early. So a program that runs
/// and looks at it ([`run`](Self::run), [`token`](Self::token), [`is_held`](Self::is_held)) knows in
/// time that it lost the lock.
///
/// A process that is paused looks at nothing. It may be stopped between its last look and its write
/// and wake up after another process acquired the lock. A virtual machine may be paused so that
/// none of its clocks runs, and an admin may take the lock away. No client can notice any of this in
/// time. The database can: a write that is [fenced](crate::Update::fenced_by) commits only if the
/// grant is still the current one. Guard against waste with the guard, and against lost updates with
/// the fence.
///
/// ```
/// # async fn send_invoices() {}
/// # async fn example(billing: ifmatch::Client, inv: ifmatch::InvoiceId)
/// # -> Result<(), ifmatch::Error> {
/// use ifmatch::{InvoiceStatus::Open, Ttl};
///
/// let lock = billing.locks().acquire("invoice-run", Ttl::secs(30)).await?;
/// lock.run(send_invoices()).await?; // stops when the lock is lost
/// billing.invoices().update(&inv, |i| i.status = Open).fenced_by(&lock).await?;
/// lock.release().await?;
/// # Ok(()) }
/// ```
#[must_use = "it is released when it is dropped"]
pub struct LockGuard {
    owned: Owned,
    belief: Arc<Belief>,
}

impl LockGuard {
    /// A guard of a grant with this lease, which is renewed unless `ttl` is `None`.
    pub(crate) fn new(owned: Owned, lease: Lease, ttl: Option<Duration>) -> Self {
        let belief = Arc::new(Belief::new(owned.grant.clock(), lease));
        // The task ends with the belief, and drops a renewal that is on its way.
        tokio::spawn(keeper::keep(owned.grant.clone(), belief.clone(), ttl));
        Self { owned, belief }
    }

    /// The key of the lock.
    ///
    /// ```
    /// # fn example(lock: ifmatch::LockGuard) {
    /// println!("holds {}", lock.key());
    /// # }
    /// ```
    pub fn key(&self) -> &str {
        &self.owned.grant.name.key
    }

    /// The fence of this grant, for writes of this or another process.
    ///
    /// ```
    /// # fn example(lock: ifmatch::LockGuard) {
    /// println!("{}", lock.fence());
    /// # }
    /// ```
    pub fn fence(&self) -> Fence {
        let grant = &self.owned.grant;
        Fence::new(grant.name.clone(), grant.number, Some(self.belief.clone()))
    }

    /// Whether this process may still believe that it holds the lock. Reads the clock.
    ///
    /// ```
    /// # fn example(lock: ifmatch::LockGuard) {
    /// if !lock.is_held() { println!("stop"); }
    /// # }
    /// ```
    pub fn is_held(&self) -> bool {
        self.belief.is_held()
    }

    /// For how long it would still be held if no renewal succeeded any more.
    ///
    /// ```
    /// # fn example(lock: ifmatch::LockGuard) {
    /// println!("{} s left", lock.time_left().as_secs());
    /// # }
    /// ```
    pub fn time_left(&self) -> Duration {
        self.belief.left()
    }

    /// Waits until the lock is lost. It is pending as long as the lock is held.
    ///
    /// ```
    /// # async fn work() {}
    /// # async fn example(lock: ifmatch::LockGuard) {
    /// tokio::select! {
    ///     end = lock.lost() => println!("{end}"),
    ///     () = work() => println!("done"),
    /// }
    /// # }
    /// ```
    pub async fn lost(&self) -> LockEnd {
        self.belief.run_out().await;
        self.belief.how_it_ended().unwrap_or(LockEnd::Expired)
    }

    /// A token that is cancelled when the lock is lost or released, for work in other tasks.
    ///
    /// Cancelling it yourself leaves the lock as it is.
    ///
    /// ```
    /// # async fn work() {}
    /// # async fn example(lock: ifmatch::LockGuard) {
    /// let token = lock.token();
    /// tokio::spawn(async move { token.run_until_cancelled(work()).await });
    /// # }
    /// ```
    pub fn token(&self) -> CancellationToken {
        self.belief.token()
    }

    /// Runs work until it ends or the lock is lost.
    ///
    /// The clock is looked at before each step of the work, so that no step begins after the lock
    /// was lost, also right after the machine slept.
    ///
    /// ```
    /// # async fn send_invoices() -> u32 { 3 }
    /// # async fn example(lock: ifmatch::LockGuard) -> Result<(), ifmatch::Error> {
    /// let sent = lock.run(send_invoices()).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::LockLost`] if the lock was lost before the work ended. The work is dropped then.
    pub async fn run<W: Future>(&self, work: W) -> Result<W::Output, Error> {
        let mut work = pin!(work);
        let mut lost = pin!(self.lost());
        poll_fn(|context| {
            if let Poll::Ready(end) = lost.as_mut().poll(context) {
                return Poll::Ready(Err(self.loss(end)));
            }
            if !self.is_held() {
                let end = self.belief.how_it_ended().unwrap_or(LockEnd::Expired);
                return Poll::Ready(Err(self.loss(end)));
            }
            work.as_mut().poll(context).map(Ok)
        })
        .await
    }

    /// Gives the lock back and waits until the server says so.
    ///
    /// ```
    /// # async fn example(lock: ifmatch::LockGuard) -> Result<(), ifmatch::Error> {
    /// lock.release().await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`is_lock_lost`](Error::is_lock_lost) is true if it was lost before;
    /// [`Error::OutcomeUnknown`] or [`Error::Unavailable`] if no answer came: it is tried once more
    /// in the background, and else expires.
    pub async fn release(mut self) -> Result<(), Error> {
        self.belief.end(LockEnd::Released);
        self.owned.release().await
    }

    fn loss(&self, end: LockEnd) -> Error {
        Error::LockLost { fence: Box::new(self.fence()), end }
    }
}

impl From<&LockGuard> for Fence {
    fn from(lock: &LockGuard) -> Self {
        lock.fence()
    }
}

impl fmt::Debug for LockGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockGuard")
            .field("fence", &self.fence())
            .field("ended", &self.belief.how_it_ended())
            .finish_non_exhaustive()
    }
}

impl Drop for LockGuard {
    fn drop(&mut self) {
        if self.belief.how_it_ended() == Some(LockEnd::TakenAway) {
            self.owned.is_over();
        }
        self.belief.end(LockEnd::Released);
    }
}
