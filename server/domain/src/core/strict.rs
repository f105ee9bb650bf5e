//! Reads values of JSON as types, without the second spellings that serde allows: a list of its
//! fields' values for an object, and an object with one member for the name of a variant.
//!
//! Whatever looks at the JSON before it is read, such as what a command needs, sees objects and
//! texts only. A second spelling would slip past it.

use super::rejection::Rejection;
use ifmatch_types::pointer;
use serde::{
    de::{
        Deserializer, Error as _, IntoDeserializer, Unexpected, Visitor,
        value::{MapDeserializer, SeqDeserializer},
    },
    forward_to_deserialize_any,
};
use serde_json::{Error, Map, Value};
use serde_path_to_error::Segment;

/// Reads a request's body. An error names the invalid field.
///
/// # Errors
///
/// [`Rejection::Invalid`] with the JSON Pointer of the field.
pub fn read<T: serde::de::DeserializeOwned>(body: &Map<String, Value>) -> Result<T, Rejection> {
    // Tracking the path doubles the cost and is only needed for an error.
    if let Ok(read) = T::deserialize(members(body)) {
        return Ok(read);
    }
    serde_path_to_error::deserialize(members(body)).map_err(|error| {
        let mut path = String::new();
        for segment in error.path() {
            match segment {
                Segment::Seq { index } => path.push_str(&format!("/{index}")),
                Segment::Map { key } => pointer::push(&mut path, key),
                Segment::Enum { .. } | Segment::Unknown => {}
            }
        }
        let message = plain(&error.inner().to_string());
        // serde names missing and unknown fields only in its message.
        let field_after = |prefix: &str| message.strip_prefix(prefix)?.split_once('`');
        if let Some((field, _)) = field_after("missing field `") {
            return Rejection::invalid(pointer::member(&path, field), "is required");
        }
        if let Some((field, _)) = field_after("unknown field `") {
            let unknown = pointer::member("", field);
            let parent = path.strip_suffix(&unknown).unwrap_or(&path);
            return Rejection::invalid(format!("{parent}{unknown}"), "is not a field here");
        }
        Rejection::invalid(path, message)
    })
}

/// Reads one value.
///
/// # Errors
///
/// Says in plain words what is wrong with it.
pub fn read_value<T: serde::de::DeserializeOwned>(value: &Value) -> Result<T, String> {
    T::deserialize(Strict(value)).map_err(|error| plain(&error.to_string()))
}

/// A message of serde in the words of JSON instead of Rust's.
fn plain(message: &str) -> String {
    // What was found may be a text of the caller's, so only its beginning is translated.
    let Some((found, expected)) = message.rsplit_once("expected ") else {
        return message.to_owned();
    };
    let expected = plain_type(expected);
    let Some(found) = found.strip_prefix("invalid type: ") else {
        return format!("{found}expected {expected}");
    };
    let found = match found {
        "sequence, " => "list, ".to_owned(),
        "map, " => "object, ".to_owned(),
        found => match found.strip_prefix("floating point ") {
            Some(number) => format!("number {number}"),
            None => found.to_owned(),
        },
    };
    format!("invalid type: {found}expected {expected}")
}

/// What was expected, in the words of JSON.
fn plain_type(expected: &str) -> &str {
    let digits = expected.strip_prefix(['i', 'u']).unwrap_or_default();
    let is_integer = ["8", "16", "32", "64", "128", "size"].contains(&digits);
    match expected {
        "a map" => "an object",
        "a sequence" => "a list",
        _ if is_integer && expected.starts_with('u') => "an integer that is not negative",
        _ if is_integer => "an integer",
        expected => expected,
    }
}

/// The members of an object.
fn members(object: &Map<String, Value>) -> impl Deserializer<'_, Error = Error> {
    MapDeserializer::new(object.iter().map(|(name, value)| (name.as_str(), Strict(value))))
}

/// A value that is read in one way only.
#[derive(Clone, Copy)]
struct Strict<'de>(&'de Value);

