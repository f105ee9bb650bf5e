//! Redactions: what replaces the values that a person asked to be forgotten.
//!
//! The command that redacts changes the object itself. What else holds the values was stored by
//! earlier commits: it is rewritten afterwards, row by row, by the pure functions here.

use ifmatch_types::{Difference, Kind, Metadata, REDACTED, Timestamp, Version, pointer};
use serde_json::Value;

/// A field that can be redacted.
#[derive(Debug)]
pub enum Redactable<'a> {
    /// A text; redacted, it is [`REDACTED`].
    Text(&'a mut String),
    /// A text that may be missing; redacted, it is.
    Optional(&'a mut Option<String>),
    /// Texts by key; redacted, the text of a key is [`REDACTED`].
    Keys(&'a mut Metadata),
}

impl Redactable<'_> {
    /// Redacts the text, or the texts with these keys. Returns what stands there now.
    pub(crate) fn redact(self, keys: &[String]) -> Value {
        match self {
            Self::Text(text) => REDACTED.clone_into(text),
            Self::Optional(text) => {
                *text = None;
                return Value::Null;
            }
            Self::Keys(texts) => {
                for key in keys {
                    if let Some(text) = texts.get_mut(key) {
                        REDACTED.clone_into(text);
                    }
                }
            }
        }
        Value::from(REDACTED)
    }
}

/// A redaction of an object, whose past may still hold the values.
#[derive(Clone, Debug, PartialEq)]
pub struct Redaction {
    /// The id of its audit record.
    pub id: String,
    /// The kind of the object.
    pub kind: Kind,
    /// The object.
    pub object_id: String,
    /// The version that it made. What was written later is no longer its business.
    pub version: Version,
    /// When it was decided, by the clock that all servers share.
    pub at: Timestamp,
    /// Each redacted path, with what stands there now.
    pub marks: Vec<Difference>,
}

impl Redaction {
    /// Redacts a state of the object. Returns whether it held any of the values.
    pub fn redact(&self, state: &mut Value) -> bool {
        self.marks.iter().fold(false, |changed, mark| {
            let keys: Vec<String> = pointer::keys(&mark.path).collect();
            replace(state, &keys, &mark.to) || changed
        })
    }

    /// Redacts a list of the object's changes. Returns whether it held any of the values.
    pub fn redact_changes(&self, changes: &mut [Difference]) -> bool {
        let mut changed = false;
        for change in changes {
            for mark in &self.marks {
                // A change of a whole object has the path of that object.
                let Some(keys) = keys_within(&change.path, &mark.path) else { continue };
                changed |= replace(&mut change.from, &keys, &mark.to);
                changed |= replace(&mut change.to, &keys, &mark.to);
            }
        }
        changed
    }

    /// Redacts each earlier state of the object in a document. Returns whether there was any with
    /// the values.
    pub fn redact_within(&self, document: &mut Value) -> bool {
        let mut changed = self.is_earlier_state(document) && self.redact(document);
        match document {
            Value::Object(members) => {
                for member in members.values_mut() {
                    changed |= self.redact_within(member);
                }
            }
            Value::Array(items) => {
                for item in items {
                    changed |= self.redact_within(item);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
        changed
    }

    fn is_earlier_state(&self, document: &Value) -> bool {
        let is_of_object = document.get("id").is_some_and(|id| *id == self.object_id.as_str());
        let version = document.get("version").and_then(Value::as_i64);
        is_of_object && version.is_none_or(|version| version <= self.version)
    }
}

/// The keys that lead from `outer` to `inner`, if `inner` is the same place or lies within.
fn keys_within(outer: &str, inner: &str) -> Option<Vec<String>> {
    let rest = inner.strip_prefix(outer)?;
    (rest.is_empty() || rest.starts_with('/')).then(|| pointer::keys(rest).collect())
}

/// Replaces the value at a place, if there is one.
fn replace(value: &mut Value, keys: &[String], by: &Value) -> bool {
    match keys.split_first() {
        None if value.is_null() || value == by => false,
        None => {
            value.clone_from(by);
            true
        }
        Some((key, rest)) => value.get_mut(key).is_some_and(|inner| replace(inner, rest, by)),
    }
}

/// The fields of a kind that can be redacted.
macro_rules! redactable {
    (|$record:ident| $entity:expr, { $($field:ident: $kind:ident),* $(,)? }) => {
        const REDACTABLE: &'static [&'static str] = &[$(stringify!($field)),*];

        fn redactable(&mut self) -> Vec<crate::core::Redactable<'_>> {
            let $record = self;
            let entity: &mut Self::Entity = &mut $entity;
            vec![$(crate::core::Redactable::$kind(&mut entity.$field)),*]
        }
    };
}
pub(crate) use redactable;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn redaction() -> Redaction {
        let mark = |path: &str, value: Value| Difference {
            path: path.to_owned(),
            from: value.clone(),
            to: value,
        };
        Redaction {
            id: "aud_1".to_owned(),
            kind: Kind::Workspace,
            object_id: "wsp_1".to_owned(),
            version: 4,
            at: Timestamp::now(),
            marks: vec![
                mark("/name", json!(REDACTED)),
                mark("/email", Value::Null),
                mark("/metadata/a~1b", json!(REDACTED)),
            ],
        }
    }

    #[test]
    fn a_value_is_replaced_and_nothing_is_added() {
        let mut state = json!({"name": "Ann", "email": "a@b", "metadata": {"a/b": "1", "k": "2"}});
        assert!(redaction().redact(&mut state));
        let redacted =
            json!({"name": REDACTED, "email": null, "metadata": {"a/b": REDACTED, "k": "2"}});
        assert_eq!(state, redacted);
        assert!(!redaction().redact(&mut state), "a second time changes nothing");
        let mut other = json!({"notes": "n", "email": null, "metadata": {"a": {"b": "1"}}});
        assert!(!redaction().redact(&mut other), "{other}");
    }

    #[test]
    fn changes_keep_their_paths_and_lose_their_values() {
        let change =
            |path: &str, from: Value, to: Value| Difference { path: path.into(), from, to };
        let mut changes = [
            change("/name", json!("Ann"), json!("Bob")),
            change("/email", Value::Null, json!("a@b")),
            change("/metadata/a~1b", json!("1"), Value::Null),
            change("/metadata/a~1bc", json!("1"), json!("2")),
            change("/metadata", json!({"a/b": "1", "k": "2"}), Value::Null),
            change("", json!({"name": "Ann"}), json!({"name": "Bob", "k": 1})),
        ];
        assert!(redaction().redact_changes(&mut changes));
        let expected = [
            change("/name", json!(REDACTED), json!(REDACTED)),
            change("/email", Value::Null, Value::Null),
            change("/metadata/a~1b", json!(REDACTED), Value::Null),
            change("/metadata/a~1bc", json!("1"), json!("2")),
            change("/metadata", json!({"a/b": REDACTED, "k": "2"}), Value::Null),
            change("", json!({"name": REDACTED}), json!({"name": REDACTED, "k": 1})),
        ];
        assert_eq!(changes, expected);
    }

    #[test]
    fn earlier_states_of_the_object_are_found_in_a_document() {
        let state = |id: &str, version: i64| json!({"id": id, "version": version, "name": "Ann"});
        let mut document = json!({"results": [
            {"id": "wsp_1", "version": 4, "body": state("wsp_1", 4)},
            {"id": "wsp_1", "version": 5, "body": state("wsp_1", 5)},
            {"id": "wsp_2", "version": 1, "body": state("wsp_2", 1)},
        ], "workspace": {"id": "wsp_1", "name": "Ann"}});
        assert!(redaction().redact_within(&mut document));
        let name = |pointer: &str| document.pointer(pointer).unwrap().clone();
        assert_eq!(name("/results/0/body/name"), REDACTED);
        assert_eq!(name("/results/1/body/name"), "Ann", "written again later");
        assert_eq!(name("/results/2/body/name"), "Ann", "another object");
        assert_eq!(name("/workspace/name"), REDACTED);
    }
}
