//! Bookings: so many of a bookable on each day of a range, from a hold to the end.
//!
//! The bookable is locked by whoever changes its bookings or days. A hold that is over blocks
//! nobody, whether or not anybody has ended it yet: whoever needs room ends it first.

use crate::{
    Mutant, Outcome, Rejection, Resource, Scope,
    bookable::{self, DAYS_MAX},
    day::{Full, Share},
    entitlement::on_nobodys_behalf,
    fields::Errors,
    resource::usual_parts,
    versioned,
};
use ifmatch_types::{
    Bookable, BookableStatus, Booking, BookingFields, BookingId, BookingStatus as Status, Date,
    Kind, RangeMode, Timestamp,
};
use serde_json::Value;
use std::collections::BTreeMap;

const QUANTITY_MAX: i64 = 1_000_000_000;

/// A booking as it is stored: what the API shows, and what it takes of its bookable.
#[derive(Clone, Debug, PartialEq)]
pub struct BookingRecord {
    /// What the API shows.
    pub booking: Booking,
    /// The day after its last one, as the bookable's range mode had it when it was booked.
    pub until_day: Date,
    /// The day after the last one that it still takes; its first day if it takes none.
    pub taken_until: Date,
}

/// End holds of a bookable that are over: a slice of them, and say whether there are more.
#[derive(Clone, Debug)]
pub struct ExpireBookings {
    /// The bookable.
    pub bookable_id: String,
}

/// What a booking wanted room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BookingPhase {
    /// To come into being.
    Create,
    /// Other days, or more of them.
    Change,
    /// To be confirmed after its hold was over.
    Confirm,
}

impl BookingPhase {
    /// What logs and metrics call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Change => "change",
            Self::Confirm => "confirm",
        }
    }
}

/// Why there is no room for a booking.
#[derive(Clone, Debug, PartialEq)]
pub struct NoRoom {
    /// What it wanted room for.
    pub phase: BookingPhase,
    /// The bookable.
    pub bookable_id: String,
    /// The first day asked for.
    pub start_date: Date,
    /// The last date asked for.
    pub end_date: Date,
    /// For whom.
    pub user_id: Option<String>,
    /// So many were asked for.
    pub requested: i64,
    /// So many there are.
    pub capacity: i64,
    /// So many everybody else has, on each day asked for.
    pub usage: BTreeMap<Date, i64>,
    /// The first day without room.
    pub first_conflict_date: Date,
    /// So long the bookable's holds last.
    pub hold_ttl_ms: i64,
}

impl Resource for BookingRecord {
    type Entity = Booking;
    type Fields = BookingFields;

