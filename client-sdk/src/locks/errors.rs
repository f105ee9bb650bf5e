//! What an error says about a lock.

use super::{
    acquire::{held_of, is_busy},
    grant::is_over,
};
use crate::Error;
use ifmatch_types::{Code, LockHeld};

impl Error {
    /// Whether a fenced write was refused because its lock is lost, here or by the server.
    ///
    /// Nothing was applied. Acquire the lock again and look at the objects anew before you write.
    ///
    /// ```
    /// # fn example(error: ifmatch::Error) {
    /// if error.is_fenced_off() { println!("another worker has taken over"); }
    /// # }
    /// ```
    pub fn is_fenced_off(&self) -> bool {
        matches!(self, Self::FencedOff { .. }) || self.code() == Some(Code::StaleFence)
    }

    /// Whether a lock is not held any more: while work ran, at its release, or at a fenced write.
    ///
    /// ```
    /// # fn example(error: ifmatch::Error) {
    /// if error.is_lock_lost() { println!("acquire it again"); }
    /// # }
    /// ```
    pub fn is_lock_lost(&self) -> bool {
        let is_over = matches!(self, Self::Refused(problem) if is_over(problem.code));
        is_over || self.is_fenced_off() || matches!(self, Self::LockLost { .. })
    }

    /// Whether somebody else holds the lock, or it cools down after a forced release.
    ///
    /// ```
    /// # fn example(error: ifmatch::Error) {
    /// if error.is_lock_busy() { println!("another worker is at it"); }
    /// # }
    /// ```
    pub fn is_lock_busy(&self) -> bool {
        self.code().is_some_and(is_busy)
    }

    /// The lock's holder, if [`is_lock_busy`](Self::is_lock_busy).
    ///
    /// ```
    /// # fn example(error: ifmatch::Error) {
    /// if let Some(held) = error.lock_held() { println!("{:?} holds it", held.label); }
    /// # }
    /// ```
    pub fn lock_held(&self) -> Option<LockHeld> {
        held_of(self.problem()?)
    }
}
