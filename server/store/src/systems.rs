//! The one list of systems, and of the kinds of objects they have.

use crate::{
    access, billing, booking,
    core::{evidence::Evidence, load::System, save::Save, verify::Check},
    entitlement,
};
use ifmatch_domain::{Need, State};

/// What the systems want to have loaded in one round.
#[derive(Default)]
pub(crate) struct Systems {
    billing: billing::Wanted,
    entitlement: entitlement::Wanted,
    booking: booking::Wanted,
    access: access::Wanted,
}

impl Systems {
    /// Every system, in the order of the locks that are not locks of objects.
    pub(crate) fn all(&mut self) -> [&mut dyn System; 4] {
        [&mut self.billing, &mut self.entitlement, &mut self.booking, &mut self.access]
    }

    /// Takes a need that the core does not know.
    pub(crate) fn add(&mut self, need: Need) {
        let mut systems = self.all().into_iter();
        let unclaimed = systems.try_fold(need, |need, system| system.add(need));
        assert!(unclaimed.is_none(), "every need is the core's or a system's: {unclaimed:?}");
    }
}

/// What is saved, in order: systems one after the other, and in each of them parents before
/// children.
pub(crate) const SAVES: [&[Save]; 4] =
    [billing::SAVES, booking::SAVES, entitlement::SAVES, access::SAVES];

/// What is saved after everything else, because it is locked after everything else.
pub(crate) const LAST_SAVES: [&[Save]; 1] = [billing::LAST_SAVES];

/// What must hold of everything that is stored.
pub(crate) const CHECKS: [&[Check]; 3] = [billing::CHECKS, entitlement::CHECKS, booking::CHECKS];

/// Rows beside events and audits that only the batch that decided them stores.
pub(crate) const EVIDENCE: [fn(&State) -> Option<Evidence>; 1] = [entitlement::evidence];

/// Runs generic code for a kind that is known at run time.
macro_rules! stored_kind {
    ($kind:expr, $stored:ident => $body:expr) => {
        $crate::systems::by_kind! {
            $kind, $stored => $body,
            Plan: ifmatch_types::Plan,
            Workspace: ifmatch_types::Workspace,
            Namespace: ifmatch_types::Namespace,
            Subscription: ifmatch_domain::SubscriptionRecord,
            Invoice: ifmatch_types::Invoice,
            Feature: ifmatch_domain::FeatureRecord,
            Package: ifmatch_domain::PackageRecord,
            Assignment: ifmatch_domain::AssignmentRecord,
            Boost: ifmatch_domain::BoostRecord,
            Bookable: ifmatch_types::Bookable,
            Booking: ifmatch_domain::BookingRecord,
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
