//! Bookables and bookings: a quantity of something, day by day.

use crate::{BookableId, BookingId, Date, Metadata, Timestamp, Version, WorkspaceId, known};
use std::collections::BTreeMap;

names! {
    /// How a range of dates is read.
    RangeMode {
        /// Both ends are used. One day is a range.
        InclusiveDays = "inclusive_days",
        /// The end is the day of departure and is not used.
        Nights = "nights",
    }

    /// Whether something can be booked.
    BookableStatus {
        /// It can be booked.
        Active = "active",
        /// It takes no new bookings. Existing ones stay.
        Archived = "archived",
    }

    /// The life cycle of a booking.
    BookingStatus {
        /// Reserved until its hold expires.
        Held = "held",
        /// Confirmed.
        Confirmed = "confirmed",
        /// Started.
        InUse = "in_use",
        /// Completed.
        Completed = "completed",
        /// Cancelled. All its days were given back.
        Cancelled = "cancelled",
        /// The guest did not come. The remaining days were given back.
        NoShow = "no_show",
        /// The hold expired. All its days were given back.
        Expired = "expired",
    }
}

const fn one() -> i64 {
    1
}

const fn inclusive_days() -> RangeMode {
    RangeMode::InclusiveDays
}

const fn max_days() -> i64 {
    366
}

const fn quarter_of_an_hour() -> i64 {
    900_000
}

const fn ten_years() -> i64 {
    3_650
}

fn utc() -> String {
    "UTC".to_owned()
}

/// A capacity of 0, booked by whole days, for struct updates.
impl Default for BookableFields {
    fn default() -> Self {
        Self {
            name: String::new(),
            capacity: 0,
            time_zone: utc(),
            range_mode: inclusive_days(),
            min_days: one(),
            max_days: max_days(),
            hold_ttl_ms: quarter_of_an_hour(),
            horizon_days: ten_years(),
            status: None,
            metadata: Metadata::new(),
        }
    }
}

impl BookingFields {
    /// A held booking of a quantity on these days, for struct updates.
    pub fn new(bookable_id: BookableId, start_date: Date, end_date: Date, quantity: i64) -> Self {
        Self {
            bookable_id,
            workspace_id: None,
            start_date,
            end_date,
            quantity,
            user_id: None,
            notes: String::new(),
            status: None,
            metadata: Metadata::new(),
        }
    }
}

