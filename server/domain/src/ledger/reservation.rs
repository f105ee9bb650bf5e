//! Reservations as they are stored.

use crate::core::Guarded;
use ifmatch_types::{Reservation, ReservationStatus};

/// A reservation as it is stored, with a field that the API does not show.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredReservation {
    /// The reservation as the API shows it.
    pub reservation: Reservation,
    /// The account that it sets credits aside in.
    pub account_id: String,
}

impl Guarded for StoredReservation {
    fn guard(&self) -> i64 {
        if self.reservation.status == ReservationStatus::Pending { 1 } else { 2 }
    }
}
