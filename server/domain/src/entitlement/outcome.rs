//! Outcomes of entitlement actions.

use crate::core;
use ifmatch_types::{BoostAnswer, HoldAnswer, Recorded, Reversed};

/// The outcome of an entitlement action.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// A versioned object.
    Core(core::Outcome),
    /// Usage was recorded.
    Usage {
        /// The recorded items, in order.
        recorded: Vec<Recorded>,
        /// Whether the request was a batch.
        is_batch: bool,
    },
    /// Recorded usage was reversed.
    Reversed(Reversed),
    /// A hold in its current state.
    Hold {
        /// The hold and its pool.
        answer: HoldAnswer,
        /// Whether this command created it.
        is_new: bool,
    },
    /// A boost in its current state.
    Boost(BoostAnswer),
    /// Expired holds, assignments and boosts were ended.
    Expired {
        /// Whether more expired holds are left for another commit.
        more: bool,
    },
}
