//! Commands: what a caller asks the lane to do.

use super::{
    guard::Guard,
    precondition::{CreateObject, DeleteObject, UpdateObject},
};
use ifmatch_types::{ApiKeyId, By, Kind, Source, Version};
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
}

impl Meta {
    /// The author of a change, as histories and conflicts show it.
    pub fn by(&self, forced: bool) -> By {
        By {
            actor: self.actor.name.clone(),
            on_behalf_of: self.on_behalf_of.clone(),
            source: self.source,
            forced,
        }
    }
}

/// The holder of an API key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// The id of the API key; it owns the caller's Idempotency-Keys.
    pub key_id: ApiKeyId,
    /// The name of the API key.
    pub name: String,
}

/// A caller's Idempotency-Key, with a fingerprint of its request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IdempotencyKey {
    /// The API key that owns it; two API keys may use the same text.
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
    /// Run 1–50 operations in one commit; all succeed or none does.
    Transact(Vec<Operation>),
    /// Record a forced write that was refused because of the caller's role.
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
            Self::Update(update) => Some(&update.id),
            Self::Delete(delete) => Some(&delete.id),
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

/// A forced write that was refused because of the caller's role.
#[derive(Clone, Debug)]
pub struct RecordDenied {
    /// The object that the request named, if any.
    pub object: Option<(Kind, String)>,
    /// The reason that the caller gave.
    pub reason: Option<String>,
}
