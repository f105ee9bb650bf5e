//! Bookings: a quantity of a bookable on each day of a range.
//!
//! Every change of a bookable's bookings or days locks the bookable's row first. An expired hold
//! blocks no booking, even before it is ended. A booking that needs room ends expired holds first.

use super::{
    BookingPhase, BookingRecord, Need, NoRoom, Rejection, Share,
    bookable::DAYS_MAX,
    expiry::{expire_holds, is_bookable, want_days, want_due},
    room::Full,
    zone,
};
use crate::core::{
    self, Change, Context, DeleteObject, Errors, Resource, ScopedWrites, State, UpdateObject,
    Wants, redactable, referenced, usual_parts,
};
use ifmatch_types::{
    Bookable, BookableStatus, Booking, BookingFields, BookingId, BookingStatus as Status, Date,
    Kind, RangeMode, Timestamp, Workspace,
};
use serde_json::{Map, Value};

const QUANTITY_MAX: i64 = 1_000_000_000;

impl Resource for BookingRecord {
    type Entity = Booking;
    type Fields = BookingFields;

    const KIND: Kind = Kind::Booking;
    const FIELDS: &'static [&'static str] = &[
        "bookable_id",
        "workspace_id",
        "start_date",
        "end_date",
        "quantity",
        "user_id",
        "notes",
        "status",
        "metadata",
    ];
    const SET_ONCE: &'static [&'static str] = &["bookable_id", "workspace_id", "user_id"];
    const KEPT_IF_ABSENT: &'static [&'static str] = &["workspace_id", "user_id", "status"];

    const REFERENCES: &'static [(&'static str, Kind)] = &[("workspace_id", Kind::Workspace)];
    const SCOPED_WRITES: ScopedWrites = ScopedWrites::ALL;
    const GETS_OWN_WORKSPACE: bool = true;

    usual_parts!(bookings, |record| record.booking);
    redactable!(|record| record.booking, { user_id: Optional, notes: Text, metadata: Keys });

    fn workspace_id(&self, _: &State) -> Option<String> {
        self.booking.workspace_id.as_ref().map(ToString::to_string)
    }

    fn check(fields: &mut BookingFields, errors: &mut Errors) {
        errors.reference("/bookable_id", fields.bookable_id.as_str());
        errors.range("/quantity", fields.quantity, 1, QUANTITY_MAX);
        if let Some(user_id) = &fields.user_id {
            errors.text("/user_id", user_id, 1, 200);
        }
        errors.text("/notes", &fields.notes, 0, 10_000);
        errors.metadata(&fields.metadata);
        // These ranges are invalid for every bookable. `read_range` checks the bookable's rules.
        let nights = fields.start_date.days_until(fields.end_date);
        if nights < 0 {
            errors.push("/end_date", "must not be before start_date");
        } else if nights > DAYS_MAX {
            errors.push(
                "/end_date",
                format!("must make at most {DAYS_MAX} days, but makes {nights}"),
            );
        }
    }

    fn check_change(
        &self,
        fields: &BookingFields,
        base: &Value,
        ctx: &Context<'_>,
    ) -> Result<(), Rejection> {
        let date = |field: &str| base.get(field)?.as_str()?.parse::<Date>().ok();
        let before = date("start_date").zip(date("end_date"));
        let dates = (fields.start_date, fields.end_date);
        if before != Some(dates) {
            read_range(&bookable_of(&self.booking, ctx), dates, before, ctx.now)?;
        }
        Ok(())
    }

    fn create(fields: BookingFields, id: String, ctx: &mut Context<'_>) -> Result<Self, Rejection> {
        let status = fields.status.unwrap_or(Status::Held);
        if !matches!(status, Status::Held | Status::Confirmed) {
            return Err(core::Rejection::invalid(
                "/status",
                "must be held or confirmed for a new booking",
            )
            .into());
        }
        let workspace_id = fields.workspace_id.or_else(|| ctx.meta.actor.workspace_id.clone());
        if let Some(workspace_id) = &workspace_id {
            referenced::<Workspace>("/workspace_id", workspace_id.as_str(), ctx.state)?;
        }
        let bookable = fields.bookable_id.as_str();
        let bookable = referenced::<Bookable>("/bookable_id", bookable, ctx.state)?.clone();
        let dates = (fields.start_date, fields.end_date);
        let until_day = read_range(&bookable, dates, None, ctx.now)?;
        let booking = Booking {
            id: BookingId::from_unchecked(id),
            version: 1,
            bookable_id: fields.bookable_id,
            workspace_id,
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
            created_at: ctx.now,
            updated_at: ctx.now,
            updated_by: ctx.meta.actor.name.clone(),
        };
        let mut record = Self { taken_until: booking.start_date, booking, until_day };
        record.enter(status, &bookable, ctx.now);
        let nothing = Share::none(fields.start_date);
        record.take_days(nothing, nothing, BookingPhase::Create, &bookable, ctx)?;
        Ok(record)
    }

    fn change(&self, fields: BookingFields, ctx: &mut Context<'_>) -> Result<Self, Rejection> {
        let before = &self.booking;
        let from = self.status_at(ctx.now);
        let asked = fields.status.filter(|asked| *asked != before.status);
        let to = asked.unwrap_or(from);
        if asked.is_some() && !followers(from).contains(&to) {
            return Err(refused_transition(from, to.name()).into());
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
        let bookable = bookable_of(before, ctx);
        // Confirming an expired hold is a new booking, so its dates must not be in the past.
        let known = (from != Status::Expired).then_some((before.start_date, before.end_date));
        if is_moved || known.is_none() {
            after.until_day = read_range(&bookable, dates, known, ctx.now)?;
            (after.booking.start_date, after.booking.end_date) = dates;
        }
        after.booking.quantity = fields.quantity;
        if asked.is_some() {
            after.enter(to, &bookable, ctx.now);
        }
        let now = self.share();
        // An expired hold has no right to its days, even if they still count it as reserved.
        let (granted, phase) = match from {
            Status::Expired => (Share::none(now.start), BookingPhase::Confirm),
            _ => (now, BookingPhase::Change),
        };
        after.take_days(now, granted, phase, &bookable, ctx)?;
        Ok(after)
    }

    fn delete(&self, ctx: &mut Context<'_>) -> Result<(), Rejection> {
        let status = self.status_at(ctx.now);
        if matches!(status, Status::Held | Status::Confirmed | Status::InUse) {
            return Err(refused_transition(status, "deleted").into());
        }
        if status != self.booking.status {
            // An expired hold is ended before it is deleted. Otherwise its days stay reserved.
            let bookable = bookable_of(&self.booking, ctx);
            self.clone().expire(&bookable, ctx);
        }
        Ok(())
    }

    fn want<'c>(id: &str, wants: &mut Wants<'_, 'c, Need>) {
        // The bookable is locked before the booking. Every change of the booking needs it.
        match wants.owner(Kind::Booking, id) {
            None => return,
            Some(Some(bookable_id)) => wants.object(Kind::Bookable, &bookable_id),
            Some(None) => {}
        }
        wants.object(Kind::Booking, id);
    }

    fn want_to_see<'c>(id: &str, wants: &mut Wants<'_, 'c, Need>) {
        // Commands about its bookable may end it in the same batch, under the bookable's lock only.
        Self::want(id, wants);
    }

    fn want_for_create<'c>(body: &'c Map<String, Value>, wants: &mut Wants<'_, 'c, Need>) {
        if let Some(bookable_id) = Self::anchor(body) {
            wants.object(Kind::Bookable, bookable_id);
            want_days_of(bookable_id, None, body, wants);
        }
    }

    fn want_for_change<'c>(update: &'c UpdateObject, wants: &mut Wants<'_, 'c, Need>) {
        if moves_days(&update.change)
            && let Some(row) = wants.state.booking().bookings.original(&update.id)
        {
            let range = (row.record.booking.start_date, row.record.until_day);
            let bookable_id = row.record.booking.bookable_id.as_str();
            want_days_of(bookable_id, Some(range), update.change.body(), wants);
        }
    }

    fn want_for_delete<'c>(delete: &'c DeleteObject, wants: &mut Wants<'_, 'c, Need>) {
        // An expired hold gives its days back before it is deleted.
        if let Some(row) = wants.state.booking().bookings.original(&delete.id)
            && row.record.booking.status == Status::Held
            && let Some(now) = wants.clock()
            && row.record.status_at(now) != Status::Held
        {
            let days = [row.record.booking.start_date, row.record.until_day];
            want_days(row.record.booking.bookable_id.as_str(), days, wants);
        }
    }

    fn anchor(body: &Map<String, Value>) -> Option<&str> {
        body.get("bookable_id")?.as_str()
    }
}

