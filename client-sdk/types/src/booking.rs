//! Bookables and bookings: so many of something, on so many days.

use crate::{BookableId, BookingId, Date, Metadata, Timestamp, Version, known};
use std::collections::BTreeMap;

names! {
    /// How a range of dates is read.
    RangeMode {
        /// Both ends are used; one day is a range.
        InclusiveDays = "inclusive_days",
        /// The end is the day of leaving, and is not used.
        Nights = "nights",
    }

    /// Whether something can be booked.
    BookableStatus {
        /// It can.
        Active = "active",
        /// It takes no new bookings; those there are live on.
        Archived = "archived",
    }

    /// Where a booking is in its life.
    BookingStatus {
        /// Kept for somebody until its hold expires.
        Held = "held",
        /// Taken.
        Confirmed = "confirmed",
        /// Begun.
        InUse = "in_use",
        /// Over, as it should be.
        Completed = "completed",
        /// Called off; everything was given back.
        Cancelled = "cancelled",
        /// Nobody came; the remaining days were given back.
        NoShow = "no_show",
        /// Held for too long; everything was given back.
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

/// None of it, by whole days: what a struct update begins from.
impl Default for BookableFields {
    fn default() -> Self {
        Self {
            name: String::new(),
            capacity: 0,
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
    /// So many of a bookable on these days, held: what a struct update begins from.
    pub fn new(bookable_id: BookableId, start_date: Date, end_date: Date, quantity: i64) -> Self {
        Self {
            bookable_id,
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
    /// What can be booked by the day.
    pub struct Bookable {
        /// `bkb_…`
        pub id: BookableId,
        /// The number of this state.
        pub version: Version,
        /// The name shown to people.
        pub name: String,
        /// So many of it can be booked on one day; 0–1 000 000.
        pub capacity: i64,
        /// How the dates of its bookings are read.
        pub range_mode: RangeMode,
        /// A booking has so many days or nights at least; ≥ 1.
        pub min_days: i64,
        /// A booking has so many days or nights at most; ≤ 366.
        pub max_days: i64,
        /// So long is a booking held before it must be confirmed; 1 ms to 30 days.
        pub hold_ttl_ms: i64,
        /// So many days ahead can be booked; 1–3650.
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

    /// What a client may set on a [`Bookable`].
    #[serde(deny_unknown_fields)]
    pub struct BookableFields {
        /// The name shown to people, 1–200 characters.
        pub name: String,
        /// So many of it can be booked on one day; 0–1 000 000.
        pub capacity: i64,
        /// How the dates of its bookings are read.
        #[serde(default = "inclusive_days", deserialize_with = "known::read")]
        pub range_mode: RangeMode,
        /// A booking has so many days or nights at least; ≥ 1.
        #[serde(default = "one")]
        pub min_days: i64,
        /// A booking has so many days or nights at most; ≤ 366.
        #[serde(default = "max_days")]
        pub max_days: i64,
        /// So long is a booking held before it must be confirmed; 1 ms to 30 days.
        #[serde(default = "quarter_of_an_hour")]
        pub hold_ttl_ms: i64,
        /// So many days ahead can be booked; 1–3650.
        #[serde(default = "ten_years")]
        pub horizon_days: i64,
        /// Left out: `active` at creation, unchanged in a replace.
        #[serde(default, deserialize_with = "known::read")]
        pub status: Option<BookableStatus>,
        /// The caller's own keys and values.
        #[serde(default)]
        pub metadata: Metadata,
    }

    /// So many of a bookable, on so many days.
    pub struct Booking {
        /// `bkg_…`
        pub id: BookingId,
        /// The number of this state.
        pub version: Version,
        /// What is booked.
        pub bookable_id: BookableId,
        /// The first day.
        pub start_date: Date,
        /// The last day; with `nights` the day of leaving.
        pub end_date: Date,
        /// So many of it on each day.
        pub quantity: i64,
        /// For whom, in the caller's own words.
        pub user_id: Option<String>,
        /// What people wrote about it; ≤ 10,000 characters.
        pub notes: String,
        /// Where it is in its life.
        pub status: BookingStatus,
        /// When its hold ends, unless it is confirmed before.
        pub hold_expires_at: Option<Timestamp>,
        /// When it was confirmed.
        pub confirmed_at: Option<Timestamp>,
        /// When it was cancelled.
        pub cancelled_at: Option<Timestamp>,
        /// When it was over, in whichever way.
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

    /// What a client may set on a [`Booking`].
    #[serde(deny_unknown_fields)]
    pub struct BookingFields {
        /// What is booked; set once.
        pub bookable_id: BookableId,
        /// The first day; today (UTC) or later.
        pub start_date: Date,
        /// The last day; with `nights` the day of leaving.
        pub end_date: Date,
        /// So many of it on each day; ≥ 1.
        pub quantity: i64,
        /// For whom, in the caller's own words, ≤ 200 characters; set once.
        #[serde(default)]
        pub user_id: Option<String>,
        /// What people wrote about it; ≤ 10,000 characters.
        #[serde(default)]
        pub notes: String,
        /// Left out: `held` at creation, unchanged in a replace.
        #[serde(default, deserialize_with = "known::read")]
        pub status: Option<BookingStatus>,
        /// The caller's own keys and values.
        #[serde(default)]
        pub metadata: Metadata,
    }

    /// A booking to make.
    #[serde(deny_unknown_fields)]
    pub struct NewBooking {
        /// What is booked.
        pub bookable_id: BookableId,
        /// The first day; today (UTC) or later.
        pub start_date: Date,
        /// The last day; with `nights` the day of leaving.
        pub end_date: Date,
        /// So many of it on each day; ≥ 1.
        pub quantity: i64,
        /// For whom, in the caller's own words, ≤ 200 characters.
        #[serde(default)]
        pub user_id: Option<String>,
        /// What people wrote about it; ≤ 10,000 characters.
        #[serde(default)]
        pub notes: String,
        /// Confirmed at once, without a hold; the same as the status `confirmed`.
        #[serde(default)]
        pub confirm: bool,
        /// `held` (the default) or `confirmed`.
        #[serde(default, deserialize_with = "known::read")]
        pub status: Option<BookingStatus>,
        /// The caller's own keys and values.
        #[serde(default)]
        pub metadata: Metadata,
    }

    /// What is free of a bookable, day by day.
    pub struct Availability {
        /// The days that were asked for, in order.
        pub days: Vec<AvailableDay>,
        /// The instant at which this was so; it promises nothing.
        pub as_of: Timestamp,
    }

    /// What is free on one day.
    pub struct AvailableDay {
        /// The day.
        pub date: Date,
        /// So many there are.
        pub capacity: i64,
        /// So many are taken; holds that expired are not.
        pub reserved: i64,
        /// So many are left: `max(0, capacity − reserved)`.
        pub available: i64,
    }

    /// The part of a problem body that `AVAILABILITY_CONFLICT` and `HOLD_EXPIRED` add.
    pub struct AvailabilityConflict {
        /// What was to be booked.
        pub bookable_id: BookableId,
        /// The first day that was asked for.
        pub start_date: Date,
        /// The last day; with `nights` the day of leaving.
        pub end_date: Date,
        /// So many were asked for.
        pub requested: i64,
        /// So many there are on each day.
        pub capacity: i64,
        /// So many are taken by others, on exactly the days that were asked for.
        pub usage: BTreeMap<Date, i64>,
        /// The first day without enough room.
        pub first_conflict_date: Date,
    }
}
