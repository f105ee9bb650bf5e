//! What follows from each call of the panel, one line per situation of `DOMAIN.md` section 5.
//!
//! Times are seconds from the present, in the default windows: 40 s for a call, 60 s to settle, 30 s
//! between two absences and as the first back-off.

use ifmatch_domain::provisioning::{Doubt, Effect, EndedCall, Saga, Seen, Windows, later, step};
use ifmatch_types::{
    PanelCall::{self, Create, Delete, LookUp, Suspend, Unsuspend},
    ServerStatus::Provisioning,
    ServerStatus::{
        self as Status, Active, Deleted, Deprovisioning, Failed, PendingReconciliation,
    },
    ServerVerdict as Verdict, Timestamp,
};

pub const WINDOWS: Windows =
    Windows { timeout_ms: 40_000, settle_ms: 60_000, absent_gap_ms: 30_000, reconcile_ms: 30_000 };
const DAY: i64 = 24 * 60 * 60;

pub const OURS: Seen = Seen::Exists { remote_id: 7, is_ours: true };
pub const FOREIGN: Seen = Seen::Exists { remote_id: 7, is_ours: false };
const BUSY: Seen = Seen::Throttled { retry_after_ms: 17_000 };

pub fn now() -> Timestamp {
    "2027-01-01T00:00:00Z".parse().unwrap()
}

pub fn at(seconds: i64) -> Timestamp {
    later(now(), seconds * 1_000)
}

/// A server that was ordered long ago, with nothing due.
pub fn saga(status: Status) -> Saga {
    Saga { status, next: None, ..Saga::begin(at(-3_600)) }
}

fn ordered() -> Saga {
    saga(Provisioning)
}

fn refused() -> Saga {
    Saga { doubt: Doubt::Refused, ..ordered() }
}

/// Its create may be judged since this second.
fn pending(settle_at: i64) -> Saga {
    let doubt = Doubt::Unknown;
    Saga { doubt, settle_at: Some(at(settle_at)), ..saga(PendingReconciliation) }
}

fn absent(since: i64) -> Saga {
    Saga { absent_at: Some(at(since)), failures: 3, ..pending(-100) }
}

fn active(suspended: bool, suspended_on_panel: bool) -> Saga {
    let remote_id = Some(7);
    Saga { suspended, suspended_on_panel, remote_id, unsettled_since: None, ..saga(Active) }
}

/// After a suspension, or the end of one, whose outcome is unknown until this second.
fn unsure(settle_at: i64, saga: Saga) -> Saga {
    Saga { settle_at: Some(at(settle_at)), failures: 1, ..saga }
}

fn deleting() -> Saga {
    active(false, false).deprovision(at(-1))
}

/// Failed, and looked up until this second.
fn failed(watch_until: i64) -> Saga {
    Saga { watch_until: Some(at(watch_until)), unsettled_since: None, ..saga(Failed) }
}

fn orphan() -> Saga {
    Saga { remote_id: Some(7), ..failed(DAY) }
}

/// After how many calls in a row that told nothing.
fn after(failures: i64, saga: Saga) -> Saga {
    Saga { failures, ..saga }
}

/// What is there, the call and when it began, what it told; then the status, the next call and when
/// it is due, the effects and the verdict.
type Line = (
    &'static str,
    Saga,
    (PanelCall, i64),
    Seen,
    Status,
    Option<(PanelCall, i64)>,
    &'static [Effect],
    Verdict,
);

const KEPT: &[Effect] = &[Effect::Charge];
const UNDONE: &[Effect] = &[Effect::GiveBack, Effect::FreeSlot];
const FREED: &[Effect] = &[Effect::FreeSlot];
const RECORDED: &[Effect] = &[Effect::RecordOrphan];