    const KIND: Kind = Kind::Booking;
    const FIELDS: &'static [&'static str] = &[
        "bookable_id",
        "start_date",
        "end_date",
        "quantity",
        "user_id",
        "notes",
        "status",
        "metadata",
    ];
    const SET_ONCE: &'static [&'static str] = &["bookable_id", "user_id"];
    const KEPT_IF_ABSENT: &'static [&'static str] = &["user_id", "status"];

    usual_parts!(bookings, |record| record.booking);

    fn check(fields: &mut BookingFields, errors: &mut Errors) {
        errors.reference("/bookable_id", fields.bookable_id.as_str());
        errors.range("/quantity", fields.quantity, 1, QUANTITY_MAX);
        if let Some(user_id) = &fields.user_id {
            errors.text("/user_id", user_id, 1, 200);
        }
        errors.text("/notes", &fields.notes, 0, 10_000);
        errors.metadata(&fields.metadata);
        // What no bookable allows. The rest is for `read_range`, which knows the bookable.
        let nights = fields.start_date.days_until(fields.end_date);
        if nights < 0 {
            errors.push("/end_date", "must not be before start_date");
        } else if nights > DAYS_MAX {
            errors.push("/end_date", format!("must make at most {DAYS_MAX} days, makes {nights}"));
        }
    }

    fn check_change(
        &self,
        fields: &BookingFields,
        base: &Value,
        scope: &Scope<'_>,
    ) -> Result<(), Rejection> {
        let date = |field: &str| base.get(field)?.as_str()?.parse::<Date>().ok();
        let before = date("start_date").zip(date("end_date"));
        let dates = (fields.start_date, fields.end_date);
        if before != Some(dates) {
            read_range(&bookable_of(&self.booking, scope), dates, before, Date::of(scope.now))?;
        }
        Ok(())
    }

    fn create(fields: BookingFields, id: String, scope: &mut Scope<'_>) -> Result<Self, Rejection> {
        let status = fields.status.unwrap_or(Status::Held);
        if !matches!(status, Status::Held | Status::Confirmed) {
            return Err(Rejection::invalid("/status", "a new booking is held or confirmed"));
        }
        let bookable = bookable::referenced(&fields.bookable_id, scope)?;
        let dates = (fields.start_date, fields.end_date);
        let until_day = read_range(&bookable, dates, None, Date::of(scope.now))?;
        let booking = Booking {
            id: BookingId::from_unchecked(id),
            version: 1,
            bookable_id: fields.bookable_id,
            start_date: fields.start_date,
            end_date: fields.end_date,
            quantity: fields.quantity,
            user_id: fields.user_id,
            notes: fields.notes,
            status,
            hold_expires_at: None,
            confirmed_at: None,
            cancelled_at: None,
            ended_at: None,
            metadata: fields.metadata,
            created_at: scope.now,
            updated_at: scope.now,
            updated_by: scope.meta.actor.name.clone(),
        };
        let mut record = Self { taken_until: booking.start_date, booking, until_day };
        record.enter(status, &bookable, scope.now);
        let nothing = Share::none(fields.start_date);
        record.take_days(nothing, nothing, BookingPhase::Create, &bookable, scope)?;
        Ok(record)
    }

    fn change(&self, fields: BookingFields, scope: &mut Scope<'_>) -> Result<Self, Rejection> {
        let before = &self.booking;
        let from = self.status_at(scope.now);
        let asked = fields.status.filter(|asked| *asked != before.status);
        let to = asked.unwrap_or(from);
        if asked.is_some() && !followers(from).contains(&to) {
            return Err(refused_transition(from, to.name()));
        }
        let dates = (fields.start_date, fields.end_date);
        let is_moved = dates != (before.start_date, before.end_date);
        let is_rebooked = is_moved || fields.quantity != before.quantity;
        self.refuse_fixed(&fields, from, to)?;
        let mut after = self.clone();
        after.booking.notes = fields.notes;
        after.booking.metadata = fields.metadata;
        if asked.is_none() && !is_rebooked {
            return Ok(after);
        }
        let bookable = bookable_of(before, scope);
        // Who comes after the hold books anew: days that are past cannot be taken any more.
        let known = (from != Status::Expired).then_some((before.start_date, before.end_date));
        if is_moved || known.is_none() {
            after.until_day = read_range(&bookable, dates, known, Date::of(scope.now))?;
            (after.booking.start_date, after.booking.end_date) = dates;
        }
        after.booking.quantity = fields.quantity;
        if asked.is_some() {
            after.enter(to, &bookable, scope.now);
        }
        let now = self.share();
        // What a hold had is its no more once it is over, also while its days still say so.
        let (granted, phase) = match from {
            Status::Expired => (Share::none(now.start), BookingPhase::Confirm),
            _ => (now, BookingPhase::Change),
        };
        after.take_days(now, granted, phase, &bookable, scope)?;
        Ok(after)
    }

    fn delete(&self, scope: &mut Scope<'_>) -> Result<(), Rejection> {
        let status = self.status_at(scope.now);
        if matches!(status, Status::Held | Status::Confirmed | Status::InUse) {
            return Err(refused_transition(status, "deleted"));
        }
        if status != self.booking.status {
            // It ends before it is deleted, or else nobody would ever give its days back.
            let bookable = bookable_of(&self.booking, scope);
            self.clone().expire(&bookable, scope);
        }
        Ok(())
    }
}

impl ExpireBookings {
    pub(crate) fn decide(&self, scope: &mut Scope<'_>) -> Outcome {
        let bookable = scope.state.bookables.get(&self.bookable_id);
        if let Some(bookable) = bookable.map(|row| row.record.clone()) {
            expire_holds(&bookable, None, scope);
        }
        let due = scope.state.due_bookings.get(&self.bookable_id);
        Outcome::Expired { more: due.is_some_and(|due| !due.rest.is_empty()) }
    }
}

impl BookingRecord {
    /// What it takes of its bookable.
    pub fn share(&self) -> Share {
        Share {
            start: self.booking.start_date,
            until: self.taken_until,
            quantity: self.booking.quantity,
        }
    }

