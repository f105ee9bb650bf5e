//! Outcomes of booking actions.

/// The outcome of a booking action.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Expired holds were ended.
    Expired {
        /// Whether more expired holds are left for another commit.
        more: bool,
    },
}
