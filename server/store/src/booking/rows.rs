//! The rows of bookings, and the filters and sorts of their lists.

use crate::{
    core::{
        column::{ids, names},
        list::{
            Field,
            FieldType::{Date, Instant, Text},
        },
        object::StoredObject,
        record::record,
    },
    schema::{BookableRow, BookingDayRow, BookingRow},
};
use ifmatch_domain::{
    booking::{BookingDay, BookingRecord},
    core::Row,
};
use ifmatch_types::{
    Bookable, BookableId, BookableStatus, Booking, BookingId, BookingStatus, RangeMode,
};

ids!(BookableId, BookingId);
names!(RangeMode, BookableStatus, BookingStatus);

record! {
    BookableRow => Row<Bookable> {
        id, version, name, capacity, time_zone, range_mode, min_days, max_days, hold_ttl_ms, horizon_days,
        status, metadata, created_at, updated_at, updated_by,
    }
}

record! {
    BookingRow => Row<BookingRecord> {
        booking: Booking {
            id, version, bookable_id, workspace_id, start_date, end_date, quantity, user_id, notes,
            status, hold_expires_at, confirmed_at, cancelled_at, ended_at, metadata, created_at,
            updated_at, updated_by,
        },
        until_day, taken_until,
    }
}

record! {
    BookingDayRow => BookingDay { bookable_id, day, capacity, reserved, version }
    write |of| { id: BookingDay::key(of.bookable_id.as_str(), of.day) }
}

impl StoredObject for Bookable {
    const FILTERS: &'static [Field] = &[("name", Text), ("status", Text)];
    const SORTS: &'static [Field] = &[("created_at", Instant), ("name", Text)];
    const USERS: &'static [&'static str] =
        &["SELECT bookable_id, id FROM bookings WHERE bookable_id = "];
}

impl StoredObject for BookingRecord {
    const FILTERS: &'static [Field] = &[
        ("bookable_id", Text),
        ("workspace_id", Text),
        ("status", Text),
        ("user_id", Text),
        ("start_date", Date),
        ("end_date", Date),
    ];
    const SORTS: &'static [Field] = &[("created_at", Instant), ("start_date", Date)];
    const OWNER: Option<&'static str> = Some("bookable_id");
    const WORKSPACE: Option<&'static str> = Some("workspace_id");
}
