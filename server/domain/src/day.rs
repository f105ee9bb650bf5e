//! The days of a bookable: how much of each is reserved, taken and given back by difference.
//!
//! Days are not locked: whoever changes one has locked its bookable before.

use crate::{Mutant, State, table::Guarded};
use ifmatch_types::{Bookable, BookableId, Date};
use std::collections::BTreeMap;

/// How much of one day of a bookable is reserved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BookingDay {
    /// The bookable.
    pub bookable_id: BookableId,
    /// The day.
    pub day: Date,
    /// The bookable's capacity when this day last changed, or what is reserved if that is more.
    pub capacity: i64,
    /// So many are taken.
    pub reserved: i64,
    /// The number of this state.
    pub version: i64,
}

impl BookingDay {
    /// What a day is stored under.
    pub fn key(bookable_id: &str, day: Date) -> String {
        format!("{bookable_id}/{day}")
    }
}

impl Guarded for BookingDay {
    fn guard(&self) -> i64 {
        self.version
    }
}

/// What a booking takes: so many on each day of a half-open range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// The first day.
    pub start: Date,
    /// The day after the last one.
    pub until: Date,
    /// So many on each.
    pub quantity: i64,
}

/// Days of a range on which there is no room for a share.
pub(crate) struct Full {
    /// How many everybody else takes, on each day of the range.
    pub(crate) usage: BTreeMap<Date, i64>,
    /// The first day without room.
    pub(crate) first: Date,
}

impl Share {
    /// Nothing at all.
    pub(crate) fn none(day: Date) -> Self {
        Self { start: day, until: day, quantity: 0 }
    }

    /// So many on this day.
    fn on(self, day: Date) -> i64 {
        if (self.start..self.until).contains(&day) { self.quantity } else { 0 }
    }

    /// Whether it takes more than another on any day.
    pub(crate) fn exceeds(self, other: Self) -> bool {
        self.start < self.until
            && (self.quantity > other.quantity
                || self.start < other.start
                || self.until > other.until)
    }

    /// Looks whether there is room for this share instead of what its booking takes now.
    ///
    /// `granted` is the part of it that needs no room, because it is its booking's already. A day
    /// that takes no more than that is never refused: of a capacity that was lowered, the excess
    /// drains.
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

    /// Replaces what a booking takes by another share: only the difference is written.
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

    /// The most reserved of its days, with that day's capacity. Holds that are over count no more.
    pub(crate) fn fullest(self, bookable_id: &str, state: &State) -> Option<(i64, i64)> {
        let days = self.start.days_before(self.until);
        let bookable = state.bookables.find(bookable_id).map(|row| row.record.capacity);
        days.filter_map(|day| state.booking_days.find(&BookingDay::key(bookable_id, day)))
            .map(|day| (state.still_reserved(day), bookable.unwrap_or(day.capacity)))
            .max()
    }
}

/// Adds to what is reserved on a day.
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
    /// Widens the range of a bookable's days that counts as loaded by these, both included, and
    /// returns all of it. One range, so that whatever dates commands combine is in it.
    pub fn widen_days(&mut self, bookable_id: &str, from: Date, to: Date) -> (Date, Date) {
        let range = self.day_ranges.entry(bookable_id.to_owned()).or_insert((from, to));
        *range = (range.0.min(from), range.1.max(to));
        *range
    }

    /// Whether these days of a bookable, both included, are loaded.
    pub(crate) fn has_days(&self, bookable_id: &str, from: Date, to: Date) -> bool {
        self.day_ranges.get(bookable_id).is_some_and(|range| range.0 <= from && to <= range.1)
    }

    /// What is reserved on a day, without holds that are over; the day must have been loaded.
    fn reserved_on(&self, bookable_id: &str, day: Date) -> i64 {
        assert!(
            self.has_days(bookable_id, day, day),
            "a day is decided on only after it was loaded: {bookable_id} {day}"
        );
        let row = self.booking_days.find(&BookingDay::key(bookable_id, day));
        row.map_or(0, |row| self.still_reserved(row))
    }

    /// What is reserved of a day without the holds that are over and are ended by later commits.
    pub(crate) fn still_reserved(&self, day: &BookingDay) -> i64 {
        let due = self.due_bookings.get(day.bookable_id.as_str());
        day.reserved.saturating_sub(due.map_or(0, |due| due.rest_on(day.day)))
    }

    /// For each booking that took more days in this batch: the fullest of them, as what is
    /// reserved and what there is.
    pub fn fullest_days(&self) -> Vec<(i64, i64)> {
        let fullest = |change: crate::RowChange<'_, crate::Row<crate::BookingRecord>>| {
            let after = &change.row.record;
            let share = after.share();
            let before = change.original.map(|row| row.record.share());
            let took = share.exceeds(before.unwrap_or(Share::none(share.start)));
            took.then(|| share.fullest(after.booking.bookable_id.as_str(), self)).flatten()
        };
        self.bookings.changes().filter_map(fullest).collect()
    }
}
