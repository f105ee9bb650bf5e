//! Outcomes of accepted commands.

use super::table::Guarded;
use ifmatch_types::{Deleted, Kind, Version};
use serde::Serialize;
use serde_json::Value;
use std::{
    ops::Deref,
    sync::{Arc, OnceLock},
};

/// The outcome of an accepted command, for actions that all systems share.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// A versioned object in its current state.
    Object(ObjectAnswer),
    /// A versioned object was deleted.
    Deleted {
        /// Its tombstone.
        deleted: Deleted,
        /// Whether the version check was skipped for a version the caller had not seen.
        forced: bool,
    },
    /// The outcomes of a transaction's operations, in order.
    Transaction(Vec<Self>),
    /// A `check` succeeded.
    Checked {
        /// The object's kind.
        kind: Kind,
        /// The object's id.
        id: String,
        /// Its version.
        version: Version,
    },
    /// An audit record was saved.
    Recorded,
    /// The request is not a repeat, and the object it names exists.
    Admitted,
    /// The request is a repeat; this is its kept answer.
    Replayed(KeptAnswer),
}

/// An object's state as JSON, shared by its event and its answer.
///
/// It holds a JSON value, text or both. Each is made from the other on first use.
#[derive(Debug)]
pub struct Document {
    value: OnceLock<Value>,
    text: OnceLock<String>,
}

impl Document {
    /// An entity's state. Starts with the text, because a new object rarely needs the value.
    pub(crate) fn of(entity: &impl Serialize) -> Self {
        let text = serde_json::to_string(entity).expect("entities are JSON objects");
        Self { value: OnceLock::new(), text: text.into() }
    }

    /// The state as text.
    pub fn text(&self) -> &str {
        // `Value::to_string` uses a formatter and costs twice as much.
        let write = || serde_json::to_string(&**self).expect("a JSON value has a text");
        self.text.get_or_init(write)
    }
}

impl From<Value> for Document {
    fn from(value: Value) -> Self {
        Self { value: value.into(), text: OnceLock::new() }
    }
}

impl Deref for Document {
    type Target = Value;

    fn deref(&self) -> &Value {
        self.value.get_or_init(|| {
            let text = self.text.get().expect("a document has a value or a text");
            serde_json::from_str(text).expect("what was written as JSON can be read")
        })
    }
}

impl PartialEq for Document {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

/// A versioned object in an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct ObjectAnswer {
    /// The object's kind.
    pub kind: Kind,
    /// The object's id.
    pub id: String,
    /// The object's version.
    pub version: Version,
    /// The object as JSON.
    pub body: Arc<Document>,
    /// How the command led to this state.
    pub how: How,
    /// Paths changed by other callers that this write replaced when it was repeated after a
    /// refusal.
    pub overwrote: Vec<String>,
}

/// How a command led to the state in its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// This command created it.
    Created,
    /// This command began something that goes on after its answer.
    Begun {
        /// Whether it skipped the version check and replaced a version it had not seen.
        forced: bool,
    },
    /// The object already existed with the same content.
    Existed,
    /// This command changed it.
    Updated,
    /// This command changed nothing.
    Unchanged,
    /// This command was computed from this older version and merged onto the current one.
    Merged(Version),
    /// This command skipped the version check and replaced a version it had not seen.
    Forced,
}

/// A kept answer: the stored answer for an Idempotency-Key, sent again for a repeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptAnswer {
    /// The fingerprint of the request that it answers.
    pub fingerprint: String,
    /// The HTTP status; always 2xx.
    pub status: u16,
    /// The headers of the answer.
    pub headers: Vec<(String, String)>,
    /// The body, byte for byte.
    pub body: String,
}

impl Guarded for KeptAnswer {
    fn guard(&self) -> i64 {
        0
    }
}
