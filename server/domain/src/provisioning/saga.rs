//! The saga of a server: what follows from each call of the panel, as a pure function.
//!
//! A server holds three things: credits, a place within its workspace's limit, and a server on the
//! panel. Its saga ends with all of them kept ([`Saga::keep`]) or all of them undone
//! ([`Saga::undo`], [`Saga::deleted`]). A worker makes the call that [`Saga::next`] names, and
//! [`step`] says what follows. No call is ever the last one while a server's fate is unknown.

use crate::core::Mutant;
use ifmatch_types::{PanelCall, ServerStatus as Status, ServerVerdict as Verdict, Timestamp};
use serde::{Deserialize, Serialize};

/// The longest back-off, in milliseconds: 1 h.
const BACK_OFF_MAX_MS: i64 = 60 * 60 * 1_000;
/// The shortest pause after a call that came too often, in milliseconds.
const THROTTLED_MIN_MS: i64 = 1_000;
/// The largest part of a back-off that chance takes or adds, in thousandths.
pub const JITTER_MAX_PERMILLE: i64 = 200;
/// How long a failed server is still looked up, in milliseconds: 7 days.
const WATCH_MS: i64 = 7 * 24 * 60 * 60 * 1_000;
/// Failed servers are looked up once in this many first back-offs.
const WATCH_PACE: i64 = 10;

/// The windows of provisioning, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Windows {
    /// The longest time that a call of the panel takes.
    pub timeout_ms: i64,
    /// How long after a call of unknown outcome the panel may still do or undo it.
    pub settle_ms: i64,
    /// The least time between two absences that decide.
    pub absent_gap_ms: i64,
    /// The first back-off.
    pub reconcile_ms: i64,
}

impl Windows {
    /// How long a worker's claim lasts: its call has ended by then.
    pub const fn lease_ms(&self) -> i64 {
        self.timeout_ms.saturating_mul(2).saturating_add(self.reconcile_ms)
    }
}

/// What is not known about the server on the panel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Doubt {
    /// Nothing: the call that its status asks for can be made.
    None,
    /// The panel refused to create it. A lookup confirms that.
    Refused,
    /// Whether it was created.
    Unknown,
}

/// How far a server has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Saga {
    /// Its status.
    pub status: Status,
    /// Whether it should be suspended.
    pub suspended: bool,
    /// Whether it is suspended on the panel.
    pub suspended_on_panel: bool,
    /// The panel's id of it.
    pub remote_id: Option<i64>,
    /// What is not known.
    pub doubt: Doubt,
    /// The next call, and when it is due.
    pub next: Option<(PanelCall, Timestamp)>,
    /// Until when the panel may still do or undo an earlier call of unknown outcome. Before this
    /// instant no create is judged and no suspension repeated.
    pub settle_at: Option<Timestamp>,
    /// When it was absent for the first time since it was last seen.
    pub absent_at: Option<Timestamp>,
    /// How many calls in a row told nothing.
    pub failures: i64,
    /// Since when it is neither active nor ended.
    pub unsettled_since: Option<Timestamp>,
    /// Until when it is looked up after its failure.
    pub watch_until: Option<Timestamp>,
}

/// A call of the panel that has ended, or whose worker has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EndedCall {
    /// The call.
    pub call: PanelCall,
    /// When it began.
    pub started_at: Timestamp,
    /// Chance, in thousandths of a back-off; at most [`JITTER_MAX_PERMILLE`] either way.
    pub jitter_permille: i64,
}

/// What a call told about one server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Seen {
    /// It exists on the panel.
    Exists {
        /// The panel's id of it.
        remote_id: i64,
        /// Whether its user, egg and limits are those that were asked for.
        is_ours: bool,
    },
    /// It does not exist on the panel.
    Absent,
    /// The panel did what it was asked for.
    Done,
    /// A server with this external id exists.
    Taken,
    /// The panel refused the request's fields.
    Refused,
    /// The panel refused the key.
    Unauthorized,
    /// The panel was asked too often.
    Throttled {
        /// When to ask again, in milliseconds from now.
        retry_after_ms: i64,
    },
    /// The connection never opened.
    NotConnected,
    /// Nothing.
    Unclear,
    /// The worker ended before it could tell.
    Lost,
}

/// A change outside the saga that a step makes, in the same commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Charges the reserved credits.
    Charge,
    /// Undoes the reservation of credits.
    GiveBack,
    /// Undoes the place within the workspace's limit.
    FreeSlot,
    /// Records that a server which appeared after its failure was deleted.
    RecordOrphan,
}

