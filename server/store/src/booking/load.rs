//! Loads the rows that decisions about bookings need.
//!
//! Nothing is locked here. Every command that changes the bookings or days of a bookable locks the
//! bookable's own row.

use crate::{
    core::{
        db::Db,
        error::StoreError,
        load::{ENDED_AT_ONCE, System},
        lookup::{Lookups, Place},
        record::{Record, read_column, records},
        select::{Each, load_all},
        sql::Cell,
    },
    schema::{BookingDayRow, BookingRow, StoredRow},
};
use diesel::{
    RunQueryDsl,
    sql_types::{BigInt, Text},
};
use ifmatch_domain::{
    State,
    booking::{BookingDay, BookingRecord, DueBookings, Need, Share},
    core::Row,
};
use ifmatch_types::{BookingStatus, Date, Timestamp};
use std::{
    collections::{BTreeMap, BTreeSet},
    mem::take,
};

/// The needs of this system, by kind. Each set is sorted.
#[derive(Default)]
pub(crate) struct Wanted {
    due: BTreeSet<String>,
    days: BTreeSet<(String, Date, Date)>,
    days_above: BTreeSet<(String, i64, Date)>,
    asked: Option<Asked>,
}

/// The lookups of these needs.
struct Asked {
    due: Place,
    days: Place,
    days_above: Place,
}

impl Wanted {
    /// Adds a need of this system.
    pub(crate) fn add(&mut self, need: Need) {
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
        }
    }
}

impl System for Wanted {
    fn needs_clock(&self) -> bool {
        !self.due.is_empty()
    }

    fn ask(&mut self, lookups: &mut Lookups, state: &mut State) {
        let due = self.ask_due(lookups, state);
        // One range per bookable, because the ranges in a batch mostly overlap.
        let mut ranges = BTreeMap::new();
        for (id, from, to) in take(&mut self.days) {
            let range = state.booking_mut().widen_days(&id, from, to);
            ranges.insert(id, range);
        }
        let ranges = ranges.into_iter().map(|(id, (from, to))| {
            vec![Cell::Text(id), Cell::Text(from.to_string()), Cell::Text(to.to_string())]
        });
        let days = days_of(lookups, [" AND day >= ", " AND day <= "], ranges);
        let above = self.days_above.iter().map(|(id, capacity, from)| {
            vec![Cell::Text(id.clone()), Cell::Text(from.to_string()), Cell::Int(*capacity)]
        });
        let days_above = days_of(lookups, [" AND day >= ", " AND reserved > "], above);
        self.asked = Some(Asked { due, days, days_above });
    }

    fn put(
        &mut self,
        db: &mut Db,
        lookups: &mut Lookups,
        state: &mut State,
    ) -> Result<(), StoreError> {
        let Some(asked) = self.asked.take() else { return Ok(()) };
        if !self.due.is_empty() {
            let rows = lookups.take(asked.due, db)?;
            let at = state.clock.expect("what has expired by the clock comes with the clock");
            put_due(db, take(&mut self.due), at, rows, state)?;
        }
        for place in [asked.days, asked.days_above] {
            for row in lookups.take::<BookingDayRow>(place, db)? {
                state
                    .booking_mut()
                    .booking_days
                    .load(row.id.clone(), Some(BookingDay::from_row(row)?));
            }
        }
        state.booking_mut().days_above.extend(take(&mut self.days_above));
        Ok(())
    }
}

impl Wanted {
    /// Adds a lookup of the holds that have expired, by the clock that the same statement reads.
    fn ask_due(&self, lookups: &mut Lookups, state: &State) -> Place {
        if self.due.is_empty() {
            return lookups.add(Vec::new());
        }
        let head = format!("SELECT {} FROM bookings", BookingRow::column_list());
        let head = format!("{head} WHERE bookable_id = ");
        let expired = " AND status = 'held' AND hold_expires_at <= ";
        let order = format!(" ORDER BY hold_expires_at LIMIT {ENDED_AT_ONCE}");
        match state.clock {
            Some(clock) if lookups.is_sqlite() => {
                let clock = Cell::Int(clock.as_micros());
                let keys = self.due.iter().map(|id| vec![Cell::Text(id.clone()), clock.clone()]);
                lookups.each(&Each { texts: &[&head, expired], tail: &order }, keys)
            }
            _ => {
                let keys = self.due.iter().map(|id| vec![Cell::Text(id.clone())]);
                let tail = format!("{expired}({}){order}", lookups.now());
                lookups.each(&Each { texts: &[&head], tail: &tail }, keys)
            }
        }
    }
}

