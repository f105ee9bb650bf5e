//! Actions on accounts of the ledger.

use super::{MoveCredits, Need, Outcome, Rejection, ReserveCredits, ResolveReservation};
use crate::core::{Context, Wants};

/// An action on an account.
#[derive(Clone, Debug)]
pub enum Action {
    /// Top up or adjust credits.
    MoveCredits(MoveCredits),
    /// Set credits aside.
    ReserveCredits(ReserveCredits),
    /// Post or void a reservation.
    ResolveReservation(ResolveReservation),
}

impl Action {
    /// The account or reservation that the action is about.
    pub fn subject(&self) -> Option<&str> {
        Some(match self {
            Self::MoveCredits(movement) => movement.account_id(),
            Self::ReserveCredits(reserve) => reserve.account_id(),
            Self::ResolveReservation(resolve) => &resolve.reservation_id,
        })
    }

    /// Whether a scoped key may ask for this, about its own workspace.
    pub(crate) fn is_for_scoped_keys(&self) -> bool {
        match self {
            Self::ReserveCredits(_) | Self::ResolveReservation(_) => true,
            Self::MoveCredits(_) => false,
        }
    }

    pub(crate) fn wants<'c>(&'c self, wants: &mut Wants<'_, 'c, Need>) {
        match self {
            Self::MoveCredits(movement) => movement.wants(wants),
            Self::ReserveCredits(reserve) => reserve.wants(wants),
            Self::ResolveReservation(resolve) => resolve.wants(wants),
        }
    }

    pub(crate) fn decide(&self, ctx: &mut Context<'_>) -> Result<Outcome, Rejection> {
        match self {
            Self::MoveCredits(movement) => movement.decide(ctx),
            Self::ReserveCredits(reserve) => reserve.decide(ctx),
            Self::ResolveReservation(resolve) => resolve.decide(ctx),
        }
    }
}
