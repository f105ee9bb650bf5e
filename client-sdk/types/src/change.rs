//! What is recorded of a change: who, when, from where, and what it did.

use crate::{Difference, Kind, Timestamp, Version};
use serde::{Deserialize, Serialize};
use serde_json::Value;

names! {
    /// Through which door a change came in.
    Source {
        /// The HTTP API.
        Api = "api",
        /// The command line, on the machine of the database.
        Cli = "cli",
        /// One of the server's own background workers.
        Worker = "worker",
    }

    /// What a change was.
    ChangeKind {
        /// The object came into being.
        Created = "created",
        /// A write computed from the current version.
        Updated = "updated",
        /// An admin's write that skipped the version check, over a version it had not seen.
        Forced = "forced",
        /// A write computed from an older version, put on top of the current one by the server.
        Merged = "merged",
        /// The object was deleted.
        Deleted = "deleted",
        /// A counter passed 80, 90 or 100 % of its limit; only in the stream of events.
        ThresholdReached = "threshold_reached",
    }
}

/// Who made a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct By {
    /// The name of the API key.
    pub actor: String,
    /// Whom the caller acted for, as it said in `X-On-Behalf-Of`.
    pub on_behalf_of: Option<String>,
    /// Through which door the change came.
    pub source: Source,
    /// Whether the version check was skipped by an admin.
    #[serde(default)]
    pub forced: bool,
}

/// One line of an object's history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HistoryEntry {
    /// The version this change made.
    pub version: Version,
    /// When it was committed.
    pub at: Timestamp,
    /// Who made it.
    pub by: By,
    /// What it was.
    pub kind: ChangeKind,
    /// The paths that changed, with their values before and after.
    pub changes: Vec<Difference>,
    /// The reason given with a forced write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Paths that somebody else had changed and that a repeated, earlier refused write replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overwrote: Option<Vec<String>>,
    /// The request that made it.
    pub request_id: String,
}

/// The object an event or a problem is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ResourceRef {
    /// Its kind.
    #[serde(rename = "type")]
    #[cfg_attr(feature = "openapi", schema(value_type = Kind))]
    pub resource_type: String,
    /// Its id.
    pub id: String,
}

impl ResourceRef {
    /// Its kind, if this version of the crate knows it.
    pub fn kind(&self) -> Option<Kind> {
        Kind::from_name(&self.resource_type)
    }
}

/// One change in the stream of all changes, in commit order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Event {
    /// Its place in the stream; give the last one seen as `?after=`.
    pub seq: i64,
    /// What happened to what: `subscription.updated`.
    #[serde(rename = "type")]
    pub event_type: String,
    /// What it happened to: an object, or with `usage.threshold_reached` a counter.
    pub resource: AuditResource,
    /// The change itself.
    #[serde(flatten)]
    pub entry: HistoryEntry,
    /// The object after the change (for `deleted`: as it last was). With `usage.threshold_reached`:
    /// `{scope, feature, threshold, used, limit, window_start}`.
    pub state: Value,
}

/// One line of the audit log: what needed a special right, and who used or wanted it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AuditRecord {
    /// `aud_…`
    pub id: String,
    /// What happened: `forced_write`, `force_denied`, `api_key_created`,
    /// `api_key_revoked`, `capacity_override`.
    #[serde(rename = "type")]
    pub audit_type: String,
    /// When.
    pub at: Timestamp,
    /// The name of the API key.
    pub actor: String,
    /// Whom the caller acted for, as it said.
    pub on_behalf_of: Option<String>,
    /// Why, as the caller said.
    pub reason: Option<String>,
    /// The request, as the log knows it.
    pub request_id: String,
    /// What it was about: `{type, id}`.
    pub resource: Option<AuditResource>,
    /// The version the caller said it had seen: a number, or `blind`.
    pub expected_version: Option<Value>,
    /// The version that was overwritten.
    pub overwritten_version: Option<Version>,
    /// What was overwritten, with before and after.
    pub changes: Vec<Difference>,
}

/// What an event or an audit record is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AuditResource {
    /// `subscription`, `api_key`, …
    #[serde(rename = "type")]
    pub resource_type: String,
    /// Its id.
    pub id: String,
}