#[rustfmt::skip]
fn lines() -> Vec<Line> {
    let (pr, pe, ac, fa, de) = (Provisioning, PendingReconciliation, Active, Failed, Deprovisioning);
    let create = (Create, -2);
    let look_up = (LookUp, -2);
    let delete = (Delete, -2);
    vec![
        // Point 3: what a create may tell.
        ("201", ordered(), create, OURS, ac, None, KEPT, Verdict::Active),
        ("201, wanted suspended", Saga { suspended: true, ..ordered() }, create, OURS,
            ac, Some((Suspend, 0)), KEPT, Verdict::Active),
        ("201 of another server", ordered(), create, FOREIGN, pe, Some((LookUp, 98)), &[], Verdict::Mismatch),
        ("2xx malformed, 409, 5xx, reset, a node's code", ordered(), create, Seen::Unclear,
            pe, Some((LookUp, 98)), &[], Verdict::InDoubt),
        ("404", ordered(), create, Seen::Absent, pe, Some((LookUp, 98)), &[], Verdict::InDoubt),
        ("204", ordered(), create, Seen::Done, pe, Some((LookUp, 98)), &[], Verdict::InDoubt),
        ("timeout", ordered(), (Create, -40), Seen::Unclear, pe, Some((LookUp, 60)), &[], Verdict::InDoubt),
        ("an answer after the timeout", ordered(), (Create, -50), Seen::Unclear,
            pe, Some((LookUp, 60)), &[], Verdict::InDoubt),
        ("the worker died", ordered(), (Create, -110), Seen::Lost, pe, Some((LookUp, 60)), &[], Verdict::InDoubt),
        ("the worker died at the end of its lease", ordered(), (Create, -1), Seen::Lost,
            pe, Some((LookUp, 99)), &[], Verdict::InDoubt),
        ("422 unique", ordered(), create, Seen::Taken, pe, Some((LookUp, 98)), &[], Verdict::InDoubt),
        ("other 422, 400", ordered(), create, Seen::Refused, pr, Some((LookUp, 0)), &[], Verdict::Confirm),
        ("401, 403", ordered(), create, Seen::Unauthorized, pr, Some((Create, 30)), &[], Verdict::Repeat),
        ("429", ordered(), create, BUSY, pr, Some((Create, 17)), &[], Verdict::Repeat),
        ("not connected", ordered(), create, Seen::NotConnected, pr, Some((Create, 30)), &[], Verdict::Repeat),
        ("not connected again", after(2, ordered()), create, Seen::NotConnected,
            pr, Some((Create, 120)), &[], Verdict::Repeat),

        // The lookup that confirms a refusal.
        ("absent", refused(), look_up, Seen::Absent, fa, Some((LookUp, 300)), UNDONE, Verdict::Failed),
        ("ours", refused(), look_up, OURS, pe, Some((LookUp, 98)), &[], Verdict::InDoubt),
        ("another's", refused(), look_up, FOREIGN, pe, Some((LookUp, 98)), &[], Verdict::InDoubt),
        ("5xx", refused(), look_up, Seen::Unclear, pr, Some((LookUp, 30)), &[], Verdict::Wait),
        ("the worker died", refused(), look_up, Seen::Lost, pr, Some((LookUp, 30)), &[], Verdict::Wait),
        ("401, 403", refused(), look_up, Seen::Unauthorized, pr, Some((LookUp, 30)), &[], Verdict::Repeat),
        ("429", refused(), look_up, BUSY, pr, Some((LookUp, 17)), &[], Verdict::Repeat),

        // Point 4: no verdict before the settle window is over.
        ("too early: ours", pending(9), look_up, OURS, pe, Some((LookUp, 9)), &[], Verdict::Wait),
        ("too early: another's", pending(9), look_up, FOREIGN, pe, Some((LookUp, 9)), &[], Verdict::Wait),
        ("too early: absent", pending(9), look_up, Seen::Absent, pe, Some((LookUp, 9)), &[], Verdict::Wait),
        ("too early: 5xx", pending(9), look_up, Seen::Unclear, pe, Some((LookUp, 9)), &[], Verdict::Wait),
        ("ours, at its end", pending(0), look_up, OURS, ac, None, KEPT, Verdict::Active),
        ("ours", pending(-1), look_up, OURS, ac, None, KEPT, Verdict::Active),
        ("ours after an absence", absent(-30), look_up, OURS, ac, None, KEPT, Verdict::Active),
        ("another's", pending(-1), look_up, FOREIGN, pe, Some((LookUp, 30)), &[], Verdict::Mismatch),
        ("another's again", after(4, pending(-1)), look_up, FOREIGN, pe, Some((LookUp, 480)), &[], Verdict::Mismatch),
        ("absent", pending(-1), look_up, Seen::Absent, pe, Some((LookUp, 30)), &[], Verdict::AbsentOnce),
        ("absent again, too soon", absent(-29), look_up, Seen::Absent, pe, Some((LookUp, 1)), &[], Verdict::Wait),
        ("absent twice", absent(-30), look_up, Seen::Absent, fa, Some((LookUp, 300)), UNDONE, Verdict::Failed),
        ("5xx", pending(-1), look_up, Seen::Unclear, pe, Some((LookUp, 30)), &[], Verdict::Wait),
        ("5xx after an absence", absent(-30), look_up, Seen::Unclear, pe, Some((LookUp, 240)), &[], Verdict::Wait),
        ("5xx, the 100th time", after(99, pending(-1)), look_up, Seen::Unclear,
            pe, Some((LookUp, 3_600)), &[], Verdict::Wait),
        ("the worker died", pending(-1), look_up, Seen::Lost, pe, Some((LookUp, 30)), &[], Verdict::Wait),
        ("401, 403", pending(-1), look_up, Seen::Unauthorized, pe, Some((LookUp, 30)), &[], Verdict::Repeat),
        ("429", pending(-1), look_up, BUSY, pe, Some((LookUp, 17)), &[], Verdict::Repeat),
        ("not connected", after(1, pending(-1)), look_up, Seen::NotConnected,
            pe, Some((LookUp, 60)), &[], Verdict::Repeat),

        // Point 5: a failed server is looked up for 7 days.
        ("still absent", failed(DAY), look_up, Seen::Absent, fa, Some((LookUp, 300)), &[], Verdict::StillAbsent),
        ("the last lookup but one", failed(300), look_up, Seen::Absent,
            fa, Some((LookUp, 300)), &[], Verdict::StillAbsent),
        ("the last lookup", failed(299), look_up, Seen::Absent, fa, None, &[], Verdict::StillAbsent),
        ("5xx", failed(DAY), look_up, Seen::Unclear, fa, Some((LookUp, 300)), &[], Verdict::Wait),
        ("another's", failed(DAY), look_up, FOREIGN, fa, Some((LookUp, 300)), &[], Verdict::Mismatch),
        ("429", failed(DAY), look_up, BUSY, fa, Some((LookUp, 17)), &[], Verdict::Repeat),
        ("found late", failed(DAY), look_up, OURS, fa, Some((Delete, 0)), &[], Verdict::Orphan),
        ("found at the last lookup", failed(1), look_up, OURS, fa, Some((Delete, 0)), &[], Verdict::Orphan),
        ("orphan deleted", orphan(), delete, Seen::Done, fa, Some((LookUp, 300)), RECORDED, Verdict::OrphanDeleted),
        ("orphan gone", orphan(), delete, Seen::Absent, fa, Some((LookUp, 300)), RECORDED, Verdict::OrphanDeleted),
        ("orphan: 5xx", orphan(), delete, Seen::Unclear, fa, Some((LookUp, 30)), &[], Verdict::InDoubt),
        ("orphan: the worker died", orphan(), delete, Seen::Lost, fa, Some((LookUp, 30)), &[], Verdict::InDoubt),
        ("orphan: not connected", orphan(), delete, Seen::NotConnected,
            fa, Some((Delete, 30)), &[], Verdict::Repeat),
        ("orphan: deleted, and the answer lost", orphan(), look_up, Seen::Absent,
            fa, Some((LookUp, 300)), RECORDED, Verdict::OrphanDeleted),
        ("orphan: not known at the end of the watch", Saga { remote_id: Some(7), ..failed(1) }, look_up,
            Seen::Unclear, fa, Some((LookUp, 300)), &[], Verdict::Wait),
        ("orphan: not deleted", orphan(), look_up, OURS, fa, Some((Delete, 0)), &[], Verdict::Orphan),

        // A deletion that was ordered. A lookup confirms it.
        ("204", deleting(), delete, Seen::Done, de, Some((LookUp, 0)), &[], Verdict::Confirm),
        ("404", deleting(), delete, Seen::Absent, de, Some((LookUp, 0)), &[], Verdict::Confirm),
        ("504, the node is away", deleting(), delete, Seen::Unclear, de, Some((LookUp, 30)), &[], Verdict::InDoubt),
        ("the worker died", deleting(), delete, Seen::Lost, de, Some((LookUp, 30)), &[], Verdict::InDoubt),
        ("401, 403", deleting(), delete, Seen::Unauthorized, de, Some((Delete, 30)), &[], Verdict::Repeat),
        ("429", deleting(), delete, BUSY, de, Some((Delete, 17)), &[], Verdict::Repeat),
        ("not connected", deleting(), delete, Seen::NotConnected, de, Some((Delete, 30)), &[], Verdict::Repeat),
        ("gone", deleting(), look_up, Seen::Absent, Deleted, None, FREED, Verdict::Deleted),
        ("still there", after(1, deleting()), look_up, OURS, de, Some((Delete, 60)), &[], Verdict::Repeat),
        ("5xx", deleting(), look_up, Seen::Unclear, de, Some((LookUp, 30)), &[], Verdict::Wait),
        ("the worker died", deleting(), look_up, Seen::Lost, de, Some((LookUp, 30)), &[], Verdict::Wait),

        // A suspension. Both calls can be repeated, once the panel can no longer undo the first.
        ("204", active(true, false), (Suspend, -2), Seen::Done, ac, None, &[], Verdict::InSync),
        ("204", active(false, true), (Unsuspend, -2), Seen::Done, ac, None, &[], Verdict::InSync),
        ("204, taken back meanwhile", active(false, false), (Suspend, -2), Seen::Done,
            ac, Some((Unsuspend, 0)), &[], Verdict::InSync),
        ("204, after an unknown outcome", unsure(-2, active(true, false)), (Suspend, -2), Seen::Done,
            ac, None, &[], Verdict::InSync),
        ("409, in a transfer", active(true, false), (Suspend, -2), Seen::Unclear,
            ac, Some((Suspend, 98)), &[], Verdict::Repeat),
        ("timeout", active(false, true), (Unsuspend, -40), Seen::Unclear,
            ac, Some((Unsuspend, 60)), &[], Verdict::Repeat),
        ("404", after(1, active(true, false)), (Suspend, -2), Seen::Absent,
            ac, Some((Suspend, 98)), &[], Verdict::Repeat),
        ("unclear for the third time", after(2, unsure(-2, active(true, false))), (Suspend, -2), Seen::Unclear,
            ac, Some((Suspend, 120)), &[], Verdict::Repeat),
        ("the worker died", active(true, false), (Suspend, -110), Seen::Lost,
            ac, Some((Suspend, 60)), &[], Verdict::Repeat),
        ("5xx, taken back meanwhile", active(false, false), (Suspend, -2), Seen::Unclear,
            ac, Some((Unsuspend, 98)), &[], Verdict::Repeat),
        ("429, taken back meanwhile", active(false, false), (Suspend, -2), BUSY,
            ac, Some((Unsuspend, 17)), &[], Verdict::Repeat),
        ("401, 403", active(false, true), (Unsuspend, -2), Seen::Unauthorized,
            ac, Some((Unsuspend, 30)), &[], Verdict::Repeat),
        ("not connected", active(false, true), (Unsuspend, -2), Seen::NotConnected,
            ac, Some((Unsuspend, 30)), &[], Verdict::Repeat),
        ("not connected, after an unknown outcome", unsure(-2, active(true, false)), (Suspend, -2),
            Seen::NotConnected, ac, Some((Suspend, 60)), &[], Verdict::Repeat),

        ("a late answer", saga(Deleted), delete, Seen::Done, Deleted, None, &[], Verdict::Wait),
    ]
}

