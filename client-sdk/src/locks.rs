//! Named locks: one holder at a time, for a limited time, over all processes and machines.

mod abandoned;
mod acquire;
mod belief;
mod clock;
mod end;
mod errors;
mod fence;
mod grant;
mod guard;
mod keeper;
mod name;
mod owner;
mod ttl;

pub use acquire::{Acquire, LockOutcome};
pub use end::LockEnd;
pub use fence::Fence;
pub use guard::LockGuard;
pub use ttl::Ttl;

use acquire::held_of;
#[cfg(test)]
pub(crate) use clock::Reading;
pub(crate) use clock::{Clock, SystemClock};
pub(crate) use owner::OwnerToken;

use crate::{
    Call, Client, Error, List,
    pace::Deadline,
    reply::Reply,
    request::{Request, Verb},
};
use ifmatch_types::{Lock, LockScope, WorkspaceId};
use name::LockName;
use std::time::Duration;

/// The named locks of an installation, a workspace or a function.
///
/// A lock has one holder at a time. It needs no object and no preparation: a key is enough.
/// [`acquire`](Self::acquire) returns a [`LockGuard`], which renews itself.
///
/// ```
/// # async fn example(billing: ifmatch::Client, workspace: ifmatch::WorkspaceId)
/// # -> Result<(), ifmatch::Error> {
/// use ifmatch::{LockOutcome, Ttl};
///
/// let locks = billing.locks().in_workspace(&workspace).function("reports");
/// match locks.try_acquire("monthly", Ttl::secs(30)).await? {
///     LockOutcome::Acquired(lock) => println!("{}", lock.fence()),
///     LockOutcome::Busy(held) => println!("{:?} holds it until {:?}", held.label, held.expires_at),
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Locks {
    client: Client,
    workspace_id: Option<WorkspaceId>,
    function: Option<String>,
}

impl Client {
    /// The named locks.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client) -> Result<(), ifmatch::Error> {
    /// use ifmatch::Ttl;
    /// let lock = billing.locks().acquire("invoice-run", Ttl::secs(30)).await?;
    /// # Ok(()) }
    /// ```
    pub fn locks(&self) -> Locks {
        Locks { client: self.clone(), workspace_id: None, function: None }
    }
}

impl Locks {
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    pub(crate) fn name(&self, key: &str) -> LockName {
        LockName {
            workspace_id: self.workspace_id.clone(),
            scope: self.function.as_ref().map_or(LockScope::Global, |_| LockScope::Function),
            function: self.function.clone(),
            key: key.to_owned(),
        }
    }

    /// The locks in this workspace's own space. Keys there are other locks than elsewhere.
    ///
    /// A key of one workspace is always in its workspace's space and need not say so.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client, workspace: ifmatch::WorkspaceId)
    /// # -> Result<(), ifmatch::Error> {
    /// use ifmatch::Ttl;
    /// let lock = billing.locks().in_workspace(&workspace).acquire("sync", Ttl::secs(30)).await?;
    /// # Ok(()) }
    /// ```
    pub fn in_workspace(&self, workspace: &WorkspaceId) -> Self {
        Self { workspace_id: Some(workspace.clone()), ..self.clone() }
    }

    /// The locks of this function. Keys there are other locks than elsewhere.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client) -> Result<(), ifmatch::Error> {
    /// use ifmatch::Ttl;
    /// let lock = billing.locks().function("reports").acquire("monthly", Ttl::secs(30)).await?;
    /// # Ok(()) }
    /// ```
    pub fn function(&self, name: impl Into<String>) -> Self {
        Self { function: Some(name.into()), ..self.clone() }
    }

    /// Acquires a lock, and fails if somebody else holds it.
    ///
    /// Keys are 1–200 characters of `A-Z a-z 0-9 - _ : .`.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client) -> Result<(), ifmatch::Error> {
    /// use ifmatch::Ttl;
    ///
    /// let lock = billing.locks().acquire("invoice-run", Ttl::secs(30)).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`is_lock_busy`](Error::is_lock_busy) is true if somebody else holds it;
    /// [`Error::Unsendable`] if the key or the time cannot be one; [`Error::OutcomeUnknown`] if no
    /// answer came. A lock that was granted without an answer is then released in the background,
    /// so acquire it again rather than to [`resume`](Client::resume) it.
    pub fn acquire(&self, key: &str, ttl: impl Into<Ttl>) -> Acquire<LockGuard> {
        Acquire::new(self, key, ttl.into(), |guard| guard.map_err(Error::Refused))
    }

