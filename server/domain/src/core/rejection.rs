//! Reasons to refuse a command, common to all systems: facts only, no texts.

use ifmatch_types::{Conflict, Deleted, FieldError, Kind};

/// A rejection by a rule that all systems share.
#[derive(Clone, Debug, PartialEq)]
pub enum Rejection {
    /// The Idempotency-Key was already used for another request.
    IdempotencyKeyReused,
    /// The object does not exist.
    NotFound {
        /// The kind of object.
        what: &'static str,
        /// The requested id.
        id: String,
    },
    /// Only a key without a workspace may do this.
    NeedsUnscopedKey,
    /// The object was deleted.
    Deleted(Kind, Deleted),
    /// A field names an object of another type.
    WrongIdType {
        /// The field, as a JSON Pointer.
        path: String,
        /// The prefix that the id must have.
        expected_prefix: &'static str,
    },
    /// Some fields are invalid.
    Invalid(Vec<FieldError>),
    /// The write names no version.
    PreconditionRequired,
    /// The write was computed from a version that is not the current one.
    Conflict(Box<Conflict>),
    /// The object is at a version that `If-None-Match` excludes.
    Excluded(Box<Conflict>),
    /// The command must hold a fence, and it does not.
    StaleFence,
    /// An object with other content already has this unique key.
    AlreadyExists {
        /// The kind of the object.
        what: &'static str,
        /// The id of the existing object.
        existing_id: String,
        /// The fields in which the two differ.
        differing_fields: Vec<String>,
    },
    /// The object's status does not allow the requested one.
    InvalidTransition {
        /// The current status.
        from: &'static str,
        /// The requested status.
        to: &'static str,
        /// The statuses that may follow the current one.
        allowed: Vec<&'static str>,
    },
    /// These fields cannot change in the current status, or together with the requested one.
    FixedByStatus {
        /// The current status.
        from: &'static str,
        /// The requested status; the current one if none was requested.
        to: &'static str,
        /// The statuses that may be requested instead.
        allowed: Vec<&'static str>,
        /// The fields that the request would change.
        fields: Vec<&'static str>,
    },
    /// A computed number is beyond [`INTEGER_MAX`](ifmatch_types::INTEGER_MAX).
    AmountOverflow {
        /// The computed field, as a JSON Pointer.
        path: String,
    },
}

impl Rejection {
    /// A rejection for one invalid field.
    pub fn invalid(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Invalid(vec![FieldError { path: path.into(), message: message.into() }])
    }

    /// A rejection for a versioned object that does not exist.
    pub fn not_found(kind: Kind, id: &str) -> Self {
        Self::NotFound { what: kind.name(), id: id.to_owned() }
    }

    /// Whether this is told before a version that does not match (`API.md` 3, order of checks).
    pub(crate) fn precedes_versions(&self) -> bool {
        match self {
            Self::NeedsUnscopedKey
            | Self::IdempotencyKeyReused
            | Self::StaleFence
            | Self::NotFound { .. }
            | Self::Deleted(..)
            | Self::WrongIdType { .. }
            | Self::Invalid(_) => true,
            Self::PreconditionRequired
            | Self::Conflict(_)
            | Self::Excluded(_)
            | Self::AlreadyExists { .. }
            | Self::InvalidTransition { .. }
            | Self::FixedByStatus { .. }
            | Self::AmountOverflow { .. } => false,
        }
    }

    /// Prefixes the field paths with the path of the request part that was refused.
    pub(crate) fn within(mut self, parent: &str) -> Self {
        match &mut self {
            Self::Invalid(errors) => {
                for error in errors {
                    error.path.insert_str(0, parent);
                }
            }
            Self::WrongIdType { path, .. } | Self::AmountOverflow { path } => {
                path.insert_str(0, parent);
            }
            Self::IdempotencyKeyReused
            | Self::NotFound { .. }
            | Self::NeedsUnscopedKey
            | Self::Deleted(..)
            | Self::PreconditionRequired
            | Self::Conflict(_)
            | Self::Excluded(_)
            | Self::StaleFence
            | Self::AlreadyExists { .. }
            | Self::InvalidTransition { .. }
            | Self::FixedByStatus { .. } => {}
        }
        self
    }
}
