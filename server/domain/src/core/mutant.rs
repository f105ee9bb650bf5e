//! Deliberate bugs, planted one at a time to prove that the tests find them.
//!
//! They exist only with the feature `mutants`, which no release enables. Without it,
//! [`Mutant::is_planted`] is a constant, and neither the bugs nor their names are compiled. The
//! process plants at most one bug, at its start. This is the only global state that rules read.

macro_rules! mutants {
    ($($variant:ident $name:literal: $what:literal),* $(,)?) => {
        /// A bug that can be planted.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Mutant {
            $(#[doc = $what] $variant),*
        }

        #[cfg(feature = "mutants")]
        impl Mutant {
            /// All mutants, each with its name.
            pub const ALL: &[(&str, Self)] = &[$(($name, Self::$variant)),*];
        }
    };
}

mutants! {
    DropVersionGuard "drop-version-guard": "A write is accepted whatever version it names.",
    DropRowGuard "drop-row-guard": "Rows are neither locked nor guarded when saved.",
    SplitAnswer "split-answer": "A kept answer is saved in a later commit.",
    IgnoreKeptAnswers "ignore-kept-answers": "A repeat of an Idempotency-Key runs again.",
    AnswerBeforeCommit "answer-before-commit": "The answer is sent before the commit.",
    TrustLostCommit "trust-lost-commit": "A commit with a lost reply is assumed to have succeeded.",
    ForgetLostCommit "forget-lost-commit": "A commit with a lost reply is assumed to have failed.",
    TrustPrimary "trust-primary": "A commit counts although the synchronous standbys lack it.",
    SwapAnswers "swap-answers": "Two commands of one batch get each other's answer.",
    DropEvent "drop-event": "Every fifth version of an object has no event.",
    ReadUnsettledEvents "read-unsettled-events": "The event stream skips late commits.",
    MergeSameField "merge-same-field": "A merge overwrites a change of the same field.",
    AdmitInTurn "admit-in-turn": "A stale write that waited for its turn names the current version.",
    TrustRecent "trust-recent": "The remembered past of an object is used at any stored version.",
    ForceWithoutRecord "force-without-record": "A forced write leaves no audit record.",
    StaleCounter "stale-counter": "Usage is added to the loaded counter, not to the current one.",
    RecordWithoutCounting "record-without-counting": "Usage is recorded but not counted.",
    KeepExpiredHolds "keep-expired-holds": "An expired hold still takes its units.",
    SettleEndedHold "settle-ended-hold": "An expired hold can be settled.",
    OverbookByOne "overbook-by-one": "A day accepts one more than its capacity.",
    IgnoreFence "ignore-fence": "A write is accepted whatever fence it names.",
    TrustHolder "trust-holder": "A grant lasts as long as its holder believes.",
    ForgetFence "forget-fence": "The fence of a lock whose row was swept begins anew.",
    GrantToTheGone "grant-to-the-gone": "A waiter that hung up can still be granted the lock.",
    StaleAccount "stale-account": "A transfer is added to the loaded balance, not to the current one.",
    ResolveTwice "resolve-twice": "A resolved reservation can be resolved again.",
    SettleAtOnce "settle-at-once": "A create in doubt is looked up while the panel may still undo it.",
    BelieveOneAbsence "believe-one-absence": "A server fails as soon as it was absent once.",
    KeepExpiredBookings "keep-expired-bookings": "An expired booking hold still blocks its days.",
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

    /// Plants this bug until the process ends. Only the first call has an effect.
    pub fn plant(self) {
        let _ = PLANTED.set(self);
    }
}
