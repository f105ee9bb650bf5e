//! The record of a change: who, when, from where, and its effect.

use crate::{ApiKeyId, Difference, EventCursor, Kind, Timestamp, Version, WorkspaceId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

names! {
    /// The way a change came in.
    Source {
        /// The HTTP API.
        Api = "api",
        /// The command line, on the machine of the database.
        Cli = "cli",
        /// One of the server's own background workers.
        Worker = "worker",
    }

    /// The kind of a change.
    ChangeKind {
        /// The object was created.
        Created = "created",
        /// A write computed from the current version.
        Updated = "updated",
        /// An admin's write that skipped the version check and replaced an unseen version.
        Forced = "forced",
        /// A write computed from an older version that the server merged into the current one.
        Merged = "merged",
        /// The object was deleted.
        Deleted = "deleted",
        /// A counter passed 80, 90 or 100 % of its limit. Only in the stream of events.
        ThresholdReached = "threshold_reached",
    }
}

/// The author of a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct By {
    /// The name of the API key.
    pub actor: String,
    /// The id of the API key. Names may be used again, ids never. `None` for changes by the server
    /// itself or the command line, and for changes made before ids were recorded.
    #[serde(default)]
    pub key_id: Option<ApiKeyId>,
    /// The user the caller acted for, from `X-On-Behalf-Of`.
    pub on_behalf_of: Option<String>,
    /// The way the change came in.
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
    /// Its author.
    pub by: By,
    /// The kind of the change.
    pub kind: ChangeKind,
    /// The paths that changed, with their values before and after. They are equal where they were
    /// redacted.
    pub changes: Vec<Difference>,
    /// The reason given with a forced write or a redaction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Paths changed by others that this write replaced when it was repeated after a refusal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overwrote: Option<Vec<String>>,
    /// The request that made it. Gateways rewrite request ids, so they prove nothing.
    pub request_id: String,
    /// SHA-256 of the Idempotency-Key that the write was sent with, in hexadecimal digits. A sender
    /// knows its own write by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_digest: Option<String>,
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
    /// Its number. Numbers rise in commit order, with gaps.
    pub seq: i64,
    /// The place after it. Pass the last one seen as `?after=`.
    #[serde(default, skip_serializing_if = "EventCursor::is_empty")]
    pub cursor: EventCursor,
    /// The type: resource and kind, such as `subscription.updated`.
    #[serde(rename = "type")]
    pub event_type: String,
    /// The changed object, or the counter of a `usage.threshold_reached`.
    pub resource: AuditResource,
    /// The workspace that the object hangs on. `None` for the catalogue.
    #[serde(default)]
    pub workspace_id: Option<WorkspaceId>,
    /// The change itself.
    #[serde(flatten)]
    pub entry: HistoryEntry,
    /// The object after the change, or its last state if it was deleted. With
    /// `usage.threshold_reached`: `{scope, feature, threshold, used, limit, window_start}`.
    pub state: Value,
}

/// One line of the audit log: a special right that was used or denied.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AuditRecord {
    /// `aud_…`
    pub id: String,
    /// The type: `forced_write`, `force_denied`, `api_key_created`,
    /// `api_key_rotated`, `api_key_revoked`, `capacity_override`, `redaction`.
    #[serde(rename = "type")]
    pub audit_type: String,
    /// When it happened.
    pub at: Timestamp,
    /// The name of the API key.
    pub actor: String,
    /// The id of the API key, as in [`By::key_id`].
    #[serde(default)]
    pub key_id: Option<ApiKeyId>,
    /// The user the caller acted for, as it said.
    pub on_behalf_of: Option<String>,
    /// The reason that the caller gave.
    pub reason: Option<String>,
    /// The request's id, as in the log.
    pub request_id: String,
    /// The object or key: `{type, id}`.
    pub resource: Option<AuditResource>,
    /// The version the caller named: a number, or `blind`.
    pub expected_version: Option<Value>,
    /// The version that was overwritten.
    pub overwritten_version: Option<Version>,
    /// The overwritten paths, with their values before and after. Of a redaction: the redacted
    /// paths, with what stands there now.
    pub changes: Vec<Difference>,
    /// How many attempts the record stands for; left out if it is one. Only the first refused
    /// forces of a key in a minute have records of their own.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub attempts: i64,
}

fn one() -> i64 {
    1
}

fn is_one(attempts: &i64) -> bool {
    *attempts == 1
}

/// The resource of an event or an audit record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AuditResource {
    /// `subscription`, `api_key`, …
    #[serde(rename = "type")]
    pub resource_type: String,
    /// Its id.
    pub id: String,
}
