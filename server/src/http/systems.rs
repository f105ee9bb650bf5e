//! The one list of systems: what each of them provides to the rest of the HTTP side.
//!
//! The core imports no system. It gets replies and problems by `From`, and the lane uses the
//! functions in [`seams`].

use super::{
    access, billing, booking,
    core::{
        observe, preview,
        problem::{HttpProblem, rejection},
        render::{self, Reply},
    },
    entitlement, ledger, lock, provisioning,
};
use crate::lane::{Refusal, Seams};
use ifmatch_domain::{Outcome, Rejection, access as keys};
use ifmatch_types::Kind;
use serde_json::{Map, Value};

/// The functions that let the lane handle outcomes without knowing any system.
pub fn seams() -> Seams {
    Seams {
        kept: |outcome, fingerprint| Reply::from(outcome).into_answer(fingerprint),
        observe: |decided| match decided {
            Ok(outcome) => observe_outcome(outcome),
            Err(Refusal::Rejected(rejection)) => observe_rejection(rejection),
            Err(Refusal::TryAgain | Refusal::KeyEnded | Refusal::Internal) => {}
        },
        committed: booking::observe::committed,
    }
}

impl From<Rejection> for HttpProblem {
    fn from(rejection: Rejection) -> Self {
        match rejection {
            Rejection::Core(rejection) => rejection::problem(rejection),
            Rejection::Billing(rejection) => billing::problem::problem(rejection),
            Rejection::Entitlement(rejection) => entitlement::problem::problem(rejection),
            Rejection::Booking(rejection) => booking::problem::problem(rejection),
            Rejection::Access(keys::Rejection::Core(rejection)) => rejection::problem(rejection),
            Rejection::Lock(rejection) => lock::problem::problem(rejection),
            Rejection::Ledger(rejection) => ledger::problem::problem(rejection),
            Rejection::Provisioning(rejection) => provisioning::problem::problem(rejection),
            Rejection::Operation { failed_index, rejection } => {
                Self::from(*rejection).with("failed_index", failed_index)
            }
        }
    }
}

impl From<&Outcome> for Reply {
    fn from(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Core(outcome) => render::reply(outcome),
            Outcome::Billing(outcome) => billing::render::reply(outcome),
            Outcome::Entitlement(outcome) => entitlement::render::reply(outcome),
            Outcome::Booking(outcome) => booking::render::reply(outcome),
            Outcome::Access(outcome) => access::render::reply(outcome),
            Outcome::Lock(outcome) => lock::render::reply(outcome),
            Outcome::Ledger(outcome) => ledger::render::reply(outcome),
            Outcome::Provisioning(outcome) => provisioning::render::reply(outcome),
            Outcome::Previewed { preview, refusal } => {
                let problem = |rejection| HttpProblem::from(rejection).into_problem();
                preview::reply(preview, refusal.as_deref().cloned().map(problem))
            }
        }
    }
}

/// Reads the members of a create's body that are not fields, such as a booking's `confirm`.
pub fn read_create(kind: Kind, body: &mut Map<String, Value>) -> Result<(), HttpProblem> {
    if kind == Kind::Booking { booking::bookings::read_confirm(body) } else { Ok(()) }
}

/// Counts and logs an accepted command.
fn observe_outcome(outcome: &Outcome) {
    match outcome {
        Outcome::Core(outcome) => observe::outcome(outcome),
        Outcome::Entitlement(outcome) => entitlement::observe::outcome(outcome),
        Outcome::Lock(outcome) => lock::observe::outcome(outcome),
        Outcome::Ledger(outcome) => ledger::observe::outcome(outcome),
        Outcome::Provisioning(outcome) => provisioning::observe::outcome(outcome),
        Outcome::Billing(_) | Outcome::Booking(_) | Outcome::Access(_) => {}
        Outcome::Previewed { .. } => {}
    }
}

/// Counts and logs a rejected command. In a transaction, that is the rejected operation.
fn observe_rejection(rejection: &Rejection) {
    match rejection {
        Rejection::Core(rejection) => observe::rejection(rejection),
        Rejection::Entitlement(rejection) => entitlement::observe::rejection(rejection),
        Rejection::Booking(rejection) => booking::observe::rejection(rejection),
        Rejection::Lock(rejection) => lock::observe::rejection(rejection),
        Rejection::Ledger(rejection) => ledger::observe::rejection(rejection),
        Rejection::Billing(_) | Rejection::Access(_) | Rejection::Provisioning(_) => {}
        Rejection::Operation { rejection, .. } => observe_rejection(rejection),
    }
}
