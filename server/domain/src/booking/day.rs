//! The days of a bookable, and the share that one booking takes of them.

use crate::core::Guarded;
use ifmatch_types::{BookableId, Date};
use std::collections::BTreeMap;

/// The reserved quantity on one day of a bookable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BookingDay {
    /// The bookable.
    pub bookable_id: BookableId,
    /// The day.
    pub day: Date,
    /// The larger of the bookable's capacity and `reserved` when this day last changed.
    pub capacity: i64,
    /// The reserved quantity.
    pub reserved: i64,
    /// A number that increases with each change of this row.
    pub version: i64,
}

impl BookingDay {
    /// The key of a day.
    pub fn key(bookable_id: &str, day: Date) -> String {
        format!("{bookable_id}/{day}")
    }
}

impl Guarded for BookingDay {
    fn guard(&self) -> i64 {
        self.version
    }
}

/// The expired holds of a bookable: some to be ended now, and a sum of the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueBookings {
    /// The ids of the holds to be ended now; these bookings are loaded.
    pub ids: Vec<String>,
    /// The quantity on each day of the holds that later commits end.
    ///
    /// Bookings that were loaded for another reason are not included.
    pub rest: BTreeMap<Date, i64>,
}

impl DueBookings {
    /// Sums up, per day, the holds that are left for later commits.
    pub fn new(ids: Vec<String>, left: impl IntoIterator<Item = Share>) -> Self {
        let mut rest: BTreeMap<Date, i64> = BTreeMap::new();
        for share in left {
            for day in share.start.days_before(share.until) {
                let taken = rest.entry(day).or_default();
                *taken = taken.saturating_add(share.quantity);
            }
        }
        Self { ids, rest }
    }

    /// The quantity on a day of the holds that are left for later commits.
    pub(crate) fn rest_on(&self, day: Date) -> i64 {
        self.rest.get(&day).copied().unwrap_or_default()
    }
}

/// The share of a bookable that a booking takes: a quantity on each day of a half-open range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// The first day.
    pub start: Date,
    /// The day after the last one.
    pub until: Date,
    /// The quantity on each day.
    pub quantity: i64,
}

impl Share {
    /// An empty share.
    pub(crate) fn none(day: Date) -> Self {
        Self { start: day, until: day, quantity: 0 }
    }

    /// The quantity on this day.
    pub(crate) fn on(self, day: Date) -> i64 {
        if (self.start..self.until).contains(&day) { self.quantity } else { 0 }
    }

    /// Whether it takes more than `other` on any day.
    pub(crate) fn exceeds(self, other: Self) -> bool {
        self.start < self.until
            && (self.quantity > other.quantity
                || self.start < other.start
                || self.until > other.until)
    }
}
