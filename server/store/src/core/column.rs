//! How domain values are stored in the three column types that both databases have.

use ifmatch_types::{ChangeKind, Date, Difference, Metadata, Source, Timestamp};
use serde_json::Value;

/// A type that can be stored in a column.
///
/// Diesel's own `FromSql` and `ToSql` cannot be used: the types are foreign to this crate, and rows
/// also arrive as JSON.
pub(crate) trait InColumn: Sized {
    /// The type of the column's value.
    type Held;

    /// The value to store in the column.
    fn hold(&self) -> Self::Held;
    /// Reads a column's value. `Err` describes a value that this type does not have.
    fn read(held: Self::Held) -> Result<Self, String>;
}

/// Types that are stored as they are.
macro_rules! plain {
    ($($type:ty),*) => {
        $(impl InColumn for $type {
            type Held = Self;

            fn hold(&self) -> Self {
                self.clone()
            }

            fn read(held: Self) -> Result<Self, String> {
                Ok(held)
            }
        })*
    };
}

plain!(String, i64, bool);

impl<T: InColumn> InColumn for Option<T> {
    type Held = Option<T::Held>;

    fn hold(&self) -> Self::Held {
        self.as_ref().map(T::hold)
    }

    fn read(held: Self::Held) -> Result<Self, String> {
        held.map(T::read).transpose()
    }
}

impl InColumn for Timestamp {
    type Held = i64;

    fn hold(&self) -> i64 {
        self.as_micros()
    }

    fn read(held: i64) -> Result<Self, String> {
        Self::from_micros(held).ok_or_else(|| format!("instant {held}"))
    }
}

impl InColumn for Date {
    type Held = String;

    fn hold(&self) -> String {
        self.to_string()
    }

    fn read(held: String) -> Result<Self, String> {
        held.parse().map_err(|_| format!("date `{held}`"))
    }
}

impl InColumn for u16 {
    type Held = i64;

    fn hold(&self) -> i64 {
        i64::from(*self)
    }

    fn read(held: i64) -> Result<Self, String> {
        Self::try_from(held).map_err(|_| format!("number {held}"))
    }
}

/// Ids, stored as text and read without a check.
macro_rules! ids {
    ($($type:ty),* $(,)?) => {
        $(impl $crate::core::column::InColumn for $type {
            type Held = String;

            fn hold(&self) -> String {
                self.as_str().to_owned()
            }

            fn read(held: String) -> Result<Self, String> {
                Ok(Self::from_unchecked(held))
            }
        })*
    };
}
pub(crate) use ids;

/// Enumerations, stored by name.
macro_rules! names {
    ($($type:ty),* $(,)?) => {
        $(impl $crate::core::column::InColumn for $type {
            type Held = String;

            fn hold(&self) -> String {
                self.name().to_owned()
            }

            fn read(held: String) -> Result<Self, String> {
                Self::from_name(&held).ok_or_else(|| format!("`{held}`"))
            }
        })*
    };
}
pub(crate) use names;

/// Types that are stored as JSON text.
macro_rules! json {
    ($($type:ty),* $(,)?) => {
        $(impl $crate::core::column::InColumn for $type {
            type Held = String;

            fn hold(&self) -> String {
                serde_json::to_string(self).expect("what is stored as JSON has texts for keys")
            }

            fn read(held: String) -> Result<Self, String> {
                serde_json::from_str(&held).map_err(|error| error.to_string())
            }
        })*
    };
}
pub(crate) use json;

names!(ChangeKind, Source);
json!(Metadata, Value, Vec<Difference>, Vec<String>, Vec<(String, String)>);

#[cfg(test)]
mod tests {
    use super::*;

    fn comes_back<T: InColumn + PartialEq + std::fmt::Debug>(value: T) {
        assert_eq!(T::read(value.hold()).as_ref(), Ok(&value));
    }

    #[test]
    fn a_value_is_read_as_it_was_held() {
        comes_back("text".to_owned());
        comes_back(Some(i64::MIN));
        comes_back(None::<bool>);
        comes_back(Timestamp::now());
        comes_back("2026-11-22".parse::<Date>().unwrap_or_else(|_| Date::of(Timestamp::now())));
        comes_back(Source::Worker);
        comes_back(vec![("a".to_owned(), "b".to_owned())]);
    }

    #[test]
    fn a_value_that_the_type_does_not_have_is_described() {
        assert_eq!(Source::read("rumour".to_owned()), Err("`rumour`".to_owned()));
        assert_eq!(Timestamp::read(i64::MAX), Err(format!("instant {}", i64::MAX)));
        assert_eq!(Date::read("soon".to_owned()), Err("date `soon`".to_owned()));
        assert_eq!(u16::read(-1), Err("number -1".to_owned()));
        assert!(Vec::<String>::read("{".to_owned()).is_err());
    }
}
