//! Bookables: things with a capacity that are booked by the day.

use super::{
    Need, Rejection,
    expiry::{expire_holds, want_due},
    zone,
};
use crate::core::{
    Context, DeleteObject, Errors, Resource, UpdateObject, Wants, plain_audit, redactable,
    usual_parts,
};
use ifmatch_types::{
    AuditResource, Bookable, BookableFields, BookableId, BookableStatus as Status, Date,
    Difference, Kind,
};
use serde_json::Value;

/// Maximum lifetime of a hold, in milliseconds: 30 days.
const HOLD_TTL_MAX_MS: i64 = 30 * 86_400_000;
const CAPACITY_MAX: i64 = 1_000_000;
/// Maximum number of days or nights in one booking.
pub(crate) const DAYS_MAX: i64 = 366;
/// Maximum number of days that can be booked ahead.
pub(crate) const HORIZON_DAYS_MAX: i64 = 3_650;

impl Resource for Bookable {
    type Entity = Bookable;
    type Fields = BookableFields;

    const KIND: Kind = Kind::Bookable;
    const FIELDS: &'static [&'static str] = &[
        "name",
        "capacity",
        "time_zone",
        "range_mode",
        "min_days",
        "max_days",
        "hold_ttl_ms",
        "horizon_days",
        "status",
        "metadata",
    ];
    const SET_ONCE: &'static [&'static str] = &[];
    const KEPT_IF_ABSENT: &'static [&'static str] = &["status"];

    const IN_CATALOGUE: bool = true;

    usual_parts!(bookables, |record| *record);
    redactable!(|record| *record, { name: Text, metadata: Keys });

    fn check(fields: &mut BookableFields, errors: &mut Errors) {
        errors.text("/name", &fields.name, 1, 200);
        errors.range("/capacity", fields.capacity, 0, CAPACITY_MAX);
        zone::check(errors, "/time_zone", &fields.time_zone);
        errors.range("/max_days", fields.max_days, 1, DAYS_MAX);
        errors.range("/min_days", fields.min_days, 1, fields.max_days.clamp(1, DAYS_MAX));
        errors.range("/hold_ttl_ms", fields.hold_ttl_ms, 1, HOLD_TTL_MAX_MS);
        errors.range("/horizon_days", fields.horizon_days, 1, HORIZON_DAYS_MAX);
        errors.metadata(&fields.metadata);
    }

    fn create(
        fields: BookableFields,
        id: String,
        ctx: &mut Context<'_>,
    ) -> Result<Self, Rejection> {
        Ok(Self {
            id: BookableId::from_unchecked(id),
            version: 1,
            name: fields.name,
            capacity: fields.capacity,
            time_zone: fields.time_zone,
            range_mode: fields.range_mode,
            min_days: fields.min_days,
            max_days: fields.max_days,
            hold_ttl_ms: fields.hold_ttl_ms,
            horizon_days: fields.horizon_days,
            status: fields.status.unwrap_or(Status::Active),
            metadata: fields.metadata,
            created_at: ctx.now,
            updated_at: ctx.now,
            updated_by: ctx.meta.actor.name.clone(),
        })
    }

    fn change(&self, fields: BookableFields, ctx: &mut Context<'_>) -> Result<Self, Rejection> {
        if fields.capacity < self.capacity {
            lower_capacity(self, fields.capacity, ctx)?;
        }
        Ok(Self {
            name: fields.name,
            capacity: fields.capacity,
            time_zone: fields.time_zone,
            range_mode: fields.range_mode,
            min_days: fields.min_days,
            max_days: fields.max_days,
            hold_ttl_ms: fields.hold_ttl_ms,
            horizon_days: fields.horizon_days,
            status: fields.status.unwrap_or(self.status),
            metadata: fields.metadata,
            ..self.clone()
        })
    }

    fn delete(&self, ctx: &mut Context<'_>) -> Result<(), Rejection> {
        // Every new booking locks the bookable's row. While that row is locked here, no booking can
        // appear before the commit.
        let booked_in_batch = ctx
            .state
            .booking()
            .bookings
            .iter()
            .any(|row| row.record.booking.bookable_id == self.id);
        if booked_in_batch || ctx.state.is_used_elsewhere(self.id.as_str()) {
            return Err(Rejection::BookableInUse);
        }
        Ok(())
    }

    fn want_for_change<'c>(update: &'c UpdateObject, wants: &mut Wants<'_, 'c, Need>) {
        if let Some(capacity) = update.change.body().get("capacity").and_then(Value::as_i64) {
            want_days_above(&update.id, capacity, wants);
        }
    }

    fn want_for_delete<'c>(delete: &'c DeleteObject, wants: &mut Wants<'_, 'c, Need>) {
        wants.users(Kind::Bookable, &delete.id);
    }
}

/// Requests the days with more reserved than `capacity`.
fn want_days_above(id: &str, capacity: i64, wants: &mut Wants<'_, '_, Need>) {
    want_due(id, wants);
    let Some(now) = wants.state.clock else { return };
    // Today may be a day earlier there than in UTC, and its zone may change in the same batch.
    let Some(since) = Date::of(now).plus_days(-1) else { return };
    let above = (id.to_owned(), capacity, since);
    if !wants.state.booking().days_above.contains(&above) {
        wants.push(Need::DaysAbove(above.0, above.1, above.2));
    }
}

/// Refuses a capacity below what is reserved on any day from today on.
///
/// A forced write is accepted and leaves an audit record. Existing bookings stay, and the excess
/// disappears as they end.
fn lower_capacity(
    bookable: &Bookable,
    capacity: i64,
    ctx: &mut Context<'_>,
) -> Result<(), Rejection> {
    expire_holds(bookable, None, ctx);
    let today = zone::today(bookable, ctx.now);
    let above = || {
        ctx.state.booking().booking_days.iter().filter(|day| {
            day.bookable_id == bookable.id
                && day.day >= today
                && ctx.state.booking().still_reserved(day) > capacity
        })
    };
    let first = above().map(|day| day.day).min();
    let reserved = above().map(|day| ctx.state.booking().still_reserved(day)).max();
    let (Some(first_conflict_date), Some(reserved)) = (first, reserved) else { return Ok(()) };
    let Some(force) = &ctx.force else {
        return Err(Rejection::CapacityBelowReserved { capacity, reserved, first_conflict_date });
    };
    let reason = Some(force.reason.clone());
    let resource = AuditResource {
        resource_type: Kind::Bookable.name().to_owned(),
        id: bookable.id.to_string(),
    };
    let mut record = plain_audit("capacity_override", Some(resource), reason, ctx);
    record.changes = vec![Difference {
        path: "/capacity".to_owned(),
        from: bookable.capacity.into(),
        to: capacity.into(),
    }];
    ctx.state.audits.push(record);
    Ok(())
}
