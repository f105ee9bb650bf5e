//! Bookables: so many of something, to be booked by the day.

use crate::{
    Rejection, Resource, Scope, access::plain_audit, booking::expire_holds, fields::Errors,
    resource::usual_parts, workspace::refuse_other_type,
};
use ifmatch_types::{
    AuditResource, Bookable, BookableFields, BookableId, BookableStatus as Status, Date,
    Difference, Kind,
};

/// A hold lasts 30 days at most, in milliseconds.
const HOLD_TTL_MAX_MS: i64 = 30 * 86_400_000;
const CAPACITY_MAX: i64 = 1_000_000;
/// So many days or nights can be booked at once at most.
pub(crate) const DAYS_MAX: i64 = 366;
/// So many days ahead can be booked at most.
pub(crate) const HORIZON_DAYS_MAX: i64 = 3_650;

impl Resource for Bookable {
    type Entity = Bookable;
    type Fields = BookableFields;

    const KIND: Kind = Kind::Bookable;
    const FIELDS: &'static [&'static str] = &[
        "name",
        "capacity",
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

    usual_parts!(bookables, |record| *record);

    fn check(fields: &mut BookableFields, errors: &mut Errors) {
        errors.text("/name", &fields.name, 1, 200);
        errors.range("/capacity", fields.capacity, 0, CAPACITY_MAX);
        errors.range("/max_days", fields.max_days, 1, DAYS_MAX);
        errors.range("/min_days", fields.min_days, 1, fields.max_days.clamp(1, DAYS_MAX));
        errors.range("/hold_ttl_ms", fields.hold_ttl_ms, 1, HOLD_TTL_MAX_MS);
        errors.range("/horizon_days", fields.horizon_days, 1, HORIZON_DAYS_MAX);
        errors.metadata(&fields.metadata);
    }

    fn create(
        fields: BookableFields,
        id: String,
        scope: &mut Scope<'_>,
    ) -> Result<Self, Rejection> {
        Ok(Self {
            id: BookableId::from_unchecked(id),
            version: 1,
            name: fields.name,
            capacity: fields.capacity,
            range_mode: fields.range_mode,
            min_days: fields.min_days,
            max_days: fields.max_days,
            hold_ttl_ms: fields.hold_ttl_ms,
            horizon_days: fields.horizon_days,
            status: fields.status.unwrap_or(Status::Active),
            metadata: fields.metadata,
            created_at: scope.now,
            updated_at: scope.now,
            updated_by: scope.meta.actor.name.clone(),
        })
    }

    fn change(&self, fields: BookableFields, scope: &mut Scope<'_>) -> Result<Self, Rejection> {
        if fields.capacity < self.capacity {
            lower_capacity(self, fields.capacity, scope)?;
        }
        Ok(Self {
            name: fields.name,
            capacity: fields.capacity,
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

    fn delete(&self, scope: &mut Scope<'_>) -> Result<(), Rejection> {
        // Whoever books it locks it, so that what was counted then is still true at the commit.
        let booked_in_batch =
            scope.state.bookings.iter().any(|row| row.record.booking.bookable_id == self.id);
        if booked_in_batch || scope.state.is_used_elsewhere(self.id.as_str()) {
            return Err(Rejection::BookableInUse);
        }
        Ok(())
    }
}

/// Refuses a capacity below what is reserved from today on. Force overrides that, on record: who
/// has booked stays, and the excess drains.
fn lower_capacity(
    bookable: &Bookable,
    capacity: i64,
    scope: &mut Scope<'_>,
) -> Result<(), Rejection> {
    expire_holds(bookable, None, scope);
    let today = Date::of(scope.now);
    let above = || {
        scope.state.booking_days.iter().filter(|day| {
            day.bookable_id == bookable.id
                && day.day >= today
                && scope.state.still_reserved(day) > capacity
        })
    };
    let first = above().map(|day| day.day).min();
    let reserved = above().map(|day| scope.state.still_reserved(day)).max();
    let (Some(first_conflict_date), Some(reserved)) = (first, reserved) else { return Ok(()) };
    let Some(force) = &scope.force else {
        return Err(Rejection::CapacityBelowReserved { capacity, reserved, first_conflict_date });
    };
    let reason = Some(force.reason.clone());
    let resource = AuditResource {
        resource_type: Kind::Bookable.name().to_owned(),
        id: bookable.id.to_string(),
    };
    let mut record = plain_audit("capacity_override", Some(resource), reason, scope);
    record.changes = vec![Difference {
        path: "/capacity".to_owned(),
        from: bookable.capacity.into(),
        to: capacity.into(),
    }];
    scope.state.audits.push(record);
    Ok(())
}

/// The living bookable that a field names.
pub(crate) fn referenced(id: &BookableId, scope: &Scope<'_>) -> Result<Bookable, Rejection> {
    refuse_other_type(Kind::Bookable, "/bookable_id", id.as_str())?;
    match scope.state.bookables.get(id.as_str()) {
        Some(row) if row.deleted.is_none() => Ok(row.record.clone()),
        _ => Err(Rejection::invalid("/bookable_id", "no such bookable")),
    }
}