    /// Acquires a lock, or says who holds it.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client) -> Result<(), ifmatch::Error> {
    /// use ifmatch::{LockOutcome, Ttl};
    ///
    /// match billing.locks().try_acquire("invoice-run", Ttl::secs(30)).await? {
    ///     LockOutcome::Acquired(lock) => println!("{}", lock.fence()),
    ///     LockOutcome::Busy(held) => println!("{:?} runs it already", held.label),
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`acquire`](Self::acquire), but a lock that somebody else holds is no error.
    pub fn try_acquire(&self, key: &str, ttl: impl Into<Ttl>) -> Acquire<LockOutcome> {
        Acquire::new(self, key, ttl.into(), |guard| match guard {
            Ok(guard) => Ok(LockOutcome::Acquired(guard)),
            Err(problem) => match held_of(&problem) {
                Some(held) => Ok(LockOutcome::Busy(held)),
                None => Err(Error::Refused(problem)),
            },
        })
    }

    /// A lock as it is now: its holder's label, its fence, its time. Advice only.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client) -> Result<(), ifmatch::Error> {
    /// let lock = billing.locks().get("invoice-run").await?;
    /// println!("held: {}, {} wait", lock.locked, lock.waiters);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Unsendable`] if the key cannot be one.
    pub async fn get(&self, key: &str) -> Result<Lock, Error> {
        let name = self.name(key);
        name.check()?;
        let request = name.query(Request::new(Verb::Get, &name.path(&[])));
        self.client.call(request, Deadline::after(self.client.deadline())).await?.decode()
    }

    /// The locks of this workspace and function; of all of them if none is named. Also those that
    /// nobody holds any more, unless the filter `locked` is `true`.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client) -> Result<(), ifmatch::Error> {
    /// for lock in billing.locks().list().filter("locked", true).await?.items {
    ///     println!("{} {:?}", lock.key, lock.label);
    /// }
    /// # Ok(()) }
    /// ```
    pub fn list(&self) -> List<Lock> {
        let mut list = List::new(&self.client, &["locks"]);
        if let Some(workspace_id) = &self.workspace_id {
            list = list.filter("workspace_id", workspace_id);
        }
        match &self.function {
            Some(function) => list.filter("scope", "function").filter("function", function),
            None => list,
        }
    }

    /// Takes a lock away from its holder; needs the role `admin`.
    ///
    /// The reason, 1–500 characters, is kept in the audit log. The holder's fenced writes are
    /// refused from now on, and its guard learns of it with its next renewal.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client) -> Result<(), ifmatch::Error> {
    /// use std::time::Duration;
    ///
    /// billing
    ///     .locks()
    ///     .force_release("invoice-run", "worker 3 hangs")
    ///     .cooldown(Duration::from_secs(60))
    ///     .await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] with `FORBIDDEN` for another role; [`Error::OutcomeUnknown`] if no answer
    /// came.
    pub fn force_release(&self, key: &str, reason: &str) -> Call<Lock> {
        let name = self.name(key);
        let body = serde_json::json!({ "reason": reason });
        let call = Call::post(&self.client, &name.path(&["force-release"]), &body, Reply::decode);
        match name.check() {
            Ok(()) => call.with(|body| name.put(body)),
            Err(error) => call.failing(error),
        }
    }

    /// How many locks this client and its clones could not release in the background. They expire.
    ///
    /// ```
    /// # fn example(billing: ifmatch::Client) {
    /// println!("{} locks were left to expire", billing.locks().failed_releases());
    /// # }
    /// ```
    pub fn failed_releases(&self) -> u64 {
        self.client.failed_releases()
    }
}

/// Options of [`Locks::force_release`].
impl Call<Lock> {
    /// How long nobody can acquire the lock, at most 24 hours.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client) -> Result<(), ifmatch::Error> {
    /// use std::time::Duration;
    /// let call = billing.locks().force_release("invoice-run", "worker 3 hangs");
    /// call.cooldown(Duration::from_secs(60)).await?;
    /// # Ok(()) }
    /// ```
    pub fn cooldown(self, cooldown: Duration) -> Self {
        let cooldown_ms = i64::try_from(cooldown.as_millis()).unwrap_or(i64::MAX);
        self.with(|body| {
            body.insert("cooldown_ms".to_owned(), cooldown_ms.into());
        })
    }
}
