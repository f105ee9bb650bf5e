//! Commands: what a caller asks the lane to do.

use super::{
    guard::Guard,
    precondition::{CreateObject, DeleteObject, UpdateObject},
    redact::RedactObject,
};
use ifmatch_types::{ApiKeyId, AuditResource, By, Kind, Source, Version, WorkspaceId};
use uuid::Uuid;

/// One request for a change, with everything that is needed to decide it.
#[derive(Clone, Debug)]
pub struct Command<A> {
    /// The caller, and how the request is recorded.
    pub meta: Meta,
    /// The seed of the ids that this command creates.
    ///
    /// Every run of the same command uses the same seed. If the result of its commit is unknown,
    /// running it again cannot create a second object.
    pub seed: Uuid,
    /// The caller's Idempotency-Key, if it sent one.
    pub idempotency: Option<IdempotencyKey>,
    /// The conditions beside the version that the action itself may name.
    pub guard: Guard,
    /// The requested change.
    pub action: A,
}

/// The facts about a request that are recorded beside its effect.
#[derive(Clone, Debug)]
pub struct Meta {
    /// The caller.
    pub actor: Actor,
    /// The person the caller says it acts for.
    pub on_behalf_of: Option<String>,
    /// The interface that the request came through.
    pub source: Source,
    /// The request's id in the log.
    pub request_id: String,
    /// SHA-256 of the request's Idempotency-Key, in hexadecimal digits.
    pub key_digest: Option<String>,
}

impl Meta {
    /// The author of a change, as histories and conflicts show it.
    pub fn by(&self, forced: bool) -> By {
        By {
            actor: self.actor.name.clone(),
            key_id: self.actor.key_id.clone(),
            on_behalf_of: self.on_behalf_of.clone(),
            source: self.source,
            forced,
        }
    }
}

/// The author of a change: the holder of an API key, the command line, or a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// The id of the API key, if it has one.
    pub key_id: Option<ApiKeyId>,
    /// The name of the API key, of the command line or of the worker.
    pub name: String,
    /// The workspace of a scoped key.
    pub workspace_id: Option<WorkspaceId>,
    /// Whether it has the role `admin`, or is the server itself.
    pub is_admin: bool,
}

impl Actor {
    /// The server itself, or its command line.
    pub fn without_key(name: impl Into<String>) -> Self {
        Self { key_id: None, name: name.into(), workspace_id: None, is_admin: true }
    }
}

/// A caller's Idempotency-Key, with a fingerprint of its request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IdempotencyKey {
    /// The first key of the line of the API key that owns it. Two lines may use the same text.
    pub owner: ApiKeyId,
    /// The text that the caller sent.
    pub key: String,
    /// A digest of method, path, query, precondition and canonical body.
    pub fingerprint: String,
}

/// The actions that work on every kind of versioned object.
#[derive(Clone, Debug)]
pub enum Action {
    /// Create a versioned object.
    Create(CreateObject),
    /// Change a versioned object.
    Update(UpdateObject),
    /// Delete a versioned object.
    Delete(DeleteObject),
    /// Redact values of a versioned object, and of its past.
    Redact(RedactObject),
    /// Tell what a change of a versioned object would do. Writes nothing.
    Preview(UpdateObject),
    /// Run 1–50 operations in one commit; all succeed or none does.
    Transact(Vec<Operation>),
    /// Record uses of a special right that were refused because of the caller's role.
    RecordDenied(RecordDenied),
    /// Check only what takes precedence over the request's fields: whether the request is a repeat,
    /// and whether the object it names exists. Used for a request with invalid fields, which cannot
    /// become another command.
    Admit(Option<(Kind, String)>),
}

impl Action {
    /// The id of the existing object that the action is about.
    pub fn subject(&self) -> Option<&str> {
        match self {
            Self::Update(update) | Self::Preview(update) => Some(&update.id),
            Self::Delete(delete) => Some(&delete.id),
            Self::Redact(redact) => Some(&redact.id),
            Self::Admit(about) => about.as_ref().map(|(_, id)| id.as_str()),
            Self::Create(_) | Self::Transact(_) | Self::RecordDenied(_) => None,
        }
    }
}

/// One operation of a transaction.
#[derive(Clone, Debug)]
pub enum Operation {
    /// Create an object.
    Create(CreateObject),
    /// Change an object.
    Update(UpdateObject),
    /// Delete an object.
    Delete(DeleteObject),
    /// Check that an object is at this version.
    Check {
        /// The collection.
        kind: Kind,
        /// The object's id.
        id: String,
        /// The required version.
        version: Version,
    },
}

/// One or more uses of a special right that were refused because of the caller's role.
#[derive(Clone, Debug)]
pub struct RecordDenied {
    /// The type of the audit record.
    pub audit_type: &'static str,
    /// What the request named, if anything.
    pub resource: Option<AuditResource>,
    /// The reason that the caller gave.
    pub reason: Option<String>,
    /// How many attempts the record stands for.
    pub attempts: i64,
}
