//! Fences: what lets the database refuse the writes of a holder that lost its lock.

use super::{belief::Belief, name::LockName};
use crate::Error;
use ifmatch_types::Problem;
use serde::{Deserialize, Serialize};
use std::{fmt, sync::Arc};

/// The number of a grant, with the name of its lock; it shows as `global//key at fence 7`.
///
/// A write that is [fenced by](crate::Update::fenced_by) it commits only if that grant is the
/// current one and has not expired, at the write's own commit. It holds no secret, and it can be
/// sent to another process that does a part of the work.
///
/// ```
/// # async fn example(lock: ifmatch::LockGuard) -> Result<(), Box<dyn std::error::Error>> {
/// let job = serde_json::to_string(&lock.fence())?;
/// // in another process
/// let fence: ifmatch::Fence = serde_json::from_str(&job)?;
/// println!("works {fence}");
/// # Ok(()) }
/// ```
#[derive(Clone, Serialize, Deserialize)]
pub struct Fence {
    pub(crate) name: LockName,
    number: i64,
    /// What the guard in this process knows, if there is one.
    #[serde(skip)]
    belief: Option<Arc<Belief>>,
}

impl Fence {
    pub(crate) fn new(name: LockName, number: i64, belief: Option<Arc<Belief>>) -> Self {
        Self { name, number, belief }
    }

    /// The number. Each later grant of the same lock has a higher one.
    ///
    /// ```
    /// # fn example(lock: ifmatch::LockGuard) {
    /// println!("fence {}", lock.fence().number());
    /// # }
    /// ```
    pub fn number(&self) -> i64 {
        self.number
    }

    /// Refuses if the guard in this process knows that the lock is lost.
    pub(crate) fn check(&self) -> Result<(), Error> {
        match &self.belief {
            Some(belief) if !belief.is_held() => {
                Err(Error::FencedOff { fence: Box::new(self.clone()), problem: None })
            }
            _ => Ok(()),
        }
    }

    /// The error of a write that the server refused because the grant is over. The guard learns it.
    pub(crate) fn refused(&self, problem: Box<Problem>) -> Error {
        if let Some(belief) = &self.belief {
            belief.end(super::LockEnd::TakenAway);
        }
        Error::FencedOff { fence: Box::new(self.clone()), problem: Some(problem) }
    }
}

impl fmt::Display for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at fence {}", self.name, self.number)
    }
}

impl fmt::Debug for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fence").field("name", &self.name).field("number", &self.number).finish()
    }
}

impl PartialEq for Fence {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, self.number) == (&other.name, other.number)
    }
}

impl Eq for Fence {}

impl From<&Self> for Fence {
    fn from(fence: &Self) -> Self {
        fence.clone()
    }
}
