//! What holds after each step, whatever came before it.

use crate::table::{at, now};
use ifmatch_domain::provisioning::{
    Doubt, Effect, EndedCall, JITTER_MAX_PERMILLE, Saga, Seen, Windows, later, step,
};
use ifmatch_types::{PanelCall, ServerStatus as Status, ServerVerdict as Verdict, Timestamp};
use proptest::{collection::vec, option, prelude::*, sample::select};

const HOUR_MS: i64 = 60 * 60 * 1_000;

fn windows() -> impl Strategy<Value = Windows> {
    // As configured: at least 1 ms, at most a day.
    let window = || prop_oneof![1..100i64, 1_000..100_000i64, Just(24 * HOUR_MS)];
    (window(), window(), window(), window()).prop_map(|(timeout, settle, gap, reconcile)| Windows {
        timeout_ms: timeout,
        settle_ms: settle,
        absent_gap_ms: gap,
        reconcile_ms: reconcile,
    })
}

fn seen() -> impl Strategy<Value = Seen> {
    let retry = prop_oneof![Just(i64::MIN), -10..10i64, 0..2 * HOUR_MS, Just(i64::MAX)];
    prop_oneof![
        3 => any::<bool>().prop_map(|is_ours| Seen::Exists { remote_id: 7, is_ours }),
        3 => Just(Seen::Absent),
        4 => select(vec![Seen::Done, Seen::Taken, Seen::Refused, Seen::Unauthorized]),
        3 => select(vec![Seen::NotConnected, Seen::Unclear, Seen::Lost]),
        1 => retry.prop_map(|retry_after_ms| Seen::Throttled { retry_after_ms }),
    ]
}

/// Something that happens to a server.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// Its due call is made so long after it is due, takes so long and tells this, with this chance.
    Call {
        late_ms: i64,
        took_ms: i64,
        seen: Seen,
        jitter: i64,
    },
    Switch(bool),
    Delete,
    Adopt,
    Fail,
}

fn event() -> impl Strategy<Value = Event> {
    let call = (0..200_000i64, 0..200_000i64, seen(), -2_000..2_000i64);
    prop_oneof![
        12 => call.prop_map(|(late_ms, took_ms, seen, jitter)| {
            Event::Call { late_ms, took_ms, seen, jitter }
        }),
        2 => any::<bool>().prop_map(Event::Switch),
        1 => Just(Event::Delete),
        1 => select(vec![Event::Adopt, Event::Fail]),
    ]
}

/// A server, and what became of what it held.
struct History {
    saga: Saga,
    now: Timestamp,
    charged: u32,
    given_back: u32,
    freed: u32,
    /// Whether a create may have been carried out.
    is_created: bool,
}

impl History {
    fn new() -> Self {
        let saga = Saga::begin(now());
        Self { saga, now: now(), charged: 0, given_back: 0, freed: 0, is_created: false }
    }

    fn take(&mut self, saga: Saga, effects: &[Effect]) {
        for effect in effects {
            match effect {
                Effect::Charge => self.charged += 1,
                Effect::GiveBack => self.given_back += 1,
                Effect::FreeSlot => self.freed += 1,
                Effect::RecordOrphan => assert_eq!(saga.status, Status::Failed),
            }
        }
        let (from, to) = (self.saga.status, saga.status);
        let allowed: &[Status] = match from {
            Status::Provisioning => &[
                Status::Provisioning,
                Status::Active,
                Status::Failed,
                Status::PendingReconciliation,
            ],
            Status::PendingReconciliation => {
                &[Status::PendingReconciliation, Status::Active, Status::Failed]
            }
            Status::Active => &[Status::Active, Status::Deprovisioning],
            Status::Deprovisioning => &[Status::Deprovisioning, Status::Deleted],
            Status::Failed => &[Status::Failed],
            _ => &[Status::Deleted],
        };
        assert!(allowed.contains(&to), "{from:?} → {to:?}");
        self.saga = saga;
    }