    /// Its status: a hold that is over is expired, whether or not anybody has written that down.
    pub fn status_at(&self, now: Timestamp) -> Status {
        match self.booking.status {
            Status::Held if self.booking.hold_expires_at.is_none_or(|end| end <= now) => {
                Status::Expired
            }
            status => status,
        }
    }

    /// Refuses other days, or more of them, of a booking that is over or about to be, and another
    /// beginning of one that has begun.
    fn refuse_fixed(
        &self,
        wanted: &BookingFields,
        from: Status,
        to: Status,
    ) -> Result<(), Rejection> {
        let before = &self.booking;
        let is_over = followers(to).is_empty() || to == Status::Expired;
        let has_begun = is_over || from == Status::InUse;
        let fields = [
            ("start_date", has_begun && wanted.start_date != before.start_date),
            ("end_date", is_over && wanted.end_date != before.end_date),
            ("quantity", is_over && wanted.quantity != before.quantity),
        ];
        let fields: Vec<_> =
            fields.into_iter().filter(|(_, refused)| *refused).map(|(name, _)| name).collect();
        if fields.is_empty() {
            return Ok(());
        }
        let allowed = followers(from).iter().filter(|status| **status != to);
        Err(Rejection::FixedByStatus {
            from: from.name(),
            to: to.name(),
            allowed: allowed.map(|status| status.name()).collect(),
            fields,
        })
    }

    /// Ends a hold that is over: its days are given back, on nobody's behalf.
    fn expire(self, bookable: &Bookable, scope: &mut Scope<'_>) {
        let mut after = self.clone();
        after.enter(Status::Expired, bookable, scope.now);
        self.share().replace_by(after.share(), bookable, scope.state);
        on_nobodys_behalf(scope, |scope| versioned::change_internally(after, self, scope));
    }

    /// Begins a status, with what it sets.
    fn enter(&mut self, status: Status, bookable: &Bookable, now: Timestamp) {
        let booking = &mut self.booking;
        booking.status = status;
        match status {
            Status::Held => {
                let ttl_us = bookable.hold_ttl_ms.saturating_mul(1_000);
                let end = Timestamp::from_micros(now.as_micros().saturating_add(ttl_us));
                booking.hold_expires_at = Some(end.unwrap_or(now));
            }
            Status::Confirmed => {
                booking.hold_expires_at = None;
                booking.confirmed_at = Some(now);
                booking.ended_at = None;
            }
            Status::InUse | Status::Unknown(_) => {}
            Status::Completed | Status::NoShow | Status::Expired => booking.ended_at = Some(now),
            Status::Cancelled => {
                booking.cancelled_at = Some(now);
                booking.ended_at = Some(now);
            }
        }
        self.taken_until = self.still_taken(Date::of(now));
    }

    /// The day after the last one that its status takes.
    fn still_taken(&self, today: Date) -> Date {
        let start = self.booking.start_date;
        match self.booking.status {
            Status::Held | Status::Confirmed | Status::InUse | Status::Unknown(_) => self.until_day,
            Status::Expired | Status::Cancelled => start,
            Status::Completed | Status::NoShow => {
                let by_nights = self.until_day == self.booking.end_date;
                let free_from = if by_nights { Some(today) } else { today.plus_days(1) };
                free_from.map_or(self.until_day, |day| day.clamp(start, self.until_day))
            }
        }
    }

    /// Takes and gives back days, from what the booking takes `now` to what it should: all or
    /// nothing. For what it was `granted` before it needs no room.
    fn take_days(
        &mut self,
        now: Share,
        granted: Share,
        phase: BookingPhase,
        bookable: &Bookable,
        scope: &mut Scope<'_>,
    ) -> Result<(), Rejection> {
        self.taken_until = self.still_taken(Date::of(scope.now));
        let wanted = self.share();
        if wanted.exceeds(granted) {
            if bookable.status == BookableStatus::Archived {
                return Err(Rejection::BookableUnavailable {
                    bookable_id: bookable.id.to_string(),
                    status: bookable.status.name(),
                });
            }
            expire_holds(bookable, Some(&self.booking.id), scope);
            let found = wanted.find_room(now, granted, bookable, scope.state);
            found.map_err(|full| self.no_room(full, phase, bookable))?;
        }
        now.replace_by(wanted, bookable, scope.state);
        Ok(())
    }

