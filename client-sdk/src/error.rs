//! Errors, with predicates so that callers need not match every variant.

use crate::{Conflict, ConflictId, Fence, LockEnd, OutcomeUnknown};
use ifmatch_types::{Code, EventCursor, Problem, RetryAction, Version};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{fmt, io};

/// Why this crate stopped sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum GaveUp {
    /// The call's deadline passed, or would have while waiting.
    Deadline,
    /// The client's [`SendBudget`](crate::SendBudget) was used up.
    SendBudget,
    /// A later send was refused in a way that says nothing about the earlier one.
    Refused,
    /// The answer to the write cannot be read. It may be of a proxy.
    Unreadable,
    /// It was sent with another API key. The server keeps answers per key, so with this one it might
    /// be done a second time.
    OtherKey,
}

impl fmt::Display for GaveUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Deadline => "the deadline passed",
            Self::SendBudget => "the send budget is used up",
            Self::Refused => "a later send was refused",
            Self::Unreadable => "the answer cannot be read",
            Self::OtherKey => "it was sent with another API key",
        })
    }
}

/// No answer came, and nothing was applied.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Unavailable {
    /// Why there were no more sends.
    pub why: GaveUp,
    /// The failure of the last send.
    pub cause: String,
    /// The server's last problem body, if there is one.
    pub problem: Option<Box<Problem>>,
}