/// Adds a lookup of the days of bookables that meet two conditions.
fn days_of(
    lookups: &mut Lookups,
    [first, second]: [&str; 2],
    keys: impl Iterator<Item = Vec<Cell>>,
) -> Place {
    let head = format!("SELECT {} FROM booking_days", BookingDayRow::column_list());
    let head = format!("{head} WHERE bookable_id = ");
    lookups.each(&Each { texts: &[&head, first, second], tail: "" }, keys)
}

/// The half-open range of days that bookings take.
type Range = (Date, Date);

/// Puts the expired holds that this commit ends.
///
/// If later commits must end more of them, it also puts what those take of each range.
fn put_due(
    db: &mut Db,
    wanted: BTreeSet<String>,
    at: Timestamp,
    rows: Vec<BookingRow>,
    state: &mut State,
) -> Result<(), StoreError> {
    let mut counts: BTreeMap<String, i64> = BTreeMap::new();
    for row in records::<Row<BookingRecord>>(rows)? {
        let count = counts.entry(row.record.booking.bookable_id.to_string()).or_default();
        *count = count.saturating_add(1);
        state.booking_mut().bookings.load(row.record.booking.id.to_string(), Some(row));
    }
    counts.retain(|_, count| *count >= ENDED_AT_ONCE);
    let mut taken = taken_by_expired(db, counts.into_keys(), at)?;
    for bookable_id in wanted {
        let rest = taken.remove(&bookable_id).unwrap_or_default();
        let due = due_bookings(&bookable_id, at, rest, state);
        state.booking_mut().due_bookings.insert(bookable_id, due);
    }
    Ok(())
}

fn due_bookings(
    bookable_id: &str,
    at: Timestamp,
    mut rest: BTreeMap<Range, i64>,
    state: &State,
) -> DueBookings {
    // Every loaded hold that has expired is ended now, so it is not part of the rest.
    let loaded = state.booking().bookings.iter().map(|row| &row.record).filter(|record| {
        record.booking.bookable_id.as_str() == bookable_id
            && record.booking.status == BookingStatus::Held
            && record.booking.hold_expires_at <= Some(at)
    });
    let mut ids = Vec::new();
    for record in loaded {
        let share = record.share();
        if let Some(quantity) = rest.get_mut(&(share.start, share.until)) {
            *quantity = quantity.saturating_sub(share.quantity);
        }
        ids.push(record.booking.id.to_string());
    }
    ids.sort_unstable();
    let rest = rest.into_iter().filter(|(_, quantity)| *quantity > 0);
    let rest = rest.map(|((start, until), quantity)| Share { start, until, quantity });
    DueBookings::new(ids, rest)
}

/// The quantity that all expired holds of each bookable take, by range.
fn taken_by_expired(
    db: &mut Db,
    bookables: impl Iterator<Item = String>,
    at: Timestamp,
) -> Result<BTreeMap<String, BTreeMap<Range, i64>>, StoreError> {
    let each = Each {
        texts: &[
            "SELECT bookable_id, start_date, taken_until, CAST(sum(quantity) AS bigint) \
             FROM bookings WHERE status = 'held' AND bookable_id = ",
            " AND hold_expires_at <= ",
        ],
        tail: " GROUP BY bookable_id, start_date, taken_until",
    };
    let keys = bookables.map(|id| vec![Cell::Text(id), Cell::Int(at.as_micros())]);
    let found: Vec<(String, String, String, i64)> =
        load_all!(db, each.of(db.is_sqlite(), keys), (Text, Text, Text, BigInt));
    let mut taken: BTreeMap<String, BTreeMap<Range, i64>> = BTreeMap::new();
    for (id, start, until, quantity) in found {
        let start = read_column::<BookingRow, Date>(&id, "start_date", start)?;
        let until = read_column::<BookingRow, Date>(&id, "taken_until", until)?;
        taken.entry(id).or_default().insert((start, until), quantity);
    }
    Ok(taken)
}
