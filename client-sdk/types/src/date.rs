//! Civil dates: a day of the calendar, without a time and without a zone.

use crate::Timestamp;
use jiff::{Span, civil, tz::TimeZone};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{fmt, str::FromStr};

/// A civil date. On the wire it is `YYYY-MM-DD` and nothing else: `2026-11-22`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date(civil::Date);

/// Why a text is not a date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DateError;

impl fmt::Display for DateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected a date such as 2026-11-22")
    }
}

impl std::error::Error for DateError {}

impl Date {
    /// The date of an instant, in UTC.
    pub fn of(instant: Timestamp) -> Self {
        Self::in_zone(instant, TimeZone::UTC)
    }

    /// The date of an instant in a time zone.
    pub fn in_zone(instant: Timestamp, zone: TimeZone) -> Self {
        let date = instant.to_jiff().to_zoned(zone).date();
        debug_assert!(date.year() >= -9999, "jiff's own calendar ends there");
        Self(date)
    }

    /// The date this many days later; `None` outside the years 0 to 9999.
    pub fn plus_days(self, days: i64) -> Option<Self> {
        let moved = self.0.checked_add(Span::new().try_days(days).ok()?).ok()?;
        (moved.year() >= 0).then_some(Self(moved))
    }

    /// Days from this date to another; negative if the other is earlier.
    pub fn days_until(self, other: Self) -> i64 {
        other.0.duration_since(self.0).as_hours() / 24
    }

    /// Each day from this one on, up to and without `end`.
    pub fn days_before(self, end: Self) -> impl Iterator<Item = Self> {
        std::iter::successors(Some(self), |day| day.plus_days(1)).take_while(move |day| *day < end)
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.0.year(), self.0.month(), self.0.day())
    }
}

impl fmt::Debug for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Date {
    type Err = DateError;

    fn from_str(text: &str) -> Result<Self, DateError> {
        let is_shaped = text.len() == 10
            && text.bytes().enumerate().all(|(place, byte)| match place {
                4 | 7 => byte == b'-',
                _ => byte.is_ascii_digit(),
            });
        if !is_shaped {
            return Err(DateError);
        }
        text.parse().map(Self).map_err(|_| DateError)
    }
}

impl Serialize for Date {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Date {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(feature = "openapi")]
impl utoipa::PartialSchema for Date {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        utoipa::openapi::ObjectBuilder::new()
            .schema_type(utoipa::openapi::schema::Type::String)
            .format(Some(utoipa::openapi::SchemaFormat::KnownFormat(
                utoipa::openapi::KnownFormat::Date,
            )))
            .examples(["2026-11-22"])
            .into()
    }
}

#[cfg(feature = "openapi")]
impl utoipa::ToSchema for Date {}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(text: &str) -> Date {
        text.parse().unwrap()
    }

    #[test]
    fn a_date_is_read_from_its_one_form_and_written_in_it() {
        for text in ["2026-11-22", "2028-02-29", "0000-01-01", "9999-12-31"] {
            assert_eq!(date(text).to_string(), text);
        }
        for text in [
            "2027-02-29",
            "2026-13-01",
            "2026-11-31",
            "2026-1-1",
            "20261122",
            "2026-W47-7",
            "2026-11-22T00:00:00Z",
            "-2026-11-22",
            "+002026-11-22",
            " 2026-11-22",
            "２026-11-22",
            "",
        ] {
            assert_eq!(text.parse::<Date>(), Err(DateError), "{text}");
        }
    }

    #[test]
    fn days_are_counted_over_leap_days_and_up_to_the_calendars_end() {
        assert_eq!(date("2028-02-28").plus_days(2), Some(date("2028-03-01")));
        assert_eq!(date("2028-02-28").days_until(date("2028-03-01")), 2);
        assert_eq!(date("2028-03-01").days_until(date("2028-02-28")), -2);
        assert_eq!(date("9999-12-31").plus_days(1), None);
        assert_eq!(date("0000-01-01").plus_days(-1), None);
        assert_eq!(date("2026-11-22").plus_days(i64::MAX), None);
        let days: Vec<Date> = date("2026-12-30").days_before(date("2027-01-02")).collect();
        assert_eq!(days, [date("2026-12-30"), date("2026-12-31"), date("2027-01-01")]);
        assert_eq!(date("9999-12-30").days_before(date("9999-12-31")).count(), 1);
    }
}