impl BookingRecord {
    /// Refuses changes of fields that the booking's status fixes.
    ///
    /// The dates and the quantity cannot change if the booking is ended or expired, or if this
    /// change ends it. The start date cannot change once the booking is in use.
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
        Err(core::Rejection::FixedByStatus {
            from: from.name(),
            to: to.name(),
            allowed: allowed.map(|status| status.name()).collect(),
            fields,
        }
        .into())
    }

    /// Reserves and frees days so that the booking takes its new share instead of `now`.
    ///
    /// It reserves all days or none. Days within the `granted` share need no room, because the
    /// booking already has them.
    fn take_days(
        &mut self,
        now: Share,
        granted: Share,
        phase: BookingPhase,
        bookable: &Bookable,
        ctx: &mut Context<'_>,
    ) -> Result<(), Rejection> {
        self.taken_until = self.still_taken(zone::today(bookable, ctx.now));
        let wanted = self.share();
        if wanted.exceeds(granted) {
            if bookable.status == BookableStatus::Archived {
                return Err(Rejection::BookableUnavailable {
                    bookable_id: bookable.id.to_string(),
                    status: bookable.status.name(),
                });
            }
            expire_holds(bookable, Some(&self.booking.id), ctx);
            let found = wanted.find_room(now, granted, bookable, ctx.state.booking());
            found.map_err(|full| self.no_room(full, phase, bookable))?;
        }
        now.replace_by(wanted, bookable, ctx.state.booking_mut());
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

/// Requests every day that a booking may take or give back, for any combination of its current
/// dates and the dates in the request.
fn want_days_of(
    bookable_id: &str,
    range: Option<(Date, Date)>,
    body: &Map<String, Value>,
    wants: &mut Wants<'_, '_, Need>,
) {
    want_due(bookable_id, wants);
    if !is_bookable(bookable_id, wants) {
        return;
    }
    let named = ["start_date", "end_date"]
        .into_iter()
        .filter_map(|field| body.get(field)?.as_str()?.parse::<Date>().ok());
    let named: Vec<Date> = named.collect();
    // A longer range is refused before its days are looked at.
    let is_long = match named.as_slice() {
        [start, end] => !(0..=DAYS_MAX).contains(&start.days_until(*end)),
        _ => false,
    };
    let named = if is_long { Vec::new() } else { named };
    let known = range.into_iter().flat_map(|(start, until)| [start, until]);
    want_days(bookable_id, known.chain(named), wants);
}

/// Whether a change of a booking may take or give back days.
///
/// A replace always may, because fields that it omits get their defaults.
fn moves_days(change: &Change) -> bool {
    let fields = ["start_date", "end_date", "quantity", "status"];
    match change {
        Change::Patch(body) => fields.iter().any(|field| body.contains_key(*field)),
        Change::Replace(_) => true,
    }
}

/// The bookable of a booking. A bookable with bookings is never deleted.
fn bookable_of(booking: &Booking, ctx: &Context<'_>) -> Bookable {
    let row = ctx.state.booking().bookables.get(booking.bookable_id.as_str());
    row.expect("a booked bookable is never deleted").record.clone()
}

/// The statuses that a caller may request next.
fn followers(status: Status) -> &'static [Status] {
    match status {
        Status::Held => &[Status::Confirmed, Status::Cancelled],
        Status::Confirmed => &[Status::InUse, Status::NoShow, Status::Cancelled],
        Status::InUse => &[Status::Completed],
        Status::Expired => &[Status::Confirmed],
        Status::Completed | Status::Cancelled | Status::NoShow | Status::Unknown(_) => &[],
    }
}

