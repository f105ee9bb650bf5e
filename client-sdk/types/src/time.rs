//! Instants: microseconds UTC inside, RFC 3339 with six fractional digits outside.

use jiff::{civil::DateTime, tz::Offset};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{fmt, str::FromStr};

/// An instant in UTC, to the microsecond.
///
/// On the wire it is RFC 3339 with exactly six fractional digits: `2026-11-22T01:06:00.123456Z`.
/// Any RFC 3339 offset is accepted when reading; digits beyond microseconds are cut off. It lies
/// between 0000-01-01T00:00:00Z and 9999-12-30T22:00:00Z.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The first instant.
    pub const MIN: Self = Self(MIN_MICROS);
    /// The last instant.
    pub const MAX: Self = Self(MAX_MICROS);

    /// The instant this many microseconds after 1970-01-01T00:00:00Z.
    ///
    /// Returns `None` before the first instant and after the last one.
    pub fn from_micros(micros: i64) -> Option<Self> {
        (MIN_MICROS..=MAX_MICROS).contains(&micros).then_some(Self(micros))
    }

    /// Microseconds since 1970-01-01T00:00:00Z.
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// The same instant as a [`jiff::Timestamp`], for calendar arithmetic.
    pub fn to_jiff(self) -> jiff::Timestamp {
        jiff::Timestamp::from_microsecond(self.0).expect("only representable instants are built")
    }

    /// The time of the computer's clock.
    pub fn now() -> Self {
        Self::from(jiff::Timestamp::now())
    }
}

/// Why a text is not an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampError {
    /// It is not as RFC 3339 writes instants.
    Malformed,
    /// It is before the first instant that can be stored, or after the last one.
    OutOfRange,
}

impl fmt::Display for TimestampError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => {
                f.write_str("expected an RFC 3339 instant such as 2026-11-22T01:06:00Z")
            }
            Self::OutOfRange => {
                let (first, last) = (Timestamp(MIN_MICROS), Timestamp(MAX_MICROS));
                write!(f, "expected an instant from {first} to {last}")
            }
        }
    }
}

impl std::error::Error for TimestampError {}

/// The first instant that RFC 3339 can write in UTC: 0000-01-01T00:00:00Z.
const MIN_MICROS: i64 = -62_167_219_200_000_000;
/// The last whole microsecond: jiff's own last instant has nanoseconds beyond it.
const MAX_MICROS: i64 = 253_402_207_200_000_000;

impl From<jiff::Timestamp> for Timestamp {
    fn from(instant: jiff::Timestamp) -> Self {
        Self(instant.as_microsecond().clamp(MIN_MICROS, MAX_MICROS))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.6}", self.to_jiff())
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Timestamp {
    type Err = TimestampError;

    /// Reads `date-time` of RFC 3339 §5.6, and nothing else that ISO 8601 knows.
    fn from_str(text: &str) -> Result<Self, TimestampError> {
        let (local, offset) = split_offset(text).ok_or(TimestampError::Malformed)?;
        let (local, fraction) = local.split_once('.').unwrap_or((local, "0"));
        if !is_local(local) || fraction.is_empty() || !is_digits(fraction) {
            return Err(TimestampError::Malformed);
        }
        let local: DateTime = local.parse().map_err(|_| TimestampError::Malformed)?;
        let whole = offset.to_timestamp(local).map_err(|_| TimestampError::OutOfRange)?;
        let fraction: i64 =
            format!("{fraction:0<6.6}").parse().map_err(|_| TimestampError::Malformed)?;
        let micros = whole.as_microsecond().saturating_add(fraction);
        Self::from_micros(micros).ok_or(TimestampError::OutOfRange)
    }
}

/// Splits `Z` or `±hh:mm` off an instant.
fn split_offset(text: &str) -> Option<(&str, Offset)> {
    if let Some(local) = text.strip_suffix(['Z', 'z']) {
        return Some((local, Offset::UTC));
    }
    let (local, offset) = text.split_at_checked(text.len().checked_sub("+00:00".len())?)?;
    let (sign, offset) = match offset.split_at_checked(1)? {
        ("+", offset) => (1, offset),
        ("-", offset) => (-1, offset),
        _ => return None,
    };
    let (hours, minutes) = offset.split_once(':')?;
    let part = |text: &str, end: i32| {
        let number: i32 = text.parse().ok().filter(|number| *number < end)?;
        (text.len() == 2 && is_digits(text)).then_some(number)
    };
    let minutes = part(hours, 24)? * 60 + part(minutes, 60)?;
    Some((local, Offset::from_seconds(sign * minutes * 60).ok()?))
}

/// Whether a text is `YYYY-MM-DDThh:mm:ss`.
fn is_local(text: &str) -> bool {
    const SHAPE: &str = "0000-00-00T00:00:00";
    text.len() == SHAPE.len()
        && !text.ends_with(":60")
        && text.bytes().zip(SHAPE.bytes()).all(|(byte, wanted)| match wanted {
            b'0' => byte.is_ascii_digit(),
            _ => byte.eq_ignore_ascii_case(&wanted),
        })
}

fn is_digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(feature = "openapi")]
impl utoipa::PartialSchema for Timestamp {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        utoipa::openapi::ObjectBuilder::new()
            .schema_type(utoipa::openapi::schema::Type::String)
            .format(Some(utoipa::openapi::SchemaFormat::KnownFormat(
                utoipa::openapi::KnownFormat::DateTime,
            )))
            .examples(["2026-11-22T01:06:00.123456Z"])
            .into()
    }
}