    fn happen(&mut self, event: Event, windows: &Windows) {
        let saga = self.saga;
        match event {
            Event::Call { late_ms, took_ms, seen, jitter } => {
                let Some((call, due)) = saga.next else { return };
                let started_at = later(due.max(self.now), late_ms);
                self.now = later(started_at, took_ms);
                if call == PanelCall::Create {
                    assert!(!self.is_created, "a create of unknown outcome is sent again");
                    self.is_created = !matches!(
                        seen,
                        Seen::Unauthorized | Seen::Throttled { .. } | Seen::NotConnected
                    );
                }
                let ended = EndedCall { call, started_at, jitter_permille: jitter };
                let step = step(&saga, &ended, seen, self.now, windows);
                self.check_verdict(&ended, seen, step.verdict);
                self.take(step.saga, &step.effects);
                self.check_next(windows);
            }
            Event::Switch(suspended) if saga.can_switch() => {
                self.take(saga.switch(suspended, self.now), &[]);
            }
            Event::Delete if saga.status == Status::Active => {
                self.take(saga.deprovision(self.now), &[]);
            }
            Event::Adopt if saga.status == Status::PendingReconciliation => {
                let (saga, effects) = saga.keep(7, self.now);
                self.take(saga, &effects);
            }
            Event::Fail if saga.status == Status::PendingReconciliation => {
                let (saga, effects) = saga.undo(self.now, windows);
                self.take(saga, &effects);
            }
            Event::Switch(_) | Event::Delete | Event::Adopt | Event::Fail => {}
        }
        self.check_what_it_holds();
    }

    /// Only what was seen decides, and nothing decides before the settle window is over.
    fn check_verdict(&self, ended: &EndedCall, seen: Seen, verdict: Verdict) {
        if matches!(verdict, Verdict::Active | Verdict::Failed)
            && let Some(settle_at) = self.saga.settle_at
        {
            assert!(ended.started_at >= settle_at);
        }
        if let (Verdict::InSync, Some(settle_at)) = (verdict, self.saga.settle_at) {
            assert!(ended.started_at >= settle_at, "an earlier attempt can still be undone");
        }
        match verdict {
            Verdict::Active => assert!(matches!(seen, Seen::Exists { is_ours: true, .. })),
            Verdict::Failed | Verdict::Deleted => {
                assert_eq!((ended.call, seen), (PanelCall::LookUp, Seen::Absent));
            }
            _ => {}
        }
    }

    /// No call is the last one while something is unknown or wanted.
    fn check_next(&self, windows: &Windows) {
        let saga = &self.saga;
        match (saga.status, saga.next) {
            (Status::Active, next) => {
                assert!(next.is_some() || saga.suspended == saga.suspended_on_panel);
            }
            (Status::Deleted, next) => assert_eq!(next, None),
            // Its watch may be over.
            (Status::Failed, None) => assert!(saga.watch_until.is_some()),
            (status, next) => assert!(next.is_some(), "{status:?} is left alone"),
        }
        if let Some((_, due)) = saga.next {
            // The settle window and the watch may be longer than the longest back-off.
            let longest = HOUR_MS
                .max(windows.reconcile_ms.saturating_mul(10))
                .max(windows.timeout_ms + windows.settle_ms)
                .max(windows.absent_gap_ms);
            assert!(self.now <= due && due <= later(self.now, longest));
        }
    }

    fn check_what_it_holds(&self) {
        let expected = match self.saga.status {
            Status::Active | Status::Deprovisioning => (1, 0, 0),
            Status::Deleted => (1, 0, 1),
            Status::Failed => (0, 1, 1),
            _ => (0, 0, 0),
        };
        assert_eq!((self.charged, self.given_back, self.freed), expected);
        let is_pending = self.saga.status == Status::PendingReconciliation;
        assert_eq!(self.saga.doubt == Doubt::Unknown, is_pending);
        assert!(!is_pending || self.saga.settle_at.is_some());
        let can_settle = is_pending || self.saga.status == Status::Active;
        assert!(can_settle || self.saga.settle_at.is_none());
        assert!(is_pending || self.saga.absent_at.is_none());
    }
}

fn call() -> impl Strategy<Value = PanelCall> {
    select(PanelCall::ALL.to_vec())
}

fn any_saga() -> impl Strategy<Value = Saga> {
    let instant = || (-100_000..100_000i64).prop_map(at);
    (
        select(Status::ALL.to_vec()),
        any::<(bool, bool)>(),
        option::of(Just(7)),
        select(vec![Doubt::None, Doubt::Refused, Doubt::Unknown]),
        option::of((call(), instant())),
        (option::of(instant()), option::of(instant()), option::of(instant())),
        prop_oneof![0..40i64, Just(i64::MAX), Just(i64::MIN)],
    )
        .prop_map(
            |(status, (suspended, on_panel), remote_id, doubt, next, times, failures)| Saga {
                status,
                suspended,
                suspended_on_panel: on_panel,
                remote_id,
                doubt,
                next,
                settle_at: times.0,
                absent_at: times.1,
                failures,
                unsettled_since: Some(now()),
                watch_until: times.2,
            },
        )
}

