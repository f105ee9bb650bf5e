//! The booking tables of a batch.

use super::{BookingDay, BookingRecord, DueBookings};
use crate::core::{self, Table, tables};
use foldhash::HashMap;
use ifmatch_types::{Bookable, Date};
use std::collections::BTreeSet;

tables! {
    /// The booking rows that a batch has loaded or changed.
    pub struct State {
        objects {
            /// Bookables by id.
            bookables: Bookable,
            /// Bookings by id.
            bookings: BookingRecord,
        }
        tables {
            /// Days of bookables, by [`BookingDay::key`]. A day that was never reserved has no row.
            booking_days: Table<String, BookingDay>,
        }
        facts {
            /// The first and last day of each bookable's range of loaded days.
            day_ranges: HashMap<String, (Date, Date)>,
            /// The bookable, quantity and date of each loaded [`Need::DaysAbove`](super::Need).
            days_above: BTreeSet<(String, i64, Date)>,
            /// Expired holds, by bookable.
            due_bookings: HashMap<String, DueBookings>,
        }
    }
}

impl core::State {
    /// The booking tables.
    pub fn booking(&self) -> &State {
        self.system()
    }

    /// The booking tables, mutable.
    pub fn booking_mut(&mut self) -> &mut State {
        self.system_mut()
    }
}