#[test]
fn each_call_leads_to_its_next_step() {
    for (told, before, (call, began), seen, status, next, effects, verdict) in lines() {
        let ended = EndedCall { call, started_at: at(began), jitter_permille: 0 };
        let step = step(&before, &ended, seen, now(), &WINDOWS);
        let next = next.map(|(call, due)| (call, at(due)));
        let actual = (step.saga.status, step.saga.next, &step.effects[..], step.verdict);
        let name = before.status.name();
        assert_eq!(actual, (status, next, effects, verdict), "{name}, {call:?}: {told}");
    }
}

#[test]
fn a_verdict_leaves_nothing_to_doubt() {
    for before in [pending(-1), absent(-30), after(9, absent(-30))] {
        let ended = EndedCall { call: LookUp, started_at: at(-2), jitter_permille: 0 };
        for seen in [OURS, Seen::Absent] {
            let saga = step(&before, &ended, seen, now(), &WINDOWS).saga;
            if saga.status != PendingReconciliation {
                let left = (saga.doubt, saga.settle_at, saga.absent_at, saga.failures);
                assert_eq!(left, (Doubt::None, None, None, 0));
                assert_eq!(saga.unsettled_since, None);
                assert_eq!(saga.remote_id.is_some(), saga.status == Active);
            }
        }
    }
}

