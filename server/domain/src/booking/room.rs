//! Room on the days of a bookable: found, taken and given back.
//!
//! Days have no row lock of their own. A command that changes a day has locked its bookable first.

use super::{BookingDay, BookingRecord, Share, State};
use crate::core::{Mutant, Row, RowChange};
use ifmatch_types::{Bookable, Date};
use std::collections::BTreeMap;

/// The reason why there is no room for a share.
pub(crate) struct Full {
    /// The quantity that other bookings take, on each day of the range.
    pub(crate) usage: BTreeMap<Date, i64>,
    /// The first day without room.
    pub(crate) first: Date,
}

impl Share {
    /// Checks whether there is room for this share in place of the booking's current share `now`.
    ///
    /// `granted` is the share that the booking already has a right to. A day on which it takes no
    /// more than that is never refused. Existing bookings therefore stay valid after the capacity
    /// was lowered.
    pub(crate) fn find_room(
        self,
        now: Self,
        granted: Self,
        bookable: &Bookable,
        state: &State,
    ) -> Result<(), Full> {
        let others = |day: Date| {
            let reserved = state.reserved_on(bookable.id.as_str(), day);
            reserved.saturating_sub(now.on(day))
        };
        let one_more = i64::from(Mutant::OverbookByOne.is_planted());
        let is_full = |day: &Date| {
            self.quantity > granted.on(*day)
                && others(*day).saturating_add(self.quantity).saturating_sub(one_more)
                    > bookable.capacity
        };
        let mut days = self.start.days_before(self.until);
        match days.find(is_full) {
            None => Ok(()),
            Some(first) => {
                let days = self.start.days_before(self.until);
                Err(Full { usage: days.map(|day| (day, others(day))).collect(), first })
            }
        }
    }

    /// Replaces a booking's share by `after`, and changes only the days that differ.
    pub(crate) fn replace_by(self, after: Self, bookable: &Bookable, state: &mut State) {
        let taken = |day: &Date| after.on(*day);
        let days = self
            .start
            .days_before(self.until)
            .chain(after.start.days_before(after.until).filter(|day| self.on(*day) == 0));
        for day in days {
            let difference = taken(&day).saturating_sub(self.on(day));
            if difference != 0 {
                add(difference, day, bookable, state);
            }
        }
    }

    /// The quantity and capacity of its most reserved day. Expired holds do not count.
    pub(crate) fn fullest(self, bookable_id: &str, state: &State) -> Option<(i64, i64)> {
        let days = self.start.days_before(self.until);
        let bookable = state.bookables.find(bookable_id).map(|row| row.record.capacity);
        days.filter_map(|day| state.booking_days.find(&BookingDay::key(bookable_id, day)))
            .map(|day| (state.still_reserved(day), bookable.unwrap_or(day.capacity)))
            .max()
    }
}

/// Adds `difference` to the reserved quantity of a day.
fn add(difference: i64, day: Date, bookable: &Bookable, state: &mut State) {
    let key = BookingDay::key(bookable.id.as_str(), day);
    let before = state.booking_days.find(&key);
    let (reserved, version) = before.map_or((0, 0), |day| (day.reserved, day.version));
    let reserved = reserved.saturating_add(difference);
    assert!(reserved >= 0, "a day gives back what was taken of it: {key}");
    let row = BookingDay {
        bookable_id: bookable.id.clone(),
        day,
        capacity: bookable.capacity.max(reserved),
        reserved,
        version: version.saturating_add(1),
    };
    state.booking_days.put(key, row);
}

impl State {
    /// Extends a bookable's range of loaded days by these, both included; returns the new range.
    ///
    /// There is only one range per bookable, so it covers any combination of dates in the commands.
    pub fn widen_days(&mut self, bookable_id: &str, from: Date, to: Date) -> (Date, Date) {
        let range = self.day_ranges.entry(bookable_id.to_owned()).or_insert((from, to));
        *range = (range.0.min(from), range.1.max(to));
        *range
    }

    /// Whether these days of a bookable, both included, are loaded.
    pub(crate) fn has_days(&self, bookable_id: &str, from: Date, to: Date) -> bool {
        self.day_ranges.get(bookable_id).is_some_and(|range| range.0 <= from && to <= range.1)
    }

    /// The reserved quantity of a loaded day, without expired holds.
    ///
    /// Panics if the day was not loaded.
    fn reserved_on(&self, bookable_id: &str, day: Date) -> i64 {
        assert!(
            self.has_days(bookable_id, day, day),
            "a day is decided on only after it was loaded: {bookable_id} {day}"
        );
        let row = self.booking_days.find(&BookingDay::key(bookable_id, day));
        row.map_or(0, |row| self.still_reserved(row))
    }

    /// The reserved quantity of a day, without the expired holds that later commits end.
    pub(crate) fn still_reserved(&self, day: &BookingDay) -> i64 {
        let due = self.due_bookings.get(day.bookable_id.as_str());
        day.reserved.saturating_sub(due.map_or(0, |due| due.rest_on(day.day)))
    }

    /// The fullest day of each booking that took more in this batch, as (reserved, capacity).
    pub fn fullest_days(&self) -> Vec<(i64, i64)> {
        let fullest = |change: RowChange<'_, Row<BookingRecord>>| {
            let after = &change.row.record;
            let share = after.share();
            let before = change.original.map(|row| row.record.share());
            let took = share.exceeds(before.unwrap_or(Share::none(share.start)));
            took.then(|| share.fullest(after.booking.bookable_id.as_str(), self)).flatten()
        };
        self.bookings.changes().filter_map(fullest).collect()
    }
}
