//! Writes of one versioned object, and the version that each was computed from.

use ifmatch_types::{Kind, Version};
use serde_json::{Map, Value};

/// Create a versioned object.
#[derive(Clone, Debug)]
pub struct CreateObject {
    /// The collection.
    pub kind: Kind,
    /// The object's fields.
    pub body: Map<String, Value>,
}

/// Change a versioned object.
#[derive(Clone, Debug)]
pub struct UpdateObject {
    /// The collection.
    pub kind: Kind,
    /// The object's id.
    pub id: String,
    /// The requested change.
    pub change: Change,
    /// The version that the write was computed from, as the caller named it.
    pub precondition: Precondition,
    /// How to handle a version that is not the current one.
    pub mode: Mode,
    /// The version that this caller named when the same body was recently refused.
    pub refused_at: Option<Version>,
}

/// A change of an object: a patch or a full replacement.
#[derive(Clone, Debug)]
pub enum Change {
    /// A merge patch (RFC 7396).
    Patch(Map<String, Value>),
    /// All fields. Read-only fields may be included if they equal those of the named version.
    Replace(Map<String, Value>),
}

impl Change {
    /// The fields that the request names.
    pub fn body(&self) -> &Map<String, Value> {
        match self {
            Self::Patch(body) | Self::Replace(body) => body,
        }
    }
}

/// Delete a versioned object.
#[derive(Clone, Debug)]
pub struct DeleteObject {
    /// The collection.
    pub kind: Kind,
    /// The object's id.
    pub id: String,
    /// The version that the caller saw.
    pub precondition: Precondition,
    /// An admin's request to skip the version check.
    pub force: Option<Force>,
}

/// The version that a write was computed from, as the caller named it (RFC 9110 §13.1.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// No version, or `If-Match: *`.
    Missing,
    /// A version in the body or the query.
    Version(Version),
    /// `If-Match` with quoted tags. Tags that this server never issued are left out.
    Tags(Vec<Version>),
}

impl Precondition {
    /// Whether the write may proceed on an object at version `current`.
    pub fn matches(&self, current: Version) -> bool {
        match self {
            Self::Missing => false,
            Self::Version(version) => *version == current,
            Self::Tags(versions) => versions.contains(&current),
        }
    }

    /// The version that the write was computed from, for an object at version `current`.
    ///
    /// Of several tags that is `current` if they name it, else the latest.
    pub fn named(&self, current: Version) -> Option<Version> {
        if self.matches(current) { Some(current) } else { self.latest() }
    }

    /// The latest version that it names.
    pub fn latest(&self) -> Option<Version> {
        match self {
            Self::Missing => None,
            Self::Version(version) => Some(*version),
            Self::Tags(versions) => versions.iter().copied().max(),
        }
    }
}

/// How to handle a write whose version is not the current one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Refuse it.
    Strict,
    /// Merge it if it touches none of the paths that changed since, otherwise refuse it.
    Merge,
    /// Apply it to the current version.
    Force(Force),
}

/// An admin's request to skip the version check. It skips no other check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Force {
    /// The reason.
    pub reason: String,
}