fn refused_transition(from: Status, to: &'static str) -> core::Rejection {
    core::Rejection::InvalidTransition {
        from: from.name(),
        to,
        allowed: followers(from).iter().map(|status| status.name()).collect(),
    }
}

/// Checks a range of dates against the bookable's rules; returns the day after the last one.
///
/// Dates equal to those in `before` may be in the past, because they were valid when they were
/// booked.
fn read_range(
    bookable: &Bookable,
    (start, end): (Date, Date),
    before: Option<(Date, Date)>,
    now: Timestamp,
) -> Result<Date, Rejection> {
    let mut errors = Errors::default();
    let today = zone::today(bookable, now);
    let zone = &bookable.time_zone;
    if start < today && before.is_none_or(|before| before.0 != start) {
        errors.push("/start_date", format!("must not be before today, {today} in {zone}"));
    } else if end < today && before.is_none_or(|before| before.1 != end) {
        errors.push("/end_date", format!("must not be before today, {today} in {zone}"));
    }
    let (until, unit) = match bookable.range_mode {
        RangeMode::InclusiveDays => (end.plus_days(1), "days"),
        RangeMode::Nights => (Some(end), "nights"),
        RangeMode::Unknown(mode) => {
            let message = format!("has the unsupported range mode {mode}");
            return Err(core::Rejection::invalid("/bookable_id", message).into());
        }
    };
    let until = until.ok_or_else(|| {
        core::Rejection::invalid("/end_date", "must be before the last supported date")
    })?;
    let length = start.days_until(until);
    let (min, max) = (bookable.min_days, bookable.max_days);
    if length < 1 {
        let message = match bookable.range_mode {
            RangeMode::InclusiveDays | RangeMode::Unknown(_) => "must not be before start_date",
            RangeMode::Nights => "must be after start_date because it is the day of departure",
        };
        errors.push("/end_date", message);
    } else if length < min || length > max {
        errors.push("/end_date", format!("must make {min} to {max} {unit}, but makes {length}"));
    }
    let ahead = today.days_until(until).saturating_sub(1);
    if ahead > bookable.horizon_days {
        let message =
            format!("must be at most {} days ahead, but is {ahead}", bookable.horizon_days);
        errors.push("/end_date", message);
    }
    errors.into_result()?;
    Ok(until)
}