/// What follows from a call.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Step {
    /// How far the server has come now.
    pub saga: Saga,
    /// What else changes.
    pub effects: Vec<Effect>,
    /// The conclusion.
    pub verdict: Verdict,
}

/// What follows from a call that has ended at `now`.
pub fn step(saga: &Saga, ended: &EndedCall, seen: Seen, now: Timestamp, windows: &Windows) -> Step {
    let judge = Judge { saga: *saga, ended, now, windows };
    // The panel did nothing, whatever the call was.
    match seen {
        Seen::Unauthorized => return judge.repeat(later(now, windows.reconcile_ms)),
        Seen::Throttled { retry_after_ms } => {
            let pause_ms = retry_after_ms.clamp(THROTTLED_MIN_MS, BACK_OFF_MAX_MS);
            return judge.repeat(later(now, pause_ms));
        }
        Seen::NotConnected => return judge.back_off(judge.again(), Verdict::Repeat),
        _ => {}
    }
    match saga.status {
        Status::Provisioning if ended.call == PanelCall::Create => judge.created(seen),
        Status::Provisioning => judge.refusal_confirmed(seen),
        Status::PendingReconciliation => judge.looked_up(seen),
        Status::Active => judge.switched(seen),
        Status::Deprovisioning if ended.call == PanelCall::Delete => judge.delete_sent(seen),
        Status::Deprovisioning => judge.delete_confirmed(seen),
        Status::Failed if ended.call == PanelCall::Delete => judge.orphan_deleted(seen),
        Status::Failed => judge.watched(seen),
        // Nothing is called for a deleted server.
        Status::Deleted | Status::Unknown(_) => judge.stay(Verdict::Wait, None),
    }
}

/// The instant this much later, or the last instant.
pub fn later(at: Timestamp, ms: i64) -> Timestamp {
    let micros = at.as_micros().saturating_add(ms.saturating_mul(1_000));
    Timestamp::from_micros(micros).unwrap_or_else(|| jiff::Timestamp::MAX.into())
}

impl Saga {
    /// A server that was just ordered: the panel is asked to create it.
    pub fn begin(now: Timestamp) -> Self {
        Self {
            status: Status::Provisioning,
            suspended: false,
            suspended_on_panel: false,
            remote_id: None,
            doubt: Doubt::None,
            next: Some((PanelCall::Create, now)),
            settle_at: None,
            absent_at: None,
            failures: 0,
            unsettled_since: Some(now),
            watch_until: None,
        }
    }

    /// It exists on the panel: what was reserved for it is kept.
    pub fn keep(mut self, remote_id: i64, now: Timestamp) -> (Self, Vec<Effect>) {
        self.status = Status::Active;
        self.remote_id = Some(remote_id);
        self.forget_doubt();
        self.unsettled_since = None;
        self.sync(now);
        (self, vec![Effect::Charge])
    }

    /// It does not exist on the panel: what was reserved for it is given back.
    pub fn undo(mut self, now: Timestamp, windows: &Windows) -> (Self, Vec<Effect>) {
        self.status = Status::Failed;
        self.forget_doubt();
        self.unsettled_since = None;
        self.watch_until = Some(later(now, WATCH_MS));
        self.next = Some((PanelCall::LookUp, later(now, pace(windows))));
        (self, vec![Effect::GiveBack, Effect::FreeSlot])
    }

    /// Its deletion was ordered.
    pub fn deprovision(mut self, now: Timestamp) -> Self {
        self.status = Status::Deprovisioning;
        self.forget_doubt();
        self.unsettled_since = Some(now);
        self.next = Some((PanelCall::Delete, now));
        self
    }

    /// It no longer exists on the panel, as was ordered.
    fn deleted(mut self) -> (Self, Vec<Effect>) {
        self.status = Status::Deleted;
        self.forget_doubt();
        self.unsettled_since = None;
        self.next = None;
        (self, vec![Effect::FreeSlot])
    }

    /// Its suspension was ordered, or the end of it.
    pub fn switch(mut self, suspended: bool, now: Timestamp) -> Self {
        self.suspended = suspended;
        if self.status == Status::Active {
            // The back-off begins anew.
            self.failures = 0;
            self.sync(now);
        }
        self
    }

    /// Whether its suspension can be ordered.
    pub const fn can_switch(&self) -> bool {
        matches!(self.status, Status::Provisioning | Status::PendingReconciliation | Status::Active)
    }

    fn forget_doubt(&mut self) {
        self.doubt = Doubt::None;
        self.settle_at = None;
        self.absent_at = None;
        self.failures = 0;
    }