#[test]
fn another_server_with_the_id_makes_an_earlier_absence_worthless() {
    let ended = EndedCall { call: LookUp, started_at: at(-2), jitter_permille: 0 };
    let saga = step(&absent(-30), &ended, FOREIGN, now(), &WINDOWS).saga;
    assert_eq!(saga.absent_at, None);
    let again = step(&saga, &ended, Seen::Absent, at(60), &WINDOWS);
    assert_eq!(again.verdict, Verdict::AbsentOnce);
}

#[test]
fn a_suspension_of_unknown_outcome_is_undone_when_it_is_taken_back() {
    let ended = EndedCall { call: Suspend, started_at: at(-2), jitter_permille: 0 };
    let unclear = step(&active(true, false), &ended, Seen::Unclear, now(), &WINDOWS).saga;
    let taken_back = unclear.switch(false, at(1));
    // The panel may still carry it out: an earlier call would change nothing and be believed.
    assert_eq!(taken_back.next, Some((Unsuspend, at(98))));
    // However often the customer changes their mind.
    let twice = taken_back.switch(true, at(2)).switch(false, at(3));
    assert_eq!(twice.next, Some((Unsuspend, at(98))));
    assert_eq!(taken_back.switch(true, at(120)).next, Some((Suspend, at(120))));
    // A call that the panel did not look at makes nothing known.
    let ended = EndedCall { call: Unsuspend, started_at: at(98), jitter_permille: 0 };
    let refused = step(&twice, &ended, Seen::Unauthorized, at(99), &WINDOWS).saga;
    assert_eq!(
        refused.switch(true, at(100)).switch(false, at(101)).next,
        Some((Unsuspend, at(101)))
    );
    let done = step(&twice, &ended, Seen::Done, at(99), &WINDOWS).saga;
    assert_eq!((done.next, done.failures, done.settle_at), (None, 0, None));
}