#[cfg(feature = "openapi")]
impl utoipa::ToSchema for Timestamp {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_always_has_six_fractional_digits() {
        let whole: Timestamp = "2026-11-22T01:06:00Z".parse().unwrap();
        assert_eq!(whole.to_string(), "2026-11-22T01:06:00.000000Z");
        let fine: Timestamp = "2026-11-22T03:06:00.123456789+02:00".parse().unwrap();
        assert_eq!(fine.to_string(), "2026-11-22T01:06:00.123456Z");
    }

    #[test]
    fn the_first_and_the_last_instant_can_be_stored_and_read_again() {
        for text in ["0000-01-01T00:00:00Z", "9999-12-30T22:00:00.000000999Z"] {
            let instant: Timestamp = text.parse().unwrap();
            assert_eq!(Timestamp::from_micros(instant.as_micros()), Some(instant));
            assert_eq!(instant.to_string().parse::<Timestamp>().unwrap(), instant);
        }
        assert_eq!(Timestamp::from_micros(MAX_MICROS + 1), None, "{MAX_MICROS} is the last one");
        assert_eq!(Timestamp::from_micros(MIN_MICROS - 1), None, "{MIN_MICROS} is the first one");
        let latest = jiff::Timestamp::from_microsecond(MAX_MICROS);
        assert!(latest.is_ok() && jiff::Timestamp::from_microsecond(MAX_MICROS + 1).is_err());
        for text in [
            "9999-12-31T23:59:59Z",
            "9999-12-30T22:00:00.000001Z",
            "9999-12-30T20:00:00-23:59",
            "0000-01-01T00:00:00+00:01",
        ] {
            let error = text.parse::<Timestamp>().unwrap_err();
            assert_eq!(
                error.to_string(),
                "expected an instant from 0000-01-01T00:00:00.000000Z to \
                 9999-12-30T22:00:00.000000Z",
                "{text}"
            );
        }
    }

    #[test]
    fn an_instant_is_written_as_rfc_3339_says_and_not_otherwise() {
        for (text, same) in [
            ("2026-11-22t01:06:00z", "2026-11-22T01:06:00Z"),
            ("2026-11-22T01:06:00+00:00", "2026-11-22T01:06:00Z"),
            ("2026-11-22T01:06:00-00:00", "2026-11-22T01:06:00Z"),
            ("2026-11-22T00:06:00-23:59", "2026-11-23T00:05:00Z"),
            ("2026-11-22T01:06:00.5Z", "2026-11-22T01:06:00.500000Z"),
            ("2026-11-22T01:06:00.1234567891234Z", "2026-11-22T01:06:00.123456Z"),
        ] {
            let read = |text: &str| text.parse::<Timestamp>().unwrap();
            assert_eq!(read(text), read(same), "{text}");
        }
        for text in [
            "",
            "Z",
            "2026-11-22",
            "2026-11-22T00:00Z",
            "2026-11-22T00Z",
            "2026-11-22T00:00:00",
            "2026-11-22T00:00:00,5Z",
            "2026-11-22T00:00:00.Z",
            "2026-11-22T00:00:00.5.5Z",
            "2026-11-22 00:00:00Z",
            "20261122T000000Z",
            "2026-11-22T00:00:00+24:00",
            "2026-11-22T00:00:00+23:60",
            // A leap second has no microsecond of its own.
            "2016-12-31T23:59:60Z",
            "2026-11-22T00:00:00+02",
            "2026-11-22T00:00:00+0200",
            "2026-11-22T00:00:00+02:00:00",
            "2026-11-22T00:00:00+-2:00",
            "2026-11-22T00:00:00Z[UTC]",
            "2026-02-30T00:00:00Z",
            "2026-11-22T24:00:00Z",
            "+002026-11-22T00:00:00Z",
            " 2026-11-22T00:00:00Z",
            "2026-11-22T00:00:0éZ",
            "é0:00",
        ] {
            assert_eq!(text.parse::<Timestamp>(), Err(TimestampError::Malformed), "{text}");
        }
    }
}
