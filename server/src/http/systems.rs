//! The one list of systems: what each of them hands to the rest of the HTTP side.
//!
//! The core imports no system. It asks for a reply or a problem by `From`, and the lane by the
//! functions in [`seams`].

use super::{
    access, billing, booking,
    core::{
        observe,
        problem::{HttpProblem, rejection},
        render::{self, Reply},
    },
    entitlement,
};
use crate::lane::{Refusal, Seams};
use ifmatch_domain::{Outcome, Rejection};
use ifmatch_types::Kind;
use serde_json::{Map, Value, json};

/// What the lane does with outcomes without knowing any system.
pub fn seams() -> Seams {
    Seams {
        kept: |outcome, fingerprint| Reply::from(outcome).into_answer(fingerprint),
        observe: |decided| match decided {
            Ok(outcome) => observe_outcome(outcome),
            Err(Refusal::Rejected(rejection)) => observe_rejection(rejection),
            Err(Refusal::TryAgain | Refusal::Internal) => {}
        },
    }
}

impl From<Rejection> for HttpProblem {
    fn from(rejection: Rejection) -> Self {
        rejection::problem(rejection)
            .or_else(billing::problem::problem)
            .or_else(entitlement::problem::problem)
            .or_else(booking::problem::problem)
            .unwrap_or_else(|rejection| Self::untold(&rejection))
    }
}

impl From<&Outcome> for Reply {
    fn from(outcome: &Outcome) -> Self {
        render::reply(outcome)
            .or_else(|| billing::render::reply(outcome))
            .or_else(|| entitlement::render::reply(outcome))
            .or_else(|| access::render::reply(outcome))
            .unwrap_or_else(|| Self::new(200, &json!({})))
    }
}

/// Reads the members of a create's body that are no fields, such as a booking's `confirm`.
pub fn read_create(kind: Kind, body: &mut Map<String, Value>) -> Result<(), HttpProblem> {
    if kind == Kind::Booking { booking::bookings::read_confirm(body) } else { Ok(()) }
}

/// Counts and logs an accepted command.
fn observe_outcome(outcome: &Outcome) {
    match outcome {
        Outcome::Usage { recorded, .. } => entitlement::observe::recorded(recorded),
        Outcome::Hold { answer, is_new } => entitlement::observe::hold(answer, *is_new),
        of_the_core => observe::outcome(of_the_core),
    }
}

/// Counts and logs a rejected command; of a transaction, the operation that was rejected.
fn observe_rejection(rejection: &Rejection) {
    match rejection {
        Rejection::Operation { rejection, .. } => observe_rejection(rejection),
        Rejection::NoRoom(no_room) => booking::observe::no_room(no_room),
        Rejection::Denied(denial) => entitlement::observe::denied(denial),
        Rejection::Conflict(conflict) => observe::conflict(conflict),
        _ => {}
    }
}
