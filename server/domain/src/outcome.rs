//! What an accepted command made.

use crate::StoredApiKey;
use ifmatch_types::{
    BillingRun, BoostAnswer, Deleted, ForcePreview, HoldAnswer, Kind, Payment, Recorded, Reversed,
    Version,
};
use serde::Serialize;
use serde_json::Value;
use std::{
    ops::Deref,
    sync::{Arc, OnceLock},
};

/// What an accepted command made, for the HTTP layer to render.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// A versioned object, as it is now.
    Object(ObjectAnswer),
    /// A versioned object is no more.
    Deleted {
        /// Its tombstone.
        deleted: Deleted,
        /// Whether the version check was skipped over an unseen version.
        forced: bool,
    },
    /// What a forced write would overwrite; nothing was written.
    DryRun(ForcePreview),
    /// A transaction's operations, in order.
    Transaction(Vec<Outcome>),
    /// A `check` held.
    Checked {
        /// The object's kind.
        kind: Kind,
        /// The object.
        id: String,
        /// Its version.
        version: Version,
    },
    /// A payment; `first` is false if it was known already.
    Payment {
        /// The payment.
        payment: Payment,
        /// Whether this command recorded it.
        first: bool,
    },
    /// A payment that counts no more.
    PaymentReversed(Payment),
    /// What one step of a billing run did with one subscription.
    Billed {
        /// Invoices made.
        made: i64,
        /// Whether nothing needed to be made.
        skipped: bool,
        /// Whether there is more to bill than one step takes.
        more: bool,
    },
    /// A whole billing run.
    BillingRun(BillingRun),
    /// An API key that was made.
    ApiKeyCreated(StoredApiKey),
    /// An API key that works no more.
    ApiKeyRevoked(StoredApiKey),
    /// Usage was recorded.
    Usage {
        /// What was recorded, in order.
        recorded: Vec<Recorded>,
        /// Whether the request was a batch.
        is_batch: bool,
    },
    /// Recorded usage was given back.
    Reversed(Reversed),
    /// A hold, as it is now.
    Hold {
        /// The hold and its pool.
        answer: HoldAnswer,
        /// Whether this command made it.
        is_new: bool,
    },
    /// A boost, as it is now.
    Boost(BoostAnswer),
    /// Some of what was over was ended.
    Expired {
        /// Whether there is more of it than one commit ends.
        more: bool,
    },
    /// A record was kept.
    Recorded,
    /// It is no repeat, and what it is about is there.
    Admitted,
    /// The same request was answered before, like this.
    Replayed(Answer),
}

impl Outcome {
    /// Whether it is kept as the answer to a repeat of its request: not if it is one already, or if
    /// nothing was asked for but what comes before a request's fields.
    pub const fn is_kept(&self) -> bool {
        !matches!(self, Self::Replayed(_) | Self::Admitted)
    }
}

/// An object's state as JSON, shared by its event and its answer: as a value, as text, and each made
/// of the other when somebody first asks for it.
#[derive(Debug)]
pub struct Document {
    value: OnceLock<Value>,
    text: OnceLock<String>,
}

impl Document {
    /// An entity's state. Of a new object nobody mostly wants more than the text.
    pub(crate) fn of(entity: &impl Serialize) -> Self {
        let text = serde_json::to_string(entity).expect("entities are JSON objects");
        Self { value: OnceLock::new(), text: text.into() }
    }

    /// The state as text.
    pub fn text(&self) -> &str {
        // Not `to_string`: that goes through a formatter, which costs twice as much.
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
    /// Its kind.
    pub kind: Kind,
    /// Its id.
    pub id: String,
    /// Its version.
    pub version: Version,
    /// The object.
    pub body: Arc<Document>,
    /// How it came to be so.
    pub how: How,
    /// Paths that somebody else had changed and that this write, refused before, replaced.
    pub overwrote: Vec<String>,
}

/// How an object came to be as it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// This command created it.
    Created,
    /// It existed already, with the same content.
    Existed,
    /// This command changed it.
    Updated,
    /// This command changed nothing.
    Unchanged,
    /// This command was computed from this older version and put on top.
    Merged(Version),
    /// This command skipped the version check over a version it had not seen.
    Forced,
}

/// An answer as it was sent, kept for a repeat of its request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The digest of the request it answers.
    pub fingerprint: String,
    /// The HTTP status; always 2xx.
    pub status: u16,
    /// The headers that belong to the answer.
    pub headers: Vec<(String, String)>,
    /// The body, to the byte.
    pub body: String,
}
