//! Acquiring a lock.

use super::{
    Locks, Ttl,
    abandoned::InFlight,
    belief::Lease,
    grant::{Grant, Owned},
    guard::LockGuard,
    keeper,
    name::LockName,
};
use crate::{
    Client, Error,
    pace::{Backoff, Deadline, WAIT_MAX, ms},
    request::{Request, Verb},
    send::{SendError, Sending},
    versioned::to_json,
};
use futures::future::{BoxFuture, FutureExt};
use ifmatch_types::{Code, LockHeld, NewLock, Problem};
use serde_json::Value;
use std::{fmt, future::IntoFuture, time::Duration};
use tokio::time::Instant;

/// The pause before the next request if one did not wait as long as it was asked to.
const PAUSE: Duration = Duration::from_secs(1);

/// The answer to [`Locks::try_acquire`](crate::Locks::try_acquire): the lock, or who holds it.
#[must_use = "a lock that was acquired is released when this is dropped"]
#[derive(Debug)]
pub enum LockOutcome {
    /// The lock is held by this process.
    Acquired(LockGuard),
    /// Somebody else holds the lock, or it cools down after a forced release.
    Busy(LockHeld),
}

/// A lock to acquire: it is asked for when it is awaited.
///
/// Made by [`Locks::acquire`] and [`Locks::try_acquire`].
///
/// If its future is dropped, the request is ended. If the server granted the lock at that moment,
/// it is released in the background.
///
/// ```
/// # async fn example(billing: ifmatch::Client) -> Result<(), ifmatch::Error> {
/// use ifmatch::Ttl;
/// use std::time::Duration;
///
/// let lock = billing
///     .locks()
///     .acquire("invoice-run", Ttl::secs(30))
///     .wait(Duration::from_secs(120))
///     .label("billing-worker-3")
///     .await?;
/// # Ok(()) }
/// ```
#[must_use = "nothing is sent until it is awaited"]
pub struct Acquire<O> {
    client: Client,
    name: LockName,
    ttl: Ttl,
    wait: Duration,
    label: Option<String>,
    deadline: Duration,
    renews: bool,
    read: fn(Result<LockGuard, Box<Problem>>) -> Result<O, Error>,
}

impl<O> fmt::Debug for Acquire<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acquire")
            .field("name", &self.name)
            .field("ttl", &self.ttl)
            .field("wait", &self.wait)
            .finish_non_exhaustive()
    }
}

impl<O> Acquire<O> {
    pub(super) fn new(
        locks: &Locks,
        key: &str,
        ttl: Ttl,
        read: fn(Result<LockGuard, Box<Problem>>) -> Result<O, Error>,
    ) -> Self {
        Self {
            client: locks.client().clone(),
            name: locks.name(key),
            ttl,
            wait: Duration::ZERO,
            label: None,
            deadline: locks.client().deadline(),
            renews: true,
            read,
        }
    }

