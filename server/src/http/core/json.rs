//! JSON as requests write it. A member that stands twice in one object is an error.
//!
//! Which of two members counts differs from parser to parser, so no choice would be safe.

use ifmatch_types::{integer::is_exact, pointer};
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::fmt;

/// Reads a JSON text.
///
/// A number without a fraction becomes an integer, however it is written: `5.0` and `5e0` are `5`.
///
/// # Errors
///
/// A syntax error, or a data error that names a member that stands twice.
pub fn parse(text: &[u8]) -> Result<Value, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let value = Place::Root.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(value)
}

/// A place in a JSON text. It becomes a JSON Pointer only when an error names it.
#[derive(Clone, Copy)]
pub enum Place<'p> {
    /// The whole text.
    Root,
    /// A member of an object.
    Member(&'p Place<'p>, &'p str),
    /// An item of a list.
    Item(&'p Place<'p>, usize),
}

impl Place<'_> {
    /// The JSON Pointer.
    pub fn pointer(&self) -> String {
        match self {
            Self::Root => String::new(),
            Self::Member(parent, name) => pointer::member(&parent.pointer(), name),
            Self::Item(parent, index) => format!("{}/{index}", parent.pointer()),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Place<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Place<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        let integer = (value.fract() == 0.0).then(|| format!("{value:.0}").parse::<i64>().ok());
        Ok(match integer.flatten().filter(|integer| is_exact(*integer)) {
            Some(integer) => integer.into(),
            None => Number::from_f64(value).map_or(Value::Null, Value::Number),
        })
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(Place::Item(&self, list.len()))? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            let place = Place::Member(&self, &name);
            if object.contains_key(&name) {
                let path = place.pointer();
                return Err(A::Error::custom(format!("the member {path} stands twice")));
            }
            let value = members.next_value_seed(place)?;
            object.insert(name, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_number_without_a_fraction_is_an_integer() {
        for (text, value) in [
            ("5", json!(5)),
            ("5.0", json!(5)),
            ("5e0", json!(5)),
            ("-50e-1", json!(-5)),
            ("-0.0", json!(0)),
            ("9007199254740991.0", json!(9_007_199_254_740_991_i64)),
            ("9223372036854775807", json!(i64::MAX)),
            ("18446744073709551615", json!(u64::MAX)),
            ("5.5", json!(5.5)),
            ("1e30", json!(1e30)),
        ] {
            assert_eq!(parse(text.as_bytes()).unwrap(), value, "{text}");
        }
    }

    #[test]
    fn a_member_that_stands_twice_is_named() {
        for (text, path) in [
            (r#"{"a": 1, "a": 1}"#, "/a"),
            (r#"{"a": {"b": 1, "c": 2, "\u0062": 3}}"#, "/a/b"),
            (r#"{"a": [1, {"b/c": 1, "b/c": null}]}"#, "/a/1/b~1c"),
            (r#"[[{"": 1, "": 2}]]"#, "/0/0/"),
        ] {
            let error = parse(text.as_bytes()).unwrap_err();
            assert!(error.is_data(), "{text}: {error}");
            assert!(error.to_string().contains(&format!("{path} stands twice")), "{text}: {error}");
        }
        let same_names = r#"{"a": {"a": [{"a": 1}, {"a": 2}]}, "A": null}"#;
        assert_eq!(parse(same_names.as_bytes()).unwrap()["a"]["a"][1]["a"], 2);
    }

    #[test]
    fn other_errors_are_of_the_syntax() {
        let deep = "[".repeat(200);
        for text in ["", "{", "{\"a\":1,}", "{} {}", "nul", "\"\u{1}\"", &deep] {
            let error = parse(text.as_bytes()).unwrap_err();
            assert!(!error.is_data(), "{text}: {error}");
        }
    }
}