    fn no_room(&self, full: Full, phase: BookingPhase, bookable: &Bookable) -> Rejection {
        let booking = &self.booking;
        Rejection::NoRoom(Box::new(NoRoom {
            phase,
            bookable_id: bookable.id.to_string(),
            start_date: booking.start_date,
            end_date: booking.end_date,
            user_id: booking.user_id.clone(),
            requested: booking.quantity,
            capacity: bookable.capacity,
            usage: full.usage,
            first_conflict_date: full.first,
            hold_ttl_ms: bookable.hold_ttl_ms,
        }))
    }
}

/// Ends holds of a bookable that are over, in the commit of whoever needs their days: as many as
/// were loaded, so that a long backlog is nobody's long commit. What the rest takes counts no more.
/// One booking is left alone: the one that is being changed, whose version its caller has named.
pub(crate) fn expire_holds(bookable: &Bookable, but: Option<&BookingId>, scope: &mut Scope<'_>) {
    if Mutant::KeepExpiredBookings.is_planted() {
        return;
    }
    let due = scope.state.due_bookings.get(bookable.id.as_str());
    let due = due.map(|due| due.ids.clone()).unwrap_or_default();
    for id in due {
        let row = scope.state.bookings.find(&id).filter(|row| row.deleted.is_none());
        let Some(before) = row.map(|row| row.record.clone()) else { continue };
        let is_due = before.booking.status == Status::Held
            && before.status_at(scope.now) == Status::Expired
            && Some(&before.booking.id) != but;
        if is_due {
            before.expire(bookable, scope);
        }
    }
}

/// The bookable of a booking. One that was booked is never deleted.
fn bookable_of(booking: &Booking, scope: &Scope<'_>) -> Bookable {
    let row = scope.state.bookables.get(booking.bookable_id.as_str());
    row.expect("a booked bookable is never deleted").record.clone()
}

/// What a caller may ask for next.
fn followers(status: Status) -> &'static [Status] {
    match status {
        Status::Held => &[Status::Confirmed, Status::Cancelled],
        Status::Confirmed => &[Status::InUse, Status::NoShow, Status::Cancelled],
        Status::InUse => &[Status::Completed],
        Status::Expired => &[Status::Confirmed],
        Status::Completed | Status::Cancelled | Status::NoShow | Status::Unknown(_) => &[],
    }
}

fn refused_transition(from: Status, to: &'static str) -> Rejection {
    Rejection::InvalidTransition {
        from: from.name(),
        to,
        allowed: followers(from).iter().map(|status| status.name()).collect(),
    }
}

/// The day after the last one of a range of dates, if the bookable can be booked so.
///
/// What did not change since `before` is not looked at again: time goes on.
fn read_range(
    bookable: &Bookable,
    (start, end): (Date, Date),
    before: Option<(Date, Date)>,
    today: Date,
) -> Result<Date, Rejection> {
    let mut errors = Errors::default();
    if start < today && before.is_none_or(|before| before.0 != start) {
        errors.push("/start_date", format!("must not be before today, {today} in UTC"));
    } else if end < today && before.is_none_or(|before| before.1 != end) {
        errors.push("/end_date", format!("must not be before today, {today} in UTC"));
    }
    let (until, unit) = match bookable.range_mode {
        RangeMode::InclusiveDays => (end.plus_days(1), "days"),
        RangeMode::Nights => (Some(end), "nights"),
        RangeMode::Unknown(mode) => {
            return Err(Rejection::invalid("/bookable_id", format!("is booked by {mode}")));
        }
    };
    let until = until.ok_or_else(|| Rejection::invalid("/end_date", "ends the calendar"))?;
    let length = start.days_until(until);
    let (min, max) = (bookable.min_days, bookable.max_days);
    if length < 1 {
        let message = match bookable.range_mode {
            RangeMode::InclusiveDays | RangeMode::Unknown(_) => "must not be before start_date",
            RangeMode::Nights => "must be after start_date: it is the day of leaving",
        };
        errors.push("/end_date", message);
    } else if length < min || length > max {
        errors.push("/end_date", format!("must make {min} to {max} {unit}, makes {length}"));
    }
    let ahead = today.days_until(until).saturating_sub(1);
    if ahead > bookable.horizon_days {
        let message = format!("must be at most {} days ahead, is {ahead}", bookable.horizon_days);
        errors.push("/end_date", message);
    }
    errors.into_result()?;
    Ok(until)
}