    /// How long to wait for the lock if somebody else holds it; not at all by default.
    ///
    /// A wait of more than 45 seconds is made of several requests, and loses its place in the queue
    /// between them.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client) -> Result<(), ifmatch::Error> {
    /// use ifmatch::Ttl;
    /// use std::time::Duration;
    /// let lock =
    ///     billing.locks().acquire("report", Ttl::secs(30)).wait(Duration::from_secs(10)).await?;
    /// # Ok(()) }
    /// ```
    pub fn wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    /// A description of the holder for people, ≤ 200 characters. Everybody who wants the lock sees it.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client) -> Result<(), ifmatch::Error> {
    /// use ifmatch::Ttl;
    /// let lock = billing.locks().acquire("report", Ttl::secs(30)).label("worker-3").await?;
    /// # Ok(()) }
    /// ```
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// How long it may take beyond the wait, repeated sends included.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client) -> Result<(), ifmatch::Error> {
    /// use ifmatch::Ttl;
    /// use std::time::Duration;
    /// let lock =
    ///     billing.locks().acquire("report", Ttl::secs(30)).deadline(Duration::from_secs(5)).await?;
    /// # Ok(()) }
    /// ```
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Holds the lock for its time only, without renewing it.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client) -> Result<(), ifmatch::Error> {
    /// use ifmatch::Ttl;
    /// let lock = billing.locks().acquire("report", Ttl::secs(30)).without_renewal().await?;
    /// # Ok(()) }
    /// ```
    pub fn without_renewal(mut self) -> Self {
        self.renews = false;
        self
    }

    async fn run(self) -> Result<O, Error> {
        self.name.check()?;
        let ttl = self.ttl.checked()?;
        let deadline = Deadline::after(self.wait.saturating_add(self.deadline));
        let wait_until = Deadline::after(self.wait);
        let mut backoff = Backoff::new();
        let mut waited = 0;
        loop {
            let wait = wait_until.cap(WAIT_MAX).unwrap_or_default();
            let request = self.request(ttl, wait)?;
            let asked = Instant::now();
            let error = match self.ask(request, wait, ttl, deadline).await {
                Ok(guard) => return (self.read)(Ok(guard)),
                Err(error) => error,
            };
            match error {
                Error::Refused(mut problem) if is_busy(problem.code) => {
                    waited += add_waited(&mut problem, waited);
                    let again =
                        problem.code == Code::LockTimeout && wait_until.cap(WAIT_MAX).is_some();
                    if !again {
                        return (self.read)(Err(problem));
                    }
                    // A server that answers early must not be asked all the time.
                    tokio::time::sleep(wait.saturating_sub(asked.elapsed()).min(PAUSE)).await;
                }
                // The grant of an earlier send is over already. Another one needs another key.
                error if error.is_lock_lost() => {
                    let pause = backoff.next();
                    if !deadline.allows(pause) {
                        return Err(error);
                    }
                    tokio::time::sleep(pause).await;
                }
                error => return Err(error),
            }
        }
    }

    /// Asks once: a new key, and the same bytes until there is an answer.
    async fn ask(
        &self,
        request: Request,
        wait: Duration,
        ttl: Duration,
        deadline: Deadline,
    ) -> Result<LockGuard, Error> {
        let mut sending = Sending::new(request, deadline).waiting(wait);
        // From here on, a grant may be made that no caller learns of.
        let in_flight = InFlight::new(&self.client, &sending.request, ttl);
        let since = self.client.clock().now();
        let reply = match self.client.send(&mut sending).await {
            Ok(reply) => reply,
            Err(SendError::Refused(problem)) => {
                in_flight.settle();
                return Err(sending.settle(SendError::Refused(problem)));
            }
            Err(error) => {
                let error = sending.settle(error);
                if !error.maybe_applied() {
                    in_flight.settle();
                }
                return Err(error);
            }
        };
        let (grant, lasts) = sending.read(Grant::read(&self.client, reply))?;
        in_flight.settle();
        self.hold(Owned::new(grant), Lease { since, lasts }, ttl).await
    }

    /// Makes a guard of a grant. A long wait has used up the time that counts from before the first
    /// send: the grant is renewed then, and counts from before that.
    async fn hold(
        &self,
        mut owned: Owned,
        mut lease: Lease,
        ttl: Duration,
    ) -> Result<LockGuard, Error> {
        let clock = self.client.clock();
        if lease.left(clock.now()) < lease.lasts / 3 {
            match owned.grant.renew(keeper::limit(ttl)).await {
                Ok(renewed) => lease = renewed,
                Err(error) if error.is_lock_lost() => {
                    owned.is_over();
                    return Err(error);
                }
                Err(error) if lease.left(clock.now()).is_zero() => return Err(error),
                // It is still held, and the guard tries it again.
                Err(_) => {}
            }
        }
        Ok(LockGuard::new(owned, lease, self.renews.then_some(ttl)))
    }

    fn request(&self, ttl: Duration, wait: Duration) -> Result<Request, Error> {
        let LockName { workspace_id, scope, function, .. } = self.name.clone();
        let new = NewLock {
            ttl_ms: ms(ttl),
            scope,
            function,
            wait_ms: ms(wait),
            label: self.label.clone(),
            workspace_id,
        };
        let request = Request::new(Verb::Post, &self.name.path(&["acquire"]));
        Ok(self.client.signed(request.body(&to_json(&new)?).key(None)))
    }
}

impl<O: 'static> IntoFuture for Acquire<O> {
    type Output = Result<O, Error>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        self.run().boxed()
    }
}

/// Whether this code says that somebody else holds the lock.
pub(crate) fn is_busy(code: Code) -> bool {
    matches!(code, Code::LockAcquisitionFailed | Code::LockTimeout)
}

/// The part of a problem body that says who holds the lock.
pub(crate) fn held_of(problem: &Problem) -> Option<LockHeld> {
    let extensions = Value::Object(problem.extensions.clone());
    serde_json::from_value(extensions).ok().filter(|_| is_busy(problem.code))
}

/// Adds the time that earlier requests waited. Returns what this one waited.
fn add_waited(problem: &mut Problem, before: i64) -> i64 {
    let waited = problem.extensions.get("waited_ms").and_then(Value::as_i64).unwrap_or_default();
    problem.extensions.insert("waited_ms".to_owned(), before.saturating_add(waited).into());
    waited
}