#[test]
fn a_suspension_that_the_panel_never_saw_needs_no_call_when_it_is_taken_back() {
    let ended = EndedCall { call: Suspend, started_at: at(-2), jitter_permille: 0 };
    let waiting = step(&active(true, false), &ended, Seen::NotConnected, now(), &WINDOWS).saga;
    assert_eq!(waiting.next, Some((Suspend, at(30))));
    let taken_back = waiting.switch(false, at(1));
    assert_eq!((taken_back.next, taken_back.failures), (None, 0));
}

#[test]
fn a_suspension_that_never_began_needs_no_call_when_it_is_taken_back() {
    let wanted = active(false, false).switch(true, now());
    assert_eq!(wanted.next, Some((Suspend, now())));
    assert_eq!(wanted.switch(false, now()).next, None);
}

#[test]
fn a_suspension_waits_until_the_server_is_active() {
    let waiting = pending(9).switch(true, now());
    assert_eq!(waiting.next, None);
    let (kept, _) = waiting.keep(7, at(20));
    assert_eq!(kept.next, Some((Suspend, at(20))));
    assert!(!failed(DAY).can_switch() && !deleting().can_switch());
}

#[test]
fn an_admin_decides_either_way() {
    let (kept, effects) = pending(9).keep(7, now());
    assert_eq!((kept.status, kept.remote_id, &effects[..]), (Active, Some(7), KEPT));
    let (undone, effects) = absent(-1).undo(now(), &WINDOWS);
    assert_eq!((undone.status, &effects[..]), (Failed, UNDONE));
    assert_eq!(undone.next, Some((LookUp, at(300))));
    assert_eq!(undone.watch_until, Some(at(7 * DAY)));
}

#[test]
fn a_deletion_replaces_the_call_that_was_due() {
    let saga = after(5, unsure(9, active(true, false))).deprovision(now());
    assert_eq!((saga.status, saga.next), (Deprovisioning, Some((Delete, now()))));
    assert_eq!((saga.failures, saga.settle_at, saga.unsettled_since), (0, None, Some(now())));
}

#[test]
fn the_pause_that_the_panel_asks_for_has_bounds() {
    let ended = EndedCall { call: Create, started_at: at(-2), jitter_permille: 0 };
    for (asked, pause) in [
        (i64::MIN, 1),
        (-5_000, 1),
        (0, 1),
        (1_000, 1),
        (90_000, 90),
        (3_600_000, 3_600),
        (3_600_001, 3_600),
        (i64::MAX, 3_600),
    ] {
        let seen = Seen::Throttled { retry_after_ms: asked };
        let step = step(&ordered(), &ended, seen, now(), &WINDOWS);
        assert_eq!(step.saga.next, Some((Create, at(pause))), "{asked}");
    }
}

#[test]
fn a_lease_is_two_calls_and_a_pause() {
    assert_eq!(WINDOWS.lease_ms(), 110_000);
}

#[test]
fn time_ends_at_the_last_instant() {
    let last = Timestamp::from(jiff::Timestamp::MAX);
    assert_eq!(later(now(), i64::MAX), last);
    assert_eq!(later(last, 1), last);
}
