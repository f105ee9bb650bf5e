//! Bugs on purpose, one at a time, to show that the tests would find them.
//!
//! They exist only with the feature `mutants`, which no release has: without it
//! [`Mutant::is_planted`] is a constant, and neither the bugs nor their names are compiled. Which
//! one is planted is decided once, by whoever starts the process; the rules read nothing but this.

macro_rules! mutants {
    ($($variant:ident $name:literal: $what:literal),* $(,)?) => {
        /// A bug that can be planted.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Mutant {
            $(#[doc = $what] $variant),*
        }

        #[cfg(feature = "mutants")]
        impl Mutant {
            /// Every one, with its name.
            pub const ALL: &[(&str, Self)] = &[$(($name, Self::$variant)),*];
        }
    };
}

mutants! {
    DropVersionGuard "drop-version-guard": "A write is let through whatever version it names.",
    DropRowGuard "drop-row-guard": "Rows are neither locked nor guarded by what was loaded.",
    SplitAnswer "split-answer": "The answer for an Idempotency-Key is kept in a later commit.",
    IgnoreKeptAnswers "ignore-kept-answers": "An Idempotency-Key means nothing.",
    AnswerBeforeCommit "answer-before-commit": "The answer is sent, and then the commit.",
    TrustLostCommit "trust-lost-commit": "A commit whose answer was lost is taken to be made.",
    ForgetLostCommit "forget-lost-commit": "A commit whose answer was lost is taken to have failed.",
    SwapAnswers "swap-answers": "Two commands of one batch get each other's answer.",
    DropEvent "drop-event": "Now and then, a change has no event.",
    ReadUnsettledEvents "read-unsettled-events": "The stream shows what was committed out of order.",
    MergeSameField "merge-same-field": "A merge takes place over a change of the same field.",
    ForceWithoutRecord "force-without-record": "A forced write leaves no audit record.",
    StaleCounter "stale-counter": "Usage is counted from what was loaded, not from what is.",
    RecordWithoutCounting "record-without-counting": "Usage is recorded and not counted.",
    KeepExpiredHolds "keep-expired-holds": "A hold that is over still takes its units.",
    SettleEndedHold "settle-ended-hold": "A hold that is over can be settled.",
    OverbookByOne "overbook-by-one": "A day takes one more than there is.",
    KeepExpiredBookings "keep-expired-bookings": "A booking's hold that is over still blocks.",
}

#[cfg(not(feature = "mutants"))]
impl Mutant {
    /// Whether this bug is planted: never.
    #[inline]
    pub const fn is_planted(self) -> bool {
        false
    }
}

#[cfg(feature = "mutants")]
static PLANTED: std::sync::OnceLock<Mutant> = std::sync::OnceLock::new();

#[cfg(feature = "mutants")]
impl Mutant {
    /// Whether this bug is planted.
    pub fn is_planted(self) -> bool {
        PLANTED.get() == Some(&self)
    }

    /// Plants it for as long as this process lives; the first one counts.
    pub fn plant(self) {
        let _ = PLANTED.set(self);
    }
}
