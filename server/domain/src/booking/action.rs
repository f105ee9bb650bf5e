//! Booking actions other than create, update and delete.

use super::{ExpireBookings, Need, Outcome, Rejection};
use crate::core::{Context, Wants};

/// A booking action.
#[derive(Clone, Debug)]
pub enum Action {
    /// End a bookable's expired holds.
    ExpireBookings(ExpireBookings),
}

impl Action {
    /// The object that the action is about.
    pub fn subject(&self) -> Option<&str> {
        match self {
            Self::ExpireBookings(expire) => Some(&expire.bookable_id),
        }
    }

    /// Whether a scoped key may ask for this, about an object that it sees.
    pub(crate) fn is_for_scoped_keys(&self) -> bool {
        match self {
            Self::ExpireBookings(_) => false,
        }
    }

    pub(crate) fn wants<'c>(&'c self, wants: &mut Wants<'_, 'c, Need>) {
        match self {
            Self::ExpireBookings(expire) => expire.wants(wants),
        }
    }

    pub(crate) fn decide(&self, ctx: &mut Context<'_>) -> Result<Outcome, Rejection> {
        match self {
            Self::ExpireBookings(expire) => Ok(expire.decide(ctx)),
        }
    }
}
