//! How long a lock is held.

use crate::Error;
use std::time::Duration;

/// How long a lock is held unless it is renewed: 1 ms to 24 hours.
///
/// A holder that dies blocks the others for this long. A renewal must succeed within it: use several
/// times the slowest answer that you expect.
///
/// ```
/// use ifmatch::Ttl;
/// use std::time::Duration;
///
/// assert_eq!(Ttl::secs(30), Ttl::from(Duration::from_secs(30)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ttl(Duration);

impl Ttl {
    const MAX: Duration = Duration::from_secs(24 * 60 * 60);

    /// This many seconds.
    ///
    /// ```
    /// let ttl = ifmatch::Ttl::secs(30);
    /// ```
    pub const fn secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// This many milliseconds.
    ///
    /// ```
    /// let ttl = ifmatch::Ttl::millis(500);
    /// ```
    pub const fn millis(milliseconds: u64) -> Self {
        Self(Duration::from_millis(milliseconds))
    }

    pub(super) fn checked(self) -> Result<Duration, Error> {
        let ttl = self.0;
        if ttl.as_millis() == 0 || ttl > Self::MAX {
            let rule = "a lock is held for 1 ms to 24 h";
            return Err(Error::Unsendable(format!("{rule}, not for {ttl:?}")));
        }
        Ok(ttl)
    }
}

impl From<Duration> for Ttl {
    fn from(duration: Duration) -> Self {
        Self(duration)
    }
}