/// The errors of this crate's calls.
///
/// No variant loses an edit. Either it was not applied and the caller still has it, or it waits in
/// the conflict store, or it is in the error. Use the predicates; match where you need the data.
///
/// ```
/// # async fn example(billing: ifmatch::Client, id: ifmatch::SubscriptionId)
/// # -> Result<(), ifmatch::Error> {
/// use ifmatch::Error;
///
/// match billing.subscriptions().update(&id, |s| s.quantity += 5).await {
///     Ok(sub) => println!("{} units", sub.quantity),
///     Err(Error::Unresolved(conflict)) => println!("a person must look at {conflict}"),
///     Err(Error::OutcomeUnknown(unknown)) => {
///         billing.resume(*unknown).await?;
///     }
///     Err(error) if error.is_not_found() => println!("no such subscription"),
///     Err(error) => return Err(error),
/// }
/// # Ok(()) }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The client cannot be built from these options.
    #[error("the client cannot be set up: {0}")]
    Setup(String),
    /// The API key would be sent over `http://` to another host. Use `https://`, or
    /// [`ClientBuilder::allow_plain_http`](crate::ClientBuilder::allow_plain_http).
    #[error("the API key would be sent to {host} without TLS")]
    PlainHttp {
        /// The host in the URL.
        host: String,
    },
    /// The request cannot be written down as HTTP.
    #[error("the request cannot be sent: {0}")]
    Unsendable(String),
    /// The server refused, and nothing was applied.
    #[error("{} ({})", .0.detail, .0.code.name())]
    Refused(Box<Problem>),
    /// The object moved on from the named version, and the edit was not made again because of
    /// [`Decision::Abort`](crate::Decision::Abort), a deletion, or a decision that does not fit.
    #[error(
        "{} {} is at version {}, and this was computed from version {}",
        .0.kind.name(), .0.resource_id, .0.remote_version, .0.base_version
    )]
    Conflict(Box<Conflict<Value>>),
    /// The edit met a conflict that only a person can decide, or what was decided in a callback
    /// cannot be written. It waits in the conflict store.
    #[error("the edit waits in the conflict store as {0}")]
    Unresolved(ConflictId),
    /// The conflict store is full. The edit is in here.
    #[error("the conflict store is full with {open} open conflicts")]
    ConflictStoreFull {
        /// The number of open conflicts.
        open: usize,
        /// The conflict that found no room, with the edit.
        conflict: Box<Conflict<Value>>,
    },
    /// The conflict store's storage failed; the edit is in here.
    #[error("the conflict store cannot keep a conflict on {}: {cause}", conflict.resource_id)]
    NotParked {
        /// The conflict that was not kept, with the edit.
        conflict: Box<Conflict<Value>>,
        /// The storage's error.
        #[source]
        cause: io::Error,
    },
    /// The conflict is no longer open at the revision that was seen.
    #[error("{0} was resolved or re-opened elsewhere")]
    AlreadyResolved(ConflictId),
    /// The conflict store's storage failed.
    #[error("the conflict store's storage failed: {0}")]
    Storage(#[source] io::Error),
    /// A fenced write was not made, because its lock is lost. Nothing was applied.
    #[error("the write was not made, because its lock is lost: {fence}")]
    FencedOff {
        /// The grant that the write named.
        fence: Box<Fence>,
        /// The server's refusal. `None`: the guard knew it, and nothing was sent.
        problem: Option<Box<Problem>>,
    },
    /// The lock was lost while work ran under it.
    #[error("{fence} is lost: {end}")]
    LockLost {
        /// The grant that is over.
        fence: Box<Fence>,
        /// How it ended.
        end: LockEnd,
    },
    /// The request was sent, and it is unknown whether it was applied.
    /// [`Client::resume`](crate::Client::resume) settles it.
    #[error("{0}")]
    OutcomeUnknown(Box<OutcomeUnknown>),
    /// It is too late to settle this: the server forgets idempotency keys after 24 hours.
    #[error("{0}; it is too late to ask again")]
    OutcomeExpired(Box<OutcomeUnknown>),
    /// No answer came, and nothing was applied.
    #[error("{}: {}", .0.why, .0.cause)]
    Unavailable(Box<Unavailable>),
    /// An answer that is not the server's: a status without a problem body.
    #[error("an unexpected answer with status {status}: {text}")]
    UnexpectedAnswer {
        /// The HTTP status.
        status: u16,
        /// The beginning of its body, or the target of a redirect.
        text: String,
    },
    /// A 2xx answer to a read that is not of the expected type.
    #[error("the answer cannot be read: {0}")]
    Decode(#[source] serde_json::Error),
    /// An object that cannot be written as JSON.
    #[error("the object cannot be written as JSON: {0}")]
    Encode(#[source] serde_json::Error),
}

impl Error {
    /// Whether the named version was not the current one.
    ///
    /// ```
    /// # fn example(error: ifmatch::Error) {
    /// if error.is_conflict() { println!("another write came first"); }
    /// # }
    /// ```
    pub fn is_conflict(&self) -> bool {
        match self {
            Self::Conflict(_)
            | Self::Unresolved(_)
            | Self::ConflictStoreFull { .. }
            | Self::NotParked { .. } => true,
            Self::Refused(problem) => is_stale(problem),
            _ => false,
        }
    }

    /// Whether there is no such object, or it was deleted.
    ///
    /// ```
    /// # fn example(error: ifmatch::Error) {
    /// if error.is_not_found() { println!("gone"); }
    /// # }
    /// ```
    pub fn is_not_found(&self) -> bool {
        matches!(self.code(), Some(Code::NotFound | Code::Deleted))
    }

    /// Whether the server has no such place in its log of changes, or not all changes after it.
    ///
    /// Then changes may have been missed: a backup was restored, or old changes were pruned. Read
    /// the objects anew, and go on after [`newest_cursor`](Self::newest_cursor).
    ///
    /// ```
    /// # fn example(error: ifmatch::Error) {
    /// if error.is_cursor_unknown() { println!("read everything again"); }
    /// # }
    /// ```
    pub fn is_cursor_unknown(&self) -> bool {
        self.code() == Some(Code::CursorUnknown)
    }

    /// The end of the log of changes, if [`is_cursor_unknown`](Self::is_cursor_unknown).
    ///
    /// ```
    /// # fn example(error: ifmatch::Error) {
    /// if let Some(newest) = error.newest_cursor() { println!("go on after {newest}"); }
    /// # }
    /// ```
    pub fn newest_cursor(&self) -> Option<EventCursor> {
        let problem = self.problem().filter(|_| self.is_cursor_unknown())?;
        Some(problem.extensions.get("newest")?.as_str()?.into())
    }

    /// Whether the write may have been applied although the call failed.
    ///
    /// ```
    /// # fn example(error: ifmatch::Error) {
    /// if error.maybe_applied() { println!("look before you do it again"); }
    /// # }
    /// ```
    pub fn maybe_applied(&self) -> bool {
        matches!(self, Self::OutcomeUnknown(_) | Self::OutcomeExpired(_))
    }

    /// Whether the same call can be made again later. Nothing was applied or parked.
    ///
    /// ```
    /// # fn example(error: ifmatch::Error) {
    /// if error.is_retryable() { println!("later"); }
    /// # }
    /// ```
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unavailable(_) => true,
            Self::Refused(problem) => problem.retry.action == RetryAction::Resend,
            _ => false,
        }
    }

    /// Whether the call's deadline passed.
    ///
    /// ```
    /// # fn example(error: ifmatch::Error) {
    /// if error.is_deadline() { println!("give it more time"); }
    /// # }
    /// ```
    pub fn is_deadline(&self) -> bool {
        match self {
            Self::Unavailable(unavailable) => unavailable.why == GaveUp::Deadline,
            Self::OutcomeUnknown(unknown) => unknown.why() == GaveUp::Deadline,
            _ => false,
        }
    }

    /// The server's problem body, if there is one.
    ///
    /// ```
    /// # fn example(error: ifmatch::Error) {
    /// if let Some(problem) = error.problem() { println!("see log {}", problem.request_id); }
    /// # }
    /// ```
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Refused(problem) => Some(problem),
            Self::Unavailable(unavailable) => unavailable.problem.as_deref(),
            Self::FencedOff { problem, .. } => problem.as_deref(),
            _ => None,
        }
    }

    /// The server's code, if it gave one.
    ///
    /// ```
    /// # fn example(error: ifmatch::Error) {
    /// if error.code() == Some(ifmatch::Code::PlanPriceFrozen) { println!("make another plan"); }
    /// # }
    /// ```
    pub fn code(&self) -> Option<Code> {
        self.problem().map(|problem| problem.code)
    }

    /// Which operation of a transaction was refused, counted from 0.
    ///
    /// ```
    /// # fn example(error: ifmatch::Error) {
    /// if let Some(index) = error.failed_index() { println!("operation {index} failed"); }
    /// # }
    /// ```
    pub fn failed_index(&self) -> Option<usize> {
        let index = self.problem()?.extensions.get("failed_index")?.as_u64()?;
        usize::try_from(index).ok()
    }

    /// The object that has the unique key, if that is the reason of the refusal.
    ///
    /// ```
    /// # fn example(error: ifmatch::Error) {
    /// if let Some(id) = error.existing_id() { println!("{id} is called so already"); }
    /// # }
    /// ```
    pub fn existing_id(&self) -> Option<&str> {
        self.problem()?.extensions.get("existing_id")?.as_str()
    }

    /// The version the object is at, if the error is a conflict that tells it.
    ///
    /// ```
    /// # fn example(error: ifmatch::Error) {
    /// if let Some(version) = error.current_version() { println!("now at {version}"); }
    /// # }
    /// ```
    pub fn current_version(&self) -> Option<Version> {
        match self {
            Self::Conflict(conflict)
            | Self::ConflictStoreFull { conflict, .. }
            | Self::NotParked { conflict, .. } => Some(conflict.remote_version),
            _ => self.problem()?.extensions.get("current_version")?.as_i64(),
        }
    }
}

/// Whether a refusal means "computed from a version that is not the current one".
pub(crate) fn is_stale(problem: &Problem) -> bool {
    problem.code == Code::ConflictVersionMismatch || problem.retry.action == RetryAction::Reapply
}
