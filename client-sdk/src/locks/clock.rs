//! The clocks that judge how long a guard may believe in its lock.
//!
//! Two clocks are read together, and the one that advanced more counts. The first runs while the
//! machine sleeps and is not set by anybody: `CLOCK_BOOTTIME` on Linux and Android,
//! `CLOCK_MONOTONIC` on Apple's systems (where it includes sleep), the performance counter behind
//! [`std::time::Instant`] on Windows (where it includes sleep). Elsewhere `Instant` may stand still
//! during sleep, and only the second clock tells. The second is the wall clock.

use std::time::{Duration, SystemTime};

/// Both clocks at one instant.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    /// The clock that nobody sets.
    pub(crate) steady: Duration,
    /// The wall clock, since 1970.
    pub(crate) wall: Duration,
}

impl Reading {
    /// The time since an earlier reading, by the clock that advanced more.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        let steady = self.steady.saturating_sub(earlier.steady);
        steady.max(self.wall.saturating_sub(earlier.wall))
    }
}

/// Reads both clocks. Tests bring their own.
pub(crate) trait Clock: Send + Sync {
    fn now(&self) -> Reading;
}

/// The clocks of this machine.
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Reading {
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Reading { steady: steady(), wall }
    }
}

#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
fn steady() -> Duration {
    use rustix::time::{ClockId, clock_gettime};
    #[cfg(not(target_vendor = "apple"))]
    const STEADY: ClockId = ClockId::Boottime;
    #[cfg(target_vendor = "apple")]
    const STEADY: ClockId = ClockId::Monotonic;
    Duration::try_from(clock_gettime(STEADY)).unwrap_or_default()
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
fn steady() -> Duration {
    use std::{sync::LazyLock, time::Instant};
    static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);
    ORIGIN.elapsed()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(steady: u64, wall: u64) -> Reading {
        Reading { steady: Duration::from_secs(steady), wall: Duration::from_secs(wall) }
    }

    #[test]
    fn the_clock_that_advanced_more_counts() {
        let earlier = at(100, 1000);
        for (now, seconds) in [
            (at(105, 1005), 5),
            (at(105, 4600), 3600), // the wall clock was set forward
            (at(105, 10), 5),      // the wall clock was set back
            (at(100, 1060), 60),   // a sleep that the steady clock does not see
            (at(160, 1000), 60),   // a sleep that the wall clock does not see
            (at(99, 990), 0),      // both went back
        ] {
            assert_eq!(now.since(earlier), Duration::from_secs(seconds), "{now:?}");
        }
    }

    #[test]
    fn the_clocks_of_this_machine_run() {
        let earlier = SystemClock.now();
        assert!(!earlier.steady.is_zero() && !earlier.wall.is_zero(), "{earlier:?}");
        while SystemClock.now().since(earlier).is_zero() {
            std::hint::spin_loop();
        }
    }
}
