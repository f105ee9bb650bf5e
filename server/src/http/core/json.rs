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

/// The JSON Pointer of the first number in a JSON text that has a fraction and would be read as an integer,
/// because a double does not hold all its digits: `99.99999999999999999999` as 100.
///
/// `text` has been read by [`parse`].
pub fn rounded(text: &[u8]) -> Option<String> {
    let may_have_one =
        |pair: &[u8]| matches!(pair, [digit, b'.' | b'e' | b'E'] if digit.is_ascii_digit());
    if !text.windows(2).any(may_have_one) {
        return None;
    }
    let mut rest = text;
    // The place of what comes next: an item's index, or a member's name, which ends with its colon.
    let mut path: Vec<Step> = Vec::new();
    while let Some((first, after)) = rest.split_first() {
        let length = match first {
            b'"' => end_of_string(after).saturating_add(1),
            b'-' | b'0'..=b'9' => {
                rest.iter().take_while(|byte| b"+-.eE0123456789".contains(byte)).count()
            }
            _ => 1,
        };
        let (token, next) = rest.split_at_checked(length)?;
        match (first, path.last_mut()) {
            (b'{', _) => path.push(Step::Member(String::new())),
            (b'[', _) => path.push(Step::Item(0)),
            (b'}' | b']', _) => drop(path.pop()),
            (b',', Some(Step::Item(index))) => *index = index.saturating_add(1),
            (b'"', Some(Step::Member(name))) if is_before_colon(next) => {
                *name = serde_json::from_slice(token).ok()?;
            }
            (b'-' | b'0'..=b'9', _) if is_rounded(token) => {
                let pointer = |to: String, step: &Step| match step {
                    Step::Member(name) => pointer::member(&to, name),
                    Step::Item(index) => format!("{to}/{index}"),
                };
                return Some(path.iter().fold(String::new(), pointer));
            }
            _ => {}
        }
        rest = next;
    }
    None
}

/// A step from a JSON value to one in it.
enum Step {
    Member(String),
    Item(usize),
}

/// The length of a JSON string behind its first quote, with its last one.
fn end_of_string(text: &[u8]) -> usize {
    let mut is_escaped = false;
    let ends = |byte: &u8| {
        let ends = *byte == b'"' && !is_escaped;
        is_escaped = *byte == b'\\' && !is_escaped;
        ends
    };
    text.iter().position(ends).map_or(text.len(), |last| last.saturating_add(1))
}

fn is_before_colon(text: &[u8]) -> bool {
    text.trim_ascii_start().starts_with(b":")
}

/// Whether a JSON number has a fraction that a double does not.
fn is_rounded(number: &[u8]) -> bool {
    let text = String::from_utf8_lossy(number);
    let reads_as_integer = text.parse::<f64>().is_ok_and(|read| read.fract() == 0.0);
    let (digits, exponent) = text.split_once(['e', 'E']).unwrap_or((&text, "0"));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let written = format!("{whole}{fraction}");
    let significant = written.trim_matches(['-', '0']);
    if significant.is_empty() {
        return false;
    }
    // Digits behind the point that are not zero, once the exponent has moved it.
    let zeros = written.len().saturating_sub(written.trim_end_matches('0').len());
    let behind = i64::try_from(fraction.len()).ok().zip(i64::try_from(zeros).ok());
    let is_small = exponent.starts_with('-');
    let moved: i64 = exponent.parse().unwrap_or(if is_small { i64::MIN } else { i64::MAX });
    let has_fraction = behind
        .is_some_and(|(behind, zeros)| behind.saturating_sub(zeros).saturating_sub(moved) > 0);
    reads_as_integer && has_fraction
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
    fn a_fraction_that_a_double_does_not_hold_is_found() {
        for text in [
            "99.99999999999999999999",
            "4503599627370497.25",
            "9007199254740990.5",
            "1.00000000000000001",
            "1e-400",
            "-1e-99999999999999999999",
            "10000000000000000000000001e-1",
            "0.99999999999999999999",
        ] {
            let body =
                format!(r#"{{"a": [0, 5.0, {{"b/\"c": "}} 1e-400", "d": {text}}}], "e": 1}}"#);
            assert!(parse(body.as_bytes()).is_ok(), "{body}");
            assert_eq!(rounded(body.as_bytes()).as_deref(), Some("/a/2/d"), "{body}");
            assert_eq!(rounded(text.as_bytes()).as_deref(), Some(""), "{text}");
        }
        for text in [
            "5",
            "5.0",
            "5e0",
            "-50e-1",
            "-0.0",
            "0e-5",
            "5.50",
            "1e30",
            "1.5e1",
            "150e-2",
            "1.5e400",
            "9007199254740991.000000000000000000000000",
            "0.1",
            "1000000e-6",
            r#""1e-400""#,
            r#"{"1e-400": 1.0}"#,
        ] {
            assert_eq!(rounded(text.as_bytes()), None, "{text}");
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
