//! What decisions about bookings must see. The bookable's own row is locked, and whoever changes
//! its bookings or days locks it; nothing here is.

use super::ENDED_AT_ONCE;
use crate::{
    Db, StoreError,
    bulk::selects_each,
    lookup::{Lookups, Place},
    on_backend,
    row::{Stored, booking_day_from, range_from},
    schema::{BookingDayRow, BookingRow},
    sql::{Cell, Sql},
};
use diesel::{
    RunQueryDsl,
    sql_types::{BigInt, Text},
};
use ifmatch_domain::{BookingRecord, DueBookings, Need, Share, State};
use ifmatch_types::{BookingStatus, Date, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

/// Needs by what they ask for, each sorted.
#[derive(Default)]
pub(super) struct BookingNeeds {
    due: BTreeSet<String>,
    days: BTreeSet<(String, Date, Date)>,
    days_above: BTreeSet<(String, i64, Date)>,
}

/// Where the answers are.
pub(super) struct AskedBookings {
    due: Option<Place>,
    days: Option<Place>,
    days_above: Option<Place>,
}

impl BookingNeeds {
    /// Takes a need that is about bookings; any other is handed back.
    pub(super) fn add(&mut self, need: Need) -> Option<Need> {
        match need {
            Need::DueBookings(bookable_id) => {
                self.due.insert(bookable_id);
            }
            Need::Days(bookable_id, from, to) => {
                self.days.insert((bookable_id, from, to));
            }
            Need::DaysAbove(bookable_id, capacity, from) => {
                self.days_above.insert((bookable_id, capacity, from));
            }
            other => return Some(other),
        }
        None
    }

    /// Whether what is asked for depends on the clock.
    pub(super) fn go_by_clock(&self) -> bool {
        !self.due.is_empty()
    }

    pub(super) fn ask(
        &self,
        is_sqlite: bool,
        lookups: &mut Lookups,
        state: &mut State,
    ) -> AskedBookings {
        let text = |text: &str| Cell::Text(text.to_owned());
        let due = (!self.due.is_empty()).then(|| {
            let over = " AND status = 'held' AND hold_expires_at <= ";
            let tail = format!(" ORDER BY hold_expires_at LIMIT {ENDED_AT_ONCE}");
            let queries = match state.clock {
                Some(clock) if is_sqlite => {
                    let clock = Cell::Int(clock.as_micros());
                    let keys = self.due.iter().map(|id| vec![text(id), clock.clone()]);
                    selects_each::<BookingRow>(is_sqlite, &["bookable_id = ", over], keys, &tail)
                }
                _ => {
                    let keys = self.due.iter().map(|id| vec![text(id)]);
                    let tail = format!("{over}({}){tail}", lookups.now());
                    selects_each::<BookingRow>(is_sqlite, &["bookable_id = "], keys, &tail)
                }
            };
            lookups.add(queries)
        });
        let days = (!self.days.is_empty()).then(|| {
            // One range per bookable: commands of a batch mostly ask for overlapping ones.
            let mut ranges = BTreeMap::new();
            for (id, from, to) in &self.days {
                ranges.insert(id, state.widen_days(id, *from, *to));
            }
            let keys = ranges.into_iter().map(|(id, (from, to))| {
                vec![text(id), text(&from.to_string()), text(&to.to_string())]
            });
            let within = ["bookable_id = ", " AND day >= ", " AND day <= "];
            lookups.add(selects_each::<BookingDayRow>(is_sqlite, &within, keys, ""))
        });
        let days_above = (!self.days_above.is_empty()).then(|| {
            let keys = self.days_above.iter().map(|(id, capacity, from)| {
                vec![text(id), text(&from.to_string()), Cell::Int(*capacity)]
            });
            let above = ["bookable_id = ", " AND day >= ", " AND reserved > "];
            lookups.add(selects_each::<BookingDayRow>(is_sqlite, &above, keys, ""))
        });
        AskedBookings { due, days, days_above }
    }
}

impl Db {
    /// Puts what was looked up into a batch's state.
    pub(super) fn put_bookings(
        &mut self,
        wanted: BookingNeeds,
        asked: &AskedBookings,
        lookups: &mut Lookups,
        state: &mut State,
    ) -> Result<(), StoreError> {
        if let Some(place) = asked.due {
            let rows = lookups.take(place, self)?;
            let at = state.clock.expect("what is over by the clock comes with the clock");
            self.put_due(wanted.due, at, rows, state)?;
        }
        for place in [asked.days, asked.days_above].into_iter().flatten() {
            for row in lookups.take::<BookingDayRow>(place, self)? {
                let key = row.id.clone();
                state.booking_days.load(key, Some(booking_day_from(row)?));
            }
        }
        state.days_above.extend(wanted.days_above);
        Ok(())
    }

    fn put_due(
        &mut self,
        wanted: BTreeSet<String>,
        at: Timestamp,
        rows: Vec<BookingRow>,
        state: &mut State,
    ) -> Result<(), StoreError> {
        let mut found: BTreeMap<String, i64> = BTreeMap::new();
        for row in rows {
            let count = found.entry(row.bookable_id.clone()).or_default();
            *count = count.saturating_add(1);
            let row = BookingRecord::from_row(row)?;
            state.bookings.load(row.record.booking.id.to_string(), Some(row));
        }
        for bookable_id in wanted {
            let is_cut = found.get(&bookable_id).is_some_and(|found| *found >= ENDED_AT_ONCE);
            let due = self.due_bookings(&bookable_id, at, is_cut, state)?;
            state.due_bookings.insert(bookable_id, due);
        }
        Ok(())
    }

    /// The holds of a bookable that are ended now, and what those take that are left for later.
    fn due_bookings(
        &mut self,
        bookable_id: &str,
        at: Timestamp,
        is_cut: bool,
        state: &State,
    ) -> Result<DueBookings, StoreError> {
        // Whatever is loaded is ended with them, and so belongs to no rest.
        let loaded = state.bookings.iter().map(|row| &row.record).filter(|record| {
            record.booking.bookable_id.as_str() == bookable_id
                && record.booking.status == BookingStatus::Held
                && record.booking.hold_expires_at <= Some(at)
        });
        let loaded: Vec<&BookingRecord> = loaded.collect();
        let mut rest: BTreeMap<(Date, Date), i64> = BTreeMap::new();
        if is_cut {
            let sql = Sql::new(
                "SELECT start_date, taken_until, CAST(sum(quantity) AS bigint) FROM bookings \
                 WHERE bookable_id = ",
            )
            .bind(bookable_id)
            .text(" AND status = 'held' AND hold_expires_at <= ")
            .bind(at.as_micros())
            .text(" GROUP BY start_date, taken_until")
            .returning::<(Text, Text, BigInt)>();
            let all: Vec<(String, String, i64)> = on_backend!(self, c => sql.load(c))?;
            for (start, until, quantity) in all {
                rest.insert(range_from(bookable_id, &start, &until)?, quantity);
            }
            for record in &loaded {
                let share = record.share();
                let quantity = rest.entry((share.start, share.until)).or_default();
                *quantity = quantity.saturating_sub(share.quantity);
            }
        }
        let mut ids: Vec<String> =
            loaded.iter().map(|record| record.booking.id.to_string()).collect();
        ids.sort_unstable();
        let rest = rest.into_iter().filter(|(_, quantity)| *quantity > 0);
        let rest = rest.map(|((start, until), quantity)| Share { start, until, quantity });
        Ok(DueBookings::new(ids, rest))
    }
}