wire! {
    /// Something that can be booked by the day.
    pub struct Bookable {
        /// `bkb_…`
        pub id: BookableId,
        /// The number of this state.
        pub version: Version,
        /// The name shown to people.
        pub name: String,
        /// How many can be booked on one day, 0–1,000,000.
        pub capacity: i64,
        /// The IANA name of its time zone. A booking starts on the date that is today there, or later.
        #[serde(default = "utc")]
        pub time_zone: String,
        /// How the dates of its bookings are read.
        pub range_mode: RangeMode,
        /// Minimum days or nights of a booking, ≥ 1.
        pub min_days: i64,
        /// Maximum days or nights of a booking, ≤ 366.
        pub max_days: i64,
        /// How long a booking is held before it must be confirmed, 1 ms to 30 days.
        pub hold_ttl_ms: i64,
        /// How many days ahead can be booked, 1–3,650.
        pub horizon_days: i64,
        /// Whether it can be booked.
        pub status: BookableStatus,
        /// The caller's own keys and values.
        pub metadata: Metadata,
        /// When it was created.
        pub created_at: Timestamp,
        /// When this version was made.
        pub updated_at: Timestamp,
        /// The name of the API key that made this version.
        pub updated_by: String,
    }

    /// The settable fields of a [`Bookable`].
    #[serde(deny_unknown_fields)]
    pub struct BookableFields {
        /// The name shown to people, 1–200 characters.
        pub name: String,
        /// How many can be booked on one day, 0–1,000,000.
        pub capacity: i64,
        /// The IANA name of its time zone, such as `Europe/Berlin`; default `UTC`.
        #[serde(default = "utc")]
        pub time_zone: String,
        /// How the dates of its bookings are read.
        #[serde(default = "inclusive_days", deserialize_with = "known::read")]
        pub range_mode: RangeMode,
        /// Minimum days or nights of a booking, ≥ 1.
        #[serde(default = "one")]
        pub min_days: i64,
        /// Maximum days or nights of a booking, ≤ 366.
        #[serde(default = "max_days")]
        pub max_days: i64,
        /// How long a booking is held before it must be confirmed, 1 ms to 30 days.
        #[serde(default = "quarter_of_an_hour")]
        pub hold_ttl_ms: i64,
        /// How many days ahead can be booked, 1–3,650.
        #[serde(default = "ten_years")]
        pub horizon_days: i64,
        /// Default: `active` at creation, unchanged in a replace.
        #[serde(default, deserialize_with = "known::read")]
        pub status: Option<BookableStatus>,
        /// The caller's own keys and values.
        #[serde(default)]
        pub metadata: Metadata,
    }

    /// A quantity of a bookable on a range of days.
    pub struct Booking {
        /// `bkg_…`
        pub id: BookingId,
        /// The number of this state.
        pub version: Version,
        /// The bookable.
        pub bookable_id: BookableId,
        /// The workspace that it belongs to.
        #[serde(default)]
        pub workspace_id: Option<WorkspaceId>,
        /// The first day.
        pub start_date: Date,
        /// The last day. With `nights`, the day of departure.
        pub end_date: Date,
        /// The quantity on each day.
        pub quantity: i64,
        /// The user it is for, in the caller's own words.
        pub user_id: Option<String>,
        /// Notes by people, ≤ 10,000 characters.
        pub notes: String,
        /// Its status.
        pub status: BookingStatus,
        /// When its hold ends unless it is confirmed before.
        pub hold_expires_at: Option<Timestamp>,
        /// When it was confirmed.
        pub confirmed_at: Option<Timestamp>,
        /// When it was cancelled.
        pub cancelled_at: Option<Timestamp>,
        /// When it ended, in whatever way.
        pub ended_at: Option<Timestamp>,
        /// The caller's own keys and values.
        pub metadata: Metadata,
        /// When it was created.
        pub created_at: Timestamp,
        /// When this version was made.
        pub updated_at: Timestamp,
        /// The name of the API key that made this version.
        pub updated_by: String,
    }

    /// The settable fields of a [`Booking`].
    #[serde(deny_unknown_fields)]
    pub struct BookingFields {
        /// The bookable; set once.
        pub bookable_id: BookableId,
        /// The workspace that it belongs to; set once. By default that of a scoped key.
        #[serde(default)]
        pub workspace_id: Option<WorkspaceId>,
        /// The first day; today in the time zone of the bookable, or later.
        pub start_date: Date,
        /// The last day. With `nights`, the day of departure.
        pub end_date: Date,
        /// The quantity on each day, ≥ 1.
        pub quantity: i64,
        /// The user it is for, in the caller's own words, ≤ 200 characters; set once.
        #[serde(default)]
        pub user_id: Option<String>,
        /// Notes by people, ≤ 10,000 characters.
        #[serde(default)]
        pub notes: String,
        /// Default: `held` at creation, unchanged in a replace.
        #[serde(default, deserialize_with = "known::read")]
        pub status: Option<BookingStatus>,
        /// The caller's own keys and values.
        #[serde(default)]
        pub metadata: Metadata,
    }

    /// A booking to make.
    #[serde(deny_unknown_fields)]
    pub struct NewBooking {
        /// The bookable.
        pub bookable_id: BookableId,
        /// The workspace that it belongs to. By default that of a scoped key.
        #[serde(default)]
        pub workspace_id: Option<WorkspaceId>,
        /// The first day; today in the time zone of the bookable, or later.
        pub start_date: Date,
        /// The last day. With `nights`, the day of departure.
        pub end_date: Date,
        /// The quantity on each day, ≥ 1.
        pub quantity: i64,
        /// The user it is for, in the caller's own words, ≤ 200 characters.
        #[serde(default)]
        pub user_id: Option<String>,
        /// Notes by people, ≤ 10,000 characters.
        #[serde(default)]
        pub notes: String,
        /// Confirms it at once, without a hold. The same as the status `confirmed`.
        #[serde(default)]
        pub confirm: bool,
        /// `held` (the default) or `confirmed`.
        #[serde(default, deserialize_with = "known::read")]
        pub status: Option<BookingStatus>,
        /// The caller's own keys and values.
        #[serde(default)]
        pub metadata: Metadata,
    }

    /// The free capacity of a bookable, day by day.
    pub struct Availability {
        /// The requested days, in order.
        pub days: Vec<AvailableDay>,
        /// The instant of this answer. It reserves nothing.
        pub as_of: Timestamp,
    }

    /// The free capacity on one day.
    pub struct AvailableDay {
        /// The day.
        pub date: Date,
        /// The capacity.
        pub capacity: i64,
        /// How many are taken. Expired holds do not count.
        pub reserved: i64,
        /// How many are left: `max(0, capacity − reserved)`.
        pub available: i64,
    }

    /// The part of a problem body that `AVAILABILITY_CONFLICT` and `HOLD_EXPIRED` add.
    pub struct AvailabilityConflict {
        /// The bookable.
        pub bookable_id: BookableId,
        /// The first requested day.
        pub start_date: Date,
        /// The last day. With `nights`, the day of departure.
        pub end_date: Date,
        /// The requested quantity.
        pub requested: i64,
        /// The capacity on each day.
        pub capacity: i64,
        /// How many others have taken, for exactly the requested days.
        pub usage: BTreeMap<Date, i64>,
        /// The first day without enough room.
        pub first_conflict_date: Date,
    }
}