    /// Makes the next call of an active server the one that its suspension needs, if any.
    ///
    /// The panel answers 204 to what is so already. A call beside an earlier one of unknown outcome
    /// would therefore be believed, and the panel could undo it after that.
    fn sync(&mut self, at: Timestamp) {
        let is_needed = self.suspended != self.suspended_on_panel || self.settle_at.is_some();
        let at = self.settle_at.map_or(at, |settle_at| settle_at.max(at));
        self.next = is_needed.then_some((self.wanted(), at));
    }

    /// The call that makes an active server's suspension as it is wanted now.
    const fn wanted(&self) -> PanelCall {
        if self.suspended { PanelCall::Suspend } else { PanelCall::Unsuspend }
    }
}

/// The time between two lookups of a failed server, in milliseconds.
const fn pace(windows: &Windows) -> i64 {
    windows.reconcile_ms.saturating_mul(WATCH_PACE)
}

/// A call to judge.
#[derive(Clone, Copy)]
struct Judge<'a> {
    saga: Saga,
    ended: &'a EndedCall,
    now: Timestamp,
    windows: &'a Windows,
}

impl Judge<'_> {
    /// A create. Only what the panel certainly did not do may be asked for again.
    fn created(self, seen: Seen) -> Step {
        match seen {
            Seen::Exists { remote_id, is_ours: true } => self.keep(remote_id),
            Seen::Exists { is_ours: false, .. } => self.doubt(Verdict::Mismatch),
            Seen::Refused => {
                let mut saga = self.saga;
                saga.doubt = Doubt::Refused;
                saga.next = Some((PanelCall::LookUp, self.now));
                Step { saga, effects: Vec::new(), verdict: Verdict::Confirm }
            }
            _ => self.doubt(Verdict::InDoubt),
        }
    }

    /// The lookup after a refused create.
    fn refusal_confirmed(self, seen: Seen) -> Step {
        match seen {
            Seen::Absent => self.undo(),
            Seen::Exists { .. } => self.doubt(Verdict::InDoubt),
            _ => self.back_off(PanelCall::LookUp, Verdict::Wait),
        }
    }

    /// A lookup of a server whose create is in doubt.
    fn looked_up(mut self, seen: Seen) -> Step {
        if let Some(settle_at) = self.saga.settle_at
            && self.now < settle_at
        {
            return self.stay(Verdict::Wait, Some((PanelCall::LookUp, settle_at)));
        }
        match seen {
            Seen::Exists { remote_id, is_ours: true } => self.keep(remote_id),
            Seen::Exists { is_ours: false, .. } => {
                self.saga.absent_at = None;
                self.back_off(PanelCall::LookUp, Verdict::Mismatch)
            }
            Seen::Absent => self.absent(),
            _ => self.back_off(PanelCall::LookUp, Verdict::Wait),
        }
    }

    /// An absence after the settle window. The second one decides.
    fn absent(mut self) -> Step {
        let gap = self.windows.absent_gap_ms;
        match self.saga.absent_at {
            Some(first) if later(first, gap) <= self.now => self.undo(),
            Some(first) => self.stay(Verdict::Wait, Some((PanelCall::LookUp, later(first, gap)))),
            None if Mutant::BelieveOneAbsence.is_planted() => self.undo(),
            None => {
                self.saga.absent_at = Some(self.now);
                self.saga.failures = 0;
                let next = (PanelCall::LookUp, later(self.now, gap));
                self.stay(Verdict::AbsentOnce, Some(next))
            }
        }
    }

    /// A suspension, or the end of one. Both can be repeated once the earlier attempt is settled.
    fn switched(mut self, seen: Seen) -> Step {
        if seen == Seen::Done {
            self.saga.suspended_on_panel = self.ended.call == PanelCall::Suspend;
            self.saga.forget_doubt();
            self.saga.sync(self.now);
            return Step { saga: self.saga, effects: Vec::new(), verdict: Verdict::InSync };
        }
        let settle_at = self.settle_at();
        self.saga.settle_at = Some(settle_at);
        let mut step = self.back_off(self.again(), Verdict::Repeat);
        step.saga.next = step.saga.next.map(|(call, at)| (call, at.max(settle_at)));
        step
    }

    /// A deletion that was ordered. A lookup tells whether it took place.
    fn delete_sent(self, seen: Seen) -> Step {
        match seen {
            Seen::Done | Seen::Absent => {
                let next = (PanelCall::LookUp, self.now);
                self.stay(Verdict::Confirm, Some(next))
            }
            _ => self.back_off(PanelCall::LookUp, Verdict::InDoubt),
        }
    }

    /// The lookup after a deletion.
    fn delete_confirmed(self, seen: Seen) -> Step {
        match seen {
            Seen::Absent => {
                let (saga, effects) = self.saga.deleted();
                Step { saga, effects, verdict: Verdict::Deleted }
            }
            Seen::Exists { .. } => self.back_off(PanelCall::Delete, Verdict::Repeat),
            _ => self.back_off(PanelCall::LookUp, Verdict::Wait),
        }
    }

    /// A lookup of a failed server. One that appears after all is deleted on the panel.
    fn watched(mut self, seen: Seen) -> Step {
        match seen {
            Seen::Exists { remote_id, is_ours: true } => {
                self.saga.remote_id = Some(remote_id);
                self.stay(Verdict::Orphan, Some((PanelCall::Delete, self.now)))
            }
            Seen::Exists { is_ours: false, .. } => self.watch_on(Verdict::Mismatch),
            // It was found, and the answer to its deletion was lost.
            Seen::Absent if self.saga.remote_id.is_some() => self.orphan_gone(),
            Seen::Absent => self.watch_on(Verdict::StillAbsent),
            _ => self.watch_on(Verdict::Wait),
        }
    }

    /// The deletion of a server that appeared after its failure.
    fn orphan_deleted(self, seen: Seen) -> Step {
        match seen {
            Seen::Done | Seen::Absent => self.orphan_gone(),
            _ => self.back_off(PanelCall::LookUp, Verdict::InDoubt),
        }
    }

    fn orphan_gone(mut self) -> Step {
        self.saga.remote_id = None;
        let mut step = self.watch_on(Verdict::OrphanDeleted);
        step.effects.push(Effect::RecordOrphan);
        step
    }

    /// Looks a failed server up again, until its watch is over and no orphan is known.
    fn watch_on(self, verdict: Verdict) -> Step {
        let at = later(self.now, pace(self.windows));
        let is_watched =
            self.saga.remote_id.is_some() || self.saga.watch_until.is_some_and(|until| at <= until);
        self.stay(verdict, is_watched.then_some((PanelCall::LookUp, at)))
    }

    fn keep(self, remote_id: i64) -> Step {
        let (saga, effects) = self.saga.keep(remote_id, self.now);
        Step { saga, effects, verdict: Verdict::Active }
    }

    fn undo(self) -> Step {
        let (saga, effects) = self.saga.undo(self.now, self.windows);
        Step { saga, effects, verdict: Verdict::Failed }
    }

    /// The create's outcome is unknown. It is looked up once the panel can no longer undo it.
    fn doubt(mut self, verdict: Verdict) -> Step {
        let settle_at = self.settle_at();
        self.saga.status = Status::PendingReconciliation;
        self.saga.doubt = Doubt::Unknown;
        self.saga.settle_at = Some(settle_at);
        self.saga.absent_at = None;
        self.saga.failures = 0;
        self.stay(verdict, Some((PanelCall::LookUp, settle_at)))
    }

    /// When the panel can no longer do or undo the call, whatever it still works on.
    fn settle_at(&self) -> Timestamp {
        if Mutant::SettleAtOnce.is_planted() {
            return self.now;
        }
        let ended_at = later(self.ended.started_at, self.windows.timeout_ms).max(self.now);
        later(ended_at, self.windows.settle_ms)
    }

    /// The same call again, at this instant.
    fn repeat(self, at: Timestamp) -> Step {
        self.stay(Verdict::Repeat, Some((self.again(), at)))
    }

    /// The call to repeat. What is wanted of an active server may have changed during its call.
    const fn again(&self) -> PanelCall {
        match self.saga.status {
            Status::Active => self.saga.wanted(),
            _ => self.ended.call,
        }
    }

    /// The call that follows, after a pause that doubles each time.
    fn back_off(mut self, call: PanelCall, verdict: Verdict) -> Step {
        let doublings = u32::try_from(self.saga.failures.clamp(0, 20)).unwrap_or_default();
        let pause = self.windows.reconcile_ms.saturating_mul(2i64.saturating_pow(doublings));
        let jitter = self.ended.jitter_permille.clamp(-JITTER_MAX_PERMILLE, JITTER_MAX_PERMILLE);
        let pause = pause.min(BACK_OFF_MAX_MS).saturating_mul(jitter.saturating_add(1_000)) / 1_000;
        self.saga.failures = self.saga.failures.saturating_add(1);
        let at = later(self.now, pause.clamp(1, BACK_OFF_MAX_MS));
        self.stay(verdict, Some((call, at)))
    }

    fn stay(mut self, verdict: Verdict, next: Option<(PanelCall, Timestamp)>) -> Step {
        self.saga.next = next;
        Step { saga: self.saga, effects: Vec::new(), verdict }
    }
}
