//! The one list of systems and of their kinds of objects.

use crate::{
    access, billing, booking,
    core::{
        evidence::Evidence,
        load::System,
        redacted,
        redactions::Sweep,
        save::Save,
        unlocked::StampedTable,
        verify::{Check, Recheck},
    },
    entitlement, ledger, lock, provisioning,
};
use ifmatch_domain::{
    Need, State,
    core::{self, LockClass},
};

/// The needs of all systems in one round of loading. A system without needs costs nothing.
#[derive(Default)]
pub(crate) struct Systems {
    billing: Option<billing::Wanted>,
    entitlement: Option<entitlement::Wanted>,
    booking: Option<booking::Wanted>,
    access: Option<access::Wanted>,
    lock: Option<lock::Wanted>,
    ledger: Option<ledger::Wanted>,
    provisioning: Option<provisioning::Wanted>,
}

impl Systems {
    /// Each system with needs.
    pub(crate) fn all(&mut self) -> impl Iterator<Item = &mut dyn System> {
        let all = [
            with_needs(&mut self.billing),
            with_needs(&mut self.entitlement),
            with_needs(&mut self.booking),
            with_needs(&mut self.access),
            with_needs(&mut self.lock),
            with_needs(&mut self.ledger),
            with_needs(&mut self.provisioning),
        ];
        all.into_iter().flatten()
    }

    /// Adds a need to its system. Returns it if it is one of the core's own.
    pub(crate) fn add(&mut self, need: Need) -> Option<core::Need> {
        match need {
            Need::Core(need) => return Some(need),
            Need::Billing(need) => {
                let of_another = self.billing.get_or_insert_default().add(need);
                return of_another.and_then(|need| self.add(need));
            }
            Need::Entitlement(need) => self.entitlement.get_or_insert_default().add(need),
            Need::Booking(need) => self.booking.get_or_insert_default().add(need),
            Need::Access(need) => self.access.get_or_insert_default().add(need),
            Need::Lock(need) => self.lock.get_or_insert_default().add(need),
            Need::Ledger(need) => self.ledger.get_or_insert_default().add(need),
            Need::Provisioning(need) => {
                let of_another = self.provisioning.get_or_insert_default().add(need);
                return of_another.and_then(|need| self.add(need));
            }
        }
        None
    }
}

fn with_needs<S: System>(wanted: &mut Option<S>) -> Option<&mut dyn System> {
    let wanted: &mut dyn System = wanted.as_mut()?;
    Some(wanted)
}

/// The saves of all systems, in order: one system after the other, parents before children.
pub(crate) const SAVES: [&[Save]; 7] = [
    lock::SAVES,
    billing::SAVES,
    ledger::SAVES,
    booking::SAVES,
    provisioning::SAVES,
    entitlement::SAVES,
    access::SAVES,
];

/// Saves that run last, because their rows are locked last.
pub(crate) const LAST_SAVES: [&[Save]; 1] = [billing::LAST_SAVES];

/// The invariants of everything that is stored.
pub(crate) const CHECKS: [&[Check]; 6] = [
    billing::CHECKS,
    entitlement::CHECKS,
    booking::CHECKS,
    lock::CHECKS,
    ledger::CHECKS,
    provisioning::CHECKS,
];

/// The invariants that no query tells, each with a function that computes them anew.
pub(crate) const RECHECKS: [Recheck; 1] = [billing::recheck];

/// The tables that may hold values of redacted objects, in the order in which they are rewritten.
pub(crate) const SWEEPS: [&[Sweep]; 2] = [redacted::SWEEPS, entitlement::SWEEPS];

/// Evidence of a commit in rows other than events and audits.
///
/// Each function returns a row that only the batch that decided it stores.
pub(crate) const EVIDENCE: [fn(&State) -> Option<Evidence>; 4] =
    [entitlement::evidence, lock::evidence, ledger::evidence, provisioning::evidence];

/// The table of a class of rows that can be read without locks. `None` if they must be locked.
pub(crate) fn stamped_table(class: LockClass) -> Option<StampedTable> {
    if class == LockClass::LedgerAccount {
        return Some(ledger::STAMPED_TABLE);
    }
    stored_kind!(class.kind()?, R => StampedTable::of::<R>())
}

/// Runs generic code for a kind that is known only at run time.
macro_rules! stored_kind {
    ($kind:expr, $stored:ident => $body:expr) => {
        $crate::systems::by_kind! {
            $kind, $stored => $body,
            Plan: ifmatch_types::Plan,
            Workspace: ifmatch_types::Workspace,
            Namespace: ifmatch_types::Namespace,
            Subscription: ifmatch_domain::billing::SubscriptionRecord,
            Invoice: ifmatch_types::Invoice,
            Feature: ifmatch_domain::entitlement::FeatureRecord,
            Package: ifmatch_domain::entitlement::PackageRecord,
            Assignment: ifmatch_domain::entitlement::AssignmentRecord,
            Boost: ifmatch_domain::entitlement::BoostRecord,
            Bookable: ifmatch_types::Bookable,
            Booking: ifmatch_domain::booking::BookingRecord,
            Product: ifmatch_types::Product,
            Server: ifmatch_domain::provisioning::ServerRecord,
        }
    };
}
pub(crate) use stored_kind;

macro_rules! by_kind {
    ($kind:expr, $stored:ident => $body:expr, $($name:ident: $record:ty,)*) => {
        match $kind {
            $(ifmatch_types::Kind::$name => {
                type $stored = $record;
                $body
            })*
        }
    };
}
pub(crate) use by_kind;