impl<'de> IntoDeserializer<'de, Error> for Strict<'de> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Strict<'de> {
    fn unexpected(self) -> Unexpected<'de> {
        match self.0 {
            Value::Null => Unexpected::Other("null"),
            Value::Bool(value) => Unexpected::Bool(*value),
            Value::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
                (Some(integer), ..) => Unexpected::Signed(integer),
                (_, Some(integer), _) => Unexpected::Unsigned(integer),
                (.., number) => Unexpected::Float(number.unwrap_or_default()),
            },
            Value::String(text) => Unexpected::Str(text),
            Value::Array(_) => Unexpected::Seq,
            Value::Object(_) => Unexpected::Map,
        }
    }
}

impl<'de> Deserializer<'de> for Strict<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Array(items) => {
                let mut items = SeqDeserializer::new(items.iter().map(Strict));
                let read = visitor.visit_seq(&mut items)?;
                items.end()?;
                Ok(read)
            }
            Value::Object(object) => members(object).deserialize_any(visitor),
            plain => plain.deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.0.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.0 {
            Value::Object(object) => members(object).deserialize_any(visitor),
            _ => Err(Error::invalid_type(self.unexpected(), &"an object")),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.0 {
            Value::String(name) => visitor.visit_enum(name.as_str().into_deserializer()),
            _ => Err(Error::invalid_type(self.unexpected(), &"a string")),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use serde_json::json;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Line {
        text: String,
        amount: Option<i64>,
        #[serde(default)]
        tags: std::collections::BTreeMap<String, String>,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(rename_all = "lowercase")]
    enum Verdict {
        Adopt,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    struct Id(String);

    #[derive(Debug, Deserialize, PartialEq)]
    struct Body {
        #[serde(default)]
        lines: Vec<Line>,
        verdict: Option<Verdict>,
        id: Option<Id>,
    }

    fn refused(body: &Value) -> (String, String) {
        match read::<Body>(body.as_object().unwrap()) {
            Err(Rejection::Invalid(errors)) => (errors[0].path.clone(), errors[0].message.clone()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_spelled_as_documented_is_read() {
        let body = json!({"lines": [{"text": "a", "amount": 5, "tags": {"k": "v"}}, {"text": "b"}],
            "verdict": "adopt", "id": "x"});
        let read = read::<Body>(body.as_object().unwrap()).unwrap();
        assert_eq!(read.lines[0].amount, Some(5));
        assert_eq!(read.lines[0].tags["k"], "v");
        assert_eq!(read.lines[1].amount, None);
        assert_eq!((read.verdict, read.id), (Some(Verdict::Adopt), Some(Id("x".to_owned()))));
    }

    #[test]
    fn a_second_spelling_is_refused_where_it_stands() {
        for (body, path, message) in [
            (json!({"lines": [["a", 5]]}), "/lines/0", "invalid type: list, expected an object"),
            (json!({"lines": ["a"]}), "/lines/0", "invalid type: string \"a\", expected an object"),
            (json!({"lines": [null]}), "/lines/0", "invalid type: null, expected an object"),
            (json!({"lines": {}}), "/lines", "invalid type: object, expected a list"),
            (
                json!({"verdict": {"adopt": null}}),
                "/verdict",
                "invalid type: object, expected a string",
            ),
            (
                json!({"lines": [{"text": "a", "tags": []}]}),
                "/lines/0/tags",
                "invalid type: list, expected an object",
            ),
            (
                json!({"lines": [{"text": "a", "amount": 1e16}]}),
                "/lines/0/amount",
                "invalid type: number `1e+16`, expected an integer",
            ),
            (
                json!({"lines": [{"text": "a", "amount": "floating point, expected b"}]}),
                "/lines/0/amount",
                "invalid type: string \"floating point, expected b\", expected an integer",
            ),
            (json!({"lines": [{}]}), "/lines/0/text", "is required"),
            (json!({"lines": [{"text": "a", "x": 1}]}), "/lines/0/x", "is not a field here"),
        ] {
            assert_eq!(refused(&body), (path.to_owned(), message.to_owned()), "{body}");
        }
    }
}