proptest! {
    #[test]
    fn each_history_keeps_or_undoes_everything(
        windows in windows(),
        events in vec(event(), 1..40),
    ) {
        let mut history = History::new();
        for event in events {
            history.happen(event, &windows);
        }
    }

    #[test]
    fn once_the_panel_is_healthy_each_history_ends(
        windows in windows(),
        events in vec(event(), 1..20),
        exists in any::<bool>(),
    ) {
        let mut history = History::new();
        for event in events {
            history.happen(event, &windows);
        }
        // Once its watch is over, nobody would find it.
        let mut exists = exists && history.saga.next.is_some();
        exists |= history.saga.status == Status::Active;
        for _ in 0..12 {
            let Some((call, _)) = history.saga.next else { break };
            let ours = Seen::Exists { remote_id: 7, is_ours: true };
            let seen = match call {
                PanelCall::Create | PanelCall::LookUp if exists => ours,
                PanelCall::LookUp => Seen::Absent,
                PanelCall::Create => {
                    exists = true;
                    ours
                }
                PanelCall::Delete => {
                    exists = false;
                    Seen::Done
                }
                _ => Seen::Done,
            };
            history.happen(Event::Call { late_ms: 0, took_ms: 1, seen, jitter: 0 }, &windows);
        }
        let saga = history.saga;
        prop_assert!(matches!(saga.status, Status::Active | Status::Failed | Status::Deleted));
        prop_assert_eq!(saga.status == Status::Active, exists);
        prop_assert!(saga.status != Status::Active || saga.suspended == saga.suspended_on_panel);
        prop_assert!(saga.status != Status::Failed || saga.remote_id.is_none());
    }

    /// Also of rows that no history leads to, such as those of a restored backup.
    #[test]
    fn no_step_panics_or_moves_an_ended_server(
        saga in any_saga(),
        call in call(),
        began in any::<i64>(),
        jitter in any::<i64>(),
        seen in seen(),
        windows in prop_oneof![windows(), any::<[i64; 4]>().prop_map(|[a, b, c, d]| Windows {
            timeout_ms: a, settle_ms: b, absent_gap_ms: c, reconcile_ms: d,
        })],
    ) {
        let started_at = later(now(), began);
        let ended = EndedCall { call, started_at, jitter_permille: jitter };
        let after = step(&saga, &ended, seen, now(), &windows).saga.status;
        match saga.status {
            Status::Failed | Status::Deleted => prop_assert_eq!(after, saga.status),
            Status::Active => prop_assert_eq!(after, Status::Active),
            _ => {}
        }
    }

    #[test]
    fn a_back_off_doubles_up_to_an_hour(
        failures in 0..100i64,
        jitter in any::<i64>(),
        reconcile_ms in 1..HOUR_MS * 24,
    ) {
        let windows = Windows { timeout_ms: 1, settle_ms: 1, absent_gap_ms: 1, reconcile_ms };
        let saga = Saga {
            status: Status::PendingReconciliation,
            doubt: Doubt::Unknown,
            failures,
            ..Saga::begin(now())
        };
        let call = PanelCall::LookUp;
        let ended = EndedCall { call, started_at: now(), jitter_permille: jitter };
        let step = step(&saga, &ended, Seen::Unclear, now(), &windows);
        let (_, due) = step.saga.next.unwrap();
        let pause = (due.as_micros() - now().as_micros()) / 1_000;
        let doubled = (i128::from(reconcile_ms) << failures.min(20)).min(HOUR_MS.into());
        let pause = i128::from(pause);
        let jitter_max = i128::from(JITTER_MAX_PERMILLE);
        prop_assert!(pause <= HOUR_MS.into());
        prop_assert!(pause >= (doubled * (1_000 - jitter_max) / 1_000).max(1));
        prop_assert!(pause <= (doubled * (1_000 + jitter_max) / 1_000).max(1));
        prop_assert_eq!(step.saga.failures, failures + 1);
    }
}
