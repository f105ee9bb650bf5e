//! Needs of the entitlement rules other than objects. The scope's row lock protects all of them.

use crate::core::{SystemNeed, Turn};
use ifmatch_types::Timestamp;

/// Something that must be loaded for an entitlement command.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Need {
    /// The living feature with this code, and its terms; not locked.
    FeatureCode(String),
    /// The same for a feature that is to be granted. Its first grant then locks it.
    FeatureToGrant(String),
    /// The living package with this code.
    PackageCode(String),
    /// The assignment with this external service id.
    ExternalService(String),
    /// The boost with this add-on key.
    Addon(String),
    /// A scope's assignments and boosts, the grants of its packages, and its current counters.
    Holdings(String),
    /// A counter that [`Holdings`](Self::Holdings) does not include.
    Counter(String),
    /// The usage that left a counter's rolling window after the first instant, up to the second.
    RolledOff(String, Option<Timestamp>, Timestamp),
    /// The holds of a counter that have expired by the second instant: some as rows, and the sum of
    /// those that expired after the first.
    DueHolds(String, Option<Timestamp>, Timestamp),
    /// The counters of a scope with holds that have expired at an instant.
    DueCounters(String, Timestamp),
    /// A usage record.
    Record(String),
    /// A usage hold.
    Hold(String),
    /// A boost that may have been burnt out long ago, and is not among the holdings.
    BurntBoost(String),
}

impl SystemNeed for Need {
    fn turn(&self) -> Turn {
        match self {
            Self::FeatureToGrant(_) | Self::PackageCode(_) => Turn::Objects,
            Self::FeatureCode(_) | Self::ExternalService(_) | Self::Addon(_) => Turn::Facts,
            Self::Holdings(_) | Self::Counter(_) | Self::RolledOff(..) => Turn::Facts,
            Self::DueHolds(..) | Self::DueCounters(..) => Turn::Facts,
            Self::Record(_) | Self::Hold(_) | Self::BurntBoost(_) => Turn::Facts,
        }
    }
}
