//! Instants: microseconds UTC inside, RFC 3339 with six fractional digits outside.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{fmt, str::FromStr};

/// An instant in UTC, to the microsecond.
///
/// On the wire it is RFC 3339 with exactly six fractional digits: `2026-11-22T01:06:00.123456Z`.
/// Any RFC 3339 offset is accepted when reading; what is finer than a microsecond is cut off.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The instant so many microseconds after 1970-01-01T00:00:00Z.
    ///
    /// Returns `None` outside the years that RFC 3339 can write (−9999 to 9999).
    pub fn from_micros(micros: i64) -> Option<Self> {
        jiff::Timestamp::from_microsecond(micros).ok()?;
        Some(Self(micros))
    }

    /// Microseconds since 1970-01-01T00:00:00Z.
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// The same instant as a [`jiff::Timestamp`], for calendar arithmetic.
    pub fn to_jiff(self) -> jiff::Timestamp {
        jiff::Timestamp::from_microsecond(self.0).expect("only representable instants are built")
    }

    /// What the computer's clock says now.
    pub fn now() -> Self {
        Self::from(jiff::Timestamp::now())
    }
}

/// The last instant that can be told in microseconds: jiff's own last one has a fraction beyond.
const MAX_MICROS: i64 = 253_402_207_200_000_000;

impl From<jiff::Timestamp> for Timestamp {
    fn from(instant: jiff::Timestamp) -> Self {
        Self(instant.as_microsecond().min(MAX_MICROS))
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
    type Err = jiff::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse::<jiff::Timestamp>().map(Self::from)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(|_| {
            serde::de::Error::custom("expected an RFC 3339 instant such as 2026-11-22T01:06:00Z")
        })
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
        for text in ["-009999-01-02T01:59:59Z", "9999-12-30T22:00:00.999999999Z"] {
            let instant: Timestamp = text.parse().unwrap();
            assert_eq!(Timestamp::from_micros(instant.as_micros()), Some(instant));
            assert_eq!(instant.to_string().parse::<Timestamp>().unwrap(), instant);
        }
        assert_eq!(Timestamp::from_micros(MAX_MICROS + 1), None, "{MAX_MICROS} is the last one");
    }
}
